//! Sums, products, bounds: with constants for each channel, or of two activations.

use super::{Known, Reader};
use crate::checkpoint::Stored;
use crate::error::Fault;
use crate::onnx::form::{Form, View};
use crate::onnx::graph::{Affine, Function, Op};
use crate::onnx::node::Node;

impl Reader<'_> {
    pub(super) fn arithmetic(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        if node.inputs() != 2 {
            return node.refuse("a residual block adds two paths");
        }
        match (self.known(node, 0)?, self.known(node, 1)?) {
            (Known::Activation(a), Known::Activation(b)) => match node.op() {
                "Add" | "Sum" => self.add(node, a, b),
                "Mul" => self.weigh(node, a, b),
                _ => node.refuse(
                    "it subtracts or divides two activations; a residual block adds two paths",
                ),
            },
            (Known::Activation(view), Known::Floats(constant)) => {
                self.affine(node, view, &constant, false)
            }
            (Known::Floats(constant), Known::Activation(view)) => {
                self.affine(node, view, &constant, true)
            }
            _ => node.refuse("it computes with constants; export with constants folded"),
        }
    }

    fn add(&mut self, node: &Node<'_>, a: View, b: View) -> Result<(), Fault> {
        let (shape, other) = (self.shape(a.value), self.shape(b.value));
        if shape != other || a.form != b.form {
            return node.refuse(format!(
                "it adds {shape} and {other}; both paths of a block make one shape{}",
                if shape == other { ", and in one order of elements" } else { "" }
            ));
        }
        match a.form {
            Form::Mirrored(_) | Form::Spread(_) => {
                node.refuse(format!("it adds activations {}", a.form))
            }
            form => self.push(node, Op::Add, &[a.value, b.value], shape, form),
        }
    }

    /// Channels by numbers that were computed from the picture.
    fn weigh(&mut self, node: &Node<'_>, a: View, b: View) -> Result<(), Fault> {
        let (shape, other) = (self.shape(a.value), self.shape(b.value));
        // An activation by a function of itself.
        if (shape, a.form) == (other, b.form)
            && !matches!(a.form, Form::Mirrored(_) | Form::Spread(_))
        {
            return self.push(node, Op::Mul, &[a.value, b.value], shape, a.form);
        }
        let (larger, smaller) = if shape.pixels() >= other.pixels() { (a, b) } else { (b, a) };
        let (to, from) = (self.shape(larger.value), self.shape(smaller.value));
        let fits = match smaller.form {
            Form::Spread(sizes) => larger.form == Form::Planar && sizes == [to.height, to.width],
            form => form == larger.form && matches!(form, Form::Planar | Form::Interleaved),
        };
        if to.channels != from.channels || from.pixels() != 1 || !fits {
            return node.refuse(format!(
                "it multiplies {shape} {} and {other} {}; squeeze-and-excitation weighs channels by one \
                 number each",
                a.form, b.form
            ));
        }
        self.push(node, Op::Mul, &[a.value, b.value], to, larger.form)
    }

    /// One number for each channel, or for all. `first`: the constant is what is subtracted from, or divided.
    fn affine(
        &mut self,
        node: &Node<'_>,
        view: View,
        constant: &Stored,
        first: bool,
    ) -> Result<(), Fault> {
        let op = node.op();
        let changes_nothing = match op {
            "Add" | "Sum" => 0.0,
            "Sub" if !first => 0.0,
            "Mul" => 1.0,
            "Div" if !first => 1.0,
            _ => f64::NAN,
        };
        let numbers = self.by_channel(node, view, constant)?;
        if self.files.number(constant) == Some(changes_nothing) {
            self.alias(node, Known::Activation(view));
            return Ok(());
        }
        let invert: Option<fn(f64) -> f64> = match op {
            "Sub" if !first => Some(|number| -number),
            "Div" => Some(f64::recip),
            _ => None,
        };
        let numbers = match invert {
            None => numbers,
            Some(invert) => match self.files.inverse(&numbers, invert)? {
                Some(numbers) => numbers,
                None => return node.refuse("it has more numbers than a network has channels"),
            },
        };
        let channels = numbers.shape.clone();
        let affine = match (op, first) {
            ("Div", true) => return node.refuse("it divides by an activation"),
            ("Sub", true) => {
                Affine { scale: Some(Stored::same(channels, -1.0)), shift: Some(numbers) }
            }
            ("Mul" | "Div", _) => Affine { scale: Some(numbers), shift: None },
            _ => Affine { scale: None, shift: Some(numbers) },
        };
        self.keep(node, Op::Affine(Box::new(affine)), view)
    }

    /// A number for each channel.
    fn by_channel(
        &mut self,
        node: &Node<'_>,
        view: View,
        constant: &Stored,
    ) -> Result<Stored, Fault> {
        let shape = self.shape(view.value);
        let channels = shape.channels;
        let rank = view.form.dimensions(shape).len() + 1;
        let place = view.form.channels(shape).map(|place| place + 1);
        // Shapes are compared from their ends.
        let missing = rank.checked_sub(constant.shape.len());
        let mut sizes = constant.shape.iter().enumerate();
        let fits = missing.is_some_and(|missing| {
            sizes.all(|(index, &size)| {
                size == 1 || (Some(index + missing) == place && size == channels)
            })
        });
        if !fits {
            return node.refuse(format!(
                "it has a constant of shape {:?} for {shape} {}; a table has one number for each channel. If it \
                 prepares the picture, export without, and give `--mean` and `--std`",
                constant.shape, view.form
            ));
        }
        if constant.count() == channels {
            return Ok(Stored { shape: vec![channels], ..constant.clone() });
        }
        match self.files.number(constant) {
            Some(number) => Ok(Stored::same(vec![channels], number as f32)),
            None => node.refuse("its constant is no number"),
        }
    }

    /// Operators that are activations of a table, or parts of them.
    pub(super) fn function(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let attribute = |name: &str, default: f64| -> Result<f64, Fault> {
            Ok(node.float(name)?.map_or(default, f64::from))
        };
        let near = |found: f64, expected: f64| (found - expected).abs() < 1e-6;
        match node.op() {
            "LeakyRelu" => {
                let alpha = attribute("alpha", 0.01)?;
                if !near(alpha, 0.01) {
                    return node
                        .refuse(format!("its alpha is {alpha}; a table's `leaky_relu` has 0.01"));
                }
                self.same(node, Op::Apply(Function::LeakyRelu))
            }
            "HardSwish" => self.same(node, Op::Apply(Function::HardSwish)),
            "Gelu" => match node.word("approximate")? {
                "" | "none" => self.same(node, Op::Apply(Function::Gelu)),
                other => node.refuse(format!(
                    "its approximation is `{other}`; a table's `gelu` is the exact one"
                )),
            },
            _ => {
                let (alpha, beta) = (attribute("alpha", 0.2)?, attribute("beta", 0.5)?);
                if !near(alpha, 1.0 / 6.0) || !near(beta, 0.5) {
                    return node.refuse(format!(
                        "its alpha and beta are {alpha} and {beta}; those of a table's `hard_swish` are 1/6 and 1/2"
                    ));
                }
                self.same(node, Op::HardSigmoid)
            }
        }
    }

    /// `Clip` that is ReLU or ReLU6.
    pub(super) fn clip(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let bound = |attribute: &str, index: usize| -> Result<Option<f64>, Fault> {
            if let Some(value) = node.float(attribute)? {
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
        // The largest number of the type stands for no bound.
        match (min, max.filter(|&max| max < f64::from(f32::MAX))) {
            (Some(0.0), None) => self.same(node, Op::Apply(Function::Relu)),
            (Some(0.0), Some(6.0)) => self.same(node, Op::Apply(Function::Relu6)),
            (_, max) => node.refuse(format!(
                "it keeps numbers between {} and {}; a table has ReLU, which is 0 and no upper bound, and ReLU6, whose \
                 upper bound is 6",
                min.map_or("no lower bound".to_owned(), |min| min.to_string()),
                max.map_or("no upper bound".to_owned(), |max| max.to_string())
            )),
        }
    }

    /// `Max` with zero is ReLU.
    pub(super) fn max(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let (view, bound) = match (node.inputs(), self.known(node, 0)?, self.known(node, 1)?) {
            (2, Known::Activation(view), Known::Floats(bound))
            | (2, Known::Floats(bound), Known::Activation(view)) => (view, bound),
            _ => return node.refuse("a table has the larger of an activation and 0, ReLU"),
        };
        match self.files.number(&bound) {
            Some(0.0) if bound.shape.is_empty() || bound.shape == [1] => {
                self.keep(node, Op::Apply(Function::Relu), view)
            }
            _ => node.refuse("a table has the larger of an activation and 0, ReLU"),
        }
    }

    /// Does nothing to a network that is not being trained.
    pub(super) fn dropout(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let view = self.view(node, 0)?;
        node.ignore(&["ratio", "seed"]);
        node.input(1);
        let training = match self.names.get(node.input(2)) {
            None => node.input(2).is_empty().then_some(vec![0]),
            Some(Known::Numbers(Some(numbers))) => numbers.known(),
            Some(_) => None,
        };
        if training.is_none_or(|training| training != [0]) {
            return node.refuse("it is for training; export after `model.eval()`");
        }
        self.alias(node, Known::Activation(view));
        Ok(())
    }
}
