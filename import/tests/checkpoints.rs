//! Checkpoints of PyTorch, imported and run, against the outputs that PyTorch computed; and files that
//! nobody should trust. `tests/golden/make_import.py` made them.

mod common;
mod saved;

use std::io::Write;
use std::path::{Path, PathBuf};

use common::{array, contains, run};
use resnet_import::{
    Activation, AntiAlias, ImportError, Imported, Options, Shortcut, StemPool, StrideOn, import,
    import_bytes,
};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/import").join(name)
}

fn small() -> Options {
    Options { input: Some((37, 33)), ..Options::default() }
}

fn imported(name: &str) -> Imported {
    let options = if name.starts_with("cifar") { Options::default() } else { small() };
    import(file(name), &options).unwrap_or_else(|error| panic!("{error}"))
}

/// Imports a checkpoint, runs it, and compares; returns its table.
fn check(name: &str) -> String {
    let imported = imported(name);
    run(&imported, &array(&file(name), "input.npy"), &array(&file(name), "output.npy"));
    imported.table
}

#[test]
fn networks_of_torchvision() {
    let table = check("basic.pth");
    contains(&table, &["name: basic\n", "op: basic,", "repeat: 2,", "stride: 2,", "channels: 9,"]);
    assert!(!table.contains("weights:"), "the names are torchvision's:\n{table}");
    contains(&check("groups.pth"), &["op: bottleneck,", "groups: 2,", "width: 6,"]);
    check("legacy.pth");
    check("channels-last.pt");
    check("half.pth");
}

#[test]
fn networks_of_timm() {
    let table = check("deep-stem.safetensors");
    contains(&table, &["weights: conv1.6, norm_weights: bn1,", "shortcut: pool_projection,"]);
    contains(&check("squeeze.safetensors"), &["squeeze_excitation: {channels: 8},"]);
    contains(&check("eca.pth"), &["eca: 3,"]);
    let table = check("pre-activation.pth");
    contains(&table, &["pre_activation: true", "weights: stages.1.blocks,", "op: norm"]);
}

/// Attention before a block's last convolution, sums without an activation, convolutions and norms after the last
/// block: what names and shapes show, with the activation that they do not.
#[test]
fn regnets_of_timm() {
    let silu = |name: &str, options: Options| {
        let options = Options { activation: Some(Activation::Silu), ..options };
        let imported = import(file(name), &options).unwrap_or_else(|error| panic!("{error}"));
        run(&imported, &array(&file(name), "input.npy"), &array(&file(name), "output.npy"));
        imported.table
    };
    let table = check("regnet-y.safetensors");
    contains(&table, &["conv4_1,", "conv4_2,", "squeeze_excitation: {channels: 2},"]);
    contains(&table, &["attention_on: 3x3,", "renamed"]);
    let table = silu("regnet-z.safetensors", small());
    contains(&table, &["shortcut: identity,", "output_activation: none,", "activation: silu"]);
    let table = silu("regnet-v.safetensors", small());
    contains(&table, &["pre_activation: true", "output_activation: silu,"]);
    let table = silu("byobnet-z.safetensors", small());
    contains(&table, &["layer: final", "stem3,", "--pool true"]);
    let table = silu("byobnet-mlp.safetensors", small());
    contains(&table, &["norm: none", "layer: hidden", "op: norm"]);
}

#[test]
fn blocks_that_differ_are_rows_of_their_own() {
    let table = check("pruned.pth");
    contains(&table, &["conv2_1,", "conv2_2,", "width: [4, "]);
}

#[test]
fn networks_with_other_names() {
    contains(&check("cifar-a.pth"), &["input: 3x32x32", "shortcut: zero_pad,", "weights: linear"]);
    check("cifar-b.safetensors");
    let table = check("cifar-wide.pth");
    contains(&table, &["pre_activation: true", "conv3_x, op: basic", "stride: 2,"]);
    let table = check("hugging-face.safetensors");
    contains(&table, &["renamed"]);
}

#[test]
fn elements_keep_their_type() {
    let imported = imported("half.pth");
    let mut bytes = Vec::new();
    imported.write_weights(&mut bytes).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let dtype = file.tensor("layer1.0.conv1.weight").unwrap().dtype();
    assert_eq!(dtype, safetensors::Dtype::F16);
}

