//! The network forward, with the statistics of the batch: which values are kept, and by what each was made.

use resnet_runtime::kernels::{Activation, BLOCK, PAIR_LEN, Panels, TRIPLE_LEN};

use super::algorithms::{gradient, panels, plan, stays_planar};
use super::record::{ConvRecord, Record};
use super::state::{NormOf, NormSlots, SlotId, State, TableId, padded};
use super::tape::{ConvId, Filters, Gradient, Kind, NormValues, Op, Source, Tape, ValueId};
use super::{Descent, TableError};
use crate::graph::{self, Extent, Graph, Node, NodeId, Padding, Shape, Window};
use crate::schedule::Order;

/// What a node has become.
#[derive(Clone, Copy, Debug)]
enum Made {
    /// Nothing yet.
    Nothing,
    /// A value.
    Value(ValueId),
    /// A norm whose statistics are there, which waits for what follows it.
    Norm { of: NormValues, slots: NormSlots, residual: Option<NodeId> },
    /// A sum that waits for an activation.
    Sum([NodeId; 2]),
}

pub(super) struct Forward<'a> {
    graph: &'a Graph,
    batch: usize,
    /// No Winograd.
    exact: bool,
    pub(super) tape: Tape,
    pub(super) state: State,
    /// By what each value was made, with the layer's name.
    pub(super) records: Vec<(String, Record)>,
    made: Vec<Made>,
    readers: Vec<usize>,
}

impl<'a> Forward<'a> {
    /// The network forward, and the value of its logits.
    pub(super) fn build(
        graph: &'a Graph,
        batch: usize,
        descent: &Descent,
    ) -> Result<(Self, ValueId), TableError> {
        let mut readers = vec![0; graph.nodes.len()];
        for id in graph.nodes.iter().flat_map(|node| &node.inputs) {
            readers[id.index()] += 1;
        }
        let mut forward = Self {
            graph,
            batch,
            exact: descent.exact,
            tape: Tape::default(),
            state: State { frozen: descent.frozen.clone(), ..State::default() },
            records: Vec::new(),
            made: vec![Made::Nothing; graph.nodes.len()],
            readers,
        };
        let (tape, shape) = (&mut forward.tape, graph.input_shape());
        let images = tape.add("images".to_owned(), Kind::Activation(shape));
        tape.push("images", Op::Images { y: images });
        let mut firsts = graph.nodes.iter().filter(|node| node.inputs.contains(&NodeId::at(0)));
        if let (Some(Node { op: graph::Op::Conv { window, groups, .. }, .. }), None) =
            (firsts.next(), firsts.next())
        {
            tape.planar = stays_planar(window, *groups, shape);
        }
        forward.made[0] = Made::Value(images);
        for (index, node) in graph.nodes.iter().enumerate().skip(1) {
            forward.made[index] = forward.node(node)?;
        }
        let logits = forward.value(graph.output);
        forward.tape.push("logits", Op::Logits { x: logits });
        Ok((forward, logits))
    }

    fn node(&mut self, node: &Node) -> Result<Made, TableError> {
        let first = node.inputs[0];
        Ok(match &node.op {
            graph::Op::Conv { window, groups, weight, bias, standardise } => {
                let x = self.value(first);
                let tensors = (&**weight, bias.as_deref(), *standardise);
                Made::Value(self.conv(node, *window, *groups, tensors, x)?)
            }
            graph::Op::Linear { weight, bias } => {
                let x = self.value(first);
                let Shape { height, width, .. } = self.tape.shape(x);
                let one = Extent::square(1);
                let window = Window {
                    kernel: Extent::new(height, width),
                    stride: one,
                    padding: Padding::NONE,
                    dilation: one,
                };
                Made::Value(self.conv(node, window, 1, (weight, Some(bias), None), x)?)
            }
            graph::Op::BatchNorm(norm) => {
                let x = self.value(first);
                let slots = self.state.norm(norm, node.shape.channels);
                self.norm(node, slots, x)
            }
            graph::Op::GroupNorm(norm) => {
                let x = self.value(first);
                let slots = self.state.group_norm(norm, node.shape.channels);
                self.norm(node, slots, x)
            }
            graph::Op::Add => self.add(node),
            graph::Op::Activation(activation) => {
                Made::Value(self.activate(&node.name, first, *activation))
            }
            // The loss has its own.
            graph::Op::Softmax => Made::Value(self.value(first)),
            graph::Op::Input => unreachable!("the first node alone is the input"),
            graph::Op::Gate
            | graph::Op::ChannelConv { .. }
            | graph::Op::ZeroPad { .. }
            | graph::Op::Pool(_)
            | graph::Op::Blur(_)
            | graph::Op::GlobalAveragePool
            | graph::Op::Slice(_)
            | graph::Op::Concat => Made::Value(self.simple(node)),
        })
    }

