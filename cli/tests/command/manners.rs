//! What all commands have in common: what is said, where, in which form, and what is left behind.

use std::fs::File;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::{Done, Workshop};

/// Runs the command with a file as its standard input.
fn resnet_from(workshop: &Workshop, arguments: &str, stdin: &str) -> Done {
    let mut command = assert_cmd::cargo::cargo_bin_cmd!("resnet");
    let bytes = std::fs::read(workshop.path(stdin)).unwrap();
    let command = command.current_dir(workshop.folder.path()).args(arguments.split_whitespace());
    Done::new(command.write_stdin(bytes).output().unwrap())
}

#[test]
fn models_are_listed_and_their_tables_printed() {
    let workshop = Workshop::new();
    let list = workshop.resnet("models").succeeds();
    let line = list.lines().find(|line| line.starts_with("resnet18 ")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words, ["resnet18", "11.69M", "1.814G", "3x224x224"]);
    let json: Value =
        serde_json::from_str(&workshop.resnet("models --format json").succeeds()).unwrap();
    let entries = json.as_array().unwrap();
    assert_eq!(entries.len() + 1, list.lines().count());
    let entry = entries.iter().find(|entry| entry["name"] == "resnet18").unwrap();
    assert_eq!(entry["params"], 11_689_512);
    // A table that is printed is a table.
    let table = workshop.resnet("models cifar-resnet20").succeeds();
    workshop.write("mine.yaml", table);
    workshop.resnet("check mine.yaml").succeeds();
    workshop.resnet("models resnet51").fails("did you mean `resnet50`");
}

#[test]
fn several_tables_are_checked() {
    let workshop = Workshop::new();
    workshop.write("wrong.yaml", "name: w\ninput: 3x4x4\ntable: []\n");
    let both = workshop.resnet("check colours.yaml cifar-resnet20").succeeds();
    assert!(both.starts_with("colours: ") && both.contains("\n\ncifar-resnet20: "), "{both}");
    let json = workshop.resnet("check colours.yaml cifar-resnet20 --format json").succeeds();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json[0]["name"], &json[1]["name"]), (&"colours".into(), &"cifar-resnet20".into()));
    let done = workshop.resnet("check wrong.yaml colours.yaml absent.yaml").fails("wrong.yaml:3");
    let done = done.fails("`absent.yaml`: there is no such file");
    assert!(done.out.starts_with("colours: "), "{}", done.out);
}

#[test]
fn what_is_quiet_says_errors_only() {
    let workshop = Workshop::new();
    let table = crate::COLOURS.replace("mean: [0, 0, 0], std: [1, 1, 1]", "");
    workshop.write("plain.yaml", table.replace("crop: 4, }", "crop: 4}"));
    workshop.picture("red.png", [255, 0, 0]);
    let run = "run plain.yaml --weights colours.safetensors red.png";
    assert!(workshop.resnet(run).err.starts_with("note: "));
    workshop.resnet(&format!("{run} -q")).succeeds();
    workshop.resnet(&format!("--quiet {run} absent.png")).fails("error: ");
}

#[test]
fn errors_are_json_where_results_are() {
    let workshop = Workshop::new();
    workshop.write("wrong.yaml", crate::COLOURS.replace("channels: 3", "channels: -3"));
    let lines = |arguments: &str| -> Vec<Value> {
        let done = workshop.resnet(arguments).fails("");
        assert_eq!(done.out, "");
        done.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let lines_of_table = lines("check wrong.yaml --format json");
    let [mistake] = &lines_of_table[..] else { panic!("{lines_of_table:?}") };
    assert_eq!(mistake["level"], "error");
    assert_eq!(mistake["file"], "wrong.yaml");
    assert_eq!((&mistake["line"], &mistake["column"]), (&6.into(), &39.into()));
    assert_eq!(mistake["text"], "-3");
    assert!(mistake["message"].as_str().unwrap().contains("`channels` is -3"), "{mistake}");
    let run = "--weights absent.safetensors x.png";
    for format in ["json", "jsonl"] {
        let lines = lines(&format!("run colours.yaml {run} --format {format}"));
        let message = lines[0]["message"].as_str().unwrap();
        assert_eq!(lines.len(), 1);
        assert!(message.contains("`absent.safetensors`: there is no such file"), "{message}");
        assert!(lines[0].get("line").is_none());
    }
}

#[test]
fn colours_are_for_those_who_want_them() {
    let workshop = Workshop::new();
    let coloured =
        |arguments: &str| workshop.resnet(arguments).fails("error").err.contains('\u{1b}');
    workshop.write("wrong.yaml", crate::COLOURS.replace("channels: 3", "channels: -3"));
    for what in ["check wrong.yaml", "check absent.yaml"] {
        assert!(!coloured(what), "stderr is no terminal");
        assert!(!coloured(&format!("{what} --color never")));
        assert!(coloured(&format!("{what} --color always")));
    }
    workshop.resnet("check wrong.yaml --color sometimes").must_be_misuse("--color");
}

#[test]
fn lines_may_end_as_on_windows() {
    let workshop = Workshop::new();
    let table = crate::COLOURS.replace("channels: 3", "channels: -3").replace('\n', "\r\n");
    workshop.write("windows.yaml", table);
    let done = workshop.resnet("check windows.yaml").fails("windows.yaml:6:39");
    assert!(!done.err.contains(['\r', '\u{240d}']), "{}", done.err);
    workshop.write("windows.yaml", crate::COLOURS.replace('\n', "\r\n"));
    workshop.resnet("check windows.yaml").succeeds();
}

#[test]
fn shells_and_man_know_the_command() {
    let workshop = Workshop::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let text = workshop.resnet(&format!("completions {shell}")).succeeds();
        assert!(text.contains("random-weights"), "{shell}");
    }
    workshop.resnet("completions csh").must_be_misuse("csh");
    let said = workshop.resnet("man pages").succeeds();
    assert!(said.contains("resnet-run.1"), "{said}");
    let page = std::fs::read_to_string(workshop.path("pages/resnet-run.1")).unwrap();
    assert!(page.contains("random\\-weights"), "{page}");
    assert!(std::fs::read_to_string(workshop.path("pages/resnet.1")).unwrap().contains("eval"));
    // Those of an older command are replaced, and nothing else is.
    workshop.resnet("man pages").succeeds();
    workshop.write("pages/resnet-run.1", "my notes");
    workshop.resnet("man pages").fails("exists already and is not a page for `man`");
}

