//! Decisions: where each activation lies, which algorithm computes each convolution, in which
//! order its loops run, and how its weights are packed.
//!
//! Nothing here depends on the number of threads or on the instruction set: both may change
//! without changing a result's meaning, and one plan serves all of them.

mod arena;
mod borders;
mod choice;
mod choices;
mod conv;
mod decide;
mod display;
mod layout;
mod operator;
mod weights;
mod winograd;

use std::fmt;
use std::sync::Arc;

use resnet_runtime::kernels::{Element, Panels, Precision, Transform};

use self::choice::{Costs, Site};
use self::decide::{Decision, decide};
use self::operator::{ConvWay, Way};
use crate::fuse::formats::Quantised;
use crate::fuse::{Conv, Fused, FusedId, FusedNode, FusedOp};
use crate::graph::Window;

pub use self::arena::Space;
#[cfg(feature = "train")]
pub(crate) use self::arena::{Lifetime, place};
pub use self::choice::{Algorithm, Choice, Order};
pub use self::choices::{Choices, ChoicesError, ParseError};
#[cfg(feature = "train")]
pub(crate) use self::conv::{joined_rows, panels};
pub use self::layout::{Buffer, Layout};
pub use self::operator::Operator;
pub use self::weights::Parts;
pub use self::winograd::{Band, Edges, Points, Winograd};
#[cfg(feature = "train")]
pub(crate) use self::winograd::{plan_winograd, reads, tiles};

/// A block of memory that the entry function is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Region {
    /// The user's pictures.
    Input,
    /// The user's room for answers.
    Output,
    /// The session's memory for activations.
    Arena,
    /// The network's packed weights.
    Weights,
    /// Memory of the thread that runs an iteration: what one writes there, it alone may read, and
    /// the next one on the same thread overwrites, so that it stays in that core's cache.
    Scratch,
}

impl Region {
    /// The regions that all threads share, in the order of their discriminants.
    pub(crate) const SHARED: [Self; 4] = [Self::Input, Self::Output, Self::Arena, Self::Weights];
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::Arena => "arena",
            Self::Weights => "weights",
            Self::Scratch => "scratch",
        })
    }
}

/// What pictures and answers consist of.
pub const PICTURE: Element = Element::F32;

/// What the means and variances of a group norm consist of.
pub const STATISTIC: Element = Element::F32;

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvPlan {
    /// Kernel, stride, padding.
    pub window: Window,
    /// Its weights, as they are packed, which says the algorithm too.
    pub panels: Panels,
    /// Which memory they are in: the packed weights, or, of a training step, which packs them anew in each run, the arena.
    pub memory: Region,
    /// The first of their bytes there.
    pub weights: usize,
    /// The loops' order.
    pub order: Order,
    /// What is computed together.
    pub tiling: Tiling,
    /// What its calls fetch of the packed weights ahead.
    pub fetch: Fetch,
}

/// What a convolution fetches of the packed weights while it computes, for later calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fetch {
    /// What follows the weights of each call: they come from memory, and each call is to find its own.
    Next,
    /// So many bytes after all of the convolution's weights, which stay in cache meanwhile: a share
    /// for each call.
    After(usize),
}

impl ConvPlan {
    /// What was chosen.
    pub fn choice(&self) -> Choice {
        Choice { algorithm: self.panels.format.transform.into(), order: self.order }
    }

    /// Whether it sums products of bytes, or of the words that these become.
    pub fn quantised(&self) -> bool {
        self.panels.format.element.is_quantised()
    }
}

/// What a convolution computes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tiling {
    /// By the definition.
    Direct {
        /// Output rows that one kernel call computes as one run of pixels; over 1 only where
        /// input, residual and output are contiguous.
        rows: usize,
    },
    /// By one of Winograd's.
    Winograd(Winograd),
}