    /// An operator that takes in nothing, and that nothing takes in.
    fn simple(&mut self, node: &Node) -> ValueId {
        let inputs: Vec<ValueId> = node.inputs.iter().map(|&id| self.value(id)).collect();
        let name = &node.name;
        let (x, z) = (inputs[0], self.tape.add(name.clone(), Kind::Activation(node.shape)));
        let (op, record) = match node.op {
            graph::Op::Pool(pool) => (Op::Pool { pool, x, y: z }, Record::Pool { pool, x, z }),
            graph::Op::GlobalAveragePool => (Op::Mean { x, y: z }, Record::Mean { x, z }),
            graph::Op::ZeroPad { stride, before } => {
                (Op::ZeroPad { stride, before, x, y: z }, Record::ZeroPad { stride, before, x, z })
            }
            graph::Op::Blur(window) => {
                (Op::Blur { window, x, y: z }, Record::Blur { window, x, z })
            }
            graph::Op::Gate => {
                let gates = inputs[1];
                (Op::Gate { x, gates, residual: None, y: z }, Record::Gate { x, gates, z })
            }
            graph::Op::ChannelConv { kernel, ref weight } => {
                let weight = self.state.learned(&[(weight, kernel, true)])[0];
                let table = self.state.line(kernel, false);
                let w = self.pack(name, "weights", Source::Slot(weight), table);
                let record = Record::ChannelConv { kernel, weight, x, z };
                (Op::ChannelConv { kernel, x, w, y: z }, record)
            }
            graph::Op::Slice(ref channels) => {
                let first = channels.start;
                (shift([first, 0], x, None, z), Record::Slice { first, x, z })
            }
            graph::Op::Concat => {
                let op = self.concat(name, &inputs, z);
                (op, Record::Concat { inputs, z })
            }
            graph::Op::Input
            | graph::Op::Conv { .. }
            | graph::Op::Linear { .. }
            | graph::Op::BatchNorm(_)
            | graph::Op::GroupNorm(_)
            | graph::Op::Add
            | graph::Op::Activation(_)
            | graph::Op::Softmax => unreachable!("`{name}` waits, or has weights"),
        };
        self.tape.push(name, op);
        self.records.push((name.clone(), record));
        z
    }

    /// Puts all inputs but the last among zeros, each over those before it; the operator that puts the last one there.
    fn concat(&mut self, name: &str, inputs: &[ValueId], z: ValueId) -> Op {
        let kind = self.tape.value(z).kind;
        let (mut before, mut residual) = (0, None);
        for (index, &x) in inputs.iter().enumerate() {
            if index + 1 == inputs.len() {
                return shift([0, before], x, residual, z);
            }
            let y = self.tape.add(format!("{name}.{index}"), kind);
            self.tape.push(name, shift([0, before], x, residual, y));
            before += self.tape.shape(x).channels;
            residual = Some(y);
        }
        unreachable!("`{name}` has an input")
    }

    fn conv(
        &mut self,
        node: &Node,
        window: Window,
        groups: usize,
        (weight, bias, standardise): (&str, Option<&str>, Option<f64>),
        x: ValueId,
    ) -> Result<ValueId, TableError> {
        let name = &node.name;
        let panels = panels(window, groups, self.tape.layout(x), self.tape.shape(x), node.shape);
        let weights = panels.shape.out_channels * panels.shape.channel_len();
        if weights > LARGEST {
            return Err(TableError::Weights { layer: name.clone(), weights });
        }
        let mut tensors = vec![(weight, weights, true)];
        tensors.extend(bias.map(|bias| (bias, node.shape.channels, false)));
        let slots = self.state.learned(&tensors);
        let (weight, bias) = (slots[0], slots.get(1).copied());
        let packing = self.state.packing(&panels, bias.is_some())?;
        let z = self.tape.add(name.clone(), Kind::Activation(node.shape));
        let shapes = [self.tape.shape(x), node.shape];
        let (gradient, products) = gradient(window, panels, shapes, self.batch, self.exact);
        let record =
            ConvRecord { groups, weight, bias, standardise, packing, gradient, products, x, z };
        self.run(name, &record, x, z);
        self.records.push((name.clone(), Record::Conv(record)));
        Ok(z)
    }

