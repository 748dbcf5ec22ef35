//! Tables, labels and weights: what every subcommand reads first.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use resnet::{
    Backend, CompileError, Compiled, Compiler, Labels, Model, Options, PlanError, Weights,
};
use resnet_compiler::graph::Graph;
use resnet_compiler::schedule::Choices;
use resnet_compiler::zoo::whose;
use resnet_runtime::kernels::{Element, Isa, Precision};
use resnet_runtime::weights::TensorSpec;

use crate::args::{Algorithms, BackendName, Engine};
use crate::stdin::{self, is_stdin, read_text};
use crate::voice;

/// Says so if the table leaves out what nearly every trained network needs.
pub(crate) fn note_preprocess(model: &Model) {
    if !model.normalises() {
        crate::voice::note!(
            "pictures are scaled to 0..1 and not normalised: `{}` has no `preprocess` with \
             `mean` and `std`",
            model.spec.name.value
        );
    }
}

/// Compiles for `batch` pictures at a time, and for weights that may be packed.
pub(crate) fn compile(
    model: &Model,
    engine: &Engine,
    backend: Backend,
    batch: usize,
    weights: Option<&Weights>,
) -> Result<Compiled> {
    let options = options(&engine.algorithms, batch)?;
    let options = Options { backend, isa: engine.isa.get(), ..options };
    let mut compiler = Compiler::new(&model.spec).options(options);
    if let Some(weights) = weights {
        note_batch(weights, batch);
        compiler = compiler.weights(weights);
    }
    let compiled = compiler.compile().map_err(for_process)?;
    if weights.is_some_and(|weights| !weights.quantised().is_empty()) {
        note_slow_bytes(backend, compiled.isa());
    }
    if compiled.wishes().precision == Precision::Bf16 {
        note_bf16(backend, compiled.isa());
    }
    Ok(compiled)
}

/// Says so where products of bf16 are made in f32, or everything is.
fn note_bf16(backend: Backend, isa: Isa) {
    if backend == Backend::Reference {
        crate::voice::note!("the reference computes in f64, whatever the precision");
    } else if !isa.multiplies(Element::Bf16) {
        crate::voice::note!(
            "on `{isa}`, which has no products of bf16, they are computed in f32, to the same bits: activations \
             take half the memory, and most networks more time"
        );
    }
}

/// Says so where 8 bits are worth little time: where no instruction sums products of bytes.
fn note_slow_bytes(backend: Backend, isa: Isa) {
    if backend != Backend::Reference && !isa.multiplies(Element::U8) {
        crate::voice::note!(
            "on `{isa}`, which has no dot products of bytes, networks in 8 bits are little faster than in f32, or slower"
        );
    }
}

/// Says so if weights were packed for other batches than are computed.
fn note_batch(weights: &Weights, batch: usize) {
    let schedule = weights.packed().map(|file| file.about().schedule.parse());
    if let Some(Ok(Choices { batch: packed, .. })) = schedule
        && ![1, packed].contains(&batch)
    {
        crate::voice::note!(
            "`{}` was packed for batches of {packed}; packed with `--batch {batch}` it may be \
             faster",
            weights.origin()
        );
    }
}

/// The compiler's options for `batch` pictures at a time.
pub(crate) fn options(algorithms: &Algorithms, batch: usize) -> Result<Options> {
    let Algorithms { exact, memory, schedule, precision } = algorithms;
    let choices = choices(schedule.as_deref())?;
    let (exact, memory, precision) = (*exact, budget(*memory), precision.get());
    Ok(Options { batch, exact, memory, choices, precision, ..Options::default() })
}

/// Bytes that a process needs besides the network's: the program itself, machine code, the picture that
/// is decoded. Of the `run` of ResNet-18, one thread, on x86-64 Linux: 10 MB.
const PROCESS: usize = 12 << 20;

/// What a process that may need `memory` bytes leaves to the network.
pub(crate) fn budget(memory: Option<usize>) -> Option<usize> {
    memory.map(|memory| memory.saturating_sub(PROCESS))
}

/// Speaks of the whole process where the compiler speaks of a network's memory.
pub(crate) fn for_process(error: CompileError) -> anyhow::Error {
    let CompileError::Plan(PlanError::Memory { least, .. }) = error else { return error.into() };
    let least = least + PROCESS;
    anyhow!(
        "the process needs at least {least} bytes, of which the program itself takes {PROCESS}: give \
         it `--memory {least}` or more, or fewer pictures at a time"
    )
}

