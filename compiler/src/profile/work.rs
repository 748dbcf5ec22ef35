//! What the layers have to do, and what their code does.

use std::time::Duration;

use resnet_runtime::kernels::Element;
use resnet_runtime::weights::Content;

use super::{Algorithm, Layer, Step};
use crate::fuse::{Fused, FusedId, FusedOp, Residual};
use crate::graph::{self, Graph, NodeId, Window};
use crate::nest::{Program, Statement};
use crate::schedule::{self, Buffer, PICTURE, Plan, Schedule};

/// A network in those forms that say what work it is.
pub(super) struct Work<'a> {
    pub(super) graph: &'a Graph,
    pub(super) fused: &'a Fused,
    pub(super) schedule: &'a Schedule,
}

impl Work<'_> {
    /// The program's steps, which took these times, under their layers.
    pub(super) fn layers(
        &self,
        program: &Program,
        times: impl Iterator<Item = Duration>,
    ) -> Vec<Layer> {
        let mut layers: Vec<Layer> = Vec::new();
        for (step, time) in program.steps.iter().zip(times) {
            let function = program.function(step.function);
            let (name, doc) = (step.name.clone(), function.doc.clone());
            let macs_done = macs(&function.body).saturating_mul(wide(function.count()));
            let name_of_layer = self.layer_of(&name);
            let step = Step { name: name.clone(), doc, macs_done, time };
            match layers.last_mut() {
                Some(layer) if layer.name == name_of_layer => layer.steps.push(step),
                _ => layers.push(self.layer(name_of_layer, step)),
            }
        }
        layers
    }

    /// The name of the layer that a step of this name is of.
    fn layer_of<'n>(&self, step: &'n str) -> &'n str {
        if self.node(step).is_some() {
            return step;
        }
        step.strip_suffix(".ring").or(step.strip_suffix(".points")).unwrap_or(step)
    }

    fn node(&self, name: &str) -> Option<FusedId> {
        self.fused.iter().find(|(_, node)| node.name == name).map(|(id, _)| id)
    }

    /// A layer whose first step is this one.
    fn layer(&self, name: &str, step: Step) -> Layer {
        let layer = |algorithm, macs, bytes| Layer {
            name: name.to_owned(),
            algorithm,
            quantised: self.node(name).is_some_and(
                |id| matches!(&self.fused.node(id).op, FusedOp::Conv(conv) if conv.quantised),
            ),
            macs,
            bytes: wide(bytes),
            steps: vec![step],
        };
        let batch = self.schedule.batch;
        let Some(id) = self.node(name) else {
            // The answer is copied to where it is wanted.
            return layer(
                Algorithm::Other,
                0,
                2 * batch * self.graph.output_len() * PICTURE.bytes(),
            );
        };
        let algorithm = match self.schedule.plans[id.index()] {
            Plan::Conv(plan) => match plan.algorithm {
                schedule::Algorithm::Direct { .. } => Algorithm::Direct,
                schedule::Algorithm::Winograd(plan) => {
                    Algorithm::Winograd([plan.tile.rows, plan.tile.columns])
                }
            },
            Plan::InPlace
            | Plan::Copy
            | Plan::Vector { .. }
            | Plan::GroupNorm { .. }
            | Plan::Simple => Algorithm::Other,
        };
        let macs = self.macs(id).saturating_mul(batch as u128);
        layer(algorithm, u64::try_from(macs).unwrap_or(u64::MAX), self.bytes(id))
    }

    /// Multiply-adds of a node, for one picture. Those of a convolution may be a part of the graph's.
    fn macs(&self, id: FusedId) -> u128 {
        let node = self.fused.node(id);
        if let (FusedOp::Conv(conv), Some(input)) = (&node.op, node.input) {
            let inputs = self.fused.node(input).shape.channels / conv.groups;
            let taps = conv.window.kernel.rows * conv.window.kernel.columns;
            return node.shape.elements() as u128 * (inputs * taps) as u128;
        }
        let nodes = (0..).map(NodeId).zip(&self.graph.nodes);
        let costs = nodes.filter(|(_, of)| of.name == node.name).map(|(id, _)| self.graph.cost(id));
        costs.map(|cost| cost.macs).sum()
    }

    /// Bytes that a node reads and writes at least, weights included.
    fn bytes(&self, id: FusedId) -> usize {
        let node = self.fused.node(id);
        let output = self.schedule.buffer(id);
        let input = node.input.map(|input| self.schedule.buffer(input));
        let read = match (&node.op, input) {
            (FusedOp::Conv(conv), Some(input)) => windowed(input, &conv.window, output),
            (FusedOp::Pool(graph::Pooling { window, .. }) | FusedOp::Blur(window), Some(input)) => {
                windowed(input, window, output)
            }
            (FusedOp::Gate { gate }, Some(input)) => {
                whole(input) + whole(self.schedule.buffer(*gate))
            }
            (_, Some(input)) => whole(input),
            // The picture, as it is given.
            (_, None) => node.shape.elements() * PICTURE.bytes(),
        };
        let weights = match self.schedule.plans[id.index()] {
            Plan::Conv(plan) => plan.panels.bytes(),
            Plan::Vector { weights } => {
                let content = self.schedule.weights.at(weights).map(|recipe| &recipe.content);
                content.map_or(0, Content::bytes)
            }
            Plan::GroupNorm { .. } => 2 * output.blocks() * output.lanes() * Element::F32.bytes(),
            Plan::InPlace | Plan::Copy | Plan::Simple => 0,
        };
        let residual = self.residual(node.epilogue.residual, output);
        self.schedule.batch * (read + residual + whole(output)) + weights
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

/// The multiply-adds of a body's kernels.
fn macs(body: &[Statement]) -> u64 {
    let of = |statement: &Statement| match statement {
        Statement::For(each, body) => macs(body).saturating_mul(wide(each.extent)),
        Statement::Call(call, _) => call.macs(),
    };
    body.iter().map(of).fold(0, u64::saturating_add)
}

fn wide(n: usize) -> u64 {
    n as u64
}
