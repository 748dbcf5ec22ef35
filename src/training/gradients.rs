//! The gradients that reach the layers of a network.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use resnet_compiler::graph::Graph;
use resnet_compiler::train::{Descent, Rate, Step};
use resnet_runtime::kernels::Isa;

use super::augment::Random;
use super::batch::{Batch, Maker, drawn};
use super::start::{check, initial};
use super::trainer::{compile, not_finite};
use super::{Augment, Crop, Dataset, Options, TrainError};
use crate::Spec;

/// Of what gradients are taken, and how the network descends before they are taken again.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientOptions {
    /// Images of a step, and of those whose gradients are measured.
    pub batch: usize,
    /// Steps of descent, each of further images; 0: gradients are measured at the start alone.
    pub steps: usize,
    /// The learning rate of these, with a momentum of 0.9 and without decay.
    pub rate: f64,
    /// How far images are moved, each in a direction of its own by a part of its L2 norm, to see whether the gradients
    /// still agree; none: they are not.
    pub moved: Option<f64>,
    /// For all that is left to chance.
    pub seed: u64,
    /// Threads; as many as this process may use if there is no number.
    pub threads: Option<NonZeroUsize>,
    /// The instruction set; the best one of this CPU if none is named.
    pub isa: Option<Isa>,
}

impl Default for GradientOptions {
    /// 32 images, ten steps with a rate of 0.01.
    fn default() -> Self {
        Self { batch: 32, steps: 10, rate: 0.01, moved: None, seed: 1, threads: None, isa: None }
    }
}

/// The gradients of one batch, with the weights as they are after some steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    /// The steps before.
    pub steps: usize,
    /// The mean cross-entropy of the batch.
    pub loss: f64,
    /// The convolutions and linear layers, from the first to the last.
    pub layers: Vec<LayerGradient>,
}

/// The gradient of a convolution or a linear layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerGradient {
    /// The layer.
    pub layer: String,
    /// Channels, height and width of its output, before a norm or an activation.
    pub output: [usize; 3],
    /// The gradient that reaches it, that of the loss with respect to its output: the root of the mean over the batch's images of
    /// the square of its L2 norm, where the loss is the sum of the images' cross-entropies, so that it does not
    /// shrink with the batch. Infinite if it is larger than an `f32` can be.
    pub norm: f64,
    /// The L2 norm of the gradient of the mean loss with respect to its weights.
    pub weight_gradient: f64,
    /// The L2 norm of its weights.
    pub weight: f64,
    /// The cosine between the gradient of its weights and that of the same batch with images that are moved; none without
    /// [`GradientOptions::moved`]. Gradients shatter where it is near zero ("The Shattered Gradients Problem", Balduzzi et
    /// al., 2017).
    pub agreement: Option<f64>,
}

impl LayerGradient {
    /// The root mean square of the elements of the gradient that reaches the layer: the deviation that He et al. follow from
    /// layer to layer ("Delving Deep into Rectifiers", 2015), where its mean is zero.
    pub fn rms(&self) -> f64 {
        self.norm / (self.output.iter().product::<usize>() as f64).sqrt()
    }
}

/// Measures the gradients of a network whose weights are drawn as [`Trainer::new`](super::Trainer::new) draws them: at the
/// start, and of the same batch after some steps of descent.
///
/// The images are taken as for inference; without any, pixels are drawn from a standard normal distribution and classes at
/// random, anew for each step. Norms have the batch's statistics.
///
/// # Errors
///
/// A table that cannot be trained, images that do not suit it, no memory, a loss that is no number.
pub fn gradients(
    spec: &Spec,
    data: Option<&dyn Dataset>,
    options: &GradientOptions,
) -> Result<Vec<Gradients>, TrainError> {
    let graph = Graph::build(spec)?;
    let GradientOptions { batch, steps, rate, moved, seed, threads, isa } = *options;
    if moved.is_some_and(|part| !(part > 0.0 && part.is_finite())) {
        let what = "images have to be moved by a part of their norm, such as 0.01".to_owned();
        return Err(TrainError::Options(what));
    }
    let augment = Augment { crop: Crop::None, flip: false, cutout: 0, mixup: 0.0 };
    let options = Options {
        epochs: 1,
        warm_up: Some(0.0),
        batch,
        rate,
        augment,
        seed,
        threads,
        isa,
        ..Options::default()
    };
    check(&graph, data, &options)?;
    let weights = initial(&graph, None, seed)?;
    let descent = Descent { magnitudes: true, ..Descent::default() };
    let (mut step, _) = compile(&graph, &options, descent, &weights)?;
    let batches = Batches::new(&graph, spec, data, &options);
    let first = batches.make(0)?;
    let near = moved.map(|part| Batch { images: moved_by(&first, part, seed), ..first.clone() });
    let near = near.as_ref();
    let mut all = vec![measure(&mut step, 0, &first, near)];
    for at in 1..=steps {
        let own = batches.make(at)?;
        // Measuring has left a velocity behind.
        let momentum = if at == 1 { 0.0 } else { options.momentum as f32 };
        let rate = Rate { rate: rate as f32, momentum, decay: 0.0 };
        let loss = mean(step.run(&own.images, &own.targets, rate).losses);
        if !loss.is_finite() {
            let layer = not_finite(&step);
            return Err(TrainError::Diverged { epoch: 1, step: at, loss: loss as f32, layer });
        }
    }
    if steps > 0 {
        all.push(measure(&mut step, steps, &first, near));
    }
    Ok(all)
}

