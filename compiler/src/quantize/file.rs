//! The quantised weights as a safetensors file.
//!
//! Of a quantised layer whose weight tensor is `X.weight` there are `X.weight` (I8, in the order that it has in
//! f32), `X.weight_scale` (F32, one an output channel), `X.bias` (F32, batch norm folded in), `X.input_scale`
//! (F32) and `X.input_zero_point` (U8), one each. Other layers' tensors are as they were, in F32.

use std::collections::{BTreeSet, HashMap};
use std::io;

use resnet_runtime::weights::quantised::{Names, module};
use resnet_runtime::weights::{LoadError, Weights};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

use super::error::QuantizeError;
use super::layers::Candidate;
use super::report::Report;
use super::weights::Rounded;
use crate::graph::Graph;

/// A quantised network's weights.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// What was done to each layer.
    pub report: Report,
    bytes: Vec<u8>,
}

impl Quantized {
    /// The weights as a safetensors file, which [`Weights::from_bytes`] takes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes them.
    ///
    /// # Errors
    ///
    /// What `out` says.
    pub fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(&self.bytes)
    }
}

/// A tensor of the file.
struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    fn floats(name: String, shape: Vec<usize>, values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { name, dtype: Dtype::F32, shape, bytes }
    }
}

/// Writes the layers that are quantised, and the others' tensors as they are.
pub(super) fn assemble(
    graph: &Graph,
    layers: &[Candidate],
    rounded: &[Option<Rounded>],
    weights: &Weights,
    report: Report,
) -> Result<Quantized, QuantizeError> {
    let mut tensors = Vec::new();
    let mut folded = BTreeSet::new();
    for (layer, rounded) in layers.iter().zip(rounded) {
        let Some(rounded) = rounded.as_ref().filter(|_| layer.stays.is_none()) else { continue };
        let source = &layer.source;
        folded.insert(source.weight.as_ref());
        folded.extend(source.bias.as_deref());
        folded.extend(source.norm.iter().flat_map(|norm| norm.names()));
        let shape = weights.shape(&source.weight).map_err(LoadError::from)?;
        tensors.extend(quantised(&source.weight, shape, rounded));
    }
    for spec in graph.tensors.iter().filter(|spec| !folded.contains(spec.name.as_ref())) {
        let tensor = weights.tensor(&spec.name).map_err(LoadError::from)?;
        tensors.push(Tensor::floats(spec.name.to_string(), tensor.shape.to_vec(), &tensor.values));
    }
    let bytes = serialise(&tensors, &report).map_err(QuantizeError::Format)?;
    Ok(Quantized { report, bytes })
}

fn quantised(weight: &str, shape: &[usize], rounded: &Rounded) -> [Tensor; 5] {
    let names = Names::of(module(weight));
    let channels = vec![rounded.scales.len()];
    let bytes = rounded.values.iter().map(|value| value.cast_unsigned()).collect();
    let zero_point = vec![rounded.input.zero_point];
    [
        Tensor { name: weight.to_owned(), dtype: Dtype::I8, shape: shape.to_vec(), bytes },
        Tensor::floats(names.weight_scale, channels.clone(), &rounded.scales),
        Tensor::floats(names.bias, channels, &rounded.bias),
        Tensor::floats(names.input_scale, vec![1], &[rounded.input.scale]),
        Tensor {
            name: names.input_zero_point,
            dtype: Dtype::U8,
            shape: vec![1],
            bytes: zero_point,
        },
    ]
}

fn serialise(tensors: &[Tensor], report: &Report) -> Result<Vec<u8>, String> {
    let views = tensors.iter().map(view).collect::<Result<Vec<_>, _>>()?;
    // One entry alone: several would be written in an order of their own each time.
    let about = json!({
        "made_by": concat!("resnet ", env!("CARGO_PKG_VERSION")),
        "method": report.method,
        "network": report.network,
        "pictures": report.pictures,
    });
    let metadata = HashMap::from([("quantization".to_owned(), about.to_string())]);
    safetensors::serialize(views, Some(metadata)).map_err(|error| error.to_string())
}

fn view(tensor: &Tensor) -> Result<(String, TensorView<'_>), String> {
    let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
    Ok((tensor.name.clone(), view.map_err(|error| error.to_string())?))
}
