//! Slices of a convolution's output, and convolutions of a concatenation: cuts of the weight.

use std::ops::Range;

use resnet_runtime::weights::Slice;

use super::{Conv, Epilogue, Format, FuseError, FusedNode, FusedOp, Fuser, Value};
use crate::graph::{Node, NodeId};

impl Fuser<'_> {
    /// A convolution of a concatenation: the sum of convolutions of its parts.
    pub(super) fn conv_of_parts(
        &mut self,
        node: &Node,
        conv: &Conv,
        parts: &[NodeId],
    ) -> Result<Value, FuseError> {
        // The weights' statistics are over all input channels.
        if conv.groups != 1 || conv.standardise.is_some() {
            let reason = "a concatenation is read by a convolution whose weight cannot be cut";
            return Err(FuseError { node: node.name.clone(), reason });
        }
        let of = [node.shape.channels, self.graph.node(node.inputs[0]).shape.channels];
        let mut first = 0;
        let convs = parts.iter().enumerate().map(|(index, &part)| {
            let slice = Some(Slice { of, at: [0, first] });
            first += self.graph.node(part).shape.channels;
            Ok(FusedNode {
                name: format!("{}.{index}", node.name),
                node: self.at,
                op: FusedOp::Conv(Conv { slice, ..conv.clone() }),
                epilogue: Epilogue::NONE,
                input: Some(self.written(part)?),
                shape: node.shape,
                format: Format::F32,
            })
        });
        convs.collect::<Result<_, _>>().map(Value::Open)
    }

    /// Channels of a convolution's output: the convolution with so many of its output channels.
    pub(super) fn slice(&self, node: &Node, channels: &Range<usize>) -> Result<Value, FuseError> {
        let whole = node.inputs[0];
        let [inner @ FusedNode { op: FusedOp::Conv(conv), .. }] = (match &self.values[whole.index()]
        {
            Value::Open(nodes) => &nodes[..],
            _ => &[],
        }) else {
            let reason = "a slice needs a convolution that can be cut";
            return Err(FuseError { node: node.name.clone(), reason });
        };
        let (true, None, None) = (conv.groups == 1, inner.epilogue.residual, conv.slice) else {
            let reason = "a slice is of a convolution whose weight cannot be cut";
            return Err(FuseError { node: node.name.clone(), reason });
        };
        let inputs = inner.input.map_or(0, |input| self.nodes[input.index()].shape.channels);
        let of = [self.graph.node(whole).shape.channels, inputs];
        let slice = Some(Slice { of, at: [channels.start, 0] });
        Ok(Value::Open(vec![FusedNode {
            name: node.name.clone(),
            op: FusedOp::Conv(Conv { slice, ..conv.clone() }),
            shape: node.shape,
            ..inner.clone()
        }]))
    }
}
