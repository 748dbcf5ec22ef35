//! Decisions: where each activation lies, which algorithm computes each convolution, in which
//! order its loops run, and how its weights are packed.
//!
//! Nothing here depends on the number of threads or on the instruction set: both may change
//! without changing a result's meaning, and one plan serves all of them.

mod arena;
mod choice;
mod choices;
mod conv;
mod display;
mod layout;
mod weights;
mod winograd;

use std::fmt;
use std::sync::Arc;

use resnet_runtime::kernels::{BLOCK, Element, Panels, Transform};

use self::choice::{Costs, Site};
use self::weights::{Decision, decide};
use crate::fuse::formats::Quantised;
use crate::fuse::{Fused, FusedId, FusedNode, FusedOp};

pub use self::choice::{Choice, Method};
pub use self::choices::{Choices, ChoicesError, ParseError};
pub use self::layout::{Buffer, Layout};
pub use self::weights::Parts;
pub use self::winograd::{Band, Points, Winograd};

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

/// Which loop of a convolution is the outer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// A band of rows stays in cache while all panels pass over it.
    RowsOuter,
    /// A panel of weights stays in cache while it passes over all rows of all pictures.
    PanelsOuter,
    /// The same, one picture (or band of a Winograd convolution) after another, so that it stays in
    /// cache while the panels pass over it.
    PicturesOuter,
}

impl Order {
    /// All orders.
    pub const ALL: [Self; 3] = [Self::RowsOuter, Self::PanelsOuter, Self::PicturesOuter];
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RowsOuter => "rows",
            Self::PanelsOuter => "panels",
            Self::PicturesOuter => "pictures",
        })
    }
}

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvPlan {
    /// Its weights, as they are packed.
    pub panels: Panels,
    /// The first of their bytes in the packed weights.
    pub weights: usize,
    /// The loops' order.
    pub order: Order,
    /// The algorithm.
    pub algorithm: Algorithm,
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
        let method = match self.algorithm {
            Algorithm::Direct { .. } => Method::Direct,
            Algorithm::Winograd(winograd) if winograd.tile.rows == 2 => Method::Winograd2,
            Algorithm::Winograd(_) => Method::Winograd4,
        };
        Choice { method, order: self.order }
    }
}

/// What computes a convolution's sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// The definition.
    Direct {
        /// Output rows that one kernel call computes as one run of pixels; over 1 only where
        /// input, residual and output are contiguous.
        rows: usize,
    },
    /// One of Winograd's.
    Winograd(Winograd),
}

/// The plan of one fused node.
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
    /// A convolution.
    Conv(ConvPlan),
    /// A norm or a convolution along the channels; one way each, with a vector of numbers.
    Vector {
        /// The first of the numbers' bytes in the packed weights.
        weights: usize,
    },
    /// A group norm.
    GroupNorm {
        /// The first of the scales' bytes in the packed weights; the shifts follow.
        weights: usize,
        /// Channel blocks whose groups have no channel in another block: they are normalised
        /// together, by one thread.
        blocks: usize,
    },
    /// Pools and softmax have one way each.
    Simple,
}

/// The plan of a network for a batch size.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Pictures a run.
    pub batch: usize,
    /// Where each fused node's value lies.
    pub buffers: Vec<Buffer>,
    /// What is done for each fused node.
    pub plans: Vec<Plan>,
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// Bytes of one thread's scratch: what the layer that needs most of it needs.
    pub scratch_bytes: usize,
    /// The packed weights, which all batch sizes share.
    pub weights: Arc<Parts>,
}

impl Schedule {
    /// Where the value of `id` lies.
    pub fn buffer(&self, id: FusedId) -> &Buffer {
        &self.buffers[id.index()]
    }

