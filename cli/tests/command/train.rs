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
        .fails("of a training with another seed");
    workshop
        .resnet(&format!("{TRAIN} --resume w.safetensors"))
        .fails("no checkpoint of a training");
}

#[test]
fn curves_are_drawn_of_the_log() {
    let workshop = workshop();
    let command = format!("{TRAIN} --svg c.svg");
    workshop.resnet(&command).must_be_misuse("--log <FILE>");
    trains(&workshop, &format!("{command} --log l.jsonl --validate set"));
    let svg = std::fs::read_to_string(workshop.path("c.svg")).unwrap();
    assert!(svg.contains("Training of shades") && svg.ends_with("</svg>\n"), "{svg}");
    assert_eq!(svg.matches("<polyline").count(), 4, "loss, two accuracies, rate: {svg}");
    let done =
        workshop.resnet(&format!("{TRAIN} --log shades.yaml --resume w.safetensors.checkpoint"));
    done.fails("cannot read the log `shades.yaml`");
    workshop.write("c.svg", "mine");
    workshop.resnet(&format!("{command} --log other.jsonl")).fails("c.svg");
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
    fails("--warm-up NaN", "NaN epochs to warm up of 4");
    fails("--momentum 1", "momentum is 1");
    fails("--crop pad=1", "is 5x6 (height x width); what is padded before it is cut");
    fails("--resume none", "cannot read the checkpoint `none`");
    workshop
        .resnet(&format!("{TRAIN} --crop wide"))
        .must_be_misuse("none, pad=N, reflect=N, resized");
    std::fs::remove_dir_all(workshop.path("set/green")).unwrap();
    std::fs::remove_dir_all(workshop.path("set/blue")).unwrap();
    fails("", "all 12 images are of class 0");
    workshop.write("set/red/0.png", "no picture");
    workshop.picture("set/blue/1.png", [0, 0, 255]);
    fails("--crop none", "set/red/0.png");
}

