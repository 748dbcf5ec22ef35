//! The stages in a row: from a table to a network that runs.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::Arc;

use resnet_runtime::kernels::{Isa, UnavailableIsa};
use resnet_runtime::session::{Code, Feature, Info, Loaded, Network, Variant};
use resnet_runtime::weights::{LoadError, Weights, WeightsPlan, all_threads, file, load};

use crate::diagnostics::Diagnostics;
use crate::fuse::{FuseError, Fused};
use crate::graph::{Graph, Shape};
use crate::interpret::Interpreter;
use crate::nest::{Program, VerifyError};
use crate::plan::Plans;
use crate::reference::Reference;
use crate::schedule::{Choices, ChoicesError, Schedule, Wishes};
use crate::spec::Spec;

/// What runs a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Machine code made by Cranelift.
    #[cfg(feature = "jit")]
    Jit,
    /// A walk over the loop nests.
    Interpret,
    /// The graph by definition, in `f64`: slow, and the measure of the others.
    Reference,
}

impl Backend {
    /// The fastest one that this build has.
    pub const BEST: Self = {
        #[cfg(feature = "jit")]
        {
            Self::Jit
        }
        #[cfg(not(feature = "jit"))]
        {
            Self::Interpret
        }
    };
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            #[cfg(feature = "jit")]
            Self::Jit => "jit",
            Self::Interpret => "interpret",
            Self::Reference => "reference",
        })
    }
}

/// The name of a back end that does not exist, or not in this build.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("there is no back end `{0}` in this build; there are: {list}", list = Backend::LIST)]
pub struct UnknownBackend(String);

impl Backend {
    const LIST: &str =
        if cfg!(feature = "jit") { "jit, interpret, reference" } else { "interpret, reference" };
}

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Self, UnknownBackend> {
        match name {
            #[cfg(feature = "jit")]
            "jit" => Ok(Self::Jit),
            "interpret" => Ok(Self::Interpret),
            "reference" => Ok(Self::Reference),
            _ => Err(UnknownBackend(name.to_owned())),
        }
    }
}

/// How to compile.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What runs the program.
    pub backend: Backend,
    /// The instruction set whose kernels are called; the best one of this CPU if none is named.
    pub isa: Option<Isa>,
    /// Pictures that are computed together when a session is given several: more of them share
    /// each reading of the weights, and the arena grows by as much. Any number of pictures may be
    /// given whatever stands here. At least 1.
    pub batch: usize,
    /// Rules out algorithms that compute a convolution's sums in another way than they are defined
    /// (Winograd's): slower, and a little closer to the reference.
    pub exact: bool,
    /// Bytes that the network and a session on one thread may need while they run: packed weights,
    /// activations, pictures and answers. Where the fastest algorithms need more, leaner ones are
    /// taken, first where they cost the least time for what they save.
    pub memory: Option<usize>,
    /// Choices that `resnet tune` saved, in the place of the cost model's.
    pub choices: Option<Arc<Choices>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            backend: Backend::BEST,
            isa: None,
            batch: 1,
            exact: false,
            memory: None,
            choices: None,
        }
    }
}

impl Options {
    fn wishes(&self) -> Wishes {
        let Self { batch, exact, memory, ref choices, .. } = *self;
        Wishes { batch, exact, memory, choices: choices.clone() }
    }
}

