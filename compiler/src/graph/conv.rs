//! Convolutions, and the arithmetic that they share with pools.

use resnet_runtime::weights::Init;

use crate::diagnostics::{Diagnostic, Span};
use crate::geometry;
use crate::graph::build::{
    Builder, MOST_ELEMENTS, MOST_PADDED, elements, too_many_elements, too_many_weights,
};
use crate::graph::{Axis, Extent, NodeId, Op, Padding, Shape, Window};
use crate::limits::power;
use crate::spec::{ConvRow, PaddingCell, Row, Standardization, WindowCells};

impl WindowCells {
    /// The window that slides over `input`.
    pub(super) fn window(&self, input: Shape) -> Window {
        let open = Window {
            kernel: self.kernel.value,
            stride: self.stride.value,
            dilation: self.dilation.value,
            padding: Padding::NONE,
        };
        match self.padding.value {
            PaddingCell::Sides(padding) => Window { padding, ..open },
            PaddingCell::Same => open.padded_to_same(input),
        }
    }
}

/// A convolution to be added.
pub(super) struct Conv<'n> {
    pub(super) name: String,
    pub(super) window: Window,
    pub(super) groups: usize,
    pub(super) channels: usize,
    /// Prefix of its tensors.
    pub(super) weights: &'n str,
    pub(super) bias: bool,
    /// The epsilon of weight standardization.
    pub(super) standardise: Option<f64>,
    /// Whether it counts as a layer of the depth.
    pub(super) counts: bool,
    pub(super) places: Places,
}

/// The cells to blame.
#[derive(Clone, Copy)]
pub(super) struct Places {
    pub(super) kernel: Span,
    pub(super) channels: Span,
    pub(super) groups: Span,
}

