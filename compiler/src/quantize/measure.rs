//! Each layer alone over the pictures: what rounding its input and weights does to its results.
//!
//! The same convolution runs with the weights and the input as they are, and with the weights and the input rounded by each
//! quantiser that is tried. All are f32, whose own rounding is a ten-thousandth of what is measured.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use resnet_runtime::session::Network;
use resnet_runtime::weights::{Init, LoadError, Stored, TensorSpec, Weights};
use safetensors::tensor::{Dtype, TensorView};

use super::Seen;
use super::calibrate::Calibration;
use super::error::QuantizeError;
use super::histogram::Quantiser;
use super::layers::Candidate;
use super::pictures::Pictures;
use super::weights::Rounded;
use crate::graph::{Graph, Node, NodeId, Op};
use crate::network::{Compiled, Options};

/// How much more noise a wider range may make: 1 dB. Pictures that were not calibrated on go beyond the range of those that were,
/// so that they lose more by a narrow one.
const LITTLE_MORE: f64 = 1.26;

/// A layer alone, with its two kinds of weights.
struct Pair {
    at: usize,
    exact: Box<dyn Network>,
    rounded: Box<dyn Network>,
}

/// What a picture adds to a layer's sums.
struct Sums {
    /// Of the errors, of each output channel.
    errors: Vec<f64>,
    squares: f64,
    signal: f64,
}

/// Measures every rounded layer's signal and noise with each quantiser of its input, chooses that of each activation, and
/// takes the error's mean out of the biases.
pub(super) fn measure<E: Send>(
    calibration: &Calibration,
    layers: &[Candidate],
    rounded: &mut [Option<Rounded>],
    options: &Options,
    pictures: &mut Pictures<'_, E>,
    each: impl FnMut(usize, Seen<E>),
) -> Result<(), QuantizeError> {
    let threads = pictures.threads();
    let mut pairs = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        if let Some(rounded) = &rounded[at] {
            pairs.push(pair(at, layer, rounded, options, threads)?);
        }
    }
    let of_layer = &*rounded;
    let trials = |at: usize| of_layer[at].as_ref().map_or(&[][..], |rounded| &rounded.trials);
    let zero = |pair: &Pair| {
        trials(pair.at).iter().map(|_| Sums::zero(layers[pair.at].output.channels)).collect()
    };
    let mut sums: Vec<Vec<Sums>> = pairs.iter().map(zero).collect();
    let mut workers = calibration.sessions(pictures.workers())?;
    let mut taken = 0.0;
    pictures.pass(
        calibration.input_len(),
        &mut workers,
        |session, _, picture| {
            let activations = calibration.run(&mut **session, picture);
            let of = |pair: &Pair| {
                let layer = &layers[pair.at];
                let input = activations.of(layer.reads);
                let exact = run(&*pair.exact, input)?;
                let try_one = |quantiser: &Quantiser| {
                    let coarse: Vec<f32> = input.iter().map(|&v| quantiser.round(v)).collect();
                    Ok(Sums::of(&exact, &run(&*pair.rounded, &coarse)?, layer.output.pixels()))
                };
                trials(pair.at).iter().map(try_one).collect::<Result<Vec<_>, QuantizeError>>()
            };
            pairs.iter().map(of).collect::<Result<Vec<_>, QuantizeError>>()
        },
        |picture| {
            taken += 1.0;
            sums.iter_mut()
                .flatten()
                .zip(picture.iter().flatten())
                .for_each(|(all, one)| all.add(one));
        },
        each,
    )?;
    let counts: Vec<f64> =
        pairs.iter().map(|pair| taken * layers[pair.at].output.pixels() as f64).collect();
    // The noise that each trial makes of an activation's, as a part of the signal, in all layers that read it.
    let mut noises: BTreeMap<NodeId, Vec<f64>> = BTreeMap::new();
    for ((pair, sums), count) in pairs.iter().zip(&sums).zip(&counts) {
        let all = noises.entry(layers[pair.at].activation).or_insert_with(|| vec![0.0; sums.len()]);
        for (all, sums) in all.iter_mut().zip(sums) {
            *all += if sums.signal > 0.0 { sums.noise(*count) / sums.signal } else { 0.0 };
        }
    }
    for ((pair, mut sums), count) in pairs.iter().zip(sums).zip(counts) {
        let noise = &noises[&layers[pair.at].activation];
        let least = noise.iter().fold(f64::INFINITY, |least, noise| least.min(*noise));
        let best = noise.iter().position(|noise| *noise <= LITTLE_MORE * least);
        if let (Some(rounded), Some(best)) = (&mut rounded[pair.at], best) {
            let sums = sums.swap_remove(best);
            for (bias, sum) in rounded.bias.iter_mut().zip(&sums.errors) {
                *bias = (f64::from(*bias) - sum / count) as f32;
            }
            rounded.input = rounded.trials[best];
            (rounded.signal, rounded.noise) = (sums.signal, sums.noise(count));
        }
    }
    Ok(())
}

