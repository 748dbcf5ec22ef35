//! Training steps as loops and kernel calls.

mod chain;
mod channel;
mod conv;
mod norm;
mod plane;
mod points;
mod standardise;

use std::collections::HashMap;

use resnet_runtime::kernels::{
    Activation, BLOCK, Call, Constant, CrossEntropyParams, Decay, Element, GatherParams, HYPER_LEN,
    SgdParams,
};

use super::{Layer, Lowering, Side, users};
use crate::fuse::{Epilogue, FusedId, Residual};
use crate::graph::{Extent, Graph};
use crate::nest::{Function, Loop, Part, Place as Operand, Program, Statement, Var};
use crate::schedule::{Buffer, PICTURE, Region};
use crate::train::{
    Ahead, Content, Descent, Memory, Op, Place, SlotId, Source, State, TableId, Tape, ValueId,
    padded,
};

/// A training step that is to be lowered.
pub(crate) struct Training<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) tape: &'a Tape,
    pub(crate) state: &'a State,
    pub(crate) memory: &'a Memory,
    /// Operators that run together, by their positions.
    pub(crate) groups: &'a [Vec<usize>],
    /// What is fetched during each of these.
    pub(crate) ahead: &'a [Vec<Ahead>],
    pub(crate) batch: usize,
    pub(crate) descent: Descent,
}

/// Lowers a training step.
///
/// Its input is the images, then the probabilities that the classes of each should have, then the numbers of
/// [`SgdParams`]; its output is each image's loss, then its logits, then the magnitudes that are measured.
pub(crate) fn lower_training(of: &Training<'_>) -> Program {
    let lowering =
        Lowering { batch: of.batch, functions: Vec::new(), ids: HashMap::new(), steps: Vec::new() };
    let mut steps = Steps { of, lowering, layer: FusedId::at(0) };
    for (group, ahead) in of.groups.iter().zip(of.ahead) {
        let first = steps.lowering.steps.len();
        let mut of_ops = Vec::new();
        for &at in group {
            let begin = steps.lowering.steps.len() - first;
            steps.layer = FusedId::at(at);
            steps.op(of.tape.op(at));
            of_ops.push(begin..steps.lowering.steps.len() - first);
        }
        if group.len() > 1 {
            steps.lowering.image_by_image(first, ahead, &of_ops);
        }
    }
    let mut lowering = steps.lowering;
    lowering.drop_unused();
    let Lowering { functions, steps, .. } = lowering;
    let [input_len, output_len] = of.lengths();
    Program {
        name: of.graph.name.clone(),
        batch: of.batch,
        input_len,
        output_len,
        arena_bytes: of.memory.arena_bytes,
        scratch_bytes: of.memory.scratch_bytes,
        weights_bytes: of.state.bytes,
        trains: true,
        layers: of.tape.entries.iter().map(|entry| entry.layer.clone()).collect(),
        functions,
        steps,
    }
}

impl Training<'_> {
    fn classes(&self) -> usize {
        self.graph.output_shape().channels
    }

    /// Elements of all images.
    fn images_len(&self) -> usize {
        self.batch * self.graph.input_shape().elements()
    }

    fn lengths(&self) -> [usize; 2] {
        let logits = self.batch * self.classes();
        let answers = self.batch + logits;
        [self.images_len() + logits + HYPER_LEN, answers + self.tape.reached_len]
    }
}

/// The steps of the program, as far as they are there.
struct Steps<'a> {
    of: &'a Training<'a>,
    lowering: Lowering,
    /// The operator at hand.
    layer: FusedId,
}

/// No residual and no activation.
const PLAIN: (Option<ValueId>, Activation) = (None, Activation::None);

/// Numbers that one iteration gathers, or steps.
const CHUNK: usize = 4096;

