//! The answers to arrays are those of the library to the same pictures, whatever the array.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, Int32Array, LargeBinaryArray, LargeStringArray,
    NullArray, StringArray, StringViewArray, StructArray,
};
use resnet::{Answer, ImageFile, Images, Model, Weights, classify, feed};
use resnet_arrow::{ArrowNetwork, classes_type, features_type};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn table() -> PathBuf {
    root("models/cifar10/resnet20.yaml")
}

fn weights() -> PathBuf {
    root("models/cifar10/resnet20.safetensors")
}

fn open(batch: usize) -> ArrowNetwork {
    ArrowNetwork::open_for(table(), weights(), batch).unwrap()
}

/// The pictures of the examples, sorted.
fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(root("examples/pictures")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().unwrap() != "md");
    files.sort();
    assert!(files.len() >= 12, "{files:?}");
    files
}

fn bytes() -> Vec<Vec<u8>> {
    files().iter().map(|path| fs::read(path).unwrap()).collect()
}

/// What the library answers to the pictures, one at a time.
fn logits() -> Vec<Vec<f32>> {
    let model = Model::open(table()).unwrap();
    let weights = Weights::open(weights()).unwrap();
    let network = model.compiler().weights(&weights).compile().unwrap().load(&weights).unwrap();
    let files = files().into_iter().map(ImageFile::Path).collect();
    let preprocess = model.spec.preprocess.clone();
    let images = Images::new(files, preprocess, network.info().input).unwrap();
    let mut all = Vec::new();
    feed(&*network, &images, NonZeroUsize::MIN, |_, fed| {
        all.push(fed.unwrap().answer);
        Ok::<_, resnet::FeedError>(())
    })
    .unwrap();
    all
}

/// Label, class, probability, error of a row.
type Row = Option<(Option<String>, Option<i32>, Option<f64>, Option<String>)>;

