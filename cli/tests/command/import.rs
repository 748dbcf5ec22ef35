use std::path::Path;

use crate::{Done, Workshop, read_npy};

fn golden(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/import").join(name);
    path.display().to_string()
}

#[test]
fn a_checkpoint_becomes_a_table_and_weights_that_answer_as_pytorch_does() {
    let workshop = Workshop::new();
    let checkpoint = golden("groups.pth");
    let done = workshop
        .resnet(&format!("import {checkpoint} -o made/here --input 37x33 --mean 0.5 --std 0.25"));
    assert_eq!(done.status, 0, "{}", done.err);
    assert!(done.out.contains("groups.yaml") && done.out.contains("groups.safetensors"));
    assert!(done.err.contains("note: assumed, as is usual: "), "{}", done.err);
    assert!(!done.err.contains("note: assumed: "), "nothing unusual: {}", done.err);
    let verbose = workshop.resnet(&format!("import {checkpoint} -o made/again --input 37x33 -v"));
    assert!(
        verbose.err.contains("note: assumed: bottlenecks have their stride"),
        "{}",
        verbose.err
    );
    let input = golden("groups.input.npy");
    workshop
        .resnet(&format!(
            "run made/here/groups.yaml --weights made/here/groups.safetensors --input {input} \
             --output answers.npy"
        ))
        .succeeds();
    let (_, found) = read_npy(&workshop.path("answers.npy"));
    let (_, expected) = read_npy(Path::new(&golden("groups.output.npy")));
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0, |max: f32, value| max.max(value.abs()));
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() <= 1e-4 * largest, "{found}, PyTorch {expected}");
    }
}

#[test]
fn a_checkpoint_may_come_from_standard_input() {
    let workshop = Workshop::new();
    let import = |arguments: &str, bytes: Vec<u8>| {
        let mut command = assert_cmd::cargo::cargo_bin_cmd!("resnet");
        command.current_dir(workshop.folder.path()).args(arguments.split_whitespace());
        Done::new(command.write_stdin(bytes).output().unwrap())
    };
    let checkpoint = std::fs::read(golden("groups.pth")).unwrap();
    workshop.resnet(&format!("import {} -o file", golden("groups.pth")));
    let done = import("import - -o piped --name groups", checkpoint.clone());
    assert_eq!(done.status, 0, "{}", done.err);
    let read = |name: &str| std::fs::read(workshop.path(name)).unwrap();
    assert_eq!(read("piped/groups.safetensors"), read("file/groups.safetensors"));
    let rows = |name: &str| {
        let text = String::from_utf8(read(name)).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(rows("piped/groups.yaml"), rows("file/groups.yaml"));
    let done = import("import - -o unnamed", std::fs::read(golden("folded.onnx")).unwrap());
    assert_eq!(done.status, 0, "{}", done.err);
    assert!(workshop.path("unnamed/network.yaml").is_file());
    import("import - -o none", Vec::new()).fails("`-` is an empty file");
    import("import - -o none", checkpoint[..checkpoint.len() / 2].to_vec()).fails("`-` is damaged");
    // Its elements are in another file.
    import("import - -o none", std::fs::read(golden("dynamo.onnx")).unwrap())
        .fails("dynamo.onnx.data");
    workshop.resnet(&format!("import {} -o -", golden("groups.pth"))).fails("a folder is expected");
    workshop.resnet("man -").fails("a folder is expected");
    assert!(!workshop.path("none").exists() && !workshop.path("-").exists());
}

#[test]
fn an_onnx_file_beside_its_weights_becomes_a_table() {
    let workshop = Workshop::new();
    for name in ["dynamo.onnx", "dynamo.onnx.data", "dynamo.input.npy"] {
        std::fs::copy(golden(name), workshop.path(name)).unwrap();
    }
    let done = workshop.resnet("import dynamo.onnx -o made");
    assert_eq!(done.status, 0, "{}", done.err);
    assert!(!done.err.contains("assumed"), "an ONNX file tells all: {}", done.err);
    let run = "run made/dynamo.yaml --weights made/dynamo.safetensors --input dynamo.input.npy";
    workshop.resnet(&format!("{run} --output answers.npy")).succeeds();
    let (_, found) = read_npy(&workshop.path("answers.npy"));
    let (_, expected) = read_npy(Path::new(&golden("dynamo.output.npy")));
    let largest = expected.iter().fold(0.0, |max: f32, value| max.max(value.abs()));
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() <= 1e-4 * largest, "{found}, ONNX Runtime {expected}");
    }
    workshop.resnet("import dynamo.onnx -o made --pool true").fails("leave it out");
    #[cfg(unix)]
    {
        std::fs::create_dir(workshop.path("taken")).unwrap();
        let weights = workshop.path("taken/dynamo.safetensors");
        std::os::unix::fs::symlink("../dynamo.onnx.data", weights).unwrap();
        workshop.resnet("import dynamo.onnx -o taken").fails("would be written over the input");
    }
    std::fs::remove_file(workshop.path("dynamo.onnx.data")).unwrap();
    workshop.resnet("import dynamo.onnx -o made").fails("has to lie beside the ONNX file");
}

#[test]
fn what_cannot_be_imported_is_refused_and_nothing_is_written() {
    let workshop = Workshop::new();
    workshop.resnet("import missing.pth -o made").fails("there is no such file");
    workshop.resnet("import colours.yaml -o made").fails("of an unknown format");
    workshop.resnet("import colours.safetensors -o made").fails("no residual blocks");
    assert!(!workshop.path("made").exists());
}

#[test]
fn anti_aliasing_is_an_option() {
    let workshop = Workshop::new();
    let checkpoint = golden("../blur.safetensors");
    let import = format!("import {checkpoint} -o made --input 37x42");
    let plain = workshop.resnet(&format!("{import} --verbose"));
    assert!(plain.err.contains("else `--anti-alias blur` for timm's"), "{}", plain.err);
    let blurred = format!("{import} --anti-alias blur");
    workshop.resnet(&blurred).fails("`made/blur.yaml` exists already: give `--force`");
    let blurred = workshop.resnet(&format!("{blurred} --force"));
    assert_eq!(blurred.status, 0, "{}", blurred.err);
    let table = std::fs::read_to_string(workshop.path("made/blur.yaml")).unwrap();
    assert_eq!(table.matches("anti_alias: blur").count(), 3, "{table}");
    let basic = golden("basic.pth");
    workshop
        .resnet(&format!("import {basic} -o made --stride-on 1x1"))
        .fails("that is the first one anyway (else `second`); leave it out");
}
