//! Tables, labels and weights: what every subcommand reads first.

use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use resnet::{
    Backend, CompileError, Compiled, Compiler, Labels, Model, Options, PlanError, Weights,
};
use resnet_compiler::schedule::Choices;
use resnet_compiler::zoo::whose;
use resnet_runtime::file;
use resnet_runtime::weights::TensorSpec;

use crate::args::{Algorithms, BackendName, Engine};
use crate::pictures::is_stdin;

/// Says so if the table leaves out what nearly every trained network needs.
pub(crate) fn note_preprocess(model: &Model) {
    if !model.normalises() {
        crate::say!(
            "note: pictures are scaled to 0..1 and not normalised: `{}` has no `preprocess` with \
             `mean` and `std`",
            model.spec.name.value
        );
    }
}

/// Compiles for `batch` pictures at a time, and for weights that may be packed.
pub(crate) fn compile(
    model: &Model,
    engine: &Engine,
    batch: usize,
    weights: Option<&Weights>,
) -> Result<Compiled> {
    let options = options(&engine.algorithms, batch)?;
    let options = Options { backend: backend(engine.backend), isa: engine.isa.0, ..options };
    let mut compiler = Compiler::new(&model.spec).options(options);
    if let Some(weights) = weights {
        note_batch(weights, batch);
        compiler = compiler.weights(weights);
    }
    compiler.compile().map_err(for_process)
}

/// Says so if weights were packed for other batches than are computed.
fn note_batch(weights: &Weights, batch: usize) {
    let schedule = weights.packed().map(|file| file.about().schedule.parse());
    if let Some(Ok(Choices { batch: packed, .. })) = schedule
        && ![1, packed].contains(&batch)
    {
        crate::say!(
            "note: `{}` was packed for batches of {packed}; packed with `--batch {batch}` it may be \
             faster",
            weights.origin()
        );
    }
}

/// The compiler's options for `batch` pictures at a time.
pub(crate) fn options(algorithms: &Algorithms, batch: usize) -> Result<Options> {
    let Algorithms { exact, memory, schedule } = algorithms;
    let choices = choices(schedule.as_deref())?;
    Ok(Options { batch, exact: *exact, memory: budget(*memory), choices, ..Options::default() })
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

/// Opens weights, if a file is named, or reads them where they are not to be mapped.
pub(crate) fn open_weights(path: Option<&Path>, no_map: bool) -> Result<Option<Weights>> {
    let open = if no_map { Weights::read } else { Weights::open };
    Ok(path.map(open).transpose()?)
}

/// The weights that were opened, or some that are drawn for a network. Those that are another known
/// network's are refused with its name.
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
        return Err(match whose(&weights, tensors) {
            Some(whose) => anyhow!("{error}\nhint: {whose}"),
            None => error.into(),
        });
    }
    Ok(weights)
}

pub(crate) fn backend(name: BackendName) -> Backend {
    match name {
        BackendName::Jit => Backend::Jit,
        BackendName::Interpret => Backend::Interpret,
        BackendName::Reference => Backend::Reference,
    }
}

/// Reads a table from a file or standard input, or takes a network of the zoo by its name; says what it
/// is warned of.
pub(crate) fn open_model(path: &Path) -> Result<Model> {
    let model = if is_stdin(path) {
        let text = read_text(path).context("cannot read a table from standard input")?;
        Model::from_text(&text, "-")?
    } else {
        Model::open(path)?
    };
    let warnings = model.spec.warnings();
    if !warnings.is_empty() {
        crate::say!("{}\n", warnings.render(crate::has_colors()));
    }
    Ok(model)
}

/// The labels of a model: those of `file`, which may be standard input, if one is asked for, else the
/// table's.
pub(crate) fn labels(model: &Model, file: Option<&Path>, classes: usize) -> Result<Option<Labels>> {
    let Some(path) = file else { return Ok(model.labels(classes)?) };
    let read = match is_stdin(path) {
        true => read_text(path).map(|text| Labels::from_lines(&text, "-")),
        false => Labels::read(path),
    };
    let labels = read.with_context(|| format!("cannot read the labels `{}`", path.display()))?;
    Ok(Some(labels.for_network(&model.spec.name.value, classes)?))
}

/// Reads a text from a file, or from standard input for `-`.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    match is_stdin(path) {
        true => file::text(io::stdin().lock()),
        false => file::read_text(path),
    }
}
