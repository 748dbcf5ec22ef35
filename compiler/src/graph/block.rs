//! Residual blocks, as torchvision builds and names them.
//!
//! Basic: `3x3/s bn relu 3x3 bn (+ shortcut) relu`. Bottleneck: `1x1 bn relu 3x3/s bn relu 1x1 bn
//! (+ shortcut) relu`, or with the stride on the first 1x1 as in the 2015 paper.
//!
//! With pre-activation ("Identity Mappings in Deep Residual Networks", He et al., 2016) each batch
//! norm and ReLU stands before its convolution, nothing follows the addition, and a projection
//! reads what the first of them makes. Their tensors have timm's names: `norm1` for `bn1`,
//! `downsample.conv` for `downsample.0`.

use resnet_runtime::kernels::Activation;
use resnet_runtime::weights::Init;

use crate::diagnostics::{Diagnostic, Span, Spanned};
use crate::graph::build::Builder;
use crate::graph::conv::{Conv, Places};
use crate::graph::{Extent, NodeId, Op, Padding, PoolKind, Pooling, Shape, Window};
use crate::spec::{
    AntiAlias, Attention, AttentionOn, BlockKind, BlockRow, Row, Shortcut, ShortcutFrom, Squeeze,
    StrideOn, ZeroChannels,
};

/// One block of a row.
pub(super) struct Block<'a> {
    pub(super) row: &'a BlockRow,
    /// Such as `conv2_x.0`.
    pub(super) name: String,
    /// Of its tensors, such as `layer1.0`.
    pub(super) prefix: String,
    pub(super) places: Places,
    pub(super) stride: Extent,
    /// Of its first 3x3 convolution; the second one has the row's.
    first_dilation: Extent,
}

impl Block<'_> {
    /// As in timm, where the block has a stride, or where dilation grows in place of one.
    fn anti_alias(&self) -> Option<Spanned<AntiAlias>> {
        let changes =
            self.stride != Extent::square(1) || self.first_dilation != self.row.dilation.value;
        self.row.anti_alias.filter(|_| changes)
    }
}

