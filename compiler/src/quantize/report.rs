//! What was done to each layer, and what it costs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Options;
use super::calibrate::Calibration;
use super::histogram::Quantiser;
use super::layers::Candidate;
use super::weights::Rounded;
use crate::graph::{Graph, NodeId};

/// A quantisation, layer by layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The network's name.
    pub network: String,
    /// How ranges were chosen.
    pub method: String,
    /// Pictures that the network was calibrated on.
    pub pictures: usize,
    /// Every convolution and linear layer, in the table's order.
    pub layers: Vec<Layer>,
}

/// What a layer is computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 8-bit integers.
    Int8,
    /// As before.
    F32,
}

/// A convolution or a linear layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// Its name in the table.
    pub name: String,
    /// The name of its weight tensor.
    pub weight: String,
    /// What it is computed in.
    pub precision: Precision,
    /// Why it stays in f32, if it does.
    pub reason: Option<String>,
    /// Multiply-adds for one picture.
    pub macs: u64,
    /// What it reads, if it can be quantised.
    pub input: Option<Input>,
    /// Signal to noise of the folded weights, in decibels; `None` of a layer that cannot be quantised, and
    /// in JSON where there is no noise.
    pub weight_snr_db: Option<f64>,
    /// Signal to noise of the layer's results, before a residual is added and its activation applied, where this
    /// layer alone is quantised; in decibels.
    pub output_snr_db: Option<f64>,
}

/// An activation that a layer reads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Input {
    /// The smallest value in all pictures, or 0.
    pub low: f32,
    /// The largest value in all pictures, or 0.
    pub high: f32,
    /// The distance of two neighbouring values.
    pub scale: f32,
    /// The integer that stands for 0.
    pub zero_point: u8,
    /// The part of all values, of 1, that the range leaves outside.
    pub clipped: f64,
    /// Signal to noise of its values, in decibels.
    pub snr_db: f64,
}

pub(super) fn report(
    graph: &Graph,
    layers: &[Candidate],
    calibration: &Calibration,
    rounded: &[Option<Rounded>],
    options: &Options,
) -> Report {
    let activations: BTreeMap<NodeId, Quantiser> = layers
        .iter()
        .zip(rounded)
        .filter_map(|(layer, rounded)| Some((layer.activation, rounded.as_ref()?.input)))
        .collect();
    let described: BTreeMap<NodeId, Input> = activations
        .iter()
        .map(|(&id, quantiser)| (id, describe(calibration, id, quantiser)))
        .collect();
    let layer = |(layer, rounded): (&Candidate, &Option<Rounded>)| Layer {
        name: layer.name.clone(),
        weight: layer.source.weight.to_string(),
        precision: if layer.stays.is_none() { Precision::Int8 } else { Precision::F32 },
        reason: layer.stays.map(|stays| stays.to_string()),
        macs: layer.macs,
        input: rounded.as_ref().and_then(|_| described.get(&layer.activation).cloned()),
        weight_snr_db: rounded.as_ref().map(Rounded::weight_snr_db),
        output_snr_db: rounded.as_ref().map(Rounded::output_snr_db),
    };
    Report {
        network: graph.name.clone(),
        method: options.method.to_string(),
        pictures: calibration.pictures,
        layers: layers.iter().zip(rounded).map(layer).collect(),
    }
}

fn describe(calibration: &Calibration, id: NodeId, quantiser: &Quantiser) -> Input {
    let histogram = &calibration.histograms[&id];
    let [low, high] = histogram.range();
    Input {
        low,
        high,
        scale: quantiser.scale,
        zero_point: quantiser.zero_point,
        clipped: histogram.clipped(quantiser),
        snr_db: histogram.snr_db(quantiser),
    }
}
