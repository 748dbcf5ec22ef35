use std::io::Read;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{Workshop, read_npy, write_npy};

const RUN: &str = "run colours.yaml --weights colours.safetensors";

fn with_pictures() -> Workshop {
    let workshop = Workshop::new();
    workshop.picture("set/b/blue.png", [0, 0, 255]);
    workshop.picture("set/a/green.webp", [0, 255, 0]);
    workshop.picture("set/red.jpg", [255, 0, 0]);
    workshop
}

#[test]
fn pictures_are_classified() {
    let workshop = with_pictures();
    let out = workshop.resnet(&format!("{RUN} set/b/blue.png set/a/green.webp --top 1")).succeeds();
    // e / (e + 2): softmax of (0, 0, 1).
    let expected = "set/b/blue.png\n   57.61%  blue\nset/a/green.webp\n   57.61%  green\n";
    assert_eq!(out, expected);
}

#[test]
fn every_back_end_and_thread_count_agrees() {
    let workshop = with_pictures();
    let run = |options: &str| workshop.resnet(&format!("{RUN} set {options}")).succeeds();
    let expected = run("");
    for backend in ["jit", "interpret", "reference"] {
        for threads in [1, 2, 5] {
            assert_eq!(run(&format!("--backend {backend} --threads {threads}")), expected);
        }
    }
    assert_eq!(run("--isa portable"), expected);
}

#[test]
fn folders_are_searched_in_order() {
    let workshop = with_pictures();
    let out = workshop.resnet(&format!("{RUN} set --top 1 --format json --logits")).succeeds();
    let out: Value = serde_json::from_str(&out).unwrap();
    let found: Vec<(&str, &str)> = out["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["input"].as_str().unwrap(), r["top"][0]["label"].as_str().unwrap()))
        .collect();
    let expected =
        [("set/a/green.webp", "green"), ("set/b/blue.png", "blue"), ("set/red.jpg", "red")];
    assert_eq!(found, expected);
    assert_eq!(out["name"], "colours");
    let blue = &out["results"][1];
    assert_eq!(blue["logits"], serde_json::json!([0.0, 0.0, 1.0]));
    assert_eq!(blue["top"][0]["class"], 2);
    assert!((blue["top"][0]["probability"].as_f64().unwrap() - 0.5761).abs() < 1e-4);
}

#[test]
fn a_bad_picture_does_not_stop_the_others() {
    let workshop = with_pictures();
    workshop.write("bad.png", b"\x89PNG\r\n\x1a\nand then nothing");
    let pictures = "bad.png absent.png set/b/blue.png";
    let done = workshop.resnet(&format!("{RUN} {pictures} --top 1 --output y.npy"));
    let done = done.fails("cannot decode `bad.png`").fails("`absent.png`: there is no such file");
    let done = done.fails("error: 2 of 3 inputs have no answer");
    assert_eq!(done.out, "set/b/blue.png\n   57.61%  blue\n");
    let (shape, values) = read_npy(&workshop.path("y.npy"));
    assert_eq!(shape, "3, 3");
    assert!(values[..6].iter().all(|value| value.is_nan()));
    assert_eq!(values[6..], [0.0, 0.0, 1.0]);

    let done = workshop.resnet(&format!("{RUN} {pictures} --format json")).fails("bad.png");
    let out: Value = serde_json::from_str(&done.out).unwrap();
    assert!(out["results"][0]["error"].as_str().unwrap().contains("bad.png"));
    assert_eq!(out["results"][2]["top"][0]["label"], "blue");
}

#[test]
fn a_truncated_picture_is_an_error_or_at_wish_a_warning() {
    let workshop = with_pictures();
    let half = crate::RED_JPEG.len() - 10;
    workshop.write("cut.jpg", &crate::RED_JPEG[..half]);
    let run = format!("{RUN} cut.jpg set/red.jpg --top 1");
    let done = workshop.resnet(&run).fails("cannot decode `cut.jpg`: the file is truncated");
    assert_eq!(done.out, "set/red.jpg\n   57.52%  red\n");
    let done = workshop.resnet(&format!("{run} --allow-damaged"));
    assert_eq!(done.status, 0, "{}", done.err);
    assert!(done.err.starts_with("warning: `cut.jpg`: the file is truncated"), "{}", done.err);
    assert!(done.out.starts_with("cut.jpg\n"), "{}", done.out);
}

#[test]
fn what_a_folder_has_beside_pictures_is_counted() {
    let workshop = with_pictures();
    workshop.write("set/notes.txt", "no picture");
    workshop.write("set/a/photo.heic", "no picture that is read");
    workshop.write("set/._red.jpg", "of a Mac");
    workshop.write("set/.thumbnails/red.jpg", crate::RED_JPEG);
    let expected = workshop.resnet(&format!("{RUN} set/a/green.webp set/b set/red.jpg"));
    let done = workshop.resnet(&format!("{RUN} set"));
    assert_eq!((done.status, &done.out), (0, &expected.out), "{}", done.err);
    let note = "note: skipped in `set`: 2 files of other kinds (.heic, .txt), 2 hidden\n";
    assert_eq!(done.err, note);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("..", workshop.path("set/a/up")).unwrap();
        std::os::unix::fs::symlink("absent.png", workshop.path("set/gone.png")).unwrap();
        let done = workshop.resnet(&format!("{RUN} set"));
        assert_eq!((done.status, done.out), (0, expected.out), "{}", done.err);
        assert!(done.err.contains("2 hidden, 2 links to nothing or to a folder"), "{}", done.err);
    }
}