/// How the value of a node is made.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "most nodes are convolutions, and there are few nodes"
)]
pub enum Plan {
    /// The first convolution reads the user's picture where it lies.
    InPlace,
    /// The picture is copied into its buffer.
    Copy,
    /// An operator makes it of another value; a residual is the node's.
    Operator {
        /// What it reads.
        input: FusedId,
        /// The operator.
        operator: Operator,
    },
}

impl Plan {
    /// The plan of a convolution, if it is one.
    pub fn conv(&self) -> Option<&ConvPlan> {
        match self {
            Self::Operator { operator: Operator::Conv(plan), .. } => Some(plan),
            _ => None,
        }
    }

    /// Bytes of a thread's scratch that it takes.
    fn scratch_bytes(&self) -> usize {
        match self {
            Self::Operator { operator, .. } => operator.scratch_bytes(),
            Self::InPlace | Self::Copy => 0,
        }
    }

    fn conv_mut(&mut self) -> Option<&mut ConvPlan> {
        match self {
            Self::Operator { operator: Operator::Conv(plan), .. } => Some(plan),
            _ => None,
        }
    }
}

/// A node, scheduled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scheduled {
    /// Where its value lies.
    pub buffer: Buffer,
    /// How it is made.
    pub plan: Plan,
}

/// The plan of a network for a batch size.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Pictures a run.
    pub batch: usize,
    /// One for each fused node.
    pub nodes: Vec<Scheduled>,
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// Bytes of one thread's scratch: what the layer that needs most of it needs.
    pub scratch_bytes: usize,
    /// The packed weights, which all batch sizes share.
    pub weights: Arc<Parts>,
}

impl Schedule {
    /// What is done for `id`.
    pub fn node(&self, id: FusedId) -> &Scheduled {
        &self.nodes[id.index()]
    }

    /// Where the value of `id` lies.
    pub fn buffer(&self, id: FusedId) -> &Buffer {
        &self.node(id).buffer
    }

    /// Bytes that a network and one session on one thread need while they run: packed weights,
    /// arena, one scratch, pictures and answers. The largest number, where they are more.
    pub fn run_bytes(&self, fused: &Fused) -> usize {
        let input = &fused.nodes[0];
        let given = fused.outputs.iter().map(|&id| fused.node(id)).chain([input]);
        let each = self.batch * PICTURE.bytes();
        let pictures = given.map(|node| node.shape.elements().saturating_mul(each));
        let own = [self.weights.bytes, self.arena_bytes, self.scratch_bytes];
        own.into_iter().chain(pictures).fold(0, usize::saturating_add)
    }
}

/// What the caller decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Wishes {
    /// Pictures that are computed together when there are as many, at least 1. The algorithms are
    /// chosen for it: for several pictures, weights are read once.
    pub batch: usize,
    /// Only algorithms that compute the sums as they are defined: no Winograd.
    pub exact: bool,
    /// Bytes that the network may need while it runs, see [`Schedule::run_bytes`]: where the fastest
    /// algorithms need more, leaner ones are taken.
    pub memory: Option<usize>,
    /// Choices that were measured, in the place of the cost model's.
    pub choices: Option<Arc<Choices>>,
    /// The weights that are quantised.
    pub quantised: Arc<Quantised>,
    /// What activations are stored as, and products are of, where nothing is quantised.
    pub precision: Precision,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            batch: 1,
            exact: false,
            memory: None,
            choices: None,
            quantised: Arc::default(),
            precision: Precision::F32,
        }
    }
}

impl Wishes {
    /// The same with choices that were measured, if there are some, in the precision that is asked for: if none is, that which
    /// they are for.
    pub fn with(self, choices: Option<Arc<Choices>>, precision: Option<Precision>) -> Self {
        let measured = choices.as_ref().map(|choices| choices.precision);
        let precision = precision.or(measured).unwrap_or(self.precision);
        Self { choices, precision, ..self }
    }
}