impl Sums {
    fn zero(channels: usize) -> Self {
        Self { errors: vec![0.0; channels], squares: 0.0, signal: 0.0 }
    }

    /// Of a layer's results for a picture, planar.
    fn of(exact: &[f32], rounded: &[f32], pixels: usize) -> Self {
        let mut sums = Self::zero(exact.len() / pixels);
        let planes = exact.chunks(pixels).zip(rounded.chunks(pixels));
        for ((exact, rounded), error) in planes.zip(&mut sums.errors) {
            for (&exact, &rounded) in exact.iter().zip(rounded) {
                let difference = f64::from(rounded) - f64::from(exact);
                *error += difference;
                sums.squares += difference * difference;
                sums.signal += f64::from(exact).powi(2);
            }
        }
        sums
    }

    /// The squares of the errors less their mean in each channel, over so many values of each.
    fn noise(&self, count: f64) -> f64 {
        let means: f64 = self.errors.iter().map(|sum| sum * sum / count).sum();
        (self.squares - means).max(0.0)
    }

    fn add(&mut self, other: &Self) {
        self.errors.iter_mut().zip(&other.errors).for_each(|(sum, error)| *sum += error);
        self.squares += other.squares;
        self.signal += other.signal;
    }
}

fn run(network: &dyn Network, input: &[f32]) -> Result<Vec<f32>, QuantizeError> {
    // Its memory is given back at once: all layers' together would be many times one network's.
    let mut session = network.session_in(None).map_err(QuantizeError::Memory)?;
    let answer = session.run(input).expect("the input has the layer's shape");
    Ok(answer.to_vec())
}

fn pair(
    at: usize,
    layer: &Candidate,
    rounded: &Rounded,
    options: &Options,
    threads: NonZeroUsize,
) -> Result<Pair, QuantizeError> {
    let compiled = Compiled::of_graph(alone(layer), options)?;
    let shape = &compiled.tensors()[0].shape;
    let load = |weight: &[f32]| {
        let weights = in_memory(shape, weight, &rounded.bias)?;
        Ok::<_, QuantizeError>(compiled.load_on(&weights, threads)?)
    };
    Ok(Pair { at, exact: load(&rounded.folded)?, rounded: load(&rounded.dequantised())? })
}

const WEIGHT: &str = "weight";
const BIAS: &str = "bias";

/// A network that is one convolution, of what the layer reads.
fn alone(layer: &Candidate) -> Graph {
    let &Candidate { window, groups, input, output, macs, .. } = layer;
    let bias = Some(BIAS.to_owned());
    let op = Op::Conv { window, groups, weight: WEIGHT.into(), bias, standardise: None };
    let node = |name: &str, op, inputs, shape| Node {
        name: name.into(),
        row: None,
        block: None,
        op,
        inputs,
        shape,
    };
    let kernel = window.kernel;
    let weight = [output.channels, input.channels / groups, kernel.rows, kernel.columns];
    let tensor = |name: &'static str, shape: Vec<usize>| TensorSpec {
        name: name.into(),
        shape: shape.into(),
        stored: Stored::Float,
        init: Init::Normal(1.0),
    };
    Graph {
        name: layer.name.clone(),
        nodes: vec![
            node("input", Op::Input, Vec::new(), input),
            node(&layer.name, op, vec![NodeId(0)], output),
        ],
        output: NodeId(1),
        features: Vec::new(),
        rest: Vec::new(),
        depth: 1,
        params: (weight.iter().product::<usize>() + output.channels) as u64,
        macs,
        tensors: vec![tensor(WEIGHT, weight.to_vec()), tensor(BIAS, vec![output.channels])],
    }
}

/// Weights of a convolution.
fn in_memory(shape: &[usize], weight: &[f32], bias: &[f32]) -> Result<Weights, QuantizeError> {
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let (weight, bias_bytes) = (bytes(weight), bytes(bias));
    let view = |shape: &[usize], bytes| {
        TensorView::new(Dtype::F32, shape.to_vec(), bytes)
            .map_err(|error| QuantizeError::Format(error.to_string()))
    };
    let tensors = [(WEIGHT, view(shape, &weight)?), (BIAS, view(&[bias.len()], &bias_bytes)?)];
    let file = safetensors::serialize(tensors, None)
        .map_err(|error| QuantizeError::Format(error.to_string()))?;
    Ok(Weights::from_bytes(file).map_err(LoadError::from)?)
}
