//! A hash of what every network answers, on every instruction set and back end of this machine: two
//! runs print the same if no bit has changed between them.
//!
//! ```sh
//! cargo run --release -p resnet-compiler --features jit --example answers -- --quick
//! ```
//!
//! The networks are those of `tests/golden`, with their weights, and the zoo's, with random ones; with
//! `--quick` the zoo's have small pictures. Other arguments name the networks to run. A line is a
//! network, an instruction set, a back end, and four hashes: single pictures and three together, with the
//! fastest algorithms, then the same with exact ones. Only small networks have a line of the reference.

#[path = "../../tests/quantised/small.rs"]
mod small;

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use resnet_compiler::graph::Graph;
use resnet_compiler::network::{Backend, Compiler, Options};
use resnet_compiler::spec::Spec;
use resnet_compiler::zoo::ZOO;
use resnet_runtime::kernels::Isa;
use resnet_runtime::threads::Pool;
use resnet_runtime::weights::Weights;

use small::small;

/// Pictures of a run.
const PICTURES: usize = 3;

/// Multiply-adds of a picture above which the reference would take too long.
const MOST_OF_REFERENCE: u64 = 20_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let (options, names): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let quick = options.iter().any(|option| option == "--quick");
    if let Some(option) = options.iter().find(|option| *option != "--quick") {
        return Err(format!("found `{option}`, and there is `--quick` alone").into());
    }
    let pool = Pool::new(std::thread::available_parallelism()?)?;
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    for path in goldens()? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if wanted(&name) {
            let spec = Spec::from_yaml_named(&std::fs::read_to_string(&path)?, &name)?;
            let weights = Weights::open(path.with_extension("safetensors"))?;
            answers(&name, &spec, Some(&weights), &pool)?;
        }
    }
    for (name, table) in ZOO {
        if wanted(name) {
            let table = if quick { small(table) } else { (*table).to_owned() };
            answers(name, &Spec::from_yaml_named(&table, name)?, None, &pool)?;
        }
    }
    Ok(())
}

/// The tables of `tests/golden`.
fn goldens() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let files = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files = files.collect::<Result<Vec<_>, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    Ok(files)
}

/// Prints the lines of a network.
fn answers(
    name: &str,
    spec: &Spec,
    weights: Option<&Weights>,
    pool: &Pool,
) -> Result<(), Box<dyn Error>> {
    let ways = [(false, 1), (false, PICTURES), (true, 1), (true, PICTURES)];
    let random = Weights::random(&Graph::build(spec)?.tensors, 7);
    let weights = weights.unwrap_or(&random);
    let mut lines: Vec<(String, Vec<u64>)> = Vec::new();
    for (exact, batch) in ways {
        let options = Options { exact, batch, ..Options::default() };
        let compiled = Compiler::new(spec).options(options.clone()).compile()?;
        let small = compiled.graph().macs <= MOST_OF_REFERENCE;
        // Packed once for all.
        let mut packed = Vec::new();
        compiled.plan().pack(weights, all_threads(pool), "", &mut packed)?;
        let packed = Weights::from_bytes(packed)?;
        let mut results = Vec::new();
        for isa in Isa::available() {
            for backend in [Backend::Jit, Backend::Interpret] {
                let options = Options { isa: Some(isa), backend, ..options.clone() };
                let hash = hash(spec, &options, &packed, pool)?;
                results.push((format!("{isa} {backend}"), hash));
            }
        }
        if small {
            let backend = Backend::Reference;
            let options = Options { backend, ..options };
            results.push((backend.to_string(), hash(spec, &options, weights, pool)?));
        }
        lines.resize(results.len(), Default::default());
        for ((label, hashes), (of, hash)) in lines.iter_mut().zip(results) {
            *label = of;
            hashes.push(hash);
        }
    }
    for (label, hashes) in lines {
        let hashes: Vec<String> = hashes.iter().map(|hash| format!("{hash:016x}")).collect();
        println!("{name:<26} {label:<18} {}", hashes.join(" "));
    }
    Ok(())
}

fn all_threads(pool: &Pool) -> NonZeroUsize {
    NonZeroUsize::new(pool.threads()).unwrap_or(NonZeroUsize::MIN)
}

/// The hash of the answers' bits: FNV-1a's, of 64 bits, over their bytes.
fn hash(
    spec: &Spec,
    options: &Options,
    weights: &Weights,
    pool: &Pool,
) -> Result<u64, Box<dyn Error>> {
    let network = Compiler::new(spec).options(options.clone()).compile()?.load(weights)?;
    let info = network.info();
    let pictures: Vec<f32> =
        (0..PICTURES * info.input_len()).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
    let mut outputs = vec![f32::NAN; PICTURES * info.outputs];
    network.session_in(Some(pool))?.run_batch(&pictures, &mut outputs)?;
    if let Some(output) = outputs.iter().find(|output| !output.is_finite()) {
        return Err(format!("{}: an output is {output}", info.name).into());
    }
    let bytes = outputs.iter().flat_map(|output| output.to_bits().to_le_bytes());
    Ok(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    }))
}