/// The gradients of a batch, by a step that goes nowhere: what it leaves as a velocity is the gradient.
fn measure(step: &mut Step, steps: usize, batch: &Batch, near: Option<&Batch>) -> Gradients {
    let weights: BTreeMap<String, f64> =
        step.tensors().map(|(spec, values)| (spec.name.to_string(), l2(&values))).collect();
    let loss = stand(step, batch);
    let mut layers = Vec::new();
    let mut gradients = Vec::new();
    for of in step.reached() {
        let own = gradient(step, of.weight);
        layers.push(LayerGradient {
            layer: of.layer.to_owned(),
            output: [of.output.channels, of.output.height, of.output.width],
            norm: of.norm,
            weight_gradient: l2(&own),
            weight: weights[of.weight],
            agreement: None,
        });
        gradients.push(own);
    }
    if let Some(near) = near {
        stand(step, near);
        for ((of, layer), own) in step.reached().zip(&mut layers).zip(&gradients) {
            layer.agreement = Some(cosine(own, &gradient(step, of.weight)));
        }
    }
    Gradients { steps, loss, layers }
}

/// Runs a step that goes nowhere; the loss.
fn stand(step: &mut Step, batch: &Batch) -> f64 {
    let nowhere = Rate { rate: 0.0, momentum: 0.0, decay: 0.0 };
    mean(step.run(&batch.images, &batch.targets, nowhere).losses)
}

/// What such a step leaves of a layer's weights.
fn gradient(step: &Step, weight: &str) -> Vec<f32> {
    step.velocity(weight).expect("a layer's weights are learned")
}

/// The images of a batch, each moved in a direction of its own by a part of its norm.
fn moved_by(batch: &Batch, part: f64, seed: u64) -> Vec<f32> {
    let mut random = Random::of(&[seed, batch.images.len() as u64]);
    let len = batch.images.len() / batch.classes.len();
    let image = |image: &[f32]| {
        let direction: Vec<f32> = image.iter().map(|_| random.normal() as f32).collect();
        let scale = part * l2(image) / l2(&direction);
        let moved = image.iter().zip(&direction);
        moved.map(|(v, d)| (f64::from(*v) + scale * f64::from(*d)) as f32).collect::<Vec<f32>>()
    };
    batch.images.chunks(len).flat_map(image).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    dot / (l2(a) * l2(b))
}

fn mean(losses: &[f32]) -> f64 {
    losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / losses.len() as f64
}

fn l2(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

/// Where batches come from.
enum Batches<'a> {
    Drawn { of: ([usize; 3], usize), batch: usize, seed: u64 },
    Images { maker: Maker<'a, dyn Dataset + 'a>, order: Vec<usize> },
}

impl<'a> Batches<'a> {
    fn new(graph: &Graph, spec: &Spec, data: Option<&'a dyn Dataset>, options: &Options) -> Self {
        let (input, classes) = (graph.input_shape(), graph.output_shape().channels);
        let of = ([input.channels, input.height, input.width], classes);
        match data {
            None => Self::Drawn { of, batch: options.batch, seed: options.seed },
            Some(data) => {
                let maker = Maker::new(data, of, &spec.preprocess, options, 0);
                Self::Images { order: maker.order(), maker }
            }
        }
    }

    /// One after the other; after the last one of the images, the first one comes again.
    fn make(&self, index: usize) -> Result<Batch, TrainError> {
        match self {
            Self::Drawn { of, batch, seed } => Ok(drawn(*of, *batch, *seed, index)),
            Self::Images { maker, order } => {
                let batches = order.len() / maker.batch;
                maker.make(order, index % batches).map_err(TrainError::Data)
            }
        }
    }
}
