//! A step that can be run: the program's code, and the tensors that it changes.

use std::sync::Arc;

use resnet_runtime::kernels::{BLOCK, HYPER_LEN, PAIR_LEN};
use resnet_runtime::memory::Buffer;
use resnet_runtime::session::Code;
use resnet_runtime::threads::Pool;
use resnet_runtime::training::TrainingSession;
use resnet_runtime::weights::{TensorSpec, Weights, WeightsError};

use super::state::{Content, Slot, State, padded};
use super::{Descent, Planned, TableError, plan, tape};
use crate::emit::{interpret, jit};
use crate::graph::{Graph, Shape};
use crate::nest::VerifyError;
use crate::network::Backend;
use crate::plan::variant;
use crate::target::Target;

/// Why a step could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The table cannot be trained.
    #[error(transparent)]
    Train(#[from] TableError),
    /// The weights do not fit.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The step could not be compiled.
    #[error(transparent)]
    Jit(#[from] jit::JitError),
    /// A bug in this compiler.
    #[error(transparent)]
    Program(#[from] VerifyError),
    /// No memory.
    #[error("no memory for a training step")]
    Memory(#[from] std::io::Error),
    /// A back end that runs no steps.
    #[error("the back end `{0}` cannot train: the JIT and the interpreter can")]
    Backend(&'static str),
}

/// How far a step goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// What the gradient is multiplied with.
    pub rate: f32,
    /// What is kept of the steps before.
    pub momentum: f32,
    /// What weights are drawn to zero by.
    pub decay: f32,
}

/// What a step has found, with the weights as they were before it.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The cross-entropy of each image.
    pub losses: &'a [f32],
    /// The logits of each image, one after the other.
    pub logits: &'a [f32],
}

/// The gradient that reached a layer, a convolution or a linear one, in a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Reached<'a> {
    /// The layer.
    pub layer: &'a str,
    /// Its weights' tensor.
    pub weight: &'a str,
    /// The shape of its output, for each image.
    pub output: Shape,
    /// How large the gradient of the batch's losses, added up, with respect to that output is: the root of the mean over the
    /// images of the square of its L2 norm.
    pub norm: f64,
}

/// A training step of a network, for batches of one size.
pub struct Step {
    session: TrainingSession,
    state: State,
    tensors: Vec<TensorSpec>,
    reached: Vec<tape::Reached>,
    batch: usize,
    /// Numbers that are the losses and the logits.
    answers: usize,
    /// Images, probabilities, rates.
    input: Vec<f32>,
    output: Vec<f32>,
}

impl Step {
    /// Compiles the step of a table.
    ///
    /// # Errors
    ///
    /// A table that cannot be trained, weights that do not fit, no memory.
    pub fn compile(
        graph: &Graph,
        batch: usize,
        descent: Descent,
        weights: &Weights,
        target: &Target,
        backend: Backend,
        pool: Option<&Pool>,
    ) -> Result<Self, StepError> {
        weights.check(&graph.tensors)?;
        let Planned { program, mut state, reached, .. } = plan(graph, batch, descent)?;
        let program = &program;
        let code: Arc<dyn Code> = match backend {
            Backend::Jit => Arc::new(jit::Jit::compile(program, target.kernels())?),
            Backend::Interpret => {
                Arc::new(interpret::Interpreter::new(program.clone(), target.kernels())?)
            }
            Backend::Reference => return Err(StepError::Backend("reference")),
        };
        let lasting = fill(&mut state, weights)?;
        let lengths = [program.input_len, program.output_len];
        // SAFETY: the program was verified by the back end: its code keeps to its lengths, which these are, and
        // `fill` made as many bytes of weights as it states.
        let session =
            unsafe { TrainingSession::new(variant(program, code), lengths, lasting, pool)? };
        Ok(Self {
            session,
            state,
            tensors: graph.tensors.clone(),
            reached,
            batch,
            answers: batch * (1 + graph.output_shape().channels),
            input: vec![0.0; lengths[0]],
            output: vec![0.0; lengths[1]],
        })
    }

    /// Images of a batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Whether any tensor is not frozen.
    pub fn learns(&self) -> bool {
        let mut slots = self.state.slots.iter();
        slots.any(|slot| matches!(&slot.content, Content::Learned { name, .. } if !self.state.frozen.contains(name)))
    }

    /// Bytes that the step needs while it runs, besides images and answers.
    pub fn bytes(&self) -> usize {
        self.session.workspace_bytes() + self.session.weights().len()
    }

    /// Runs the step: `images` are planar, `targets` the probabilities that each image's classes should have.
    ///
    /// # Panics
    ///
    /// If they are not those of a batch.
    pub fn run(&mut self, images: &[f32], targets: &[f32], rate: Rate) -> Found<'_> {
        let (own, rest) = self.input.split_at_mut(images.len());
        let (own_targets, hyper) = rest.split_at_mut(targets.len());
        assert_eq!(hyper.len(), HYPER_LEN, "images and targets of a batch");
        own.copy_from_slice(images);
        own_targets.copy_from_slice(targets);
        hyper[..3].copy_from_slice(&[rate.rate, rate.momentum, rate.decay]);
        self.session.run(&self.input, &mut self.output);
        let (losses, logits) = self.output[..self.answers].split_at(self.batch);
        Found { losses, logits }
    }

    /// The gradients that reached the layers in the last step, from the first layer to the last; none unless
    /// [`Descent::magnitudes`] asked for them.
    pub fn reached(&self) -> impl Iterator<Item = Reached<'_>> {
        self.reached.iter().rev().map(|of| {
            let tape::Reached { ref layer, weight, shape, at } = *of;
            let Content::Learned { name, .. } = &self.state.slot(weight).content else {
                unreachable!("`{layer}` has weights")
            };
            let (lanes, batch) = (padded(shape.channels), self.batch as f64);
            let images = self.output[self.answers + at..][..self.batch * lanes].chunks(lanes);
            let magnitudes = images.flat_map(|image| &image[..shape.channels]);
            let squares = magnitudes.map(|&m| f64::from(m).powi(2)).sum::<f64>();
            // The step's loss is the mean: each image's own counts a part.
            let norm = (squares * shape.pixels() as f64 * batch).sqrt();
            Reached { layer, weight: name, output: shape, norm }
        })
    }

    /// The tensors as they are now, as the table names them.
    pub fn tensors(&self) -> impl Iterator<Item = (&TensorSpec, Vec<f32>)> {
        self.tensors.iter().map(|spec| (spec, self.tensor(&spec.name)))
    }

    /// What descent remembers of a tensor that is learned.
    pub fn velocity(&self, tensor: &str) -> Option<Vec<f32>> {
        self.state.slots.iter().find_map(|slot| match &slot.content {
            Content::Learned { name, velocity, .. } if name == tensor => {
                Some(self.floats(*velocity, slot.len))
            }
            _ => None,
        })
    }

    /// Puts values in the place of a tensor's and, of one that is learned, of its velocity's.
    ///
    /// # Panics
    ///
    /// If the table has no such tensor, or it has another length.
    pub fn set(&mut self, tensor: &str, values: &[f32], velocity: Option<&[f32]>) {
        let state = &self.state;
        let slot = state.slots.iter().find(|slot| slot.content.names().contains(&tensor));
        let slot = slot.expect("a tensor of the table");
        assert_eq!(values.len(), slot.len, "elements of `{tensor}`");
        let memory = self.session.weights_mut();
        match &slot.content {
            Content::Learned { velocity: offset, .. } => {
                write(memory, slot.offset, values);
                if let Some(velocity) = velocity {
                    assert_eq!(velocity.len(), slot.len, "elements of `{tensor}`'s velocity");
                    write(memory, *offset, velocity);
                }
            }
            Content::Running { mean, .. } => write_running(memory, slot, tensor == mean, values),
        }
    }

    /// A tensor as it is now.
    fn tensor(&self, tensor: &str) -> Vec<f32> {
        for slot in &self.state.slots {
            match &slot.content {
                Content::Learned { name, .. } if name == tensor => {
                    return self.floats(slot.offset, slot.len);
                }
                Content::Running { mean, variance } if tensor == mean || tensor == variance => {
                    let skipped = if tensor == mean { 0 } else { BLOCK };
                    let blocks = slot.len.div_ceil(BLOCK);
                    let all = self.floats(slot.offset, blocks * PAIR_LEN);
                    let own = all.chunks(PAIR_LEN).flat_map(|pair| &pair[skipped..][..BLOCK]);
                    return own.copied().take(slot.len).collect();
                }
                _ => {}
            }
        }
        unreachable!("`{tensor}` is a tensor of the table")
    }

    fn floats(&self, offset: usize, len: usize) -> Vec<f32> {
        let bytes = &self.session.weights()[offset..offset + len * 4];
        bytes.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]])).collect()
    }
}