impl Builder<'_> {
    pub(super) fn conv_row(
        &mut self,
        row: &Row,
        conv: &ConvRow,
        input: NodeId,
        prefix: &str,
    ) -> Option<NodeId> {
        let name = &row.layer.value;
        let cells = &conv.window;
        let convolution = Conv {
            name: name.clone(),
            window: cells.window(self.shape(input)),
            groups: conv.groups.value,
            channels: conv.channels.value,
            weights: prefix,
            bias: conv.bias,
            standardise: self.standardise(conv.weight_standardization),
            counts: true,
            places: Places {
                kernel: cells.kernel.span,
                channels: conv.channels.span,
                groups: conv.groups.span,
            },
        };
        let mut node = self.conv(convolution, input)?;
        if let Some(norm) = conv.norm {
            let default = format!("bn{}", self.conv_rows);
            let prefix = conv.norm_weights.as_ref().map_or(default, |prefix| prefix.value.clone());
            node = self.norm(norm, format!("{name}.bn"), node, &prefix, false)?;
        }
        let activation = conv.activation.unwrap_or(self.spec.activation);
        self.activate(name, None, activation, node)
    }

    /// The epsilon of a row's weight standardization, which is the table's if the row says none.
    pub(super) fn standardise(&self, own: Option<Standardization>) -> Option<f64> {
        own.unwrap_or(self.spec.weight_standardization).epsilon()
    }

    pub(super) fn conv(&mut self, conv: Conv<'_>, input: NodeId) -> Option<NodeId> {
        self.scaled_conv(conv, input, 1.0)
    }

    /// `scale`: of random weights, where no norm follows that could keep what is added in a long
    /// chain of blocks small.
    pub(super) fn scaled_conv(
        &mut self,
        conv: Conv<'_>,
        input: NodeId,
        scale: f64,
    ) -> Option<NodeId> {
        let Conv { name, window, groups, channels, weights, bias, standardise, .. } = conv;
        let Conv { counts, places, .. } = conv;
        let shape = self.shape(input);
        for (count, what) in [(shape.channels, "input"), (channels, "output")] {
            if count % groups != 0 {
                let message =
                    format!("{name}: {groups} groups do not divide {count} {what} channels");
                self.errors.push(
                    Diagnostic::new(places.groups, message)
                        .note(format!("{count} / {groups} leaves {}", count % groups))
                        .help("choose groups that divide the channels on both sides"),
                );
                return None;
            }
        }
        let output = self.slide(&name, shape, &window, channels, places)?;
        if counts {
            self.explain(&name, shape, &window, output);
        }
        let fan_in = (shape.channels / groups) as u128
            * window.kernel.rows as u128
            * window.kernel.columns as u128;
        if fan_in * channels as u128 > MOST_ELEMENTS {
            let factors = format!("{channels} x {} x {}", shape.channels / groups, window);
            self.errors.push(too_many_weights(places.channels, &name).note(factors));
            return None;
        }
        let weight = format!("{weights}.weight");
        let kernel = window.kernel;
        let dimensions = vec![channels, shape.channels / groups, kernel.rows, kernel.columns];
        // He et al., "Delving Deep into Rectifiers" (2015), keeps the variance through ReLU.
        let init = Init::Normal((scale * (2.0 / fan_in as f64).sqrt()) as f32);
        self.tensor(&weight, dimensions, init)?;
        let bias = bias.then(|| format!("{weights}.bias"));
        if let Some(bias) = &bias {
            self.tensor(bias, vec![channels], Init::Uniform(-0.1, 0.1))?;
        }
        self.depth += usize::from(counts);
        let op = Op::Conv { window, groups, weight, bias, standardise };
        self.push(name, op, vec![input], output)
    }

    /// The shape that a window makes, with `channels`.
    pub(super) fn slide(
        &mut self,
        name: &str,
        input: Shape,
        window: &Window,
        channels: usize,
        places: Places,
    ) -> Option<Shape> {
        let Some((height, width)) = geometry::output(input, window) else {
            let kernel = window.kernel;
            let padded = |size: usize, axis: Axis| match geometry::padded(size, axis) {
                text if axis.before + axis.after == 0 => text,
                text => format!("{text} = {}", size + axis.before + axis.after),
            };
            let dilated = if window.dilation == Extent::square(1) {
                String::new()
            } else {
                format!(" of dilation {}", window.dilation)
            };
            self.errors.push(
                Diagnostic::new(
                    places.kernel,
                    format!("{name}: the kernel is larger than its input"),
                )
                .label(format!("{}x{}{dilated}", kernel.rows, kernel.columns))
                .note(format!(
                    "the input is {input}, padded: height {}, width {}",
                    padded(input.height, window.rows()),
                    padded(input.width, window.columns())
                ))
                .help("use a smaller kernel, or fewer strides before this row"),
            );
            return None;
        };
        let output = Shape::new(channels, height, width);
        if elements(output) > MOST_ELEMENTS {
            self.errors.push(too_many_elements(
                places.channels,
                &format!("the output of {name}"),
                output,
            ));
            return None;
        }
        let padded = Shape::new(
            input.channels,
            input.height + window.padding.before.rows + window.padding.after.rows,
            input.width + window.padding.before.columns + window.padding.after.columns,
        );
        if elements(padded) > MOST_PADDED {
            let most = power(MOST_PADDED);
            let message = format!("the padded input of {name} has more than {most} elements");
            self.errors.push(
                Diagnostic::new(places.kernel, message)
                    .note(format!("it is {padded}"))
                    .help("use less padding, or less dilation"),
            );
            return None;
        }
        Some(output)
    }

    /// Keeps the arithmetic of a window that changes the size, for a claim that turns out wrong.
    pub(super) fn explain(&mut self, name: &str, input: Shape, window: &Window, output: Shape) {
        let changes = (input.height, input.width) != (output.height, output.width);
        if let Some(line) = geometry::arithmetic(input, window).filter(|_| changes) {
            self.arithmetic.push(format!("{name}: {line}"));
        }
    }
}
