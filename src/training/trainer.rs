//! Epochs of steps.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use resnet_compiler::graph::Graph;
use resnet_compiler::network::Backend;
use resnet_compiler::target::Target;
use resnet_compiler::train::{Descent, Rate, Step, StepError, UnknownLayer, frozen, within};
use resnet_runtime::kernels::{Decay, Isa};
use resnet_runtime::threads::{Pool, PoolError};
use resnet_runtime::weights::{Weights, all_threads};
use safetensors::tensor::{Dtype, TensorView};

use super::Dataset;
use super::augment::Augment;
use super::batch::{Batch, Maker};
use super::checkpoint::{self, CheckpointError};
use super::rate::Schedule;
use super::start::{check, initial};
use crate::{Diagnostics, Spec, top_k};

/// How a network is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Times that all images are seen.
    pub epochs: usize,
    /// Images of a step. What is left of an epoch, less than a batch, waits for the next one.
    pub batch: usize,
    /// The highest learning rate.
    pub rate: f64,
    /// How the rate goes.
    pub schedule: Schedule,
    /// Epochs, or parts of one, in which it rises; a fifth of all if there is no number.
    pub warm_up: Option<f64>,
    /// What is kept of the steps before.
    pub momentum: f64,
    /// Whether steps look ahead, as Nesterov's do.
    pub nesterov: bool,
    /// What weights, but for biases and norms, are drawn to zero by.
    pub decay: f64,
    /// How.
    pub decay_kind: Decay,
    /// The probability that is spread over all classes ("Rethinking the Inception Architecture", Szegedy et al., 2016).
    pub smoothing: f32,
    /// What is done to images.
    pub augment: Augment,
    /// What an average of the weights keeps in each step, such as 0.999: the average is what is written and
    /// evaluated. None: there is no average.
    pub average: Option<f64>,
    /// Layers that stay as they are, by their names in the table or in the state dict, as
    /// [`frozen`](resnet_compiler::train::frozen) takes them: no gradient, no decay, no momentum. Their batch norms normalise by
    /// their running statistics, which do not change either.
    pub freeze: Vec<String>,
    /// Bytes that a step may need, as [`memory`](resnet_compiler::train::memory) counts them: of so many blocks as it takes, the
    /// insides are computed again on the way back, which takes time and changes no bit.
    pub memory: Option<usize>,
    /// For all that is left to chance.
    pub seed: u64,
    /// Threads of a step, and as many beside it that make batches; as many as this process may use if there is no
    /// number.
    pub threads: Option<NonZeroUsize>,
    /// The instruction set; the best one of this CPU if none is named.
    pub isa: Option<Isa>,
}

impl Default for Options {
    /// What trains a ResNet on CIFAR-10: 60 epochs of batches of 128, one cycle up to 0.1, Nesterov's momentum of 0.9, a
    /// decay of 5e-4.
    fn default() -> Self {
        Self {
            epochs: 60,
            batch: 128,
            rate: 0.1,
            schedule: Schedule::OneCycle,
            warm_up: None,
            momentum: 0.9,
            nesterov: true,
            decay: 5e-4,
            decay_kind: Decay::Classic,
            smoothing: 0.0,
            augment: Augment::default(),
            average: None,
            freeze: Vec::new(),
            memory: None,
            seed: 1,
            threads: None,
            isa: None,
        }
    }
}

impl Options {
    /// Epochs in which the rate rises.
    pub(super) fn warm_up(&self) -> f64 {
        self.warm_up.unwrap_or(self.epochs as f64 / 5.0)
    }
}

