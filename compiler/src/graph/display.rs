//! Graphs for people: one line a node.

use std::fmt;

use crate::counts::grouped;
use crate::geometry::{Padding, Window};
use crate::graph::{Graph, NodeId, Op, Pooling};

/// `3x3`, `7x7/2`, `3x3/2 pad 0`: stride and padding only where they are not the usual ones.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Window { kernel, stride, dilation, padding } = self;
        write!(f, "{}x{}", kernel.rows, kernel.columns)?;
        if (stride.rows, stride.columns) != (1, 1) {
            write!(f, "/{stride}")?;
        }
        if (dilation.rows, dilation.columns) != (1, 1) {
            write!(f, " dilation {dilation}")?;
        }
        if *padding != Padding::half(*kernel, *dilation) {
            write!(f, " pad {padding}")?;
        }
        Ok(())
    }
}

impl Op {
    /// The operator's name without its constants; the table's word for it where it has one.
    pub fn kind(&self) -> &'static str {
        match self {
            Op::Input => "input",
            Op::Conv { .. } => "conv",
            Op::BatchNorm(_) => "batch_norm",
            Op::GroupNorm(_) => "group_norm",
            Op::Activation(activation) => activation.name(),
            Op::Add => "add",
            Op::Gate => "gate",
            Op::Slice(_) => "slice",
            Op::Concat => "concat",
            Op::ChannelConv { .. } => "channel_conv",
            Op::ZeroPad { .. } => "zero_pad",
            Op::Pool(pool) => pool.kind.word(),
            Op::Blur(_) => "blur",
            Op::GlobalAveragePool => "global_average_pool",
            Op::Linear { .. } => "linear",
            Op::Softmax => "softmax",
        }
    }
}

/// The kind, and the constants that tell one from another: `conv 7x7/2`.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Op::Conv { window, groups: 1, .. } => write!(f, " {window}"),
            Op::Conv { window, groups, .. } => write!(f, " {window} groups {groups}"),
            Op::Pool(Pooling { window, .. }) | Op::Blur(window) => write!(f, " {window}"),
            Op::GroupNorm(norm) => write!(f, " {}", norm.groups),
            Op::ChannelConv { kernel, .. } => write!(f, " {kernel}"),
            Op::ZeroPad { stride, .. } => write!(f, " /{stride}"),
            Op::Slice(channels) => write!(f, " {channels:?}"),
            Op::Input
            | Op::BatchNorm(_)
            | Op::Activation(_)
            | Op::Add
            | Op::Gate
            | Op::Concat
            | Op::GlobalAveragePool
            | Op::Linear { .. }
            | Op::Softmax => Ok(()),
        }
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} -> {}, depth {}, {} params, {} MACs",
            self.name,
            self.input_shape(),
            self.output_shape(),
            self.depth,
            grouped(self.params),
            grouped(self.macs)
        )?;
        for (index, node) in self.nodes.iter().enumerate() {
            let inputs: Vec<String> = node.inputs.iter().map(ToString::to_string).collect();
            let id = NodeId::at(index);
            let operation = format!("{} {}", node.op, inputs.join(", "));
            let shape = node.shape.to_string();
            writeln!(f, "{id:>5} = {:<28} {shape:>14}  # {}", operation.trim_end(), node.name)?;
        }
        Ok(())
    }
}
