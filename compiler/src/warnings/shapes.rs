//! What only shapes tell.

use super::Found;
use crate::counts::grouped;
use crate::diagnostics::{Diagnostic, Span, Spanned};
use crate::geometry::{Axis, Extent, Shape, Window, output_size};
use crate::graph::{Graph, Node};
use crate::spec::{BlockKind, BlockRow, Lint, Row, RowOp};

impl Found<'_> {
    /// What only shapes tell, once a row.
    pub(super) fn nodes(&mut self, graph: &Graph) {
        let spec = self.spec;
        let mut pictured = false;
        let mut pooled = false;
        let mut blocks = 0;
        for (index, row) in spec.table.iter().enumerate() {
            let mut nodes = graph.nodes.iter().filter(|node| node.row == Some(index)).peekable();
            let Some(first) = nodes.peek() else { continue };
            let input = graph.node(first.inputs[0]).shape;
            match &row.op.value {
                RowOp::Linear { .. } if pictured && !pooled && input.pixels() > 1 => {
                    self.flattened_pixels(row, input);
                }
                RowOp::Conv(_) => (pictured, pooled) = (true, false),
                RowOp::Block(block) => {
                    (pictured, pooled) = (true, false);
                    blocks += 1;
                    if blocks == 1 {
                        self.narrow_bottleneck(row, block, input);
                    }
                }
                op => pooled |= op.pools(),
            }
            let Some(stride) = stride(row) else { continue };
            if stride.value != Extent::square(1) && input.pixels() == 1 {
                self.unused_stride(row, stride);
                continue;
            }
            let windows = nodes.filter_map(|node| Some((node, window(row, node)?)));
            let windows: Vec<(Shape, Window)> =
                windows.map(|(node, window)| (graph.node(node.inputs[0]).shape, window)).collect();
            let skipping =
                windows.iter().find(|(input, window)| read_of(*input, window) != [(1, 1); 2]);
            if let Some((input, window)) = skipping {
                self.skipped_pixels(row, stride.span, *input, window);
            }
            if let (RowOp::Conv(conv), [(input, window)]) = (&row.op.value, &windows[..])
                && has_window_in_padding(*input, window)
            {
                self.windows_in_padding(row, conv.window.padding.span, *input, window);
            }
        }
    }

    fn flattened_pixels(&mut self, row: &Row, input: Shape) {
        let name = &row.layer.value;
        let message = format!("`{name}` reads every pixel of {input}, as no pool comes before it");
        let RowOp::Linear { channels, .. } = &row.op.value else { return };
        let weights = input.elements() as u64 * channels.value as u64;
        let pooled = input.channels as u64 * channels.value as u64;
        self.warn(
            Lint::FlattenedPixels,
            Diagnostic::new(row.op.span, message)
                .label(format!("{} weights", grouped(weights)))
                .note(format!("over a pool of all pixels they were {}", grouped(pooled)))
                .help(format!("put a `global_average_pool` row before `{name}`")),
        );
    }

    /// In papers' tables and torchvision's code a bottleneck is named by the channels in its middle.
    fn narrow_bottleneck(&mut self, row: &Row, block: &BlockRow, input: Shape) {
        let BlockKind::Bottleneck { width: None, .. } = block.kind else { return };
        let channels = &block.channels;
        if channels.value != input.channels || channels.value < 4 {
            return;
        }
        let (middle, name) = (channels.value / 4, &row.layer.value);
        self.warn(
            Lint::NarrowBottleneck,
            Diagnostic::new(channels.span, format!("the bottlenecks of `{name}` have {middle} channels in the middle"))
                .label("what a whole block makes")
                .note(format!("they read {} channels and make {}", input.channels, channels.value))
                .help(format!(
                    "`channels` counts what a block makes, four times its width: write `channels: {}` for {} in the middle",
                    4 * channels.value, channels.value
                )),
        );
    }

    fn unused_stride(&mut self, row: &Row, stride: &Spanned<Extent>) {
        let message = format!("the stride of `{}` has nothing to step over", row.layer.value);
        self.warn(
            Lint::UnusedStride,
            Diagnostic::new(stride.span, message)
                .label("its input is 1x1")
                .help("use a larger `input`, or fewer strides before this row"),
        );
    }

    fn skipped_pixels(&mut self, row: &Row, stride: Span, input: Shape, window: &Window) {
        let [rows, columns] = read_of(input, window);
        let (read, of) = (rows.0 * columns.0, rows.1 * columns.1);
        let Window { kernel, stride: step, dilation, .. } = window;
        let dilated = match *dilation == Extent::square(1) {
            true => String::new(),
            false => format!(" and dilation {dilation}"),
        };
        let size = |extent: &Extent| format!("{}x{}", extent.rows, extent.columns);
        self.warn(
            Lint::SkippedPixels,
            Diagnostic::new(
                stride,
                format!("`{}` reads {read} of every {of} pixels", row.layer.value),
            )
            .label("steps over the others")
            .note(format!(
                "the input is {input}, the kernel {}, the stride {}{dilated}",
                size(kernel),
                size(step)
            ))
            .help(match *dilation == Extent::square(1) {
                true => format!(
                    "use a stride of at most {}, or a larger kernel",
                    size(&kernel.min(*step))
                ),
                false => {
                    "use a stride no larger than the kernel that shares no factor with the dilation"
                        .to_owned()
                }
            }),
        );
    }

    fn windows_in_padding(&mut self, row: &Row, padding: Span, input: Shape, window: &Window) {
        let Window { kernel, .. } = window;
        let name = &row.layer.value;
        let message = format!("windows of `{name}` see nothing but padding");
        self.warn(
            Lint::WindowsInPadding,
            Diagnostic::new(padding, message)
                .label(format!(
                    "padding of {}, kernel of {}x{}",
                    window.padding, kernel.rows, kernel.columns
                ))
                .note(format!(
                    "the input is {input}; what such a window makes is the same for every picture"
                ))
                .help("leave `padding` out for half the kernel, or use less"),
        );
    }
}

