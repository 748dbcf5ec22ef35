//! What each node of an ONNX graph means.
//!
//! Attributes that later versions of an operator have as inputs are found in either place, so that one
//! reading does for the operator sets from 7 on.

mod arithmetic;
mod constants;
mod cut;
mod dense;
mod norm;
mod picture;
mod quantise;
mod reshape;
mod window;

use std::collections::{HashMap, HashSet};

use resnet_compiler::graph::Shape;
use resnet_compiler::onnx::proto::{self, FunctionProto, GraphProto};

use super::files::{Constant, Files};
use super::form::{Form, View};
use super::graph::{Activation, Function, Network, Op, Step, ValueId};
use super::node::Node;
use super::numbers::Numbers;
use crate::checkpoint::{Bytes, Stored};
use crate::error::{Fault, corrupt, unknown};

/// Most elements of an activation, as in a table.
const MOST_ELEMENTS: u128 = 1 << 31;

/// More answers than any network has stages.
const MOST_OUTPUTS: usize = 1000;

/// What an operator that is not known is answered with.
const KNOWN: &str = "a layer table has convolutions, norms, activations, pools, sums, \
                     squeeze-and-excitation, linear layers and softmax; export the network alone, for \
                     inference (`model.eval()`)";

/// The types of weights and activations, of which each is as good as another here.
const FLOATS: [i32; 4] = [proto::FLOAT, proto::FLOAT16, proto::BFLOAT16, proto::DOUBLE];

/// What a name of the graph stands for.
#[derive(Clone, Debug)]
enum Known {
    Activation(View),
    Floats(Stored),
    /// Whole numbers; `None` where they are not understood.
    Numbers(Option<Numbers>),
    /// Bytes, or many whole numbers.
    Whole(Stored),
    /// A constant of another type, which no operator that is known reads.
    Other(i32),
}

impl From<Constant> for Known {
    fn from(constant: Constant) -> Self {
        match constant {
            Constant::Floats(stored) => Self::Floats(stored),
            Constant::Numbers(numbers) => Self::Numbers(Some(numbers)),
            Constant::Whole(stored) => Self::Whole(stored),
            Constant::Other(kind) => Self::Other(kind),
        }
    }
}

/// Reads nodes one after the other.
struct Reader<'a> {
    files: &'a mut Files,
    /// The operator set.
    opset: i64,
    functions: &'a [FunctionProto],
    names: HashMap<String, Known>,
    /// What the bytes of activations stand for, by the names of what makes or reads them.
    scales: HashMap<String, Bytes>,
    /// Activations after a ReLU that was left out, by what they are without.
    put_back: HashMap<ValueId, View>,
    /// Names that an answer depends on.
    needed: HashSet<&'a str>,
    /// The number of pictures, if the graph says it.
    batch: Option<i64>,
    network: Network,
}

/// Understands the nodes of a graph. `size` is that of the pictures if the graph leaves it open, or if the
/// caller wants another one.
pub(super) fn read(
    graph: &GraphProto,
    (opset, functions): (i64, &[FunctionProto]),
    files: &mut Files,
    size: Option<(usize, usize)>,
) -> Result<Network, Fault> {
    if let Some(tensor) = graph.sparse_initializer.first() {
        return unknown(format!(
            "the graph has a sparse tensor, of {} bytes; save all as dense ones",
            tensor.len()
        ));
    }
    if !graph.quantization_annotation.is_empty() {
        return unknown("the graph says how it is quantised; import the network of floats");
    }
    let network = Network {
        steps: vec![],
        values: vec![],
        input: 0,
        bytes: false,
        outputs: vec![],
        notes: vec![],
    };
    let mut reader = Reader {
        files,
        opset,
        functions,
        names: HashMap::new(),
        scales: HashMap::new(),
        put_back: HashMap::new(),
        needed: needed(graph),
        batch: None,
        network,
    };
    reader.initializers(graph)?;
    reader.picture(graph, size)?;
    for node in &graph.node {
        if node.output.iter().any(|output| reader.needed.contains(&**output)) {
            reader.node(&Node::new(node))?;
        }
    }
    reader.outputs(graph)?;
    reader.left_out(graph);
    Ok(reader.network)
}