#[test]
fn a_picture_may_come_from_standard_input() {
    let workshop = Workshop::new();
    workshop.write("red.jpg", crate::RED_JPEG);
    let output = assert_cmd::cargo::cargo_bin_cmd!("resnet")
        .current_dir(workshop.folder.path())
        .args(RUN.split(' '))
        .args(["-", "--top", "1"])
        .pipe_stdin(workshop.path("red.jpg"))
        .unwrap()
        .output()
        .unwrap();
    assert_eq!(crate::Done::new(output).succeeds(), "-\n   57.52%  red\n");
}

#[test]
fn no_pictures_are_an_error() {
    let workshop = Workshop::new();
    workshop.write("empty/notes.txt", "");
    workshop.resnet(&format!("{RUN} empty")).fails("there are no pictures");
}

#[test]
fn arrays_go_in_and_out() {
    let workshop = Workshop::new();
    // Two pictures, each channel of one value.
    let planes = [1.0, 2.0, 3.0, 30.0, 20.0, 10.0];
    let values: Vec<f32> = planes.iter().flat_map(|&plane| [plane; 16]).collect();
    workshop.write("x.npy", write_npy("2, 3, 4, 4", &values));
    let out = workshop.resnet(&format!("{RUN} --input x.npy --output y.npy --top 1")).succeeds();
    assert_eq!(out, "x.npy[0]\n   66.52%  blue\nx.npy[1]\n  100.00%  red\n");
    assert_eq!(read_npy(&workshop.path("y.npy")), ("2, 3".to_owned(), planes.to_vec()));

    workshop.write("one.npy", write_npy("3, 4, 4", &values[..48]));
    workshop.resnet(&format!("{RUN} --input one.npy --output y.npy")).succeeds();
    assert_eq!(read_npy(&workshop.path("y.npy")), ("1, 3".to_owned(), planes[..3].to_vec()));
    let files = ["colours.safetensors", "colours.yaml", "one.npy", "x.npy", "y.npy"];
    assert_eq!(workshop.files(), files, "nothing temporary is left");
}

#[test]
fn values_that_are_not_finite_are_told() {
    let workshop = Workshop::new();
    let mut values = [0.5; 48];
    values[7] = f32::NAN;
    values[9] = f32::INFINITY;
    workshop.write("x.npy", write_npy("3, 4, 4", &values));
    let run = format!("{RUN} --input x.npy --format json");
    let expected = "`x.npy[0]` has 2 of 48 values that are not finite";
    let done = workshop.resnet(&run);
    assert_eq!(done.status, 0, "{}", done.err);
    assert!(done.err.contains(expected) && done.out.contains(expected), "{}{}", done.out, done.err);
}

#[test]
fn arrays_that_do_not_fit_are_explained() {
    let workshop = Workshop::new();
    let fails = |bytes: Vec<u8>, expected: &str| {
        workshop.write("x.npy", bytes);
        workshop.resnet(&format!("{RUN} --input x.npy")).fails(expected);
    };
    fails(write_npy("3, 4, 5", &[0.0; 60]), "[3, 4, 5]; the network takes [N, 3, 4, 4]");
    fails(write_npy("0, 3, 4, 4", &[]), "there are no pictures");
    fails(write_npy("3, 4, 4", &[0.0; 47]), "needs 192 bytes of elements, but the file has 188");
    fails(b"no array".to_vec(), "it is no .npy file");
    workshop.resnet(&format!("{RUN} --input absent.npy")).fails("there is no such file");
}

