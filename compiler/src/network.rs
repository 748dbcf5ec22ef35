//! The stages in a row: from a table to a network that runs.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::Arc;

use resnet_runtime::kernels::{Isa, Precision, UnavailableIsa};
use resnet_runtime::session::{Info, Loaded, Network, Variant};
use resnet_runtime::weights::{LoadError, TensorSpec, Weights, all_threads, load};

use crate::diagnostics::Diagnostics;
#[cfg(feature = "jit")]
use crate::emit::jit;
use crate::emit::{interpret, reference::Reference};
use crate::fuse::Fused;
use crate::graph::Graph;
use crate::nest::VerifyError;
use crate::plan::{Levels, Plan, PlanError, arena_bytes, fused};
use crate::schedule::{Choices, Wishes};
use crate::spec::Spec;
use crate::target::Target;

/// What runs a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Machine code made by Cranelift.
    #[cfg(feature = "jit")]
    Jit,
    /// A walk over the loop nests.
    Interpret,
    /// The graph by definition, in `f64`, and to the bit where it is quantised: slow, and the measure of the
    /// others.
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
    /// Pictures that a session is to be given at a time, and may compute together: more of them share each
    /// reading of the weights, and the arena grows by as much. Where that would gain nothing, each thread
    /// computes pictures of its own. Any number of pictures may be given whatever stands here. At least 1.
    pub batch: usize,
    /// Rules out algorithms that compute a convolution's sums in another way than they are defined
    /// (Winograd's): slower, and a little closer to the reference.
    pub exact: bool,
    /// Bytes that the network and a session on one thread may need while they run: packed weights,
    /// activations, pictures and answers. Where the fastest algorithms need more, leaner ones are
    /// taken, first where they cost the least time for what they save.
    pub memory: Option<usize>,
    /// Choices that were measured and saved, in the place of the cost model's.
    pub choices: Option<Arc<Choices>>,
    /// What activations are stored as and convolutions multiply, where weights are not quantised: `f32`, or what
    /// saved choices or packed weights are for, if nothing is said.
    ///
    /// With `bf16` activations take half the bytes, and convolutions that are computed by their definition half the
    /// time on a CPU that has such products (others convert and multiply in `f32`, to the same bits). Winograd's stay
    /// in `f32` between.
    pub precision: Option<Precision>,
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
            precision: None,
        }
    }
}

impl Options {
    pub(crate) fn wishes(&self) -> Wishes {
        let Self { batch, exact, memory, ref choices, precision, .. } = *self;
        Wishes { batch, exact, memory, ..Wishes::default() }.with(choices.clone(), precision)
    }
}

