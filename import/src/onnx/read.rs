//! What each node of an ONNX graph means.
//!
//! Attributes that later versions of an operator have as inputs are found in either place, so that one
//! reading does for the operator sets 7 to 20 and beyond.

use resnet_compiler::graph::Shape;
use resnet_compiler::onnx::proto;

use super::graph::{Known, Linear, Norm, Op, Reader, ValueId};
use super::node::Node;
use super::numbers::Numbers;
use crate::checkpoint::{Elements, Stored};
use crate::error::Fault;

/// What an operator that is not known is answered with.
const KNOWN: &str = "a layer table has convolutions, batch norm, ReLU, pools, sums, \
                     squeeze-and-excitation, linear layers and softmax; export the network alone, for \
                     inference (`model.eval()`)";

/// The types of weights and activations, of which each is as good as another here.
const FLOATS: [i32; 4] = [proto::FLOAT, proto::FLOAT16, proto::BFLOAT16, proto::DOUBLE];

impl Reader<'_> {
    /// Reads one node.
    pub(super) fn node(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        if !matches!(&*node.0.domain, "" | "ai.onnx") {
            let domain = &node.0.domain;
            return node.refuse(format!(
                "an operator of `{domain}`, not of ONNX itself; export the network without a runtime's \
                 optimisations"
            ));
        }
        // The transposition that takes the picture's channels apart.
        if node.0.output.first().is_some_and(|name| self.names.contains_key(name)) {
            return match node.op() {
                "Transpose" => Ok(()),
                _ => node.refuse("it makes what is there already"),
            };
        }
        match node.op() {
            "Constant" => return self.constant(node),
            "Shape" | "Size" => {
                self.alias(node, Known::Numbers(None));
                return Ok(());
            }
            _ => {}
        }
        if self.numbers(node)? {
            return Ok(());
        }
        match node.op() {
            "Identity" | "Cast" => {
                let known = self.known(node, 0)?;
                let to = node.int("to").unwrap_or(proto::FLOAT.into());
                if !FLOATS.iter().any(|&float| to == i64::from(float)) {
                    return node.refuse("it makes something other than floating-point numbers");
                }
                self.alias(node, known);
            }
            "Dropout" => {
                let value = self.activation(node, 0)?;
                self.alias(node, Known::Activation(value));
            }
            "Conv" => self.conv(node)?,
            "BatchNormalization" => self.norm(node)?,
            "Relu" => self.same(node, Op::Relu)?,
            "Clip" => self.clip(node)?,
            "Sigmoid" => self.same(node, Op::Sigmoid)?,
            "Add" | "Sum" => self.add(node)?,
            "Mul" => self.mul(node)?,
            "MaxPool" => self.max_pool(node)?,
            "AveragePool" => self.average_pool(node)?,
            "GlobalAveragePool" => self.mean(node, false)?,
            "ReduceMean" => self.reduce_mean(node)?,
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" | "Expand" => self.reshape(node)?,
            "Gemm" => self.gemm(node)?,
            "MatMul" => self.mat_mul(node)?,
            "Softmax" => self.softmax(node)?,
            "Slice" => self.slice(node)?,
            "Pad" => self.pad(node)?,
            "Transpose" => self.transpose(node)?,
            "QLinearConv"
            | "QLinearMatMul"
            | "ConvInteger"
            | "QuantizeLinear"
            | "DequantizeLinear"
            | "DynamicQuantizeLinear" => {
                return node.refuse("the network is quantised; import the one of floats");
            }
            _ => return node.refuse(format!("no operator of a residual network; {KNOWN}")),
        }
        Ok(())
    }

    /// What an input stands for.
    pub(super) fn known(&self, node: &Node<'_>, index: usize) -> Result<Known, Fault> {
        let name = node.input(index);
        match self.names.get(name) {
            Some(known) => Ok(known.clone()),
            None if name.is_empty() => node.refuse(format!("input {index} is missing")),
            None => node.refuse(format!("it reads `{name}`, which nothing before it makes")),
        }
    }

    pub(super) fn activation(&self, node: &Node<'_>, index: usize) -> Result<ValueId, Fault> {
        match self.known(node, index)? {
            Known::Activation(value) => Ok(value),
            Known::Mirrored(..) => node.refuse(format!(
                "it reads `{}`, padded by mirroring, as a table's blurs alone do",
                node.input(index)
            )),
            _ => node.refuse(format!(
                "`{}` is a constant, where an activation is expected",
                node.input(index)
            )),
        }
    }

    /// Weights.
    pub(super) fn floats(&self, node: &Node<'_>, index: usize) -> Result<Stored, Fault> {
        let name = node.input(index);
        match self.known(node, index)? {
            Known::Floats(stored) => Ok(stored),
            Known::Activation(_) | Known::Mirrored(..) => node.refuse(format!(
                "`{name}` is computed, where weights are expected; export with constants folded"
            )),
            Known::Numbers(_) => {
                node.refuse(format!("`{name}` has whole numbers, where weights are expected"))
            }
            Known::Other(kind) => node.refuse(format!(
                "`{name}` has elements of ONNX's type {kind}; weights are f32, f16, bf16 or f64"
            )),
        }
    }

    /// Weights that may be left out.
    pub(super) fn optional(&self, node: &Node<'_>, index: usize) -> Result<Option<Stored>, Fault> {
        if node.input(index).is_empty() { Ok(None) } else { self.floats(node, index).map(Some) }
    }

    /// Whole numbers, of an attribute or of the input that replaced it; `None` if neither is there.
    pub(super) fn list(
        &self,
        node: &Node<'_>,
        attribute: &str,
        input: usize,
    ) -> Result<Option<Vec<i64>>, Fault> {
        if let Some(ints) = node.ints(attribute) {
            return Ok(Some(ints.to_vec()));
        }
        let name = node.input(input);
        match self.names.get(name) {
            None if name.is_empty() => Ok(None),
            Some(Known::Numbers(Some(numbers))) => Ok(Some(numbers.values.clone())),
            _ => node.refuse(format!(
                "its {attribute} `{name}` are not known before the network runs; export with constants \
                 folded and a fixed size of pictures"
            )),
        }
    }

    pub(super) fn shape(&self, value: ValueId) -> Shape {
        self.network.values[value].shape
    }

    /// A constant of a node's own.
    fn constant(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let known = if let Some(tensor) = node.tensor("value") {
            self.files.constant(tensor)?.into()
        } else if let Some(number) = node.int("value_int") {
            Known::Numbers(Numbers::new(vec![], vec![number]))
        } else if let Some(list) = node.ints("value_ints") {
            Known::Numbers(Numbers::new(vec![list.len()], list.to_vec()))
        } else if let Some(value) = node.float("value_float") {
            Known::Floats(Stored::same(vec![], value))
        } else {
            Known::Other(0)
        };
        self.alias(node, known);
        Ok(())
    }

    /// Whether a node computes whole numbers from others; they are evaluated.
    fn numbers(&mut self, node: &Node<'_>) -> Result<bool, Fault> {
        let mut inputs = Vec::new();
        for index in 0..node.0.input.len() {
            inputs.push(match node.input(index) {
                "" => None,
                _ => match self.known(node, index)? {
                    Known::Numbers(numbers) => Some(numbers),
                    _ => return Ok(false),
                },
            });
        }
        if inputs.iter().all(Option::is_none) {
            return Ok(false);
        }
        // What is left out is not what is unknown, but both are nothing to compute with.
        let inputs: Vec<Option<&Numbers>> =
            inputs.iter().map(|input| input.as_ref().and_then(Option::as_ref)).collect();
        let numbers = Numbers::evaluate(node, &inputs);
        self.alias(node, Known::Numbers(numbers));
        Ok(true)
    }

    /// An operator that keeps the shape.
    fn same(&mut self, node: &Node<'_>, op: Op) -> Result<(), Fault> {
        let value = self.activation(node, 0)?;
        self.keep(node, op, value)
    }

    fn keep(&mut self, node: &Node<'_>, op: Op, value: ValueId) -> Result<(), Fault> {
        let (shape, flat) = (self.shape(value), self.network.values[value].flat);
        self.push(node, op, &[value], shape, flat)
    }

    fn norm(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let outputs = node.0.output.iter().filter(|output| !output.is_empty()).count();
        if node.int("training_mode").unwrap_or(0) != 0 || outputs > 1 {
            return node.refuse("it is for training; export after `model.eval()`");
        }
        if node.int("spatial") == Some(0) {
            return node
                .refuse("it normalises every pixel by itself; a table's norms go by channels");
        }
        let channels = self.shape(self.activation(node, 0)?).channels;
        let mut tensors = Vec::new();
        for index in 1..=4 {
            let tensor = self.floats(node, index)?;
            if tensor.shape != [channels] {
                return node.refuse(format!(
                    "`{}` is {:?}, where {channels} channels are normalised",
                    node.input(index),
                    tensor.shape
                ));
            }
            tensors.push(tensor);
        }
        let Ok(tensors) = tensors.try_into() else { return Ok(()) };
        // The shortest decimal, which is what the exporter was told.
        let epsilon = node.float("epsilon").unwrap_or(1e-5);
        let epsilon = epsilon.to_string().parse().unwrap_or(f64::from(epsilon));
        self.same(node, Op::Norm(Box::new(Norm { tensors, epsilon })))
    }

    /// `Clip` that is ReLU.
    fn clip(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let bound = |attribute: &str, index: usize| -> Result<Option<f64>, Fault> {
            if let Some(value) = node.float(attribute) {
                return Ok(Some(value.into()));
            }
            match self.optional(node, index)? {
                None => Ok(None),
                Some(stored) => match self.files.number(&stored) {
                    Some(value) => Ok(Some(value)),
                    None => node.refuse(format!("its {attribute} is not one number")),
                },
            }
        };
        let (min, max) = (bound("min", 1)?, bound("max", 2)?);
        match (min, max.filter(|&max| max < f64::from(f32::MAX))) {
            (Some(0.0), None) => self.same(node, Op::Relu),
            (_, max) => node.refuse(format!(
                "it keeps numbers between {} and {}; a table has ReLU, which is 0 and no upper bound",
                min.map_or("no lower bound".to_owned(), |min| min.to_string()),
                max.map_or("no upper bound".to_owned(), |max| max.to_string())
            )),
        }
    }

    fn add(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        if node.0.input.len() != 2 {
            return node.refuse("a residual block adds two paths");
        }
        let (a, b) = match (self.known(node, 0)?, self.known(node, 1)?) {
            (Known::Activation(a), Known::Activation(b)) => (a, b),
            (Known::Activation(value), Known::Floats(constant))
            | (Known::Floats(constant), Known::Activation(value)) => {
                return self.bias(node, value, constant);
            }
            _ => return node.refuse("it adds constants; export with constants folded"),
        };
        let (shape, other) = (self.shape(a), self.shape(b));
        if shape != other {
            return node.refuse(format!(
                "it adds {shape} and {other}; both paths of a block make one shape"
            ));
        }
        self.push(node, Op::Add, &[a, b], shape, self.network.values[a].flat)
    }

    /// The addition of a number to each channel.
    fn bias(&mut self, node: &Node<'_>, value: ValueId, constant: Stored) -> Result<(), Fault> {
        let shape = self.shape(value);
        let count: usize = constant.shape.iter().product();
        let places: &[&[usize]] = match self.network.values[value].flat {
            true => &[&[count], &[1, count]],
            false => &[&[count, 1, 1], &[1, count, 1, 1]],
        };
        if count != shape.channels || !places.contains(&&*constant.shape) {
            return node.refuse(format!(
                "it adds a constant of shape {:?} to {shape}; a bias has a number for each channel",
                constant.shape
            ));
        }
        let constant = Stored { shape: vec![count], ..constant };
        self.keep(node, Op::Bias(constant), value)
    }

    fn mul(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let (Known::Activation(a), Known::Activation(b)) =
            (self.known(node, 0)?, self.known(node, 1)?)
        else {
            return node.refuse(
                "it multiplies by a constant. If it normalises the picture, export without, and give \
                 `--mean` and `--std`",
            );
        };
        let (shape, other) = (self.shape(a), self.shape(b));
        let larger = if shape.pixels() >= other.pixels() { shape } else { other };
        if shape.channels != other.channels || (shape.pixels() != 1 && other.pixels() != 1) {
            return node.refuse(format!(
                "it multiplies {shape} and {other}; squeeze-and-excitation weighs channels by one number \
                 each"
            ));
        }
        self.push(node, Op::Mul, &[a, b], larger, false)
    }

    fn mean(&mut self, node: &Node<'_>, flat: bool) -> Result<(), Fault> {
        let value = self.activation(node, 0)?;
        let shape = Shape::new(self.shape(value).channels, 1, 1);
        self.push(node, Op::Mean, &[value], shape, flat)
    }

    fn reduce_mean(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let value = self.activation(node, 0)?;
        let mut axes = self.list(node, "axes", 1)?.unwrap_or_default();
        for axis in &mut axes {
            *axis += if *axis < 0 { 4 } else { 0 };
        }
        axes.sort_unstable();
        if self.network.values[value].flat || axes != [2, 3] {
            return node.refuse(format!(
                "a mean over the axes {axes:?}; a table has one over height and width, 2 and 3"
            ));
        }
        self.mean(node, node.int("keepdims") == Some(0))
    }

    /// Shapes that keep every element's place among the others.
    fn reshape(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let value = self.activation(node, 0)?;
        let from = self.shape(value);
        let elements = from.elements();
        let op = node.op();
        let flattens = match op {
            "Flatten" => node.int("axis").unwrap_or(1) == 1,
            "Reshape" => {
                let target = match self.names.get(node.input(1)) {
                    Some(Known::Numbers(Some(target))) => target.values.clone(),
                    _ => node.ints("shape").unwrap_or_default().to_vec(),
                };
                // Where the target is computed it keeps the batch, and gives the rest one place.
                let rest: Vec<i64> = target.iter().skip(1).copied().filter(|&n| n != 1).collect();
                match *rest {
                    [] => true,
                    [size] => {
                        size == -1 || size == elements as i64 || (size == 0 && from.pixels() == 1)
                    }
                    _ => false,
                }
            }
            "Expand" => from.pixels() == 1,
            _ => from.pixels() == 1,
        };
        if !flattens {
            return node.refuse(format!(
                "it gives {from} another shape, as group norm and shuffles do; a table flattens before a linear \
                 layer, and nowhere else"
            ));
        }
        let flat = matches!(op, "Flatten" | "Reshape" | "Squeeze");
        self.push(node, Op::Reshape, &[value], Shape::new(elements, 1, 1), flat)
    }

    fn gemm(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let plain = node.float("alpha").unwrap_or(1.0) == 1.0
            && node.float("beta").unwrap_or(1.0) == 1.0
            && node.int("transA").unwrap_or(0) == 0;
        if !plain {
            return node.refuse("a linear layer has neither `alpha`, `beta` nor `transA`");
        }
        let mut bias = self.optional(node, 2)?;
        if let Some(bias) = &mut bias
            && let [1, count] = *bias.shape
        {
            bias.shape = vec![count];
        }
        self.linear(node, node.int("transB").unwrap_or(0) != 0, bias)
    }

    fn mat_mul(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        self.linear(node, false, None)
    }

    /// A matrix of weights, `[out, in]` if it is transposed.
    fn linear(
        &mut self,
        node: &Node<'_>,
        transposed: bool,
        bias: Option<Stored>,
    ) -> Result<(), Fault> {
        let value = self.activation(node, 0)?;
        let weight = self.floats(node, 1)?;
        let shape = self.shape(value);
        let weight = match (weight.shape.len(), transposed) {
            (2, true) => weight,
            (2, false) => weight.transposed(),
            _ => return node.refuse(format!("its weights are {:?}, no matrix", weight.shape)),
        };
        let &[classes, inputs] = &*weight.shape else { return Ok(()) };
        if inputs != shape.elements() || !self.network.values[value].flat {
            return node.refuse(format!(
                "it reads {inputs} numbers, and is given {shape}{}",
                if self.network.values[value].flat { "" } else { ", not flattened" }
            ));
        }
        if let Some(bias) = &bias
            && bias.shape != [classes]
        {
            return node.refuse(format!("its bias is {:?} for {classes} channels", bias.shape));
        }
        self.push(
            node,
            Op::Linear(Box::new(Linear { weight, bias })),
            &[value],
            Shape::new(classes, 1, 1),
            true,
        )
    }

    fn softmax(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let value = self.activation(node, 0)?;
        // Left out, it was the first axis and became the last one.
        let axis = node.int("axis");
        let last = self.network.values[value].flat && matches!(axis, None | Some(-1));
        if self.shape(value).pixels() != 1 || !(axis == Some(1) || last) {
            return node.refuse("a table has softmax over the classes alone");
        }
        self.same(node, Op::Softmax)
    }

    /// Of weights alone: those of a linear layer.
    fn transpose(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        match self.known(node, 0)? {
            Known::Floats(stored)
                if stored.shape.len() == 2 && matches!(node.ints("perm"), None | Some([1, 0])) =>
            {
                self.alias(node, Known::Floats(stored.transposed()));
                Ok(())
            }
            _ => node.refuse(
                "it moves channels; only a graph's first node may, to take a picture's channels apart. \
                 Export with channels first (tf2onnx: `--inputs-as-nchw`)",
            ),
        }
    }
}

impl Stored {
    /// A matrix with rows for columns.
    fn transposed(self) -> Self {
        let (Elements::At { file, start, strides }, &[rows, columns]) =
            (self.elements.clone(), &*self.shape)
        else {
            return self;
        };
        let [row, column] = match strides.as_deref() {
            Some(&[row, column]) => [row, column],
            _ => [columns, 1],
        };
        let strides = Some(vec![column, row]);
        let elements = Elements::At { file, start, strides };
        Self { dtype: self.dtype, shape: vec![columns, rows], elements }
    }
}