#[test]
fn an_output_that_cannot_be_written_loses_nothing() {
    let workshop = with_pictures();
    let run = |output: &str| workshop.resnet(&format!("{RUN} set --output {output}"));
    run("no/such/folder/y.npy").fails("cannot write `no/such/folder/y.npy`");
    run("set").fails("it is a folder");
    run("colours.safetensors").fails("would be written over the input");
    run("./set/../colours.yaml").fails("would be written over the input `colours.yaml`");
    run("set/b/blue.png").fails("would be written over the input");
    let before = std::fs::read(workshop.path("set/b/blue.png")).unwrap();
    assert!(before.starts_with(b"\x89PNG"));

    // An old file stays if the new one never comes to be.
    workshop.write("old.npy", "precious");
    let absent = "run colours.yaml --weights absent.safetensors set --output old.npy";
    workshop.resnet(absent).fails("there is no such file");
    assert_eq!(std::fs::read(workshop.path("old.npy")).unwrap(), b"precious");
    run("old.npy").fails("`old.npy` exists already and is not a .npy file: give `--force`");
    assert_eq!(std::fs::read(workshop.path("old.npy")).unwrap(), b"precious");
    run("old.npy --force").succeeds();
    assert_eq!(read_npy(&workshop.path("old.npy")).0, "3, 3");
    run("old.npy").succeeds();
}

#[test]
fn no_command_takes_the_place_of_a_file_of_another_kind() {
    let workshop = with_pictures();
    workshop.resnet("tune colours.yaml --threads 1 -o colours.schedule").succeeds();
    for (name, bytes) in [
        ("photo.png", std::fs::read(workshop.path("set/b/blue.png")).unwrap()),
        ("table.yaml", crate::COLOURS.into()),
        ("trained.safetensors", std::fs::read(workshop.path("colours.safetensors")).unwrap()),
    ] {
        workshop.write(name, &bytes);
        for command in [
            "pack colours.yaml --random-weights 1 -o",
            "emit colours.yaml --as nest -o",
            "emit colours.yaml --as onnx --random-weights 1 -o",
            "tune colours.yaml -o",
            "new --depth 18 -o",
            "sweep --cifar --n 1 --svg",
            "bench colours.yaml --profile --svg",
            &format!("{RUN} set --output"),
        ] {
            let done = workshop.resnet(&format!("{command} {name}"));
            done.fails(&format!("`{name}` exists already")).fails("give `--force`");
            assert_eq!(std::fs::read(workshop.path(name)).unwrap(), bytes, "{command} {name}");
        }
    }
}

#[test]
fn a_dash_is_standard_output_and_input() {
    let workshop = with_pictures();
    workshop.resnet(&format!("{RUN} set --output y.npy")).succeeds();
    let expected = std::fs::read(workshop.path("y.npy")).unwrap();
    let piped = |arguments: &str, input: &str| {
        assert_cmd::cargo::cargo_bin_cmd!("resnet")
            .current_dir(workshop.folder.path())
            .args(arguments.split_whitespace())
            .pipe_stdin(workshop.path(input))
            .unwrap()
            .output()
            .unwrap()
    };
    let run = format!("{} set --output -", RUN.replace("colours.yaml", "-"));
    assert_eq!(piped(&run, "colours.yaml").stdout, expected);
    workshop.write("x.npy", write_npy("3, 4, 4", &[0.25; 48]));
    let out = piped(&format!("{RUN} --input - --top 1"), "x.npy").stdout;
    assert_eq!(String::from_utf8(out).unwrap(), "-[0]\n   33.33%  red\n");
    let nest = workshop.resnet("emit colours.yaml --as nest").succeeds();
    assert_eq!(workshop.resnet("emit colours.yaml --as nest -o -").succeeds(), nest);
    assert!(
        workshop.resnet("sweep --cifar --n 1 --seconds 0 --svg -").succeeds().starts_with("<svg ")
    );
    assert!(!workshop.path("-").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_names_the_file() {
    let workshop = with_pictures();
    workshop
        .resnet(&format!("{RUN} set --output /dev/full"))
        .fails("error: cannot write `/dev/full`: No space left on device");
    workshop
        .resnet("pack colours.yaml --weights colours.safetensors -o /dev/full")
        .fails("error: cannot write `/dev/full`: No space left on device");
}

#[test]
fn json_lines_come_one_by_one() {
    let workshop = with_pictures();
    let out = workshop.resnet(&format!("{RUN} set --format jsonl --top 2")).succeeds();
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1]["input"], "set/b/blue.png");
    assert_eq!(lines[1]["top"].as_array().unwrap().len(), 2);
    assert!(lines[1].get("logits").is_none());
}

