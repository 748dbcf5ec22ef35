//! Nodes that move a window.

use resnet_compiler::graph::{
    Extent, LARGEST_BLUR, Padding, PoolKind, Pooling, Shape, Window, output_size,
};

use super::{Known, Reader};
use crate::checkpoint::Stored;
use crate::error::Fault;
use crate::onnx::form::{Form, View};
use crate::onnx::graph::{Conv, Op, ValueId};
use crate::onnx::node::Node;

/// Larger than any picture's side, and far from overflowing.
pub(super) const MOST: i64 = 1 << 20;

/// What a convolution of mirrored pixels is answered with.
const NO_BLUR: &str = "it reads mirrored pixels and is no blur: each channel by itself, binomial coefficients \
                       over their sum, a kernel of at most 7, no bias, padding or dilation";

impl Reader<'_> {
    pub(super) fn conv(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let view = self.view(node, 0)?;
        let (weight, bias) = (self.floats(node, 1)?, self.optional(node, 2)?);
        let shape = self.shape(view.value);
        let groups = node.int("group")?.unwrap_or(1);
        if let &[1, 1, kernel] = &*weight.shape {
            return self.channel_conv(node, view, (weight, kernel), bias.is_some() || groups != 1);
        }
        if let Form::Mirrored(padding) = view.form {
            let own = (weight, groups, bias.is_none());
            return self.blur(node, view.value, padding, own);
        }
        let value = self.planar(node, 0)?;
        let &[channels, inputs, rows, columns] = &*weight.shape else {
            return node.refuse(format!(
                "its weights are {:?}; a table has convolutions over pictures, four dimensions",
                weight.shape
            ));
        };
        let Some(groups) = usize::try_from(groups)
            .ok()
            .filter(|&groups| groups > 0 && inputs.checked_mul(groups) == Some(shape.channels))
        else {
            return node.refuse(format!(
                "its weights are {:?} in {groups} groups, and it reads {shape}",
                weight.shape
            ));
        };
        if let Some(bias) = &bias
            && bias.shape != [channels]
        {
            return node.refuse(format!("its bias is {:?} for {channels} channels", bias.shape));
        }
        let window = padded(node, [rows as i64, columns as i64], shape)?;
        let (window, [height, width]) = sized(node, window, shape)?;
        let to = Shape::new(channels, height, width);
        // Blurs without padding, which have nothing to mirror.
        let by_channel = groups == channels && inputs == 1 && bias.is_none() && rows * columns > 1;
        if by_channel && is_blur(&window) && self.files.is_binomial(&weight, [rows, columns]) {
            return self.push(node, Op::Blur(window), &[value], to, Form::Planar);
        }
        let weight = self.of_layer(node, weight);
        let conv = Box::new(Conv { window, groups, weight, bias });
        self.push(node, Op::Conv(conv), &[value], to, Form::Planar)
    }

    /// Along the channels, which a reshape made pixels.
    fn channel_conv(
        &mut self,
        node: &Node<'_>,
        view: View,
        (weight, kernel): (Stored, usize),
        has_more: bool,
    ) -> Result<(), Fault> {
        let half = kernel as i64 / 2;
        let mut plain = matches!(node.word("auto_pad")?, "" | "NOTSET") && !has_more;
        for (name, value) in [("strides", 1), ("dilations", 1), ("kernel_shape", kernel as i64)] {
            plain &= node.ints(name)?.is_none_or(|found| found == [value]);
        }
        let pads = node.ints("pads")?.unwrap_or(&[0, 0]);
        let shape = self.shape(view.value);
        if !plain || pads != [half, half] || shape.pixels() != 1 || view.form != Form::Parts(1) {
            return node.refuse(
                "a convolution along channels has no bias, groups or stride, and zeros past either end",
            );
        }
        self.push(node, Op::ChannelConv(weight), &[view.value], shape, view.form)
    }

    /// A convolution of mirrored pixels, which has to be a blur. `own`: its weights, its groups, and whether
    /// it is without a bias.
    fn blur(
        &mut self,
        node: &Node<'_>,
        value: ValueId,
        padding: Padding,
        (weight, groups, no_bias): (Stored, i64, bool),
    ) -> Result<(), Fault> {
        let shape = self.shape(value);
        let (&[channels, 1, rows, columns], true) = (&*weight.shape, no_bias) else {
            return node.refuse(NO_BLUR);
        };
        let own = padded(node, [rows as i64, columns as i64], shape)?;
        let by_channel = channels == shape.channels && groups == channels as i64;
        if !by_channel || !is_blur(&own) || !self.files.is_binomial(&weight, [rows, columns]) {
            return node.refuse(NO_BLUR);
        }
        let (window, [height, width]) = sized(node, Window { padding, ..own }, shape)?;
        let to = Shape::new(channels, height, width);
        self.push(node, Op::Blur(window), &[value], to, Form::Planar)
    }

    pub(super) fn max_pool(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        // Of the indices that it may make too.
        node.ignore(&["storage_order"]);
        self.pool(node, PoolKind::Max, false)
    }

    pub(super) fn average_pool(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let counts = node.flag("count_include_pad")?;
        self.pool(node, PoolKind::Average, counts)
    }

    /// The largest pixel of each channel.
    pub(super) fn global_max(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let value = self.planar(node, 0)?;
        self.max_over_all(node, value, Form::Planar)
    }

    pub(super) fn max_over_all(
        &mut self,
        node: &Node<'_>,
        value: ValueId,
        form: Form,
    ) -> Result<(), Fault> {
        let Shape { channels, height, width } = self.shape(value);
        let window = Window::new(Extent::new(height, width), Extent::square(1), Padding::NONE);
        let pool = Pooling::new(PoolKind::Max, window);
        let op = Op::Pool { pool, said: Padding::NONE };
        self.push(node, op, &[value], Shape::new(channels, 1, 1), form)
    }

    fn pool(&mut self, node: &Node<'_>, kind: PoolKind, counts: bool) -> Result<(), Fault> {
        let value = self.planar(node, 0)?;
        let shape = self.shape(value);
        let Some(&[rows, columns]) = node.ints("kernel_shape")? else {
            return node.refuse("a pool over pictures has a `kernel_shape` of two numbers");
        };
        let own = padded(node, [rows, columns], shape)?;
        let one = Extent::square(1);
        if own.dilation != one {
            return node.refuse("a pool with a dilation; a table's pools have none");
        }
        let window = match node.flag("ceil_mode")? {
            // A kernel that does not fit is complained of as it is.
            true => own.rounded_up(shape).unwrap_or(own),
            false => own,
        };
        let (window, [height, width]) = sized(node, window, shape)?;
        let op = if window.kernel == one && window.padding == Padding::NONE {
            if window.stride == one {
                self.alias(node, Known::Activation(View::planar(value)));
                return Ok(());
            }
            Op::Subsample([window.stride.rows, window.stride.columns])
        } else {
            let zeros = if counts { own.padding } else { Padding::NONE };
            Op::Pool { pool: Pooling { kind, window, zeros }, said: own.padding }
        };
        self.push(node, op, &[value], Shape::new(shape.channels, height, width), Form::Planar)
    }
}

