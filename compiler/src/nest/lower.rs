//! From a schedule to loops and kernel calls.

use std::collections::HashMap;

use resnet_runtime::kernels::{
    BLOCK, Call, CopyParams, Element, MeanParams, Precision, RingParams, SoftmaxParams,
    TENSOR_NUMBERS,
};

use super::{
    Address, Base, Function, FunctionId, Loop, Part, Place, Program, Statement, Step, Var,
};
use crate::fuse::{Epilogue, Fused, FusedId};
use crate::graph::{Extent, PoolKind, Shape};
use crate::schedule::{Buffer, Layout, Operator, PICTURE, Plan, Region, Schedule, Scheduled};

mod channel;
mod conv;
mod norm;
mod pool;
mod quantise;
#[cfg(feature = "train")]
pub(crate) mod training;
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
        lowering.node(schedule, id, &node.epilogue);
    }
    let answer_len = fused.outputs.iter().map(|&id| schedule.buffer(id).shape.elements()).sum();
    let mut offset = 0;
    for &id in &fused.outputs {
        let answer = schedule.buffer(id);
        lowering.copy_out(id, answer, offset, answer_len);
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
        trains: false,
        layers: fused.nodes.iter().map(|node| node.name.clone()).collect(),
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

/// An operator's node: what it reads, and where it writes.
struct Layer<'a> {
    id: FusedId,
    epilogue: &'a Epilogue,
    input: &'a Buffer,
    residual: Option<&'a Buffer>,
    output: &'a Buffer,
}

impl Lowering {
    fn node(&mut self, schedule: &Schedule, id: FusedId, epilogue: &Epilogue) {
        let Scheduled { buffer: output, plan } = schedule.node(id);
        if output.region == Region::Arena && !output.is_contiguous() {
            self.ring(id, output);
        }
        match plan {
            Plan::InPlace => {}
            Plan::Copy => self.copy_in(id, output),
            Plan::Operator { input, operator } => {
                let residual = epilogue.residual.map(|r| schedule.buffer(r.source()));
                let input = schedule.buffer(*input);
                let layer = Layer { id, epilogue, input, residual, output };
                self.operator(schedule, operator, &layer);
            }
        }
    }

    fn operator(&mut self, schedule: &Schedule, operator: &Operator, layer: &Layer<'_>) {
        match *operator {
            Operator::Conv(ref plan) => self.conv(&conv::Layer { of: layer, plan }),
            Operator::Pool(ref pool) => {
                let make = match (pool.kind, layer.output.element) {
                    (PoolKind::Max, Element::U8) => Call::MaxPoolU8,
                    (PoolKind::Max, _) => {
                        of_reals(layer.output, [Call::MaxPool, Call::MaxPoolBf16])
                    }
                    (PoolKind::Average, _) => {
                        of_reals(layer.output, [Call::AveragePool, Call::AveragePoolBf16])
                    }
                };
                self.pool(layer, pool.kind.word(), make, pool);
            }
            Operator::Blur(ref window) => self.blur(layer, window),
            Operator::GlobalAveragePool => self.mean(layer),
            Operator::Affine { weights } => self.affine(layer, weights),
            Operator::ChannelConv { kernel, weights } => self.channel_conv(layer, kernel, weights),
            Operator::GroupNorm { group, epsilon, weights, blocks } => {
                self.group_norm(layer, &norm::Groups { group, epsilon, weights, blocks });
            }
            Operator::Add => self.add(layer),
            Operator::Gate { gate } => self.gate(layer, schedule.buffer(gate)),
            Operator::Softmax => self.softmax(layer),
            Operator::Quantise => self.quantise(layer),
            Operator::Dequantise => self.dequantise(layer),
            Operator::Convert => self.convert(layer),
        }
    }

    fn picture(&self) -> Loop {
        Loop { var: Var::Picture, extent: self.batch }
    }

    /// Adds a step, and its function unless there is one with the same signature.
    fn step(&mut self, (layer, part): (FusedId, Part), function: Function, operands: Vec<Place>) {
        let next = FunctionId::at(self.functions.len());
        let id = *self.ids.entry(function).or_insert_with_key(|function| {
            self.functions.push(function.clone());
            next
        });
        self.steps.push(Step { layer, part, function: id, operands });
    }