/// The cell of a row's stride.
fn stride(row: &Row) -> Option<&Spanned<Extent>> {
    match &row.op.value {
        RowOp::Block(block) => Some(&block.stride),
        op => op.window().map(|window| &window.stride),
    }
}

/// The window of a node that ought to read every pixel. In blocks, 1x1 convolutions with a stride are
/// the projections of every residual network, and the first convolutions of the paper's.
fn window(row: &Row, node: &Node) -> Option<Window> {
    let window = node.op.window()?;
    let in_block = matches!(row.op.value, RowOp::Block(_));
    (!in_block || window.kernel != Extent::square(1)).then_some(window)
}

/// Along both directions, of how many neighbouring pixels how many are read: `(1, 1)` if all are.
fn read_of(input: Shape, window: &Window) -> [(usize, usize); 2] {
    let read = |size: usize, axis: Axis| {
        let Axis { kernel, stride, dilation, .. } = axis;
        // Pixels of a window are `dilation` apart, so that this many of the `stride` remainders occur.
        let read = kernel.min(stride / gcd(stride, dilation));
        let windows = output_size(size, axis).unwrap_or(0);
        if windows < 2 || read == stride { (1, 1) } else { (read, stride) }
    };
    [read(input.height, window.rows()), read(input.width, window.columns())]
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Whether the first or the last window lies before or behind the picture.
fn has_window_in_padding(input: Shape, window: &Window) -> bool {
    let outside = |size: usize, axis: Axis| {
        let reach = (axis.kernel - 1) * axis.dilation + 1;
        let last = (output_size(size, axis).unwrap_or(1) - 1) * axis.stride;
        axis.before >= reach || last >= size + axis.before
    };
    outside(input.height, window.rows()) || outside(input.width, window.columns())
}
