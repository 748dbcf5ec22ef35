//! Quantised networks against outputs that `tests/int8/make.py` computed by the definition, with integers:
//! the same bits from every back end, on every instruction set, with any number of threads.

mod quantised;
#[path = "quantised/small.rs"]
mod small;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use resnet::{Backend, Compiler, Isa, Pool, Spec, Weights};
use resnet_compiler::graph::Graph;
use resnet_compiler::schedule::{Algorithm, Choice, Choices, Order, Wishes};
use resnet_compiler::zoo::ZOO;

use self::quantised::{Random, is_defined_to_the_bit, partly_quantised, some_choices};
use self::small::small;

const NETWORKS: [&str; 3] = ["basic", "option-a", "bottleneck"];

fn numbers(path: &Path) -> Vec<f32> {
    npyz::NpyFile::new(std::fs::File::open(path).unwrap()).unwrap().into_vec().unwrap()
}

#[test]
fn all_have_the_bits_of_the_definition() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/int8");
    let pool = Pool::new(NonZeroUsize::new(4).unwrap()).unwrap();
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
        let answer = |(algorithm, order)| {
            let choice = Choice { algorithm, order };
            let layers = [("conv1".to_owned(), choice)].into();
            let choices = Arc::new(Choices::new(&graph, &Wishes::default(), layers));
            let compiler = Compiler::new(&spec).weights(&weights).choices(choices);
            let network = compiler.compile().unwrap().load(&weights).unwrap();
            let picture: Vec<f32> = (0..network.info().input_len())
                .map(|at| (at * 37 % 101) as f32 / 50.0 - 1.0)
                .collect();
            network.session_in(None).unwrap().run(&picture).unwrap().to_vec()
        };
        let direct = answer((Algorithm::Direct, Order::RowsOuter));
        // Its words are packed, or made of packed bytes.
        let [winograd, made] = [Order::RowsOuter, Order::PanelsOuter]
            .map(|order| answer((Algorithm::Winograd4, order)));
        assert_eq!(made, winograd, "{inputs}x{shape}");
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

/// Those of rows after the last feature are there, and not computed.
#[test]
fn features_take_the_whole_networks_weights() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/int8");
    let text = std::fs::read_to_string(folder.join("basic.yaml")).unwrap();
    let spec = |features: &str| {
        let text = text.replace("input: 3x37x29", &format!("input: 3x37x29{features}"));
        Spec::from_yaml_named(&text, "basic").unwrap()
    };
    let input = numbers(&folder.join("basic.input.npy"));
    let weights = Weights::open(folder.join("basic.safetensors")).unwrap();
    let run = |spec: &Spec| {
        let compiled = Compiler::new(spec).weights(&weights).exact(true).compile().unwrap();
        let network = compiled.load(&weights).unwrap();
        network.session().run(&input[..3 * 37 * 29]).unwrap().to_vec()
    };
    let alone = run(&spec("\nfeatures: [conv2_x]"));
    // Where other rows read them, features are bytes, of which the largest is reached here.
    let read = run(&spec("\nfeatures: [conv2_x, fc]"));
    let len = 12 * 10 * 8;
    assert_eq!((alone.len(), read.len()), (len, len + 10));
    let most = read[..len].iter().fold(0.0, |most: f32, &value| most.max(value));
    for (alone, read) in alone.iter().zip(&read) {
        assert!((alone.min(most) - read).abs() <= most / 255.0, "{alone}, {read}");
    }

    let other = text
        .replace("  - {layer: fc, op: linear, channels: 10}", "")
        .replace("input: 3x37x29", "input: 3x37x29\nfeatures: [conv2_x]");
    let other = Spec::from_yaml_named(&other, "other").unwrap();
    let error = Compiler::new(&other).weights(&weights).compile().err().unwrap().to_string();
    assert!(error.contains("`fc.weight` are bytes"), "{error}");
}

#[test]
fn any_part_of_a_network_may_be_quantised() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let pool = Pool::new(NonZeroUsize::new(4).unwrap()).unwrap();
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

/// The zoo's networks for small pictures, all that can be in 8 bits. `ZOO=all cargo test --release --test int8` takes every one
/// of them, which is minutes.
#[test]
fn networks_of_the_zoo_have_the_same_bits_everywhere() {
    const SOME: [&str; 4] = ["cifar-resnet20", "resnet26d", "resnext50_32x4d", "seresnet50"];
    // Of the reference and of portable code, which take their time.
    const MOST_MACS: u64 = 30_000_000;
    let all = std::env::var("ZOO").is_ok_and(|which| which == "all");
    let pool = Pool::new(NonZeroUsize::new(4).unwrap()).unwrap();
    let mut names: Vec<&str> = ZOO.iter().map(|(name, _)| *name).collect();
    names.retain(|name| all || SOME.contains(name));
    assert!(names.len() >= SOME.len(), "{names:?}");
    for (name, table) in ZOO.iter().filter(|(name, _)| names.contains(name)) {
        let spec = Spec::from_yaml_named(&small(table), name).unwrap_or_else(|e| panic!("{e}"));
        let graph = Graph::build(&spec).unwrap();
        let real = Weights::random(&graph.tensors, 3);
        let weights = partly_quantised(&spec, &real, &mut Random(5), true);
        let pictures = graph.input_shape().elements() * 3;
        let input: Vec<f32> =
            (0..pictures).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
        let bits = |isa, backend, batch, pool| -> Vec<u32> {
            // By itself a batch may have other algorithms.
            let choices = some_choices(&spec, &weights, Random(9), batch);
            let compiler = Compiler::new(&spec).weights(&weights).isa(isa).batch(batch);
            let compiled = compiler.choices(choices).backend(backend).compile().unwrap();
            let network = compiled.load(&weights).unwrap_or_else(|e| panic!("{name}: {e}"));
            let mut output = vec![f32::NAN; 3 * network.info().outputs];
            network.session_in(pool).unwrap().run_batch(&input, &mut output).unwrap();
            assert!(output.iter().all(|value| value.is_finite()), "{name}, {isa}");
            output.iter().map(|value| value.to_bits()).collect()
        };
        let defined = is_defined_to_the_bit(&spec, &weights);
        let portable = defined && (all || graph.macs <= MOST_MACS);
        let mut first: Option<Vec<u32>> = None;
        for isa in Isa::available().filter(|isa| portable || *isa != Isa::Portable) {
            for (backend, batch, pool) in
                [(Backend::BEST, 1, None), (Backend::Interpret, 3, Some(&pool))]
            {
                let found = bits(isa, backend, batch, pool);
                let first = first.get_or_insert_with(|| found.clone());
                assert!(*first == found, "{name}: {isa}, {backend} differ");
            }
        }
        if defined && graph.macs <= MOST_MACS {
            let found = bits(Isa::Portable, Backend::Reference, 1, None);
            assert!(first == Some(found), "{name}: the reference differs");
        }
    }
}