/// One convolution of a block's main path.
pub(super) struct Part {
    kernel: usize,
    pub(super) channels: usize,
    /// Whether the block's stride is its own.
    strided: bool,
    dilation: Extent,
    pub(super) groups: usize,
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
        if let Some(Spanned { value, span }) = block.shortcut_from
            && value != ShortcutFrom::Input
            && !self.spec.pre_activation
        {
            let message = format!("`shortcut_from: {}` without `pre_activation`", value.word());
            self.errors.push(
                Diagnostic::new(span, message)
                    .note("these blocks begin with a convolution, and have no norm before it")
                    .help("remove it, or write `pre_activation: true` at the top of the table"),
            );
        }
        self.check_scale(block);
        let dilation = block.dilation.value;
        let before = std::mem::replace(&mut self.dilation, dilation);
        let first_dilation = block
            .first_dilation
            .map_or_else(|| before.min(dilation), |first_dilation| first_dilation.value);
        let mut node = input;
        for index in 0..block.repeat.value {
            let (stride, first_dilation) = match index {
                0 => (block.stride.value, first_dilation),
                _ => (Extent::square(1), dilation),
            };
            let name = format!("{}.{index}", row.layer.value);
            let prefix = format!("{prefix}.{index}");
            let places = places(row, block);
            self.block = Some(index);
            node = self
                .block(&Block { row: block, name, prefix, places, stride, first_dilation }, node)?;
        }
        self.block = None;
        Some(node)
    }

    fn block(&mut self, block: &Block<'_>, input: NodeId) -> Option<NodeId> {
        let Block { name, prefix, .. } = block;
        let parts = self.parts(block)?;
        let last = parts.len();
        let pre_activation = self.spec.pre_activation;
        let activation = block.row.activation.unwrap_or(self.spec.activation);
        let middle = block.row.attention.filter(|_| block.row.attention_on == AttentionOn::Middle);
        let norm = block.row.norm;
        let mut node = input;
        let mut shortcut_input = input;
        let mut anti_alias = None;
        for (number, part) in (1..).zip(parts) {
            if pre_activation {
                let weights = format!("{prefix}.norm{number}");
                node = self.norm(norm, format!("{name}.norm{number}"), node, &weights, false)?;
                node = self.activate(name, Some(number), activation, node)?;
                node = self.anti_alias(block, anti_alias.take(), node)?;
                let from = block.row.shortcut_from.map(|from| from.value);
                let from_norm = match from {
                    Some(ShortcutFrom::Input) => false,
                    Some(ShortcutFrom::NormAlways) => true,
                    Some(ShortcutFrom::Norm) | None => self.changes_shape(block, input),
                };
                if number == 1 && from_norm {
                    shortcut_input = node;
                }
            }
            if let (2, Some(scale)) = (number, block.row.scale()) {
                node = self.scales(block, &part, scale, self.changes_shape(block, input), node)?;
                continue;
            }
            let window = self.window(block, &part, node);
            let conv = Conv {
                name: format!("{name}.conv{number}"),
                window,
                groups: part.groups,
                channels: part.channels,
                weights: &format!("{prefix}.conv{number}"),
                bias: block.row.bias,
                standardise: self.standardise(block.row.weight_standardization),
                counts: true,
                places: block.places,
            };
            if part.strided {
                anti_alias = block.anti_alias();
            }
            let ends_residual = number == last && block.row.shortcut.value != Shortcut::None;
            if pre_activation {
                let scale = if ends_residual { 0.2 } else { 1.0 };
                node = self.scaled_conv(conv, node, scale)?;
                node = self.attention(block, middle.filter(|_| number + 1 == last), node)?;
                continue;
            }
            node = self.conv(conv, node)?;
            let weights = format!("{prefix}.bn{number}");
            node = self.norm(norm, format!("{name}.bn{number}"), node, &weights, ends_residual)?;
            if number < last {
                node = self.activate(name, Some(number), activation, node)?;
                node = self.anti_alias(block, anti_alias.take(), node)?;
                node = self.attention(block, middle.filter(|_| number + 1 == last), node)?;
            }
        }
        if let Some(Attention::SqueezeExcitation { after_activation: true, .. }) =
            block.row.attention
        {
            node = self.activate(name, Some(last), activation, node)?;
        }
        node = self.attention(block, block.row.attention.filter(|_| middle.is_none()), node)?;
        if let Some(shortcut) = self.shortcut(block, shortcut_input, node)? {
            let shape = self.shape(node);
            debug_assert_eq!(shape, self.shape(shortcut), "both paths divide rounding up");
            node = self.push(format!("{name}.add"), Op::Add, vec![node, shortcut], shape)?;
        }
        let default = if pre_activation { Activation::None } else { activation };
        self.activate(name, None, block.row.output_activation.unwrap_or(default), node)
    }

    /// As in torchvision, a shortcut changes the shape where the block has a stride or other
    /// channels than its input.
    fn changes_shape(&self, block: &Block<'_>, input: NodeId) -> bool {
        let channels = self.shape(input).channels;
        block.stride != Extent::square(1)
            || channels != block.row.channels.value
            || block.row.shortcut.value == Shortcut::ProjectAll
    }

    /// The convolutions of a block's main path.
    fn parts(&mut self, block: &Block<'_>) -> Option<Vec<Part>> {
        let channels = block.row.channels.value;
        let first = block.first_dilation;
        let on = |convolution| block.row.stride_on == convolution;
        Some(match block.row.kind {
            BlockKind::Basic => {
                let part =
                    |strided, dilation| Part { kernel: 3, channels, strided, dilation, groups: 1 };
                let second = block.row.dilation.value;
                vec![part(on(StrideOn::First), first), part(on(StrideOn::Second), second)]
            }
            BlockKind::Bottleneck { width, groups, scale } => {
                let [width, middle] = match width {
                    Some(width) => {
                        let [first, middle] = width.value;
                        [first * scale.map_or(1, |scale| scale.value), middle]
                    }
                    None if channels.is_multiple_of(4) => [channels / 4; 2],
                    None => {
                        self.errors.push(
                            Diagnostic::new(
                                block.places.channels,
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
                let dilation = Extent::square(1);
                let point =
                    |channels, strided| Part { kernel: 1, channels, strided, dilation, groups: 1 };
                vec![
                    point(width, on(StrideOn::First)),
                    Part {
                        kernel: 3,
                        channels: middle,
                        strided: on(StrideOn::Second),
                        dilation: first,
                        groups: groups.value,
                    },
                    point(channels, false),
                ]
            }
        })
    }

    /// The main path with its channels weighed, named as timm names it.
    fn attention(
        &mut self,
        block: &Block<'_>,
        attention: Option<Attention>,
        input: NodeId,
    ) -> Option<NodeId> {
        let Some(attention) = attention else { return Some(input) };
        let (name, prefix) = (format!("{}.se", block.name), format!("{}.se", block.prefix));
        let shape = self.shape(input);
        let channels = shape.channels;
        let means = Shape::new(channels, 1, 1);
        let mut node =
            self.push(format!("{name}.mean"), Op::GlobalAveragePool, vec![input], means)?;
        match attention {
            Attention::SqueezeExcitation { middle, activation: between, .. } => {
                let middle = match middle {
                    Squeeze::Reduction(by) => nearest_eight(channels, by),
                    Squeeze::Channels(channels) => channels,
                };
                for (number, to) in [(1, middle), (2, channels)] {
                    let conv = Conv {
                        name: format!("{name}.fc{number}"),
                        window: Window::new(Extent::square(1), Extent::square(1), Padding::NONE),
                        groups: 1,
                        channels: to,
                        weights: &format!("{prefix}.fc{number}"),
                        bias: true,
                        standardise: None,
                        counts: false,
                        places: block.places,
                    };
                    node = self.conv(conv, node)?;
                    if number == 1 {
                        node = self.activate(&name, None, between, node)?;
                    }
                }
            }
            Attention::Efficient(kernel) => {
                let kernel = kernel.unwrap_or_else(|| adaptive_kernel(channels));
                let weight = format!("{prefix}.conv.weight");
                let deviation = (1.0 / kernel as f64).sqrt() as f32;
                self.tensor(&weight, vec![1, 1, kernel], Init::Normal(deviation))?;
                let op = Op::ChannelConv { kernel, weight };
                node = self.push(format!("{name}.conv"), op, vec![node], means)?;
            }
        }
        self.push(format!("{name}.gate"), Op::Gate, vec![input, node], shape)
    }

    /// The window of one convolution, padded by as much as it reaches to either side.
    pub(super) fn window(&self, block: &Block<'_>, part: &Part, input: NodeId) -> Window {
        let &Part { kernel, strided, dilation, .. } = part;
        let own = strided && block.anti_alias().is_none();
        let stride = if own { block.stride } else { Extent::square(1) };
        let kernel = Extent::square(kernel);
        let padding = Padding::half(kernel, dilation);
        let window = Window { kernel, stride, dilation, padding };
        if block.row.same_padding { window.padded_to_same(self.shape(input)) } else { window }
    }

    /// What is added to the main path: `Some(None)` in a plain network.
    fn shortcut(
        &mut self,
        block: &Block<'_>,
        input: NodeId,
        main: NodeId,
    ) -> Option<Option<NodeId>> {
        let to = self.shape(main);
        let node = match block.row.shortcut.value {
            Shortcut::None => return Some(None),
            _ if !self.changes_shape(block, input) => input,
            Shortcut::Identity => return Some(None),
            Shortcut::Projection | Shortcut::ProjectAll => {
                self.projection(block, block.stride, input, to.channels, 0)?
            }
            Shortcut::PoolProjection => {
                let pooled = self.shortcut_pool(block, input)?;
                self.projection(block, Extent::square(1), pooled, to.channels, 1)?
            }
            Shortcut::ZeroPad => self.zero_pad(block, block.stride, input, to)?,
            Shortcut::PoolZeroPad => {
                let one = Extent::square(1);
                let name = format!("{}.zero_pad.pool", block.name);
                let pooled = match block.stride {
                    stride if stride == one => input,
                    stride => self.mean_of_strides(name, stride, input)?,
                };
                self.zero_pad(block, one, pooled, to)?
            }
        };
        Some(Some(node))
    }

    /// A convolution, 1x1 if nothing else is said, with a norm; `index` is the convolution's among the modules of
    /// `downsample`, and the norm's is the next one.
    fn projection(
        &mut self,
        block: &Block<'_>,
        stride: Extent,
        input: NodeId,
        channels: usize,
        index: usize,
    ) -> Option<NodeId> {
        let Block { name, prefix, .. } = block;
        let (weights, norm) = if self.spec.pre_activation {
            ("conv".to_owned(), "norm".to_owned())
        } else {
            (index.to_string(), (index + 1).to_string())
        };
        let kernel = block.row.projection_kernel;
        let window = Window::new(kernel, stride, Padding::half(kernel, Extent::square(1)));
        let same = block.row.same_padding;
        let conv = Conv {
            name: format!("{name}.downsample"),
            window: if same { window.padded_to_same(self.shape(input)) } else { window },
            groups: 1,
            channels,
            weights: &format!("{prefix}.downsample.{weights}"),
            bias: block.row.bias,
            standardise: self.standardise(block.row.weight_standardization),
            counts: false,
            places: block.places,
        };
        let node = self.conv(conv, input)?;
        let default = (!self.spec.pre_activation).then_some(block.row.norm);
        let Some(kind) = block.row.projection_norm.unwrap_or(default) else { return Some(node) };
        let weights = format!("{prefix}.downsample.{norm}");
        self.norm(kind, format!("{name}.downsample.bn"), node, &weights, false)
    }

    /// The mean that timm's ResNet-D takes before a projection. Where dilation stands in for the
    /// stride it is of each pixel and the next ones, and past the last row and column of zeros
    /// (timm's `AvgPool2dSame`, which counts what it pads).
    fn shortcut_pool(&mut self, block: &Block<'_>, input: NodeId) -> Option<NodeId> {
        let (stride, dilation) = (block.stride, block.row.dilation.value);
        let one = Extent::square(1);
        if (stride, dilation) == (one, one) {
            return Some(input);
        }
        let name = format!("{}.downsample.pool", block.name);
        if stride != one {
            return self.mean_of_strides(name, stride, input);
        }
        let shape = self.shape(input);
        let kernel = dilation.min(Extent::square(2));
        let window = Window::new(kernel, one, Padding::NONE).padded_to_same(shape);
        let op = Op::Pool(Pooling { kind: PoolKind::Average, window, zeros: window.padding });
        self.push(name, op, vec![input], shape)
    }

    /// The mean of `stride x stride` pixels, of fewer at an edge that the stride does not divide: of
    /// PyTorch's pools one whose `ceil_mode` is on and which counts no padding.
    fn mean_of_strides(&mut self, name: String, stride: Extent, input: NodeId) -> Option<NodeId> {
        let from = self.shape(input);
        let to = strided(from, stride);
        let after = Extent::new(
            to.height * stride.rows - from.height,
            to.width * stride.columns - from.width,
        );
        let padding = Padding { before: Extent::square(0), after };
        let window = Window::new(stride, stride, padding);
        let op = Op::Pool(Pooling::new(PoolKind::Average, window));
        self.push(name, op, vec![input], to)
    }

    /// The pool that has a convolution's stride in its place.
    fn anti_alias(
        &mut self,
        block: &Block<'_>,
        kind: Option<Spanned<AntiAlias>>,
        input: NodeId,
    ) -> Option<NodeId> {
        let Some(Spanned { value: kind, span }) = kind else { return Some(input) };
        let (name, stride) = (format!("{}.aa", block.name), block.stride);
        match kind {
            AntiAlias::Blur => {
                let padding = Padding::even(Extent::square(1));
                let window = Window::new(Extent::square(3), stride, padding);
                self.blur(name, window, input, span, span)
            }
            AntiAlias::Average if stride == Extent::square(1) => Some(input),
            AntiAlias::Average => self.mean_of_strides(name, stride, input),
        }
    }

    fn zero_pad(
        &mut self,
        block: &Block<'_>,
        stride: Extent,
        input: NodeId,
        to: Shape,
    ) -> Option<NodeId> {
        let name = &block.name;
        let kept = strided(self.shape(input), stride);
        let Some(new) = to.channels.checked_sub(kept.channels) else {
            let place = block.row.shortcut.span;
            self.errors.push(
                Diagnostic::new(place, format!("{name}: main path {to}, shortcut {kept}"))
                    .note(format!(
                        "`shortcut: {}` adds channels of zeros; it cannot remove any",
                        block.row.shortcut.value.word()
                    ))
                    .help("write `shortcut: projection`, or keep the channels"),
            );
            return None;
        };
        if (stride, new) == (Extent::square(1), 0) {
            return Some(input);
        }
        let before = match block.row.zero_channels {
            ZeroChannels::Around => new / 2,
            ZeroChannels::After => 0,
        };
        let op = Op::ZeroPad { stride, before };
        let shape = Shape { channels: to.channels, ..kept };
        self.push(format!("{name}.zero_pad"), op, vec![input], shape)
    }
}

/// `channels / by`, to the nearest multiple of 8, at least 8: timm's `make_divisible`.
fn nearest_eight(channels: usize, by: usize) -> usize {
    ((channels + 4 * by) / (8 * by) * 8).max(8)
}

/// The kernel that ECA-Net derives from the channels: the odd number next to `(log2(channels) + 1) /
/// 2`, at least 3.
fn adaptive_kernel(channels: usize) -> usize {
    let kernel = ((channels as f64).log2() + 1.0) as usize / 2;
    (kernel | 1).max(3)
}

/// The shape of every `stride`-th pixel.
fn strided(from: Shape, stride: Extent) -> Shape {
    let height = from.height.div_ceil(stride.rows);
    Shape::new(from.channels, height, from.width.div_ceil(stride.columns))
}

/// A block has no kernel cell; its operation stands for it.
fn places(row: &Row, block: &BlockRow) -> Places {
    let span: Span = row.op.span;
    let groups = match block.kind {
        BlockKind::Bottleneck { groups, .. } => groups.span,
        BlockKind::Basic => span,
    };
    Places { kernel: span, channels: block.channels.span, groups }
}