/// Why a table could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The table contradicts itself or its budgets.
    #[error(transparent)]
    Table(#[from] Diagnostics),
    /// The CPU lacks the instruction set that was asked for.
    #[error(transparent)]
    Isa(#[from] UnavailableIsa),
    /// No picture at a time.
    #[error("a batch has 0 pictures; at least 1 is needed")]
    Batch,
    /// The network needs more memory than can be addressed.
    #[error(
        "the network's activations for {batch} pictures need more memory than there is room for addresses"
    )]
    TooLarge {
        /// Pictures at a time.
        batch: usize,
    },
    /// A saved schedule does not suit the table or the other options.
    #[error(transparent)]
    Choices(#[from] ChoicesError),
    /// The network does not fit into the memory that it may need.
    #[error(
        "the network needs at least {least} bytes for weights, activations, pictures and answers, \
         and may have {memory}: give it `--memory {least}` or more, or fewer pictures at a time"
    )]
    Memory {
        /// Bytes that it may need.
        memory: usize,
        /// Bytes that the leanest plan needs.
        least: usize,
    },
    /// A bug in `fuse`.
    #[error(transparent)]
    Fuse(#[from] FuseError),
    /// A bug in the lowering.
    #[error(transparent)]
    Program(#[from] VerifyError),
    /// The JIT failed.
    #[cfg(feature = "jit")]
    #[error(transparent)]
    Jit(#[from] crate::emit::jit::JitError),
}

/// A compiled network that waits for its weights.
#[derive(Clone)]
pub struct Compiled {
    graph: Arc<Graph>,
    fused: Arc<Fused>,
    info: Info,
    isa: Isa,
    backend: Backend,
    wishes: Wishes,
    schedule: Arc<Schedule>,
    variants: Vec<Variant>,
}

/// The facts about a graph; `arena_bytes` as planned for one picture at a time.
pub fn info(graph: &Graph, arena_bytes: usize) -> Info {
    let input = graph.input_shape();
    Info {
        name: graph.name.clone(),
        input: [input.channels, input.height, input.width],
        outputs: graph.output_len(),
        features: Feature::in_a_row(graph.features.iter().map(|feature| {
            let Shape { channels, height, width } = graph.node(feature.node).shape;
            (feature.name.as_str(), [channels, height, width])
        })),
        depth: graph.depth,
        params: graph.params,
        macs: graph.macs,
        arena_bytes,
    }
}

/// Compiles a table.
///
/// # Errors
///
/// A table that contradicts itself or goes over its budgets, an instruction set that the CPU lacks,
/// or anything else that [`CompileError`] lists.
pub fn compile(spec: &Spec, options: &Options) -> Result<Compiled, CompileError> {
    let graph = Graph::build(spec)?;
    let wishes = options.wishes();
    let plans = Plans::new(&graph, &wishes)?;
    finish(spec, options, graph, wishes, plans)
}

/// Compiles a table for the weights that it will be given: if they are packed, with the algorithms
/// that they are packed for, unless `options` have a wish about algorithms (`exact`, `memory`,
/// `choices`). For other weights it is [`compile`].
///
/// # Errors
///
/// See [`compile`]. Weights that do not suit the table are an error of loading.
pub fn compile_for(
    spec: &Spec,
    options: &Options,
    weights: &Weights,
) -> Result<Compiled, CompileError> {
    let graph = Graph::build(spec)?;
    let wishes = options.wishes();
    if let Some(packed) = packed_for(weights, &wishes) {
        match Plans::new(&graph, &packed) {
            // They are packed for another table; loading says so.
            Err(CompileError::Choices(_)) => {}
            plans => return finish(spec, options, graph, packed, plans?),
        }
    }
    let plans = Plans::new(&graph, &wishes)?;
    finish(spec, options, graph, wishes, plans)
}

/// The wishes with the choices that the weights are packed for, if nothing else is wished.
fn packed_for(weights: &Weights, wishes: &Wishes) -> Option<Wishes> {
    if wishes.exact || wishes.memory.is_some() || wishes.choices.is_some() {
        return None;
    }
    let packed: Choices = weights.packed()?.about().schedule.parse().ok()?;
    // Any number of pictures can be computed with them.
    let choices = Choices { batch: wishes.batch, ..packed };
    Some(Wishes { choices: Some(Arc::new(choices)), ..wishes.clone() })
}

/// From plans to code.
fn finish(
    spec: &Spec,
    options: &Options,
    graph: Graph,
    wishes: Wishes,
    plans: Plans,
) -> Result<Compiled, CompileError> {
    let isa = options.isa.unwrap_or_else(Isa::detect);
    let Plans { fused, mut schedules, programs } = plans;
    let schedule = schedules.pop().expect("there is one for single pictures");
    spec.check_arena_bytes(schedule.arena_bytes() as u64)?;
    let info = info(&graph, schedule.arena_bytes());
    let mut variants = Vec::new();
    if options.backend != Backend::Reference {
        for program in programs {
            variants.push(variant(program, options.backend, isa)?);
        }
    }
    Ok(Compiled {
        graph: Arc::new(graph),
        fused: Arc::new(fused),
        info,
        isa,
        backend: options.backend,
        wishes,
        schedule: Arc::new(schedule),
        variants,
    })
}

fn variant(program: Program, backend: Backend, isa: Isa) -> Result<Variant, CompileError> {
    let table = isa.table()?;
    let Program { batch, arena_len, scratch_len, .. } = program;
    let code: Arc<dyn Code> = match backend {
        #[cfg(feature = "jit")]
        Backend::Jit => Arc::new(crate::emit::jit::Jit::compile(&program, table)?),
        Backend::Interpret | Backend::Reference => Arc::new(Interpreter::new(program, table)?),
    };
    Ok(Variant { batch, arena_len, scratch_len, code })
}

impl Compiled {
    /// The graph it was compiled from.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Name, shapes and counts.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// What was wished when it was compiled, with the choices that its weights are packed for.
    pub fn wishes(&self) -> &Wishes {
        &self.wishes
    }

    /// The instruction set whose kernels it calls.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Folds batch norms into the convolutions, packs the weights and joins them with the code. Weights
    /// that are packed already fit if they are for the same algorithms, as after [`compile_for`].
    ///
    /// # Errors
    ///
    /// Weights that do not fit the network (all that is missing, left over or misshapen in one
    /// message), or no memory.
    pub fn load(&self, weights: &Weights) -> Result<Box<dyn Network>, LoadError> {
        self.load_on(weights, all_threads())
    }

    /// The same on up to `threads` threads, of which [`load`](Compiled::load) takes as many as this
    /// process may use.
    ///
    /// # Errors
    ///
    /// See [`load`](Compiled::load).
    pub fn load_on(
        &self,
        weights: &Weights,
        threads: NonZeroUsize,
    ) -> Result<Box<dyn Network>, LoadError> {
        if self.backend == Backend::Reference {
            let reference = Reference::load(&self.graph, self.info.clone(), weights)?;
            return Ok(Box::new(reference));
        }
        let packed = load(&self.weights_plan(), weights, threads)?;
        let variants = self.variants.clone();
        // SAFETY: each variant's lengths of arena and scratch are its program's, for which the
        // program was verified; `packed` has the schedule's length and offsets, which do not depend on the
        // batch size, so that they are those of every variant.
        let loaded = unsafe { Loaded::new(self.info.clone(), variants, packed) };
        Ok(Box::new(loaded))
    }

    /// Packs weights and writes them as a file that [`load`](Compiled::load) maps as it stands:
    /// [`Weights::open`] takes it, and [`compile_for`] what it was packed for. `options` are this
    /// network's, in words that tell a user with which ones to compile. Returns the bytes of the file.
    ///
    /// # Errors
    ///
    /// See [`load`](Compiled::load); what `out` says.
    pub fn pack(
        &self,
        weights: &Weights,
        threads: NonZeroUsize,
        options: &str,
        out: &mut dyn io::Write,
    ) -> Result<u64, WritePackedError> {
        let plan = self.weights_plan();
        let packed = load(&plan, weights, threads)?;
        let Self { graph, fused, schedule, wishes, .. } = self;
        let choices = Choices::of(graph, wishes.batch, fused, schedule).to_string();
        Ok(file::write(out, &plan, packed.as_slice(), options, &choices)?)
    }

    /// What it asks of weights.
    fn weights_plan(&self) -> WeightsPlan {
        self.schedule.weights_plan(&self.graph)
    }
}

/// Why packed weights could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WritePackedError {
    /// The weights cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The packed weights cannot be written.
    #[error("cannot write the packed weights")]
    Write(#[from] io::Error),
}