/// Why training stops, or does not begin.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Mistakes in the table.
    #[error(transparent)]
    Table(#[from] Diagnostics),
    /// The step could not be made.
    #[error(transparent)]
    Step(#[from] StepError),
    /// A layer to freeze that there is not.
    #[error(transparent)]
    Layer(#[from] UnknownLayer),
    /// Options that make no sense.
    #[error("{0}")]
    Options(String),
    /// The images do not suit the table.
    #[error("{0}")]
    Data(String),
    /// The threads did not start.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The operating system starts no thread more.
    #[error("cannot start threads: {0}")]
    Threads(#[from] std::io::Error),
    /// The loss is no number any more.
    #[error(
        "the loss of step {step} of epoch {epoch} is {loss}{}: try a lower rate, or a longer warm-up",
        layer.as_ref().map(|layer| format!(", and `{layer}` has become no number")).unwrap_or_default()
    )]
    Diverged {
        /// The epoch, from 1 on.
        epoch: usize,
        /// The step, from 1 on.
        step: usize,
        /// What was found.
        loss: f32,
        /// The first tensor that holds something else than numbers.
        layer: Option<String>,
    },
    /// A checkpoint does not fit.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Weights cannot be written.
    #[error("cannot write the weights: {0}")]
    Write(String),
}

/// How far an epoch is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Steps of the epoch.
    pub steps: usize,
    /// The mean loss of the epoch so far.
    pub loss: f64,
    /// The part of the epoch's images that were classified rightly, as they came.
    pub accuracy: f64,
    /// The rate of the last step.
    pub rate: f64,
}

/// What an epoch has come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// Which one, from 1 on.
    pub epoch: usize,
    /// Whether it was run to its end; otherwise the next call goes on with it.
    pub is_done: bool,
    /// How far it is.
    pub progress: Progress,
}

/// Where a training is.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Position {
    pub(super) epoch: usize,
    pub(super) step: usize,
    /// Sums over the epoch's images.
    pub(super) loss: f64,
    pub(super) right: usize,
}

/// A network that is trained.
pub struct Trainer {
    pub(super) graph: Graph,
    spec: Spec,
    pub(super) options: Options,
    pub(super) images: usize,
    pub(super) at: Position,
    pub(super) step: Step,
    pub(super) average: Option<BTreeMap<String, Vec<f32>>>,
    threads: NonZeroUsize,
}

impl Trainer {
    /// A network with random weights: normal with He's deviation for convolutions; norms do nothing at first.
    ///
    /// # Errors
    ///
    /// A table that cannot be trained, data or options that do not suit it, no memory.
    pub fn new<D: Dataset + ?Sized>(
        spec: &Spec,
        data: &D,
        options: Options,
    ) -> Result<Self, TrainError> {
        let graph = Graph::build(spec)?;
        let weights = initial(&graph, None, options.seed)?;
        Self::with_weights(spec, graph, data, options, &weights, &[])
    }

    /// A network with weights that were trained before; tensors that the table has in another shape, as a
    /// classifier of other classes, are drawn anew, and `replaced` is told their names.
    ///
    /// # Errors
    ///
    /// As [`new`](Trainer::new), and weights that cannot be read.
    pub fn fine_tune<D: Dataset + ?Sized>(
        spec: &Spec,
        data: &D,
        options: Options,
        weights: &Weights,
        mut replaced: impl FnMut(&str),
    ) -> Result<Self, TrainError> {
        let graph = Graph::build(spec)?;
        let mut drawn = Vec::new();
        let mut each = |tensor: &str| {
            replaced(tensor);
            drawn.push(tensor.to_owned());
        };
        let weights = initial(&graph, Some((weights, &mut each)), options.seed)?;
        Self::with_weights(spec, graph, data, options, &weights, &drawn)
    }

