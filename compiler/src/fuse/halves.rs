//! Which activations of a network are stored in two bytes.
//!
//! All between the picture and the mean over all pixels, with what a convolution makes of the picture: a value there has
//! many pixels, and moving it is what takes time. What is made of the mean (the answer, gates) stays `f32`, and so does
//! an answer that nothing else reads. A convolution multiplies in the format of its input; how, the schedule decides.

use resnet_runtime::kernels::Element;

use super::formats::Rewriter;
use super::{Format, Fused, FusedId, FusedNode, FusedOp, Residual};

/// Decides it, and converts where an operator wants something else than what is there.
pub(crate) fn halves(fused: Fused) -> Fused {
    let answers = answers(&fused);
    let mut halver = Halver { new: Rewriter::new(), after_mean: Vec::new() };
    for (index, node) in fused.nodes.into_iter().enumerate() {
        // One that adds a residual would have that converted.
        let is_answer = answers.contains(&FusedId::at(index)) && node.epilogue.residual.is_none();
        halver.node(node, is_answer);
    }
    halver.new.finish(fused.outputs, &FusedOp::Widen, WIDEN)
}

/// What a conversion to `f32` is called.
const WIDEN: &str = "widen";

/// The nodes whose values are read as answers alone.
fn answers(fused: &Fused) -> Vec<FusedId> {
    let read = |id| fused.nodes.iter().any(|node| node.reads().any(|read| read == id));
    fused.outputs.iter().copied().filter(|&id| !read(id)).collect()
}

struct Halver {
    new: Rewriter,
    /// Of each node of the graph before, whether it is the mean over all pixels or made of it.
    after_mean: Vec<bool>,
}

impl Halver {
    fn node(&mut self, mut node: FusedNode, is_answer: bool) {
        let after_mean = node.op == FusedOp::GlobalAveragePool
            || node.input.is_some_and(|input| self.after_mean[input.index()]);
        let element = node.input.map_or(Element::F32, |input| self.new.element(input));
        node.format = match &node.op {
            FusedOp::Softmax | FusedOp::ChannelConv { .. } => Format::F32,
            FusedOp::Conv(_) if is_answer || after_mean => Format::F32,
            FusedOp::Conv(_) => Format::Bf16,
            _ if after_mean || element == Element::F32 => Format::F32,
            _ => Format::Bf16,
        };
        let wants_f32 = matches!(node.op, FusedOp::Softmax | FusedOp::ChannelConv { .. });
        node.input = node.input.map(|input| match wants_f32 {
            true => self.to(input, &Format::F32),
            false => self.new.first(input),
        });
        if let FusedOp::Conv(conv) = &mut node.op {
            conv.element = element;
        }
        if let FusedOp::Gate { gate } = &mut node.op {
            *gate = self.to(*gate, &Format::F32);
        }
        if let Some(residual) = &mut node.epilogue.residual {
            let (Residual::Same(source) | Residual::ZeroPad { source, .. }) = residual;
            *source = self.to(*source, &node.format);
        }
        self.new.node(node);
        self.after_mean.push(after_mean);
    }

    fn to(&mut self, id: FusedId, format: &Format) -> FusedId {
        match format {
            Format::F32 => self.new.converted(id, Format::F32, FusedOp::Widen, WIDEN),
            _ => self.new.converted(id, Format::Bf16, FusedOp::Narrow, "narrow"),
        }
    }
}
