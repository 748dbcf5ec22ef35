//! Quantisation beside what PyTorch computed of the same network by definition
//! (`tests/golden/quantize/make.py`).

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use resnet::quantize::{
    Method, Options, Precision, QuantizeError, Quantized, Seen, check_unquantised,
};
use resnet::{Source, Spec, Weights, quantize};
use safetensors::{Dtype, SafeTensors};

const LAYERS: [&str; 6] =
    ["conv1", "conv2", "layer1.0.conv1", "layer1.0.conv2", "layer1.0.downsample.0", "fc"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/quantize")
}

/// Pictures in memory, of which some cannot be had.
struct Images {
    values: Vec<f32>,
    missing: Option<usize>,
}

const PICTURE: usize = 3 * 12 * 12;

impl Source for Images {
    type Error = String;

    fn len(&self) -> usize {
        self.values.len() / PICTURE
    }

    fn load(&self, index: usize, input: &mut [f32]) -> Result<Option<String>, String> {
        input.copy_from_slice(&self.values[index * PICTURE..][..PICTURE]);
        if self.missing == Some(index) { Err(format!("no {index}")) } else { Ok(None) }
    }
}

fn pictures() -> Images {
    let file = std::fs::File::open(folder().join("pictures.npy")).unwrap();
    let values = npyz::NpyFile::new(file).unwrap().into_vec().unwrap();
    Images { values, missing: None }
}

fn spec() -> Spec {
    Spec::from_yaml(&std::fs::read_to_string(folder().join("net.yaml")).unwrap()).unwrap()
}

fn weights() -> Weights {
    Weights::open(folder().join("net.safetensors")).unwrap()
}

fn with(options: &Options) -> Result<Quantized, QuantizeError> {
    quantize(&spec(), &weights(), &pictures(), options, |_, _| ())
}

fn min_max() -> Options {
    Options { method: Method::MinMax, ..Options::default() }
}

/// A tensor's values as numbers.
fn values(file: &SafeTensors<'_>, name: &str) -> (Dtype, Vec<usize>, Vec<f64>) {
    let tensor = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let floats = |bytes: &[u8]| {
        let (numbers, _) = bytes.as_chunks();
        numbers.iter().map(|bytes| f32::from_le_bytes(*bytes).into()).collect()
    };
    let values = match tensor.dtype() {
        Dtype::F32 => floats(tensor.data()),
        Dtype::I8 => tensor.data().iter().map(|byte| byte.cast_signed().into()).collect(),
        Dtype::U8 => tensor.data().iter().map(|&byte| byte.into()).collect(),
        other => panic!("{name} is {other:?}"),
    };
    (tensor.dtype(), tensor.shape().to_vec(), values)
}

