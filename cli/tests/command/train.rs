use crate::Workshop;

/// Of three classes, whose pictures are of a colour each, with a convolution and a norm to learn.
const TABLE: &str = "
name: shades
input: 3x8x8
table:
  - {layer: conv1, op: conv, kernel: 3, channels: 8}
  - {layer: conv2_x, op: basic, channels: 8}
  - {layer: avgpool, op: global_average_pool}
  - {layer: fc, op: linear, channels: 3}
labels: [red, green, blue]
preprocess: {resize: 8, crop: 8, mean: [0.5], std: [0.25]}
";

const TRAIN: &str =
    "train shades.yaml --images set --epochs 4 --batch 8 --rate 0.1 --threads 2 -o w.safetensors";

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    workshop.write("shades.yaml", TABLE);
    for shade in 0..12 {
        let [dark, bright] = [shade * 7, 255 - shade * 9];
        workshop.picture(&format!("set/red/{shade}.png"), [bright, dark, dark]);
        workshop.picture(&format!("set/green/{shade}.png"), [dark, bright, dark]);
        workshop.picture(&format!("set/blue/{shade}.png"), [dark, dark, bright]);
    }
    workshop
}

/// Trains, with notes of what is assumed; what it prints.
fn trains(workshop: &Workshop, command: &str) -> String {
    let done = workshop.resnet(command);
    assert_eq!(done.status, 0, "{}", done.err);
    assert!(done.err.contains("note: 36 images, 4 steps of 8 an epoch"), "{}", done.err);
    done.out
}

#[test]
fn what_was_trained_is_read_by_the_other_commands() {
    let workshop = workshop();
    let said = trains(&workshop, &format!("{TRAIN} --validate set --log log.jsonl"));
    assert!(said.contains("epoch 4 of 4: loss ") && said.contains("validated 100.00 %"), "{said}");
    let log = std::fs::read_to_string(workshop.path("log.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!((&lines[3]["epoch"], &lines[3]["validation_accuracy"]), (&4.into(), &1.0.into()));
    let eval = "eval shades.yaml --weights w.safetensors --images set";
    assert!(workshop.resnet(eval).succeeds().contains("100.00%  (36)"), "the same");
    // The same bits again, on another number of threads.
    let file = || std::fs::read(workshop.path("w.safetensors")).unwrap();
    let first = file();
    trains(&workshop, &TRAIN.replace("--threads 2", "--threads 1"));
    assert!(first == file(), "other weights");
    // All is done: there is nothing to go on with.
    trains(&workshop, &format!("{TRAIN} --resume w.safetensors.checkpoint"));
    assert!(first == file(), "other weights");
    workshop
        .resnet(&format!("{TRAIN} --resume w.safetensors.checkpoint --seed 2"))
        .fails("of a training with another set of options");
    workshop
        .resnet(&format!("{TRAIN} --resume w.safetensors"))
        .fails("no checkpoint of a training");
}

#[test]
fn weights_of_other_classes_are_gone_on_from() {
    let workshop = workshop();
    trains(&workshop, TRAIN);
    let two =
        TABLE.replace("channels: 3}", "channels: 2}").replace("red, green, blue", "red, green");
    workshop.write("shades.yaml", two);
    std::fs::remove_dir_all(workshop.path("set/blue")).unwrap();
    let done = workshop.resnet(&format!("{TRAIN} --initialise w.safetensors --force"));
    done.fails("would be written over the input");
    let other = TRAIN.replace("-o w.", "-o two.");
    let done = workshop.resnet(&format!("{other} --initialise w.safetensors"));
    assert_eq!(done.status, 0, "{}", done.err);
    assert!(
        done.err.contains("`fc.weight` has another shape there: it is drawn anew"),
        "{}",
        done.err
    );
}

#[test]
fn what_cannot_be_trained_is_said_before_anything_is() {
    let workshop = workshop();
    let fails = |with: &str, expected: &str| {
        workshop.resnet(&format!("{TRAIN} {with}")).fails(expected);
        assert!(!workshop.path("w.safetensors").exists(), "{with}");
    };
    workshop
        .resnet(&TRAIN.replace("--batch 8", "--batch 64"))
        .fails("36 images, fewer than a batch of 64");
    workshop.resnet(&TRAIN.replace("--images set", "--images none")).fails("none");
    fails("--warm-up 4", "4 epochs to warm up of 4");
    fails("--momentum 1", "momentum is 1");
    fails("--crop pad=1", "is 5x6 (height x width); what is padded before it is cut");
    fails("--resume none", "cannot read the checkpoint `none`");
    workshop.resnet(&format!("{TRAIN} --crop wide")).must_be_misuse("`pad=N`");
    std::fs::remove_dir_all(workshop.path("set/green")).unwrap();
    std::fs::remove_dir_all(workshop.path("set/blue")).unwrap();
    fails("", "all 12 images are of class 0");
    workshop.write("set/red/0.png", "no picture");
    workshop.picture("set/blue/1.png", [0, 0, 255]);
    fails("--crop none", "set/red/0.png");
}

#[test]
fn a_rate_that_is_too_high_is_no_result() {
    let workshop = workshop();
    let done = workshop.resnet(&TRAIN.replace("--rate 0.1", "--rate 1e30"));
    done.fails("try a lower rate");
    assert!(!workshop.path("w.safetensors").exists());
}