/// Why a table could not be compiled.
#[derive(thiserror::Error)]
pub enum CompileError {
    /// The table contradicts itself or its budgets.
    #[error(transparent)]
    Table(#[from] Diagnostics),
    /// The network has no such operator, whose features are asked for.
    #[error("`{network}` has no operator `{operator}` with an output of its own")]
    Operator {
        /// The network's name.
        network: String,
        /// The operator's.
        operator: String,
    },
    /// The CPU lacks the instruction set that was asked for.
    #[error(transparent)]
    Isa(#[from] UnavailableIsa),
    /// The network cannot be planned so.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A bug in the lowering.
    #[error(transparent)]
    Program(#[from] VerifyError),
    /// The JIT failed.
    #[cfg(feature = "jit")]
    #[error(transparent)]
    Jit(#[from] jit::JitError),
}

/// As `Display`: a `main` that returns an error, and `unwrap`, print it so.
impl fmt::Debug for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Compiles a table: to machine code, by the JIT, unless another [`Backend`] is asked for or the feature
/// `jit` is off.
///
/// ```
/// # use resnet_compiler::{network::{Backend, Compiler}, spec::Spec};
/// let spec = Spec::from_yaml("
/// name: tiny
/// input: 3x8x8
/// table:
///   - {layer: fc, op: linear, channels: 10}
/// ")?;
/// let compiled = Compiler::new(&spec).backend(Backend::Interpret).batch(8).compile()?;
/// assert_eq!(compiled.info().outputs, 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Compiler<'a> {
    spec: &'a Spec,
    options: Options,
    weights: Option<&'a Weights>,
    features_of: Option<&'a str>,
}

impl<'a> Compiler<'a> {
    /// A compiler of a table, with the options that are the default.
    pub fn new(spec: &'a Spec) -> Self {
        Self { spec, options: Options::default(), weights: None, features_of: None }
    }

    /// All options at once.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// What runs the program.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.options.backend = backend;
        self
    }

    /// The instruction set whose kernels are called.
    pub fn isa(mut self, isa: Isa) -> Self {
        self.options.isa = Some(isa);
        self
    }

    /// Pictures that a session is to be given at a time, and may compute together, see [`Options::batch`].
    pub fn batch(mut self, pictures: usize) -> Self {
        self.options.batch = pictures;
        self
    }

    /// Whether algorithms are ruled out that compute sums in another way than they are defined.
    pub fn exact(mut self, exact: bool) -> Self {
        self.options.exact = exact;
        self
    }

    /// Bytes that the network and a session on one thread may need.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.options.memory = Some(bytes);
        self
    }

    /// Saved choices, in the place of the cost model's.
    pub fn choices(mut self, choices: Arc<Choices>) -> Self {
        self.options.choices = Some(choices);
        self
    }

    /// What activations are stored as and convolutions multiply, see [`Options::precision`].
    pub fn precision(mut self, precision: Precision) -> Self {
        self.options.precision = Some(precision);
        self
    }

    /// The weights that the network will be given: if they are packed, it is compiled for the algorithms
    /// that they are packed for, unless `exact`, `memory`, `choices` or another `precision` say otherwise.
    pub fn weights(mut self, weights: &'a Weights) -> Self {
        self.weights = Some(weights);
        self
    }

    /// What one of [`Graph::operators`] makes, by its name, such as `conv2_x.0.relu1`, is the answer, and behind it
    /// the network's own: features. The whole network is computed, and takes its weights.
    pub fn features_of(mut self, operator: &'a str) -> Self {
        self.features_of = Some(operator);
        self
    }

    /// Plans the network, without making code.
    ///
    /// # Errors
    ///
    /// A table that contradicts itself or goes over its budgets, or anything else that [`CompileError`]
    /// lists.
    pub fn plan(&self) -> Result<Plan, CompileError> {
        Ok(self.plan_graph(&self.graph()?)?.0.0)
    }

    /// Plans the network, and keeps all levels that it passes.
    ///
    /// # Errors
    ///
    /// See [`plan`](Compiler::plan).
    pub fn levels(&self) -> Result<(Graph, Plan, Levels), CompileError> {
        let graph = self.graph()?;
        let ((plan, levels), _) = self.plan_graph(&graph)?;
        Ok((graph, plan, levels))
    }

    /// Compiles the network.
    ///
    /// # Errors
    ///
    /// See [`plan`](Compiler::plan); an instruction set that the CPU lacks. Weights that do not suit the
    /// table are an error of loading.
    pub fn compile(&self) -> Result<Compiled, CompileError> {
        let graph = self.graph()?;
        let ((plan, _), wishes) = self.plan_graph(&graph)?;
        Compiled::of(graph, plan, wishes, &self.options)
    }

    fn graph(&self) -> Result<Graph, CompileError> {
        let graph = Graph::build(self.spec)?;
        let Some(operator) = self.features_of else { return Ok(graph) };
        let network = graph.name.clone();
        let missing = || CompileError::Operator { network, operator: operator.to_owned() };
        graph.features_of(operator).ok_or_else(missing)
    }

    fn plan_graph(&self, graph: &Graph) -> Result<((Plan, Levels), Wishes), CompileError> {
        let mut wishes = self.options.wishes();
        wishes.quantised = self.weights.map(Weights::quantised).unwrap_or_default().into();
        let packed = self.weights.and_then(packed_choices);
        if let (Some(packed), None, None) = (&packed, self.options.precision, &wishes.choices) {
            wishes.precision = packed.precision;
        }
        let packed = packed.and_then(|packed| packed_for(packed, &wishes));
        let packed = packed.map(|packed| (Plan::with_levels(graph, &packed), packed));
        let (planned, wishes) = match packed {
            // They are packed for another table; loading says so.
            None | Some((Err(PlanError::Choices(_)), _)) => {
                (Plan::with_levels(graph, &wishes)?, wishes)
            }
            Some((planned, packed)) => (planned?, packed),
        };
        let programs = &planned.0.programs;
        // A table is not written for a batch size, nor for features.
        if self.features_of.is_none() {
            self.spec.check_arena_bytes(arena_bytes(&programs[programs.len() - 1..]) as u64)?;
        }
        Ok((planned, wishes))
    }
}

/// The choices that weights are packed for.
fn packed_choices(weights: &Weights) -> Option<Choices> {
    weights.packed()?.about().schedule.parse().ok()
}

/// The wishes with the choices that the weights are packed for, if nothing else is wished.
fn packed_for(packed: Choices, wishes: &Wishes) -> Option<Wishes> {
    if wishes.exact || wishes.memory.is_some() || wishes.choices.is_some() {
        return None;
    }
    // Any number of pictures can be computed with them.
    let choices = Choices { batch: wishes.batch, ..packed };
    Some(Wishes { choices: Some(Arc::new(choices)), ..wishes.clone() })
}

/// A compiled network that waits for its weights.
#[derive(Clone)]
pub struct Compiled {
    graph: Arc<Graph>,
    plan: Arc<Plan>,
    isa: Isa,
    wishes: Wishes,
    code: Code,
}

/// What a network runs.
#[derive(Clone)]
enum Code {
    /// What a back end made of the programs.
    Programs(Vec<Variant>),
    /// The graph, by definition.
    Graph,
    /// The graph with its quantised layers, by definition.
    Quantised(Arc<Fused>),
}

impl Compiled {
    /// Compiles a graph that no table stands for as it is.
    #[cfg(feature = "jit")]
    pub(crate) fn of_graph(graph: Graph, options: &Options) -> Result<Self, CompileError> {
        let wishes = options.wishes();
        let plan = Plan::new(&graph, &wishes)?;
        Self::of(graph, plan, wishes, options)
    }