/// Plans `fused` for as many pictures a run as are wished and, if that is another number, for single ones, and says whether
/// threads compute the pictures of a batch apart. Algorithms and packed weights are decided once, so that all plans
/// share them and give a picture the same bits.
///
/// If no choice keeps to the memory that is wished, this is the plan that needs the least. Measured
/// choices are taken as they are.
///
/// # Errors
///
/// Measured choices that do not suit the convolutions.
pub fn schedule(fused: &Fused, wishes: &Wishes) -> Result<(Vec<Schedule>, bool), ChoicesError> {
    let layouts = layout::choose(fused);
    let sites = sites(fused, &layouts);
    let (costs, apart) = costs(&sites, wishes);
    let choices = match &wishes.choices {
        Some(measured) => {
            let choices = sites.iter().map(|site| measured.choose(site, wishes.exact));
            choices.collect::<Result<Vec<_>, _>>()?
        }
        None => choose(fused, &layouts, &sites, &costs, wishes),
    };
    let (parts, decisions) = decide(fused, &layouts, &sites, &choices);
    let parts = Arc::new(parts);
    let mut batches = vec![wishes.batch, 1];
    batches.dedup();
    let each = |batch| lay_out(fused, &decisions, &parts, batch);
    Ok((batches.into_iter().map(each).collect(), apart))
}

/// What the cost model reckons with, and whether the pictures of a batch are computed apart: then each takes a
/// thread hardly longer than in company, and the choices are those for single ones.
fn costs(sites: &[Site<'_>], wishes: &Wishes) -> (Costs, bool) {
    let [single, together] = [1, wishes.batch].map(|batch| Costs::new(batch, sites));
    let cycles = |costs: &Costs| -> f64 {
        sites.iter().map(|site| site.least_cycles(costs, wishes.exact)).sum()
    };
    let apart = cycles(&single) * wishes.batch as f64 <= APART * cycles(&together);
    (if apart { single } else { together }, apart)
}

/// How much longer a batch may take picture by picture, by the model, which knows nothing of what pictures cost that
/// leave the caches, and threads that wait for each other.
const APART: f64 = 1.05;

/// The cost model's choices.
fn choose(
    fused: &Fused,
    layouts: &[Layout],
    sites: &[Site<'_>],
    costs: &Costs,
    wishes: &Wishes,
) -> Vec<Choice> {
    let mut choices: Vec<Choice> =
        sites.iter().map(|site| site.choose(costs, wishes.exact)).collect();
    if let Some(memory) = wishes.memory {
        let needs = |choices: &[Choice]| {
            let (parts, decisions) = decide(fused, layouts, sites, choices);
            lay_out(fused, &decisions, &Arc::new(parts), wishes.batch).run_bytes(fused)
        };
        while needs(&choices) > memory {
            if !slim(sites, costs, &mut choices) {
                break;
            }
        }
    }
    choices
}

/// All choices that each convolution has; first the one that the cost model takes.
pub fn candidates(fused: &Fused, wishes: &Wishes) -> Vec<(FusedId, Vec<Choice>)> {
    let layouts = layout::choose(fused);
    let sites = sites(fused, &layouts);
    let (costs, _) = costs(&sites, wishes);
    sites.iter().map(|site| (site.id, site.candidates(&costs, wishes.exact))).collect()
}

/// Takes the step to a leaner algorithm that costs the least time for the bytes of weights it saves.
/// False if there is none left.
fn slim(sites: &[Site<'_>], costs: &Costs, choices: &mut [Choice]) -> bool {
    let steps = sites.iter().zip(choices).filter_map(|(site, choice)| {
        let (price, leaner) = site.leaner(costs, *choice)?;
        Some((price, leaner, choice))
    });
    match steps.min_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((_, leaner, choice)) => {
            *choice = leaner;
            true
        }
        None => false,
    }
}

/// The convolutions among the nodes.
fn sites<'a>(fused: &'a Fused, layouts: &[Layout]) -> Vec<Site<'a>> {
    let convs = fused.iter().filter_map(|(id, node)| match &node.op {
        FusedOp::Conv(conv) => Some((id, node, conv)),
        _ => None,
    });
    let site = |(id, node, conv): (FusedId, &'a FusedNode, &'a Conv)| Site {
        id,
        name: &node.name,
        conv,
        zero_pads: node.epilogue.zero_pads(),
        input: fused.node(node.source()).shape,
        output: node.shape,
        layout: layouts[node.source().index()],
    };
    convs.map(site).collect()
}