fn rows(answers: &StructArray) -> Vec<Row> {
    assert_eq!(answers.data_type(), &classes_type());
    let text = |name: &str, row| {
        let column = answers.column_by_name(name).unwrap().as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    let class = answers.column_by_name("class").unwrap().as_primitive::<Int32Type>();
    let probability = answers.column_by_name("probability").unwrap().as_primitive::<Float64Type>();
    let row = |row| {
        answers.is_valid(row).then(|| {
            let class = class.is_valid(row).then(|| class.value(row));
            let probability = probability.is_valid(row).then(|| probability.value(row));
            (text("label", row), class, probability, text("error", row))
        })
    };
    (0..answers.len()).map(row).collect()
}

fn expected() -> Vec<Row> {
    let model = Model::open(table()).unwrap();
    let labels = model.labels(10).unwrap().unwrap();
    let row = |logits: &Vec<f32>| {
        let (class, probability) = classify(Answer::Logits, logits, 1).unwrap()[0];
        Some((Some(labels.names()[class].clone()), Some(class as i32), Some(probability), None))
    };
    logits().iter().map(row).collect()
}

#[test]
fn every_type_and_batch_has_the_answers_of_the_library() {
    let (expected, bytes) = (expected(), bytes());
    let paths: Vec<String> = files().iter().map(|path| path.to_str().unwrap().to_owned()).collect();
    let slices = || bytes.iter().map(|bytes| &bytes[..]);
    let arrays: [ArrayRef; 6] = [
        Arc::new(BinaryArray::from_iter_values(slices())),
        Arc::new(LargeBinaryArray::from_iter_values(slices())),
        Arc::new(BinaryViewArray::from_iter_values(slices())),
        Arc::new(StringArray::from_iter_values(&paths)),
        Arc::new(LargeStringArray::from_iter_values(&paths)),
        Arc::new(StringViewArray::from_iter_values(&paths)),
    ];
    for batch in [1, 5, 8] {
        let network = open(batch);
        for pictures in &arrays {
            let answers = network.classify(pictures).unwrap();
            assert_eq!(rows(&answers), expected, "{} by {batch}", pictures.data_type());
        }
        // Any slice of rows.
        let part = arrays[0].slice(3, 7);
        assert_eq!(rows(&network.classify(&part).unwrap()), expected[3..10]);
        assert_eq!(rows(&network.classify(&arrays[0].slice(0, 0)).unwrap()), []);
    }
}

#[test]
fn what_is_no_picture_is_null_and_says_why() {
    let (expected, bytes) = (expected(), bytes());
    let (cut, noise) = (&bytes[10][..700], &b"no picture at all"[..]);
    let pictures = [Some(&bytes[0][..]), None, Some(noise), Some(cut), Some(&[]), Some(&bytes[3])];
    // More than a group of eight, so that groups begin and end among them.
    let pictures: Vec<_> = pictures.iter().copied().cycle().take(50).collect();
    let answers = rows(&open(8).classify(&BinaryArray::from(pictures)).unwrap());
    for (row, answer) in answers.iter().enumerate() {
        match row % 6 {
            0 => assert_eq!(answer, &expected[0]),
            1 => assert_eq!(answer, &None),
            5 => assert_eq!(answer, &expected[3]),
            _ => {
                let Some((None, None, None, Some(error))) = answer else { panic!("{answer:?}") };
                assert!(error.starts_with("cannot decode the picture: "), "{error}");
            }
        }
    }
    let nowhere = StringArray::from(vec!["/nowhere/cat.png"]);
    let error = rows(&open(8).classify(&nowhere).unwrap())[0].clone().unwrap().3.unwrap();
    assert_eq!(error, "cannot read the picture `/nowhere/cat.png`: there is no such file");
    assert_eq!(rows(&open(8).classify(&NullArray::new(2)).unwrap()), [None, None]);
    let error = open(8).classify(&Int32Array::from(vec![1])).unwrap_err().to_string();
    assert!(error.ends_with("not Int32"), "{error}");
}

#[test]
fn features_are_what_the_classifier_reads() {
    let (network, bytes, logits) = (open(8), bytes(), logits());
    let mut pictures: Vec<Option<&[u8]>> = bytes.iter().map(|bytes| Some(&bytes[..])).collect();
    pictures.push(None);
    pictures.push(Some(b"no picture"));
    let answers = network.features(&BinaryArray::from(pictures)).unwrap();
    assert_eq!(answers.data_type(), &features_type(network.description().features));
    let features = answers.column_by_name("features").unwrap().as_fixed_size_list();
    let errors = answers.column_by_name("error").unwrap().as_string::<i32>();
    let file = Weights::open(weights()).unwrap();
    let [weight, bias] = ["fc.weight", "fc.bias"].map(|name| file.tensor(name).unwrap().values);
    for (row, logits) in logits.iter().enumerate() {
        let features = features.value(row);
        let features = features.as_primitive::<Float32Type>().values();
        for (class, logit) in logits.iter().enumerate() {
            let products = features.iter().zip(&weight[class * features.len()..]);
            let sum: f64 = products.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            let sum = sum + f64::from(bias[class]);
            assert!((sum - f64::from(*logit)).abs() < 1e-4, "{row}: {sum}, {logit}");
        }
    }
    let (null, broken) = (bytes.len(), bytes.len() + 1);
    assert!(answers.is_null(null) && features.is_null(null) && errors.is_null(null));
    assert!(answers.is_valid(broken) && features.is_null(broken) && errors.is_valid(broken));
}

#[test]
fn a_packed_file_answers_alike() {
    let model = Model::open(table()).unwrap();
    let unpacked = Weights::open(weights()).unwrap();
    let plan = model.compiler().weights(&unpacked).plan().unwrap();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("resnet20.packed");
    let mut file = Vec::new();
    plan.pack(&unpacked, NonZeroUsize::MIN, "", &mut file).unwrap();
    fs::write(&path, file).unwrap();
    let network = ArrowNetwork::open(table(), &path).unwrap();
    let bytes = bytes();
    let pictures = BinaryArray::from_iter_values(&bytes);
    assert_eq!(rows(&network.classify(&pictures).unwrap()), expected());
    // It is packed for another answer.
    let error = network.features(&pictures).unwrap_err().to_string();
    assert!(error.starts_with("`cifar10-resnet20` has no features: "), "{error}");
}

#[test]
fn threads_share_a_network() {
    let (network, expected, bytes) = (open(8), expected(), bytes());
    let pictures = BinaryArray::from_iter_values(&bytes);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..3 {
                    assert_eq!(rows(&network.classify(&pictures).unwrap()), expected);
                }
            });
        }
    });
}

#[test]
fn a_description_tells_networks_apart() {
    let network = open(8);
    let description = ArrowNetwork::describe(table(), weights()).unwrap();
    assert_eq!(network.description(), &description);
    assert_eq!((description.classes, description.features), (10, 64));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut others = vec![description.fingerprint];
    // Another order of labels, other weights.
    let text = fs::read_to_string(table()).unwrap();
    let other = folder.join("other.yaml");
    fs::write(&other, text.replace("airplane, automobile", "automobile, airplane")).unwrap();
    others.push(ArrowNetwork::describe(&other, weights()).unwrap().fingerprint);
    let mut bytes = fs::read(weights()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let changed = folder.join("changed.safetensors");
    fs::write(&changed, bytes).unwrap();
    others.push(ArrowNetwork::describe(table(), &changed).unwrap().fingerprint);
    others.sort_unstable();
    others.dedup();
    assert_eq!(others.len(), 3);
}

#[test]
fn a_network_of_the_program_can_be_given() {
    let model = Model::open(table()).unwrap();
    let weights = Weights::open(weights()).unwrap();
    let network = model.compiler().compile().unwrap().load(&weights).unwrap();
    let labels = model.labels(10).unwrap();
    let network =
        ArrowNetwork::embedded(network, model.spec.preprocess.clone(), labels, 7).unwrap();
    let bytes = bytes();
    let pictures = BinaryArray::from_iter_values(&bytes);
    assert_eq!(rows(&network.classify(&pictures).unwrap()), expected());
    assert_eq!(
        network.description().to_string(),
        "cifar10-resnet20 0000000000000007 classes=10 features=0"
    );
    let error = network.features(&pictures).unwrap_err().to_string();
    assert_eq!(error, "`cifar10-resnet20` has no features: it is embedded and ends in classes");
}
