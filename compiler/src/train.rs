//! Training: the step of a table as one program, from the images and the classes that they should have to weights
//! that know a little better.
//!
//! ```text
//! Graph -forward-> Tape -backward-> Tape -order-> groups -memory-> places -ahead-> nest::lower -> Program
//! ```
//!
//! Layers that are [frozen](Descent::frozen) have no step of descent, and what nobody reads then falls away.
//!
//! The program reads images, the probabilities that the classes should have, and how far to step. It writes each image's loss and
//! logits, and changes its weights: for a training step, [`Region::Weights`](crate::schedule::Region::Weights) is what lasts from step to step
//! (`state`). All back ends run it as they run any other program.

mod ahead;
mod algorithms;
mod backward;
mod forward;
mod frozen;
mod memory;
mod needs;
mod order;
mod record;
mod remade;
mod state;
mod step;
mod tape;

use std::collections::BTreeSet;

use resnet_runtime::kernels::Decay;
use resnet_runtime::weights::pack::PackError;

use crate::graph::Graph;
use crate::nest::{Program, lower_training};
use crate::report::TrainingMemory;

pub use frozen::{UnknownLayer, frozen};

pub(crate) use ahead::Ahead;
pub(crate) use algorithms::{Bands, POINTS, TILE};
pub(crate) use memory::{Memory, Place};
pub(crate) use state::{Content, NormOf, NormSlots, SlotId, State, TableId, padded};
pub use step::{Found, Rate, Reached, Step, StepError};
pub(crate) use tape::{ConvId, Filters, Gradient, Kind, NormValues, Op, Source, Tape, ValueId};

/// How a step is computed, and how it descends.
#[derive(Clone, Debug, PartialEq)]
pub struct Descent {
    /// Whether it looks ahead, as Nesterov's does.
    pub nesterov: bool,
    /// How weights decay; biases and norms do not.
    pub decay: Decay,
    /// How far running statistics move towards a batch's: PyTorch's `momentum` of a batch norm.
    pub norm_momentum: f64,
    /// Whether convolutions are computed as they are defined: slower, a little more exact.
    pub exact: bool,
    /// Tensors that stay as they are, by name. A batch norm whose running statistics are among them normalises by these, as in
    /// inference, not by the batch's.
    pub frozen: BTreeSet<String>,
    /// Whether the gradients that reach the layers are measured ([`Step::reached`]); nothing else becomes of it.
    pub magnitudes: bool,
    /// Blocks, from the first on, of which the way back keeps the ends alone: what lies inside it makes again, which takes time
    /// and changes no bit. [`within`] finds how many are needed.
    pub recompute: usize,
}

impl Default for Descent {
    fn default() -> Self {
        Self {
            nesterov: false,
            decay: Decay::Classic,
            norm_momentum: 0.1,
            exact: false,
            frozen: BTreeSet::new(),
            magnitudes: false,
            recompute: 0,
        }
    }
}

/// Why a table cannot be trained.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// A layer has too many weights.
    #[error("`{layer}` has {weights} weights; layers of more than 2^24 cannot be trained")]
    Weights {
        /// The layer.
        layer: String,
        /// Its weights.
        weights: usize,
    },
    /// The answer is no row of logits.
    #[error(
        "the answer of `{network}` is {answer}, no number for each class: a classifier is needed to train"
    )]
    Answer {
        /// The network.
        network: String,
        /// What it is.
        answer: String,
    },
    /// No images, or so few that a batch has no variance.
    #[error(
        "a batch of {batch} images has no statistics for `{layer}`, whose output is a single pixel: at least 2 are needed"
    )]
    Batch {
        /// The batch.
        batch: usize,
        /// The norm.
        layer: String,
    },
    /// More memory than may be.
    #[error(
        "a step of {batch} images needs {least} bytes at least, with all blocks made again on the way back, and may have {bytes}: \
         take a smaller batch, or allow more"
    )]
    Memory {
        /// The batch.
        batch: usize,
        /// What it needs.
        least: u64,
        /// What it may have.
        bytes: u64,
    },
    /// A mistake of this compiler.
    #[error(transparent)]
    Pack(#[from] PackError),
}

/// A step, planned.
pub(crate) struct Planned {
    pub(crate) program: Program,
    pub(crate) state: State,
    /// The layers whose gradients are measured, from the last to the first.
    pub(crate) reached: Vec<tape::Reached>,
    pub(crate) memory: TrainingMemory,
}

/// The bytes that a step of `batch` images needs; nothing is compiled.
///
/// # Errors
///
/// A table that cannot be trained.
pub fn memory(graph: &Graph, batch: usize, descent: Descent) -> Result<TrainingMemory, TableError> {
    Ok(plan(graph, batch, descent)?.memory)
}

/// The same descent, but that of so many blocks as it takes the insides are made again for a step of `batch` images to need no more
/// than so many `bytes` on so many `threads`.
///
/// # Errors
///
/// A table that cannot be trained; one that needs more even so.
pub fn within(
    graph: &Graph,
    batch: usize,
    descent: Descent,
    bytes: u64,
    threads: u64,
) -> Result<Descent, TableError> {
    let with = |recompute| Descent { recompute, ..descent.clone() };
    let needs =
        |recompute| memory(graph, batch, with(recompute)).map(|memory| memory.total(threads));
    if needs(0)? <= bytes {
        return Ok(with(0));
    }
    // There are fewer blocks than nodes.
    let (mut too_few, mut enough) = (0, graph.nodes.len());
    let least = needs(enough)?;
    if least > bytes {
        return Err(TableError::Memory { batch, least, bytes });
    }
    while enough - too_few > 1 {
        let middle = too_few.midpoint(enough);
        match needs(middle)? <= bytes {
            true => enough = middle,
            false => too_few = middle,
        }
    }
    Ok(with(enough))
}

/// Plans a step of `batch` images.
pub(crate) fn plan(graph: &Graph, batch: usize, descent: Descent) -> Result<Planned, TableError> {
    let (network, shape) = (graph.name.clone(), graph.output_shape());
    if !graph.features.is_empty() {
        let rows: Vec<&str> = graph.features.iter().map(|feature| &*feature.name).collect();
        let answer = format!("the features of {}", rows.join(", "));
        return Err(TableError::Answer { network, answer });
    }
    if shape.pixels() != 1 {
        return Err(TableError::Answer { network, answer: shape.to_string() });
    }
    for node in &graph.nodes {
        let crate::graph::Op::BatchNorm(norm) = &node.op else { continue };
        if batch * node.shape.pixels() < 2 && !descent.frozen.contains(&*norm.mean) {
            return Err(TableError::Batch { batch, layer: node.name.clone() });
        }
    }
    let (forward, logits) = forward::Forward::build(graph, batch, &descent)?;
    let built = backward::Backward::build(forward, logits, batch, &descent)?;
    let (mut tape, state) = (built.tape, built.state);
    tape.prune();
    let groups = order::order(&mut tape, batch);
    let placed = memory::plan(&tape, &groups, batch);
    let ahead: Vec<Vec<Ahead>> =
        groups.iter().map(|group| ahead::ahead(&tape, group, &placed.places)).collect();
    let program = lower_training(&crate::nest::Training {
        graph,
        tape: &tape,
        state: &state,
        memory: &placed,
        groups: &groups,
        ahead: &ahead,
        batch,
        descent,
    });
    let memory = needs::needs(&tape, &placed.places, &state, &program);
    Ok(Planned { program, state, reached: tape.reached, memory })
}
