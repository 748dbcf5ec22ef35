//! Which activations of a quantised network are bytes.
//!
//! Convolutions are quantised or not, as their weights are. An activation that a quantised one reads,
//! through max pools too, is written as bytes by whatever can write them; everything else stays `f32`, so
//! that a value is rounded where a product needs it and nowhere else. Where a writer and a reader differ, a
//! node between them converts.

use std::collections::{BTreeMap, BTreeSet};

use resnet_runtime::kernels::Element;
use resnet_runtime::weights::quantised::{Names, module};
use resnet_runtime::weights::{QuantisedSource, Stored, TensorSpec};

use super::quantisable::{Kept, quantisable};
use super::{Conv, Epilogue, Fused, FusedId, FusedNode, FusedOp, Residual};

/// Names of the weight tensors that are quantised.
pub(crate) type Quantised = BTreeSet<String>;

/// What an activation consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Real numbers.
    F32,
    /// Real numbers in half as many bytes.
    Bf16,
    /// Bytes, of the scale and zero point with which the layer of this weight reads them.
    U8(String),
}

impl Format {
    /// The elements.
    pub fn element(&self) -> Element {
        match self {
            Self::F32 => Element::F32,
            Self::Bf16 => Element::Bf16,
            Self::U8(_) => Element::U8,
        }
    }
}

impl Fused {
    /// The convolutions.
    pub(crate) fn convs(&self) -> impl Iterator<Item = &Conv> {
        self.nodes.iter().filter_map(|node| match &node.op {
            FusedOp::Conv(conv) => Some(conv),
            _ => None,
        })
    }
}

/// Weights are quantised in a way for which there is no arithmetic.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QuantisedError {
    /// The layer's operators do not go together with bytes.
    #[error("the weights of `{weight}` are quantised, but {reason}: keep this layer in f32")]
    Layer {
        /// The weight.
        weight: String,
        /// Why not.
        reason: Kept,
    },
    /// It is no weight of a layer.
    #[error(
        "the elements of `{0}` are bytes, but the table has no convolution or linear layer of that weight"
    )]
    Unknown(String),
}

/// Decides the formats of all activations, of a network of whose convolutions those with these weights
/// are quantised.
///
/// # Errors
///
/// Weights of no layer, or of one that cannot be quantised.
pub(crate) fn assign(fused: Fused, quantised: &Quantised) -> Result<Fused, QuantisedError> {
    if quantised.is_empty() {
        return Ok(fused);
    }
    let mut left: BTreeSet<&str> = quantised.iter().map(String::as_str).collect();
    let layers = quantisable(&fused);
    let mut nodes = fused.nodes;
    for (id, verdict) in layers {
        let FusedOp::Conv(conv) = &mut nodes[id.index()].op else { continue };
        if left.remove(&*conv.weight) {
            match verdict {
                // A file may say otherwise than `quantize` would.
                Ok(()) | Err(Kept::Gate) => conv.element = Element::U8,
                Err(reason) => {
                    return Err(QuantisedError::Layer { weight: conv.weight.clone(), reason });
                }
            }
        }
    }
    if let Some(weight) = left.pop_first() {
        return Err(QuantisedError::Unknown(weight.to_owned()));
    }
    let wanted = wanted(&nodes);
    let mut assigner = Assigner { new: Rewriter::new(), wanted };
    for node in nodes {
        assigner.node(node);
    }
    Ok(assigner.new.finish(fused.outputs, &FusedOp::Dequantise, DEQUANTISE))
}

/// Those of the quantised weights that a layer has which is computed: one after the last feature is not.
pub(crate) fn computed(fused: &Fused, quantised: &Quantised) -> Quantised {
    fused.convs().filter_map(|conv| quantised.get(&conv.weight).cloned()).collect()
}

