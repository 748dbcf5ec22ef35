//! What the layers have to do, and what their code does.

use std::time::Duration;

use resnet_runtime::kernels::Element;
use resnet_runtime::weights::Content;

use super::{Layer, Step, Work};
use crate::fuse::{Fused, FusedId, Residual};
use crate::graph::{Pooling, Window};
use crate::nest::{Part, Program, Statement};
use crate::schedule::{Buffer, ConvPlan, Operator, PICTURE, Plan, Schedule};

/// A network in those forms that say what work it is.
pub(super) struct Worked<'a> {
    pub(super) fused: &'a Fused,
    pub(super) schedule: &'a Schedule,
    /// Of the schedule's pictures, or of fewer at a time.
    pub(super) program: &'a Program,
}

impl Worked<'_> {
    /// The program's steps, which took these times, under their layers. Where a network answers with
    /// several, all that is copied to the answer is one layer.
    pub(super) fn layers(&self, times: impl Iterator<Item = Duration>) -> Vec<Layer> {
        let mut layers: Vec<Layer> = Vec::new();
        for (step, time) in self.program.steps.iter().zip(times) {
            let function = self.program.function(step.function);
            let count = wide(function.count() * self.times());
            let macs_done = macs_done(&function.body).saturating_mul(count);
            let (id, name) = (step.layer, self.program.name_of(step));
            let of = (step.part != Part::Answer).then_some(id);
            let step = Step { part: step.part, name, doc: function.doc.clone(), macs_done, time };
            match layers.last_mut() {
                Some(layer) if layer.id == of => layer.steps.push(step),
                _ => {
                    let layer = of.map_or_else(|| self.answer(), |id| self.layer(id));
                    layers.push(Layer { steps: vec![step], ..layer });
                }
            }
        }
        layers
    }

    /// How often the program runs for the schedule's pictures.
    fn times(&self) -> usize {
        self.schedule.batch / self.program.batch
    }

    /// The copy of the answer to where it is wanted.
    fn answer(&self) -> Layer {
        Layer {
            id: None,
            node: None,
            name: "output".to_owned(),
            algorithm: None,
            element: Element::F32,
            macs: 0,
            bytes: wide(2 * self.program.output_len * self.times() * PICTURE.bytes()),
            steps: Vec::new(),
        }
    }

    /// A layer, without its steps.
    fn layer(&self, id: FusedId) -> Layer {
        let Work { algorithm, element, macs, weights, activations } =
            Work::new(self.fused, self.schedule, id);
        Layer {
            id: Some(id),
            node: Some(self.fused.node(id).node),
            name: self.fused.node(id).name.clone(),
            algorithm,
            element,
            macs,
            bytes: weights + activations,
            steps: Vec::new(),
        }
    }
}

impl Work {
    /// The work of a node.
    pub fn new(fused: &Fused, schedule: &Schedule, id: FusedId) -> Self {
        let network = Network { fused, schedule };
        let conv = schedule.node(id).plan.conv();
        let macs = network.macs(id).saturating_mul(schedule.batch as u128);
        let [weights, activations] = network.bytes(id).map(wide);
        Self {
            algorithm: conv.map(|plan| plan.choice().algorithm),
            element: conv.map_or(Element::F32, |plan| plan.panels.format.element),
            macs: u64::try_from(macs).unwrap_or(u64::MAX),
            weights,
            activations,
        }
    }
}

/// A network and its schedule.
struct Network<'a> {
    fused: &'a Fused,
    schedule: &'a Schedule,
}

