//! Nodes that move a window, or cut and pad activations.

use resnet_compiler::graph::{Axis, Extent, LARGEST_BLUR, Padding, Shape, Window, output_size};

use super::graph::{Conv, Known, Op, Reader, ValueId};
use super::node::Node;
use crate::error::Fault;

/// Larger than any picture's side, and far from overflowing.
const MOST: i64 = 1 << 20;

/// What a convolution of mirrored pixels is answered with.
const NO_BLUR: &str = "it reads mirrored pixels and is no blur: each channel by itself, binomial coefficients \
                       over their sum, a kernel of at most 7, no bias, padding or dilation";

impl Reader<'_> {
    pub(super) fn conv(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        if let Known::Mirrored(value, padding) = self.known(node, 0)? {
            return self.blur(node, value, padding);
        }
        let value = self.activation(node, 0)?;
        let (weight, bias) = (self.floats(node, 1)?, self.optional(node, 2)?);
        let shape = self.shape(value);
        if let [1, 1, kernel] = *weight.shape {
            let half = kernel as i64 / 2;
            let plain = |name, value| node.ints(name).is_none_or(|found| found == [value]);
            let pads = node.ints("pads").unwrap_or(&[0, 0]);
            if bias.is_some()
                || pads != [half, half]
                || !plain("strides", 1)
                || !plain("dilations", 1)
            {
                return node.refuse(
                    "a convolution along channels has no bias and no stride, and zeros past either end",
                );
            }
            return self.push(node, Op::ChannelConv(weight), &[value], shape, true);
        }
        let &[channels, inputs, rows, columns] = &*weight.shape else {
            return node.refuse(format!(
                "its weights are {:?}; a table has convolutions over pictures, four dimensions",
                weight.shape
            ));
        };
        let groups = node.int("group").unwrap_or(1);
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
        let kernel = [rows as i64, columns as i64];
        if node.ints("kernel_shape").is_some_and(|claimed| claimed != kernel) {
            return node.refuse("its weights are not of its `kernel_shape`");
        }
        let (window, [height, width]) = window(node, kernel, shape)?;
        let conv = Box::new(Conv { window, groups, weight, bias });
        self.push(node, Op::Conv(conv), &[value], Shape::new(channels, height, width), false)
    }

    /// A convolution of mirrored pixels, which has to be a blur.
    fn blur(&mut self, node: &Node<'_>, value: ValueId, padding: Padding) -> Result<(), Fault> {
        let (weight, shape) = (self.floats(node, 1)?, self.shape(value));
        let (&[channels, 1, rows, columns], true) = (&*weight.shape, node.input(2).is_empty())
        else {
            return node.refuse(NO_BLUR);
        };
        let own = padded(node, [rows as i64, columns as i64], shape)?;
        let is_plain = own.padding == Padding::NONE && own.dilation == Extent::square(1);
        let by_channel = channels == shape.channels && node.int("group") == Some(channels as i64);
        if !is_plain || !by_channel || rows.max(columns) > LARGEST_BLUR {
            return node.refuse(NO_BLUR);
        }
        match self.files.is_binomial(&weight, [rows, columns]) {
            Some(true) => {}
            Some(false) => return node.refuse(NO_BLUR),
            None => return node.refuse("a blur's filter is read from elements of f32 or f64"),
        }
        let (window, [height, width]) = sized(node, Window { padding, ..own }, shape)?;
        self.push(node, Op::Blur(window), &[value], Shape::new(channels, height, width), false)
    }

    pub(super) fn max_pool(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        if node.0.output.len() > 1 {
            return node.refuse("it makes indices too, which a table does not have");
        }
        self.pool(node, Op::MaxPool)
    }

    pub(super) fn average_pool(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let shape = self.shape(self.activation(node, 0)?);
        let counts = node.int("count_include_pad").unwrap_or(0) != 0;
        let (window, [height, width]) = pool_window(node, shape)?;
        // What `ceil_mode` adds below and right never counts.
        let (own, _) = sized(node, padded(node, kernel_of(node)?, shape)?, shape)?;
        let counts = counts && own.padding != Padding::NONE;
        if counts && own.padding != window.padding {
            return node.refuse(
                "padding that counts, and more by `ceil_mode` that does not; a table has one of them",
            );
        }
        let pads = window.padding != Padding::NONE;
        let whole = (window.kernel.rows, window.kernel.columns) == (shape.height, shape.width);
        if whole && !pads && (height, width) == (1, 1) {
            let value = self.activation(node, 0)?;
            return self.push(node, Op::Mean, &[value], Shape::new(shape.channels, 1, 1), false);
        }
        let count_padding = counts || !pads;
        self.pool(node, |window| Op::AveragePool { window, count_padding })
    }

    fn pool(&mut self, node: &Node<'_>, op: impl FnOnce(Window) -> Op) -> Result<(), Fault> {
        let value = self.activation(node, 0)?;
        let shape = self.shape(value);
        let (window, [height, width]) = pool_window(node, shape)?;
        let one = Extent::square(1);
        let takes = window.kernel == one && window.padding == Padding::NONE;
        if takes && window.stride == one {
            self.alias(node, Known::Activation(value));
            return Ok(());
        }
        let op = if takes {
            Op::Subsample([window.stride.rows, window.stride.columns])
        } else {
            op(window)
        };
        self.push(node, op, &[value], Shape::new(shape.channels, height, width), false)
    }

    /// Every so many rows and columns: the shortcut without weights.
    pub(super) fn slice(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let value = self.activation(node, 0)?;
        let shape = self.shape(value);
        let starts = self.list(node, "starts", 1)?.unwrap_or_default();
        let ends = self.list(node, "ends", 2)?.unwrap_or_default();
        let axes = self.list(node, "axes", 3)?;
        let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = self.list(node, "steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
        let lengths = [ends.len(), axes.len(), steps.len()];
        if lengths.iter().any(|&length| length != starts.len()) || self.network.values[value].flat {
            return node.refuse("it cuts something other than an activation of pixels");
        }
        let mut strides = [1_usize; 2];
        for (index, &axis) in axes.iter().enumerate() {
            let axis = if axis < 0 { axis + 4 } else { axis };
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
                        strides[axis as usize - 2] = step;
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
            self.alias(node, Known::Activation(value));
            return Ok(());
        }
        let [rows, columns] = strides;
        let to =
            Shape::new(shape.channels, shape.height.div_ceil(rows), shape.width.div_ceil(columns));
        self.push(node, Op::Subsample(strides), &[value], to, false)
    }

    pub(super) fn pad(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let value = self.activation(node, 0)?;
        let shape = self.shape(value);
        let mode = node.word("mode");
        let zero = match self.optional(node, 2)? {
            Some(stored) => self.files.number(&stored) == Some(0.0),
            None => node.float("value").unwrap_or(0.0) == 0.0,
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
        if !node.input(3).is_empty() {
            return node.refuse("it pads some axes; export with operator set 17 or older");
        }
        let pads = self.list(node, "pads", 1)?.unwrap_or_default();
        let pads: Option<Vec<usize>> =
            pads.iter().map(|&pad| usize::try_from(pad).ok().filter(|_| pad < MOST)).collect();
        let pads = pads.unwrap_or_default();
        let &[0, before, top, left, 0, after, bottom, right] = &*pads else {
            return node.refuse("it has to pad channels, height and width, by no negative number");
        };
        let (channels, pixels) = ([before, after], [top, left, bottom, right]);
        let (op, to) = match (channels, pixels) {
            ([0, 0], [0, 0, 0, 0]) => {
                self.alias(node, Known::Activation(value));
                return Ok(());
            }
            ([0, 0], [top, left, bottom, right]) if mirrors => {
                let padding =
                    Padding { before: Extent::new(top, left), after: Extent::new(bottom, right) };
                self.alias(node, Known::Mirrored(value, padding));
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
        self.push(node, op, &[value], to, false)
    }
}

fn kernel_of(node: &Node<'_>) -> Result<[i64; 2], Fault> {
    match node.ints("kernel_shape") {
        Some(&[rows, columns]) => Ok([rows, columns]),
        _ => node.refuse("a pool over pictures has a `kernel_shape` of two numbers"),
    }
}

fn pool_window(node: &Node<'_>, shape: Shape) -> Result<(Window, [usize; 2]), Fault> {
    let (window, sizes) = window(node, kernel_of(node)?, shape)?;
    match window.dilation == Extent::square(1) {
        true => Ok((window, sizes)),
        false => node.refuse("a pool with a dilation; a table's pools have none"),
    }
}

/// The window of a node and the height and width that it makes. `ceil_mode` becomes padding below and
/// right.
fn window(node: &Node<'_>, kernel: [i64; 2], shape: Shape) -> Result<(Window, [usize; 2]), Fault> {
    let mut window = padded(node, kernel, shape)?;
    if node.int("ceil_mode").unwrap_or(0) != 0 {
        let more = [missing(shape.height, window.rows()), missing(shape.width, window.columns())];
        window.padding.after.rows += more[0];
        window.padding.after.columns += more[1];
    }
    sized(node, window, shape)
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
    let list = |name: &str| node.ints(name).filter(|list| !list.is_empty()).unwrap_or(&[1, 1]);
    let open = Window {
        kernel: extent("kernel_shape", &kernel)?,
        stride: extent("strides", list("strides"))?,
        dilation: extent("dilations", list("dilations"))?,
        padding: Padding::NONE,
    };
    Ok(match node.word("auto_pad") {
        "" | "NOTSET" => match node.ints("pads").unwrap_or(&[0; 4]) {
            pads @ &[top, left, bottom, right]
                if pads.iter().all(|pad| (0..MOST).contains(pad)) =>
            {
                let side = |rows: i64, columns: i64| Extent::new(rows as usize, columns as usize);
                let padding = Padding { before: side(top, left), after: side(bottom, right) };
                Window { padding, ..open }
            }
            pads => {
                return node.refuse(format!("its pads are {pads:?}; four numbers are expected"));
            }
        },
        "SAME_UPPER" => open.padded_to_same(shape),
        "SAME_LOWER" => {
            let Padding { before, after } = open.padded_to_same(shape).padding;
            Window { padding: Padding { before: after, after: before }, ..open }
        }
        "VALID" => open,
        other => return node.refuse(format!("its `auto_pad` is `{other}`")),
    })
}

/// Rows below the last one that the last window reaches over, if sizes are rounded up; a window has
/// to begin inside, or above.
fn missing(size: usize, axis: Axis) -> usize {
    let Some(floor) = output_size(size, axis) else { return 0 };
    let reach = (axis.kernel - 1) * axis.dilation + 1;
    let padded = size + axis.before + axis.after;
    let end = floor * axis.stride + reach;
    if end - axis.stride < padded && floor * axis.stride < size + axis.before {
        end - padded
    } else {
        0
    }
}
