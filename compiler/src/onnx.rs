//! The network as an ONNX file: opset 17, any number of pictures unless one is fixed.
//!
//! It is written from the [`Graph`], so it is the network as its author meant it: batch norms are
//! nodes of their own (most runtimes fold them when they load a model), and the initialisers are the
//! tensors of the state dict under their own names, as `f32`, and nothing else.
//!
//! Weights go from their file to the ONNX file one tensor at a time. That works because a message
//! of Protocol Buffers is the concatenation of its fields: small parts are encoded from the
//! messages in `proto`, and the bytes of the tensors are written between them.
//!
//! Quantised layers are written as `QuantizeLinear` and `DequantizeLinear` around a convolution of real numbers,
//! of which a runtime makes one of bytes. Their bias, with the norm folded in, stays `f32`.

pub mod proto;
mod translate;

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::sync::Arc;

use prost::Message;
use prost::encoding::{
    WireType, encode_key, encode_varint, encoded_len_varint as varint_len, key_len,
};
use resnet_runtime::kernels::Element;
use resnet_runtime::weights::pack::Standard;
use resnet_runtime::weights::{Stored, TensorSpec, Weights, WeightsError};

use self::proto::{ModelProto, OperatorSetIdProto, TensorProto};
use crate::fuse::{Format, FusedId, FusedOp, fuse_values};
use crate::graph::{Graph, Node, Op};
use crate::plan::{self, PlanError};
use crate::schedule::Wishes;

/// ONNX 1.12. It has every operator needed here, and runtimes of the last years read it.
const OPSET: i64 = 17;

/// The file format of ONNX 1.12.
const IR_VERSION: i64 = 8;

/// Protocol Buffers count a message's bytes in an `int`.
const MOST_BYTES: u64 = (1 << 31) - 1;

/// Values that are converted to bytes at a time.
const CHUNK: usize = 1 << 14;

/// Why a network could not be written as an ONNX file.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// The weights do not fit the network, or cannot be used.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Weights are quantised that cannot be.
    #[error(transparent)]
    Quantised(#[from] PlanError),
    /// The file would be longer than the format allows.
    #[error(
        "the ONNX file would have {bytes} bytes; the format allows {MOST_BYTES} (2 GiB). \
         The network has {params} parameters of 4 bytes: use a smaller one"
    )]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// Parameters of the network.
        params: u64,
    },
    /// The file could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes `graph` with its `weights` to `sink`.
///
/// The input is called `input` (`N x C x H x W`), the output `output`: `N x classes` after a linear
/// layer, `N x C x H x W` in a network without one. `N` is `batch`, or a symbol: any number.
///
/// # Errors
///
/// Weights that do not fit, a file of more than 2 GiB (before anything is written), and what the sink says.
pub fn write(
    graph: &Graph,
    weights: &Weights,
    batch: Option<NonZeroU32>,
    sink: &mut dyn Write,
) -> Result<(), OnnxError> {
    let (tensors, scales) = quantised(graph, weights)?;
    weights.check(&tensors)?;
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "resnet".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        opset_import: vec![OperatorSetIdProto { version: OPSET, ..Default::default() }],
        ..ModelProto::default()
    };
    let translated = translate::translate(graph, &tensors, scales, batch);
    // Layers that read one activation have one scale: that of the first is written.
    let read: HashSet<&str> =
        translated.node.iter().flat_map(|node| &node.input).map(String::as_str).collect();
    let network = translated.encode_to_vec();
    let standardised: HashMap<&str, f64> = graph.nodes.iter().filter_map(standardised).collect();
    let tensors: Vec<Initializer> = tensors
        .iter()
        .filter(|tensor| read.contains(&*tensor.name))
        .map(|tensor| Initializer {
            standardise: standardised.get(&*tensor.name).copied(),
            ..Initializer::new(tensor)
        })
        .collect();
    let rest: u64 = tensors.iter().map(|tensor| field_len(proto::INITIALIZER, tensor.len())).sum();
    let network_len = network.len() as u64 + rest;
    let bytes = model.encoded_len() as u64 + field_len(proto::GRAPH, network_len);
    if bytes > MOST_BYTES {
        return Err(OnnxError::TooLarge { bytes, params: graph.params });
    }

    sink.write_all(&model.encode_to_vec())?;
    open_field(proto::GRAPH, network_len, sink)?;
    sink.write_all(&network)?;
    for tensor in &tensors {
        open_field(proto::INITIALIZER, tensor.len(), sink)?;
        tensor.write(weights, sink)?;
    }
    Ok(())
}