#[test]
fn labels_are_the_tables_or_those_that_are_asked_for() {
    let workshop = with_pictures();
    workshop.write("farben.txt", "rot\ngruen\nblau\n");
    let out = workshop.resnet(&format!("{RUN} set/b --top 1 --labels farben.txt")).succeeds();
    assert!(out.ends_with("  blau\n"), "{out}");
    // As Windows writes texts.
    workshop.write("farben.txt", "\u{feff}rot\r\ngruen\r\nblau\r\n");
    let out = workshop.resnet(&format!("{RUN} set/red.jpg --top 1 --labels farben.txt")).succeeds();
    assert!(out.ends_with("  rot\n"), "{out}");
    workshop
        .resnet(&format!("{RUN} set/b --labels imagenet"))
        .fails("`imagenet` names 1000 classes, but `colours` has 3");
    let done = workshop.resnet("run resnet18 --random-weights 1 --top 1 set/b");
    assert_eq!(done.status, 0, "{}", done.err);
    assert!(!done.out.contains("class "), "{}", done.out);
}

#[test]
fn weights_that_do_not_fit_are_explained() {
    let workshop = with_pictures();
    let run = |weights: &str, expected: &str| {
        workshop.resnet(&format!("run colours.yaml --weights {weights} set")).fails(expected);
    };
    run("absent.safetensors", "`absent.safetensors`: there is no such file");
    run("colours.yaml", "no valid safetensors file");
    workshop.write("checkpoint.pth", b"PK\x03\x04 and so on");
    run("checkpoint.pth", "is a PyTorch checkpoint");
    let mut matrix = [0.0; 9];
    matrix[4] = f32::NAN;
    workshop.weights("nan.safetensors", &matrix);
    run("nan.safetensors", "`fc.weight` is NaN at [1, 1]");
    workshop
        .resnet("run cifar10-resnet20 --weights colours.safetensors set")
        .fails("and 75 more")
        .fails("fc.weight: the network has [10, 64], the weights have [3, 3]");
}

