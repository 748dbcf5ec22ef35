//! From the graph's nodes to ONNX's: names, operators, attributes, shapes. No weights.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;

use resnet_runtime::kernels::Activation;
use resnet_runtime::weights::quantised::{Names, module};
use resnet_runtime::weights::{Stored, TensorSpec};

use super::proto::{
    AttributeProto, AttributeType, Dimension, FLOAT, GraphProto, INT64, NodeProto, Size,
    TensorProto, TensorShapeProto, TensorType, TypeProto, ValueInfoProto,
};
use crate::graph::{
    Extent, Graph, GroupNorm, Node, NodeId, Op, Padding, PoolKind, Pooling, Shape, Window, binomial,
};

/// The network without its initialisers, which are these tensors. `scales`: of each node the weight of the layer by whose scale its value is
/// bytes, if it is.
pub(super) fn translate(
    graph: &Graph,
    tensors: &[TensorSpec],
    mut scales: Vec<Option<String>>,
    batch: Option<NonZeroU32>,
) -> GraphProto {
    let names = tensors.iter().map(|tensor| tensor.name.to_string());
    let bytes = tensors.iter().filter(|tensor| tensor.stored == Stored::I8);
    let mut translator = Translator {
        graph,
        batch: match batch {
            Some(pictures) => Size::DimValue(pictures.get().into()),
            None => Size::DimParam("N".into()),
        },
        // Tensors keep their names whatever the rows are called.
        taken: names.clone().collect(),
        tensors: names.collect(),
        bytes: bytes.map(|tensor| tensor.name.to_string()).collect(),
        rounded: HashMap::new(),
        values: Vec::new(),
        proto: GraphProto { name: graph.name.clone(), ..GraphProto::default() },
    };
    let input = translator.fresh("input");
    let output = translator.fresh("output");
    for (id, node) in (0..).map(NodeId).zip(&graph.nodes) {
        let feature = graph.features.iter().find(|feature| feature.node == id);
        let name = match &node.op {
            Op::Input => input.clone(),
            _ if let Some(feature) = feature => translator.fresh(&feature.name),
            _ if graph.features.is_empty() && id == graph.output => output.clone(),
            _ => translator.fresh(&node.name),
        };
        let flat = match node.op {
            Op::Linear { .. } => true,
            Op::Activation(_) | Op::Softmax => translator.value(node, 0).flat,
            _ => false,
        };
        match scales[id.index()].take() {
            None => {
                translator.values.push(Value { name, flat });
                translator.node(id, node);
            }
            // Whoever reads it reads what the bytes stand for.
            Some(weight) => {
                let real = translator.fresh(&format!("{name}.real"));
                translator.values.push(Value { name: real.clone(), flat });
                translator.node(id, node);
                translator.round(real, &weight, name.clone());
                translator.values[id.index()].name = name;
            }
        }
        let info = translator.info(id);
        let proto = &mut translator.proto;
        match &node.op {
            Op::Input => proto.input.push(info),
            _ if graph.outputs().contains(&id) => proto.output.push(info),
            _ => proto.value_info.push(info),
        }
    }
    translator.proto
}

struct Translator<'a> {
    graph: &'a Graph,
    batch: Size,
    /// ONNX has one space of names for tensors and values.
    taken: HashSet<String>,
    /// Those that there are.
    tensors: HashSet<String>,
    /// Weights that are bytes.
    bytes: HashSet<String>,
    /// What activations are when they are rounded to bytes.
    rounded: HashMap<String, String>,
    /// What each node makes.
    values: Vec<Value>,
    proto: GraphProto,
}

struct Value {
    name: String,
    /// `N x C`, as linear layers make it, instead of `N x C x H x W`.
    flat: bool,
}