    fn with_weights<D: Dataset + ?Sized>(
        spec: &Spec,
        graph: Graph,
        data: &D,
        options: Options,
        weights: &Weights,
        drawn: &[String],
    ) -> Result<Self, TrainError> {
        check(&graph, Some(data), &options)?;
        let frozen = frozen(&graph, &options.freeze)?;
        if let Some(tensor) = drawn.iter().find(|tensor| frozen.contains(*tensor)) {
            return Err(TrainError::Options(format!(
                "`{tensor}` is drawn anew and cannot be frozen: it would stay random"
            )));
        }
        let (nesterov, decay) = (options.nesterov, options.decay_kind);
        let descent = Descent { nesterov, decay, frozen, ..Descent::default() };
        let (step, threads) = compile(&graph, &options, descent, weights)?;
        if !step.learns() {
            return Err(TrainError::Options(
                "all layers are frozen: nothing is left to learn".into(),
            ));
        }
        let average = options.average.map(|_| tensors(&step));
        let (images, at) = (data.len(), Position::default());
        Ok(Self { graph, spec: spec.clone(), options, images, at, step, average, threads })
    }

    /// Goes on from a checkpoint: what follows has the bits that it would have had.
    ///
    /// # Errors
    ///
    /// A file of another kind, or of a training with another table, other options or other images.
    pub fn resume(&mut self, checkpoint: &[u8]) -> Result<(), TrainError> {
        Ok(checkpoint::restore(self, checkpoint)?)
    }

    /// All that is needed to go on: a safetensors file with the weights, the velocities and the place.
    ///
    /// # Errors
    ///
    /// If it cannot be put together.
    pub fn checkpoint(&self) -> Result<Vec<u8>, TrainError> {
        Ok(checkpoint::save(self)?)
    }

    /// How it is trained.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Whether all epochs are done.
    pub fn is_done(&self) -> bool {
        self.at.epoch >= self.options.epochs
    }

    /// Epochs that are done.
    pub fn epochs(&self) -> usize {
        self.at.epoch
    }

    /// Steps of an epoch.
    pub fn steps(&self) -> usize {
        self.images / self.options.batch
    }

    /// Bytes that the steps need: weights, what is remembered of them, and activations.
    pub fn bytes(&self) -> usize {
        self.step.bytes()
    }

