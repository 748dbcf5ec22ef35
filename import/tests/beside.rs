//! Folders as timm and transformers save them: `tests/hub/make.py` makes them, with PyTorch's answers.

mod common;

use std::path::{Path, PathBuf};

use common::{array, contains, run};
use resnet_import::{Imported, Options, import, import_bytes};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/hub").join(name)
}

/// Imports a folder and compares its answer with PyTorch's.
fn check(name: &str, options: &Options) -> Imported {
    let imported = import(folder(name), options).unwrap_or_else(|error| panic!("{name}: {error}"));
    let input = folder(name).join("input");
    run(&imported, &array(&input, "npy"), &array(&folder(name).join("output"), "npy"));
    imported
}

#[test]
fn the_architecture_says_what_tensors_do_not() {
    let imported = check("timm-blur", &Options::default());
    assert_eq!(imported.name, "resnetblur18");
    contains(
        &imported.table,
        &[
            "input: 3x64x80",
            "op: blur",
            "dilation: 2",
            "preprocess: {resize: 100, crop: 64x80, mean: [0.485, 0.456, 0.406]",
            "labels: resnetblur18.labels.txt",
        ],
    );
    assert_eq!(imported.table.matches("anti_alias: blur").count(), 3, "{}", imported.table);
    assert_eq!(imported.labels, ["a cat", "n02", "a dog"]);
    let notes = imported.notes.join("\n");
    contains(&notes, &["read beside the weights: `config.json` (timm's `resnetblur18`)"]);
    assert!(!notes.contains("assumed"), "{notes}");
    let read: Vec<_> = imported.beside.iter().filter_map(|path| path.file_name()).collect();
    assert_eq!(read, ["config.json", "model.safetensors"]);
}

#[test]
fn the_neighbour_of_a_file_is_read_and_options_come_first() {
    let options =
        Options { input: Some((32, 48)), resize: Some(50), mean: vec![0.5], ..Options::default() };
    let imported = import(folder("timm-blur").join("model.safetensors"), &options).unwrap();
    contains(
        &imported.table,
        &["input: 3x32x48", "{resize: 50, crop: 32x48, mean: [0.5]}", "op: blur"],
    );
}

#[test]
fn transformers_says_strides_and_pictures() {
    let imported = check("transformers-strides", &Options::default());
    contains(
        &imported.table,
        &[
            "input: 3x64x64",
            "stride_on: 1x1",
            "preprocess: {resize: 80, crop: 64, mean: [0.5, 0.4, 0.3], std: [0.2, 0.3, 0.4]}",
        ],
    );
    assert_eq!(imported.labels, ["cat", "dog", "a newt"]);
    let notes = imported.notes.join("\n");
    assert!(!notes.contains("assumed"), "{notes}");
    let options = Options { input: Some((64, 48)), ..Options::default() };
    let imported = check("transformers-backbone", &options);
    contains(&imported.table, &["features: [pool1, conv3_x]"]);
    let options = Options { input: Some((51, 64)), ..Options::default() };
    let imported = check("transformers-bit", &options);
    contains(
        &imported.table,
        &["activation: silu", "padding: same, ", "count_padding: true", "groups: 4"],
    );
}

/// A copy of a folder, with one of its files changed.
fn changed(name: &str, file: &str, change: impl Fn(&str) -> String) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in folder(name).read_dir().unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let path = copy.path().join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, change(&text)).unwrap();
    copy
}

#[test]
fn contradictions_show_both_sides() {
    let (timm, transformers) = ("timm-blur", "transformers-strides");
    for (name, from, to, expected) in [
        (timm, "resnetblur18", "resnetblur50", "has layers: 50, and the tensors have 18"),
        (timm, "\"resnetblur18\"", "\"resnetv2_18\"", "has norms before convolutions, and"),
        (
            timm,
            "\"num_classes\": 3",
            "\"num_classes\": 7",
            "has classes: 7, and the tensors have 3",
        ),
        (
            timm,
            "\"in_chans\": 3",
            "\"in_chans\": 1",
            "pictures of channels: 1, and the tensors have 3",
        ),
        (timm, "resnetblur18", "resnest14d", "timm's `resnest14d` has split attention"),
        (timm, "\"avg\"", "\"catavgmax\"", "a pool before its classifier that is neither average"),
        (
            timm,
            "\"output_stride\": 16",
            "\"output_stride\": 12",
            "`output_stride` is 12; 8, 16 or 32",
        ),
        (
            timm,
            "\"crop_pct\": 0.8",
            "\"crop_pct\": \"0.8\"",
            "`crop_pct` is \"0.8\"; a number above",
        ),
        (timm, "0.229", "0.0", "divides pictures by a deviation of 0; one above zero"),
        (timm, "0.229,", "", "2 deviations for pictures of 3 channels"),
        (timm, "{", "[", "`config.json` beside the weights is damaged, or not theirs"),
        (
            transformers,
            "\"embedding_size\": 8",
            "\"embedding_size\": 16",
            "channels of the stem: 16, and",
        ),
        (
            transformers,
            "\"bottleneck\"",
            "\"basic\"",
            "blocks of the kind basic, and the tensors have bottle",
        ),
        (transformers, "\"relu\"", "\"elu\"", "hidden_act"),
        ("transformers-bit", "\"SAME\"", "\"VALID\"", "`global_padding` is VALID"),
        ("transformers-bit", "\"SAME\"", "null", "a pool that is padded twice"),
    ] {
        let copy = changed(name, "config.json", |text| text.replace(from, to));
        let error = import(copy.path(), &Options::default()).unwrap_err().to_string();
        contains(&error, &[expected]);
    }
}

