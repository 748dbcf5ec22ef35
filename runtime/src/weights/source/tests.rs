use half::{bf16, f16};
use safetensors::tensor::TensorView;

use super::super::tensor::Stored;
use super::*;

fn file(tensors: &[(&str, Dtype, &[usize], &[u8])]) -> Vec<u8> {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        (*name, TensorView::new(*dtype, shape.to_vec(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn spec(name: &str, shape: &[usize]) -> TensorSpec {
    TensorSpec {
        name: name.to_owned().into(),
        shape: shape.to_vec().into(),
        stored: Stored::Float,
        init: Init::Normal(0.5),
    }
}

#[test]
fn reads_every_float_type() {
    let values = [1.0_f32, -0.5, 3.25];
    let halves: Vec<u8> = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
    let brains: Vec<u8> = values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect();
    let doubles: Vec<u8> = values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect();
    let weights = Weights::from_bytes(file(&[
        ("single", Dtype::F32, &[3], &f32_bytes(&values)),
        ("half", Dtype::F16, &[3], &halves),
        ("brain", Dtype::BF16, &[3], &brains),
        ("double", Dtype::F64, &[3, 1], &doubles),
    ]))
    .unwrap();
    for name in ["single", "half", "brain", "double"] {
        assert_eq!(weights.tensor(name).unwrap().values, values, "{name}");
    }
    assert_eq!(weights.tensor("double").unwrap().shape, [3, 1]);
    assert_eq!(weights.names().collect::<Vec<_>>(), ["brain", "double", "half", "single"]);
}

#[test]
fn parts_of_a_tensor_are_what_the_whole_has_there() {
    let values: Vec<f32> = (0..60).map(|i| i as f32 / 8.0).collect();
    let halves: Vec<u8> = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
    let bytes = file(&[
        ("single", Dtype::F32, &[3, 20], &f32_bytes(&values)),
        ("half", Dtype::F16, &[3, 20], &halves),
    ]);
    let path = std::env::temp_dir().join(format!("resnet-parts-{}", std::process::id()));
    std::fs::write(&path, &bytes).unwrap();
    // The bytes in memory need not be aligned.
    let shifted = [&[0][..], &bytes].concat().leak();
    let normal = spec("normal", &[3, 20]);
    let uniform = TensorSpec { init: Init::Uniform(-1.0, 2.0), ..spec("uniform", &[3, 20]) };
    for (weights, names) in [
        (Weights::open(&path).unwrap(), ["single", "half"]),
        (Weights::from_bytes(&shifted[1..]).unwrap(), ["single", "half"]),
        (Weights::random(&[normal, uniform], 3), ["normal", "uniform"]),
    ] {
        for name in names {
            let whole = weights.tensor(name).unwrap().values;
            let mut part = vec![7.0; 3];
            for range in [0..60, 0..1, 17..40, 59..60, 30..30] {
                weights.read_range(name, range.clone(), &mut part).unwrap();
                assert_eq!(part, whole[range]);
            }
        }
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_file_that_shrank_is_an_error() {
    let bytes = file(&[("x", Dtype::F32, &[2], &f32_bytes(&[1.0, 2.0]))]);
    let path = std::env::temp_dir().join(format!("resnet-shrunk-{}", std::process::id()));
    std::fs::write(&path, &bytes).unwrap();
    let weights = Weights::open(&path).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(bytes.len() as u64 - 4).unwrap();
    let message = weights.tensor("x").unwrap_err().to_string();
    assert!(message.contains("cannot read the weights"), "{message}");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn reports_every_difference_at_once() {
    let four = f32_bytes(&[0.0; 4]);
    let weights = Weights::from_bytes(file(&[
        ("a", Dtype::F32, &[4], &four),
        ("b", Dtype::F32, &[2, 2], &four),
        ("c", Dtype::I32, &[4], &four),
        ("extra", Dtype::F32, &[4], &four),
        ("bn.num_batches_tracked", Dtype::I64, &[], &[0; 8]),
    ]))
    .unwrap();
    let specs = [spec("a", &[4]), spec("b", &[4]), spec("c", &[4]), spec("gone", &[7])];
    let message = weights.check(&specs).unwrap_err().to_string();
    let expected = "`weights in memory` does not fit the network
1 tensor missing:
  gone [7]
1 tensor that the network does not have:
  extra [4]
1 tensor of another shape:
  b: the network has [4], the weights have [2, 2]
1 tensor of an unsupported element type:
  c: I32; supported are F32, F16, BF16 and F64";
    assert_eq!(message, expected);
    assert!(weights.tensor("c").unwrap_err().to_string().contains("`c` are I32"));
}

#[test]
fn long_reports_are_cut_and_prefixes_are_noticed() {
    let specs: Vec<_> = (0..50).map(|i| spec(&format!("layer{i}.weight"), &[1])).collect();
    let prefixed: Vec<_> =
        specs.iter().map(|s| spec(&format!("module.{}", s.name), &[1])).collect();
    let message = Weights::random(&prefixed, 0).check(&specs).unwrap_err().to_string();
    assert!(message.contains("50 tensors missing:\n  layer0.weight [1]"), "{message}");
    assert!(message.contains("and 30 more"), "{message}");
    assert!(message.ends_with("without its prefix `module.`: rename the tensors"), "{message}");
    assert!(Weights::random(&specs, 0).check(&specs).is_ok());
}

#[test]
fn names_the_value_that_is_not_finite() {
    let mut values = vec![0.0; 6];
    values[5] = f32::NAN;
    let bytes = file(&[("w", Dtype::F32, &[2, 3], &f32_bytes(&values))]);
    let message = Weights::from_bytes(bytes).unwrap().tensor("w").unwrap_err().to_string();
    assert!(message.contains("`w` is NaN at [1, 2]"), "{message}");
    let bytes = file(&[("w", Dtype::F64, &[1], &1e300_f64.to_le_bytes())]);
    let message = Weights::from_bytes(bytes).unwrap().tensor("w").unwrap_err().to_string();
    assert!(message.contains("`w` is inf at [0]"), "{message}");
}

#[test]
fn any_truncation_or_flipped_byte_is_an_error_or_harmless() {
    let good = file(&[("x", Dtype::F32, &[2], &f32_bytes(&[1.0, 2.0]))]);
    for len in 0..good.len() {
        assert!(Weights::from_bytes(good[..len].to_vec()).is_err(), "truncated to {len}");
    }
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            if let Ok(weights) = Weights::from_bytes(bad) {
                for name in weights.names() {
                    let _ = weights.tensor(name);
                }
            }
        }
    }
}

#[test]
fn says_what_other_files_are() {
    for (bytes, expected) in [
        (&b"PK\x03\x04 and more to follow"[..], "PyTorch checkpoint (a zip archive)"),
        (b"\x80\x02}q\x00 and more to follow", "PyTorch checkpoint (a pickle)"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': }", "NumPy array"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        (b"hello, world, this is no weights file", "no valid safetensors file"),
    ] {
        let message = Weights::from_bytes(bytes).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn open_says_which_path_and_why() {
    let folder = std::env::temp_dir().join(format!("resnet-weights-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let check = |name: &str, bytes: Option<&[u8]>, expected: &str| {
        let path = folder.join(name);
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        let message = Weights::open(&path).unwrap_err().to_string();
        assert!(message.contains(&path.display().to_string()), "{message}");
        assert!(message.contains(expected), "{message}");
    };
    check("absent.safetensors", None, "there is no such file");
    check("", None, "it is a folder");
    check("empty.safetensors", Some(b""), "the file is empty");
    check("short.safetensors", Some(b"abc"), "no valid safetensors file");
    check("model.onnx", Some(b"\x08\x07\x12\x07pytorch"), "an ONNX model");

    let path = folder.join("good.safetensors");
    std::fs::write(&path, file(&[("x", Dtype::F32, &[1], &f32_bytes(&[7.0]))])).unwrap();
    assert_eq!(Weights::open(&path).unwrap().tensor("x").unwrap().values[0], 7.0);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn random_weights_depend_on_seed_and_name_alone() {
    let (a, b) = (spec("a", &[1000]), spec("b", &[1000]));
    let both = Weights::random(&[a.clone(), b.clone()], 7);
    let alone = Weights::random(std::slice::from_ref(&b), 7);
    assert_eq!(both.tensor("b").unwrap(), alone.tensor("b").unwrap());
    assert_ne!(both.tensor("a").unwrap().values, both.tensor("b").unwrap().values);
    let other = Weights::random(&[b], 8);
    assert_ne!(both.tensor("b").unwrap(), other.tensor("b").unwrap());
    // The stream is part of what a seed means: the same numbers for ever, on every platform.
    let first: Vec<u32> =
        both.tensor("a").unwrap().values[..4].iter().map(|v| v.to_bits()).collect();
    assert_eq!(first, [1052653531, 1041170336, 3186563034, 1052788665]);
}

#[test]
fn random_weights_have_the_wanted_distribution() {
    let n = 100_000;
    let uniform = TensorSpec {
        name: "u".into(),
        shape: vec![n].into(),
        stored: Stored::Float,
        init: Init::Uniform(0.5, 1.5),
    };
    let weights = Weights::random(&[spec("n", &[n]), uniform], 1);
    let moments = |name: &str| {
        let tensor = weights.tensor(name).unwrap();
        let mean = tensor.values.iter().map(|v| f64::from(*v)).sum::<f64>() / n as f64;
        let squares = tensor.values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>();
        (mean, (squares / n as f64).sqrt())
    };
    // Five standard errors of a mean over 100,000 values, and a little more for the deviations.
    let (mean, deviation) = moments("n");
    assert!(mean.abs() < 0.008 && (deviation - 0.5).abs() < 0.008, "{mean} {deviation}");
    let (mean, deviation) = moments("u");
    let expected = 1.0 / 12.0_f64.sqrt();
    assert!((mean - 1.0).abs() < 0.005 && (deviation - expected).abs() < 0.005);
    assert!(weights.tensor("u").unwrap().values.iter().all(|v| (0.5..=1.5).contains(v)));
}

#[test]
fn a_missing_tensor_is_named() {
    let message = Weights::random(&[], 3).tensor("fc.weight").unwrap_err().to_string();
    assert_eq!(message, "`random weights of seed 3` has no tensor `fc.weight`");
}