    /// Adds a layer's convolution.
    pub(super) fn run(&mut self, name: &str, conv: &ConvRecord, x: ValueId, z: ValueId) {
        let &ConvRecord { weight, bias, standardise, packing, gradient, .. } = conv;
        let Gradient { window, panels, .. } = gradient;
        let from = self.weights(name, weight, bias, standardise, self.tape.shape(z).channels);
        let weights = Packing { from, table: packing, bias: bias.is_some() };
        self.convolve(name, weights, (window, panels), x, None, z);
    }

    /// Adds a convolution, with weights that are packed for it now.
    pub(super) fn convolve(
        &mut self,
        name: &str,
        weights: Packing,
        (window, panels): (Window, Panels),
        x: ValueId,
        residual: Option<ValueId>,
        y: ValueId,
    ) {
        let Packing { from, table, bias } = weights;
        let len = self.state.table(table).indices.len();
        let direct = self.tape.add(format!("{name}.weights"), Kind::Numbers(len));
        self.tape.push(name, Op::Gather { from, table, y: direct, at: 0 });
        let conv = plan(window, panels, self.tape.shape(y), self.batch, self.exact);
        let (panels, winograd, order) = (conv.panels, conv.winograd, conv.order);
        self.tape.convs.push(conv);
        let conv = ConvId::at(self.tape.convs.len() - 1);
        let (mut w, mut points) = (direct, None);
        if let Some(winograd) = winograd {
            let len = panels.weights_len() + panels.numbers_len();
            w = self.tape.add(format!("{name}.points"), Kind::Numbers(len));
            self.tape.push(name, Op::Points { conv, x: direct, y: w });
            let table = self.state.numbers_behind(&panels, bias);
            let at = panels.weights_len();
            self.tape.push(name, Op::Gather { from, table, y: w, at });
            if order != Order::RowsOuter {
                let len = winograd.input.len() * winograd.bands(self.batch);
                points = Some(self.tape.add(format!("{name}.input"), Kind::Numbers(len)));
            }
        }
        self.tape.push(name, Op::Conv { conv, x, w, points, residual, y });
    }

    /// Where a convolution's weights come from, and behind them its bias if it has one: they are standardised first
    /// if it is so.
    pub(super) fn weights(
        &mut self,
        name: &str,
        slot: SlotId,
        bias: Option<SlotId>,
        standardise: Option<f64>,
        channels: usize,
    ) -> Source {
        let Some(epsilon) = standardise else { return Source::Slot(slot) };
        let len = |slot: SlotId| padded(self.state.slot(slot).len);
        let len = len(slot) + bias.map_or(0, len);
        let value = self.tape.add(format!("{name}.standardised"), Kind::Numbers(len));
        self.tape
            .push(name, Op::Standardise { weights: Filters { slot, channels, epsilon }, y: value });
        Source::Value { value, parts: 1, distance: 0 }
    }

    /// Packs a layer's weights by a table.
    pub(super) fn pack(&mut self, name: &str, what: &str, from: Source, table: TableId) -> ValueId {
        let len = self.state.table(table).indices.len();
        let y = self.tape.add(format!("{name}.{what}"), Kind::Numbers(len));
        self.tape.push(name, Op::Gather { from, table, y, at: 0 });
        y
    }

