//! Rows of blocks: which blocks one row says together.

use resnet_compiler::graph::Extent;
use resnet_compiler::spec::ShortcutFrom;
use resnet_compiler::spec::rows::Row;

use super::block::{Before, Block, Kind, NormKind, Path};
use super::chain::Branch;
use super::graph::Function;
use super::rows::Rows;
use crate::checkpoint::Stored;
use crate::error::{Fault, unknown};

impl<'a> Rows<'a> {
    /// A block, and the ReLU after it; returns the place of the next item.
    pub(super) fn branch(
        &mut self,
        branch: &Branch<'a>,
        before: Before<'a>,
        at: usize,
    ) -> Result<usize, Fault> {
        let output = self.function(at + 1);
        let last = at + usize::from(output.is_some());
        let value = self.made(last);
        let block = self.blocks.read(branch, before, output.unwrap_or(Function::None), value)?;
        if !self.stage.is_empty() && !self.continues(&block) {
            self.flush()?;
        }
        if let Some(first) = self.stage.first_mut() {
            first.same.dilation = block.same.dilation;
        }
        self.stage.push(block);
        if self.network.outputs.contains(&value) {
            self.flush()?;
        }
        Ok(last + 1)
    }

    /// Whether a block fits into the row of the ones before it.
    fn continues(&self, block: &Block) -> bool {
        let (first, last) = (&self.stage[0], &self.stage[self.stage.len() - 1]);
        let projects = |block: &Block| block.path == Path::Projection;
        let path = match projects(block) {
            // A projection where nothing changes: every block of the row has one.
            true => self.stage.iter().all(projects) && projection(last) == projection(block),
            false if block.path == Path::None => first.path == Path::None,
            false => {
                block.path == Path::Identity
                    && first.path != Path::None
                    && self.stage.iter().all(|b| b.changes || !projects(b))
            }
        };
        let all_project = self.stage.len() > 1 && self.stage.iter().all(projects);
        let pads = |index: usize| self.stage.iter().chain([block]).all(|b| b.padded[index]);
        // The first block of a bottleneck stage that is dilated may have the dilation before.
        let dilation = match self.stage.len() {
            1 if first.same.bottleneck.is_some() => block.same.dilation,
            _ => first.same.dilation,
        };
        block.same == Kind { dilation, ..first.same.clone() }
            && self.reads_alike(block)
            && block.stride == Extent::square(1)
            && !block.changes
            && block.first_dilation == block.same.dilation
            && block.anti_alias.is_none()
            && first.may_begin(block.same.dilation)
            && path
            && (!all_project || projects(block))
            && (pads(0) || pads(1))
    }

    /// Whether the shortcut of a block, which changes nothing, may stand in a row with the ones before it.
    fn reads_alike(&self, block: &Block) -> bool {
        let always = block.from == Some(ShortcutFrom::NormAlways);
        self.stage.iter().all(|other| match (other.changes, other.from) {
            (true, Some(ShortcutFrom::Input)) => !always,
            (true, _) => true,
            (false, from) => from == block.from,
        })
    }

