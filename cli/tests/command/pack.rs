use crate::{Workshop, read_npy};

const NET: &str = "name: net\ninput: 3x32x32\ntable:\n  \
    - {layer: conv1, op: conv, kernel: 3, channels: 16}\n  \
    - {layer: conv2, op: conv, kernel: 3, channels: 64}\n  \
    - {layer: conv3, op: conv, kernel: 3, channels: 64}\n";

#[test]
fn packed_weights_answer_as_those_they_were_packed_from() {
    let workshop = Workshop::new();
    workshop.picture("red.png", [250, 3, 3]);
    let said = workshop
        .resnet("pack colours.yaml --weights colours.safetensors -o colours.packed")
        .succeeds();
    assert!(said.contains("colours.packed") && said.contains("for colours"), "{said}");
    for backend in ["jit", "interpret"] {
        let run = |weights: &str, answers: &str| {
            workshop
                .resnet(&format!(
                    "run colours.yaml --weights {weights} --backend {backend} \
                     --output {answers} red.png"
                ))
                .succeeds()
        };
        let expected = run("colours.safetensors", "expected.npy");
        assert_eq!(run("colours.packed", "found.npy"), expected);
        assert_eq!(read_npy(&workshop.path("found.npy")), read_npy(&workshop.path("expected.npy")));
    }
    // Packing what is packed changes nothing, and the name means nothing.
    workshop.resnet("pack colours.yaml --weights colours.packed -o again.pt").succeeds();
    let bytes = |name: &str| std::fs::read(workshop.path(name)).unwrap();
    assert_eq!(bytes("again.pt"), bytes("colours.packed"));
    let mapped = workshop.resnet("run colours.yaml --weights again.pt red.png").succeeds();
    let read = workshop.resnet("run colours.yaml --weights again.pt --no-map red.png").succeeds();
    assert_eq!(read, mapped);
}

#[test]
fn packed_weights_are_taken_by_bench_and_eval() {
    let workshop = Workshop::new();
    workshop.picture("set/red/1.png", [250, 3, 3]);
    workshop.picture("set/green/1.png", [3, 250, 3]);
    workshop.picture("set/blue/1.png", [3, 3, 250]);
    workshop.resnet("pack colours.yaml --weights colours.safetensors -o packed").succeeds();
    let report = workshop.resnet("eval colours.yaml --weights packed --images set").succeeds();
    assert!(report.contains("100.00"), "{report}");
    workshop.resnet("bench colours.yaml --weights packed --threads 1").succeeds();
    workshop
        .resnet("bench colours.yaml --weights packed --verify")
        .fails("`packed` holds packed weights, which have no tensors any more");
}

#[test]
fn a_file_for_something_else_is_refused() {
    let workshop = Workshop::new();
    workshop.picture("red.png", [250, 3, 3]);
    workshop.write("net.yaml", NET);
    workshop.resnet("pack net.yaml --random-weights 1 -o packed").succeeds();
    workshop
        .resnet("run colours.yaml --weights packed red.png")
        .fails("`packed` cannot be used: it was packed for another table, called `net`");
    // What is asked for comes first.
    workshop.resnet("pack net.yaml --random-weights 1 --exact -o exact").succeeds();
    let message = workshop
        .resnet("bench net.yaml --memory 1G --weights exact")
        .fails("`exact` cannot be used");
    assert!(message.err.contains("it was packed with the options `--exact`"), "{}", message.err);
    assert!(message.err.contains(".weight`: transform is"), "{}", message.err);
    workshop
        .resnet("bench net.yaml --exact --weights packed")
        .fails("it was packed with no options for the same table");
}

#[test]
fn what_a_file_was_packed_for_is_taken_from_it() {
    let workshop = Workshop::new();
    workshop.write("net.yaml", NET);
    let algorithms = |options: &str| {
        let bench = format!("bench net.yaml {options} --profile --seconds 0 --format json");
        let profile = workshop.resnet(&bench).succeeds();
        let profile: serde_json::Value = serde_json::from_str(&profile).unwrap();
        let layers = profile["layers"].as_array().unwrap().iter();
        layers.map(|layer| layer["algorithm"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let fastest = algorithms("");
    let least = workshop.resnet("check net.yaml --memory 1").fails("give it `--memory").err;
    let least = least.split("--memory ").nth(1).unwrap().split('`').next().unwrap();
    for asked in ["--exact", &format!("--memory {least}"), "--batch 8 --exact"] {
        let pack = format!("pack net.yaml --random-weights 1 {asked} -o packed");
        workshop.resnet(&pack).succeeds();
        assert_ne!(algorithms(asked), fastest);
        assert_eq!(algorithms("--weights packed"), algorithms(asked));
        let said = workshop.resnet("bench net.yaml --weights packed --batch 4 --seconds 0");
        let of = if asked.contains("batch") { 8 } else { 1 };
        assert!(said.err.contains(&format!("packed for batches of {of}")), "{}", said.err);
        assert_eq!(said.status, 0);
    }
}

#[test]
fn what_fails_leaves_the_old_file() {
    let workshop = Workshop::new();
    workshop.write("old", "precious");
    let files = workshop.files();
    workshop.resnet("pack colours.yaml --weights absent -o old").fails("there is no such file");
    workshop.write("broken", "not weights at all");
    workshop.resnet("pack colours.yaml --weights broken -o old").fails("no valid safetensors");
    workshop
        .resnet("pack colours.yaml --weights colours.safetensors -o colours.safetensors")
        .fails("would be written over the input");
    workshop.resnet("pack colours.yaml --random-weights 1 -o no/such").fails("cannot write");
    assert_eq!(std::fs::read(workshop.path("old")).unwrap(), b"precious");
    std::fs::remove_file(workshop.path("broken")).unwrap();
    assert_eq!(workshop.files(), files);
}
