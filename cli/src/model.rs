//! Tables, labels and weights: what every subcommand reads first.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use resnet::compiler::network::{Backend, CompileError, Compiled, Compiler, Options};
use resnet::compiler::schedule::Choices;
use resnet::compiler::spec::{Labels, Spec};
use resnet::compiler::zoo::{ZOO, whose, zoo};
use resnet::runtime::file;
use resnet::runtime::kernels::Isa;
use resnet::runtime::weights::{TensorSpec, Weights};

use crate::args::{Algorithms, BackendName, Engine, IsaName};
use crate::pictures::is_stdin;

/// A parsed table and where it came from.
pub(crate) struct Model {
    pub(crate) spec: Spec,
    /// The table's file; a network of the zoo has none.
    pub(crate) path: Option<PathBuf>,
}

impl Model {
    /// Reads a table from a file, or a network of the zoo by its name.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let model = &*path.to_string_lossy();
        // A file that is there is meant, whatever its name; a bare word may be of the zoo.
        if !path.is_file()
            && let Some(text) = zoo(model)
        {
            return Ok(Self { spec: Spec::from_yaml_named(text, model)?, path: None });
        }
        let looks_like_a_path =
            path.components().count() > 1 || path.extension().is_some() || path.exists();
        let looks_like_a_path = looks_like_a_path || is_stdin(path);
        if !looks_like_a_path {
            return Err(unknown(model));
        }
        let text = read_text(path).with_context(|| {
            if is_stdin(path) {
                return "cannot read a table from standard input".to_owned();
            }
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let hint = match zoo(stem) {
                Some(_) if !path.exists() => format!(" (the command carries `{stem}` inside)"),
                _ => String::new(),
            };
            format!("cannot read the table `{model}`{hint}")
        })?;
        Ok(Self { spec: Spec::from_yaml_named(&text, model)?, path: Some(path.to_owned()) })
    }

    /// The files that the model is in: the table's and the labels'.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let labels = self.spec.labels.as_ref().and_then(|labels| match &labels.value {
            Labels::File(name) => Some(self.beside(name)),
            Labels::Names(_) => None,
        });
        self.path.iter().cloned().chain(labels).collect()
    }

    /// The file that the table calls `name`.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.path.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).join(name)
    }

    /// Says so if the table leaves out what nearly every trained network needs.
    pub(crate) fn note_preprocess(&self) {
        let preprocess = &self.spec.preprocess;
        if preprocess.mean.is_empty() && preprocess.std.is_empty() {
            crate::say!(
                "note: pictures are scaled to 0..1 and not normalised: `{}` has no `preprocess` \
                 with `mean` and `std`",
                self.spec.name.value
            );
        }
    }

    /// Compiles for `batch` pictures at a time, and for weights that may be packed.
    pub(crate) fn compile(
        &self,
        engine: &Engine,
        batch: usize,
        weights: Option<&Weights>,
    ) -> Result<Compiled> {
        let options = options(&engine.algorithms, batch)?;
        let options = Options { backend: backend(engine.backend), isa: isa(engine.isa), ..options };
        let mut compiler = Compiler::new(&self.spec).options(options);
        if let Some(weights) = weights {
            note_batch(weights, batch);
            compiler = compiler.weights(weights);
        }
        compiler.compile().map_err(for_process)
    }
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
    let CompileError::Memory { least, .. } = error else { return error.into() };
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

/// `None`: the best one that there is.
pub(crate) fn isa(name: IsaName) -> Option<Isa> {
    match name {
        IsaName::Auto => None,
        IsaName::Avx512 => Some(Isa::Avx512),
        IsaName::Avx2 => Some(Isa::Avx2),
        IsaName::Portable => Some(Isa::Portable),
    }
}

/// Reads a text from a file, or from standard input for `-`.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    match is_stdin(path) {
        true => file::text(io::stdin().lock()),
        false => file::read_text(path),
    }
}

/// There is no such network: names the nearest ones, and all.
fn unknown(name: &str) -> anyhow::Error {
    let mut near: Vec<(usize, &str)> = ZOO
        .iter()
        .map(|(known, _)| (strsim::damerau_levenshtein(&name.to_lowercase(), known), *known))
        .filter(|(distance, known)| *distance <= 2.max(known.len() / 4))
        .collect();
    near.sort();
    let near: Vec<String> = near.iter().take(3).map(|(_, known)| format!("`{known}`")).collect();
    let suggestion = if near.is_empty() {
        String::new()
    } else {
        format!("\ndid you mean {}?", near.join(" or "))
    };
    let known: Vec<&str> = ZOO.iter().map(|(known, _)| *known).collect();
    anyhow!(
        "`{name}` is neither a file nor a network that the command knows{suggestion}\n\
         networks: {}",
        known.join(", ")
    )
}