/// The tensors of a network of these convolutions: in the place of a quantised layer's, those of
/// [`quantised`](resnet_runtime::weights::quantised).
pub(crate) fn tensors<'a>(
    tensors: &[TensorSpec],
    convs: impl Iterator<Item = &'a Conv>,
) -> Vec<TensorSpec> {
    let mut replaced: BTreeMap<&str, bool> = BTreeMap::new();
    for conv in convs.filter(|conv| conv.quantised()) {
        replaced.extend(conv.folded().map(|name| (name, false)));
        replaced.insert(&conv.weight, true);
    }
    let mut list = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        match replaced.get(&*tensor.name) {
            None => list.push(tensor.clone()),
            Some(false) => {}
            Some(true) => list.extend(layer(tensor)),
        }
    }
    list
}

/// The layers by whose scales a quantised convolution is computed.
pub(crate) fn source(fused: &Fused, node: &FusedNode, conv: &Conv) -> QuantisedSource {
    let scale = |format: &Format| match format {
        Format::U8(weight) => Some(weight.clone().into()),
        Format::F32 | Format::Bf16 => None,
    };
    let of = |id| scale(&fused.node(id).format);
    QuantisedSource {
        weight: conv.weight.clone().into(),
        input: node.input.and_then(of).expect("a quantised convolution reads bytes"),
        residual: node.epilogue.residual.and_then(|r| of(r.source())),
        output: scale(&node.format),
        activation: node.epilogue.activation,
    }
}

/// The tensors of a quantised layer, whose weight would otherwise be `weight`.
fn layer(weight: &TensorSpec) -> [TensorSpec; 5] {
    let Names { weight_scale, bias, input_scale, input_zero_point } =
        Names::of(module(&weight.name));
    let (init, outputs) = (weight.init, weight.shape[0]);
    let spec = |name: String, len: usize, stored| TensorSpec {
        name: name.into(),
        shape: vec![len].into(),
        stored,
        init,
    };
    [
        TensorSpec { stored: Stored::I8, ..weight.clone() },
        spec(weight_scale, outputs, Stored::Float),
        spec(bias, outputs, Stored::Float),
        spec(input_scale, 1, Stored::Float),
        spec(input_zero_point, 1, Stored::U8),
    ]
}

/// Of each node that is wanted as bytes, the layer whose scale these have.
fn wanted(nodes: &[FusedNode]) -> Vec<Option<String>> {
    let mut wanted = vec![None; nodes.len()];
    for node in nodes {
        if let (FusedOp::Conv(conv), Some(input)) = (&node.op, node.input)
            && conv.quantised()
        {
            let scale = &mut wanted[input.index()];
            scale.get_or_insert_with(|| conv.weight.clone());
        }
    }
    for (index, node) in nodes.iter().enumerate().rev() {
        if let (true, Some(input)) = (passes_bytes(&node.op), node.input)
            && wanted[input.index()].is_none()
        {
            wanted[input.index()] = wanted[index].clone();
        }
    }
    wanted
}

/// Whether an operator makes bytes of bytes, of the same scale.
fn passes_bytes(op: &FusedOp) -> bool {
    matches!(op, FusedOp::Pool(pool) if pool.selects())
}

/// What has become of a node's value.
#[derive(Clone, Copy)]
struct Value {
    /// As it was computed.
    first: FusedId,
    /// Converted.
    other: Option<FusedId>,
}

/// A graph that is written anew, with conversions where a writer and a reader differ. Ids that it is given are of the
/// graph before, those that it answers with of the new one.
pub(super) struct Rewriter {
    nodes: Vec<FusedNode>,
    /// One a node of the graph before.
    values: Vec<Value>,
}

impl Rewriter {
    pub(super) fn new() -> Self {
        Self { nodes: Vec::new(), values: Vec::new() }
    }

    /// How many nodes of the graph before are written.
    fn len(&self) -> usize {
        self.values.len()
    }

    /// The value of a node as it was computed.
    pub(super) fn first(&self, id: FusedId) -> FusedId {
        self.values[id.index()].first
    }

    /// What the value of a node consists of, as it was computed.
    pub(super) fn element(&self, id: FusedId) -> Element {
        self.nodes[self.first(id).index()].format.element()
    }