    /// Adds a step that calls one kernel `x -> y` for each picture and block.
    fn simple(
        &mut self,
        of: (FusedId, Part),
        doc: String,
        call: Call,
        [x, y]: [Side; 2],
        loops: &[Loop],
    ) {
        let body = vec![Statement::Call(call, vec![x.address(0, loops), y.address(1, loops)])];
        let function =
            Function { doc, operands: vec!["x", "y"], parallel: real_loops(loops), body };
        self.step(of, function, vec![x.place, y.place]);
    }

    fn ring(&mut self, id: FusedId, buffer: &Buffer) {
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
            None => {
                let call = of_reals(buffer, [Call::Ring, Call::RingBf16])(params);
                (format!("zeros {zeros}"), vec!["y"], vec![y], call)
            }
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
        self.step((id, Part::Ring), function, places);
    }

    fn copy_in(&mut self, id: FusedId, y: &Buffer) {
        let picture = users(Region::Input, 0, y.shape);
        let doc = format!("picture {} to {:?}", y.shape, y.layout).to_lowercase();
        self.copy((id, Part::Main), &doc, [&picture, y], picture.picture_len());
    }

    /// Copies `x` to `offset` in an answer of `answer_len` elements.
    fn copy_out(&mut self, id: FusedId, x: &Buffer, offset: usize, answer_len: usize) {
        let answer = users(Region::Output, offset * PICTURE.bytes(), x.shape);
        self.copy((id, Part::Answer), &format!("answer {}", x.shape), [x, &answer], answer_len);
    }

    /// Copies between the user's memory, whose pictures or answers are `user_len` apart, and a buffer.
    fn copy(&mut self, of: (FusedId, Part), doc: &str, [x, y]: [&Buffer; 2], user_len: usize) {
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
            self.simple(of, doc.to_owned(), make(params(planes)), [side(x), side(y)], &loops);
        }
        let rest = shape.channels % planes;
        if rest > 0 {
            let doc = format!("{doc}, last {rest} channels");
            let last = |buffer: &Buffer| side(buffer).skip(full * distance(buffer));
            self.simple(of, doc, make(params(rest)), [last(x), last(y)], &[self.picture()]);
        }
    }

    fn mean(&mut self, layer: &Layer<'_>) {
        let (x, y) = (layer.input, layer.output);
        let params =
            MeanParams { rows: x.shape.height, columns: x.shape.width, x_row: x.row_len() };
        let call = of_reals(x, [Call::Mean, Call::MeanBf16])(params);
        self.per_block(layer, format!("mean {} -> {}", x.shape, y.shape), call);
    }

    fn per_block(&mut self, layer: &Layer<'_>, doc: String, call: Call) {
        let loops = [self.picture(), Loop { var: Var::Block, extent: layer.input.blocks() }];
        let sides = [layer.input, layer.output]
            .map(|buffer| Side::new(buffer, Extent::square(0), buffer.block_len()));
        self.simple(layer.main(), doc, call, sides, &loops);
    }

    fn softmax(&mut self, layer: &Layer<'_>) {
        let shape = layer.input.shape;
        let call = Call::Softmax(SoftmaxParams { channels: shape.channels });
        let sides =
            [layer.input, layer.output].map(|buffer| Side::new(buffer, Extent::square(0), 0));
        self.simple(layer.main(), format!("softmax {shape}"), call, sides, &[self.picture()]);
    }
}

impl Layer<'_> {
    /// Its main part.
    fn main(&self) -> (FusedId, Part) {
        (self.id, Part::Main)
    }
}

/// The kernel, of two that do the same to `f32` and to `bf16`, for what the real numbers of a buffer are stored as.
fn of_reals<P>(buffer: &Buffer, [single, half]: [fn(P) -> Call; 2]) -> fn(P) -> Call {
    match stored(buffer) {
        Precision::F32 => single,
        Precision::Bf16 => half,
    }
}

/// What the real numbers of a buffer are stored as.
fn stored(buffer: &Buffer) -> Precision {
    match buffer.element {
        Element::Bf16 => Precision::Bf16,
        _ => Precision::F32,
    }
}

/// The memory of the user's pictures or answers, from a byte on.
fn users(region: Region, offset: usize, shape: Shape) -> Buffer {
    let none = Extent::square(0);
    let (layout, element) = (Layout::Planar, PICTURE);
    Buffer { region, offset, layout, shape, ring: none, margin: none, element, scale: None }
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
