//! Quantised networks against outputs that `tests/int8/make.py` computed by the definition, with integers:
//! the same bits from every back end, on every instruction set, with any number of threads.

use std::num::NonZeroUsize;
use std::path::Path;

use resnet::{Backend, Compiler, Isa, Pool, Spec, Weights};

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
    assert!(error.contains("the reference computes with real numbers"), "{error}");
}
