//! Joins nodes that are one operator in a table: pads with the windows after them, scales and shifts with the
//! convolutions, norms and matrices before them, strides of rows with those of columns, and
//! squeeze-and-excitation, whose own fork would look like a block's.

use resnet_compiler::graph::{Extent, Padding, PoolKind, Window};

use super::files::Files;
use super::graph::{Attention, Network, Norm, Op, Statistics, ValueId};
use crate::checkpoint::Stored;
use crate::error::Fault;

/// Most nodes of a squeeze-and-excitation.
const LONGEST_GATE: usize = 16;

impl Network {
    /// Rewrites the steps; what they compute stays the same.
    pub(crate) fn simplify(&mut self, files: &mut Files) -> Result<(), Fault> {
        self.functions(files);
        let mut joiner = Joiner::new(self, files);
        for index in 0..joiner.network.steps.len() {
            joiner.pad(index)?;
            joiner.affine(index)?;
            joiner.subsample(index);
            joiner.gate(index)?;
        }
        let mut dead = joiner.dead.into_iter();
        self.steps.retain(|_| dead.next() == Some(false));
        Ok(())
    }
}

struct Joiner<'a> {
    network: &'a mut Network,
    files: &'a mut Files,
    /// The step that makes each value.
    makers: Vec<Option<usize>>,
    /// How many steps read each value, and graph outputs it is.
    reads: Vec<usize>,
    dead: Vec<bool>,
}

impl<'a> Joiner<'a> {
    fn new(network: &'a mut Network, files: &'a mut Files) -> Self {
        let mut reads: Vec<usize> = network.readers().iter().map(Vec::len).collect();
        for &output in &network.outputs {
            reads[output] += 1;
        }
        let mut makers = vec![None; network.values.len()];
        for (index, step) in network.steps.iter().enumerate() {
            makers[step.output] = Some(index);
        }
        let dead = vec![false; network.steps.len()];
        Self { network, files, makers, reads, dead }
    }

    /// The step that makes what another one alone reads.
    fn before(&self, index: usize) -> Option<usize> {
        let &[input] = &*self.network.steps[index].inputs else { return None };
        (self.reads[input] == 1).then(|| self.makers[input]).flatten()
    }

    fn pad(&mut self, index: usize) -> Result<(), Fault> {
        let Some(maker) = self.before(index) else { return Ok(()) };
        let Op::PadPixels([top, left, bottom, right]) = self.network.steps[maker].op else {
            return Ok(());
        };
        let input = self.network.steps[maker].inputs[0];
        let positive = self.network.values[input].positive;
        let step = &mut self.network.steps[index];
        let padding =
            [[top, left], [bottom, right]].map(|[rows, columns]| Extent::new(rows, columns));
        match &mut step.op {
            Op::Conv(conv) => more(&mut conv.window.padding, padding),
            Op::Pool { pool, said } => {
                more(&mut pool.window.padding, padding);
                more(said, padding);
                // Zeros are no larger than what is under a window.
                if pool.kind == PoolKind::Average || !positive {
                    more(&mut pool.zeros, padding);
                }
            }
            _ => return Ok(()),
        }
        step.inputs = vec![input];
        self.dead[maker] = true;
        Ok(())
    }

    /// Scales and shifts become a bias of what is before them, a part of the norm before them, or a norm.
    fn affine(&mut self, index: usize) -> Result<(), Fault> {
        let step = &self.network.steps[index];
        let Op::Affine(affine) = &step.op else { return Ok(()) };
        let (affine, output) = ((**affine).clone(), step.output);
        let channels = self.network.values[output].shape.channels;
        let maker = self.before(index);
        let op = maker.map(|maker| &mut self.network.steps[maker].op);
        let joined = match (op, &affine.scale) {
            (Some(Op::Linear(linear)), None) => self.files.add(&mut linear.bias, affine.shift)?,
            (Some(Op::Conv(conv)), None) => self.files.add(&mut conv.bias, affine.shift)?,
            (Some(Op::Norm(norm)), _) => self.files.compose(norm, &affine)?,
            (Some(Op::Linear(_)), Some(_)) => {
                return self.network.steps[index].refuse("it scales what a linear layer makes");
            }
            _ => {
                let same = |number: f32| Stored::same(vec![channels], number);
                let norm = Norm {
                    weight: affine.scale.unwrap_or_else(|| same(1.0)),
                    bias: affine.shift.unwrap_or_else(|| same(0.0)),
                    statistics: Statistics::Folded,
                };
                self.network.steps[index].op = Op::Norm(Box::new(norm));
                return Ok(());
            }
        };
        let Some(maker) = maker.filter(|_| joined) else {
            return self.network.steps[index]
                .refuse("it has more numbers than a network has channels");
        };
        self.network.steps[maker].output = output;
        self.makers[output] = Some(maker);
        self.dead[index] = true;
        Ok(())
    }

