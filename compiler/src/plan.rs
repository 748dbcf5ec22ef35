//! What all back ends are given: a network fused, scheduled and lowered, for as many pictures at a time
//! as are wished and for single ones.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use resnet_runtime::kernels::Precision;
use resnet_runtime::session::{Answer, Code, Feature, Info, Variant};
use resnet_runtime::weights::{LoadError, TensorSpec, Weights, WeightsPlan, file, load};

use crate::fuse::formats::{self, Quantised, QuantisedError};
use crate::fuse::{FuseError, Fused, fuse, halves};
use crate::graph::{Graph, Op, Shape};
use crate::limits::{self, Limits};
use crate::nest::{Program, lower};
use crate::schedule::{Choices, ChoicesError, Schedule, Wishes, schedule};

/// A network on its way to code. What it runs for one batch size and for another reads the same packed
/// weights, of which there is one plan, and gives a picture the same bits.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Name, shapes and counts.
    pub info: Info,
    /// How weights are packed.
    pub weights: WeightsPlan,
    /// The algorithms that were chosen; the programs and the packed weights follow from them.
    pub choices: Choices,
    /// For falling batch sizes; the last one is for single pictures.
    pub programs: Vec<Program>,
    /// Whether the pictures of a batch are computed apart, one by one on each thread, where there are as many as threads.
    pub apart: bool,
}

/// The levels that a plan has passed, to be looked at.
#[derive(Clone, Debug)]
pub struct Levels {
    /// The network, fused.
    pub fused: Fused,
    /// One for each program.
    pub schedules: Vec<Schedule>,
}

impl Plan {
    /// Plans for as many pictures together as are wished and, if that is another number, for single
    /// ones, which are what is left of a batch.
    ///
    /// # Errors
    ///
    /// A network or batch whose memory cannot be addressed, or is more than is wished; a saved schedule
    /// that does not suit the network; a bug in this compiler.
    pub fn new(graph: &Graph, wishes: &Wishes) -> Result<Self, PlanError> {
        Ok(Self::with_levels(graph, wishes)?.0)
    }

    /// The same, and the levels above the programs.
    ///
    /// # Errors
    ///
    /// See [`new`](Plan::new).
    pub fn with_levels(graph: &Graph, wishes: &Wishes) -> Result<(Self, Levels), PlanError> {
        let batch = wishes.batch;
        if batch == 0 {
            return Err(PlanError::Batch);
        }
        let fused = fused(graph, wishes)?;
        if batch > 1 << 20 || !limits::fits(&fused, batch, &Limits::HERE) {
            return Err(PlanError::TooLarge { batch });
        }
        let table = graph.fingerprint();
        if let Some(choices) = &wishes.choices {
            choices.check(&graph.name, table, wishes)?;
            choices.check_layers(graph, &fused)?;
        }
        let (schedules, apart) = schedule(&fused, wishes)?;
        let least = schedules.iter().map(|s| s.run_bytes(&fused)).max().unwrap_or(0);
        if let Some(memory) = wishes.memory.filter(|&memory| memory < least) {
            return Err(PlanError::Memory { memory, least });
        }
        if least as u128 > Limits::HERE.together {
            return Err(PlanError::TooLarge { batch });
        }
        let name = &graph.name;
        let programs: Vec<Program> =
            schedules.iter().map(|schedule| lower(name, &fused, schedule)).collect();
        // All schedules have the same.
        let parts = &schedules[0].weights;
        let plan = Self {
            info: info(graph, arena_bytes(&programs)),
            weights: WeightsPlan {
                network: name.clone().into(),
                table,
                tensors: tensors(graph, &fused, wishes)?.into(),
                recipes: parts.recipes.clone().into(),
                bytes: parts.bytes,
            },
            choices: Choices::of(name, table, wishes.precision, &fused, &schedules[0]),
            programs,
            apart,
        };
        Ok((plan, Levels { fused, schedules }))
    }

    /// Packs weights and writes them as a file that loading maps as it stands: `Weights::open` takes it,
    /// and [`Compiler::weights`](crate::network::Compiler::weights) what it was packed for. `options` are
    /// this plan's, in words that tell a user with which ones to compile. Returns the bytes of the file.
    ///
    /// # Errors
    ///
    /// Weights that do not fit the network, no memory, or what `out` says.
    pub fn pack(
        &self,
        weights: &Weights,
        threads: NonZeroUsize,
        options: &str,
        out: &mut dyn io::Write,
    ) -> Result<u64, WritePackedError> {
        let packed = load(&self.weights, weights, threads)?;
        let choices = self.choices.to_string();
        Ok(file::write(out, &self.weights, packed.as_bytes(), options, &choices)?)
    }
}