#[test]
fn scales_are_those_of_the_definition() {
    let quantized = with(&min_max()).unwrap();
    let file = SafeTensors::deserialize(quantized.as_bytes()).unwrap();
    let bytes = std::fs::read(folder().join("expected.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.names().len(), 5 * LAYERS.len(), "norms are folded in: {:?}", file.names());
    for layer in LAYERS {
        let range = values(&expected, &format!("{layer}.range")).2;
        let (dtype, shape, scale) = values(&file, &format!("{layer}.input_scale"));
        assert_eq!((dtype, shape), (Dtype::F32, vec![1]));
        let by_definition = (range[1] - range[0]) / 255.0;
        assert!((scale[0] / by_definition - 1.0).abs() < 1e-5, "{layer}: {scale:?}");
        let (dtype, _, zero) = values(&file, &format!("{layer}.input_zero_point"));
        assert_eq!(dtype, Dtype::U8);
        // Which may be on the edge between two.
        assert!((zero[0] + range[0] / by_definition).abs() < 0.501, "{layer}: {zero:?}");
        assert_eq!(zero[0] == 0.0, range[0] == 0.0, "{layer}: 0 after ReLU alone");

        let (_, shape, exact) = values(&expected, &format!("{layer}.weight"));
        let (dtype, found, weight) = values(&file, &format!("{layer}.weight"));
        assert_eq!((dtype, &found), (Dtype::I8, &shape));
        let (dtype, channels, scales) = values(&file, &format!("{layer}.weight_scale"));
        assert_eq!((dtype, channels), (Dtype::F32, vec![shape[0]]));
        let len = exact.len() / scales.len();
        for (at, (exact, weight)) in exact.iter().zip(&weight).enumerate() {
            let (rounded, half) = (weight * scales[at / len], 0.5001 * scales[at / len]);
            let clipped = weight.abs() == 127.0 && exact.abs() > rounded.abs();
            assert!(clipped || (exact - rounded).abs() <= half, "{layer}: {exact} as {rounded}");
        }
    }
}

/// In f64, with everything as it stands in the file: the sums of a linear layer's rounded input.
#[test]
fn a_bias_takes_the_mean_error_away() {
    let quantized = with(&min_max()).unwrap();
    let file = SafeTensors::deserialize(quantized.as_bytes()).unwrap();
    let bytes = std::fs::read(folder().join("expected.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |name: &str| values(&file, name).2;
    // What conv1 reads is at hand; so is its mean over all windows, zeros around the picture included.
    let [weight, scales, bias] = ["conv1.weight", "conv1.weight_scale", "conv1.bias"].map(&tensor);
    let scale = tensor("conv1.input_scale")[0];
    let zero = tensor("conv1.input_zero_point")[0];
    let round = |x: f64| ((x / scale).round_ties_even().clamp(-zero, 255.0 - zero)) * scale;
    let [exact, exact_bias] = ["conv1.weight", "conv1.bias"].map(|name| values(&expected, name).2);
    let pictures = pictures().values;
    for channel in 0..8 {
        let mut error = 0.0;
        for picture in pictures.chunks(PICTURE) {
            for tap in 0..27 {
                let (plane, row, column) = (tap / 9, tap / 3 % 3, tap % 3);
                for at in 0..144_usize {
                    let (y, x) =
                        ((at / 12 + row).checked_sub(1), (at % 12 + column).checked_sub(1));
                    let (Some(y @ 0..12), Some(x @ 0..12)) = (y, x) else { continue };
                    let value = f64::from(picture[plane * 144 + y * 12 + x]);
                    let at = channel * 27 + tap;
                    error += round(value) * weight[at] * scales[channel] - value * exact[at];
                }
            }
        }
        let mean = error / (pictures.len() / PICTURE * 144) as f64;
        let left = bias[channel] - exact_bias[channel] + mean;
        assert!(left.abs() < 1e-5, "channel {channel}: {left}, of {mean}");
        assert!(mean.abs() > 1e-5, "a correction that is none shows nothing");
    }
}

#[test]
fn the_same_bytes_on_any_number_of_threads() {
    for method in ["min-max", "percentile=99", "least-squares"] {
        let on = |threads| {
            let threads = NonZeroUsize::new(threads).unwrap();
            with(&Options { method: method.parse().unwrap(), threads, ..Options::default() })
                .unwrap()
        };
        let one = on(1);
        assert_eq!(one.as_bytes(), on(3).as_bytes(), "{method}");
        assert_eq!(one.report, on(2).report, "{method}");
    }
}

#[test]
fn layers_can_stay_in_f32() {
    let keep = vec!["conv1".to_owned(), "conv2_x.0".to_owned()];
    let quantized = with(&Options { keep, keep_worst: 1, ..min_max() }).unwrap();
    let layers = &quantized.report.layers;
    let kept: Vec<&str> = layers
        .iter()
        .filter(|layer| layer.precision == Precision::F32)
        .map(|layer| layer.reason.as_deref().unwrap())
        .collect();
    assert_eq!(kept.iter().filter(|reason| **reason == "asked for").count(), 4);
    assert_eq!(kept.iter().filter(|reason| **reason == "among the worst").count(), 1);
    let file = SafeTensors::deserialize(quantized.as_bytes()).unwrap();
    let original = weights();
    for name in ["conv1.weight", "bn1.running_var", "layer1.0.downsample.1.bias"] {
        let exact: Vec<f64> =
            original.tensor(name).unwrap().values.into_iter().map(f64::from).collect();
        assert_eq!(values(&file, name).2, exact);
    }
    let [mix, fc] = ["mix", "fc"].map(|name| layers.iter().find(|l| l.name == name).unwrap());
    let worst = if mix.output_snr_db < fc.output_snr_db { mix } else { fc };
    assert_eq!(worst.precision, Precision::F32);
}

#[test]
fn what_cannot_be_quantised_is_said() {
    let fails = |found: Result<Quantized, QuantizeError>, expected: &str| {
        let message = found.err().unwrap_or_else(|| panic!("not {expected}")).to_string();
        assert!(message.contains(expected), "{message}");
    };
    let keep = |names: &[&str]| Options {
        keep: names.iter().map(|name| name.to_string()).collect(),
        ..min_max()
    };
    fails(with(&keep(&["conv2_x.0.conv3"])), "did you mean `conv2_x.0.conv1` or `conv2_x.0.conv2`");
    fails(with(&keep(&["conv"])), "there is no layer `conv` to keep");
    fails(with(&keep(&["conv1", "mix", "conv2_x", "fc"])), "nothing to quantise:\n  conv1: asked");
    let quantized = with(&min_max()).unwrap();
    let again = Weights::from_bytes(quantized.as_bytes().to_vec()).unwrap();
    assert!(check_unquantised(&again).is_err());
    fails(quantize(&spec(), &again, &pictures(), &min_max(), |_, _| ()), "quantised already");

    let over = |pictures: &Images| quantize(&spec(), &weights(), pictures, &min_max(), |_, _| ());
    fails(over(&Images { values: Vec::new(), missing: None }), "there are no pictures");
    let mut broken = pictures();
    broken.values[3 * PICTURE + 5] = f32::NAN;
    fails(over(&broken), "`conv1` reads NaN in picture 3");
    // Zeros alone: the first layer has no scale, and stays.
    let silent = over(&Images { values: vec![0.0; PICTURE], missing: None }).unwrap();
    let first = &silent.report.layers[0];
    assert_eq!(first.reason.as_deref(), Some("what it reads is 0 in every picture"));
    for name in ["min_max", "percentile=101", "percentile=x", ""] {
        assert!(name.parse::<Method>().is_err(), "{name}");
    }
}

#[test]
fn pictures_that_cannot_be_had_are_left_out() {
    let source = Images { missing: Some(2), ..pictures() };
    let mut seen = Vec::new();
    let quantized = quantize(&spec(), &weights(), &source, &min_max(), |at, picture| {
        seen.push((at, matches!(picture, Seen::Failed(_))));
    })
    .unwrap();
    assert_eq!(quantized.report.pictures, 5);
    let first = (0..6).map(|at| (at, at == 2));
    let again = [0, 1, 3, 4, 5].map(|at| (at, false));
    assert_eq!(seen, first.chain(again).collect::<Vec<_>>());
    let mut alone = pictures();
    alone.values.truncate(PICTURE);
    alone.missing = Some(0);
    let error = quantize(&spec(), &weights(), &alone, &min_max(), |_, _| ()).unwrap_err();
    assert!(error.to_string().contains("none of the 1 pictures"), "{error}");
}