impl Steps<'_> {
    fn op(&mut self, op: &Op) {
        match *op {
            Op::Images { y } => {
                let y = self.ringed(y);
                let picture = users(Region::Input, 0, y.shape);
                let doc = format!("images {}", y.shape);
                let len = picture.picture_len();
                self.lowering.copy((self.layer, Part::Main), &doc, [&picture, &y], len);
            }
            Op::Gather { from, table, y, at } => self.gather(from, table, y, at),
            Op::Points { conv, x, y } => self.points(conv, x, y),
            Op::Conv { conv, x, w, points, residual, y } => {
                self.conv(conv, (x, w, points), residual, y);
            }
            Op::ConvGradient { ref of, x, d, y } => self.conv_gradient(of, [x, d], y),
            Op::PointsGradient { ref of, bands, x, d, y } => {
                self.points_gradient(of, bands, [x, d], y);
            }
            Op::InputPoints { ref of, bands, x, y, .. } => {
                self.all_points(Some(&of.window), bands, x, y);
            }
            Op::GradientPoints { bands, x, y } => self.all_points(None, bands, x, y),
            Op::PointsProducts { ref of, bands, blocks, x, d, y } => {
                self.points_products(of, bands, blocks, [x, d], y);
            }
            Op::WeightsOfPoints { ref of, x, y } => self.weights_of_points(of, x, y),
            Op::Moments { x, y } => self.moments(x, y),
            Op::BatchMoments { norm, pixels, p, y } => self.batch_moments(norm, pixels, p, y),
            Op::GroupMoments { norm, group, p, y } => self.group_moments(norm, group, p, y),
            Op::Normalise { of, shift, residual, activation, y } => {
                self.normalise(of, shift, residual, activation, y);
            }
            Op::Add { x, residual, activation, y } => {
                self.layer(x, (residual, activation), y, Lowering::add);
            }
            Op::Pool { ref pool, x, y } => self.pool(pool, x, y),
            Op::Mean { x, y } => self.layer(x, PLAIN, y, Lowering::mean),
            Op::ZeroPad { stride, before, x, y } => self.zero_pad(stride, before, x, y),
            Op::Blur { ref window, x, y } => self.blur(window, x, y),
            Op::Gate { x, gates, residual, y } => self.gate(x, gates, residual, y),
            Op::ChannelConv { kernel, x, w, y } => self.channel_conv(kernel, x, w, y),
            Op::Standardise { weights, y } => self.standardise(weights, y),
            Op::Logits { x } => {
                let x = self.buffer(x);
                let offset = self.of.batch;
                let len = x.shape.elements();
                self.lowering.copy_out(self.layer, &x, offset, len);
            }
            Op::CrossEntropy { x, y } => self.cross_entropy(x, y),
            Op::NormSums { of, z, activation, g, s, y } => {
                self.norm_sums(of, z, activation, g, s, y);
            }
            Op::BatchGradient { moments, pixels, p, w, b, y } => {
                self.batch_gradient(moments, pixels, p, [w, b, y]);
            }
            Op::GroupGradient { moments, group, channels, pixels, p, w, b, y } => {
                self.group_gradient(moments, [group, channels, pixels], p, [w, b, y]);
            }
            Op::NormInput { of, g, c, residual, y } => self.norm_input(of, g, c, residual, y),
            Op::Mask { z, activation, g, y } => self.mask(z, activation, g, y),
            Op::Spread { x, residual, y } => self.spread(x, residual, y),
            Op::Dilate { stride, skipped, x, residual, y } => {
                self.dilate(stride, skipped, x, residual, y);
            }
            Op::Shift { stride, skipped, before, x, residual, y } => {
                self.shift(stride, [skipped, before], x, residual, y);
            }
            Op::PoolGradient { ref pool, x, z, g, residual, y } => {
                self.pool_gradient(pool, [x, z, g], residual, y);
            }
            Op::BlurGradient { ref window, g, residual, y } => {
                self.blur_gradient(window, g, residual, y);
            }
            Op::GateGradient { x, gates, g, y } => self.gate_gradient(x, gates, g, y),
            Op::ChannelConvGradient { kernel, x, g, y } => {
                self.channel_conv_gradient(kernel, x, g, y);
            }
            Op::StandardiseGradient { weights, g, y } => {
                self.standardise_gradient(weights, g, y);
            }
            Op::ImageMeans { x, y } => self.image_means(x, y),
            Op::SumImages { p, pixels, y } => self.sum_images(p, pixels, y),
            Op::Magnitudes { x, at } => self.magnitudes(x, at),
            Op::Sgd { g, slot } => self.sgd(g, slot),
        }
    }

    /// An operator as inference has it, with what follows it.
    fn layer(
        &mut self,
        x: ValueId,
        (residual, activation): (Option<ValueId>, Activation),
        y: ValueId,
        lower: impl FnOnce(&mut Lowering, &Layer<'_>),
    ) {
        let (input, output) = (&self.buffer(x), &self.ringed(y));
        let residual = residual.map(|id| self.buffer(id));
        let epilogue = &self.epilogue(residual.is_some(), activation);
        let residual = residual.as_ref();
        let layer = Layer { id: self.layer, epilogue, input, residual, output };
        lower(&mut self.lowering, &layer);
    }

    /// Of which value a residual is, the lowering does not ask.
    fn epilogue(&self, residual: bool, activation: Activation) -> Epilogue {
        Epilogue { residual: residual.then_some(Residual::Same(self.layer)), activation }
    }

    /// Where an activation lies.
    fn buffer(&self, id: ValueId) -> Buffer {
        match self.of.memory.places[id.index()] {
            Place::Activation(buffer) => buffer,
            Place::Numbers(_) => unreachable!("{id} is no activation"),
        }
    }

    /// The same, where it is written: zeros go around it first.
    fn ringed(&mut self, id: ValueId) -> Buffer {
        let buffer = self.buffer(id);
        if !buffer.is_contiguous() {
            self.lowering.ring(self.layer, &buffer);
        }
        buffer
    }

    /// The first byte of numbers.
    fn numbers(&self, id: ValueId) -> usize {
        match self.of.memory.places[id.index()] {
            Place::Numbers(offset) => offset,
            Place::Activation(_) => unreachable!("{id} is an activation"),
        }
    }

    /// Numbers of the arena, as an operand.
    fn side(&self, id: ValueId) -> Side {
        Side::at(Region::Arena, Element::F32, self.numbers(id))
    }

    /// A step that calls one kernel in all `loops`, with operands in the catalogue's order.
    fn call<const N: usize>(&mut self, doc: String, call: Call, sides: [Side; N], loops: &[Loop]) {
        let body = vec![Statement::Call(call, addresses(&sides, loops))];
        self.step(doc, call.names(), &sides, loops, body);
    }

    /// A step of a body in parallel loops.
    fn step(
        &mut self,
        doc: String,
        names: &[&'static str],
        sides: &[Side],
        loops: &[Loop],
        body: Vec<Statement>,
    ) {
        let places: Vec<Operand> = sides.iter().map(|side| side.place).collect();
        let parallel = super::real_loops(loops);
        let function = Function { doc, operands: names.to_vec(), parallel, body };
        self.lowering.step((self.layer, Part::Main), function, places);
    }

    /// Calls for `len` numbers, so many at a time, then the rest.
    fn in_chunks<const N: usize>(
        &mut self,
        doc: &str,
        len: usize,
        make: impl Fn(usize) -> Call,
        sides: [(Side, bool); N],
    ) {
        let chunks = len / CHUNK;
        for (count, size, first) in [(chunks, CHUNK, 0), (1, len % CHUNK, chunks * CHUNK)] {
            if count > 0 && size > 0 {
                let loops = [Loop { var: Var::Block, extent: count }];
                let sides = sides.clone().map(|(side, moves)| match moves {
                    true => side.skip(first).with(Var::Block, CHUNK),
                    false => side,
                });
                self.call(format!("{doc} {size}"), make(size), sides, &loops);
            }
        }
    }

    fn gather(&mut self, from: Source, table: TableId, y: ValueId, at: usize) {
        let table = self.of.state.table(table);
        let (x, parts, distance) = match from {
            Source::Slot(slot) => {
                (Side::weights(Element::F32, self.of.state.slot(slot).offset), 1, 0)
            }
            Source::Value { value, parts, distance } => (self.side(value), parts, distance),
        };
        let t = Side::weights(Element::U32, table.offset);
        let make = |len| Call::Gather(GatherParams { len, of: table.of, parts, distance });
        let sides = [(x, false), (t, true), (self.side(y).skip(at), true)];
        self.in_chunks("gather", table.indices.len(), make, sides);
    }

    fn sgd(&mut self, g: ValueId, slot: SlotId) {
        let slot = self.of.state.slot(slot);
        let Content::Learned { velocity, decays, .. } = slot.content else {
            unreachable!("running statistics are not learned")
        };
        let Descent { nesterov, decay, .. } = self.of.descent;
        let decay = if decays { decay } else { Decay::None };
        let make = |len| Call::Sgd(SgdParams { len, decay, nesterov });
        let lasting = |offset| Side::weights(Element::F32, offset);
        let sides = [
            (self.side(g), true),
            (self.hyper(), false),
            (lasting(velocity), true),
            (lasting(slot.offset), true),
        ];
        self.in_chunks("descend", padded(slot.len), make, sides);
    }

    /// The numbers that the step is told.
    fn hyper(&self) -> Side {
        let skipped = self.of.images_len() + self.of.batch * self.of.classes();
        Side::at(Region::Input, PICTURE, 0).skip(skipped)
    }

    fn cross_entropy(&mut self, x: ValueId, y: ValueId) {
        let (batch, channels) = (self.of.batch, self.of.classes());
        let scale = Constant::new((1.0 / batch as f64) as f32);
        let call = Call::CrossEntropy(CrossEntropyParams { channels, scale });
        let loops = [self.lowering.picture()];
        let [x, y] = [self.buffer(x), self.ringed(y)];
        let targets = Side::at(Region::Input, PICTURE, 0)
            .skip(self.of.images_len())
            .with(Var::Picture, channels);
        let losses = Side::at(Region::Output, PICTURE, 0).with(Var::Picture, 1);
        let pixel = |buffer: &Buffer| Side::new(buffer, Extent::square(0), 0);
        let doc = format!("cross-entropy of {channels}");
        self.call(doc, call, [pixel(&x), targets, losses, pixel(&y)], &loops);
    }

    /// Loops over the planes of an activation.
    fn planes(&self, x: &Buffer) -> [Loop; 2] {
        [self.lowering.picture(), blocks(x)]
    }
}

/// A loop over channel blocks.
fn blocks(x: &Buffer) -> Loop {
    Loop { var: Var::Block, extent: x.blocks() }
}

/// The addresses of a call's operands.
fn addresses(sides: &[Side], loops: &[Loop]) -> Vec<crate::nest::Address> {
    sides.iter().enumerate().map(|(index, side)| side.address(index, loops)).collect()
}

/// Numbers per channel, so many a block.
fn per_block(side: Side, each: usize) -> Side {
    side.with(Var::Block, each)
}

/// Where a residual lies; without one, any address does.
fn residual_or(residual: Option<&Buffer>, y: &Buffer) -> Buffer {
    *residual.unwrap_or(y)
}

/// Elements between rows of a residual.
fn residual_row(residual: Option<&Buffer>) -> usize {
    residual.map_or(0, Buffer::row_len)
}

const _: () = assert!(CHUNK.is_multiple_of(BLOCK));