#[test]
fn what_cannot_be_known_is_said_and_can_be_set() {
    let notes = imported("groups.pth").said_at_length().join("\n");
    for said in [
        "the state dict is the one under `state_dict`",
        "the prefix `module.`",
        "`num_batches_tracked`",
        "--stride-on 1x1",
        "--anti-alias blur",
        "--anti-alias average",
        "the stages' strides are 1,2,2,2 (else `--strides 1,2,1,1` or `--strides 1,2,2,1`)",
        "no dilation (else `--dilations 1,1,2,4` or `--dilations 1,1,1,2`)",
        "--pool false",
        "--mean",
    ] {
        assert!(notes.contains(said), "no `{said}` in\n{notes}");
    }
    let options = Options {
        name: Some("plain".to_owned()),
        shortcut: Some(Shortcut::None),
        strides: vec![1, 1, 2],
        pool: Some(StemPool::Max),
        norm_epsilon: Some(0.001),
        mean: vec![0.5],
        std: vec![0.25],
        ..Options::default()
    };
    let imported = import(file("cifar-a.pth"), &options).unwrap();
    let cells =
        ["name: plain\n", "shortcut: none", "norm_epsilon: 0.001", "mean: [0.5]", "max_pool"];
    contains(&imported.table, &cells);
    assert_eq!(imported.table.matches("stride: 2").count(), 2, "{}", imported.table);
    let options = Options { strides: vec![1], ..Options::default() };
    let error = import(file("cifar-a.pth"), &options).unwrap_err().to_string();
    assert!(error.contains("1 strides were given for 3 stages"), "{error}");
    let options = Options { key: Some("optimizer".to_owned()), ..Options::default() };
    let error = import(file("groups.pth"), &options).unwrap_err().to_string();
    let expected = "no dict of tensors under `optimizer`; its keys are `state`, `param_groups`";
    assert!(error.contains(expected), "{error}");
}

/// Networks of timm whose blurs and averages leave nothing in the checkpoint.
#[test]
fn anti_aliasing_can_be_set() {
    for (name, input, anti_alias, rows) in [
        ("blur", (37, 42), AntiAlias::Blur, ["op: max_pool,", "op: blur,"]),
        ("anti-alias-average", (64, 64), AntiAlias::Average, ["op: average_pool,", "padding: 0,"]),
    ] {
        let path = file("..").join(format!("{name}.safetensors"));
        let options =
            Options { input: Some(input), anti_alias: Some(anti_alias), ..Options::default() };
        let imported = import(&path, &options).unwrap();
        run(&imported, &array(&path, "input.npy"), &array(&path, "output.npy"));
        contains(&imported.table, &rows);
        let cell = format!("anti_alias: {}", anti_alias.word());
        assert_eq!(imported.table.matches(&cell).count(), 3, "{}", imported.table);
        assert!(!imported.table.contains("--anti-alias"), "{}", imported.table);
    }
}

#[test]
fn options_that_would_change_nothing_are_refused() {
    let on_first = Options { stride_on: Some(StrideOn::First), ..small() };
    let flat =
        Options { anti_alias: Some(AntiAlias::Blur), strides: vec![1; 3], ..Options::default() };
    let key = Options { key: Some("model".to_owned()), ..Options::default() };
    for (name, options, expected) in [
        ("basic.pth", on_first, "`--stride-on` says which convolution of a block"),
        ("cifar-a.pth", flat, "`--anti-alias` takes the place of strides"),
        ("cifar-b.safetensors", key, "`--key` names a dict of a PyTorch file"),
    ] {
        let error = import(file(name), &options).unwrap_err().to_string();
        contains(&error, &[expected, "leave it out"]);
    }
}

/// An archive as `torch.save` makes it, with this pickle.
fn archive(pickle: &[u8]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    writer.start_file("archive/data.pkl", stored).unwrap();
    writer.write_all(pickle).unwrap();
    writer.finish().unwrap().into_inner()
}

#[test]
fn code_is_refused_by_its_name() {
    let evil = b"\x80\x02cos\nsystem\nX\x04\0\0\0evil\x85R.";
    let stacked = b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x041+11\x85R.";
    // In the older form the object is the fourth pickle.
    let mut old = std::fs::read(file("legacy.pth")).unwrap();
    let mut pickles = old.windows(2).enumerate().filter(|(_, bytes)| *bytes == b"\x80\x02");
    let (object, _) = pickles.nth(3).unwrap();
    old.truncate(object);
    old.extend_from_slice(evil);
    old.extend_from_slice(b"\x80\x02].");
    for (bytes, expected) in [
        (archive(evil), "os.system"),
        (old, "os.system"),
        (archive(stacked), "builtins.eval"),
        (archive(b"\x80\x02ctorchvision.models.resnet\nResNet\n)\x81."), "resnet.ResNet"),
    ] {
        let error = import_bytes(bytes, "evil.pth", &Options::default()).unwrap_err();
        assert!(matches!(&error, ImportError::Code { global, .. } if global.ends_with(expected)));
        let said = error.to_string();
        assert!(said.contains("would have to be run") && said.contains("refused"), "{said}");
    }
}

