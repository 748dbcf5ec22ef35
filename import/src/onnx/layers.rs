//! Rows with tensors of their own.

use resnet_compiler::graph::{Extent, Padding, Window};
use resnet_compiler::spec::rows::Row;

use super::block::NormKind;
use super::graph::{Conv, Function, Linear, Norm, Op, Step};
use super::rows::Rows;
use super::windows::windowed;
use crate::checkpoint::Stored;
use crate::error::Fault;

impl Rows<'_> {
    pub(super) fn conv(&mut self, step: &Step, conv: &Conv, at: usize) -> usize {
        let number = self.count("conv");
        let mut used = 1;
        let mut conv = conv.clone();
        let channels = conv.weight.shape[0];
        let norm = match self.op(at + 1) {
            Some(Op::Norm(norm)) if !self.is_output(at) && self.before_a_fork(at + 1).is_none() => {
                used += 1;
                Some((NormKind::of(norm), self.blocks.named(norm)))
            }
            // Its norm was folded as those of the blocks were.
            _ if self.folded && !self.counts.contains_key("stage") && conv.bias.is_some() => {
                Some((NormKind::Batch, self.blocks.identity(channels, conv.bias.take())))
            }
            _ => None,
        };
        let function = self.function(at + used);
        used += usize::from(function.is_some());
        let mut row = windowed(Row::new(format!("conv{number}"), "conv"), &conv.window);
        row.set("channels", channels);
        if conv.groups != 1 {
            row.set("groups", conv.groups);
        }
        match &norm {
            None => row.set("norm", "none"),
            Some((NormKind::Batch, _)) => {}
            Some((kind, _)) => row.set("norm", kind.cell()),
        }
        if conv.bias.is_some() == norm.is_some() {
            row.set("bias", conv.bias.is_some());
        }
        activate(&mut row, function, Function::Relu);
        self.tensor(format!("conv{number}.weight"), conv.weight);
        if let Some(bias) = conv.bias {
            self.tensor(format!("conv{number}.bias"), bias);
        }
        for (part, stored) in norm.into_iter().flat_map(|(_, tensors)| tensors) {
            self.tensor(format!("bn{number}.{part}"), stored);
        }
        self.push(row, self.made(at + used - 1), &step.label);
        used
    }

    /// The last layer, over what a mean left, as a linear one; timm's pre-activation networks have
    /// convolutions there.
    pub(super) fn classifier(&self, step: &Step, conv: &Conv, at: usize) -> Option<Linear> {
        let ends = match self.op(at + 1) {
            None => self.ends(at + 1),
            Some(op) => matches!(op, Op::Softmax) && self.ends(at + 2),
        };
        let pixels = self.network.values[step.inputs[0]].shape.pixels();
        let one = Extent::square(1);
        let plain = conv.groups == 1 && conv.window == Window::new(one, one, Padding::NONE);
        let &[out, inputs, ..] = &*conv.weight.shape else { return None };
        (ends && pixels == 1 && plain).then(|| Linear {
            weight: Stored { shape: vec![out, inputs], ..conv.weight.clone() },
            bias: conv.bias.clone(),
        })
    }

    pub(super) fn norm(&mut self, step: &Step, norm: &Norm, at: usize) -> Result<usize, Fault> {
        if self.draft.rows.last().is_some_and(|row| row.get("op") == Some("linear")) {
            return step.refuse("it norms what a linear layer makes; a table has linear layers and softmax after one");
        }
        let name = self.numbered("norm");
        let function = self.function(at + 1);
        let mut row = Row::new(&name, "norm");
        if NormKind::of(norm) != NormKind::Batch {
            row.set("norm", NormKind::of(norm).cell());
        }
        activate(&mut row, function, Function::Relu);
        for (part, stored) in self.blocks.named(norm) {
            self.tensor(format!("{name}.{part}"), stored);
        }
        let end = if function.is_some() { self.made(at + 1) } else { step.output };
        self.push(row, end, &step.label);
        Ok(1 + usize::from(function.is_some()))
    }

    pub(super) fn linear(&mut self, step: &Step, linear: &Linear, at: usize) -> usize {
        let name = self.numbered("fc");
        let classes = linear.weight.shape[0];
        if linear.bias.is_none() {
            self.note(format!("`{name}` has no bias in the file, and one of zeros here"));
        }
        let bias = linear.bias.clone().unwrap_or_else(|| Stored::same(vec![classes], 0.0));
        self.tensor(format!("{name}.weight"), linear.weight.clone());
        self.tensor(format!("{name}.bias"), bias);
        self.draft.classes = Some(classes);
        let mut row = Row::new(name, "linear").with("channels", classes);
        let function = self.function(at + 1);
        activate(&mut row, function, Function::None);
        let used = 1 + usize::from(function.is_some());
        self.push(row, self.made(at + used - 1), &step.label);
        used
    }
}

/// Writes the activation of a row that has another one if nothing is said.
fn activate(row: &mut Row, function: Option<Function>, default: Function) {
    let function = function.unwrap_or(Function::None);
    if function != default {
        row.set("activation", function);
    }
}
