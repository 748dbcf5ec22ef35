//! Rows of blocks: which blocks one row says together.

use resnet_compiler::graph::Extent;
use resnet_compiler::spec::rows::Row;

use super::block::{Before, Block, Kind, Path};
use super::chain::Branch;
use super::rows::Rows;
use crate::checkpoint::Stored;
use crate::error::Fault;

impl<'a> Rows<'a> {
    /// A block, and the ReLU after it; returns the place of the next item.
    pub(super) fn branch(
        &mut self,
        branch: &Branch<'a>,
        before: Before<'a>,
        at: usize,
    ) -> Result<usize, Fault> {
        let relu = !self.blocks.pre_activation;
        let last = at + usize::from(relu);
        let value = self.made(last);
        let block = self.blocks.read(branch, before, value)?;
        if !self.stage.is_empty() && !self.continues(&block) {
            self.flush();
        }
        if let Some(first) = self.stage.first_mut() {
            first.same.dilation = block.same.dilation;
        }
        self.stage.push(block);
        if self.network.outputs.contains(&value) {
            self.flush();
        }
        Ok(last + 1)
    }

    /// Whether a block fits into the row of the ones before it.
    fn continues(&self, block: &Block) -> bool {
        let (first, last) = (&self.stage[0], &self.stage[self.stage.len() - 1]);
        let projects = |block: &Block| block.path == Path::Projection;
        let path = match projects(block) {
            // A projection where nothing changes: every block of the row has one.
            true => {
                self.stage.iter().all(projects) && last.projection_norm == block.projection_norm
            }
            false => {
                block.path == Path::Identity && self.stage.iter().all(|b| b.changes || !projects(b))
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
            && block.stride == Extent::square(1)
            && !block.changes
            && block.first_dilation == block.same.dilation
            && path
            && (!all_project || projects(block))
            && (pads(0) || pads(1))
    }

    /// Writes the row of the blocks at hand.
    pub(super) fn flush(&mut self) {
        let blocks = std::mem::take(&mut self.stage);
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return };
        let number = self.count("stage");
        let prefix = format!("layer{number}");
        let kind = &first.same;
        let op = if kind.bottleneck.is_some() { "bottleneck" } else { "basic" };
        let mut row = Row::new(format!("conv{}_x", number + 1), op)
            .with("repeat", blocks.len())
            .with("channels", kind.channels);
        let one = Extent::square(1);
        if first.stride != one {
            row.set("stride", first.stride);
        }
        if kind.dilation != one {
            row.set("dilation", kind.dilation);
        }
        if first.first_dilation != self.dilation.min(kind.dilation) {
            row.set("first_dilation", first.first_dilation);
        }
        self.dilation = kind.dilation;
        if !blocks.iter().all(|block| block.padded[0]) {
            row.set("padding", "same");
        }
        if let Some((width, groups)) = kind.bottleneck {
            if width.checked_mul(4) != Some(kind.channels) {
                row.set("width", width);
            }
            if groups != 1 {
                row.set("groups", groups);
            }
            if first.on_first {
                row.set("stride_on", "1x1");
            }
        }
        if first.blurs {
            row.set("anti_alias", "blur");
        }
        if let Some((field, value)) = &kind.attention {
            row.set(field, value);
        }
        let unchanged = blocks.iter().any(|block| block.path == Path::Projection && !block.changes);
        match first.path {
            _ if unchanged => row.set("shortcut", "project_all"),
            Path::Identity | Path::Projection => {}
            Path::PoolProjection => row.set("shortcut", "pool_projection"),
            Path::ZeroPad => row.set("shortcut", "zero_pad"),
        }
        if let Some(norm) = first.projection_norm.filter(|&norm| norm == self.blocks.pre_activation)
        {
            row.set("projection_norm", if norm { "batch" } else { "none" });
        }
        let bias = blocks.iter().any(|block| block.bias);
        if bias {
            row.set("bias", true);
        }
        self.push(row, last.value);
        for (index, block) in blocks.into_iter().enumerate() {
            self.block(&format!("{prefix}.{index}"), block, bias);
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
        for (part, stored) in projection.norm.into_iter().flatten() {
            self.tensor(format!("{prefix}.downsample.{norm}.{part}"), stored);
        }
    }
}
