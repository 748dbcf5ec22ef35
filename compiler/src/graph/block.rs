//! Residual blocks, as torchvision builds and names them.
//!
//! Basic: `3x3/s bn relu 3x3 bn (+ shortcut) relu`. Bottleneck: `1x1 bn relu 3x3/s bn relu 1x1 bn
//! (+ shortcut) relu`, or with the stride on the first 1x1 as in the 2015 paper.

use crate::diagnostics::{Diagnostic, Span};
use crate::graph::build::{Builder, Conv, Places};
use crate::graph::{Extent, NodeId, Op, Shape, Window};
use crate::spec::{BlockKind, BlockRow, Row, Shortcut, StrideOn};

/// One convolution of a block's main path.
struct Part {
    kernel: usize,
    channels: usize,
    stride: Extent,
    groups: usize,
}

impl Builder<'_> {
    /// All blocks of a row.
    pub(super) fn blocks(
        &mut self,
        row: &Row,
        block: &BlockRow,
        input: NodeId,
        prefix: &str,
    ) -> Option<NodeId> {
        let mut node = input;
        for index in 0..block.repeat.value {
            let stride = if index == 0 { block.stride.value } else { Extent::square(1) };
            let name = format!("{}.{index}", row.layer.value);
            node = self.block(row, block, &name, stride, node, &format!("{prefix}.{index}"))?;
        }
        Some(node)
    }

    fn block(
        &mut self,
        row: &Row,
        block: &BlockRow,
        name: &str,
        stride: Extent,
        input: NodeId,
        prefix: &str,
    ) -> Option<NodeId> {
        let places = places(row, block);
        let parts = self.parts(block, stride)?;
        let last = parts.len();
        let mut node = input;
        for (number, part) in (1..).zip(parts) {
            let weights = format!("{prefix}.conv{number}");
            let conv = Conv {
                name: format!("{name}.conv{number}"),
                window: square_window(part.kernel, part.stride),
                groups: part.groups,
                channels: part.channels,
                weights: &weights,
                bias: false,
                counts: true,
                places,
            };
            node = self.conv(conv, node)?;
            let ends_residual = number == last && block.shortcut.value != Shortcut::None;
            let norm = format!("{prefix}.bn{number}");
            node = self.batch_norm(format!("{name}.bn{number}"), node, &norm, ends_residual)?;
            if number < last {
                node = self.relu(format!("{name}.relu{number}"), node)?;
            }
        }
        if let Some(shortcut) = self.shortcut(block, name, stride, input, node, prefix, places)? {
            let shape = self.shape(node);
            debug_assert_eq!(shape, self.shape(shortcut), "both paths divide rounding up");
            node = self.push(format!("{name}.add"), Op::Add, vec![node, shortcut], shape)?;
        }
        self.relu(format!("{name}.relu"), node)
    }

    /// The convolutions of a block's main path.
    fn parts(&mut self, block: &BlockRow, stride: Extent) -> Option<Vec<Part>> {
        let one = Extent::square(1);
        let channels = block.channels.value;
        let part = |kernel, channels, stride, groups| Part { kernel, channels, stride, groups };
        Some(match block.kind {
            BlockKind::Basic => vec![part(3, channels, stride, 1), part(3, channels, one, 1)],
            BlockKind::Bottleneck { width, groups, stride_on } => {
                let width = match width {
                    Some(width) => width.value,
                    None if channels.is_multiple_of(4) => channels / 4,
                    None => {
                        self.errors.push(
                            Diagnostic::new(
                                block.channels.span,
                                format!("a quarter of {channels} channels is not a whole number"),
                            )
                            .note(
                                "the 3x3 convolution of a bottleneck has a quarter of its channels",
                            )
                            .help("write its channels as `width`, or choose a multiple of 4"),
                        );
                        return None;
                    }
                };
                let (first, middle) = match stride_on {
                    StrideOn::First => (stride, one),
                    StrideOn::Middle => (one, stride),
                };
                vec![
                    part(1, width, first, 1),
                    part(3, width, middle, groups.value),
                    part(1, channels, one, 1),
                ]
            }
        })
    }

    /// What is added to the main path: `Some(None)` in a plain network.
    ///
    /// As in torchvision, a shortcut changes the shape where the block has a stride or other
    /// channels than its input.
    #[expect(clippy::too_many_arguments, reason = "all of them describe the block at hand")]
    fn shortcut(
        &mut self,
        block: &BlockRow,
        name: &str,
        stride: Extent,
        input: NodeId,
        main: NodeId,
        prefix: &str,
        places: Places,
    ) -> Option<Option<NodeId>> {
        let (from, to) = (self.shape(input), self.shape(main));
        let changes = stride != Extent::square(1) || from.channels != to.channels;
        let node = match block.shortcut.value {
            Shortcut::None => return Some(None),
            Shortcut::Projection if !changes => input,
            Shortcut::ZeroPad if !changes => input,
            Shortcut::Projection | Shortcut::ProjectAll => {
                let weights = format!("{prefix}.downsample.0");
                let conv = Conv {
                    name: format!("{name}.downsample"),
                    window: square_window(1, stride),
                    groups: 1,
                    channels: to.channels,
                    weights: &weights,
                    bias: false,
                    counts: false,
                    places,
                };
                let node = self.conv(conv, input)?;
                let norm = format!("{prefix}.downsample.1");
                self.batch_norm(format!("{name}.downsample.bn"), node, &norm, false)?
            }
            Shortcut::ZeroPad => self.zero_pad(block.shortcut.span, name, stride, input, to)?,
        };
        Some(Some(node))
    }

    fn zero_pad(
        &mut self,
        place: Span,
        name: &str,
        stride: Extent,
        input: NodeId,
        to: Shape,
    ) -> Option<NodeId> {
        let from = self.shape(input);
        let (height, width) =
            (from.height.div_ceil(stride.rows), from.width.div_ceil(stride.columns));
        let Some(new) = to.channels.checked_sub(from.channels) else {
            let kept = Shape::new(from.channels, height, width);
            self.errors.push(
                Diagnostic::new(place, format!("{name}: main path {to}, shortcut {kept}"))
                    .note("`shortcut: zero_pad` adds channels of zeros; it cannot remove any")
                    .help("write `shortcut: projection`, or keep the channels"),
            );
            return None;
        };
        let op = Op::ZeroPad { stride, before: new / 2 };
        let shape = Shape::new(to.channels, height, width);
        self.push(format!("{name}.zero_pad"), op, vec![input], shape)
    }
}

fn square_window(kernel: usize, stride: Extent) -> Window {
    Window { kernel: Extent::square(kernel), stride, padding: Extent::square(kernel / 2) }
}

/// A block has no kernel cell; its operation stands for it.
fn places(row: &Row, block: &BlockRow) -> Places {
    let groups = match block.kind {
        BlockKind::Bottleneck { groups, .. } => groups.span,
        BlockKind::Basic => row.op.span,
    };
    Places { kernel: row.op.span, channels: block.channels.span, groups }
}