    /// Bytes that a network and one session on one thread need while they run: packed weights,
    /// arena, one scratch, pictures and answers.
    pub fn run_bytes(&self, fused: &Fused) -> usize {
        let input = fused.nodes[0].shape.elements();
        let output: usize = fused.outputs.iter().map(|&id| fused.node(id).shape.elements()).sum();
        let pictures = self.batch * (input + output) * PICTURE.bytes();
        self.weights.bytes + self.arena_bytes + self.scratch_bytes + pictures
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
}

impl Default for Wishes {
    fn default() -> Self {
        Self { batch: 1, exact: false, memory: None, choices: None, quantised: Arc::default() }
    }
}

/// Plans `fused` for as many pictures a run as are wished and, if that is another number, for single ones.
/// Algorithms and packed weights are decided once, so that all plans share them and give a picture the same
/// bits.
///
/// If no choice keeps to the memory that is wished, this is the plan that needs the least. Measured
/// choices are taken as they are.
///
/// # Errors
///
/// Measured choices that do not suit the convolutions.
pub fn schedule(fused: &Fused, wishes: &Wishes) -> Result<Vec<Schedule>, ChoicesError> {
    let layouts = layout::choose(fused);
    let sites = sites(fused, &layouts);
    let costs = Costs::new(wishes.batch, sites.iter().flatten());
    let choices = match &wishes.choices {
        Some(measured) => {
            let choice = |(node, site): (&FusedNode, &Option<Site<'_>>)| {
                site.map(|site| measured.choose(&node.name, &site, wishes.exact)).transpose()
            };
            fused.nodes.iter().zip(&sites).map(choice).collect::<Result<Vec<_>, _>>()?
        }
        None => choose(fused, &layouts, &sites, &costs, wishes),
    };
    let (parts, decisions) = decide(fused, &layouts, &sites, &choices);
    let parts = Arc::new(parts);
    let mut batches = vec![wishes.batch, 1];
    batches.dedup();
    let plan = |batch| lay_out(fused, &layouts, &decisions, &parts, batch);
    Ok(batches.into_iter().map(plan).collect())
}

/// The cost model's choices.
fn choose(
    fused: &Fused,
    layouts: &[Layout],
    sites: &[Option<Site<'_>>],
    costs: &Costs,
    wishes: &Wishes,
) -> Vec<Option<Choice>> {
    let mut choices: Vec<Option<Choice>> =
        sites.iter().map(|site| site.map(|site| site.choose(costs, wishes.exact))).collect();
    if let Some(memory) = wishes.memory {
        let needs = |choices: &[Option<Choice>]| {
            let (parts, decisions) = decide(fused, layouts, sites, choices);
            let plan = lay_out(fused, layouts, &decisions, &Arc::new(parts), wishes.batch);
            plan.run_bytes(fused)
        };
        while needs(&choices) > memory {
            if !slim(sites, costs, &mut choices) {
                break;
            }
        }
    }
    choices
}

/// All choices that each convolution has, by its name; first the one that the cost model takes.
pub fn candidates(fused: &Fused, wishes: &Wishes) -> Vec<(String, Vec<Choice>)> {
    let layouts = layout::choose(fused);
    let sites = sites(fused, &layouts);
    let costs = Costs::new(wishes.batch, sites.iter().flatten());
    let of_site = |(node, site): (&FusedNode, &Option<Site<'_>>)| {
        let choices = site.as_ref()?.candidates(&costs, wishes.exact);
        Some((node.name.clone(), choices))
    };
    fused.nodes.iter().zip(&sites).filter_map(of_site).collect()
}

/// Takes the step to a leaner algorithm that costs the least time for the bytes of weights it saves.
/// False if there is none left.
fn slim(sites: &[Option<Site<'_>>], costs: &Costs, choices: &mut [Option<Choice>]) -> bool {
    let steps = sites.iter().zip(choices).filter_map(|(site, choice)| {
        let (site, choice) = (site.as_ref()?, choice.as_mut()?);
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

/// Plans what was decided for a batch size.
fn lay_out(
    fused: &Fused,
    layouts: &[Layout],
    decisions: &[Decision],
    parts: &Arc<Parts>,
    batch: usize,
) -> Schedule {
    let mut buffers: Vec<Buffer> = fused
        .iter()
        .map(|(id, node)| {
            let layout = layouts[id.index()];
            let shape = node.shape;
            let (ring, margin) = layout::borders(fused, decisions, layout, id);
            Buffer {
                region: Region::Arena,
                offset: 0,
                element: node.format.element(),
                layout,
                shape,
                ring,
                margin,
                scale: decisions[id.index()].scale,
            }
        })
        .collect();
    let mut plans = Vec::with_capacity(fused.nodes.len());
    let mut scratch_bytes = 0;
    for (id, node) in fused.iter() {
        let Decision { weights, conv, scale: _ } = decisions[id.index()];
        plans.push(match (&node.op, conv) {
            (FusedOp::Input, _) if layout::reads_picture_in_place(fused, &buffers[id.index()]) => {
                buffers[id.index()].region = Region::Input;
                Plan::InPlace
            }
            (FusedOp::Input, _) => Plan::Copy,
            (FusedOp::Conv(conv), Some((panels, order))) => {
                let input = &buffers[node.input.expect("a convolution has an input").index()];
                let output = &buffers[id.index()];
                let residual = node.epilogue.residual.map(|r| buffers[r.source().index()]);
                let algorithm = if panels.format.transform == Transform::None {
                    let rows = conv::joined_rows(node, conv, input, residual.as_ref(), output);
                    Algorithm::Direct { rows }
                } else {
                    let plan = winograd::plan(order, &panels.format, &conv.window, output, batch);
                    scratch_bytes = scratch_bytes.max(plan.scratch_bytes());
                    Algorithm::Winograd(plan)
                };
                Plan::Conv(ConvPlan { panels, weights, order, algorithm, fetch: Fetch::Next })
            }
            (FusedOp::Affine(_) | FusedOp::ChannelConv { .. }, _) => Plan::Vector { weights },
            (FusedOp::GroupNorm(norm), _) => {
                let channels = node.shape.channels;
                let blocks = joined_blocks(channels, channels / norm.groups);
                scratch_bytes = scratch_bytes.max(2 * blocks * BLOCK * STATISTIC.bytes());
                Plan::GroupNorm { weights, blocks }
            }
            _ => Plan::Simple,
        });
    }
    let arena_bytes = arena::plan(fused, &mut buffers, &mut plans, batch);
    plan_fetches(&mut plans, parts.bytes);
    let weights = Arc::clone(parts);
    Schedule { batch, buffers, plans, arena_bytes, scratch_bytes, weights }
}

/// Bytes of the following layers' weights that a convolution fetches ahead whose own stay in cache:
/// as many as a second-level cache may hold besides.
const AHEAD: usize = 640 * 1024;

/// Decides what each convolution fetches.
fn plan_fetches(plans: &mut [Plan], weights_bytes: usize) {
    for plan in plans {
        if let Plan::Conv(plan) = plan
            && plan.order == Order::RowsOuter
        {
            let end = plan.weights + plan.panels.bytes();
            plan.fetch = Fetch::After((weights_bytes - end).min(AHEAD));
        }
    }
}

/// The convolutions among the nodes.
fn sites<'a>(fused: &'a Fused, layouts: &[Layout]) -> Vec<Option<Site<'a>>> {
    fused
        .nodes
        .iter()
        .map(|node| match (&node.op, node.input) {
            (FusedOp::Conv(conv), Some(input)) => Some(Site {
                conv,
                zero_pads: node.epilogue.zero_pads(),
                input: fused.node(input).shape,
                output: node.shape,
                planar: layouts[input.index()] == Layout::Planar,
            }),
            _ => None,
        })
        .collect()
}

/// The fewest channel blocks that hold whole groups of so many channels, and into which all blocks
/// can be divided.
fn joined_blocks(channels: usize, group: usize) -> usize {
    let all = channels.div_ceil(BLOCK);
    let whole =
        |blocks: &usize| all.is_multiple_of(*blocks) && (blocks * BLOCK).is_multiple_of(group);
    (1..all).find(whole).unwrap_or(all)
}