    /// Writes the row of the blocks at hand.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        let mut blocks = std::mem::take(&mut self.stage);
        if let [first] = &mut *blocks {
            first.choose_dilation()?;
        }
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return Ok(()) };
        let number = self.count("stage");
        let bias = blocks.iter().any(|block| block.bias);
        // Where nothing changes, shortcuts show whether all of them read what the norm made.
        let always = blocks
            .iter()
            .map(|block| block.from)
            .find(|from| *from == Some(ShortcutFrom::NormAlways));
        let mut row =
            self.row(first, always.unwrap_or(first.from), number).with("repeat", blocks.len());
        if !blocks.iter().all(|block| block.padded[0]) {
            row.set("padding", "same");
        }
        let unchanged = blocks.iter().any(|block| block.path == Path::Projection && !block.changes);
        match first.path {
            _ if unchanged => row.set("shortcut", "project_all"),
            Path::Identity | Path::Projection => {}
            Path::PoolProjection => row.set("shortcut", "pool_projection"),
            Path::ZeroPad { pools, .. } => {
                row.set("shortcut", if pools { "pool_zero_pad" } else { "zero_pad" });
            }
            Path::None => row.set("shortcut", "none"),
        }
        if bias {
            row.set("bias", true);
            self.note_zeros(&blocks, &row);
        }
        self.dilation = first.same.dilation;
        self.push(row, last.value, &first.label);
        for (index, block) in blocks.into_iter().enumerate() {
            self.block(&format!("layer{number}.{index}"), block, bias);
        }
        Ok(())
    }

    /// What the first block says of the row.
    fn row(&self, first: &Block, from: Option<ShortcutFrom>, number: usize) -> Row {
        let kind = &first.same;
        let one = Extent::square(1);
        let op = if kind.bottleneck.is_some() { "bottleneck" } else { "basic" };
        let mut row = Row::new(format!("conv{}_x", number + 1), op).with("channels", kind.channels);
        if first.stride != one {
            row.set("stride", first.stride);
        }
        if kind.dilation != one {
            row.set("dilation", kind.dilation);
        }
        if first.first_dilation != self.dilation.min(kind.dilation) {
            row.set("first_dilation", first.first_dilation);
        }
        if let Some((width, groups)) = kind.bottleneck {
            let [first, middle] = width;
            if first != middle {
                row.set("width", format_args!("[{first}, {middle}]"));
            } else if first.checked_mul(4) != Some(kind.channels) || kind.scale.is_some() {
                row.set("width", first);
            }
            if groups != 1 {
                row.set("groups", groups);
            }
            if let Some(scale) = kind.scale {
                row.set("scale", scale);
            }
        }
        match (kind.bottleneck, first.stride_on) {
            (Some(_), 0) => row.set("stride_on", "1x1"),
            (None, 1) => row.set("stride_on", "second"),
            _ => {}
        }
        if let Some(from) = from {
            row.set("shortcut_from", from.word());
        }
        if kind.activation != Function::Relu {
            row.set("activation", kind.activation);
        }
        let default = if self.blocks.pre_activation { Function::None } else { kind.activation };
        if kind.output != default {
            row.set("output_activation", kind.output);
        }
        if let Path::ZeroPad { after: true, .. } = first.path {
            row.set("zero_channels", "after");
        }
        if let Some(anti_alias) = first.anti_alias {
            row.set("anti_alias", anti_alias.word());
        }
        if let Some((field, value)) = &kind.attention {
            row.set(field, value);
        }
        if kind.weighs_middle {
            row.set("attention_on", if kind.bottleneck.is_some() { "3x3" } else { "first" });
        }
        if kind.norm != NormKind::Batch {
            row.set("norm", kind.norm.cell());
        }
        let default = (!self.blocks.pre_activation).then_some(kind.norm);
        if let Some(projection) = &first.projection {
            if projection.conv.window.kernel != one {
                row.set("projection_kernel", projection.conv.window.kernel);
            }
            if projection.norm != default {
                row.set(
                    "projection_norm",
                    projection.norm.map_or("none".to_owned(), NormKind::cell),
                );
            }
        }
        row
    }

    /// Says which biases the file does not have.
    fn note_zeros(&mut self, blocks: &[Block], row: &Row) {
        let lacks = |block: &Block| {
            block.biases.iter().any(|(.., bias)| bias.is_none())
                || block
                    .projection
                    .as_ref()
                    .is_some_and(|projection| projection.conv.bias.is_none())
        };
        if blocks.iter().any(lacks) {
            let layer = row.get("layer").unwrap_or_default();
            self.note(format!(
                "some convolutions of `{layer}` have a bias, and the others one of zeros here"
            ));
        }
    }

    /// Names the tensors of a block. `bias`: every convolution of the row has one.
    fn block(&mut self, prefix: &str, block: Block, bias: bool) {
        for (name, stored) in block.tensors {
            self.tensor(format!("{prefix}.{name}"), stored);
        }
        let zeros = |channels: usize| Stored::same(vec![channels], 0.0);
        if bias {
            for (name, channels, stored) in block.biases {
                self.tensor(format!("{prefix}.{name}"), stored.unwrap_or_else(|| zeros(channels)));
            }
        }
        let Some(projection) = block.projection else { return };
        let (conv, norm) = match (self.blocks.pre_activation, block.path) {
            (true, _) => ("conv", "norm"),
            (false, Path::PoolProjection) => ("1", "2"),
            (false, _) => ("0", "1"),
        };
        let channels = projection.conv.weight.shape[0];
        self.tensor(format!("{prefix}.downsample.{conv}.weight"), projection.conv.weight);
        if bias {
            let stored = projection.conv.bias.unwrap_or_else(|| zeros(channels));
            self.tensor(format!("{prefix}.downsample.{conv}.bias"), stored);
        }
        for (part, stored) in projection.tensors {
            self.tensor(format!("{prefix}.downsample.{norm}.{part}"), stored);
        }
    }
}

/// What a block's projection is and reads, if it has one.
fn projection(block: &Block) -> Option<(Option<NormKind>, Extent, Option<ShortcutFrom>)> {
    let projection = block.projection.as_ref()?;
    Some((projection.norm, projection.conv.window.kernel, block.from))
}

impl Block {
    /// A bottleneck has one convolution with the row's dilation, and if it is the row's first with the
    /// `first_dilation`; pools without a stride say more.
    fn choose_dilation(&mut self) -> Result<(), Fault> {
        let own = self.same.dilation;
        let twice = Extent::new(own.rows * 2, own.columns * 2);
        let bottleneck = self.same.bottleneck.is_some();
        match [own, twice]
            .into_iter()
            .find(|&dilation| self.may_begin(dilation) && (bottleneck || dilation == own))
        {
            Some(dilation) => {
                self.same.dilation = dilation;
                Ok(())
            }
            None => unknown(format!(
                "{}: the block that ends here has a pool without a stride; in a table blocks have \
                 one where dilation grows",
                self.label
            )),
        }
    }
}