#[test]
fn claims_that_do_not_hold_are_errors() {
    // Deep nesting, a cycle of lists, endless marks: all of it is a few bytes of memory a step.
    let nested = [b"\x80\x02)".as_slice(), &b"\x85".repeat(250_000), b"."].concat();
    let endless = [b"\x80\x02".as_slice(), &b"(".repeat(6_000_000)].concat();
    let cycle = b"\x80\x02]q\0h\0a.".to_vec();
    for (pickle, expected) in [
        (nested, "something other than a dict"),
        (endless, "its values take more than 40 MB"),
        (cycle, "something other than a dict"),
        (b"\x80\x02}".to_vec(), "the pickle ends early"),
        (b"\x80\x02}.".to_vec(), "it is an empty dict; save `model.state_dict()`"),
        (b"\x80\x02}K\x01K\x02s.".to_vec(), "none of its keys is a text. Name the state dict's"),
        (b"\x80\x02}X\x01\0\0\0aK\x02s.".to_vec(), "its keys are `a`. Name the state dict's"),
        (b"\x80\x02K\x01u.".to_vec(), "a mark is needed"),
        (b"\x80\x02i.".to_vec(), "0x69 is no opcode"),
    ] {
        let bytes = archive(&pickle);
        let error = import_bytes(bytes, "claims.pth", &Options::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "no `{expected}` in {error}");
    }
    let empty = import_bytes(Vec::new(), "x.pth", &Options::default()).unwrap_err().to_string();
    assert!(empty.contains("is an empty file; networks are read from"), "{empty}");
    let other = import_bytes(b"GGUF....".to_vec(), "x.pth", &Options::default()).unwrap_err();
    assert!(matches!(other, ImportError::Foreign { .. }), "{other}");
    let long = [u64::MAX.to_le_bytes().as_slice(), b"{}"].concat();
    let error = import_bytes(long, "x", &Options::default()).unwrap_err();
    assert!(matches!(error, ImportError::Corrupt { .. }), "{error}");
}

