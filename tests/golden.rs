//! Every back end against outputs that PyTorch computed, and the back ends against one another.
//!
//! `tests/golden/README.md` says how the files were made and what each network covers.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use resnet::{Backend, Compiler, Isa, Network, Options, Pool, Precision, Spec, Weights};

/// Of the largest output: what `f64` sums of `f32` weights may differ by from PyTorch's `f64` sums,
/// stored as `f32`.
const REFERENCE_TOLERANCE: f64 = 1e-5;

/// Of the largest output: what `f32` arithmetic in another order may differ by.
const TOLERANCE: f64 = 1e-4;

/// Of the outputs' root mean square: that of the errors of numbers with 8 bits of significand. Some networks here have norms over few
/// pixels, which magnify them.
const HALF_TOLERANCE: f64 = 3e-2;

struct Golden {
    name: String,
    spec: Spec,
    weights: Weights,
    input: Vec<f32>,
    output: Vec<f32>,
}

fn goldens() -> Vec<Golden> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut tables: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    tables.sort();
    assert!(tables.len() >= 53, "only {} goldens in {}", tables.len(), folder.display());
    tables.iter().map(|path| read_golden(path)).collect()
}

fn read_golden(path: &Path) -> Golden {
    let text = std::fs::read_to_string(path).unwrap();
    Golden {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        spec: Spec::from_yaml_named(&text, &path.display().to_string())
            .unwrap_or_else(|error| panic!("{error}")),
        weights: Weights::open(path.with_extension("safetensors")).unwrap(),
        input: read_npy(&path.with_extension("input.npy")),
        output: read_npy(&path.with_extension("output.npy")),
    }
}

fn read_npy(path: &Path) -> Vec<f32> {
    let file = npyz::NpyFile::new(std::fs::File::open(path).unwrap()).unwrap();
    file.into_vec().unwrap()
}

fn load(golden: &Golden, options: &Options) -> Box<dyn Network> {
    let compiled = Compiler::new(&golden.spec)
        .options(options.clone())
        .compile()
        .unwrap_or_else(|e| panic!("{}: {e}", golden.name));
    compiled.load(&golden.weights).unwrap_or_else(|e| panic!("{}: {e}", golden.name))
}

fn run(golden: &Golden, network: &dyn Network, pool: Option<&Pool>) -> Vec<f32> {
    let mut output = vec![f32::NAN; golden.output.len()];
    let mut session = network.session_in(pool).unwrap();
    session.run_batch(&golden.input, &mut output).unwrap();
    output
}

/// Fails if any output differs by more than `tolerance` of the largest one.
fn check(what: &str, found: &[f32], expected: &[f32], tolerance: f64) {
    let largest = expected.iter().fold(0.0, |max, v| f64::from(v.abs()).max(max));
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - f64::from(expected)).abs();
        assert!(
            error <= tolerance * largest,
            "{what}: output {i} is {found}, PyTorch has {expected}; the largest is {largest}"
        );
    }
}

/// Fails if the root mean square of the errors is more than [`HALF_TOLERANCE`] of that of the outputs.
fn check_mean(what: &str, found: &[f32], expected: &[f32]) {
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let pairs = found.iter().zip(expected);
    let errors =
        squares(&mut pairs.map(|(&found, &expected)| f64::from(found) - f64::from(expected)));
    let outputs = squares(&mut expected.iter().map(|&v| f64::from(v)));
    let error = (errors / outputs).sqrt();
    assert!(error <= HALF_TOLERANCE, "{what}: the error is {error} of the outputs");
}

#[test]
fn the_reference_agrees_with_pytorch() {
    for golden in goldens() {
        let options = Options { backend: Backend::Reference, ..Options::default() };
        let found = run(&golden, &*load(&golden, &options), None);
        check(&golden.name, &found, &golden.output, REFERENCE_TOLERANCE);
    }
}

/// Checks answers of both back ends, with threads and without, against PyTorch's, and that they have the same bits.
fn check_back_ends(golden: &Golden, options: &Options, pools: &[Option<&Pool>]) {
    let mut first: Option<Vec<u32>> = None;
    for backend in [Backend::Interpret, Backend::Jit] {
        let options = Options { backend, ..options.clone() };
        let network = load(golden, &options);
        for &pool in pools {
            let threads = pool.map_or(1, Pool::threads);
            let Options { isa, batch, exact, precision, .. } = options;
            let what = format!(
                "{} ({backend}, {isa:?}, batch {batch}, exact {exact}, {precision:?}, {threads} threads)",
                golden.name
            );
            let found = run(golden, &*network, pool);
            match precision {
                Some(Precision::Bf16) => check_mean(&what, &found, &golden.output),
                _ => check(&what, &found, &golden.output, TOLERANCE),
            }
            let first = first.get_or_insert_with(|| bits(&found));
            assert_eq!(*first, bits(&found), "{what}: other bits");
        }
    }
}