/// The names that the graph's outputs are computed from, each read by a node that is needed itself.
fn needed(graph: &GraphProto) -> HashSet<&str> {
    let mut needed: HashSet<&str> =
        graph.output.iter().map(|output| output.name.as_str()).collect();
    for node in graph.node.iter().rev() {
        if node.output.iter().any(|output| needed.contains(&**output)) {
            needed.extend(node.input.iter().map(String::as_str));
        }
    }
    needed
}

impl<'a> Reader<'a> {
    fn initializers(&mut self, graph: &GraphProto) -> Result<(), Fault> {
        for tensor in &graph.initializer {
            let known = self.files.constant(tensor)?.into();
            if self.names.insert(tensor.name.clone(), known).is_some() {
                return corrupt(format!("the tensor `{}` is there twice", tensor.name));
            }
        }
        Ok(())
    }

    fn outputs(&mut self, graph: &GraphProto) -> Result<(), Fault> {
        for output in &graph.output {
            let name = &output.name;
            let view = match self.names.get(name) {
                Some(Known::Activation(view)) => *view,
                Some(_) => return unknown(format!("the graph's output `{name}` is a constant")),
                None => return unknown(format!("the graph's output `{name}` is not made")),
            };
            match view.form {
                Form::Mirrored(_) | Form::Spread(_) => {
                    return unknown(format!("the graph's output `{name}` is {}", view.form));
                }
                form if !form.in_order(self.shape(view.value)) => self.network.note(format!(
                    "the graph's output `{name}` has interleaved channels; the table's are planar"
                )),
                _ => {}
            }
            if self.network.outputs.contains(&view.value) {
                return unknown(format!("the graph's output `{name}` is another output too"));
            }
            self.network.outputs.push(view.value);
        }
        match self.network.outputs.len() {
            0 => unknown("the graph has no output"),
            1..=MOST_OUTPUTS => Ok(()),
            count => {
                unknown(format!("the graph has {count} outputs, more than a network has rows"))
            }
        }
    }

    /// Says what no answer depends on.
    fn left_out(&mut self, graph: &GraphProto) {
        let tensors = graph.initializer.iter().map(|tensor| tensor.name.as_str());
        let nodes = graph.node.iter().filter_map(|node| node.output.first().map(String::as_str));
        for (what, names) in [
            ("tensor", tensors.filter(|name| !self.needed.contains(name)).collect::<Vec<&str>>()),
            ("node", nodes.filter(|name| !self.needed.contains(name)).collect()),
        ] {
            let (Some(first), count) = (names.first(), names.len()) else { continue };
            let first = printable(first);
            self.network.notes.push(match count {
                1 => format!("left out: the {what} `{first}`, which no answer depends on"),
                _ => {
                    format!("left out: {count} {what}s that no answer depends on, `{first}` first")
                }
            });
        }
    }

    /// Reads one node.
    fn node(&mut self, node: &Node<'a>) -> Result<(), Fault> {
        self.check(node)?;
        match node.op() {
            "Constant" => self.constant(node)?,
            "ConstantOfShape" => self.constant_of_shape(node)?,
            "Shape" => self.shape_of(node)?,
            "Size" => self.alias(node, Known::Numbers(None)),
            "QuantizeLinear" => self.quantise_linear(node)?,
            "DequantizeLinear" => self.dequantise_linear(node)?,
            _ => match self.evaluated(node)? {
                Some(known @ Known::Numbers(None)) => {
                    self.alias(node, known);
                    return Ok(());
                }
                Some(known) => self.alias(node, known),
                None => {
                    self.operator(node)?;
                    self.pass_scale(node);
                }
            },
        }
        node.finish()
    }

    /// What holds for every node.
    fn check(&self, node: &Node<'_>) -> Result<(), Fault> {
        let domain = &*node.proto.domain;
        let own = |domain: &str| matches!(domain, "" | "ai.onnx");
        let same = |function: &&FunctionProto| {
            let domains = [domain, &*function.domain];
            function.name == node.op() && (domains[0] == domains[1] || domains.into_iter().all(own))
        };
        if self.functions.iter().any(|function| same(&function)) {
            return node.refuse(
                "it calls a function of the file; inline it (`onnx.inliner.inline_local_functions`)",
            );
        }
        if node.op() == "FakeQuantize" {
            return node.refuse(
                "it rounds numbers by an operator of NNCF's own; export what `nncf.strip` makes, or quantise the ONNX file",
            );
        }
        if !own(domain) {
            return node.refuse(format!(
                "an operator of `{domain}`, not of ONNX itself; export the network without a runtime's \
                 optimisations"
            ));
        }
        for (index, output) in node.proto.output.iter().enumerate() {
            if self.names.contains_key(output) {
                return node.refuse(format!("it makes `{output}`, which is there already"));
            }
            if index > 0 && node.op() != "Split" && self.needed.contains(&**output) {
                return node.refuse(format!(
                    "its further output `{output}` is read; a table's operators make one thing each"
                ));
            }
        }
        Ok(())
    }