    /// Runs the next epoch, or what is left of it; `each` hears of every step and can stop it.
    ///
    /// # Errors
    ///
    /// An image that cannot be had; a loss that is no number.
    pub fn epoch<D: Dataset + ?Sized>(
        &mut self,
        data: &D,
        mut each: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Epoch, TrainError> {
        let input = self.graph.input_shape();
        let shape = [input.channels, input.height, input.width];
        let classes = self.graph.output_shape().channels;
        let preprocess = self.spec.preprocess.clone();
        let options = self.options.clone();
        let maker = Maker::new(data, (shape, classes), &preprocess, &options, self.at.epoch);
        let (steps, first, threads) = (self.steps(), self.at.step, self.threads.get());
        let mut progress = self.progress(0.0);
        std::thread::scope(|scope| {
            let batches = maker.start(scope, threads, first, steps)?;
            for step in first..steps {
                let batch = batches[(step - first) % threads].recv();
                let batch = batch.expect("as many batches are made as there are steps");
                let rate = self.step(&batch.map_err(TrainError::Data)?)?;
                progress = self.progress(rate);
                if each(&progress).is_break() {
                    break;
                }
            }
            Ok::<(), TrainError>(())
        })?;
        let is_done = self.at.step == steps;
        let epoch = self.at.epoch + 1;
        if is_done {
            self.at = Position { epoch, ..Position::default() };
        }
        Ok(Epoch { epoch, is_done, progress })
    }

    fn step(&mut self, batch: &Batch) -> Result<f64, TrainError> {
        let Options { schedule, momentum, decay, average, .. } = self.options;
        let steps = self.steps();
        let at = self.at.epoch * steps + self.at.step;
        let warm_up = (self.options.warm_up() * steps as f64).max(1.0);
        let rate = schedule.rate(self.options.rate, at, warm_up, steps * self.options.epochs);
        let step = Rate { rate: rate as f32, momentum: momentum as f32, decay: decay as f32 };
        let found = self.step.run(&batch.images, &batch.targets, step);
        let loss: f64 = found.losses.iter().map(|&loss| f64::from(loss)).sum();
        let classes = found.logits.len() / batch.classes.len();
        let answers = found.logits.chunks(classes).zip(&batch.classes);
        self.at.right += answers.filter(|(logits, class)| top_k(logits, 1) == [**class]).count();
        self.at.loss += loss;
        self.at.step += 1;
        if !loss.is_finite() {
            return Err(TrainError::Diverged {
                epoch: self.at.epoch + 1,
                step: self.at.step,
                loss: (loss / batch.classes.len() as f64) as f32,
                layer: not_finite(&self.step),
            });
        }
        if let (Some(kept), Some(own)) = (average, &mut self.average) {
            for (spec, now) in self.step.tensors() {
                let own = own.get_mut(&*spec.name).expect("the average has all tensors");
                for (own, now) in own.iter_mut().zip(now) {
                    *own = (kept * f64::from(*own) + (1.0 - kept) * f64::from(now)) as f32;
                }
            }
        }
        Ok(rate)
    }

    fn progress(&self, rate: f64) -> Progress {
        let images = (self.at.step * self.options.batch).max(1) as f64;
        Progress {
            step: self.at.step,
            steps: self.steps(),
            loss: self.at.loss / images,
            accuracy: self.at.right as f64 / images,
            rate,
        }
    }

    /// The weights as they are now, or their average, as a safetensors file.
    ///
    /// # Errors
    ///
    /// If it cannot be put together.
    pub fn weights(&self) -> Result<Vec<u8>, TrainError> {
        let own;
        let tensors = match &self.average {
            Some(average) => average,
            None => {
                own = tensors(&self.step);
                &own
            }
        };
        let named =
            self.graph.tensors.iter().map(|spec| {
                (spec.name.to_string(), spec.shape.to_vec(), &tensors[&*spec.name][..])
            });
        safetensors_of(named, None).map_err(TrainError::Write)
    }
}

/// The step of a table, and how many threads it has.
pub(super) fn compile(
    graph: &Graph,
    options: &Options,
    descent: Descent,
    weights: &Weights,
) -> Result<(Step, NonZeroUsize), TrainError> {
    let threads = options.threads.unwrap_or_else(all_threads);
    let pool = if threads.get() > 1 { Some(Pool::new(threads)?) } else { None };
    let descent = match options.memory {
        Some(bytes) => within(graph, options.batch, descent, bytes as u64, threads.get() as u64)
            .map_err(StepError::from)?,
        None => descent,
    };
    let target =
        Target::host(options.isa).map_err(|error| TrainError::Options(error.to_string()))?;
    let step = Step::compile(
        graph,
        options.batch,
        descent,
        weights,
        &target,
        Backend::BEST,
        pool.as_ref(),
    )?;
    Ok((step, threads))
}

/// All tensors by name.
pub(super) fn tensors(step: &Step) -> BTreeMap<String, Vec<f32>> {
    step.tensors().map(|(spec, values)| (spec.name.to_string(), values)).collect()
}

/// A safetensors file of `f32` tensors: name, shape, values.
pub(super) fn safetensors_of<'a>(
    tensors: impl Iterator<Item = (String, Vec<usize>, &'a [f32])>,
    metadata: Option<std::collections::HashMap<String, String>>,
) -> Result<Vec<u8>, String> {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .map(|(name, shape, values)| {
            (name, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
        view.map(|view| (name.as_str(), view)).map_err(|error| error.to_string())
    });
    let views = views.collect::<Result<Vec<_>, _>>()?;
    safetensors::serialize(views, metadata).map_err(|error| error.to_string())
}

/// The first tensor that holds something else than numbers.
pub(super) fn not_finite(step: &Step) -> Option<String> {
    let mut tensors = step.tensors();
    tensors
        .find(|(_, values)| values.iter().any(|v| !v.is_finite()))
        .map(|(spec, _)| spec.name.to_string())
}
