//! Quantised networks against outputs that `tests/int8/make.py` computed by the definition, with integers:
//! the same bits from every back end, on every instruction set, with any number of threads.

mod quantised;

use std::num::NonZeroUsize;
use std::path::Path;

use resnet::{Backend, Compiler, Isa, Pool, Spec, Weights};

use self::quantised::{Random, is_defined_to_the_bit, partly_quantised};

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
            for backend in [Backend::BEST, Backend::Interpret, Backend::Reference] {
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
}

#[test]
fn any_part_of_a_network_may_be_quantised() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let pool = Pool::new(NonZeroUsize::new(2).unwrap()).unwrap();
    let (mut quantised, mut defined) = (0, 0);
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
            let weights = partly_quantised(&spec, &weights, &mut Random(seed), seed == 0);
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
            let compiler = Compiler::new(&spec).weights(&weights).backend(Backend::Reference);
            let network = compiler.compile().unwrap().load(&weights).unwrap();
            let info = network.info();
            let pictures = input.len() / info.input_len();
            let mut output = vec![f32::NAN; pictures * info.outputs];
            network.session_in(None).unwrap().run_batch(&input, &mut output).unwrap();
            if is_defined_to_the_bit(&spec, &weights) {
                let bits: Vec<u32> = output.iter().map(|v| v.to_bits()).collect();
                assert!(Some(bits) == first, "{name}, seed {seed}: the reference differs");
                defined += 1;
            }
        }
    }
    assert!(quantised > 500, "only {quantised} layers");
    assert!(defined > 30, "only {defined} networks");
}