impl Translator<'_> {
    /// `wish`, or if that is taken `wish` with a number.
    fn fresh(&mut self, wish: &str) -> String {
        let numbered = (2..).map(|number| format!("{wish}_{number}"));
        let mut names = std::iter::once(wish.to_owned()).chain(numbered);
        let name = names.find(|name| !self.taken.contains(name)).expect("numbers do not end");
        self.taken.insert(name.clone());
        name
    }

    /// The value of a node's input.
    fn value(&self, node: &Node, input: usize) -> &Value {
        &self.values[node.inputs[input].index()]
    }

    fn node(&mut self, id: NodeId, node: &Node) {
        let own = self.values[id.index()].name.clone();
        let inputs: Vec<String> =
            (0..node.inputs.len()).map(|input| self.value(node, input).name.clone()).collect();
        let and = |more: &[&str]| {
            [&inputs[..], &more.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()].concat()
        };
        match &node.op {
            Op::Input => {}
            // Weights are written standardised.
            Op::Conv { window, groups, weight, bias, standardise: _ } => {
                let mut attributes = sliding(window);
                let dilation = window.dilation;
                attributes.push(ints("dilations", &[dilation.rows, dilation.columns]));
                attributes.push(AttributeProto::int("group", *groups as i64));
                let inputs = match self.bytes.contains(weight) {
                    true => self.quantised(weight, inputs[0].clone()),
                    false => and(&[weight]).into_iter().chain(bias.clone()).collect(),
                };
                self.push("Conv", inputs, own, attributes);
            }
            // Quantised weights have taken it in.
            Op::BatchNorm(norm) if !self.tensors.contains(&*norm.weight) => {
                self.push("Identity", inputs, own, vec![]);
            }
            Op::BatchNorm(norm) => {
                let inputs = and(&norm.names());
                let epsilon = float("epsilon", norm.epsilon as f32);
                self.push("BatchNormalization", inputs, own, vec![epsilon]);
            }
            Op::GroupNorm(norm) => self.group_norm(node, norm, own),
            Op::Activation(activation) => self.activation(node, *activation, own),
            Op::Add => self.push("Add", inputs, own, vec![]),
            Op::Gate => {
                let weights = self.fresh(&format!("{}.sigmoid", node.name));
                self.push("Sigmoid", vec![inputs[1].clone()], weights.clone(), vec![]);
                self.push("Mul", vec![inputs[0].clone(), weights], own, vec![]);
            }
            Op::Slice(channels) => {
                let [start, end] = [channels.start, channels.end].map(|channel| channel as i64);
                let bounds = [("starts", start), ("ends", end), ("axes", 1)];
                let bounds = bounds.map(|(what, number)| self.constant(node, what, &[number]));
                self.push("Slice", [inputs, bounds.into()].concat(), own, vec![]);
            }
            Op::Concat => self.push("Concat", inputs, own, vec![AttributeProto::int("axis", 1)]),
            Op::ChannelConv { kernel, weight } => self.channel_conv(node, *kernel, weight, own),
            Op::ZeroPad { stride, before } => self.zero_pad(node, *stride, *before, own),
            Op::Pool(pool) => self.pool(node, pool, own),
            Op::Blur(window) => self.blur(node, window, own),
            Op::GlobalAveragePool => self.push("GlobalAveragePool", inputs, own, vec![]),
            Op::Linear { weight, bias } => self.linear(node, weight, bias, own),
            Op::Softmax => self.push("Softmax", inputs, own, vec![AttributeProto::int("axis", 1)]),
        }
    }

    /// ONNX's pools count all of their padding or none; zeros that only a part of it counts, or a max
    /// pool, are a node of their own.
    fn pool(&mut self, node: &Node, pool: &Pooling, own: String) {
        let Pooling { kind, mut window, zeros } = *pool;
        let mut input = self.value(node, 0).name.clone();
        let whole = kind == PoolKind::Average && zeros == window.padding;
        if zeros != Padding::NONE && !whole {
            let padded = self.fresh(&format!("{}.padded", node.name));
            let Padding { before, after } = zeros;
            let sides = [0, 0, before.rows, before.columns, 0, 0, after.rows, after.columns];
            let pads = self.constant(node, "pads", &sides.map(|side| side as i64));
            self.push("Pad", vec![input, pads], padded.clone(), vec![]);
            input = padded;
            window.padding = window.padding.without(zeros);
        }
        let mut attributes = sliding(&window);
        let op_type = match kind {
            PoolKind::Max => "MaxPool",
            PoolKind::Average => {
                attributes.push(AttributeProto::int("count_include_pad", i64::from(whole)));
                "AveragePool"
            }
        };
        self.push(op_type, vec![input], own, attributes);
    }

    /// The opset has neither SiLU nor GELU, which are put together of what it has.
    fn activation(&mut self, node: &Node, activation: Activation, own: String) {
        let input = self.value(node, 0).name.clone();
        match activation {
            Activation::None => self.push("Identity", vec![input], own, vec![]),
            Activation::Relu => self.push("Relu", vec![input], own, vec![]),
            Activation::Relu6 => {
                let bounds = [("least", 0.0), ("most", 6.0)];
                let bounds = bounds.map(|(what, bound)| self.floats(node, what, &[], vec![bound]));
                self.push("Clip", [vec![input], bounds.into()].concat(), own, vec![]);
            }
            Activation::Silu => {
                let gate = self.fresh(&format!("{}.sigmoid", node.name));
                self.push("Sigmoid", vec![input.clone()], gate.clone(), vec![]);
                self.push("Mul", vec![input, gate], own, vec![]);
            }
            Activation::Gelu => {
                // x / 2 * (1 + erf(x / sqrt 2))
                let [scaled, erf, sum, half] = ["scaled", "erf", "sum", "half"]
                    .map(|what| self.fresh(&format!("{}.{what}", node.name)));
                let root = self.floats(node, "root", &[], vec![std::f32::consts::FRAC_1_SQRT_2]);
                let one = self.floats(node, "one", &[], vec![1.0]);
                let factor = self.floats(node, "factor", &[], vec![0.5]);
                self.push("Mul", vec![input.clone(), root], scaled.clone(), vec![]);
                self.push("Erf", vec![scaled], erf.clone(), vec![]);
                self.push("Add", vec![erf, one], sum.clone(), vec![]);
                self.push("Mul", vec![input, factor], half.clone(), vec![]);
                self.push("Mul", vec![half, sum], own, vec![]);
            }
            Activation::LeakyRelu => {
                self.push("LeakyRelu", vec![input], own, vec![float("alpha", 0.01)]);
            }
            Activation::HardSwish => self.push("HardSwish", vec![input], own, vec![]),
        }
    }

    /// The opset has no group norm: a reshape makes groups channels, whose norm is over a picture's
    /// pixels; scale and shift come after.
    fn group_norm(&mut self, node: &Node, norm: &GroupNorm, own: String) {
        let input = self.value(node, 0).name.clone();
        let [rows, normed, shaped, scale, scaled, shift] =
            ["groups", "normed", "channels", "scale", "scaled", "shift"]
                .map(|what| self.fresh(&format!("{}.{what}", node.name)));
        let Shape { channels, height, width } = node.shape;
        // A zero keeps the batch; there is one -1.
        let shape = self.constant(node, "group_shape", &[0, norm.groups as i64, -1]);
        self.push("Reshape", vec![input, shape], rows.clone(), vec![]);
        let ones = self.floats(node, "ones", &[norm.groups], vec![1.0; norm.groups]);
        let zeros = self.floats(node, "zeros", &[norm.groups], vec![0.0; norm.groups]);
        let epsilon = float("epsilon", norm.epsilon as f32);
        let inputs = vec![rows, ones, zeros];
        self.push("InstanceNormalization", inputs, normed.clone(), vec![epsilon]);
        let sizes = [0, channels as i64, height as i64, width as i64];
        let shape = self.constant(node, "shape", &sizes);
        self.push("Reshape", vec![normed, shape], shaped.clone(), vec![]);
        let axes = self.constant(node, "axes", &[1, 2]);
        let inputs = vec![norm.weight.clone(), axes.clone()];
        self.push("Unsqueeze", inputs, scale.clone(), vec![]);
        self.push("Mul", vec![shaped, scale], scaled.clone(), vec![]);
        self.push("Unsqueeze", vec![norm.bias.clone(), axes], shift.clone(), vec![]);
        self.push("Add", vec![scaled, shift], own, vec![]);
    }

    /// A depthwise convolution of a mirrored picture.
    fn blur(&mut self, node: &Node, window: &Window, own: String) {
        let Padding { before, after } = window.padding;
        let mut input = self.value(node, 0).name.clone();
        if window.padding != Padding::NONE {
            let mirrored = self.fresh(&format!("{}.mirrored", node.name));
            let sides = [0, 0, before.rows, before.columns, 0, 0, after.rows, after.columns];
            let pads = self.constant(node, "pads", &sides.map(|side| side as i64));
            let mode = AttributeProto {
                s: Some(b"reflect"[..].into()),
                ..attribute("mode", AttributeType::String)
            };
            self.push("Pad", vec![input, pads], mirrored.clone(), vec![mode]);
            input = mirrored;
        }
        let [rows, columns] = [window.kernel.rows, window.kernel.columns].map(binomial);
        let channels = node.shape.channels;
        let plane = rows.iter().flat_map(|row| columns.iter().map(move |v| (row * v) as f32));
        let values = plane.collect::<Vec<_>>().repeat(channels);
        let dims = [channels, 1, rows.len(), columns.len()];
        let filter = self.floats(node, "filter", &dims, values);
        let mut attributes = sliding(&Window { padding: Padding::NONE, ..*window });
        attributes.push(AttributeProto::int("group", channels as i64));
        self.push("Conv", vec![input, filter], own, attributes);
    }

    /// A one-dimensional convolution over the channels, which a reshape makes pixels.
    fn channel_conv(&mut self, node: &Node, kernel: usize, weight: &str, own: String) {
        let input = self.value(node, 0).name.clone();
        let [row, sums] = ["row", "sums"].map(|what| self.fresh(&format!("{}.{what}", node.name)));
        let channels = node.shape.channels;
        // A zero keeps the batch.
        let shape = self.constant(node, "shape", &[0, 1, channels as i64]);
        self.push("Reshape", vec![input, shape], row.clone(), vec![]);
        let pads = ints("pads", &[kernel / 2, kernel / 2]);
        let attributes = vec![ints("kernel_shape", &[kernel]), pads];
        self.push("Conv", vec![row, weight.to_owned()], sums.clone(), attributes);
        let shape = self.constant(node, "pixel", &[0, channels as i64, 1, 1]);
        self.push("Reshape", vec![sums, shape], own, vec![]);
    }

    /// The inputs of a layer whose weights are bytes: what it reads, rounded to bytes, its weights as real
    /// numbers, and its bias.
    fn quantised(&mut self, weight: &str, input: String) -> Vec<String> {
        let Names { weight_scale, bias, .. } = Names::of(module(weight));
        let rounded = match self.rounded.get(&input).cloned() {
            Some(rounded) => rounded,
            None => {
                let rounded = self.fresh(&format!("{input}.rounded"));
                self.round(input, weight, rounded.clone());
                rounded
            }
        };
        let real = self.fresh(&format!("{weight}.real"));
        let of_channels = vec![AttributeProto::int("axis", 0)];
        let inputs = vec![weight.to_owned(), weight_scale];
        self.push("DequantizeLinear", inputs, real.clone(), of_channels);
        vec![rounded, real, bias]
    }

    /// Makes bytes of a value, by the scale of a layer, and `rounded` of the bytes.
    fn round(&mut self, value: String, weight: &str, rounded: String) {
        let Names { input_scale, input_zero_point, .. } = Names::of(module(weight));
        let bytes = self.fresh(&format!("{value}.bytes"));
        let of = |name: &str| vec![name.to_owned(), input_scale.clone(), input_zero_point.clone()];
        self.push("QuantizeLinear", of(&value), bytes.clone(), vec![]);
        self.push("DequantizeLinear", of(&bytes), rounded.clone(), vec![]);
        self.rounded.insert(value, rounded.clone());
        self.rounded.insert(rounded.clone(), rounded);
    }

    fn linear(&mut self, node: &Node, weight: &str, bias: &str, own: String) {
        let input = self.value(node, 0);
        let (mut name, flat) = (input.name.clone(), input.flat);
        if !flat {
            let flattened = self.fresh(&format!("{}.flatten", node.name));
            self.push(
                "Flatten",
                vec![name],
                flattened.clone(),
                vec![AttributeProto::int("axis", 1)],
            );
            name = flattened;
        }
        let inputs = match self.bytes.contains(weight) {
            true => self.quantised(weight, name),
            false => vec![name, weight.to_owned(), bias.to_owned()],
        };
        self.push("Gemm", inputs, own, vec![AttributeProto::int("transB", 1)]);
    }

    /// Shortcut option A: a slice with steps, then a pad of channels; each only where it does
    /// something.
    fn zero_pad(&mut self, node: &Node, stride: Extent, before: usize, own: String) {
        let from = self.graph.node(node.inputs[0]).shape;
        let after = node.shape.channels - from.channels - before;
        let mut name = self.value(node, 0).name.clone();
        let pads = before + after > 0;
        if stride != Extent::square(1) {
            let to = if pads { self.fresh(&format!("{}.slice", node.name)) } else { own.clone() };
            let ends = [from.height, from.width].map(|end| end as i64);
            let steps = [stride.rows, stride.columns].map(|step| step as i64);
            let inputs = vec![
                name,
                self.constant(node, "starts", &[0, 0]),
                self.constant(node, "ends", &ends),
                self.constant(node, "axes", &[2, 3]),
                self.constant(node, "steps", &steps),
            ];
            self.push("Slice", inputs, to.clone(), vec![]);
            name = to;
        }
        if pads {
            let [before, after] = [before, after].map(|channels| channels as i64);
            let pads = self.constant(node, "pads", &[0, before, 0, 0, 0, after, 0, 0]);
            self.push("Pad", vec![name, pads], own, vec![]);
        }
    }

    /// A list of numbers that an operator takes as an input.
    fn constant(&mut self, node: &Node, what: &str, numbers: &[i64]) -> String {
        let raw_data = numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>().into();
        let dims = vec![numbers.len() as i64];
        let tensor = TensorProto { dims, data_type: INT64, raw_data, ..TensorProto::default() };
        self.tensor(node, what, tensor)
    }

    /// A tensor that is always the same.
    fn floats(&mut self, node: &Node, what: &str, dims: &[usize], values: Vec<f32>) -> String {
        let raw_data = values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>().into();
        let dims = dims.iter().map(|&size| size as i64).collect();
        let tensor = TensorProto { dims, data_type: FLOAT, raw_data, ..TensorProto::default() };
        self.tensor(node, what, tensor)
    }

    /// A constant: a node, not an initialiser; those are the tensors of the state dict, and nothing
    /// else.
    fn tensor(&mut self, node: &Node, what: &str, tensor: TensorProto) -> String {
        let name = self.fresh(&format!("{}.{what}", node.name));
        let value = AttributeProto { t: Some(tensor), ..attribute("value", AttributeType::Tensor) };
        self.push("Constant", vec![], name.clone(), vec![value]);
        name
    }

    /// Adds a node that is called as what it makes.
    fn push(
        &mut self,
        op_type: &str,
        input: Vec<String>,
        output: String,
        attribute: Vec<AttributeProto>,
    ) {
        self.proto.node.push(NodeProto {
            input,
            name: output.clone(),
            output: vec![output],
            op_type: op_type.into(),
            attribute,
            ..NodeProto::default()
        });
    }

    /// Name, type and shape of what a node makes.
    fn info(&self, id: NodeId) -> ValueInfoProto {
        let Value { name, flat } = &self.values[id.index()];
        let Shape { channels, height, width } = self.graph.node(id).shape;
        let sizes = [channels, height, width].map(|size| Size::DimValue(size as i64));
        let sizes = sizes.into_iter().take(if *flat { 1 } else { 3 });
        let dim = std::iter::once(self.batch.clone()).chain(sizes);
        let dim = dim.map(|size| Dimension { value: Some(size) }).collect();
        let shape = Some(TensorShapeProto { dim });
        let tensor_type = Some(TensorType { elem_type: FLOAT, shape });
        ValueInfoProto { name: name.clone(), r#type: Some(TypeProto { tensor_type }) }
    }
}

/// The attributes of a convolution's or a pool's window.
fn sliding(window: &Window) -> Vec<AttributeProto> {
    let Window { kernel, stride, padding: Padding { before, after }, .. } = window;
    vec![
        ints("kernel_shape", &[kernel.rows, kernel.columns]),
        ints("strides", &[stride.rows, stride.columns]),
        // Before the first row and column, then after the last ones.
        ints("pads", &[before.rows, before.columns, after.rows, after.columns]),
    ]
}

fn ints(name: &str, values: &[usize]) -> AttributeProto {
    let ints = values.iter().map(|&value| value as i64).collect();
    AttributeProto { ints, ..attribute(name, AttributeType::Ints) }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, AttributeType::Float) }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: kind.into(), ..AttributeProto::default() }
}