#[test]
fn what_a_killed_process_left_is_removed() {
    let workshop = Workshop::new();
    let old = SystemTime::now() - Duration::from_secs(3600);
    for (name, time) in [
        (".resnet-old.tmp", old),
        (".resnet-young.tmp", SystemTime::now()),
        (".resnet-locked.tmp", old),
        (".resnet-mine", old),
    ] {
        workshop.write(name, "");
        File::options().write(true).open(workshop.path(name)).unwrap().set_modified(time).unwrap();
    }
    let locked = File::open(workshop.path(".resnet-locked.tmp")).unwrap();
    locked.lock().unwrap();
    workshop.resnet("new --depth 18 -o mine.yaml").succeeds();
    let left: Vec<String> =
        workshop.files().into_iter().filter(|name| name.starts_with('.')).collect();
    assert_eq!(left, [".resnet-locked.tmp", ".resnet-mine", ".resnet-young.tmp"]);
}

#[test]
fn a_dash_stands_for_weights_too_and_for_one_file() {
    let workshop = Workshop::new();
    workshop.picture("red.png", [255, 0, 0]);
    let weights = "colours.safetensors";
    let out = resnet_from(&workshop, "run colours.yaml --weights - red.png --top 1", weights);
    assert!(out.succeeds().contains("red\n"));
    resnet_from(&workshop, "run colours.yaml --weights - -", weights)
        .fails("standard input: it has been read already: `-` can stand for one file");
    resnet_from(&workshop, "run - --weights - red.png", "colours.yaml").fails("`-` can stand for");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_output_is_named() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("resnet"));
    let output = command.args(["models"]).stdout(full).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.starts_with("error: cannot write to standard output: "), "{said}");
}

/// The file's tensors by other names.
fn renamed(bytes: &[u8], rename: impl Fn(&str) -> String) -> Vec<u8> {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let tensors = header.as_object().unwrap().iter();
    let header: serde_json::Map<String, Value> =
        tensors.map(|(name, value)| (rename(name), value.clone())).collect();
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes()[..], &header, &bytes[8 + length..]].concat()
}

#[test]
fn weights_by_other_names_are_to_be_imported() {
    let workshop = Workshop::new();
    let trained = "../models/cifar10/resnet20.safetensors";
    let bytes = std::fs::read(format!("{}/{trained}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let names = |name: &str| name.replace("fc.", "linear.");
    workshop.write("other.safetensors", renamed(&bytes, names));
    workshop.picture("red.png", [255, 0, 0]);
    workshop
        .resnet("run cifar10-resnet20 --weights other.safetensors red.png")
        .fails("fc.weight")
        .fails("by other names: `resnet import other.safetensors -o DIR` writes a table");
    // It does help.
    workshop.resnet("import other.safetensors -o imported -q").succeeds();
    let run = "run imported/other.yaml --weights imported/other.safetensors red.png -q";
    workshop.resnet(run).succeeds();
    // Where the numbers are no network's, it would not.
    let done =
        workshop.resnet("run cifar10-resnet20 --weights colours.safetensors red.png").fails("");
    assert!(!done.err.contains("import"), "{}", done.err);
}
