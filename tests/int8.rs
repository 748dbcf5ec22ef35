//! Quantised networks against outputs that `tests/int8/make.py` computed by the definition, with integers:
//! the same bits from every back end, on every instruction set, with any number of threads.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

use resnet::{Backend, Compiler, Isa, Pool, Spec, Weights};
use safetensors::tensor::{Dtype, TensorView};

const NETWORKS: [&str; 3] = ["basic", "option-a", "bottleneck"];

fn numbers(path: &Path) -> Vec<f32> {
    npyz::NpyFile::new(std::fs::File::open(path).unwrap()).unwrap().into_vec().unwrap()
}

#[test]
fn all_have_the_bits_of_the_definition() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/int8");
    let pool = Pool::new(NonZeroUsize::new(3).unwrap()).unwrap();
    for name in NETWORKS {
        let file = |extension: &str| folder.join(format!("{name}.{extension}"));
        let text = std::fs::read_to_string(file("yaml")).unwrap();
        let spec = Spec::from_yaml_named(&text, name).unwrap_or_else(|error| panic!("{error}"));
        let weights = Weights::open(file("safetensors")).unwrap();
        let (input, expected) = (numbers(&file("input.npy")), numbers(&file("output.npy")));
        for isa in Isa::available() {
            for backend in [Backend::BEST, Backend::Interpret] {
                for (batch, pool) in [(1, None), (2, Some(&pool)), (4, None)] {
                    let compiler = Compiler::new(&spec).weights(&weights).isa(isa).batch(batch);
                    let compiled = compiler.backend(backend).compile().unwrap();
                    let network = compiled.load(&weights).unwrap();
                    let mut output = vec![f32::NAN; expected.len()];
                    network.session_in(pool).unwrap().run_batch(&input, &mut output).unwrap();
                    let bits =
                        |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                    assert_eq!(
                        bits(&output),
                        bits(&expected),
                        "{name}, {isa}, {backend}, batches of {batch}: {output:?}, {expected:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn weights_that_the_compiler_was_not_given_are_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/int8");
    let text = std::fs::read_to_string(folder.join("basic.yaml")).unwrap();
    let spec = Spec::from_yaml_named(&text, "basic").unwrap();
    let quantised = Weights::open(folder.join("basic.safetensors")).unwrap();
    let compiled = Compiler::new(&spec).compile().unwrap();
    let error = compiled.load(&quantised).err().unwrap().to_string();
    assert!(error.contains("has 9 quantised layers"), "{error}");
    assert!(error.contains("give the weights to the compiler too"), "{error}");
    // The other way round.
    let random = Weights::random(compiled.tensors(), 1);
    let compiled = Compiler::new(&spec).weights(&quantised).compile().unwrap();
    let error = compiled.load(&random).err().unwrap().to_string();
    assert!(error.contains("has 0 quantised layers"), "{error}");
    // The reference has no integers.
    let reference = Compiler::new(&spec).weights(&quantised).backend(Backend::Reference);
    let error = reference.compile().unwrap().load(&quantised).err().unwrap().to_string();
    assert!(error.contains("the reference has real numbers only"), "{error}");
}

/// A sequence of numbers that look random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize
    }
}

/// The bytes of a tensor with what they are.
type Stored = (Dtype, Vec<usize>, Vec<u8>);

fn file(tensors: &BTreeMap<String, Stored>) -> Weights {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    Weights::from_bytes(safetensors::serialize(views, None).unwrap()).unwrap()
}

/// Weights of a table, some of whose layers are quantised; the others are as they were.
fn partly_quantised(spec: &Spec, weights: &Weights, random: &mut Random) -> Weights {
    let mut chosen: BTreeMap<String, Stored> = BTreeMap::new();
    for found in weights.found().filter(|found| matches!(found.shape.len(), 2 | 4)) {
        if !random.next().is_multiple_of(4) {
            let bytes = vec![0; found.shape.iter().product()];
            chosen.insert(found.name.to_owned(), (Dtype::I8, found.shape.to_vec(), bytes));
        }
    }
    let tensors = loop {
        match Compiler::new(spec).weights(&file(&chosen)).compile() {
            Ok(compiled) => break compiled.tensors().to_vec(),
            Err(error) => {
                // Layers that cannot be quantised are told one by one.
                let text = error.to_string();
                let name = text.split('`').nth(1).unwrap_or_else(|| panic!("{text}"));
                assert!(chosen.remove(name).is_some(), "{text}");
            }
        }
    };
    let mut all: BTreeMap<String, Stored> = BTreeMap::new();
    for tensor in &tensors {
        let name = tensor.name.to_string();
        let len: usize = tensor.shape.iter().product();
        let floats = |values: Vec<f32>| values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let (dtype, bytes) = match chosen.get(&name) {
            Some(_) => (Dtype::I8, (0..len).map(|_| random.next() as u8).collect()),
            None if name.ends_with(".input_zero_point") => (Dtype::U8, vec![97]),
            None if name.ends_with(".input_scale") => (Dtype::F32, floats(vec![0.03; len])),
            None if name.ends_with(".weight_scale") => {
                let products = chosen[&name.replace("_scale", "")].2.len() / len;
                (Dtype::F32, floats(vec![1.0 / (73.0 * (products as f32).sqrt()); len]))
            }
            // A quantised layer has a bias, whether it had one or not.
            None => match weights.tensor(&name) {
                Ok(tensor) => (Dtype::F32, floats(tensor.values)),
                Err(_) => (Dtype::F32, floats(vec![0.1; len])),
            },
        };
        all.insert(name, (dtype, tensor.shape.to_vec(), bytes));
    }
    file(&all)
}

#[test]
fn any_part_of_a_network_may_be_quantised() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let pool = Pool::new(NonZeroUsize::new(2).unwrap()).unwrap();
    let mut quantised = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let spec = Spec::from_yaml_named(&text, name).unwrap();
        let weights = Weights::open(path.with_extension("safetensors")).unwrap();
        let input = numbers(&path.with_extension("input.npy"));
        for seed in 0..3 {
            let weights = partly_quantised(&spec, &weights, &mut Random(seed));
            quantised += weights.quantised().len();
            let mut first: Option<Vec<u32>> = None;
            // Where layers stay in f32, portable code rounds them in another way.
            for isa in Isa::available().filter(|isa| *isa != Isa::Portable) {
                for (backend, batch, pool) in
                    [(Backend::BEST, 1, None), (Backend::Interpret, 3, Some(&pool))]
                {
                    let compiler = Compiler::new(&spec).weights(&weights).isa(isa).batch(batch);
                    // A batch may have other algorithms in its f32 layers.
                    let compiled = compiler.exact(true).backend(backend).compile().unwrap();
                    let network = compiled.load(&weights).unwrap_or_else(|e| panic!("{name}: {e}"));
                    let info = network.info();
                    let pictures = input.len() / info.input_len();
                    let mut output = vec![f32::NAN; pictures * info.outputs];
                    network.session_in(pool).unwrap().run_batch(&input, &mut output).unwrap();
                    assert!(output.iter().all(|v| v.is_finite()), "{name}, {isa}, {backend}");
                    let bits: Vec<u32> = output.iter().map(|v| v.to_bits()).collect();
                    let first = first.get_or_insert_with(|| bits.clone());
                    assert!(*first == bits, "{name}, seed {seed}: {isa}, {backend} differ");
                }
            }
        }
    }
    assert!(quantised > 500, "only {quantised} layers");
}