/// Whether a window is one of a blur, but for its padding.
fn is_blur(window: &Window) -> bool {
    window.padding == Padding::NONE
        && window.dilation == Extent::square(1)
        && window.kernel.rows.max(window.kernel.columns) <= LARGEST_BLUR
}

fn sized(node: &Node<'_>, window: Window, shape: Shape) -> Result<(Window, [usize; 2]), Fault> {
    let height = output_size(shape.height, window.rows());
    match (height, output_size(shape.width, window.columns())) {
        (Some(height), Some(width)) => Ok((window, [height, width])),
        _ => node.refuse(format!("its window of {window} does not fit into {shape}")),
    }
}

/// The window with the padding that the node says.
fn padded(node: &Node<'_>, kernel: [i64; 2], shape: Shape) -> Result<Window, Fault> {
    let extent = |name: &str, numbers: &[i64]| match *numbers {
        [rows, columns] if [rows, columns].iter().all(|number| (1..MOST).contains(number)) => {
            Ok(Extent::new(rows as usize, columns as usize))
        }
        _ => node.refuse(format!("its {name} are {numbers:?}; two positive numbers are expected")),
    };
    if node.ints("kernel_shape")?.is_some_and(|claimed| claimed != kernel) {
        return node.refuse("its weights are not of its `kernel_shape`");
    }
    let list = |name: &str| -> Result<&[i64], Fault> {
        Ok(node.ints(name)?.filter(|list| !list.is_empty()).unwrap_or(&[1, 1]))
    };
    let open = Window {
        kernel: extent("kernel_shape", &kernel)?,
        stride: extent("strides", list("strides")?)?,
        dilation: extent("dilations", list("dilations")?)?,
        padding: Padding::NONE,
    };
    let auto = node.word("auto_pad")?;
    let pads = node.ints("pads")?.filter(|pads| !pads.is_empty()).unwrap_or(&[0; 4]);
    let &[top, left, bottom, right] = pads else {
        return node.refuse(format!("its pads are {pads:?}; four numbers are expected"));
    };
    if !pads.iter().all(|pad| (0..MOST).contains(pad)) {
        return node.refuse(format!("its pads are {pads:?}; no negative numbers are expected"));
    }
    if !matches!(auto, "" | "NOTSET") && pads != [0; 4] {
        return node.refuse(format!("it has both `pads` and `auto_pad`, {auto}"));
    }
    Ok(match auto {
        "" | "NOTSET" => {
            let side = |rows: i64, columns: i64| Extent::new(rows as usize, columns as usize);
            let padding = Padding { before: side(top, left), after: side(bottom, right) };
            Window { padding, ..open }
        }
        "SAME_UPPER" => open.padded_to_same(shape),
        "SAME_LOWER" => {
            let Padding { before, after } = open.padded_to_same(shape).padding;
            Window { padding: Padding { before: after, after: before }, ..open }
        }
        "VALID" => open,
        other => return node.refuse(format!("its `auto_pad` is `{other}`")),
    })
}