/// The tensors that a graph asks for, with those of quantised layers where these weights have such.
///
/// # Errors
///
/// Weights that are quantised and cannot be.
pub fn tensors(graph: &Graph, weights: &Weights) -> Result<Vec<TensorSpec>, PlanError> {
    Ok(quantised(graph, weights)?.0)
}

/// The tensors, and for each node the weight of the layer by whose scale its value is bytes, if it is.
fn quantised(
    graph: &Graph,
    weights: &Weights,
) -> Result<(Vec<TensorSpec>, Vec<Option<String>>), PlanError> {
    let quantised = weights.quantised();
    if quantised.is_empty() {
        return Ok((graph.tensors.clone(), vec![None; graph.nodes.len()]));
    }
    let (fused, values) = fuse_values(graph)?;
    let wishes = Wishes { quantised: Arc::new(quantised), ..Wishes::default() };
    let fused = plan::assigned(graph, fused, &wishes.quantised)?;
    let converts = |op: &FusedOp| matches!(op, FusedOp::Quantise | FusedOp::Dequantise);
    // The others are those that there were, in their order.
    let nodes: Vec<_> = fused.nodes.iter().filter(|node| !converts(&node.op)).collect();
    let scale = |id: FusedId| match &nodes[id.index()].format {
        Format::U8(weight) => Some(weight.clone()),
        Format::F32 | Format::Bf16 => None,
    };
    let scales = values.into_iter().map(|id| id.and_then(scale)).collect();
    Ok((plan::tensors(graph, &fused, &wishes)?, scales))
}

/// The tensor that a node standardises, and the epsilon.
fn standardised(node: &Node) -> Option<(&str, f64)> {
    match &node.op {
        Op::Conv { weight, standardise, .. } => standardise.map(|epsilon| (&weight[..], epsilon)),
        _ => None,
    }
}

/// A tensor of the weights, on its way.
struct Initializer<'a> {
    name: &'a str,
    /// All fields but the values.
    header: Vec<u8>,
    /// What its elements are.
    stored: Stored,
    /// Bytes of the values.
    values: u64,
    /// Values of an output channel.
    channel: usize,
    /// The epsilon with which a convolution standardises it. A file is written of what comes out: ONNX
    /// has no operator for it.
    standardise: Option<f64>,
}

impl<'a> Initializer<'a> {
    fn new(spec: &'a TensorSpec) -> Self {
        let (data_type, size) = match spec.stored {
            Stored::Float => (proto::FLOAT, Element::F32.bytes()),
            Stored::I8 => (proto::INT8, 1),
            Stored::U8 => (proto::UINT8, 1),
        };
        let header = TensorProto {
            dims: spec.shape.iter().map(|&size| size as i64).collect(),
            data_type,
            name: spec.name.to_string(),
            ..TensorProto::default()
        };
        let elements: usize = spec.shape.iter().product();
        Self {
            name: &spec.name,
            header: header.encode_to_vec(),
            stored: spec.stored,
            values: (elements * size) as u64,
            channel: spec.shape.iter().skip(1).product(),
            standardise: None,
        }
    }

    /// Bytes of the whole message.
    fn len(&self) -> u64 {
        self.header.len() as u64 + field_len(proto::RAW_DATA, self.values)
    }

    fn write(&self, weights: &Weights, sink: &mut dyn Write) -> Result<(), OnnxError> {
        sink.write_all(&self.header)?;
        open_field(proto::RAW_DATA, self.values, sink)?;
        if self.stored != Stored::Float {
            let mut bytes = Vec::new();
            weights.read_bytes(self.name, 0..self.values as usize, &mut bytes)?;
            return Ok(sink.write_all(&bytes)?);
        }
        let mut tensor = weights.tensor(self.name)?;
        if let Some(epsilon) = self.standardise {
            for values in tensor.values.chunks_mut(self.channel) {
                let Standard { mean, scale } = Standard::of(values, epsilon);
                let standard = |value: f32| ((f64::from(value) - mean) * scale) as f32;
                values.iter_mut().for_each(|value| *value = standard(*value));
            }
        }
        let mut bytes = Vec::with_capacity(CHUNK * Element::F32.bytes());
        for values in tensor.values.chunks(CHUNK) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            sink.write_all(&bytes)?;
        }
        Ok(())
    }
}

/// Bytes of a field whose content has `len` bytes.
fn field_len(number: u32, len: u64) -> u64 {
    (key_len(number) + varint_len(len)) as u64 + len
}

/// Writes what precedes a field's content of `len` bytes.
fn open_field(number: u32, len: u64, sink: &mut dyn Write) -> io::Result<()> {
    let mut prefix = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut prefix);
    encode_varint(len, &mut prefix);
    sink.write_all(&prefix)
}

#[cfg(test)]
mod tests;