/// Plans what was decided for a batch size.
fn lay_out(fused: &Fused, decisions: &[Decision], parts: &Arc<Parts>, batch: usize) -> Schedule {
    let buffers: Vec<Buffer> =
        fused.iter().map(|(id, node)| buffer(fused, decisions, id, node)).collect();
    let mut nodes = Vec::with_capacity(buffers.len());
    for ((id, node), decision) in fused.iter().zip(decisions) {
        let mut buffer = buffers[id.index()];
        let plan = match decision.way {
            Way::Input if layout::reads_picture_in_place(fused, &buffer) => {
                buffer.region = Region::Input;
                Plan::InPlace
            }
            Way::Input => Plan::Copy,
            Way::Conv { input, conv } => {
                let plan = conv_plan(node, &conv, &buffers, input, &buffer, batch);
                Plan::Operator { input, operator: Operator::Conv(plan) }
            }
            Way::Fixed { input, operator } => Plan::Operator { input, operator },
        };
        nodes.push(Scheduled { buffer, plan });
    }
    let arena_bytes = arena::plan(fused, &mut nodes, batch);
    plan_fetches(&mut nodes, parts.bytes);
    let scratch_bytes = nodes.iter().map(|node| node.plan.scratch_bytes()).max().unwrap_or(0);
    Schedule { batch, nodes, arena_bytes, scratch_bytes, weights: Arc::clone(parts) }
}

/// Where the value of a node is to lie, but for the offset.
fn buffer(fused: &Fused, decisions: &[Decision], id: FusedId, node: &FusedNode) -> Buffer {
    let Decision { layout, element, scale, .. } = decisions[id.index()];
    let (ring, margin) = borders::borders(fused, decisions, id);
    let (region, shape) = (Region::Arena, node.shape);
    Buffer { region, offset: 0, layout, shape, ring, margin, element, scale }
}

fn conv_plan(
    node: &FusedNode,
    &ConvWay { window, panels, weights, order }: &ConvWay,
    buffers: &[Buffer],
    input: FusedId,
    output: &Buffer,
    batch: usize,
) -> ConvPlan {
    let tiling = if panels.format.transform == Transform::None {
        let residual = node.epilogue.residual.map(|r| &buffers[r.source().index()]);
        let input = &buffers[input.index()];
        let zero_pads = node.epilogue.zero_pads();
        let rows = conv::joined_rows(zero_pads, &window, input, residual, output);
        Tiling::Direct { rows }
    } else {
        Tiling::Winograd(winograd::plan(order, &panels.format, &window, output, batch))
    };
    let memory = Region::Weights;
    ConvPlan { window, panels, memory, weights, order, tiling, fetch: Fetch::Next }
}

/// Bytes of the following layers' weights that a convolution fetches ahead whose own stay in cache:
/// as many as a second-level cache may hold besides.
const AHEAD: usize = 640 * 1024;

/// Decides what each convolution fetches.
fn plan_fetches(nodes: &mut [Scheduled], weights_bytes: usize) {
    for plan in nodes.iter_mut().filter_map(|node| node.plan.conv_mut()) {
        let after = weights_bytes - plan.weights.saturating_add(plan.panels.bytes());
        let panels = &plan.panels;
        plan.fetch = match plan.order {
            Order::RowsOuter => Fetch::After(after.min(AHEAD)),
            // Where words are made of a panel, a whole one is fetched ahead, behind the last one too.
            _ if panels.format.is_untransformed() && after < panels.panel_len() => Fetch::After(0),
            _ => Fetch::Next,
        };
    }
}