    fn operator(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        match node.op() {
            "Identity" | "Cast" => {
                let known = self.known(node, 0)?;
                node.ignore(&["saturate", "round_mode"]);
                let to = node.int("to")?.unwrap_or(proto::FLOAT.into());
                if !FLOATS.iter().any(|&float| to == i64::from(float)) {
                    return node.refuse("it makes something other than floating-point numbers");
                }
                self.alias(node, known);
            }
            "Dropout" => self.dropout(node)?,
            "Conv" => self.conv(node)?,
            "BatchNormalization" => self.batch_norm(node)?,
            "InstanceNormalization" => self.instance_norm(node)?,
            "GroupNormalization" => self.group_norm(node)?,
            "Relu" => self.same(node, Op::Apply(Function::Relu))?,
            "LeakyRelu" | "HardSwish" | "Gelu" | "HardSigmoid" => self.function(node)?,
            "Erf" => self.same(node, Op::Erf)?,
            "Clip" => self.clip(node)?,
            "Max" => self.max(node)?,
            "Sigmoid" => self.same(node, Op::Sigmoid)?,
            "Add" | "Sum" | "Sub" | "Mul" | "Div" => self.arithmetic(node)?,
            "MaxPool" => self.max_pool(node)?,
            "AveragePool" => self.average_pool(node)?,
            "GlobalAveragePool" => self.global_mean(node)?,
            "GlobalMaxPool" => self.global_max(node)?,
            "ReduceMean" => self.reduce_mean(node)?,
            "ReduceMax" => self.reduce_max(node)?,
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" | "Expand" | "Transpose" => {
                self.reshape(node)?;
            }
            "Gemm" => self.gemm(node)?,
            "MatMul" => self.mat_mul(node)?,
            "Softmax" => self.softmax(node)?,
            "Slice" => self.slice(node)?,
            "Split" => self.split(node)?,
            "Pad" => self.pad(node)?,
            "Concat" => self.concat(node)?,
            "ConvInteger" | "MatMulInteger" | "DynamicQuantizeLinear" => {
                return node.refuse(
                    "its scales are computed while the network runs; quantise it with a calibration, or import the one \
                     of floats",
                );
            }
            _ => return node.refuse(format!("no operator of a residual network; {KNOWN}")),
        }
        Ok(())
    }

    /// What an input stands for.
    fn known(&self, node: &Node<'_>, index: usize) -> Result<Known, Fault> {
        let name = node.input(index);
        match self.names.get(name) {
            Some(known) => Ok(known.clone()),
            None if name.is_empty() => node.refuse(format!("input {index} is missing")),
            None => node.refuse(format!("it reads `{name}`, which nothing before it makes")),
        }
    }

    /// An activation in any form.
    fn view(&self, node: &Node<'_>, index: usize) -> Result<View, Fault> {
        match self.known(node, index)? {
            Known::Activation(view) => Ok(view),
            _ => node.refuse(format!(
                "`{}` is a constant, where an activation is expected; export with constants folded",
                node.input(index)
            )),
        }
    }

    /// An activation `N x C x H x W`.
    fn planar(&self, node: &Node<'_>, index: usize) -> Result<ValueId, Fault> {
        let View { value, form } = self.view(node, index)?;
        match form {
            Form::Planar => Ok(value),
            form => node.refuse(format!(
                "it reads `{}`, {form}; pictures with planar channels are expected. Export with channels \
                 first (tf2onnx: `--inputs-as-nchw`)",
                node.input(index)
            )),
        }
    }

    /// Weights.
    fn floats(&self, node: &Node<'_>, index: usize) -> Result<Stored, Fault> {
        let name = node.input(index);
        match self.known(node, index)? {
            Known::Floats(stored) => Ok(stored),
            Known::Activation(_) => node.refuse(format!(
                "`{name}` is computed, where weights are expected; export with constants folded"
            )),
            Known::Numbers(_) | Known::Whole(_) => {
                node.refuse(format!("`{name}` has whole numbers, where weights are expected"))
            }
            Known::Other(kind) => node.refuse(format!(
                "`{name}` has elements of ONNX's type {kind}; weights are f32, f16, bf16 or f64"
            )),
        }
    }

    /// Weights that may be left out.
    fn optional(&self, node: &Node<'_>, index: usize) -> Result<Option<Stored>, Fault> {
        if node.input(index).is_empty() { Ok(None) } else { self.floats(node, index).map(Some) }
    }

    /// Whole numbers, of an attribute or of the input that replaced it; `None` if neither is there.
    fn list(
        &self,
        node: &Node<'_>,
        attribute: &str,
        input: usize,
    ) -> Result<Option<Vec<i64>>, Fault> {
        if let Some(ints) = node.ints(attribute)? {
            return Ok(Some(ints.to_vec()));
        }
        let name = node.input(input);
        let known = match self.names.get(name) {
            None if name.is_empty() => return Ok(None),
            Some(Known::Numbers(Some(numbers))) => numbers.known(),
            _ => None,
        };
        match known {
            Some(numbers) => Ok(Some(numbers)),
            None => node.refuse(format!(
                "its {attribute} `{name}` are not known before the network runs; export with constants \
                 folded and a fixed size of pictures"
            )),
        }
    }

    fn shape(&self, value: ValueId) -> Shape {
        self.network.values[value].shape
    }

    /// An operator that keeps the shape and the form.
    fn same(&mut self, node: &Node<'_>, op: Op) -> Result<(), Fault> {
        let view = self.view(node, 0)?;
        self.keep(node, op, view)
    }

    fn keep(&mut self, node: &Node<'_>, op: Op, view: View) -> Result<(), Fault> {
        match view.form {
            Form::Mirrored(_) | Form::Spread(_) => {
                node.refuse(format!("it reads an activation {}", view.form))
            }
            form => self.push(node, op, &[view.value], self.shape(view.value), form),
        }
    }

    /// An activation that a node makes, which all later nodes find under its name.
    fn push(
        &mut self,
        node: &Node<'_>,
        op: Op,
        inputs: &[ValueId],
        shape: Shape,
        form: Form,
    ) -> Result<(), Fault> {
        self.push_output(node, 0, op, inputs, shape, form)
    }

    /// The same of one of a node's outputs.
    fn push_output(
        &mut self,
        node: &Node<'_>,
        output: usize,
        op: Op,
        inputs: &[ValueId],
        shape: Shape,
        form: Form,
    ) -> Result<(), Fault> {
        let Shape { channels, height, width } = shape;
        if channels as u128 * height as u128 * width as u128 > MOST_ELEMENTS {
            return node.refuse(format!("it makes {shape}, more than 2^31 elements"));
        }
        let first = |value: &ValueId| self.network.values[*value].positive;
        let positive = match op {
            Op::Apply(Function::Relu | Function::Relu6)
            | Op::Sigmoid
            | Op::HardSigmoid
            | Op::Softmax => true,
            Op::Pool { .. }
            | Op::Blur(_)
            | Op::Mean
            | Op::Subsample(_)
            | Op::Slice(_)
            | Op::Concat
            | Op::PadChannels(_)
            | Op::PadPixels(_)
            | Op::Add
            | Op::Mul => inputs.iter().all(first),
            _ => false,
        };
        let value = self.network.values.len();
        let name = node.proto.output.get(output).cloned().unwrap_or_default();
        self.names.insert(name.clone(), Known::Activation(View { value, form }));
        self.network.values.push(Activation { name, shape, positive });
        let label = node.to_string();
        self.network.steps.push(Step { label, op, inputs: inputs.to_vec(), output: value });
        Ok(())
    }

    /// Another name for what is known.
    fn alias(&mut self, node: &Node<'_>, known: Known) {
        self.names.insert(node.output().to_owned(), known);
    }
}

/// A name inside a note of one line.
fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).collect()
}