impl Network<'_> {
    /// Multiply-adds of a node, for one picture. Those of a convolution may be a part of the graph's.
    fn macs(&self, id: FusedId) -> u128 {
        let output = self.schedule.buffer(id).shape;
        let of_each = match &self.schedule.node(id).plan {
            Plan::Operator { operator, .. } => match operator {
                Operator::Conv(plan) => plan.panels.shape.channel_len(),
                Operator::Blur(window) => window.kernel.rows * window.kernel.columns,
                Operator::ChannelConv { kernel, .. } => *kernel,
                Operator::Pool(_)
                | Operator::GlobalAveragePool
                | Operator::Affine { .. }
                | Operator::GroupNorm { .. }
                | Operator::Add
                | Operator::Gate { .. }
                | Operator::Softmax
                | Operator::Quantise
                | Operator::Dequantise
                | Operator::Convert => 0,
            },
            Plan::InPlace | Plan::Copy => 0,
        };
        output.elements() as u128 * of_each as u128
    }

    /// Bytes of weights and of activations that a node reads and writes at least.
    fn bytes(&self, id: FusedId) -> [usize; 2] {
        let output = self.schedule.buffer(id);
        let (read, weights) = match &self.schedule.node(id).plan {
            // The picture, as it is given.
            Plan::InPlace | Plan::Copy => (output.shape.elements() * PICTURE.bytes(), 0),
            Plan::Operator { input, operator } => {
                let input = self.schedule.buffer(*input);
                (self.read(operator, input, output), self.weights(operator, output))
            }
        };
        let residual = self.residual(self.fused.node(id).epilogue.residual, output);
        [weights, self.schedule.batch * (read + residual + whole(output))]
    }

    /// Bytes of activations that an operator reads, without a residual.
    fn read(&self, operator: &Operator, input: &Buffer, output: &Buffer) -> usize {
        match operator {
            Operator::Conv(ConvPlan { window, .. })
            | Operator::Pool(Pooling { window, .. })
            | Operator::Blur(window) => windowed(input, window, output),
            Operator::Gate { gate } => whole(input) + whole(self.schedule.buffer(*gate)),
            _ => whole(input),
        }
    }

    /// Bytes of packed weights that an operator reads.
    fn weights(&self, operator: &Operator, output: &Buffer) -> usize {
        match operator {
            Operator::Conv(plan) => plan.panels.bytes(),
            Operator::Affine { weights } | Operator::ChannelConv { weights, .. } => {
                let content = self.schedule.weights.at(*weights).map(|recipe| &recipe.content);
                content.map_or(0, Content::bytes)
            }
            Operator::GroupNorm { .. } => {
                2 * output.blocks() * output.lanes() * Element::F32.bytes()
            }
            _ => 0,
        }
    }

    /// Bytes that are read of what is added to `output`.
    fn residual(&self, residual: Option<Residual>, output: &Buffer) -> usize {
        match residual {
            Some(Residual::Same(source)) => whole(self.schedule.buffer(source)),
            Some(Residual::ZeroPad { source, .. }) => {
                let source = self.schedule.buffer(source);
                output.shape.pixels() * source.blocks() * source.lanes() * source.element.bytes()
            }
            None => 0,
        }
    }
}

/// Bytes of an activation of one picture, without its borders.
fn whole(buffer: &Buffer) -> usize {
    buffer.shape.pixels() * buffer.blocks() * buffer.lanes() * buffer.element.bytes()
}

/// Of these, those that a window passes over.
fn windowed(input: &Buffer, window: &Window, output: &Buffer) -> usize {
    let touched = |kernel: usize, outputs: usize, inputs: usize| (kernel * outputs).min(inputs);
    let rows = touched(window.kernel.rows, output.shape.height, input.shape.height);
    let columns = touched(window.kernel.columns, output.shape.width, input.shape.width);
    rows * columns * input.blocks() * input.lanes() * input.element.bytes()
}

/// The multiply-adds that a body's kernels do.
fn macs_done(body: &[Statement]) -> u64 {
    let of = |statement: &Statement| match statement {
        Statement::For(each, body) => macs_done(body).saturating_mul(wide(each.extent)),
        Statement::Call(call, _) => call.macs(),
    };
    body.iter().map(of).fold(0, u64::saturating_add)
}

fn wide(n: usize) -> u64 {
    n as u64
}
