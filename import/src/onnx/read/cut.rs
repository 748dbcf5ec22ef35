//! Nodes that cut activations and put zeros around them.

use resnet_compiler::graph::{Extent, Padding, Shape};

use super::window::MOST;
use super::{Known, Reader};
use crate::error::Fault;
use crate::onnx::form::{Form, View, places};
use crate::onnx::graph::{Op, ValueId};
use crate::onnx::node::Node;

impl Reader<'_> {
    /// Every so many rows and columns: the shortcut without weights.
    pub(super) fn slice(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let value = self.planar(node, 0)?;
        let shape = self.shape(value);
        let starts = self.list(node, "starts", 1)?.unwrap_or_default();
        let ends = self.list(node, "ends", 2)?.unwrap_or_default();
        let axes = self.list(node, "axes", 3)?;
        let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = self.list(node, "steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
        let lengths = [ends.len(), axes.len(), steps.len()];
        let Some(axes) =
            places(&axes, 4).filter(|_| lengths.iter().all(|&length| length == starts.len()))
        else {
            return node.refuse("its axes, starts, ends and steps do not go together");
        };
        if let (&[start], &[end], &[1], &[1]) = (&*starts, &*ends, &*axes, &*steps)
            && let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end))
            && start < end.min(shape.channels)
            && (start, end.min(shape.channels)) != (0, shape.channels)
        {
            let range = start..end.min(shape.channels);
            let to = Shape { channels: range.len(), ..shape };
            return self.push(node, Op::Slice(range), &[value], to, Form::Planar);
        }
        let mut strides = [1_usize; 2];
        for (index, &axis) in axes.iter().enumerate() {
            let size = match axis {
                1 => shape.channels,
                2 => shape.height,
                3 => shape.width,
                // The batch, of which the size is not known here.
                0 if ends[index] > MOST => 0,
                _ => return node.refuse(format!("it cuts axis {axis}")),
            };
            let step = usize::try_from(steps[index]).ok().filter(|&step| step > 0);
            match (starts[index], step) {
                (0, Some(step)) if ends[index] >= size as i64 && (step == 1 || axis >= 2) => {
                    if axis >= 2 {
                        strides[axis - 2] = step;
                    }
                }
                _ => {
                    return node.refuse(
                        "it cuts a part out; a table's shortcut takes every so many rows and columns",
                    );
                }
            }
        }
        if strides == [1, 1] {
            self.alias(node, Known::Activation(View::planar(value)));
            return Ok(());
        }
        let [rows, columns] = strides;
        let to =
            Shape::new(shape.channels, shape.height.div_ceil(rows), shape.width.div_ceil(columns));
        self.push(node, Op::Subsample(strides), &[value], to, Form::Planar)
    }

    /// Chunks of channels, each of which is an output.
    pub(super) fn split(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let value = self.planar(node, 0)?;
        let shape = self.shape(value);
        let outputs = &node.proto.output;
        let axis = node.int("axis")?.unwrap_or(0);
        node.ignore(&["num_outputs"]);
        let given = self.list(node, "split", 1)?;
        let sizes = given.unwrap_or_else(|| {
            let size = shape.channels.div_ceil(outputs.len().max(1));
            let starts = (0..outputs.len()).map(|index| index * size);
            starts.map(|start| shape.channels.saturating_sub(start).min(size) as i64).collect()
        });
        let sizes: Option<Vec<usize>> =
            sizes.iter().map(|&size| usize::try_from(size).ok().filter(|&size| size > 0)).collect();
        let total =
            |sizes: &[usize]| sizes.iter().try_fold(0_usize, |sum, &size| sum.checked_add(size));
        let Some(sizes) = sizes.filter(|sizes| {
            matches!(axis, 1 | -3)
                && sizes.len() == outputs.len()
                && total(sizes) == Some(shape.channels)
        }) else {
            return node.refuse("it divides something other than all channels, into as many parts as it has outputs");
        };
        let mut start = 0;
        for (index, size) in sizes.into_iter().enumerate() {
            let to = Shape { channels: size, ..shape };
            let op = Op::Slice(start..start + size);
            self.push_output(node, index, op, &[value], to, Form::Planar)?;
            start += size;
        }
        Ok(())
    }

    pub(super) fn pad(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let View { value, form } = self.view(node, 0)?;
        let shape = self.shape(value);
        let mode = node.word("mode")?;
        let zero = match self.optional(node, 2)? {
            Some(stored) => self.files.number(&stored) == Some(0.0),
            None => node.float("value")?.unwrap_or(0.0) == 0.0,
        };
        let mirrors = mode == "reflect";
        if !mirrors && !matches!(mode, "" | "constant") {
            return node.refuse(format!(
                "it pads by `{mode}`; a table pads with zeros, and before blurs by mirroring (`reflect`)"
            ));
        }
        if !mirrors && !zero {
            return node.refuse("it pads with another number than zero");
        }
        let (channels, pixels) = self.pads(node, form)?;
        let [top, left, bottom, right] = pixels;
        let [before, after] = channels;
        let (op, to) = match (channels, pixels) {
            ([0, 0], [0, 0, 0, 0]) => {
                self.alias(node, Known::Activation(View { value, form }));
                return Ok(());
            }
            ([0, 0], _) if mirrors && form == Form::Planar => {
                let padding =
                    Padding { before: Extent::new(top, left), after: Extent::new(bottom, right) };
                let form = Form::Mirrored(padding);
                self.alias(node, Known::Activation(View { value, form }));
                return Ok(());
            }
            _ if mirrors => {
                return node.refuse("it mirrors channels; a table's blurs mirror pixels");
            }
            (_, [0, 0, 0, 0]) => (
                Op::PadChannels(channels),
                Shape { channels: shape.channels + before + after, ..shape },
            ),
            ([0, 0], _) => {
                let (height, width) = (shape.height + top + bottom, shape.width + left + right);
                (Op::PadPixels(pixels), Shape::new(shape.channels, height, width))
            }
            _ => return node.refuse("it pads channels and pixels at once"),
        };
        self.push(node, op, &[value], to, form)
    }

    /// Channels before and after, and pixels above, left, below and right.
    fn pads(&self, node: &Node<'_>, form: Form) -> Result<([usize; 2], [usize; 4]), Fault> {
        let order = match form {
            Form::Planar => [1, 2, 3],
            Form::Interleaved => [3, 1, 2],
            form => return node.refuse(format!("it pads an activation {form}")),
        };
        let pads = self.list(node, "pads", 1)?.unwrap_or_default();
        let axes = self.list(node, "axes", 3)?.unwrap_or_else(|| vec![0, 1, 2, 3]);
        let sizes: Option<Vec<usize>> =
            pads.iter().map(|&pad| usize::try_from(pad).ok().filter(|_| pad < MOST)).collect();
        let (Some(sizes), Some(axes)) = (sizes, places(&axes, 4)) else {
            return node.refuse("it has to pad channels, height and width, by no negative number");
        };
        if sizes.len() != 2 * axes.len() {
            return node.refuse(format!("it has {} pads for {} axes", sizes.len(), axes.len()));
        }
        let both = |axis: usize| match axes.iter().position(|&found| found == axis) {
            Some(place) => [sizes[place], sizes[axes.len() + place]],
            None => [0, 0],
        };
        if both(0) != [0, 0] {
            return node.refuse("it pads the number of pictures");
        }
        let [channels, [top, bottom], [left, right]] = order.map(both);
        Ok((channels, [top, left, bottom, right]))
    }

    /// Channels of zeros beside those of an activation.
    pub(super) fn concat(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        const ZEROS: &str = "it joins activations; a table puts channels of zeros beside a shortcut's, \
                             and nothing else";
        let axis = node.int("axis")?;
        let views = (0..node.inputs()).map(|index| self.known(node, index));
        let all: Option<Vec<View>> = views
            .map(|known| match known {
                Ok(Known::Activation(view)) if view.form == Form::Planar => Some(view),
                _ => None,
            })
            .collect();
        if let (Some(views @ [first, _, ..]), Some(1 | -3)) = (all.as_deref(), axis) {
            return self.beside(node, first.value, views);
        }
        let (mut found, mut channels, mut sizes) = (None, [0_usize; 2], Vec::new());
        for index in 0..node.inputs() {
            match self.known(node, index)? {
                Known::Activation(view) if found.is_none() && view.form == Form::Planar => {
                    found = Some(view.value);
                }
                Known::Floats(stored) if self.files.all_are(&stored, 0.0) => match *stored.shape {
                    [1, count, height, width] if count < MOST as usize => {
                        channels[usize::from(found.is_some())] += count;
                        sizes.push((height, width));
                    }
                    _ => return node.refuse(ZEROS),
                },
                _ => return node.refuse(ZEROS),
            }
        }
        let (Some(value), Some(1 | -3)) = (found, axis) else { return node.refuse(ZEROS) };
        let shape = self.shape(value);
        if sizes.iter().any(|&size| size != (shape.height, shape.width)) {
            return node.refuse(ZEROS);
        }
        let to = Shape { channels: shape.channels + channels[0] + channels[1], ..shape };
        self.push(node, Op::PadChannels(channels), &[value], to, Form::Planar)
    }

    /// Activations beside one another.
    fn beside(&mut self, node: &Node<'_>, first: ValueId, views: &[View]) -> Result<(), Fault> {
        let mut to = Shape { channels: 0, ..self.shape(first) };
        for view in views {
            let shape = self.shape(view.value);
            if (shape.height, shape.width) != (to.height, to.width) {
                return node.refuse("it joins activations of several sizes");
            }
            to.channels = to.channels.saturating_add(shape.channels);
        }
        let values: Vec<ValueId> = views.iter().map(|view| view.value).collect();
        self.push(node, Op::Concat, &values, to, Form::Planar)
    }
}
