//! Operators on bytes, as nodes that make numbers of bytes, compute, and make bytes again: the two forms in which
//! quantised networks are saved say the same.

use std::borrow::Cow;

use resnet_compiler::onnx::proto::{AttributeProto, GraphProto, NodeProto};

use super::node::Node;
use crate::error::Fault;

/// The operators that ONNX Runtime has beside ONNX's own.
const RUNTIME: &str = "com.microsoft";

/// The graph without operators on bytes.
pub(super) fn expand(graph: &GraphProto) -> Result<Cow<'_, GraphProto>, Fault> {
    if !graph.node.iter().any(|node| Form::of(node).is_some()) {
        return Ok(Cow::Borrowed(graph));
    }
    let mut expanded = GraphProto { node: Vec::new(), ..graph.clone() };
    for node in &graph.node {
        match Form::of(node) {
            Some(form) => form.expand(node, &mut expanded.node)?,
            None => expanded.node.push(node.clone()),
        }
    }
    Ok(Cow::Owned(expanded))
}

/// What an operator on bytes computes, and which of its inputs are what. Bytes are followed by their scale and
/// zero point.
#[derive(Clone, Copy)]
struct Form {
    op_type: &'static str,
    /// The first of three inputs each.
    bytes: &'static [usize],
    /// Whole numbers in units of the product of both scales.
    bias: Option<usize>,
    /// The scale of what is made; the zero point follows.
    output: usize,
}

impl Form {
    fn of(node: &NodeProto) -> Option<Self> {
        let form = |op_type, bytes, bias, output| Some(Self { op_type, bytes, bias, output });
        match (&*node.domain, &*node.op_type) {
            ("" | "ai.onnx", "QLinearConv") => form("Conv", &[0, 3], Some(8), 6),
            ("" | "ai.onnx", "QLinearMatMul") => form("MatMul", &[0, 3], None, 6),
            (RUNTIME, "QGemm") => form("Gemm", &[0, 3], Some(6), 7),
            (RUNTIME, "QLinearAdd") => form("Add", &[0, 3], None, 6),
            (RUNTIME, "QLinearMul") => form("Mul", &[0, 3], None, 6),
            (RUNTIME, "QLinearSigmoid") => form("Sigmoid", &[0], None, 3),
            (RUNTIME, "QLinearGlobalAveragePool") => form("GlobalAveragePool", &[0], None, 3),
            (RUNTIME, "QLinearAveragePool") => form("AveragePool", &[0], None, 3),
            _ => None,
        }
    }

    fn expand(self, from: &NodeProto, nodes: &mut Vec<NodeProto>) -> Result<(), Fault> {
        let node = Node::new(from);
        let last = node.int("channels_last")?.unwrap_or(0);
        if last != 0 {
            return node.refuse("its channels are interleaved; export with channels first");
        }
        let transposed = self.op_type == "Gemm" && node.flag("transB")?;
        let output = node.output();
        let new = |op_type: &str, input: &[&str], output: &str, attribute: Vec<AttributeProto>| {
            NodeProto {
                input: input.iter().map(|&name| name.to_owned()).collect(),
                output: vec![output.to_owned()],
                name: from.name.clone(),
                op_type: op_type.to_owned(),
                attribute,
                ..NodeProto::default()
            }
        };
        let three = |first: usize| [0, 1, 2].map(|next| node.input(first + next));
        let mut inputs = Vec::new();
        for (index, &first) in self.bytes.iter().enumerate() {
            let name = format!("{output}/input {index}");
            // Of weights; an activation has a scale alone.
            let outputs_first = self.op_type == "Conv" || transposed;
            let axis = vec![AttributeProto::int("axis", i64::from(!outputs_first))];
            nodes.push(new("DequantizeLinear", &three(first), &name, axis));
            inputs.push(name);
        }
        if let Some(bias) = self.bias.map(|bias| node.input(bias)).filter(|bias| !bias.is_empty()) {
            let [scale, name] = ["scale", "bias"].map(|what| format!("{output}/{what}"));
            nodes.push(new("Mul", &[node.input(1), node.input(4)], &scale, vec![]));
            nodes.push(new(
                "DequantizeLinear",
                &[bias, &scale],
                &name,
                vec![AttributeProto::int("axis", 0)],
            ));
            inputs.push(name);
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let attributes = from.attribute.iter().filter(|own| own.name != "channels_last");
        let scale = node.input(self.output);
        if scale.is_empty() {
            nodes.push(new(self.op_type, &inputs, output, attributes.cloned().collect()));
            return Ok(());
        }
        let real = format!("{output}/real");
        nodes.push(new(self.op_type, &inputs, &real, attributes.cloned().collect()));
        let bytes = [&*real, scale, node.input(self.output + 1)];
        nodes.push(new("QuantizeLinear", &bytes, output, vec![]));
        Ok(())
    }
}