    /// Rows are left out by one node and columns by another.
    fn subsample(&mut self, index: usize) {
        let Some(maker) = self.before(index) else { return };
        let steps = &mut self.network.steps;
        let Op::Subsample([rows, columns]) = steps[maker].op else { return };
        let Op::Subsample(strides) = &mut steps[index].op else { return };
        *strides = [strides[0].saturating_mul(rows), strides[1].saturating_mul(columns)];
        steps[index].inputs = vec![steps[maker].inputs[0]];
        self.dead[maker] = true;
    }

    fn gate(&mut self, index: usize) -> Result<(), Fault> {
        let step = &self.network.steps[index];
        if !matches!(step.op, Op::Mul) {
            return Ok(());
        }
        let (a, b) = (step.inputs[0], step.inputs[1]);
        let Some((input, attention, chain)) = self
            .trace(b, a)
            .map(|(attention, chain)| (a, attention, chain))
            .or_else(|| self.trace(a, b).map(|(attention, chain)| (b, attention, chain)))
        else {
            return step.refuse(
                "it multiplies two activations, and is no squeeze-and-excitation (mean, 1x1 \
                 convolution, activation, 1x1 convolution, sigmoid), no ECA (mean, convolution along \
                 channels, sigmoid), and no SiLU, GELU or hard swish",
            );
        };
        for dead in chain {
            self.dead[dead] = true;
        }
        let step = &mut self.network.steps[index];
        step.op = Op::Gate(attention);
        step.inputs = vec![input];
        Ok(())
    }

    /// The way back from the weights of channels to the activation that they weigh.
    fn trace(&self, gate: ValueId, input: ValueId) -> Option<(Attention, Vec<usize>)> {
        let mut chain: Vec<usize> = Vec::new();
        let mut value = gate;
        while value != input {
            if self.reads[value] != 1 || chain.len() == LONGEST_GATE {
                return None;
            }
            let maker = self.makers[value]?;
            chain.push(maker);
            let &[before] = &*self.network.steps[maker].inputs else { return None };
            value = before;
        }
        let ops: Vec<&Op> = chain.iter().map(|&index| &self.network.steps[index].op).collect();
        let pixels = self.network.values[input].shape;
        let is_mean = |op: &Op| match op {
            Op::Mean => true,
            Op::Pool { pool, .. } => {
                let whole = Extent::new(pixels.height, pixels.width);
                let Window { kernel, padding, .. } = pool.window;
                pool.kind == PoolKind::Average && kernel == whole && padding == Padding::NONE
            }
            _ => false,
        };
        let attention = match *ops {
            [Op::Sigmoid, second, &Op::Apply(between), first, mean] if is_mean(mean) => {
                Attention::SqueezeExcitation(Box::new([layer(first)?, layer(second)?]), between)
            }
            [Op::Sigmoid, Op::ChannelConv(weight), mean] if is_mean(mean) => {
                Attention::Efficient(weight.clone())
            }
            _ => return None,
        };
        Some((attention, chain))
    }
}

impl Files {
    /// Adds to a bias; false if it is too long.
    fn add(&mut self, bias: &mut Option<Stored>, shift: Option<Stored>) -> Result<bool, Fault> {
        let sum = match (&*bias, shift) {
            (Some(bias), Some(shift)) => self.plus(bias, &shift)?,
            (_, shift) => shift,
        };
        let fits = sum.is_some();
        *bias = sum;
        Ok(fits)
    }
}

/// Pads further before and after.
fn more(padding: &mut Padding, [before, after]: [Extent; 2]) {
    let sum = |a: Extent, b: Extent| Extent::new(a.rows + b.rows, a.columns + b.columns);
    *padding = Padding { before: sum(padding.before, before), after: sum(padding.after, after) };
}

/// Weights and bias of a 1x1 convolution or a linear layer.
fn layer(op: &Op) -> Option<(Stored, Option<Stored>)> {
    match op {
        Op::Linear(linear) => Some((linear.weight.clone(), linear.bias.clone())),
        Op::Conv(conv) => {
            let one = Extent::square(1);
            let plain = Window::new(one, one, Padding::NONE);
            (conv.groups == 1 && conv.window == plain)
                .then(|| (conv.weight.clone(), conv.bias.clone()))
        }
        _ => None,
    }
}
