//! The classifier alone, as a program fits it.

use std::num::NonZeroUsize;

use resnet::train::{Backbone, Features, FitOptions, InMemory, fit};
use resnet::{Compiler, Image, Spec, Weights, softmax};
use serde_json::Value;

/// What scikit-learn has found; `fit/make.py` asks it.
const SKLEARN: &str = include_str!("fit/sklearn.json");

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

fn options(c: f64, threads: usize) -> FitOptions {
    FitOptions { c, threads: NonZeroUsize::new(threads), ..FitOptions::default() }
}

#[track_caller]
fn close(found: &[f64], expected: &[f64], within: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < within * expected.abs().max(1.0), "{found} {expected}");
    }
}

#[test]
fn the_minimum_is_scikit_learns() {
    let golden: Value = serde_json::from_str(SKLEARN).unwrap();
    let all: Vec<Vec<f64>> = golden["features"].as_array().unwrap().iter().map(numbers).collect();
    let mut cases = 0;
    for case in golden["cases"].as_array().unwrap() {
        let classes = case["classes"].as_u64().unwrap() as usize;
        let own: Vec<usize> = (0..all.len()).filter(|image| image % 3 < classes).collect();
        let values = own.iter().flat_map(|&image| all[image].iter().map(|&x| x as f32)).collect();
        let features =
            Features { width: 8, values, classes: own.iter().map(|image| image % 3).collect() };
        let found = fit(&features, classes, &options(case["c"].as_f64().unwrap(), 2)).unwrap();
        assert!(found.converged && found.iterations < 100, "{}", found.iterations);
        let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
        close(&wide(&found.weight), &numbers(&case["weight"]), 1e-6);
        close(&wide(&found.bias), &numbers(&case["bias"]), 2e-6);
        close(&[found.objective], &numbers(&case["objective"]), 1e-7);
        let first = features.values.chunks(8).take(9);
        let probabilities: Vec<f64> = first.flat_map(|row| softmax(&found.logits(row))).collect();
        close(&probabilities, &numbers(&case["probabilities"]), 1e-6);
        cases += 1;
    }
    assert_eq!(cases, 4);
}

/// Images of `classes` in turn, whose features are of no order but for their own.
fn scattered(images: usize, width: usize, classes: usize) -> Features {
    let value = |at: usize| {
        let (image, feature) = (at / width, at % width);
        let noise = (at * 7919 + 13) % 1009;
        noise as f32 / 500.0 + if feature % classes == image % classes { 0.7 } else { 0.0 }
    };
    let values = (0..images * width).map(value).collect();
    Features { width, values, classes: (0..images).map(|image| image % classes).collect() }
}

#[test]
fn the_bits_do_not_depend_on_threads() {
    let features = scattered(611, 37, 5);
    let one = fit(&features, 5, &options(3.0, 1)).unwrap();
    let accuracy = one.accuracy(&features).unwrap();
    assert!(one.converged && accuracy > 0.9, "{accuracy}");
    for threads in [2, 3, 40] {
        assert_eq!(fit(&features, 5, &options(3.0, threads)).unwrap(), one);
    }
}

