//! From a schedule to loops and kernel calls.

use std::collections::HashMap;

use resnet_runtime::kernels::{
    BLOCK, Call, CopyParams, Element, MeanParams, RingParams, SoftmaxParams, TENSOR_NUMBERS,
};

use super::{Address, Base, Function, FunctionId, Loop, Place, Program, Statement, Step, Var};
use crate::fuse::{Fused, FusedId, FusedNode, FusedOp};
use crate::graph::{Extent, PoolKind};
use crate::schedule::{Buffer, Layout, PICTURE, Plan, Region, Schedule};

mod channel;
mod conv;
mod norm;
mod pool;
mod quantise;
mod winograd;

/// Lowers a scheduled network.
pub fn lower(name: &str, fused: &Fused, schedule: &Schedule) -> Program {
    let mut lowering = Lowering {
        batch: schedule.batch,
        functions: Vec::new(),
        ids: HashMap::new(),
        steps: Vec::new(),
    };
    for (id, node) in fused.iter() {
        lowering.node(schedule, id, node);
    }
    let answers: Vec<&Buffer> = fused.outputs.iter().map(|&id| schedule.buffer(id)).collect();
    let answer_len = answers.iter().map(|answer| answer.shape.elements()).sum();
    let mut offset = 0;
    for answer in answers {
        lowering.copy_out("output", answer, offset, answer_len);
        offset += answer.shape.elements();
    }
    let input = fused.nodes[0].shape;
    Program {
        name: name.to_owned(),
        batch: schedule.batch,
        input_len: schedule.batch * input.elements(),
        output_len: schedule.batch * answer_len,
        arena_bytes: schedule.arena_bytes,
        scratch_bytes: schedule.scratch_bytes,
        weights_bytes: schedule.weights.bytes,
        functions: lowering.functions,
        steps: lowering.steps,
    }
}

struct Lowering {
    batch: usize,
    functions: Vec<Function>,
    ids: HashMap<Function, FunctionId>,
    steps: Vec<Step>,
}

impl Lowering {
    fn node(&mut self, schedule: &Schedule, id: FusedId, node: &FusedNode) {
        let output = schedule.buffer(id);
        if output.region == Region::Arena && !output.is_contiguous() {
            self.ring(&node.name, output);
        }
        let input = node.input.map(|input| schedule.buffer(input));
        let epilogue = &node.epilogue;
        let residual = epilogue.residual.map(|r| schedule.buffer(r.source()));
        match (&node.op, &schedule.plans[id.index()], input) {
            (_, Plan::InPlace, _) => {}
            (_, Plan::Copy, _) => self.copy_in(&node.name, output),
            (FusedOp::Conv(conv), &Plan::Conv(plan), Some(input)) => {
                let (name, residual) = (&node.name, residual.copied());
                self.conv(&conv::Layer { name, conv, epilogue, plan, input, residual, output });
            }
            (FusedOp::Affine(_), &Plan::Vector { weights }, Some(input)) => {
                self.affine(&node.name, epilogue, weights, input, output);
            }
            (FusedOp::ChannelConv { kernel, .. }, &Plan::Vector { weights }, Some(input)) => {
                self.channel_conv(&node.name, *kernel, weights, input, output);
            }
            (FusedOp::Add, _, Some(input)) => {
                self.add(&node.name, epilogue, residual, input, output);
            }
            (FusedOp::Gate { gate }, _, Some(input)) => {
                let gates = schedule.buffer(*gate);
                self.gate(&node.name, epilogue, residual, gates, input, output);
            }
            (FusedOp::GroupNorm(norm), &Plan::GroupNorm { weights, blocks }, Some(input)) => {
                self.group_norm(&norm::Layer {
                    name: &node.name,
                    group: node.shape.channels / norm.groups,
                    epsilon: norm.epsilon,
                    epilogue,
                    residual,
                    weights,
                    blocks,
                    input,
                    output,
                });
            }
            (FusedOp::Pool(pool), _, Some(input)) => {
                let make = match (pool.kind, output.element) {
                    (PoolKind::Max, Element::U8) => Call::MaxPoolU8,
                    (PoolKind::Max, _) => Call::MaxPool,
                    (PoolKind::Average, _) => Call::AveragePool,
                };
                self.pool(&node.name, pool.kind.word(), make, pool, input, output);
            }
            (FusedOp::Blur(window), _, Some(input)) => {
                self.blur(&node.name, window, input, output);
            }
            (FusedOp::GlobalAveragePool, _, Some(input)) => self.mean(&node.name, input, output),
            (FusedOp::Quantise, _, Some(input)) => self.quantise(&node.name, input, output),
            (FusedOp::Dequantise, _, Some(input)) => self.dequantise(&node.name, input, output),
            (FusedOp::Softmax, _, Some(input)) => self.softmax(&node.name, input, output),
            (op, plan, _) => unreachable!("{op:?} was planned as {plan:?}"),
        }
    }

    fn picture(&self) -> Loop {
        Loop { var: Var::Picture, extent: self.batch }
    }

