//! What rows say of themselves and to each other, without their shapes.

use resnet_runtime::kernels::Activation;

use super::Found;
use crate::diagnostics::{Diagnostic, Spanned};
use crate::geometry::{Extent, Shape};
use crate::spec::{BlockKind, BlockRow, Lint, Row, RowOp};

impl Found<'_> {
    /// Pictures have few channels. Height or width is small where the input is a signal, so that one
    /// column of pixels is not enough.
    pub(super) fn input(&mut self) {
        let Spanned { value: Shape { channels, height, width }, span } = self.spec.input;
        let few = matches!(width, 3 | 4) || width == 1 && channels == height;
        if !few || channels.min(height) < 8 {
            return;
        }
        let message = format!("`input` has {channels} channels of {height}x{width} pixels");
        self.warn(
            Lint::ChannelsLastInput,
            Diagnostic::new(span, message)
                .label("channels come first")
                .help(format!("write `{width}x{channels}x{height}`"))
                .fix(span, "input", Shape::new(width, channels, height)),
        );
    }

    /// What rows say of themselves and to each other.
    pub(super) fn rows(&mut self) {
        let spec = self.spec;
        for row in &spec.table {
            match &row.op.value {
                RowOp::Conv(conv) => {
                    self.unused_dilation(row, &conv.window.dilation, &conv.window.kernel)
                }
                RowOp::Block(block) => self.wide_bottleneck(row, block),
                _ => {}
            }
        }
        for pair in spec.table.windows(2) {
            let [row, next] = pair else { continue };
            self.stacked_linear(row, next);
            if let RowOp::Softmax = row.op.value {
                let (name, reader) = (&row.layer.value, &next.layer.value);
                self.warn(
                    Lint::SoftmaxBeforeEnd,
                    Diagnostic::new(
                        row.op.span,
                        format!("`{reader}` reads what the softmax `{name}` makes"),
                    )
                    .related(next.op.span, "reads probabilities")
                    .help("put the softmax last"),
                );
            }
        }
        self.missing_norm();
    }

    fn unused_dilation(&mut self, row: &Row, dilation: &Spanned<Extent>, kernel: &Spanned<Extent>) {
        let one = Extent::square(1);
        if kernel.value != one || dilation.value == one {
            return;
        }
        let message =
            format!("`{}` has a dilation, which a 1x1 kernel has no use for", row.layer.value);
        self.warn(
            Lint::UnusedDilation,
            Diagnostic::new(dilation.span, message)
                .related(kernel.span, "one pixel, which has no neighbour to be apart from")
                .help("remove it, or use a larger kernel"),
        );
    }

    /// ResNeXts of few wide groups, as 32x48d, and RegNets are as wide as what they make, or wider.
    fn wide_bottleneck(&mut self, row: &Row, block: &BlockRow) {
        let BlockKind::Bottleneck { width: Some(width), groups, scale } = &block.kind else {
            return;
        };
        let channels = &block.channels;
        let middle = width.value[1] * scale.map_or(1, |scale| scale.value);
        if groups.value > 1 || middle <= channels.value {
            return;
        }
        let message =
            format!("the bottlenecks of `{}` are wider than what they make", row.layer.value);
        self.warn(
            Lint::WideBottleneck,
            Diagnostic::new(width.span, message)
                .label(format!("{middle} channels in the middle"))
                .related(channels.span, format!("{} at the end", channels.value))
                .help(match channels.value / 4 {
                    0 => "write the larger number as `channels`".to_owned(),
                    quarter => format!(
                        "write the larger number as `channels`, or leave `width` out for {quarter}"
                    ),
                }),
        );
    }

    fn stacked_linear(&mut self, row: &Row, next: &Row) {
        let (RowOp::Linear { activation, .. }, RowOp::Linear { .. }) =
            (&row.op.value, &next.op.value)
        else {
            return;
        };
        let is_feature = self.spec.features.iter().any(|name| name.value == row.layer.value);
        if *activation != Activation::None || is_feature {
            return;
        }
        let message =
            format!("no activation between `{}` and `{}`", row.layer.value, next.layer.value);
        self.warn(
            Lint::StackedLinear,
            Diagnostic::new(row.op.span, message)
                .related(next.op.span, "reads it as it is")
                .note("two linear layers in a row can do no more than one")
                .help(format!("add `activation: relu` to `{}`", row.layer.value)),
        );
    }

    /// The sum that ends a stage of pre-activation has no norm of its own; what goes on reads it through
    /// the next block's. Features are read by others.
    fn missing_norm(&mut self) {
        let spec = self.spec;
        let is_block = |row: &Row| matches!(row.op.value, RowOp::Block(_));
        let Some(last) = spec.table.iter().rposition(is_block) else { return };
        let after = &spec.table[last + 1..];
        let is_normed = |row: &Row| matches!(row.op.value, RowOp::Norm { .. } | RowOp::Conv(_));
        if !spec.pre_activation
            || !spec.features.is_empty()
            || after.is_empty()
            || after.iter().any(is_normed)
        {
            return;
        }
        let row = &spec.table[last];
        let message = format!(
            "no norm and no activation between `{}` and `{}`",
            row.layer.value, after[0].layer.value
        );
        self.warn(
            Lint::MissingNorm,
            Diagnostic::new(after[0].op.span, message)
                .related(row.op.span, "with `pre_activation`, a block ends with an addition")
                .help(format!("put a `norm` row behind `{}`", row.layer.value)),
        );
    }
}