/// Reads a saved schedule.
pub(crate) fn choices(path: Option<&Path>) -> Result<Option<Arc<Choices>>> {
    let Some(path) = path else { return Ok(None) };
    let shown = path.display();
    let text = read_text(path).with_context(|| format!("cannot read the schedule `{shown}`"))?;
    let choices = text.parse().with_context(|| format!("`{shown}` is not a schedule"))?;
    Ok(Some(Arc::new(choices)))
}

/// Opens weights, if a file is named, or reads them where they are not to be mapped, or come from standard input.
pub(crate) fn open_weights(path: Option<&Path>, no_map: bool) -> Result<Option<Weights>> {
    let Some(path) = path else { return Ok(None) };
    if is_stdin(path) {
        let bytes = stdin::bytes().context("cannot read weights from standard input")?;
        let weights = Weights::from_bytes(bytes);
        return Ok(Some(weights.context("cannot read weights from standard input")?));
    }
    Ok(Some(if no_map { Weights::read(path)? } else { Weights::open(path)? }))
}

/// The weights that were opened, or some that are drawn for a network. Those that are another known
/// network's, or have other names, are refused with what helps.
pub(crate) fn weights(
    opened: Option<Weights>,
    seed: Option<u64>,
    tensors: &[TensorSpec],
) -> Result<Weights> {
    let Some(weights) = opened else {
        return Ok(Weights::random(tensors, seed.unwrap_or(0)));
    };
    if weights.packed().is_none()
        && let Err(error) = weights.check(tensors)
    {
        let origin = weights.origin();
        let import = format!("`resnet import {origin} -o DIR` writes a table");
        let hint = match (import_would_help(origin, tensors), whose(&weights, tensors)) {
            (Some(Import::Renames), _) => {
                format!("these may be the network's by other names: {import} that calls them so")
            }
            (_, Some(whose)) => whose,
            (Some(Import::Another), None) => format!("{import} that they fit"),
            (None, None) => return Err(error.into()),
        };
        return Err(anyhow!("{error}\nhint: {hint}"));
    }
    Ok(weights)
}

/// What `import` would make of weights that a table does not fit: they are the network's by other names than
/// the table's, or another network's.
fn import_would_help(origin: &str, tensors: &[TensorSpec]) -> Option<Import> {
    let imported = resnet_import::import(origin, &resnet_import::Options::default()).ok()?;
    let mut found: Vec<&[usize]> = imported.tensors().map(|(_, shape)| shape).collect();
    let mut needed: Vec<&[usize]> = tensors.iter().map(|tensor| &*tensor.shape).collect();
    found.sort_unstable();
    needed.sort_unstable();
    Some(if found == needed { Import::Renames } else { Import::Another })
}

enum Import {
    Renames,
    Another,
}

/// What runs a network that is measured: machine code, if nobody says otherwise.
pub(crate) fn backend(name: Option<BackendName>) -> Backend {
    match name {
        None | Some(BackendName::Jit) => Backend::Jit,
        Some(BackendName::Interpret) => Backend::Interpret,
        Some(BackendName::Reference) => Backend::Reference,
    }
}

/// What runs a network on so many pictures and no more.
pub(crate) fn backend_for(name: Option<BackendName>, graph: &Graph, pictures: usize) -> Backend {
    match name {
        None if graph.macs.saturating_mul(pictures as u64) < WORTH_CODE => Backend::Interpret,
        name => backend(name),
    }
}

/// Multiply-adds from which on machine code is worth making: it takes 6 to 10 ms, and saves 2 to 5 % of what these take on
/// one thread (`resnet bench` with either back end, of ResNet-20, 18 and 50).
const WORTH_CODE: u64 = 16_000_000_000;

/// Reads a table from a file or standard input, or takes a network of the zoo by its name; says what it
/// is warned of.
pub(crate) fn open_model(path: &Path) -> Result<Model> {
    let model = if is_stdin(path) {
        let text = read_text(path).context("cannot read a table from standard input")?;
        Model::from_text(&text, "-")?
    } else {
        Model::open(path)?
    };
    voice::warnings(&model.spec.warnings());
    Ok(model)
}

/// The labels of a model: those of `file`, which may be standard input, if one is asked for, else the
/// table's.
pub(crate) fn labels(model: &Model, file: Option<&Path>, classes: usize) -> Result<Option<Labels>> {
    let Some(path) = file else { return Ok(model.labels(classes)?) };
    Ok(Some(read_labels(path)?.for_network(&model.spec.name.value, classes)?))
}

/// Labels from a file, or from standard input.
pub(crate) fn read_labels(path: &Path) -> Result<Labels> {
    let read = match is_stdin(path) {
        true => read_text(path).map(|text| Labels::from_lines(&text, "-")),
        false => Labels::read(path),
    };
    read.with_context(|| format!("cannot read the labels `{}`", path.display()))
}
