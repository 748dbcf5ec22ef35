//! Post-training quantisation: from weights in f32 and some pictures to weights in 8-bit integers.
//!
//! ```text
//! layers     which convolutions are quantised, and which activation each reads
//! calibrate  the f32 network over the pictures: a histogram of each of these activations
//! histogram  a range, by one of the methods, and from it a scale and a zero point
//! weights    folded, and rounded to a scale for each output channel
//! measure    each layer alone, its input and weights rounded, over the pictures: the error's mean, which goes
//!            into the bias, and the signal to noise, by which the range of an input is chosen of a few, and the
//!            worst layers can be kept
//! file       the tensors
//! ```
//!
//! An activation of the value `x` is `scale * (q - zero_point)` with `q` of 0 to 255, a weight `scale * q` with
//! `q` of -127 to 127. The same input makes the same bytes on any number of threads: counts are integers, and
//! other sums are taken in the order of the pictures.

mod calibrate;
mod error;
mod file;
mod histogram;
mod layers;
mod measure;
mod pictures;
mod report;
mod weights;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use resnet_runtime::kernels::Isa;
use resnet_runtime::weights::{LoadError, Weights, all_threads};

use crate::fuse::fuse;
use crate::graph::{Graph, NodeId};
use crate::network;
use crate::plan::PlanError;
use crate::spec::Spec;

pub use error::QuantizeError;
pub use file::Quantized;
pub use report::{Input, Layer, Precision, Report};

use histogram::{Histogram, Quantiser};
use layers::{Candidate, Stays};
pub use pictures::Load;
use pictures::Pictures;

/// How an activation's range is chosen of the values that it had.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Method {
    /// All of them: nothing is clipped.
    MinMax,
    /// All but the outermost: so many of a hundred are no larger than the range's end, and as many no smaller
    /// than its beginning.
    Percentile(f64),
    /// The range whose rounding and clipping make the least squared error, or a wider one, up to all of them, with
    /// which the results of the layers that read it have hardly more noise.
    #[default]
    LeastSquares,
}

/// What `percentile` alone means.
const PERCENTILE: f64 = 99.99;

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinMax => f.write_str("min-max"),
            Self::Percentile(percent) => write!(f, "percentile={percent}"),
            Self::LeastSquares => f.write_str("least-squares"),
        }
    }
}

/// The name of a method that there is not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "`{0}` is no method; there are: min-max, percentile, percentile=P with P of 50 to 100, least-squares"
)]
pub struct UnknownMethod(String);

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(name: &str) -> Result<Self, UnknownMethod> {
        match name {
            "min-max" => Ok(Self::MinMax),
            "percentile" => Ok(Self::Percentile(PERCENTILE)),
            "least-squares" => Ok(Self::LeastSquares),
            _ => {
                let percent = name.strip_prefix("percentile=").and_then(|text| text.parse().ok());
                let percent = percent.filter(|percent| (50.0..=100.0).contains(percent));
                percent.map(Self::Percentile).ok_or_else(|| UnknownMethod(name.to_owned()))
            }
        }
    }
}

/// How to quantise.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How activations' ranges are chosen.
    pub method: Method,
    /// Layers that stay in f32: by their names, or those of rows or blocks that they are in.
    pub keep: Vec<String>,
    /// So many more stay in f32, those with the worst signal to noise.
    pub keep_worst: usize,
    /// Threads, each of which takes a picture after the other.
    pub threads: NonZeroUsize,
    /// The instruction set that runs the f32 network; the best one of this CPU if none is named.
    pub isa: Option<Isa>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            method: Method::default(),
            keep: Vec::new(),
            keep_worst: 0,
            threads: all_threads(),
            isa: None,
        }
    }
}

/// What became of a picture in one of the passes over them.
#[derive(Debug)]
pub enum Seen<E> {
    /// It was taken, and perhaps is doubtful.
    Taken(Option<String>),
    /// It could not be had, and is left out.
    Failed(E),
    /// It was taken once more.
    Again,
}

/// How often each picture is read.
pub const PASSES: usize = 2;

/// Quantises a network whose weights are in f32 over `len` pictures, of which `load` writes one, planar and
/// preprocessed, as [`DynSession::run`](resnet_runtime::session::DynSession::run) takes it, and answers with
/// what is doubtful about it. `each` is told what became of each, in order, [`PASSES`] times.
///
/// # Errors
///
/// Whatever compiling and loading the f32 network can say; weights that are quantised already, or packed; a
/// layer to keep that there is not; nothing to quantise; no picture; an activation that is not finite.
pub fn quantize<E: Send>(
    spec: &Spec,
    weights: &Weights,
    len: usize,
    load: Load<'_, E>,
    options: &Options,
    mut each: impl FnMut(usize, Seen<E>),
) -> Result<Quantized, QuantizeError> {
    let graph = Graph::build(spec).map_err(network::CompileError::from)?;
    check_unquantised(weights)?;
    weights.check(&graph.tensors).map_err(LoadError::from)?;
    let fused =
        fuse(&graph).map_err(|error| network::CompileError::from(PlanError::from(error)))?;
    let mut candidates = layers::candidates(&graph, &fused);
    layers::keep(&mut candidates, &options.keep)?;
    if candidates.iter().all(|layer| layer.stays.is_some()) {
        return Err(QuantizeError::Nothing {
            network: graph.name.clone(),
            reasons: candidates.iter().map(Candidate::why).collect(),
        });
    }
    if len == 0 {
        return Err(QuantizeError::NoPictures { failed: 0 });
    }
    let mut pictures = Pictures::new(len, load, options.threads);
    let network_options = network::Options { isa: options.isa, ..network::Options::default() };
    let calibration = calibrate::calibrate(
        &graph,
        &candidates,
        weights,
        &network_options,
        &mut pictures,
        &mut each,
    )?;
    let inputs = ranges(&calibration.histograms, options.method);
    for layer in candidates.iter_mut().filter(|layer| layer.stays.is_none()) {
        if inputs[&layer.activation].is_empty() {
            layer.stays = Some(Stays::Silent);
        }
    }
    let mut rounded = weights::round(&candidates, &inputs, weights)?;
    measure::measure(
        &calibration,
        &candidates,
        &mut rounded,
        &network_options,
        &mut pictures,
        &mut each,
    )?;
    weights::keep_worst(&mut candidates, &rounded, options.keep_worst);
    let report = report::report(&graph, &candidates, &calibration, &rounded, options);
    if report.layers.iter().all(|layer| layer.precision == Precision::F32) {
        return Err(QuantizeError::Nothing {
            network: graph.name.clone(),
            reasons: candidates.iter().map(Candidate::why).collect(),
        });
    }
    file::assemble(&graph, &candidates, &rounded, weights, report)
}

/// The quantisers of each activation that are tried; none where it is zero in every picture.
fn ranges(
    histograms: &BTreeMap<NodeId, Histogram>,
    method: Method,
) -> BTreeMap<NodeId, Vec<Quantiser>> {
    let of = |(&id, histogram): (&NodeId, &Histogram)| {
        // A picture's own values are all of one kind, and its outermost ones as common as others.
        let method = if id == NodeId(0) { Method::MinMax } else { method };
        (id, histogram.trials(method))
    };
    histograms.iter().map(of).collect()
}

/// Refuses weights that are quantised already.
///
/// # Errors
///
/// [`QuantizeError::Already`].
pub fn check_unquantised(weights: &Weights) -> Result<(), QuantizeError> {
    match weights.quantised().pop_first() {
        None => Ok(()),
        Some(tensor) => Err(QuantizeError::Already { origin: weights.origin().to_owned(), tensor }),
    }
}