#[test]
fn interpreter_and_jit_agree_with_pytorch_and_bit_for_bit_with_each_other() {
    let pool = Pool::new(NonZeroUsize::new(4).unwrap()).unwrap();
    for golden in goldens() {
        check_back_ends(&golden, &Options::default(), &[None, Some(&pool)]);
    }
}

#[test]
fn they_do_so_on_every_instruction_set_in_batches_and_exactly() {
    let pools = [2, 4].map(|threads| Pool::new(NonZeroUsize::new(threads).unwrap()).unwrap());
    let pools = [None, Some(&pools[0]), Some(&pools[1])];
    for golden in goldens() {
        for isa in Isa::available() {
            // Another batch size may be compiled to other algorithms.
            for (exact, batch) in [false, true].into_iter().flat_map(|e| [1, 2, 3].map(|b| (e, b)))
            {
                let options = Options { isa: Some(isa), batch, exact, ..Options::default() };
                check_back_ends(&golden, &options, &pools);
            }
        }
    }
}

#[test]
fn in_bf16_they_agree_bit_for_bit_and_with_pytorch_as_far_as_it_goes() {
    let pool = Pool::new(NonZeroUsize::new(4).unwrap()).unwrap();
    for golden in goldens() {
        for isa in Isa::available() {
            for (exact, batch) in [(false, 1), (false, 3), (true, 2)] {
                let precision = Some(Precision::Bf16);
                let isa = Some(isa);
                let options = Options { isa, batch, exact, precision, ..Options::default() };
                check_back_ends(&golden, &options, &[None, Some(&pool)]);
            }
        }
    }
}

/// Their sums of products of `bf16` are the same; of `f32` too, where multiplication and addition are fused.
#[test]
fn in_bf16_instruction_sets_have_the_same_bits() {
    for golden in goldens() {
        let of = |isa| {
            let options =
                Options { isa: Some(isa), precision: Some(Precision::Bf16), ..Options::default() };
            bits(&run(&golden, &*load(&golden, &options), None))
        };
        let fused: Vec<Isa> = Isa::available().filter(|isa| *isa != Isa::Portable).collect();
        for pair in fused.windows(2) {
            assert_eq!(of(pair[0]), of(pair[1]), "{}: {pair:?}", golden.name);
        }
    }
}

/// Seven pictures: those that threads share evenly are each computed by one of them, the others together, as many as the network
/// is compiled for or one by one.
#[test]
fn a_pictures_bits_do_not_depend_on_its_place_in_a_batch() {
    let pools = [2, 4].map(|threads| Pool::new(NonZeroUsize::new(threads).unwrap()).unwrap());
    let mut several = 0;
    for golden in goldens() {
        for batch in [1, 2, 3] {
            let network = load(&golden, &Options { batch, ..Options::default() });
            let info = network.info();
            let pictures: Vec<&[f32]> = golden.input.chunks(info.input_len()).collect();
            several += usize::from(pictures.len() > 1);
            let many: Vec<&[f32]> = pictures.iter().copied().cycle().take(7).collect();
            let mut alone = network.session();
            let expected: Vec<Vec<u32>> =
                many.iter().map(|picture| bits(alone.run(picture).unwrap())).collect();
            for pool in [None, Some(&pools[0]), Some(&pools[1])] {
                let mut answers = vec![f32::NAN; many.len() * info.outputs];
                let mut session = network.session_in(pool).unwrap();
                session.run_batch(&many.concat(), &mut answers).unwrap();
                let threads = pool.map_or(1, Pool::threads);
                for (answer, expected) in answers.chunks(info.outputs).zip(&expected) {
                    assert_eq!(&bits(answer), expected, "{}, {batch}, {threads}", golden.name);
                }
            }
        }
    }
    assert!(several > 30, "only {several} goldens have several pictures");
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn a_second_run_of_a_session_gives_the_same_bits() {
    for golden in goldens() {
        let network = load(&golden, &Options::default());
        let pictures = golden.input.len() / network.info().input_len();
        let picture = &golden.input[..golden.input.len() / pictures];
        let mut session = network.session();
        let once = session.run(picture).unwrap().to_vec();
        // Whatever the first run left in the arena must not matter.
        let loud: Vec<f32> = picture.iter().map(|v| v * 1e3 - 7.0).collect();
        session.run(&loud).unwrap();
        assert_eq!(session.run(picture).unwrap(), once, "{}", golden.name);
    }
}