/// The tensors that weights have to have, those of rows after the last feature too.
pub(crate) fn tensors(
    graph: &Graph,
    fused: &Fused,
    wishes: &Wishes,
) -> Result<Vec<TensorSpec>, PlanError> {
    if graph.rest.is_empty() || wishes.quantised.is_empty() {
        return Ok(formats::tensors(&graph.tensors, fused.convs()));
    }
    let whole = formats::assign(fuse(&graph.whole())?, &wishes.quantised)?;
    // What is folded into a layer that is computed depends on who reads it.
    let computed = |weight: &str| fused.convs().any(|conv| conv.weight == weight);
    let rest = whole.convs().filter(|conv| !computed(&conv.weight));
    Ok(formats::tensors(&graph.tensors, fused.convs().chain(rest)))
}

/// A fused graph with the formats that quantised weights ask for. What is wrong with those of rows after the last feature is
/// found with their tensors.
pub(crate) fn assigned(
    graph: &Graph,
    fused: Fused,
    quantised: &Quantised,
) -> Result<Fused, QuantisedError> {
    if graph.rest.is_empty() {
        return formats::assign(fused, quantised);
    }
    let computed = formats::computed(&fused, quantised);
    formats::assign(fused, &computed)
}

/// The graph, fused, with the formats that its weights ask for.
pub(crate) fn fused(graph: &Graph, wishes: &Wishes) -> Result<Fused, PlanError> {
    let fused = fuse(graph)?;
    match (wishes.precision, wishes.quantised.len()) {
        (Precision::F32, _) => Ok(assigned(graph, fused, &wishes.quantised)?),
        (Precision::Bf16, 0) => Ok(halves(fused)),
        (Precision::Bf16, layers) => Err(PlanError::Precision { layers }),
    }
}

/// Why a network could not be planned.
#[derive(thiserror::Error)]
pub enum PlanError {
    /// No picture at a time.
    #[error("a batch has 0 pictures; at least 1 is needed")]
    Batch,
    /// The network needs more memory than can be addressed.
    #[error(
        "the network needs more memory for {batch} {} than there is room for addresses",
        if *batch == 1 { "picture" } else { "pictures" }
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
         and may have {memory}"
    )]
    Memory {
        /// Bytes that it may need.
        memory: usize,
        /// Bytes that the leanest plan needs.
        least: usize,
    },
    /// Weights are quantised that cannot be.
    #[error(transparent)]
    Quantised(#[from] QuantisedError),
    /// Quantised weights have a precision of their own.
    #[error(
        "the weights have {layers} quantised layers, which are computed in integers: {} is for weights in f32",
        Precision::Bf16
    )]
    Precision {
        /// How many are quantised.
        layers: usize,
    },
    /// A bug in `fuse`.
    #[error(transparent)]
    Fuse(#[from] FuseError),
}

/// As `Display`: a `main` that returns an error, and `unwrap`, print it so.
impl fmt::Debug for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
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

/// Bytes of memory for activations that a session on one thread has: the arena and one scratch, whichever
/// of the programs runs in them.
pub fn arena_bytes(programs: &[Program]) -> usize {
    let most = |of: fn(&Program) -> usize| programs.iter().map(of).max().unwrap_or(0);
    most(|p| p.arena_bytes) + most(|p| p.scratch_bytes)
}

/// A program's code, to be run in a session.
pub(crate) fn variant(program: &Program, code: Arc<dyn Code>) -> Variant {
    let &Program { batch, arena_bytes, scratch_bytes, .. } = program;
    Variant { batch, arena_bytes, scratch_bytes, code }
}

/// The facts about a graph, whose sessions have so much memory for activations.
fn info(graph: &Graph, arena_bytes: usize) -> Info {
    let input = graph.input_shape();
    Info {
        name: graph.name.clone().into(),
        input: [input.channels, input.height, input.width],
        outputs: graph.output_len(),
        answer: answer(graph),
        features: Feature::in_a_row(graph.features.iter().map(|feature| {
            let Shape { channels, height, width } = graph.node(feature.node).shape;
            (feature.name.as_str(), [channels, height, width])
        }))
        .into(),
        depth: graph.depth,
        params: graph.params,
        macs: graph.macs,
        arena_bytes,
    }
}

/// What a graph's answers are: one pixel's channels are taken for classes.
fn answer(graph: &Graph) -> Answer {
    let output = graph.node(graph.output);
    if !graph.features.is_empty() || output.shape.pixels() > 1 {
        Answer::Features
    } else if matches!(output.op, Op::Softmax) {
        Answer::Probabilities
    } else {
        Answer::Logits
    }
}