    /// Adds a step, and its function unless there is one with the same signature.
    fn step(&mut self, name: &str, function: Function, operands: Vec<Place>) {
        let next = FunctionId(self.functions.len() as u32);
        let id = *self.ids.entry(function).or_insert_with_key(|function| {
            self.functions.push(function.clone());
            next
        });
        self.steps.push(Step { name: name.to_owned(), function: id, operands });
    }

    /// Adds a step that calls one kernel `x -> y` for each picture and block.
    fn simple(&mut self, name: &str, doc: String, call: Call, x: Side, y: Side, loops: &[Loop]) {
        let body = vec![Statement::Call(call, vec![x.address(0, loops), y.address(1, loops)])];
        let function =
            Function { doc, operands: vec!["x", "y"], parallel: real_loops(loops), body };
        self.step(name, function, vec![x.place, y.place]);
    }

    fn ring(&mut self, name: &str, buffer: &Buffer) {
        let params = RingParams {
            rows: buffer.shape.height,
            columns: buffer.shape.width,
            top: buffer.ring.rows,
            bottom: buffer.ring.rows + buffer.margin.rows,
            left: buffer.ring.columns,
            right: buffer.ring.columns + buffer.margin.columns,
            lanes: buffer.lanes(),
        };
        let y = Side::new(buffer, Extent::square(0), buffer.block_len());
        let y = Side { place: Place { offset: buffer.offset, ..y.place }, ..y };
        let loops = [self.picture(), Loop { var: Var::Block, extent: buffer.blocks() }];
        let zeros = format!("around {}, {} a side", buffer.shape, buffer.ring);
        let (doc, operands, sides, call) = match buffer.scale {
            None => (format!("zeros {zeros}"), vec!["y"], vec![y], Call::Ring(params)),
            Some(_) => {
                let (operands, sides) = (vec!["t", "y"], vec![Side::to_bytes(buffer), y]);
                (format!("zero points {zeros}"), operands, sides, Call::RingU8(params))
            }
        };
        let addresses = sides.iter().enumerate().map(|(index, side)| side.address(index, &loops));
        // So little work that waking threads for it would take longer.
        let body = nested(&loops, vec![Statement::Call(call, addresses.collect())]);
        let function = Function { doc, operands, parallel: Vec::new(), body };
        let places = sides.iter().map(|side| side.place).collect();
        self.step(&format!("{name}.ring"), function, places);
    }

    fn copy_in(&mut self, name: &str, y: &Buffer) {
        let picture = Buffer {
            region: Region::Input,
            offset: 0,
            element: PICTURE,
            layout: Layout::Planar,
            shape: y.shape,
            ring: Extent::square(0),
            margin: Extent::square(0),
            scale: None,
        };
        let doc = format!("picture {} to {:?}", y.shape, y.layout).to_lowercase();
        let picture_len = picture.picture_len();
        self.copy(name, &doc, &picture, y, picture_len);
    }

    /// Copies `x` to `offset` in an answer of `answer_len` elements.
    fn copy_out(&mut self, name: &str, x: &Buffer, offset: usize, answer_len: usize) {
        let answer = Buffer {
            region: Region::Output,
            offset: offset * PICTURE.bytes(),
            element: PICTURE,
            layout: Layout::Planar,
            shape: x.shape,
            ring: Extent::square(0),
            margin: Extent::square(0),
            scale: None,
        };
        self.copy(name, &format!("answer {}", x.shape), x, &answer, answer_len);
    }

    /// Copies between the user's memory, whose pictures or answers are `user_len` apart, and a buffer.
    fn copy(&mut self, name: &str, doc: &str, x: &Buffer, y: &Buffer, user_len: usize) {
        let shape = x.shape;
        let (make, planes): (fn(CopyParams) -> Call, usize) = match (x.layout, y.layout) {
            (Layout::Planar, Layout::Blocked) => (Call::ToBlocked, BLOCK),
            (Layout::Blocked, Layout::Planar) => (Call::ToPlanar, BLOCK),
            (Layout::Planar, Layout::Planar) => (Call::CopyPlanar, 1),
            (from, to) => unreachable!("nothing copies {from} to {to}"),
        };
        let planar = if x.layout == Layout::Planar { x } else { y };
        let params = |channels| CopyParams {
            channels,
            rows: shape.height,
            columns: shape.width,
            x_row: x.row_len(),
            y_row: y.row_len(),
            plane: planar.block_len(),
        };
        let distance = |buffer: &Buffer| buffer.block_len() * (planes / buffer.lanes());
        let side = |buffer: &Buffer| {
            let side = Side::new(buffer, Extent::square(0), distance(buffer));
            match buffer.region {
                Region::Input | Region::Output => side.per_picture(user_len),
                _ => side,
            }
        };
        let full = shape.channels / planes;
        if full > 0 {
            let loops = [self.picture(), Loop { var: Var::Block, extent: full }];
            self.simple(name, doc.to_owned(), make(params(planes)), side(x), side(y), &loops);
        }
        let rest = shape.channels % planes;
        if rest > 0 {
            let doc = format!("{doc}, last {rest} channels");
            let last = |buffer: &Buffer| side(buffer).skip(full * distance(buffer));
            self.simple(name, doc, make(params(rest)), last(x), last(y), &[self.picture()]);
        }
    }