    /// Makes code of a plan.
    fn of(
        graph: Graph,
        plan: Plan,
        wishes: Wishes,
        options: &Options,
    ) -> Result<Self, CompileError> {
        let target = Target::host(options.isa)?;
        let code = match options.backend {
            #[cfg(feature = "jit")]
            Backend::Jit => Code::Programs(jit::compile(&plan, &target)?),
            Backend::Interpret => Code::Programs(interpret::compile(&plan, &target)?),
            Backend::Reference if wishes.quantised.is_empty() => Code::Graph,
            Backend::Reference => Code::Quantised(Arc::new(fused(&graph, &wishes)?)),
        };
        let (graph, plan, isa) = (Arc::new(graph), Arc::new(plan), target.isa());
        Ok(Self { graph, plan, isa, wishes, code })
    }

    /// The graph it was compiled from.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The plan that its code was made of.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Name, shapes and counts.
    pub fn info(&self) -> &Info {
        &self.plan.info
    }

    /// The tensors that weights have to have.
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.plan.weights.tensors
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
    /// that are packed already fit if they are for the same algorithms, as after
    /// [`Compiler::weights`].
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
        let info = self.info().clone();
        let variants = match &self.code {
            Code::Programs(variants) => variants.clone(),
            Code::Graph => return Ok(Box::new(Reference::load(&self.graph, info, weights)?)),
            Code::Quantised(fused) => {
                let plan = &self.plan.weights;
                let network = Reference::load_quantised(fused, plan, info, weights)?;
                return Ok(Box::new(network));
            }
        };
        let packed = load(&self.plan.weights, weights, threads)?;
        // SAFETY: each variant has the lengths of its program, which its back end verified; the weights
        // are packed as the plan says of which these programs are.
        let loaded = unsafe { Loaded::new(info, variants, self.plan.apart, packed) };
        Ok(Box::new(loaded))
    }
}