/// The memory of what lasts, with weights in it and the tables, which are then not needed any more.
fn fill(state: &mut State, weights: &Weights) -> Result<Buffer, StepError> {
    let mut buffer = Buffer::zeroed(state.bytes)?;
    let memory = buffer.as_mut_bytes();
    for slot in &state.slots {
        match &slot.content {
            Content::Learned { name, .. } => {
                write(memory, slot.offset, &weights.tensor(name)?.values);
            }
            Content::Running { mean, variance } => {
                for (name, is_mean) in [(mean, true), (variance, false)] {
                    write_running(memory, slot, is_mean, &weights.tensor(name)?.values);
                }
            }
        }
    }
    for table in &mut state.tables {
        let indices = std::mem::take(&mut table.indices);
        for (bytes, index) in memory[table.offset..].chunks_exact_mut(4).zip(indices) {
            bytes.copy_from_slice(&index.to_ne_bytes());
        }
    }
    Ok(buffer)
}

fn write(memory: &mut [u8], offset: usize, values: &[f32]) {
    for (bytes, value) in memory[offset..].chunks_exact_mut(4).zip(values) {
        bytes.copy_from_slice(&value.to_ne_bytes());
    }
}

/// Writes one of a norm's running statistics, 16 of which lie side by side.
fn write_running(memory: &mut [u8], slot: &Slot, is_mean: bool, values: &[f32]) {
    let skipped = if is_mean { 0 } else { BLOCK };
    for (block, values) in values.chunks(BLOCK).enumerate() {
        write(memory, slot.offset + (block * PAIR_LEN + skipped) * 4, values);
    }
}
