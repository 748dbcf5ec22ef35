use crate::Workshop;

const NET: &str = "name: net\ninput: 3x32x32\nallow: [flattened_pixels]\ntable:\n  \
    - {layer: conv1, op: conv, kernel: 3, channels: 16}\n  \
    - {layer: stage, op: basic, repeat: 2, channels: 32, stride: 2}\n  \
    - {layer: fc, op: linear, channels: 10}\n";

fn tuned() -> Workshop {
    let workshop = Workshop::new();
    workshop.write("net.yaml", NET);
    let said = workshop.resnet("tune net.yaml --threads 1 -o net.schedule").succeeds();
    assert!(said.contains("1 thread: ") && said.contains("net.schedule: saved"), "{said}");
    workshop
}

#[test]
fn a_saved_schedule_is_taken_where_algorithms_matter() {
    let workshop = tuned();
    let text = std::fs::read_to_string(workshop.path("net.schedule")).unwrap();
    assert!(text.starts_with("resnet schedule 1\nnetwork net\ntable "), "{text}");
    for layer in ["conv1", "stage.0.conv1", "stage.0.downsample", "stage.1.conv2", "fc"] {
        assert!(text.contains(&format!("\n{layer} ")), "{layer} in {text}");
    }
    // One that the cost model would not take shows in the program.
    let text = text.lines().map(|line| match line.strip_prefix("stage.1.conv2 ") {
        Some(_) => "stage.1.conv2 winograd2 panels\n".to_owned(),
        None => format!("{line}\n"),
    });
    workshop.write("net.schedule", text.collect::<String>());
    let nest = workshop.resnet("emit net.yaml --as nest --schedule net.schedule").succeeds();
    assert!(nest.contains("Winograd F(2x2, 3x3), panels outer"), "{nest}");
    let bench = "bench net.yaml --random-weights 1 --threads 1 --seconds 0.01";
    workshop.resnet(&format!("{bench} --schedule net.schedule --verify")).succeeds();
    workshop
        .resnet("pack net.yaml --random-weights 1 --schedule net.schedule -o net.packed")
        .succeeds();
    let packed = "bench net.yaml --weights net.packed --threads 1 --seconds 0.01";
    workshop.resnet(&format!("{packed} --schedule net.schedule")).succeeds();
    // What was packed knows for what.
    let profile = workshop.resnet(&format!("{packed} --profile")).succeeds();
    assert!(profile.contains("Winograd F(2x2, 3x3), panels outer"), "{profile}");
    workshop.resnet(&format!("{packed} --memory 1G")).fails("--schedule net.schedule");
}

#[test]
fn a_schedule_for_something_else_is_refused() {
    let workshop = tuned();
    let text = std::fs::read_to_string(workshop.path("net.schedule")).unwrap();
    workshop.write("more.schedule", text + "stage.0.conv9 direct rows\n");
    let more = "bench net.yaml --random-weights 1 --schedule more.schedule";
    let expected = "the schedule has a line for `stage.0.conv9`, which is no convolution of `net`";
    workshop.resnet(more).fails(expected);
    workshop.write("other.yaml", NET.replace("channels: 32", "channels: 48"));
    let bench = "--random-weights 1 --schedule net.schedule";
    workshop
        .resnet(&format!("bench other.yaml {bench}"))
        .fails("the tables differ\nhelp: run `resnet tune` for this table");
    workshop.resnet(&format!("bench net.yaml --batch 4 {bench}")).fails(
        "for batches of 1, and batches of 4 are asked for\nhelp: run `resnet tune --batch 4`",
    );
    let text = std::fs::read_to_string(workshop.path("net.schedule")).unwrap();
    workshop.write("net.schedule", text.replace("\nfc ", "\n# fc "));
    workshop
        .resnet(&format!("bench net.yaml {bench}"))
        .fails("the schedule has no line for the convolution `fc`");
    workshop.write("net.schedule", text.replace("\nfc direct", "\nfc winograd4"));
    workshop
        .resnet(&format!("bench net.yaml {bench}"))
        .fails("for the convolution `fc`\nhelp: run `resnet tune` again, with `--weights` if they are in 8 bits here");
    workshop.write("net.schedule", "hello\n");
    workshop
        .resnet(&format!("bench net.yaml {bench}"))
        .fails("line 1: found `hello`, expected `resnet schedule 1`");
    workshop.resnet("bench net.yaml --schedule none").fails("cannot read the schedule `none`");
    workshop.resnet("tune net.yaml -o net.yaml").fails("would be written over the input");
    workshop.write("net.schedule", &text);
    for command in ["pack net.yaml --random-weights 1 -o", "bench net.yaml --profile --svg"] {
        workshop
            .resnet(&format!("{command} net.schedule --schedule net.schedule"))
            .fails("would be written over the input `net.schedule`");
    }
    workshop.write("named.yaml", format!("labels: names.txt\n{NET}"));
    workshop.write("names.txt", "precious");
    workshop
        .resnet("tune named.yaml -o names.txt")
        .fails("would be written over the input `names.txt`");
}

#[test]
fn every_choice_computes_the_same() {
    let workshop = tuned();
    let text = std::fs::read_to_string(workshop.path("net.schedule")).unwrap();
    for choice in ["direct rows", "direct panels", "winograd2 rows", "winograd4 panels"] {
        let text = text.lines().map(|line| match line.strip_prefix("stage.1.conv1 ") {
            Some(_) => format!("stage.1.conv1 {choice}\n"),
            None => format!("{line}\n"),
        });
        workshop.write("net.schedule", text.collect::<String>());
        let said = workshop
            .resnet(
                "bench net.yaml --random-weights 1 --threads 2 --seconds 0.01 --verify \
                 --format json --schedule net.schedule",
            )
            .succeeds();
        let json: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert!(json["largest_error"].as_f64().unwrap() < 2e-5, "{choice}: {said}");
    }
}