    fn norm(&mut self, node: &Node, slots: NormSlots, x: ValueId) -> Made {
        let name = &node.name;
        let (blocks, pixels) = (node.shape.channels.div_ceil(BLOCK), node.shape.pixels());
        let p = match slots.of {
            NormOf::Running { running } => {
                let table = self.state.moments(blocks);
                self.pack(name, "running", Source::Slot(running), table)
            }
            NormOf::Batch { .. } | NormOf::Group { .. } => {
                let each = Kind::Numbers(self.batch * blocks * PAIR_LEN);
                let p = self.tape.add(format!("{name}.of_images"), each);
                self.tape.push(name, Op::Moments { x, y: p });
                p
            }
        };
        let (of_images, len) = match slots.of {
            NormOf::Batch { .. } | NormOf::Running { .. } => (false, blocks * TRIPLE_LEN),
            NormOf::Group { .. } => (true, self.batch * blocks * TRIPLE_LEN),
        };
        let moments = self.tape.add(format!("{name}.moments"), Kind::Numbers(len));
        let op = match slots.of {
            NormOf::Batch { .. } | NormOf::Running { .. } => {
                Op::BatchMoments { norm: slots, pixels, p, y: moments }
            }
            NormOf::Group { channels } => {
                Op::GroupMoments { norm: slots, group: channels, p, y: moments }
            }
        };
        self.tape.push(name, op);
        Made::Norm { of: NormValues { x, moments, of_images }, slots, residual: None }
    }

    /// A sum takes in a norm that nobody else reads.
    fn add(&mut self, node: &Node) -> Made {
        let [main, shortcut] = [node.inputs[0], node.inputs[1]];
        for (norm, other) in [(main, shortcut), (shortcut, main)] {
            if let Made::Norm { of, slots, residual: None } = self.made[norm.index()]
                && self.readers[norm.index()] == 1
                && other != norm
            {
                self.value(other);
                return Made::Norm { of, slots, residual: Some(other) };
            }
        }
        self.value(main);
        self.value(shortcut);
        Made::Sum([main, shortcut])
    }

    /// The value of a node, which is made now if it waits.
    fn value(&mut self, id: NodeId) -> ValueId {
        if let Made::Value(value) = self.made[id.index()] {
            return value;
        }
        let name = self.graph.node(id).name.clone();
        let value = self.finish(&name, id, Activation::None);
        self.made[id.index()] = Made::Value(value);
        value
    }

    /// An activation, which what waits for it takes in.
    fn activate(&mut self, name: &str, id: NodeId, activation: Activation) -> ValueId {
        let waits = !matches!(self.made[id.index()], Made::Value(_));
        if waits && self.readers[id.index()] == 1 && !activation.keeps_input() {
            return self.finish(name, id, activation);
        }
        let x = self.value(id);
        let z = self.tape.add(name.to_owned(), Kind::Activation(self.tape.shape(x)));
        self.tape.push(name, Op::Add { x, residual: None, activation, y: z });
        self.records.push((name.to_owned(), Record::Add { x, residual: None, activation, z }));
        z
    }

    /// Makes what waits, with an activation.
    fn finish(&mut self, name: &str, id: NodeId, activation: Activation) -> ValueId {
        let shape = self.graph.node(id).shape;
        let z = self.tape.add(name.to_owned(), Kind::Activation(shape));
        let (op, record) = match self.made[id.index()] {
            Made::Norm { of, slots, residual } => {
                let residual = residual.map(|id| self.value(id));
                let shift = slots.shift;
                let op = Op::Normalise { of, shift, residual, activation, y: z };
                let pixels = shape.pixels();
                (op, Record::Norm { of, slots, pixels, residual, activation, z })
            }
            Made::Sum([a, b]) => {
                let (x, residual) = (self.value(a), Some(self.value(b)));
                let op = Op::Add { x, residual, activation, y: z };
                (op, Record::Add { x, residual, activation, z })
            }
            Made::Nothing | Made::Value(_) => unreachable!("it waits"),
        };
        self.tape.push(name, op);
        self.records.push((name.to_owned(), record));
        z
    }
}

/// How the weights of a convolution are packed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packing {
    /// Where they are, and behind them the bias.
    pub(super) from: Source,
    /// For a direct convolution.
    pub(super) table: TableId,
    pub(super) bias: bool,
}

/// The channels of `x` from the first ones on, behind so many zeros.
pub(super) fn shift(
    [skipped, before]: [usize; 2],
    x: ValueId,
    residual: Option<ValueId>,
    y: ValueId,
) -> Op {
    Op::Shift { stride: Extent::square(1), skipped, before, x, residual, y }
}

/// Weights of a layer whose numbers are still exact in `f32`.
const LARGEST: usize = 1 << 24;