#[test]
fn arguments_that_no_table_has_are_refused() {
    let copy = changed("timm-blur", "config.json", |text| {
        let text = text.replace("resnetblur18", "resnext26ts");
        text.replace("\"in_chans\": 3", "\"in_chans\": 3, \"aa_layer\": \"avg\"")
    });
    let error = import(copy.path(), &Options::default()).unwrap_err().to_string();
    contains(&error, &["timm's `resnext26ts` has anti-aliasing in its shortcuts (`aa_layer`)"]);
}

#[test]
fn what_is_not_known_is_noted() {
    for (name, from, to, expected) in [
        (
            "timm-blur",
            "resnetblur18",
            "resnetnew18",
            "`resnetnew18`, which is none of timm's networks",
        ),
        (
            "timm-blur",
            "\"tag\"",
            "\"hue\"",
            "not known in `config.json` under `pretrained_cfg`, and not read: `hue`",
        ),
        ("timm-blur", "\"bilinear\"", "\"random\"", "with the filter `random`"),
        ("timm-blur", "\"center\"", "\"border\"", "`crop_mode: border`"),
        ("timm-blur", "\"n02\",", "", "left out: 2 labels, for 3 classes"),
        ("transformers-strides", "\"resnet\"", "\"detr\"", "nothing is taken from `config.json`"),
    ] {
        let copy = changed(name, "config.json", |text| text.replace(from, to));
        let notes = import(copy.path(), &Options::default()).unwrap().notes.join("\n");
        contains(&notes, &[expected]);
    }
}

#[test]
fn pictures_are_scaled_as_configurations_say() {
    for (from, to, expected) in [
        ("\"bilinear\"", "\"bicubic\"", "filter: bicubic"),
        ("\"bilinear\"", "\"lanczos\"", "filter: lanczos"),
        // Each side is its share, whatever the picture's shape is.
        ("\"center\"", "\"squash\"", "preprocess: {resize: 80x100, crop: 64x80"),
        ("\"avg\"", "\"max\"", "kernel: 4x5"),
    ] {
        let copy = changed("timm-blur", "config.json", |text| text.replace(from, to));
        contains(&import(copy.path(), &Options::default()).unwrap().table, &[expected]);
    }
    // Of other processors than ConvNeXt's.
    let other = |from: &str, to: &str| {
        let copy = changed("transformers-strides", "preprocessor_config.json", |text| {
            let text = text.replace("ConvNextImageProcessor", "BitImageProcessor");
            let size = "\"size\": {\n    \"shortest_edge\": 64\n  }";
            assert!(text.contains(size));
            text.replace(size, "\"size\": {\"shortest_edge\": 64}").replace(from, to)
        });
        import(copy.path(), &Options::default()).map(|imported| imported.table)
    };
    let edge = "{\"shortest_edge\": 64}";
    for (to, expected) in [
        ("{\"height\": 64, \"width\": 96}", "preprocess: {resize: 64x96, crop: 64x96"),
        ("70, \"crop_size\": 64", "preprocess: {resize: 70, crop: 64"),
        (
            "70, \"crop_size\": {\"height\": 48, \"width\": 64}",
            "preprocess: {resize: 70, crop: 48x64",
        ),
        (
            "{\"height\": 80, \"width\": 120}, \"crop_size\": {\"height\": 64, \"width\": 96}",
            "preprocess: {resize: 80x120, crop: 64x96",
        ),
        ("64, \"do_flip_channel_order\": true", "channels: bgr}"),
    ] {
        contains(&other(edge, to).unwrap(), &[expected]);
    }
    for (to, expected) in [
        (
            "{\"longest_edge\": 80}",
            "`size` is {\"longest_edge\":80}; `shortest_edge`, or `height` and",
        ),
        (
            "{\"height\": 80, \"width\": 120}, \"crop_size\": 64",
            "`crop_size` is [64, 64]; the shape of `size`, or a part of it",
        ),
    ] {
        contains(&other(edge, to).unwrap_err().to_string(), &[expected]);
    }
    let bytes = |text: &str| {
        let numbers = [
            ("0.485", "123.675"),
            ("0.456", "116.28"),
            ("0.406", "103.53"),
            ("0.229", "58.395"),
            ("0.224", "57.12"),
        ];
        let text = numbers.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
        text.replace("0.225", "57.375")
    };
    let copy = changed("timm-blur", "config.json", bytes);
    let imported = import(copy.path(), &Options::default()).unwrap();
    contains(&imported.table, &["mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]"]);
    contains(
        &imported.notes.join("\n"),
        &["means and deviations are of values from 0 to 255; divided"],
    );
}

