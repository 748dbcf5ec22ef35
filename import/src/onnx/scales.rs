//! The middle of Res2Net's blocks, which would look like no path of a block: slices of channels, a convolution of
//! each but the last, and what puts them together again.

use std::ops::Range;

use resnet_compiler::graph::{Extent, Padding, PoolKind, Pooling, Window};

use super::graph::{Chunk, Chunks, Network, Op, Step, ValueId};
use crate::error::Fault;

impl Network {
    /// Makes one operator of each concatenation of chunks.
    pub(super) fn join_chunks(&mut self) -> Result<(), Fault> {
        let mut makers = vec![None; self.values.len()];
        for (index, step) in self.steps.iter().enumerate() {
            makers[step.output] = Some(index);
        }
        let readers = self.readers();
        let mut dead = vec![false; self.steps.len()];
        for index in 0..self.steps.len() {
            if !matches!(self.steps[index].op, Op::Concat) {
                continue;
            }
            let finder =
                Finder { network: self, makers: &makers, readers: &readers, found: Vec::new() };
            let Some((input, chunks, found)) = finder.chunks(&self.steps[index]) else {
                return self.steps[index].refuse(
                    "it joins activations; a table puts channels of zeros beside a shortcut's, and together what \
                     the 3x3 convolutions of a Res2Net's block make of chunks of channels, each of its chunk or of \
                     that plus what the convolution before makes",
                );
            };
            let step = &mut self.steps[index];
            step.inputs = vec![input];
            step.op = Op::Chunks(Box::new(chunks));
            found.into_iter().for_each(|index| dead[index] = true);
        }
        let mut dead = dead.into_iter();
        self.steps.retain(|_| dead.next() == Some(false));
        Ok(())
    }
}

/// Goes back from what is put together.
struct Finder<'a> {
    network: &'a Network,
    makers: &'a [Option<usize>],
    readers: &'a [Vec<usize>],
    /// The steps that were met.
    found: Vec<usize>,
}

impl<'a> Finder<'a> {
    /// What is cut, what is made of it, and the steps that do it.
    fn chunks(mut self, concat: &Step) -> Option<(ValueId, Chunks, Vec<usize>)> {
        let (&last, convolved) = concat.inputs.split_last()?;
        let mut chunks = Vec::new();
        let mut cut: Vec<(ValueId, Range<usize>)> = Vec::new();
        let (mut function, mut alone) = (None, true);
        for (index, &value) in convolved.iter().enumerate() {
            let mut step = self.maker(value)?;
            let own = match step.op {
                Op::Apply(own) => {
                    step = self.only_maker(step.inputs[0])?;
                    Some(own)
                }
                _ => None,
            };
            let norm = match &step.op {
                Op::Norm(norm) => {
                    step = self.only_maker(step.inputs[0])?;
                    Some((**norm).clone())
                }
                _ => None,
            };
            let Op::Conv(conv) = &step.op else { return None };
            chunks.push(Chunk { conv: (**conv).clone(), norm });
            let before = index.checked_sub(1).map(|before| convolved[before]);
            let mut read = step.inputs[0];
            let sum = self.makers[read].map(|maker| &self.network.steps[maker]);
            let adds = matches!(sum, Some(Step { op: Op::Add, .. }));
            if adds {
                let sum = self.only_maker(read)?;
                let place = sum.inputs.iter().position(|&value| Some(value) == before)?;
                read = sum.inputs[1 - place];
            }
            match index {
                0 if adds => return None,
                0 => function = own,
                1 => alone = !adds,
                _ if alone == adds => return None,
                _ => {}
            }
            if own != function
                || self.readers[value].len() != 1 + usize::from(self.adds_next(value))
            {
                return None;
            }
            cut.push(self.slice(read)?);
        }
        let mut step = self.only_maker(last)?;
        let mut pool = None;
        if let Op::Pool { pool: found, .. } = step.op {
            pool = Some(found);
            step = self.only_maker(step.inputs[0])?;
        }
        let Op::Slice(range) = &step.op else { return None };
        cut.push((step.inputs[0], range.clone()));
        let input = cut[0].0;
        let width = cut[0].1.len();
        let whole = self.network.values[input].shape.channels;
        let in_order = cut.iter().enumerate().all(|(index, (from, range))| {
            *from == input && *range == (index * width..(index + 1) * width)
        });
        let first = chunks.first()?;
        let alike = chunks.iter().all(|chunk| {
            chunk.conv.window == first.conv.window
                && chunk.conv.groups == first.conv.groups
                && chunk.conv.weight.shape[0] == width
        });
        // With one convolution alone a pool tells.
        let alone = if chunks.len() == 1 { pool.is_some() } else { alone };
        let pooled = alone.then(|| {
            let padding = Padding::even(Extent::square(1));
            let window = Window::new(Extent::square(3), first.conv.window.stride, padding);
            Pooling { kind: PoolKind::Average, window, zeros: padding }
        });
        if !in_order
            || !alike
            || whole != cut.len() * width
            || self.readers[input].len() != cut.len()
            || pool != pooled
        {
            return None;
        }
        let chunks = Chunks { chunks, function, alone };
        Some((input, chunks, self.found))
    }

    /// The step that makes a value.
    fn maker(&mut self, value: ValueId) -> Option<&'a Step> {
        let index = self.makers[value]?;
        self.found.push(index);
        Some(&self.network.steps[index])
    }

    /// The same of a value that is read once.
    fn only_maker(&mut self, value: ValueId) -> Option<&'a Step> {
        let is_output = self.network.outputs.contains(&value);
        if self.readers[value].len() == 1 && !is_output { self.maker(value) } else { None }
    }

    /// Whether a value is an input of a sum.
    fn adds_next(&self, value: ValueId) -> bool {
        self.readers[value].iter().any(|&reader| matches!(self.network.steps[reader].op, Op::Add))
    }

    fn slice(&mut self, value: ValueId) -> Option<(ValueId, Range<usize>)> {
        let step = self.only_maker(value)?;
        match &step.op {
            Op::Slice(range) => Some((step.inputs[0], range.clone())),
            _ => None,
        }
    }
}
