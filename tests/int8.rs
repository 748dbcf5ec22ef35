//! Quantised networks against outputs that `tests/int8/make.py` computed by the definition, with integers:
//! the same bits from every back end, on every instruction set, with any number of threads.

mod quantised;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use resnet::{Backend, Compiler, Isa, Pool, Spec, Weights};
use resnet_compiler::graph::Graph;
use resnet_compiler::schedule::{Algorithm, Choice, Choices, Order};

use self::quantised::{Random, is_defined_to_the_bit, partly_quantised, some_choices};

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
                    let compiled = compiler.backend(backend).exact(true).compile().unwrap();
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

/// A convolution whose answer is in single precision, with a zero point, at odd sizes: Winograd's sums are
/// exact, and what follows rounds a little.
#[test]
fn winograd_computes_the_convolution() {
    for (inputs, shape) in [(16, "4x4"), (20, "13x11"), (70, "7x9"), (600, "5x6")] {
        let text = format!(
            "name: one\ninput: {inputs}x{shape}\ntable:\n  - {{layer: conv1, op: conv, kernel: 3, channels: 24, \
             norm: none, bias: true, activation: none}}\n"
        );
        let spec = Spec::from_yaml_named(&text, "one").unwrap_or_else(|error| panic!("{error}"));
        let graph = Graph::build(&spec).unwrap();
        let weights = Weights::random(&graph.tensors, 1);
        let weights = partly_quantised(&spec, &weights, &mut Random(1), true);
        let answer = |algorithm: Algorithm| {
            let choice = Choice { algorithm, order: Order::RowsOuter };
            let layers = [("conv1".to_owned(), choice)].into();
            let choices = Arc::new(Choices::new(&graph, 1, layers));
            let compiler = Compiler::new(&spec).weights(&weights).choices(choices);
            let network = compiler.compile().unwrap().load(&weights).unwrap();
            let picture: Vec<f32> = (0..network.info().input_len())
                .map(|at| (at * 37 % 101) as f32 / 50.0 - 1.0)
                .collect();
            network.session_in(None).unwrap().run(&picture).unwrap().to_vec()
        };
        let [direct, winograd] = [Algorithm::Direct, Algorithm::Winograd4].map(answer);
        let largest = direct.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        assert!(largest > 0.1, "{inputs}x{shape}: {largest}");
        // Words of so many channels are rounded.
        let tolerance = if inputs < 300 { 1e-5 } else { 1e-2 };
        for (a, b) in direct.iter().zip(&winograd) {
            assert!((a - b).abs() <= tolerance * largest, "{inputs}x{shape}: {a} and {b}");
        }
        assert_ne!(direct, winograd, "{inputs}x{shape}: it is another algorithm");
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
            // By itself a batch may have other algorithms.
            let choices = |batch| some_choices(&spec, &weights, Random(seed + 7), batch);
            let mut first: Option<Vec<u32>> = None;
            // Where layers stay in f32, portable code rounds them in another way.
            for isa in Isa::available().filter(|isa| *isa != Isa::Portable) {
                for (backend, batch, pool) in
                    [(Backend::BEST, 1, None), (Backend::Interpret, 3, Some(&pool))]
                {
                    let compiler = Compiler::new(&spec).weights(&weights).isa(isa).batch(batch);
                    let compiler = compiler.choices(choices(batch)).backend(backend);
                    let compiled = compiler.compile().unwrap();
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
            let network = compiler.choices(choices(1)).compile().unwrap().load(&weights).unwrap();
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