/// Not whole: a byte changed, lost or doubled. None is a panic.
#[test]
fn damaged_configurations_are_errors_or_networks() {
    let mut errors = 0;
    for (name, file) in [
        ("timm-blur", "config.json"),
        ("transformers-strides", "config.json"),
        ("transformers-strides", "preprocessor_config.json"),
        ("transformers-bit", "config.json"),
    ] {
        let mut state = name.len() as u64;
        let mut below = |bound: usize| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 33) as usize % bound
        };
        let whole = std::fs::read(folder(name).join(file)).unwrap();
        let copy = changed(name, file, str::to_owned);
        for _ in 0..200 {
            let mut bytes = whole.clone();
            let place = below(bytes.len());
            match below(4) {
                0 => bytes.truncate(place),
                1 => bytes[place] ^= 1 << below(8),
                2 => bytes[place] = b"0123456789-.e[]{},:\""[below(20)],
                _ => drop(bytes.drain(place..whole.len().min(place + 1 + below(9)))),
            }
            std::fs::write(copy.path().join(file), bytes).unwrap();
            match import(copy.path(), &Options::default()) {
                Ok(imported) => imported.write_weights(&mut std::io::sink()).unwrap(),
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    errors += 1;
                }
            }
        }
    }
    assert!(errors > 200, "only {errors} of 800 were noticed");
}

#[test]
fn files_that_are_alone_are_hinted_at_and_told_apart() {
    let bytes = || std::fs::read(folder("timm-blur").join("model.safetensors")).unwrap();
    let name = "resnetblur18.bt_in1k.safetensors";
    // The last stage has dilation in the place of its stride.
    let dilated =
        || Options { strides: vec![1, 2, 2, 1], dilations: vec![1, 1, 1, 2], ..Options::default() };
    let notes = import_bytes(bytes(), name, &dilated()).unwrap().notes.join("\n");
    contains(
        &notes,
        &["timm's `resnetblur18`, which has anti-aliasing (blur)", "`--architecture resnetblur18`"],
    );
    let given =
        |architecture: &str| Options { architecture: Some(architecture.to_owned()), ..dilated() };
    let imported = import_bytes(bytes(), name, &given("resnetblur18")).unwrap();
    assert_eq!(imported.table.matches("anti_alias: blur").count(), 3, "{}", imported.table);
    for (other, expected) in [
        ("resnet_18", "`--architecture resnet_18` is none of timm's residual networks"),
        ("resnet50", "timm's `resnet50` has layers: 50"),
    ] {
        let error = import_bytes(bytes(), name, &given(other)).unwrap_err().to_string();
        contains(&error, &[expected]);
    }
}

#[test]
fn folders_without_one_set_of_weights_are_errors() {
    let empty = tempfile::tempdir().unwrap();
    let error = |expected: &str| {
        let error = import(empty.path(), &Options::default()).unwrap_err().to_string();
        contains(&error, &[expected]);
    };
    error("there are no files in this folder");
    std::fs::write(empty.path().join("README.md"), "").unwrap();
    error("`model.safetensors` or `pytorch_model.bin` is expected, found `README.md`");
    for name in ["a.pth", "b.safetensors"] {
        std::fs::write(empty.path().join(name), "").unwrap();
    }
    error("several files of this folder may be the weights: `a.pth`, `b.safetensors`");
    std::fs::write(empty.path().join("model.safetensors.index.json"), "{}").unwrap();
    error("divided into several files, which `model.safetensors.index.json` lists");
}

/// A cache of Hugging Face's hub keeps files under their hashes, and links to them.
#[cfg(unix)]
#[test]
fn links_of_a_cache_are_followed() {
    use std::os::unix::fs::symlink;
    let cache = tempfile::tempdir().unwrap();
    let repository = cache.path().join("models--timm--resnetblur18.small");
    let snapshot = repository.join("snapshots/0123abcd");
    std::fs::create_dir_all(&snapshot).unwrap();
    for (name, hash) in [("model.safetensors", "aa"), ("config.json", "bb")] {
        std::fs::copy(folder("timm-blur").join(name), repository.join(hash)).unwrap();
        symlink(Path::new("../..").join(hash), snapshot.join(name)).unwrap();
    }
    let imported = import(&snapshot, &Options::default()).unwrap();
    assert_eq!(imported.name, "resnetblur18.small");
    contains(&imported.table, &["from resnetblur18.small/model.safetensors", "op: blur"]);
}
