//! Joins nodes that are one operator in a table: pads with the windows after them, biases with the
//! matrices before them, strides of rows with those of columns, and squeeze-and-excitation, whose own fork would look like a block's.

use resnet_compiler::graph::{Extent, Padding, Window};

use super::graph::{Attention, Network, Op, Step, ValueId};
use crate::checkpoint::Stored;
use crate::error::Fault;

/// Most nodes of a squeeze-and-excitation, reshapes included.
const LONGEST_GATE: usize = 16;

impl Network {
    /// Rewrites the steps; what they compute stays the same.
    pub(crate) fn simplify(&mut self) -> Result<(), Fault> {
        let mut joiner = Joiner::new(self);
        for index in 0..joiner.network.steps.len() {
            joiner.pad(index)?;
            joiner.bias(index)?;
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
    /// The step that makes each value.
    makers: Vec<Option<usize>>,
    /// How many steps read each value, and graph outputs it is.
    reads: Vec<usize>,
    dead: Vec<bool>,
}

impl<'a> Joiner<'a> {
    fn new(network: &'a mut Network) -> Self {
        let mut reads: Vec<usize> = network.readers().iter().map(Vec::len).collect();
        for &output in &network.outputs {
            reads[output] += 1;
        }
        let mut makers = vec![None; network.values.len()];
        for (index, step) in network.steps.iter().enumerate() {
            makers[step.output] = Some(index);
        }
        let dead = vec![false; network.steps.len()];
        Self { network, makers, reads, dead }
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
        let window = match &mut step.op {
            Op::Conv(conv) => &mut conv.window,
            Op::MaxPool(window) if positive => window,
            Op::MaxPool(_) => {
                return step.refuse(
                    "zeros are padded before it, and its input may be negative; a table's max pool \
                     ignores padding",
                );
            }
            Op::AveragePool { window, count_padding }
                if *count_padding || window.padding == Padding::NONE =>
            {
                *count_padding = true;
                window
            }
            _ => return Ok(()),
        };
        let more = |side: &mut Extent, rows: usize, columns: usize| {
            *side = Extent::new(side.rows + rows, side.columns + columns);
        };
        more(&mut window.padding.before, top, left);
        more(&mut window.padding.after, bottom, right);
        step.inputs = vec![input];
        self.dead[maker] = true;
        Ok(())
    }

    fn bias(&mut self, index: usize) -> Result<(), Fault> {
        let step = &self.network.steps[index];
        let Op::Bias(added) = &step.op else { return Ok(()) };
        let (added, output) = (added.clone(), step.output);
        if let Some(maker) = self.before(index) {
            let maker_step = &mut self.network.steps[maker];
            if let Op::Linear(linear) = &mut maker_step.op
                && linear.bias.is_none()
            {
                linear.bias = Some(added);
            } else if let Op::Conv(conv) = &mut maker_step.op
                && conv.bias.is_none()
            {
                conv.bias = Some(added);
            } else {
                return self.network.steps[index].refuse("it adds a second bias");
            }
            maker_step.output = output;
            self.makers[output] = Some(maker);
            self.dead[index] = true;
            return Ok(());
        }
        step.refuse("it adds a constant to what is neither a convolution's nor a linear layer's")
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
                 convolution, ReLU, 1x1 convolution, sigmoid) nor ECA (mean, convolution along \
                 channels, sigmoid)",
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
        let steps = chain.iter().map(|&index| &self.network.steps[index]);
        let ops: Vec<&Step> = steps.filter(|step| !matches!(step.op, Op::Reshape)).collect();
        let kinds: Vec<&Op> = ops.iter().map(|step| &step.op).collect();
        let attention = match &*kinds {
            [Op::Sigmoid, second, Op::Relu, first, Op::Mean] => {
                Attention::SqueezeExcitation(Box::new([layer(first)?, layer(second)?]))
            }
            [Op::Sigmoid, Op::ChannelConv(weight), Op::Mean] => {
                Attention::Efficient(weight.clone())
            }
            _ => return None,
        };
        Some((attention, chain))
    }
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
