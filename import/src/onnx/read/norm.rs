//! Norms.

use resnet_compiler::graph::Shape;

use super::Reader;
use crate::checkpoint::Stored;
use crate::error::Fault;
use crate::onnx::form::{Form, View, places};
use crate::onnx::graph::{Norm, Op, Statistics, ValueId};
use crate::onnx::node::Node;

impl Reader<'_> {
    pub(super) fn batch_norm(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let outputs = node.proto.output.iter().filter(|output| !output.is_empty()).count();
        if node.flag("training_mode")? || outputs > 1 {
            return node.refuse("it is for training; export after `model.eval()`");
        }
        if node.int("spatial")?.unwrap_or(1) == 0 {
            return node
                .refuse("it normalises every pixel by itself; a table's norms go by channels");
        }
        node.ignore(&["momentum"]);
        let view = self.view(node, 0)?;
        let shape = self.shape(view.value);
        // The axis after that of the pictures is normalised.
        if view.form.channels(shape) != Some(0) {
            return node.refuse(format!(
                "it normalises {shape} {}; a table's norms go by channels",
                view.form
            ));
        }
        let [weight, bias, mean, variance] = [1, 2, 3, 4].map(|index| {
            let tensor = self.floats(node, index)?;
            if tensor.shape != [shape.channels] {
                return node.refuse(format!(
                    "`{}` is {:?}, where {} channels are normalised",
                    node.input(index),
                    tensor.shape,
                    shape.channels
                ));
            }
            Ok(tensor)
        });
        let epsilon = epsilon(node)?;
        let statistics = Statistics::Running { mean: mean?, variance: variance?, epsilon };
        self.same(node, Op::Norm(Box::new(Norm { weight: weight?, bias: bias?, statistics })))
    }

    /// Of each channel, or of groups that a reshape made channels: then scales and shifts come after, and
    /// there are none here.
    pub(super) fn instance_norm(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let view = self.view(node, 0)?;
        let shape = self.shape(view.value);
        let (weight, bias) = (self.floats(node, 1)?, self.floats(node, 2)?);
        let parts = match view.form {
            Form::Planar => shape.channels,
            Form::Parts(parts) if shape.channels.is_multiple_of(parts) => parts,
            form => {
                return node.refuse(format!(
                    "it normalises {shape} {form}; a table has group norm, whose groups divide the channels"
                ));
            }
        };
        if weight.shape != [parts] || bias.shape != [parts] {
            return node.refuse(format!(
                "its scales are {:?} and its shifts {:?}, for {parts} channels",
                weight.shape, bias.shape
            ));
        }
        let channels = vec![shape.channels];
        let (weight, bias) = match parts == shape.channels {
            true => (weight, bias),
            false if self.files.all_are(&weight, 1.0) && self.files.all_are(&bias, 0.0) => {
                (Stored::same(channels.clone(), 1.0), Stored::same(channels, 0.0))
            }
            false => {
                return node.refuse(
                    "it scales and shifts groups of channels; a table's group norm does each channel",
                );
            }
        };
        self.groups(node, parts, weight, bias)
    }

    pub(super) fn group_norm(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        node.ignore(&["stash_type"]);
        let shape = self.shape(self.planar(node, 0)?);
        let groups = node.int("num_groups")?.and_then(|groups| usize::try_from(groups).ok());
        let Some(groups) =
            groups.filter(|&groups| groups > 0 && shape.channels.is_multiple_of(groups))
        else {
            return node.refuse(format!("its groups do not divide {} channels", shape.channels));
        };
        let (weight, bias) = (self.floats(node, 1)?, self.floats(node, 2)?);
        for tensor in [&weight, &bias] {
            if tensor.shape != [shape.channels] {
                return node.refuse(format!(
                    "its scales and shifts are {:?}, where {} channels are normalised; those of each group \
                     (operator set 18) are not read: export with operator set 21",
                    tensor.shape, shape.channels
                ));
            }
        }
        if self.opset < 21 && groups != shape.channels {
            return node.refuse(
                "before operator set 21 it has a scale for each group, and this one for each channel",
            );
        }
        self.groups(node, groups, weight, bias)
    }

    fn groups(
        &mut self,
        node: &Node<'_>,
        groups: usize,
        weight: Stored,
        bias: Stored,
    ) -> Result<(), Fault> {
        let statistics = Statistics::Groups { groups, epsilon: epsilon(node)? };
        self.same(node, Op::Norm(Box::new(Norm { weight, bias, statistics })))
    }

    /// Over all pixels.
    pub(super) fn global_mean(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let value = self.planar(node, 0)?;
        self.mean(node, value, Form::Planar)
    }

    pub(super) fn reduce_mean(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let View { value, form } = self.reduced(node, "mean")?;
        self.mean(node, value, form)
    }

    pub(super) fn reduce_max(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let View { value, form } = self.reduced(node, "maximum")?;
        self.max_over_all(node, value, form)
    }

    /// What is reduced over all pixels, and the form of what that makes.
    fn reduced(&self, node: &Node<'_>, what: &str) -> Result<View, Fault> {
        let view = self.view(node, 0)?;
        let shape = self.shape(view.value);
        let rank = view.form.dimensions(shape).len() + 1;
        let given = self.list(node, "axes", 1)?.unwrap_or_default();
        node.ignore(&["noop_with_empty_axes"]);
        let axes = places(&given, rank).map(|mut axes| {
            axes.sort_unstable();
            axes
        });
        let form = match (view.form, axes.as_deref()) {
            (Form::Planar, Some([2, 3])) | (Form::Interleaved, Some([1, 2])) => view.form,
            (Form::Parts(parts), Some([2])) if parts == shape.channels => view.form,
            _ => {
                return node.refuse(format!(
                    "a {what} over the axes {given:?} of {shape} {}; a table has one over height and width",
                    view.form
                ));
            }
        };
        let keeps = node.int("keepdims")?.unwrap_or(1) != 0;
        Ok(View { value: view.value, form: if keeps { form } else { Form::Flat } })
    }

    fn mean(&mut self, node: &Node<'_>, value: ValueId, form: Form) -> Result<(), Fault> {
        let shape = Shape::new(self.shape(value).channels, 1, 1);
        self.push(node, Op::Mean, &[value], shape, form)
    }
}

/// What is added to variances: the shortest decimal, which is what the exporter was told.
fn epsilon(node: &Node<'_>) -> Result<f64, Fault> {
    let epsilon = node.float("epsilon")?.unwrap_or(1e-5);
    Ok(epsilon.to_string().parse().unwrap_or(f64::from(epsilon)))
}