/// A safetensors file of zeros.
fn zeros(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let bytes = vec![0; 1 << 16];
    let views = tensors.iter().map(|&(name, shape)| {
        let length = shape.iter().product::<usize>() * 4;
        let dtype = safetensors::Dtype::F32;
        let view = safetensors::tensor::TensorView::new(dtype, shape.to_vec(), &bytes[..length]);
        (name, view.unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn other_networks_are_named() {
    let conv: (&str, &[usize]) = ("layer1.0.conv1.weight", &[4, 4, 3, 3]);
    for (tensors, expected) in [
        (&[][..], "there are no tensors in it"),
        (&[("cls", &[4][..])], "such as `layer1.0.conv1`, found `cls`"),
        (&[conv, ("layer1.0.bn1.weight", &[4])], "`layer1.0.bn1` is no norm"),
        (&[conv, ("layer1.0.conv2.1.filt", &[4, 1, 3, 3])], "is the filter of a blur"),
    ] {
        let error = import_bytes(zeros(tensors), "x", &Options::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "no `{expected}` in {error}");
    }
    // A head for segmentation beside a backbone.
    let mut names = Vec::new();
    for conv in ["conv1", "conv2"] {
        names.push((format!("backbone.layer1.0.{conv}.weight"), vec![4, 4, 3, 3]));
    }
    for norm in ["bn1", "bn2"] {
        for part in ["weight", "bias", "running_mean", "running_var"] {
            names.push((format!("backbone.layer1.0.{norm}.{part}"), vec![4]));
        }
    }
    names.push(("backbone.conv1.weight".to_owned(), vec![4, 3, 7, 7]));
    names.push(("classifier.0.weight".to_owned(), vec![8, 16, 3, 3]));
    let names: Vec<(&str, &[usize])> = names.iter().map(|(n, s)| (n.as_str(), &**s)).collect();
    let error = import_bytes(zeros(&names), "x", &Options::default()).unwrap_err().to_string();
    assert!(error.contains("`classifier.0` reads 16 channels"), "{error}");
}

#[test]
fn every_tensor_is_read_or_named() {
    let table = check("cifar-some-biases.pth");
    assert_eq!(table.matches("bias: true").count(), 2, "{table}");
    let notes = imported("cifar-some-biases.pth").notes.join("\n");
    contains(
        &notes,
        &["biases that the file does not have are zeros: `layer2.0.conv1.bias`", "more"],
    );
    let whole = std::fs::read(file("cifar-b.safetensors")).unwrap();
    let whole = safetensors::SafeTensors::deserialize(&whole).unwrap();
    let left_out =
        ["layer1.0.bn1.tau", "layer2.1.conv1.mask", "layer3.0.shortcut.0.scale", "linear.v"];
    for extra in left_out {
        let more = whole.tensor("bn1.weight").unwrap();
        let tensors = whole.tensors().into_iter().chain([(extra.to_owned(), more)]);
        let bytes = safetensors::serialize(tensors, None).unwrap();
        let error = import_bytes(bytes, "x", &Options::default()).unwrap_err().to_string();
        contains(&error, &[&format!("no place for `{extra}`")]);
    }
}

#[test]
fn norms_without_statistics_are_group_norms() {
    let mut names = vec![("conv1.weight".to_owned(), vec![32, 3, 3, 3])];
    for number in [1, 2] {
        names.push((format!("layer1.0.conv{number}.weight"), vec![32, 32, 3, 3]));
        for part in ["weight", "bias"] {
            names.push((format!("layer1.0.bn{number}.{part}"), vec![32]));
        }
    }
    names.extend(["weight", "bias"].map(|part| (format!("bn1.{part}"), vec![32])));
    let read = |names: &[(String, Vec<usize>)]| {
        let names: Vec<(&str, &[usize])> = names.iter().map(|(n, s)| (n.as_str(), &**s)).collect();
        import_bytes(zeros(&names), "x", &Options::default())
    };
    let imported = read(&names).unwrap();
    assert_eq!(imported.table.matches("norm: group").count(), 2, "{}", imported.table);
    contains(&imported.table, &["norms without statistics are group norms of 32 groups"]);
    names.extend(["running_mean", "running_var"].map(|part| (format!("bn1.{part}"), vec![32])));
    let error = read(&names).unwrap_err().to_string();
    contains(&error, &["`layer1.0.bn1` has no `running_mean`, and other norms have one"]);
}

/// A generator of numbers that are good enough to break files with (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

#[test]
fn damaged_files_are_errors_or_networks() {
    let mut errors = 0;
    let names = [
        "basic.pth",
        "legacy.pth",
        "channels-last.pt",
        "cifar-b.safetensors",
        "pre-activation.pth",
        "folded.onnx",
        "old.onnx",
        "keras.onnx",
        "grouped.onnx",
        "averaged.onnx",
        "saved/training-old-4.pth",
        "saved/training-5.pth",
        "saved/module.pth",
        "saved/arrays-2.pkl",
        "saved/arrays-4.pkl",
        "saved/arrays-5.pkl",
        "saved/tensors-4.pkl",
        "saved/dict.npy",
        "saved/arrays.npz",
        "saved/expanded.pth",
        "../../int8/torch-channels.pth",
        "../../int8/torch-tensor.pth",
    ];
    for name in names {
        let whole = std::fs::read(file(name)).unwrap();
        let mut numbers = Numbers(name.len() as u64);
        for _ in 0..200 {
            let mut bytes = whole.clone();
            // Formats keep what they claim at the beginning and at the end.
            let length = bytes.len();
            let end = [length, length.min(4096)][numbers.below(2)];
            let place = numbers.below(end);
            let place = if numbers.below(3) == 0 { length - 1 - place } else { place };
            match numbers.below(4) {
                0 => bytes.truncate(place),
                1 => bytes[place] ^= 1 << numbers.below(8),
                2 => bytes[place..length.min(place + 8)].fill([0, 0x7f, 0xff][numbers.below(3)]),
                _ => {
                    let from = numbers.below(length - 16);
                    let to = place.min(length - 16);
                    bytes.copy_within(from..from + 16, to);
                }
            }
            let options = if name.ends_with("onnx") { Options::default() } else { small() };
            match import_bytes(bytes, name, &options) {
                Ok(imported) => imported.write_weights(&mut std::io::sink()).unwrap(),
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    errors += 1;
                }
            }
        }
    }
    assert!(errors > 1000, "only {errors} of 4400 were noticed");
}