/// As little memory as the command says that it takes: the same weights.
#[test]
fn memory_can_be_traded_for_time() {
    let workshop = workshop();
    let file = || std::fs::read(workshop.path("w.safetensors")).unwrap();
    trains(&workshop, TRAIN);
    let first = file();
    let refused = workshop.resnet(&format!("{TRAIN} --memory 1K --force")).err;
    assert!(refused.contains("take a smaller batch, or allow more"), "{refused}");
    let least = refused.split("needs ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    trains(&workshop, &format!("{TRAIN} --memory {least}"));
    assert!(first == file(), "other weights");
}

#[test]
fn a_rate_that_is_too_high_is_no_result() {
    let workshop = workshop();
    let done = workshop.resnet(&TRAIN.replace("--rate 0.1", "--rate 1e30"));
    done.fails("try a lower rate");
    assert!(!workshop.path("w.safetensors").exists());
}

#[test]
fn the_table_stands_beside_the_weights() {
    let workshop = workshop();
    let bare =
        TABLE.replace("labels: [red, green, blue]\n", "").replace(", mean: [0.5], std: [0.25]", "");
    let bare = bare.replace("preprocess: {resize: 8, crop: 8}\n", "");
    workshop.write("shades.yaml", &bare);
    let said = trains(&workshop, TRAIN);
    assert!(said.ends_with("w.yaml: their table\n"), "{said}");
    let table = std::fs::read_to_string(workshop.path("w.yaml")).unwrap();
    let added = "labels: [blue, green, red]\npreprocess: {resize: 8, crop: 8, mean: [0], std: [1]}";
    assert_eq!(table.trim_end(), format!("{}\n{added}", bare.trim_end()));
    let run = workshop.resnet("run w.yaml --weights w.safetensors --top 1 set/green/3.png");
    assert!(run.succeeds().contains("green"), "no notes of what is assumed");

    // The same again is no conflict, and what someone has written is kept.
    trains(&workshop, TRAIN);
    workshop.write("w.yaml", "mine");
    workshop.resnet(TRAIN).fails("`w.yaml` exists already: give `--force`");
    trains(&workshop, &format!("{TRAIN} --force"));
    assert_eq!(std::fs::read_to_string(workshop.path("w.yaml")).unwrap(), table);
    workshop.resnet(&TRAIN.replace("-o w.safetensors", "-o w.yaml")).fails("another name");

    // The table that was given is never written over.
    let own = TRAIN.replace("-o w.safetensors", "-o shades.safetensors --force");
    let done = workshop.resnet(&own);
    assert!(
        done.err.contains("`shades.yaml` is the table that was given, and stays"),
        "{}",
        done.err
    );
    assert!(!done.out.contains("their table"), "{}", done.out);
    assert_eq!(std::fs::read_to_string(workshop.path("shades.yaml")).unwrap(), bare);
}

#[test]
fn frozen_layers_stay_as_they_are() {
    let workshop = workshop();
    trains(&workshop, TRAIN);
    let second = TRAIN.replace("-o w.", "-o second.") + " --initialise w.safetensors --seed 2";
    trains(&workshop, &format!("{second} --freeze conv1 --freeze layer1"));
    let read = |name: &str| resnet::Weights::open(workshop.path(name)).unwrap();
    let (before, after) = (read("w.safetensors"), read("second.safetensors"));
    for name in before.names() {
        let same = before.tensor(name).unwrap() == after.tensor(name).unwrap();
        assert_eq!(same, !name.starts_with("fc"), "{name}");
    }
    // Of another training, whatever else is the same.
    let resume =
        second.replace("--initialise w.safetensors", "--resume second.safetensors.checkpoint");
    workshop.resnet(&resume).fails(
        "of a training with another set of frozen layers: [\"conv1\", \"layer1\"] there, [] here",
    );
    trains(&workshop, &format!("{resume} --freeze conv1 --freeze layer1"));

    let fails = |with: &str, expected: &str| {
        workshop.resnet(&format!("{second} {with}")).fails(expected);
    };
    fails("--freeze layer2", "no layer with weights called `layer2`; did you mean `layer1`");
    fails("--freeze conv1 --freeze layer1 --freeze fc", "nothing is left to learn");
    let random = second.replace("--initialise w.safetensors", "--freeze conv1");
    workshop.resnet(&random).fails("layers are frozen that have random weights");
    let two =
        TABLE.replace("channels: 3}", "channels: 2}").replace("red, green, blue", "red, green");
    workshop.write("shades.yaml", two);
    std::fs::remove_dir_all(workshop.path("set/blue")).unwrap();
    fails("--freeze fc --force", "`fc.weight` is drawn anew and cannot be frozen");
}

/// A norm whose batch is one number is refused; a folder of nothing, and one of images without classes.
#[test]
fn batches_and_folders_that_teach_nothing_are_refused() {
    let workshop = workshop();
    let one = TRAIN.replace("--batch 8", "--batch 1");
    let pixel = TABLE.replace("- {layer: avgpool", "- {layer: pooled, op: average_pool, kernel: 8, padding: 0}\n  - {layer: point, op: conv, kernel: 1, channels: 4}\n  - {layer: avgpool");
    workshop.write("shades.yaml", pixel);
    workshop.resnet(&one).fails("a batch of 1 images has no statistics for `point");
    workshop.write("shades.yaml", TABLE);
    workshop.write("empty/notes.txt", "");
    workshop.resnet(&TRAIN.replace("set", "empty")).fails("there are no folders in `empty`");
    workshop.picture("flat/0.png", [0, 0, 0]);
    workshop.resnet(&TRAIN.replace("set", "flat")).fails("there are no folders in `flat`");
    workshop.write("hollow/red/notes.txt", "");
    workshop.resnet(&TRAIN.replace("set", "hollow")).fails("there are no pictures in `hollow/red`");
    assert!(!workshop.path("w.safetensors").exists());
}

/// Killed in the middle of an epoch, or while a checkpoint is written: the one before is whole, and what is gone on from it has the
/// bits of a training that nobody stopped.
#[cfg(unix)]
#[test]
fn what_is_killed_goes_on_from_the_last_whole_checkpoint() {
    use std::time::{Duration, Instant};
    let workshop = workshop();
    let train = TRAIN.replace("--epochs 4", "--epochs 9").replace("--threads 2", "--threads 1");
    trains(&workshop, &train.replace("-o w.", "-o whole."));
    let checkpoint = workshop.path("w.safetensors.checkpoint");
    let train = format!("{train} --log l.jsonl --svg c.svg");
    let command = || {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("resnet"));
        command.current_dir(workshop.folder.path()).args(train.split_whitespace());
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        command
    };
    let mut child = command().spawn().unwrap();
    let start = Instant::now();
    while !checkpoint.exists() && start.elapsed() < Duration::from_secs(300) {
        std::thread::sleep(Duration::from_millis(1));
    }
    // SIGKILL: nothing is tidied up.
    child.kill().unwrap();
    child.wait().unwrap();
    let resume = format!("{train} --resume w.safetensors.checkpoint");
    trains(&workshop, &resume);
    let file = |name: &str| std::fs::read(workshop.path(name)).unwrap();
    assert!(file("w.safetensors") == file("whole.safetensors"), "other bits");
    // Log and curves have each epoch once.
    let log = String::from_utf8(file("l.jsonl")).unwrap();
    let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let epochs: Vec<u64> = log.lines().map(|text| line(text)["epoch"].as_u64().unwrap()).collect();
    assert_eq!(epochs, (1..=9).collect::<Vec<_>>());
    let svg = String::from_utf8(file("c.svg")).unwrap();
    let points = svg.split("<polyline").nth(1).and_then(|line| line.split("points=\"").nth(1));
    let points = points.and_then(|line| line.split('"').next()).unwrap();
    assert_eq!(points.split_whitespace().count(), 9, "{points}");

    // A process that was killed while it wrote has left a part of a file beside, under a name of its own.
    let bytes = file("w.safetensors.checkpoint");
    workshop.write(".resnet-killed.tmp", &bytes[..bytes.len() / 2]);
    trains(&workshop, &resume);
    assert!(file("w.safetensors") == file("whole.safetensors"), "other bits");
}

/// Files may not grow past a limit, as on a disk that is full: the error says which file, and the checkpoint before is whole.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full_costs_no_checkpoint() {
    let workshop = workshop();
    trains(&workshop, TRAIN);
    let file = |name: &str| std::fs::read(workshop.path(name)).unwrap();
    let before = [file("w.safetensors"), file("w.safetensors.checkpoint")];
    // Blocks of 512 or 1024 bytes; the signal is ignored, so that writing fails.
    let program = assert_cmd::cargo::cargo_bin!("resnet");
    let script =
        format!("trap '' XFSZ; ulimit -f 4; exec '{}' {TRAIN} --seed 9", program.display());
    let done = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(workshop.folder.path())
        .output()
        .unwrap();
    let done = crate::Done::new(done);
    done.fails("cannot write `w.safetensors.checkpoint`");
    assert!(before == [file("w.safetensors"), file("w.safetensors.checkpoint")]);
    assert!(
        workshop.files().iter().all(|name| !name.starts_with(".resnet-")),
        "{:?}",
        workshop.files()
    );
    trains(&workshop, &format!("{TRAIN} --resume w.safetensors.checkpoint"));
}
