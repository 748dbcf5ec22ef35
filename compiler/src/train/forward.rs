//! The network forward, with the statistics of the batch: which values are kept, and by what each was made.

use resnet_runtime::kernels::{
    Activation, BLOCK, Element, PAIR_LEN, PanelFormat, Panels, TRIPLE_LEN, Transform,
};
use resnet_runtime::weights::NormTensors;

use super::TrainError;
use super::state::{NormSlots, SlotId, State, TableId};
use super::tape::{Conv, ConvId, Kind, NormValues, Op, Source, Tape, ValueId};
use crate::fuse;
use crate::graph::{self, Extent, Graph, Node, NodeId, Padding, Pooling, Shape, Window};
use crate::schedule::{self, Layout, Order};

/// How a value was made, for the way back.
#[derive(Clone, Debug)]
pub(super) enum Record {
    Conv(ConvRecord),
    Norm {
        of: NormValues,
        slots: NormSlots,
        pixels: usize,
        residual: Option<ValueId>,
        activation: Activation,
        z: ValueId,
    },
    Add {
        x: ValueId,
        residual: Option<ValueId>,
        activation: Activation,
        z: ValueId,
    },
    Pool {
        pool: Pooling,
        x: ValueId,
        z: ValueId,
    },
    Mean {
        x: ValueId,
        z: ValueId,
    },
    ZeroPad {
        stride: Extent,
        before: usize,
        x: ValueId,
        z: ValueId,
    },
}

/// A convolution, or a linear layer.
#[derive(Clone, Debug)]
pub(super) struct ConvRecord {
    pub(super) groups: usize,
    pub(super) weight: SlotId,
    pub(super) bias: Option<SlotId>,
    /// By which its weights are packed for a direct convolution.
    pub(super) packing: TableId,
    pub(super) window: Window,
    /// How they then lie.
    pub(super) panels: Panels,
    pub(super) x: ValueId,
    pub(super) z: ValueId,
}

/// What a node has become.
#[derive(Clone, Copy, Debug)]
enum Made {
    /// Nothing yet.
    Nothing,
    /// A value.
    Value(ValueId),
    /// A batch norm whose statistics are there, which waits for what follows it.
    Norm { of: NormValues, slots: NormSlots, residual: Option<NodeId> },
    /// A sum that waits for an activation.
    Sum([NodeId; 2]),
}

pub(super) struct Forward<'a> {
    graph: &'a Graph,
    batch: usize,
    pub(super) tape: Tape,
    pub(super) state: State,
    /// By what each value was made, with the layer's name.
    pub(super) records: Vec<(String, Record)>,
    made: Vec<Made>,
    readers: Vec<usize>,
}

impl<'a> Forward<'a> {
    /// The network forward, and the value of its logits.
    pub(super) fn build(graph: &'a Graph, batch: usize) -> Result<(Self, ValueId), TrainError> {
        let mut readers = vec![0; graph.nodes.len()];
        for id in graph.nodes.iter().flat_map(|node| &node.inputs) {
            readers[id.index()] += 1;
        }
        let mut forward = Self {
            graph,
            batch,
            tape: Tape::default(),
            state: State::default(),
            records: Vec::new(),
            made: vec![Made::Nothing; graph.nodes.len()],
            readers,
        };
        let (tape, shape) = (&mut forward.tape, graph.input_shape());
        let images = tape.add("images".to_owned(), Kind::Activation(shape));
        tape.push("images", Op::Images { y: images });
        forward.made[0] = Made::Value(images);
        for (index, node) in graph.nodes.iter().enumerate().skip(1) {
            forward.made[index] = forward.node(node)?;
        }
        let logits = forward.value(graph.output);
        forward.tape.push("logits", Op::Logits { x: logits });
        Ok((forward, logits))
    }

    fn node(&mut self, node: &Node) -> Result<Made, TrainError> {
        let refuse =
            |what: &'static str| Err(TrainError::Operator { layer: node.name.clone(), what });
        let first = node.inputs[0];
        Ok(match &node.op {
            graph::Op::Conv { standardise: Some(_), .. } => {
                return refuse("weight standardization");
            }
            graph::Op::Conv { window, groups, weight, bias, standardise: None } => {
                let x = self.value(first);
                Made::Value(self.conv(node, *window, *groups, weight, bias.as_deref(), x)?)
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
                Made::Value(self.conv(node, window, 1, weight, Some(bias), x)?)
            }
            graph::Op::BatchNorm(norm) => {
                let x = self.value(first);
                self.norm(node, norm, x)
            }
            graph::Op::Add => self.add(node),
            graph::Op::Activation(activation) => {
                Made::Value(self.activate(&node.name, first, *activation))
            }
            graph::Op::Pool(pool) if pool.kind == graph::PoolKind::Max && !pool.selects() => {
                return refuse("a max pool that counts zeros");
            }
            graph::Op::Pool(pool) => {
                let x = self.value(first);
                let z = self.tape.add(node.name.clone(), Kind::Activation(node.shape));
                self.tape.push(&node.name, Op::Pool { pool: *pool, x, y: z });
                self.made_by(&node.name, Record::Pool { pool: *pool, x, z }, z)
            }
            graph::Op::GlobalAveragePool => {
                let x = self.value(first);
                let z = self.tape.add(node.name.clone(), Kind::Activation(node.shape));
                self.tape.push(&node.name, Op::Mean { x, y: z });
                self.made_by(&node.name, Record::Mean { x, z }, z)
            }
            &graph::Op::ZeroPad { stride, before } => {
                let x = self.value(first);
                let z = self.tape.add(node.name.clone(), Kind::Activation(node.shape));
                self.tape.push(&node.name, Op::ZeroPad { stride, before, x, y: z });
                self.made_by(&node.name, Record::ZeroPad { stride, before, x, z }, z)
            }
            // The loss has its own.
            graph::Op::Softmax => Made::Value(self.value(first)),
            graph::Op::Input => unreachable!("the first node alone is the input"),
            graph::Op::GroupNorm(_) => return refuse("a group norm"),
            graph::Op::Gate => return refuse("a gate"),
            graph::Op::ChannelConv { .. } => return refuse("a convolution along the channels"),
            graph::Op::Blur(_) => return refuse("a blur"),
            graph::Op::Slice(_) | graph::Op::Concat => return refuse("parts of channels"),
        })
    }