    fn mean(&mut self, name: &str, x: &Buffer, y: &Buffer) {
        let params =
            MeanParams { rows: x.shape.height, columns: x.shape.width, x_row: x.row_len() };
        self.per_block(name, format!("mean {} -> {}", x.shape, y.shape), Call::Mean(params), x, y);
    }

    fn per_block(&mut self, name: &str, doc: String, call: Call, x: &Buffer, y: &Buffer) {
        let loops = [self.picture(), Loop { var: Var::Block, extent: x.blocks() }];
        let side = |buffer: &Buffer| Side::new(buffer, Extent::square(0), buffer.block_len());
        self.simple(name, doc, call, side(x), side(y), &loops);
    }

    fn softmax(&mut self, name: &str, x: &Buffer, y: &Buffer) {
        let call = Call::Softmax(SoftmaxParams { channels: x.shape.channels });
        let side = |buffer: &Buffer| Side::new(buffer, Extent::square(0), 0);
        let doc = format!("softmax {}", x.shape);
        self.simple(name, doc, call, side(x), side(y), &[self.picture()]);
    }
}

/// One operand of a call: where it starts, and how far the loops move it. It is told distances in
/// elements, and holds bytes.
#[derive(Clone)]
struct Side {
    place: Place,
    terms: Vec<(Var, usize)>,
}

impl Side {
    /// Starts `above` the first pixel; a step of [`Var::Block`] moves it by `block` elements.
    fn new(buffer: &Buffer, above: Extent, block: usize) -> Self {
        Self::at(buffer.region, buffer.element, buffer.offset)
            .skip(buffer.corner(above.rows, above.columns))
            .with(Var::Picture, buffer.picture_len())
            .with(Var::Block, block)
    }

    /// Starts at a byte of a region.
    fn at(region: Region, element: Element, offset: usize) -> Self {
        Self { place: Place { region, offset, element }, terms: Vec::new() }
    }

    /// Starts at a byte of the packed weights.
    fn weights(element: Element, start: usize) -> Self {
        Self::at(Region::Weights, element, start)
    }

    /// The line of numbers with which kernels make the bytes of an activation.
    fn to_bytes(buffer: &Buffer) -> Self {
        let scale = buffer.scale.expect("bytes have a scale");
        Self::weights(Element::F32, scale)
    }

    /// The line of numbers with which kernels make `f32` of the bytes of an activation.
    fn of_bytes(buffer: &Buffer) -> Self {
        Self::to_bytes(buffer).skip(TENSOR_NUMBERS)
    }

    /// Bytes of so many elements.
    fn bytes(&self, elements: usize) -> usize {
        elements * self.place.element.bytes()
    }

    fn with(mut self, var: Var, distance: usize) -> Self {
        self.terms.push((var, self.bytes(distance)));
        self
    }

    /// The same with another distance between pictures.
    fn per_picture(mut self, distance: usize) -> Self {
        let distance = self.bytes(distance);
        let terms = self.terms.iter_mut().filter(|(var, _)| *var == Var::Picture);
        terms.for_each(|(_, old)| *old = distance);
        self
    }

    fn skip(mut self, elements: usize) -> Self {
        self.place.offset += self.bytes(elements);
        self
    }

    /// How far a step of `var` moves it, in bytes.
    fn distance(&self, var: Var) -> usize {
        self.terms.iter().filter(|(of, _)| *of == var).map(|(_, distance)| distance).sum()
    }

    /// The address `steps` steps of `var` after the one that the loops point at.
    fn past(&self, operand: usize, loops: &[Loop], var: Var, steps: usize) -> Address {
        let address = self.address(operand, loops);
        Address { offset: address.offset + steps * self.distance(var), ..address }
    }

    /// The address inside `loops`: terms that do not move it are left out. A side in the scratch
    /// is no operand of the function, so that the index does not matter.
    fn address(&self, operand: usize, loops: &[Loop]) -> Address {
        let moves = |var: Var| loops.iter().any(|l| l.var == var && l.extent > 1);
        let terms = self.terms.iter().copied();
        let terms = terms.filter(|&(var, distance)| distance > 0 && moves(var)).collect();
        match self.place {
            Place { region: Region::Scratch, offset, element } => {
                Address { base: Base::Scratch(element), offset, terms }
            }
            _ => Address { base: Base::Operand(operand), offset: 0, terms },
        }
    }
}

/// A body inside those loops that have more than one iteration.
fn nested(loops: &[Loop], body: Vec<Statement>) -> Vec<Statement> {
    let loops = real_loops(loops).into_iter().rev();
    loops.fold(body, |inner, each| vec![Statement::For(each, inner)])
}

/// Loops of a single iteration are left out.
fn real_loops(loops: &[Loop]) -> Vec<Loop> {
    loops.iter().copied().filter(|l| l.extent > 1).collect()
}
