//! Weights in 8-bit integers.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use resnet_runtime::weights::{Weights, fold};

use super::error::QuantizeError;
use super::histogram::{Quantiser, decibels};
use super::layers::{Candidate, Stays};
use crate::graph::NodeId;

/// The largest weight.
const MOST: f64 = 127.0;

/// A layer's weights, folded, before and after rounding.
pub(super) struct Rounded {
    /// Those of which `input` is one.
    pub(super) trials: Vec<Quantiser>,
    pub(super) input: Quantiser,
    /// Before: in f32, which is what the f32 network computes with.
    pub(super) folded: Vec<f32>,
    pub(super) values: Vec<i8>,
    /// One an output channel.
    pub(super) scales: Vec<f32>,
    /// One an output channel.
    pub(super) bias: Vec<f32>,
    /// Sums of squares: of the layer's results in f32, and of the difference that rounding makes.
    pub(super) signal: f64,
    pub(super) noise: f64,
}

impl Rounded {
    /// The weights that the integers stand for.
    pub(super) fn dequantised(&self) -> Vec<f32> {
        let len = self.values.len() / self.scales.len();
        let channels = self.values.chunks(len).zip(&self.scales);
        channels
            .flat_map(|(values, scale)| values.iter().map(move |&q| f32::from(q) * scale))
            .collect()
    }

    /// Signal to noise of the weights, in decibels.
    pub(super) fn weight_snr_db(&self) -> f64 {
        let square = |value: f32| f64::from(value).powi(2);
        let signal: f64 = self.folded.iter().map(|&weight| square(weight)).sum();
        let pairs = self.folded.iter().zip(self.dequantised());
        decibels(signal, pairs.map(|(weight, rounded)| square(weight - rounded)).sum())
    }

    /// Signal to noise of the layer's results where it alone is quantised, in decibels.
    pub(super) fn output_snr_db(&self) -> f64 {
        decibels(self.signal, self.noise)
    }
}

/// Folds and rounds the weights of every layer that is quantised.
pub(super) fn round(
    layers: &[Candidate],
    inputs: &BTreeMap<NodeId, Vec<Quantiser>>,
    weights: &Weights,
) -> Result<Vec<Option<Rounded>>, QuantizeError> {
    let of = |layer: &Candidate| {
        let trials = inputs.get(&layer.activation).filter(|_| layer.stays.is_none());
        let Some((trials, &input)) = trials.and_then(|trials| Some((trials, trials.first()?)))
        else {
            return Ok(None);
        };
        let folded = fold(&layer.source, weights)?;
        let len = folded.weight.len() / folded.bias.len();
        let (mut values, mut scales) = (Vec::with_capacity(folded.weight.len()), Vec::new());
        for channel in folded.weight.chunks(len) {
            let scale = scale(channel);
            scales.push(scale);
            values.extend(channel.iter().map(|&weight| rounded(weight, scale.into()) as i8));
        }
        let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect();
        let (bias, folded) = (narrow(&folded.bias), narrow(&folded.weight));
        let (trials, signal, noise) = (trials.clone(), 0.0, 0.0);
        Ok(Some(Rounded { trials, input, folded, values, scales, bias, signal, noise }))
    };
    layers.iter().map(of).collect()
}

fn rounded(weight: f64, scale: f64) -> f64 {
    (weight / scale).round_ties_even().clamp(-MOST, MOST)
}

/// The scale of a channel's weights with the least squared error. A channel of zeros, which any scale suits, has 1.
fn scale(weights: &[f64]) -> f32 {
    let most = weights.iter().fold(0.0_f64, |most, weight| most.max(weight.abs()));
    let widest = (most / MOST) as f32;
    if !widest.is_normal() {
        return 1.0;
    }
    let error = |scale: f32| -> f64 {
        let scale = f64::from(scale);
        weights.iter().map(|&weight| (weight - scale * rounded(weight, scale)).powi(2)).sum()
    };
    // Less than half the range is never worth it: that would clip weights of twice the largest one.
    let trials = (0..=TRIALS).map(|trial| widest * (1.0 - 0.5 * trial as f32 / TRIALS as f32));
    let errors = trials.map(|scale| (error(scale), scale));
    errors.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(widest, |(_, scale)| scale)
}

/// Scales that are tried below the one that clips nothing.
const TRIALS: usize = 25;

/// Marks the `count` layers with the worst signal to noise.
pub(super) fn keep_worst(layers: &mut [Candidate], rounded: &[Option<Rounded>], count: usize) {
    let noise = |at: usize| rounded[at].as_ref().map_or(f64::INFINITY, Rounded::output_snr_db);
    let mut quantised: Vec<usize> =
        (0..layers.len()).filter(|&at| layers[at].stays.is_none()).collect();
    quantised.sort_by(|&a, &b| noise(a).partial_cmp(&noise(b)).unwrap_or(Ordering::Equal));
    for &at in quantised.iter().take(count) {
        layers[at].stays = Some(Stays::Worst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_of_zeros_has_a_scale_and_a_large_weight_is_not_clipped_for_nothing() {
        assert_eq!(scale(&[0.0; 9]), 1.0);
        assert_eq!(scale(&[1e-42, 0.0]), 1.0, "below the normal numbers");
        assert_eq!(scale(&[127.0, -64.0, 1.0]), 1.0, "exact");
        let weights: Vec<f64> = (0..1000).map(|n| f64::from(n % 251 - 125) / 1000.0).collect();
        let best = f64::from(scale(&weights));
        let error = |scale: f64| -> f64 {
            weights.iter().map(|&w| (w - scale * rounded(w, scale)).powi(2)).sum()
        };
        assert!(error(best) <= error(0.125 / MOST), "never worse than without clipping");
    }
}
