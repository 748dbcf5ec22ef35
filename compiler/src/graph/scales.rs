//! The middle of Res2Net's blocks ("Res2Net: A New Multi-scale Backbone Architecture", Gao et al., 2019), as timm
//! builds and names it.
//!
//! The first 1x1 convolution's channels are cut into chunks of one width. Each but the last has a 3x3 convolution,
//! a norm and an activation of its own, and the chunks are put together again. From the second on, a
//! convolution reads its chunk plus what the convolution before it made, and the last chunk stays as it is; in a block
//! that changes the shape it reads the chunk alone, and the last chunk goes through a 3x3 average pool that has the
//! stride and counts padding.

use crate::diagnostics::{Diagnostic, Spanned};
use crate::graph::block::{Block, Part};
use crate::graph::build::Builder;
use crate::graph::conv::Conv;
use crate::graph::{Extent, NodeId, Op, Padding, PoolKind, Pooling, Shape, Window};
use crate::spec::{AttentionOn, BlockKind, BlockRow, Norm, StrideOn};

impl Builder<'_> {
    /// Complains of what blocks with a `scale` cannot have beside it.
    pub(super) fn check_scale(&mut self, block: &BlockRow) {
        let BlockKind::Bottleneck { scale: Some(scale), .. } = block.kind else { return };
        let standardised = self.standardise(block.weight_standardization).is_some();
        let middle = block.attention.is_some() && block.attention_on == AttentionOn::Middle;
        let beside = [
            (self.spec.pre_activation, "`pre_activation`"),
            (block.stride_on == StrideOn::First, "`stride_on: 1x1`"),
            (block.norm.value != Norm::Batch, "a group norm"),
            (standardised, "weight standardization"),
            (block.anti_alias.is_some(), "`anti_alias`"),
            (middle, "`attention_on: 3x3`"),
            (block.same_padding, "`padding: same`"),
        ];
        for (_, what) in beside.into_iter().filter(|(there, _)| *there) {
            self.errors.push(
                Diagnostic::new(scale.span, format!("`scale` beside {what}"))
                    .note("blocks with a scale are Res2Net's, which have none")
                    .help("remove one of them"),
            );
        }
    }

    /// Cuts what the first convolution made into `scale` chunks, and puts together what is made of them;
    /// `part` is the convolution of a chunk, and `alone` whether it reads nothing else.
    pub(super) fn scales(
        &mut self,
        block: &Block<'_>,
        part: &Part,
        scale: Spanned<usize>,
        alone: bool,
        input: NodeId,
    ) -> Option<NodeId> {
        let Block { row, name, prefix, .. } = block;
        let activation = row.activation.unwrap_or(self.spec.activation);
        let (width, whole) = (part.channels, self.shape(input));
        let chunk = |builder: &mut Self, index: usize| {
            let (name, channels) =
                (format!("{name}.conv1.{index}"), index * width..(index + 1) * width);
            builder.push(name, Op::Slice(channels), vec![input], Shape { channels: width, ..whole })
        };
        let last = scale.value - 1;
        let mut made: Vec<NodeId> = Vec::with_capacity(scale.value);
        for index in 0..last {
            let mut node = chunk(self, index)?;
            let name = format!("{name}.convs.{index}");
            if let (false, Some(&before)) = (alone, made.last()) {
                let shape = self.shape(node);
                node = self.push(format!("{name}.add"), Op::Add, vec![before, node], shape)?;
            }
            let conv = Conv {
                name: name.clone(),
                window: self.window(block, part, node),
                groups: part.groups,
                channels: width,
                weights: &format!("{prefix}.convs.{index}"),
                bias: row.bias,
                standardise: None,
                // Together they are one layer of the depth.
                counts: index == 0,
                places: block.places,
            };
            node = self.conv(conv, node)?;
            let weights = format!("{prefix}.bns.{index}");
            node = self.norm(row.norm, format!("{name}.bn"), node, &weights, false)?;
            made.push(self.activate(&name, None, activation, node)?);
        }
        let mut rest = chunk(self, last)?;
        let shape = Shape { channels: scale.value * width, ..self.shape(*made.last()?) };
        if alone {
            let kernel = Extent::square(3);
            let padding = Padding::half(kernel, Extent::square(1));
            let window = Window::new(kernel, block.stride, padding);
            let op = Op::Pool(Pooling { kind: PoolKind::Average, window, zeros: padding });
            let shape = Shape { channels: width, ..shape };
            rest = self.push(format!("{name}.pool"), op, vec![rest], shape)?;
        }
        made.push(rest);
        self.push(format!("{name}.concat"), Op::Concat, made, shape)
    }
}