#[test]
fn random_weights_are_the_same_for_a_seed() {
    let workshop = with_pictures();
    let run = |seed: u32| {
        let options = format!("run colours.yaml --random-weights {seed} set --format json");
        workshop.resnet(&options).succeeds()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_network_that_ends_in_softmax_is_not_softened_twice() {
    let workshop = with_pictures();
    let fc = "channels: 3}\n";
    let table = crate::COLOURS.replace(fc, &format!("{fc}  - {{layer: prob, op: softmax}}\n"));
    workshop.write("colours.yaml", table);
    let out = workshop.resnet(&format!("{RUN} set/b/blue.png --format json --logits")).succeeds();
    let result = &serde_json::from_str::<Value>(&out).unwrap()["results"][0];
    let probability = result["top"][0]["probability"].as_f64().unwrap();
    assert!((probability - 0.5761).abs() < 1e-4, "{probability}");
    assert_eq!(result["probabilities"].as_array().unwrap().len(), 3);
    assert!(result.get("logits").is_none());
}

#[test]
fn features_go_to_arrays() {
    let workshop = with_pictures();
    let table = "
name: features
input: 3x4x4
table:
  - {layer: conv1, op: conv, kernel: 3, channels: 5, stride: 2}
";
    workshop.write("features.yaml", table);
    let run = "run features.yaml --random-weights 1 set/red.jpg";
    workshop.resnet(run).fails("ends in features of [5, 2, 2], not in classes");
    assert_eq!(workshop.resnet(&format!("{run} --output y.npy")).succeeds(), "");
    assert_eq!(read_npy(&workshop.path("y.npy")).0, "1, 5, 2, 2");
    let out = workshop.resnet(&format!("{run} --format json")).succeeds();
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(out["results"][0]["features"].as_array().unwrap().len(), 20);
}

#[test]
fn pictures_for_a_network_of_five_channels_are_refused_with_advice() {
    let workshop = with_pictures();
    let table = crate::COLOURS.replace("3x4x4", "5x4x4").replace("[0, 0, 0]", "[0]");
    workshop.write("five.yaml", table.replace("[1, 1, 1]", "[1]"));
    workshop
        .resnet("run five.yaml --random-weights 1 set")
        .fails("an array of 5x4x4 instead (`--input");
}

#[test]
fn missing_normalisation_is_noted() {
    let workshop = with_pictures();
    let (table, _) = crate::COLOURS.split_once("preprocess").unwrap();
    workshop.write("colours.yaml", table);
    let done = workshop.resnet(&format!("{RUN} set --top 1"));
    assert_eq!(done.status, 0);
    assert!(done.err.starts_with("note: pictures are scaled to 0..1"), "{}", done.err);
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_whole_json_and_no_files() {
    let workshop = Workshop::new();
    // More answers than a pipe holds: the run waits for a reader.
    workshop.write("x.npy", write_npy("4000, 3, 4, 4", &vec![0.5; 4000 * 48]));
    let files = workshop.files();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("resnet"))
        .current_dir(workshop.folder.path())
        .args(RUN.split(' '))
        .args(["--input", "x.npy", "--output", "y.npy", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut json = vec![0; 8];
    stdout.read_exact(&mut json).unwrap();
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    stdout.read_to_end(&mut json).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let json: Value = serde_json::from_slice(&json).unwrap();
    // None, if the signal came before the first one was printed.
    let answers = json["results"].as_array().unwrap().len();
    assert!(answers < 4000, "{answers}");
    assert_eq!(workshop.files(), files);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let workshop = Workshop::new();
    // More answers than a pipe holds.
    workshop.write("x.npy", write_npy("4000, 3, 4, 4", &vec![0.5; 4000 * 48]));
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("resnet"))
        .current_dir(workshop.folder.path())
        .args(RUN.split(' '))
        .args(["--input", "x.npy", "--output", "y.npy", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 8];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(0));
    // The array is whole all the same.
    assert_eq!(read_npy(&workshop.path("y.npy")).0, "4000, 3");
}

#[test]
fn features_are_files_of_their_own() {
    let workshop = Workshop::new();
    let table = "
name: pyramid
input: 2x4x4
features: [whole, halves]
table:
  - {layer: whole, op: max_pool, kernel: 1}
  - {layer: halves, op: average_pool, kernel: 2, stride: 2, padding: 0}
  - {layer: mean, op: global_average_pool}
";
    workshop.write("pyramid.yaml", table);
    let values: Vec<f32> = (0..32).map(|i| i as f32).collect();
    workshop.write("x.npy", write_npy("1, 2, 4, 4", &values));
    let run = "run pyramid.yaml --random-weights 1 --input x.npy";
    workshop.resnet(run).fails("give it `--output Y.npy`");
    workshop.resnet(&format!("{run} --output y.npy")).succeeds();
    assert_eq!(read_npy(&workshop.path("y.whole.npy")), ("1, 2, 4, 4".to_owned(), values));
    let means = [2.5, 4.5, 10.5, 12.5, 18.5, 20.5, 26.5, 28.5].to_vec();
    assert_eq!(read_npy(&workshop.path("y.halves.npy")), ("1, 2, 2, 2".to_owned(), means));
    assert!(!workshop.path("y.npy").exists());
    let json = workshop.resnet(&format!("{run} --format json")).succeeds();
    assert!(json.contains(r#""output": [40], "features": [["whole",[2,4,4]],["halves",[2,2,2]]]"#));
}

/// Names of files and labels are data; a terminal would obey what is in them.
#[cfg(unix)]
#[test]
fn names_command_no_terminal() {
    let workshop = Workshop::new();
    let name = "red\u{1b}[2J\n.jpg";
    workshop.picture(name, [255, 0, 0]);
    workshop.write("labels", "a\u{1b}[31m\nb\nc\n");
    let run = ["run", "colours.yaml", "--weights", "colours.safetensors", "--top", "1"];
    let done = workshop.resnet_with(run.iter().copied().chain(["--labels", "labels", name]));
    let out = done.succeeds();
    assert!(out.starts_with("red\\u{1b}[2J\\n.jpg\n"), "{out}");
    assert!(out.contains("a\\u{1b}[31m") && !out.contains('\u{1b}'), "{out}");
    let done = workshop.resnet_with(run.iter().copied().chain(["none\u{1b}[2J"]));
    let done = done.fails("none\\u{1b}[2J");
    assert!(!done.err.contains('\u{1b}'), "{}", done.err);
}

#[test]
fn no_number_of_threads_is_a_panic() {
    let workshop = Workshop::new();
    workshop.picture("red.jpg", [255, 0, 0]);
    let run = "run colours.yaml --weights colours.safetensors red.jpg --threads";
    for threads in [usize::MAX, usize::MAX / 2 + 1, 1_000_000] {
        workshop.resnet(&format!("{run} {threads}")).fails("a pool has at most");
    }
}
