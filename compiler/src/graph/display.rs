//! Graphs for people: one line a node.

use std::fmt;

use crate::graph::{Graph, Op, Window};
use crate::report::grouped;

/// `3x3`, `7x7/2`, `3x3/2 pad 0`: stride and padding only where they are not the usual ones.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Window { kernel, stride, padding } = self;
        write!(f, "{}x{}", kernel.rows, kernel.columns)?;
        if (stride.rows, stride.columns) != (1, 1) {
            write!(f, "/{stride}")?;
        }
        if (padding.rows, padding.columns) != (kernel.rows / 2, kernel.columns / 2) {
            write!(f, " pad {padding}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Input => f.write_str("input"),
            Op::Conv { window, groups: 1, .. } => write!(f, "conv {window}"),
            Op::Conv { window, groups, .. } => write!(f, "conv {window} groups {groups}"),
            Op::BatchNorm(_) => f.write_str("batch_norm"),
            Op::Relu => f.write_str("relu"),
            Op::Add => f.write_str("add"),
            Op::ZeroPad { stride, .. } => write!(f, "zero_pad /{stride}"),
            Op::MaxPool(window) => write!(f, "max_pool {window}"),
            Op::AveragePool(window) => write!(f, "average_pool {window}"),
            Op::GlobalAveragePool => f.write_str("global_average_pool"),
            Op::Linear { .. } => f.write_str("linear"),
            Op::Softmax => f.write_str("softmax"),
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
            let id = format!("%{index}");
            let operation = format!("{} {}", node.op, inputs.join(", "));
            let shape = node.shape.to_string();
            writeln!(f, "{id:>5} = {:<28} {shape:>14}  # {}", operation.trim_end(), node.name)?;
        }
        Ok(())
    }
}