#[test]
fn what_nothing_can_be_fitted_to_is_refused() {
    let fails = |change: &dyn Fn(&mut Features), classes: usize, c: f64, expected: &str| {
        let mut features = scattered(12, 3, 3);
        change(&mut features);
        let error = fit(&features, classes, &options(c, 1)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    fails(&|_| (), 3, 0.0, "C is 0; it has to be a positive number");
    fails(&|_| (), 3, f64::NAN, "C is NaN");
    fails(&|_| (), 2, 1.0, "image 2 is of class 2, and there are 2");
    fails(&|_| (), 4, 1.0, "class 3 of 4 has no image");
    fails(&|features| features.classes.fill(0), 1, 1.0, "there are 12 images of one class");
    fails(&|features| features.values[7] = f32::NAN, 3, 1.0, "feature 1 of image 2 is NaN");
    fails(&|features| features.values.truncate(35), 3, 1.0, "35 numbers for 12 images of 3");
    fails(&|features| *features = Features::default(), 3, 1.0, "0 numbers for 0 images of 0");
}

const TABLE: &str = "
name: stripes
input: 3x8x8
table:
  - {layer: conv1, op: conv, kernel: 3, channels: 8, stride: 2}
  - {layer: avgpool, op: average_pool, kernel: 2, stride: 2, padding: 0}
  - {layer: fc, op: linear, channels: 5}
  - {layer: softmax, op: softmax}
";

/// Stripes along and across and neither, in different colours.
fn stripes() -> InMemory {
    let mut data = InMemory::default();
    for index in 0..48 {
        let (class, shade) = (index % 3, (index * 5) as u8);
        let pixel = |at: usize| {
            let bright = [at / 8 % 2 == 1, at % 2 == 1, true][class];
            [if bright { 255 - shade / 2 } else { shade / 3 }, shade / 2, 40]
        };
        let pixels = (0..64).flat_map(pixel).collect();
        data.push(Image::new(8, 8, 3, pixels).unwrap(), class);
    }
    data
}

/// The new network answers with what the classifier makes of the features, and with more classes before or fewer.
#[test]
fn the_whole_network_is_the_classifier_of_its_features() {
    let spec = Spec::from_yaml(TABLE).unwrap();
    let compiled = Compiler::new(&spec).compile().unwrap();
    let weights = Weights::random(compiled.tensors(), 3);
    let data = stripes();
    let options = options(1.0, 2);
    let backbone = Backbone::new(&spec, &weights, &options).unwrap();
    let mut heard = Vec::new();
    let features = backbone.features(&data, |index| heard.push(index)).unwrap();
    assert_eq!((features.width, heard), (32, (0..48).collect::<Vec<_>>()));
    let classifier = fit(&features, 3, &options).unwrap();
    let accuracy = classifier.accuracy(&features).unwrap();
    assert!(accuracy > 0.9, "{accuracy}");
    let other = Features { classes: vec![3; 48], ..features.clone() };
    let error = classifier.accuracy(&other).unwrap_err().to_string();
    assert!(error.contains("image 0 is of class 3, and there are 3"), "{error}");
    let error = classifier.accuracy(&scattered(9, 3, 3)).unwrap_err().to_string();
    assert!(error.contains("of 32 features, and the images have 3"), "{error}");

    let names = ["along", "across", "neither"].map(str::to_owned);
    let table = Spec::from_yaml(&spec.with_classes(3, Some(&names)).unwrap()).unwrap();
    let weights = Weights::from_bytes(backbone.weights(&classifier).unwrap()).unwrap();
    let network = Compiler::new(&table).compile().unwrap().load(&weights).unwrap();
    let mut session = network.session();
    let mut input = vec![0.0; 3 * 64];
    for (index, row) in features.values.chunks(32).enumerate() {
        use resnet::train::Dataset;
        let image = data.image(index).unwrap();
        table.preprocess.apply_into(&image, [3, 8, 8], &mut input).unwrap();
        let answer: Vec<f64> =
            session.run(&input).unwrap().iter().map(|&value| f64::from(value)).collect();
        close(&answer, &softmax(&classifier.logits(row)), 1e-5);
    }
    // What was fitted can be fitted again, on the weights without a classifier too.
    let again = Backbone::new(&table, &weights, &options).unwrap();
    assert_eq!(again.features(&data, |_| ()).unwrap(), features);
}

#[test]
fn networks_and_weights_that_do_not_suit_are_refused() {
    let fails = |table: &str, weights: Option<&Weights>, expected: &str| {
        let spec = Spec::from_yaml(table).unwrap();
        let compiled = Compiler::new(&spec).compile().unwrap();
        let random = Weights::random(compiled.tensors(), 1);
        let weights = weights.unwrap_or(&random);
        let error = Backbone::new(&spec, weights, &FitOptions::default()).err().unwrap();
        assert!(error.to_string().contains(expected), "{error}");
    };
    let conv = TABLE.replace("op: linear", "op: conv, kernel: 2, padding: 0");
    fails(&conv, None, "`stripes` ends in `fc`, a row `conv`; a classifier is a row `linear`");
    let features = format!("{TABLE}features: [avgpool]\n");
    fails(&features, None, "`stripes` ends in the features of `avgpool`");
    let alone = "{name: n, input: 3x2x2, table: [{layer: fc, op: linear, channels: 3}]}";
    fails(alone, None, "`fc` is the first row of `n`");
    let spec = Spec::from_yaml(&TABLE.replace("channels: 8", "channels: 16")).unwrap();
    let compiled = Compiler::new(&spec).compile().unwrap();
    let other = Weights::random(compiled.tensors(), 1);
    fails(TABLE, Some(&other), "conv1.weight");
    let spec = Spec::from_yaml(TABLE).unwrap();
    let weights = Weights::random(Compiler::new(&spec).compile().unwrap().tensors(), 1);
    let backbone = Backbone::new(&spec, &weights, &FitOptions::default()).unwrap();
    let error = backbone.features(&InMemory::default(), |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "there are no images");
}