    /// The value of a node in a format: converted by `op`, if it is another.
    pub(super) fn converted(
        &mut self,
        id: FusedId,
        format: Format,
        op: FusedOp,
        verb: &str,
    ) -> FusedId {
        let Value { first, other } = self.values[id.index()];
        if self.element(id) == format.element() {
            return first;
        }
        if let Some(other) = other {
            return other;
        }
        let from = &self.nodes[first.index()];
        let node = FusedNode {
            name: format!("{}.{verb}", from.name),
            op,
            input: Some(first),
            format,
            ..from.clone()
        };
        let other = self.push(FusedNode { epilogue: Epilogue::NONE, ..node });
        self.values[id.index()].other = Some(other);
        other
    }

    /// Writes the next node, whose reads are rewritten.
    pub(super) fn node(&mut self, node: FusedNode) {
        let first = self.push(node);
        self.values.push(Value { first, other: None });
    }

    /// The graph, whose answers are in `f32`: converted by `op`, where they are not.
    pub(super) fn finish(mut self, outputs: Vec<FusedId>, op: &FusedOp, verb: &str) -> Fused {
        let answer = |id| self.converted(id, Format::F32, op.clone(), verb);
        let outputs = outputs.into_iter().map(answer).collect();
        Fused { nodes: self.nodes, outputs }
    }

    fn push(&mut self, node: FusedNode) -> FusedId {
        self.nodes.push(node);
        FusedId::at(self.nodes.len() - 1)
    }
}

/// What a conversion from bytes is called.
const DEQUANTISE: &str = "dequantise";

struct Assigner {
    new: Rewriter,
    wanted: Vec<Option<String>>,
}

impl Assigner {
    fn node(&mut self, mut node: FusedNode) {
        let index = self.new.len();
        let wanted = self.wanted[index].clone();
        let input = node.input;
        node.format = match (&node.op, input, &wanted) {
            (FusedOp::Conv(conv), Some(_), wanted) if conv.quantised() => {
                let source = node.epilogue.residual.map(|r| r.source());
                let bytes = source.is_none_or(|source| self.new.element(source) == Element::U8);
                match (wanted, node.epilogue.zero_pads()) {
                    // A zero-padded shortcut is written as what it is to where it is added.
                    (Some(scale), true) if bytes => Format::U8(scale.clone()),
                    (Some(scale), false) => Format::U8(scale.clone()),
                    _ => Format::F32,
                }
            }
            (op, Some(input), Some(scale))
                if passes_bytes(op) && self.wanted[input.index()] == wanted =>
            {
                Format::U8(scale.clone())
            }
            _ => Format::F32,
        };
        let reads_bytes = match &node.op {
            FusedOp::Conv(conv) => conv.quantised(),
            op => passes_bytes(op) && node.format != Format::F32,
        };
        node.input = input.map(|id| if reads_bytes { self.as_bytes(id) } else { self.as_f32(id) });
        if let FusedOp::Gate { gate } = &mut node.op {
            *gate = self.as_f32(*gate);
        }
        let takes_any = matches!(&node.op, FusedOp::Conv(conv) if conv.quantised())
            && !(node.epilogue.zero_pads() && node.format == Format::F32);
        if let Some(residual) = &mut node.epilogue.residual {
            let (Residual::Same(source) | Residual::ZeroPad { source, .. }) = residual;
            *source = match takes_any {
                true => self.new.first(*source),
                false => self.as_f32(*source),
            };
        }
        self.new.node(node);
    }

    fn as_bytes(&mut self, id: FusedId) -> FusedId {
        let scale = self.wanted[id.index()].clone();
        let format = Format::U8(scale.expect("whoever reads bytes has said so"));
        self.new.converted(id, format, FusedOp::Quantise, "quantise")
    }

    fn as_f32(&mut self, id: FusedId) -> FusedId {
        self.new.converted(id, Format::F32, FusedOp::Dequantise, DEQUANTISE)
    }
}