    fn made_by(&mut self, name: &str, record: Record, z: ValueId) -> Made {
        self.records.push((name.to_owned(), record));
        Made::Value(z)
    }

    fn conv(
        &mut self,
        node: &Node,
        window: Window,
        groups: usize,
        weight: &str,
        bias: Option<&str>,
        x: ValueId,
    ) -> Result<ValueId, TrainError> {
        let name = &node.name;
        let panels = panels(window, groups, self.tape.shape(x), node.shape);
        let weights = panels.shape.out_channels * panels.shape.channel_len();
        if weights > LARGEST {
            return Err(TrainError::Weights { layer: name.clone(), weights });
        }
        let mut tensors = vec![(weight, weights, true)];
        tensors.extend(bias.map(|bias| (bias, node.shape.channels, false)));
        let slots = self.state.learned(&tensors);
        let (weight, bias) = (slots[0], slots.get(1).copied());
        let packing = self.state.packing(&panels, bias.is_some())?;
        let z = self.tape.add(name.clone(), Kind::Activation(node.shape));
        let weights = Packing { slot: weight, table: packing, bias: bias.is_some() };
        self.convolve(name, weights, (window, panels), x, None, z);
        let record = ConvRecord { groups, weight, bias, packing, window, panels, x, z };
        self.records.push((name.clone(), Record::Conv(record)));
        Ok(z)
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
        let Packing { slot, table, bias } = weights;
        let len = self.state.table(table).indices.len();
        let direct = self.tape.add(format!("{name}.weights"), Kind::Numbers(len));
        let from = Source::Slot(slot);
        self.tape.push(name, Op::Gather { from, table, y: direct, at: 0 });
        let conv = plan(window, panels, self.tape.shape(y), self.batch);
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

    fn norm(&mut self, node: &Node, norm: &NormTensors, x: ValueId) -> Made {
        let name = &node.name;
        let (blocks, pixels) = (node.shape.channels.div_ceil(BLOCK), node.shape.pixels());
        let slots = self.state.norm(norm, node.shape.channels);
        let of_images = Kind::Numbers(self.batch * blocks * PAIR_LEN);
        let p = self.tape.add(format!("{name}.of_images"), of_images);
        let moments = self.tape.add(format!("{name}.moments"), Kind::Numbers(blocks * TRIPLE_LEN));
        self.tape.push(name, Op::Moments { x, y: p });
        self.tape.push(name, Op::BatchMoments { norm: slots, pixels, p, y: moments });
        Made::Norm { of: NormValues { x, moments }, slots, residual: None }
    }

    /// A sum takes in a batch norm that nobody else reads.
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
    pub(super) slot: SlotId,
    /// For a direct convolution.
    pub(super) table: TableId,
    pub(super) bias: bool,
}

/// Bytes of weights that may stay in a second-level cache while a band's rows pass.
const RESIDENT: usize = 1280 * 1024;

/// What computes a convolution whose weights are packed so for a direct one.
fn plan(window: Window, panels: Panels, output: Shape, batch: usize) -> Conv {
    let order = |panels: &Panels| match panels.bytes() <= RESIDENT {
        true => Order::RowsOuter,
        false => Order::PanelsOuter,
    };
    if !is_winograd(&window, &panels) {
        return Conv { window, panels, order: order(&panels), winograd: None };
    }
    let format = PanelFormat { transform: Transform::Winograd4x4, ..panels.format };
    let panels = Panels { format, ..panels };
    let order = order(&panels);
    let winograd = schedule::plan_winograd(order, &format, &window, output, batch);
    Conv { window, panels, order, winograd: Some(winograd) }
}

/// Whether F(4x4, 3x3) computes it, and the gradient of its weights.
pub(super) fn is_winograd(window: &Window, panels: &Panels) -> bool {
    let one = Extent::square(1);
    window.kernel == Extent::square(3)
        && window.stride == one
        && window.dilation == one
        && panels.shape.groups == 1
}

/// Weights of a layer whose numbers are still exact in `f32`.
const LARGEST: usize = 1 << 24;

/// How a convolution's weights are packed.
pub(super) fn panels(window: Window, groups: usize, input: Shape, output: Shape) -> Panels {
    let conv = fuse::Conv {
        window,
        groups,
        weight: String::new(),
        bias: None,
        standardise: None,
        norm: None,
        slice: None,
        quantised: false,
    };
    let panels = schedule::panels(&conv, Transform::None, Layout::Blocked, input, output);
    let element = Element::F32;
    Panels { format: PanelFormat { element, ..panels.format }, ..panels }
}
