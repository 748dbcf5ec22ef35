//! Linear layers and softmax.

use resnet_compiler::graph::Shape;

use super::Reader;
use crate::checkpoint::Stored;
use crate::error::Fault;
use crate::onnx::form::Form;
use crate::onnx::graph::{Linear, Op};
use crate::onnx::node::Node;

impl Reader<'_> {
    pub(super) fn gemm(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let plain = node.float("alpha")?.unwrap_or(1.0) == 1.0 && !node.flag("transA")?;
        let beta = node.float("beta")?.unwrap_or(1.0);
        let mut bias = self.optional(node, 2)?;
        if !plain || (bias.is_some() && beta != 1.0) {
            return node.refuse("a linear layer has neither `alpha`, `beta` nor `transA`");
        }
        if let Some(bias) = &mut bias
            && let [1, count] = *bias.shape
        {
            bias.shape = vec![count];
        }
        let transposed = node.flag("transB")?;
        self.linear(node, transposed, bias)
    }

    pub(super) fn mat_mul(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        self.linear(node, false, None)
    }

    /// A matrix of weights, `[out, in]` if it is transposed.
    fn linear(
        &mut self,
        node: &Node<'_>,
        transposed: bool,
        bias: Option<Stored>,
    ) -> Result<(), Fault> {
        let view = self.view(node, 0)?;
        let weight = self.floats(node, 1)?;
        let shape = self.shape(view.value);
        let weight = match (weight.shape.len(), transposed) {
            (2, true) => weight,
            (2, false) => weight.transposed(),
            _ => return node.refuse(format!("its weights are {:?}, no matrix", weight.shape)),
        };
        let &[classes, inputs] = &*weight.shape else { return Ok(()) };
        if inputs != shape.elements() || view.form != Form::Flat {
            return node.refuse(format!(
                "it reads {inputs} numbers, and is given {shape} {}; a linear layer reads a flattened \
                 activation",
                view.form
            ));
        }
        if let Some(bias) = &bias
            && bias.shape != [classes]
        {
            return node.refuse(format!("its bias is {:?} for {classes} channels", bias.shape));
        }
        let weight = self.of_layer(node, weight);
        let op = Op::Linear(Box::new(Linear { weight, bias }));
        self.push(node, op, &[view.value], Shape::new(classes, 1, 1), Form::Flat)
    }

    pub(super) fn softmax(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let view = self.view(node, 0)?;
        let shape = self.shape(view.value);
        let sizes = view.form.dimensions(shape);
        let rank = sizes.len() as i64 + 1;
        // Left out, it was the first axis, with all that follow, and became the last one.
        let axis = node.int("axis")?.unwrap_or(if self.opset < 13 { 1 } else { -1 });
        let axis = if axis < 0 { axis + rank } else { axis };
        let over = match (axis - 1, self.opset) {
            (axis, 13..) => usize::try_from(axis).ok().and_then(|axis| sizes.get(axis)).copied(),
            (axis, _) => usize::try_from(axis)
                .ok()
                .and_then(|axis| sizes.get(axis..))
                .map(|sizes| sizes.iter().product()),
        };
        if shape.pixels() != 1 || over != Some(shape.channels) {
            return node.refuse("a table has softmax over the classes alone");
        }
        self.same(node, Op::Softmax)
    }
}
