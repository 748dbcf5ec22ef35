//! Names without a hierarchy: Keras's, against the output that Keras computed (`tests/golden/make_keras.py`), and
//! Caffe's.

mod common;

use std::path::{Path, PathBuf};

use common::{array, contains, run};
use resnet_import::{Imported, Options, StemPool, StrideOn, import, import_bytes};
use safetensors::tensor::TensorView;
use safetensors::{SafeTensors, serialize};

fn keras() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/import/keras-names.safetensors")
}

fn options() -> Options {
    Options { input: Some((37, 33)), ..Options::default() }
}

/// Imports a file with other names; `None` leaves a tensor out.
fn renamed(
    bytes: &[u8],
    name: impl Fn(&str) -> Option<String>,
) -> Result<Imported, resnet_import::ImportError> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let tensors: Vec<(String, TensorView<'_>)> =
        file.iter().filter_map(|(old, view)| Some((name(old)?, view))).collect();
    import_bytes(serialize(tensors, None).unwrap(), "flat.safetensors", &options())
}

fn weights(imported: &Imported) -> Vec<u8> {
    let mut bytes = Vec::new();
    imported.write_weights(&mut bytes).unwrap();
    bytes
}

/// `layer3.1.downsample.0` as Caffe has it, `res4b_branch1`.
fn caffe(module: &str, norm: &str) -> String {
    match module {
        "conv1" => return "conv1".to_owned(),
        "bn1" => return format!("{norm}_conv1"),
        _ => {}
    }
    let parts: Vec<&str> = module.split('.').collect();
    let [stage, block, inner @ ..] = &*parts else { return module.to_owned() };
    let stage: usize = stage.trim_start_matches("layer").parse::<usize>().unwrap() + 1;
    let block = ["a", "b"][block.parse::<usize>().unwrap()];
    let (word, branch) = match inner {
        ["downsample", "0"] => ("res", "1".to_owned()),
        ["downsample", _] => (norm, "1".to_owned()),
        [part] => {
            let word = if part.starts_with("conv") { "res" } else { norm };
            let letter = ["2a", "2b", "2c"][usize::from(part.as_bytes()[part.len() - 1] - b'1')];
            (word, letter.to_owned())
        }
        _ => unreachable!("{module}"),
    };
    format!("{word}{stage}{block}_branch{branch}")
}

#[test]
fn keras_kernels_are_turned() {
    let path = keras();
    let imported = import(&path, &options()).unwrap();
    run(&imported, &array(&path, "input.npy"), &array(&path, "output.npy"));
    contains(&imported.table, &["norm_epsilon: 0.00001001", "stride_on: 1x1", "bias: true"]);
    assert!(imported.notes.iter().any(|note| note.contains("keras.applications")));
    // The ways in which Keras 2 writes the same names.
    let bytes = std::fs::read(&path).unwrap();
    let expected = weights(&imported);
    for again in [
        renamed(&bytes, |name| Some(format!("{name}:0"))).unwrap(),
        renamed(&bytes, |name| Some(format!("{}/{name}:0", name.split('/').next()?))).unwrap(),
        renamed(&bytes, |name| Some(format!("resnet50/{name}"))).unwrap(),
    ] {
        assert_eq!(weights(&again), expected);
    }
}

#[test]
fn names_of_caffe_in_both_layouts() {
    let bytes = std::fs::read(keras()).unwrap();
    let ours = import(keras(), &options()).unwrap();
    let ours = weights(&ours);
    let of_caffe = |norm: &'static str| {
        move |name: &str| {
            let (module, part) = name.rsplit_once('.').unwrap();
            Some(format!("{}.{part}", caffe(module, norm)))
        }
    };
    for norm in ["bn", "scale"] {
        let imported = renamed(&ours, of_caffe(norm)).unwrap();
        assert_eq!(weights(&imported), ours);
        contains(&imported.table, &["stride_on: 1x1", "padding: {bottom: 1, right: 1}"]);
        assert!(!imported.table.contains("norm_epsilon"), "{}", imported.table);
    }
    // A norm of two layers, as Caffe has it: one with the statistics, one with the scale.
    let imported = renamed(&ours, |name| {
        let norm = if name.contains("running") { "bn" } else { "scale" };
        of_caffe(norm)(name)
    });
    assert_eq!(weights(&imported.unwrap()), ours);
    // Keras's tensors by the names that came before.
    let imported = renamed(&bytes, |name| {
        let (layer, part) = name.split_once('/').unwrap();
        let Some((stage, rest)) = layer.strip_prefix("conv").and_then(|l| l.split_once("_block"))
        else {
            let layer = layer.replace("conv1_conv", "conv1").replace("conv1_bn", "bn_conv1");
            return Some(format!("{layer}/{part}:0"));
        };
        let rest: Vec<&str> = rest.split('_').collect();
        let block = ["", "a", "b"][rest[0].parse::<usize>().unwrap()];
        let branch = ["1", "2a", "2b", "2c"][rest[1].parse::<usize>().unwrap()];
        let word = if rest[2] == "bn" { "bn" } else { "res" };
        Some(format!("{word}{stage}{block}_branch{branch}/{part}:0"))
    })
    .unwrap();
    assert_eq!(weights(&imported), ours);
    contains(&imported.table, &["norm_epsilon: 0.001"]);
    let overruled = Options {
        norm_epsilon: Some(1e-4),
        stride_on: Some(StrideOn::Second),
        pool: Some(StemPool::Max),
        ..options()
    };
    let table = import(keras(), &overruled).unwrap().table;
    assert!(table.contains("norm_epsilon: 0.0001\n") && !table.contains("stride_on"), "{table}");
}

#[test]
fn what_names_do_not_tell_is_refused() {
    let bytes = std::fs::read(keras()).unwrap();
    let said =
        |name: &dyn Fn(&str) -> Option<String>| renamed(&bytes, name).unwrap_err().to_string();
    let message = said(&|name| (!name.contains("moving")).then(|| name.to_owned()));
    assert!(message.contains("has no mean and variance"), "{message}");
    let message = said(&|name| Some(name.replace("kernel", "weights")));
    assert!(message.contains("how it lies is not known"), "{message}");
    // As PyTorch calls what lies as Keras has it: no 1x1 convolution any more.
    let message = said(&|name| Some(name.replace("kernel", "weight")));
    assert!(message.contains("a projection of 64x16"), "{message}");
    let message = said(&|name| Some(name.replace("_1_bn", "_preact_bn")));
    assert!(message.contains("ResNet-V2"), "{message}");
    let message = said(&|name| {
        let (second, first) = ("conv2_block2_1_bn/gamma", "conv2_block1_1_bn/gamma:0");
        Some(name.replace(second, first))
    });
    assert!(message.contains("is a second `layer1.0."), "{message}");
}
