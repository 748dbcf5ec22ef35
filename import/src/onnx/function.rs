//! Activations that a graph puts together of several nodes: each becomes one step.

use super::files::Files;
use super::graph::{Function, Network, Op, ValueId};
use crate::checkpoint::Stored;

/// What was found: the steps that make it up, and what the function is of.
struct Found {
    function: Function,
    of: ValueId,
    /// The last one is the step that makes the result.
    steps: Vec<usize>,
}

/// What a number may be off, as `f32` keeps it.
const TOLERANCE: f64 = 1e-6;

impl Network {
    /// Joins the nodes of SiLU, GELU and hard swish.
    pub(super) fn functions(&mut self, files: &Files) {
        let mut dead = vec![false; self.steps.len()];
        for index in 0..self.steps.len() {
            let search = Search::new(self, files);
            let found = search
                .silu(index)
                .or_else(|| search.hard_swish(index))
                .or_else(|| search.gelu(index));
            let Some(Found { function, of, steps }) = found else { continue };
            let Some((&last, parts)) = steps.split_last() else { continue };
            self.steps[last].op = Op::Apply(function);
            self.steps[last].inputs = vec![of];
            for &part in parts {
                dead[part] = true;
                // Nothing is to find them again.
                self.steps[part].inputs = Vec::new();
            }
        }
        let mut dead = dead.into_iter();
        self.steps.retain(|_| dead.next() == Some(false));
    }
}

/// Looks along a graph.
struct Search<'a> {
    network: &'a Network,
    files: &'a Files,
    makers: Vec<Option<usize>>,
    readers: Vec<Vec<usize>>,
}

impl<'a> Search<'a> {
    fn new(network: &'a Network, files: &'a Files) -> Self {
        let mut makers = vec![None; network.values.len()];
        for (index, step) in network.steps.iter().enumerate() {
            makers[step.output] = Some(index);
        }
        Self { network, files, makers, readers: network.readers() }
    }

    /// `x * sigmoid(x)`, and with a hard sigmoid.
    fn silu(&self, index: usize) -> Option<Found> {
        self.product(index).into_iter().find_map(|[of, gate]| {
            let maker = self.maker(gate)?;
            let function = match &self.network.steps[maker].op {
                Op::Sigmoid => Function::Silu,
                Op::HardSigmoid => Function::HardSwish,
                _ => return None,
            };
            let found = Found { function, of, steps: vec![maker, index] };
            (*self.network.steps[maker].inputs == [of]).then_some(found)
        })
    }

    /// `x * min(max(0, x + 3), 6) / 6`.
    fn hard_swish(&self, index: usize) -> Option<Found> {
        self.product(index).into_iter().find_map(|[of, gate]| {
            let clip = self.maker(gate)?;
            let Op::Apply(Function::Relu6) = self.network.steps[clip].op else { return None };
            let sum = self.maker(self.network.steps[clip].inputs[0])?;
            let last = self.reader(self.network.steps[index].output)?;
            let fits = self.is_affine(sum, None, Some(3.0))
                && *self.network.steps[sum].inputs == [of]
                && self.is_affine(last, Some(1.0 / 6.0), None);
            let steps = vec![sum, clip, index, last];
            fits.then_some(Found { function: Function::HardSwish, of, steps })
        })
    }

    /// `x / 2 * (1 + erf(x / sqrt 2))`, halved before or after the product.
    fn gelu(&self, erf: usize) -> Option<Found> {
        let steps = &self.network.steps;
        let Op::Erf = steps[erf].op else { return None };
        let scaled = self.maker(steps[erf].inputs[0])?;
        let &[of] = &*steps[scaled].inputs else { return None };
        let sum = self.reader(steps[erf].output)?;
        let product = self.reader(steps[sum].output)?;
        let root = std::f64::consts::FRAC_1_SQRT_2;
        if !self.is_affine(scaled, Some(root), None) || !self.is_affine(sum, None, Some(1.0)) {
            return None;
        }
        let sides = self.product(product);
        let &[other, _] = sides.iter().find(|[_, side]| *side == steps[sum].output)?;
        let mut all = vec![scaled, erf, sum];
        if other == of {
            let half = self.reader(steps[product].output)?;
            all.extend([product, half]);
            return self.is_affine(half, Some(0.5), None).then_some(Found {
                function: Function::Gelu,
                of,
                steps: all,
            });
        }
        let half = self.maker(other)?;
        all.extend([half, product]);
        let fits = self.is_affine(half, Some(0.5), None) && *steps[half].inputs == [of];
        fits.then_some(Found { function: Function::Gelu, of, steps: all })
    }

    /// Both orders of the inputs of a product.
    fn product(&self, index: usize) -> Vec<[ValueId; 2]> {
        let step = &self.network.steps[index];
        match (&step.op, &*step.inputs) {
            (Op::Mul, &[a, b]) => vec![[a, b], [b, a]],
            _ => Vec::new(),
        }
    }

    /// The step that makes what one other step alone reads.
    fn maker(&self, value: ValueId) -> Option<usize> {
        self.reader(value)?;
        self.makers[value]
    }

    /// The one step that reads a value, which is no answer.
    fn reader(&self, value: ValueId) -> Option<usize> {
        match *self.readers[value] {
            [reader] if !self.network.outputs.contains(&value) => Some(reader),
            _ => None,
        }
    }

    /// Whether a step multiplies all channels by a number, and adds one.
    fn is_affine(&self, index: usize, scale: Option<f64>, shift: Option<f64>) -> bool {
        let Op::Affine(affine) = &self.network.steps[index].op else { return false };
        let same = |stored: &Option<Stored>, number: Option<f64>| match (stored, number) {
            (None, None) => true,
            (Some(stored), Some(number)) => self.files.values(stored).is_some_and(|values| {
                values.iter().all(|value| (value - number).abs() < TOLERANCE)
            }),
            _ => false,
        };
        same(&affine.scale, scale) && same(&affine.shift, shift)
    }
}
