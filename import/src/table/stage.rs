//! Rows of blocks.

mod shortcut;

use resnet_compiler::spec::rows::Row;
use resnet_compiler::spec::{AntiAlias, Shortcut, ShortcutFrom, StrideOn};

use super::Writer;
use crate::Activation;
use crate::beside::Padding;
use crate::error::{Fault, unknown};
use crate::names::{Attention, Block, Conv, Dialect, Projection, Stage};

/// Numbers as an option takes them.
fn listed(numbers: impl Iterator<Item = usize>) -> String {
    numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(",")
}

/// An option with what it would be if the stages from the third on, or the last one alone, had no stride.
fn examples(
    option: &str,
    strides: &[usize],
    of_stages_from: impl Fn(usize) -> Vec<usize>,
) -> String {
    let mut examples = [2, 2.max(strides.len() - 1)].map(of_stages_from).to_vec();
    examples.dedup();
    let shown =
        examples.into_iter().map(|example| format!("{option} {}", listed(example.into_iter())));
    shown.collect::<Vec<_>>().join("` or `")
}

/// Blocks of a stage that one row has.
struct Run<'a> {
    layer: String,
    /// The stage's number.
    index: usize,
    /// The stage, if these are all its blocks.
    whole: Option<&'a Stage>,
    blocks: &'a [Block],
    /// Whether they begin their stage.
    begins: bool,
    stride: usize,
    /// Whether all blocks of a stage of several project.
    project_all: bool,
    /// Whether nothing but an activation follows before the pixels' mean.
    ends: bool,
}

impl Writer<'_> {
    /// The stride of each stage.
    pub(super) fn strides(&mut self) -> Result<Vec<usize>, Fault> {
        let stages = &self.network.stages;
        if !self.options.strides.is_empty() {
            if self.options.strides.len() != stages.len() {
                return Err(Fault::Unknown(format!(
                    "{} strides were given for {} stages",
                    self.options.strides.len(),
                    stages.len()
                )));
            }
            return Ok(self.options.strides.clone());
        }
        let projects = |stage: &Stage| stage.blocks.iter().all(|block| block.shortcut.is_some());
        let mut channels = self.network.stem.last().map_or(0, |unit| unit.conv.channels);
        let mut strides = Vec::new();
        for (index, stage) in stages.iter().enumerate() {
            let before = std::mem::replace(&mut channels, stage.outputs());
            let changes = before != channels;
            let first = &stage.blocks[0];
            // A projection where channels stay must be there for a stride, and none means that there is
            // no stride; unless every block has one.
            let stride = match (first.shortcut.is_some(), changes) {
                (true, false) if stage.blocks.len() == 1 || !projects(stage) => 2,
                (false, false) if !self.is_regnet() => 1,
                _ if index == 0 && !self.is_regnet() => 1,
                _ => 2,
            };
            strides.push(stride);
        }
        // As in networks for segmentation, which have dilation instead.
        let shown = listed(strides.iter().copied());
        let given_up = examples("--strides", &strides, |from| {
            let stride = |(index, stride): (usize, &usize)| if index < from { *stride } else { 1 };
            strides.iter().enumerate().map(stride).collect()
        });
        self.assume(true, format!("the stages' strides are {shown}"), given_up);
        Ok(strides)
    }

    /// A stride that was given up is where networks for segmentation have dilation.
    pub(super) fn assume_no_dilation(&mut self, strides: &[usize]) {
        let dilations = &self.options.dilations;
        if !dilations.is_empty() {
            let before = std::iter::once(&1).chain(dilations);
            if before.zip(dilations).any(|(before, own)| before < own) {
                let what = "where dilation grows the first 3x3 convolution has the one before, as torchvision's \
                            networks have it (`first_dilation` in the table says another)";
                self.assume(false, what, "");
            }
            return;
        }
        let given_up = !self.options.strides.is_empty() && strides.iter().skip(1).any(|&s| s == 1);
        let instead = examples("--dilations", strides, |from| {
            let mut dilation = 1;
            let dilation = |(index, &stride): (usize, &usize)| {
                let instead = if given_up { index > 0 && stride == 1 } else { index >= from };
                dilation *= if instead { 2 } else { 1 };
                dilation
            };
            strides.iter().enumerate().map(dilation).collect()
        });
        self.assume(!given_up, "no dilation", instead);
    }

    pub(super) fn stage(
        &mut self,
        index: usize,
        stage: &Stage,
        stride: usize,
    ) -> Result<(), Fault> {
        let mut runs: Vec<&[Block]> = stage.blocks.chunk_by(alike).collect();
        let last = index + 1 == self.network.stages.len() && self.ends_with_activation();
        if let Some(&blocks) = runs.last()
            && last
            && blocks.len() > 1
        {
            let (before, end) = blocks.split_at(blocks.len() - 1);
            runs.pop();
            runs.extend([before, end]);
        }
        let all = stage.blocks.iter().all(|block| block.shortcut.is_some());
        let count = runs.len();
        for (number, blocks) in (1..).zip(runs) {
            if let Some(block) = blocks.iter().find(|block| block.shortcut.is_some())
                && number > 1
                && !all
            {
                return unknown(format!(
                    "`{}` projects, and is not the first block of its stage; stages whose blocks differ in that are \
                     not known",
                    block.module
                ));
            }
            let layer = match count {
                1 => format!("conv{}_x", index + 2),
                _ => format!("conv{}_{number}", index + 2),
            };
            let run = Run {
                layer,
                index,
                whole: (count == 1).then_some(stage),
                blocks,
                begins: number == 1,
                stride: if number == 1 { stride } else { 1 },
                project_all: all && stage.blocks.len() > 1,
                ends: last && number == count,
            };
            self.run(&run)?;
        }
        Ok(())
    }

    /// A row of blocks.
    fn run(&mut self, run: &Run<'_>) -> Result<(), Fault> {
        let Run { index, blocks, stride, .. } = *run;
        let first = &blocks[0];
        let bottleneck = first.convs.len() == 3;
        let op = if bottleneck { "bottleneck" } else { "basic" };
        let mut row = Row::new(&run.layer, op);
        let outputs = first.convs.last().map_or(0, |conv| conv.channels);
        row.set("repeat", blocks.len());
        row.set("channels", outputs);
        if stride != 1 {
            row.set("stride", stride);
        }
        let dilations = &self.options.dilations;
        let dilation = dilations.get(index).copied().unwrap_or(1);
        if dilation != 1 {
            row.set("dilation", dilation);
        }
        if matches!(self.known.padding, Padding::Same { .. }) {
            row.set("padding", "same");
        }
        // A stage that begins with another dilation than it goes on with has a blur too.
        let before = index.checked_sub(1).filter(|_| run.begins);
        let changes = before.is_some_and(|before| dilations.get(before) != dilations.get(index));
        if let Some(anti_alias) = self.options.anti_alias
            && (stride != 1 || changes && anti_alias == AntiAlias::Blur)
        {
            row.set("anti_alias", anti_alias.word());
        }
        self.block_rows += 1;
        let default = format!("layer{}", self.block_rows);
        let prefix = match run.whole {
            Some(stage) => self.named_prefix(&stage.prefix, &default),
            None => default.clone(),
        };
        self.weights(&mut row, "weights", &prefix, &default);
        let norms = blocks.iter().flat_map(|block| &block.norms);
        let channels: Vec<usize> = norms.map(|norm| norm.channels).chain([outputs]).collect();
        self.group_norm(&mut row, &channels)?;
        if bottleneck {
            self.bottleneck(&mut row, first, outputs, stride);
        } else if stride != 1 {
            match self.options.stride_on {
                Some(StrideOn::Second) => row.set("stride_on", "second"),
                Some(StrideOn::First) => {}
                None => self.assume(
                    true,
                    "basic blocks have their stride on the first convolution",
                    "--stride-on second",
                ),
            }
        }
        if blocks.iter().any(Block::has_bias) {
            row.set("bias", "true");
        }
        self.attention(&mut row, first);
        self.output_activation(&mut row, run.ends);
        let shortcut = self.shortcut(run);
        if shortcut != Shortcut::Projection {
            row.set("shortcut", shortcut.word());
        }
        if self.network.pre_activation
            && self.network.dialect == Some(Dialect::RegNet)
            && self.options.shortcut_from.is_none()
        {
            row.set("shortcut_from", ShortcutFrom::NormAlways.word());
        }
        if let Some(zeros) = self.options.zero_channels
            && matches!(shortcut, Shortcut::ZeroPad | Shortcut::PoolZeroPad)
        {
            row.set("zero_channels", zeros.word());
        }
        let projection = blocks.iter().find_map(|block| block.shortcut.as_ref());
        if let Some(projection) = projection {
            self.projection(&mut row, projection);
        }
        if let Some(projection) = projection
            && projection.norm.is_some() == self.network.pre_activation
        {
            let norm = match (projection.norm.is_some(), self.network.group_norm) {
                (true, false) => "batch",
                (true, true) => "group",
                (false, _) => "none",
            };
            row.set("projection_norm", norm);
        }
        for (number, block) in blocks.iter().enumerate() {
            self.block(&format!("{prefix}.{number}"), block, shortcut);
        }
        self.draft.rows.push(row);
        self.stages.truncate(index);
        self.stages.push(run.layer.clone());
        Ok(())
    }

    /// What weighs channels in a block, and whose.
    fn attention(&self, row: &mut Row, block: &Block) {
        match &block.attention {
            Some(Attention::SqueezeExcitation { middle, .. }) => {
                // RegNet's has the network's activation, and all others have ReLU.
                let own = self.options.activation.filter(|&own| own != Activation::Relu);
                let between = match own.filter(|_| self.network.dialect == Some(Dialect::RegNet)) {
                    Some(own) => format!(", activation: {own}"),
                    None => String::new(),
                };
                // What came from Caffe has a ReLU before it in basic blocks.
                let legacy = self.network.dialect == Some(Dialect::Senet) && block.convs.len() == 2;
                let after = if legacy { ", after: activation" } else { "" };
                row.set("squeeze_excitation", format!("{{channels: {middle}{between}{after}}}"));
            }
            Some(Attention::Efficient(_, kernel)) => row.set("eca", kernel),
            None => return,
        }
        if self.weighs_middle(block) {
            row.set("attention_on", if block.convs.len() == 3 { "3x3" } else { "first" });
        }
    }

    /// Whether attention stands before the last convolution: told by its channels, else by whose names they are.
    fn weighs_middle(&self, block: &Block) -> bool {
        let makes = |index: usize| block.convs[block.convs.len() - index].channels;
        let (own, module) = match &block.attention {
            Some(Attention::SqueezeExcitation { layers: [module, _], channels, .. }) => {
                (Some(*channels), module)
            }
            Some(Attention::Efficient(module, _)) => (None, module),
            None => return false,
        };
        match own {
            Some(own) if makes(1) != makes(2) => own == makes(2),
            _ => {
                let inner = [Some(Dialect::RegNet), Some(Dialect::Byobnet)];
                inner.contains(&self.network.dialect) && !module.contains(".attn_last.")
            }
        }
    }

    /// What ends blocks, where that is not as usual.
    fn output_activation(&mut self, row: &mut Row, ends: bool) {
        let own = self.options.activation.unwrap_or(Activation::Relu);
        let linear = self.is_linear();
        if linear {
            self.assume(
                false,
                "no activation follows sums, and blocks that change the shape have no shortcut, as in RegNet Z",
                "--shortcut zero_pad",
            );
        }
        if let Some(outer) = self.known.outer_activation {
            row.set("output_activation", outer);
        } else if ends && self.network.pre_activation {
            row.set("output_activation", own);
        } else if linear && !ends {
            row.set("output_activation", Activation::None);
        }
    }

    /// Whether sums have no activation, and shapes change without shortcuts: RegNet Z.
    fn is_linear(&self) -> bool {
        let network = self.network;
        matches!(network.dialect, Some(Dialect::RegNet | Dialect::Byobnet)) && !network.projects()
    }

    /// Whether an activation follows the last block and nothing else does, as in RegNet V and in some of RegNet Z.
    fn ends_with_activation(&self) -> bool {
        let network = self.network;
        let bare = self.is_linear() || (network.pre_activation && network.norm.is_none());
        network.dialect == Some(Dialect::RegNet) && bare && network.final_conv.is_none()
    }

    /// The kernel of a stage's projections, and what they read.
    fn projection(&mut self, row: &mut Row, projection: &Projection) {
        let [rows, columns] = projection.conv.kernel;
        if rows == columns && rows > 1 {
            row.set("projection_kernel", rows);
        }
        if !self.network.pre_activation {
            return;
        }
        match self.options.shortcut_from {
            Some(from) => row.set("shortcut_from", from.word()),
            None if self.network.dialect == Some(Dialect::RegNet) => {}
            None => self.assume(
                false,
                "projections in shortcuts read what their block's first norm and ReLU made",
                format!("--shortcut-from {}", ShortcutFrom::Input.word()),
            ),
        }
    }

    fn bottleneck(&mut self, row: &mut Row, block: &Block, channels: usize, stride: usize) {
        let [first, middle] = [&block.convs[0], &block.convs[1]];
        let (width, scale) = (first.channels, block.scale());
        if scale > 1 {
            row.set("width", middle.channels);
            row.set("scale", scale);
        } else if width != middle.channels {
            row.set("width", format!("[{width}, {}]", middle.channels));
        } else if width.checked_mul(4) != Some(channels) {
            row.set("width", width);
        }
        // What does not divide has another shape than the table's, and is found out by that.
        let groups = width / scale / middle.inputs;
        if groups != 1 {
            row.set("groups", groups);
        }
        // What came from Caffe has it on the first convolution, but for ResNeXt.
        let on_first =
            groups == 1 && matches!(self.network.dialect, Some(Dialect::Senet | Dialect::Flat(_)));
        if self.options.stride_on == Some(StrideOn::First) {
            row.set("stride_on", "1x1");
        } else if self.options.stride_on.is_none() && stride != 1 && on_first {
            row.set("stride_on", "1x1");
            self.assume(
                false,
                "bottlenecks have their stride on the first 1x1 convolution, as their names are those of \
                 networks that came from Caffe",
                "--stride-on 3x3",
            );
        } else if self.options.stride_on.is_none() && stride != 1 && scale == 1 {
            self.assume(
                true,
                "bottlenecks have their stride on the 3x3 convolution",
                "--stride-on 1x1",
            );
        }
    }

    fn block(&mut self, prefix: &str, block: &Block, shortcut: Shortcut) {
        let pre_activation = self.network.pre_activation;
        let norm_word = if pre_activation { "norm" } else { "bn" };
        let mut modules = Vec::new();
        let scale = block.scale();
        let middle = (&block.convs[1], &block.norms[1]);
        let others = block.chunks.iter().map(|(conv, norm)| (conv, norm));
        for (index, (conv, norm)) in std::iter::once(middle).chain(others).enumerate() {
            if scale > 1 {
                modules.push((format!("convs.{index}"), &conv.module));
                modules.push((format!("bns.{index}"), &norm.module));
            }
        }
        for (number, (conv, norm)) in (1..).zip(block.convs.iter().zip(&block.norms)) {
            if scale > 1 && number == 2 {
                continue;
            }
            modules.push((format!("conv{number}"), &conv.module));
            modules.push((format!("{norm_word}{number}"), &norm.module));
        }
        if let Some(projection) = &block.shortcut {
            let index = usize::from(shortcut == Shortcut::PoolProjection);
            let [conv, norm] = match pre_activation {
                true => ["conv", "norm"].map(str::to_owned),
                false => [index, index + 1].map(|index| index.to_string()),
            };
            modules.push((format!("downsample.{conv}"), &projection.conv.module));
            if let Some(module) = &projection.norm {
                modules.push((format!("downsample.{norm}"), module));
            }
        }
        match &block.attention {
            Some(Attention::SqueezeExcitation { layers: [fc1, fc2], .. }) => {
                modules.push(("se.fc1".to_owned(), fc1));
                modules.push(("se.fc2".to_owned(), fc2));
            }
            Some(Attention::Efficient(conv, _)) => modules.push(("se.conv".to_owned(), conv)),
            None => {}
        }
        for (inner, module) in modules {
            self.modules.insert(format!("{prefix}.{inner}"), module.clone());
        }
    }
}

/// Whether one row can have two blocks, one after the other.
fn alike(a: &Block, b: &Block) -> bool {
    let attention = |block: &Block| match &block.attention {
        Some(Attention::SqueezeExcitation { middle, channels, .. }) => Some([*middle, *channels]),
        Some(Attention::Efficient(_, kernel)) => Some([*kernel, 0]),
        None => None,
    };
    let convs = |block: &Block| -> Vec<[usize; 4]> {
        let inputs = |index, conv: &Conv| if index > 0 { conv.inputs } else { 0 };
        let shape = |(index, conv): (usize, &Conv)| {
            let [rows, columns] = conv.kernel;
            [conv.channels, inputs(index, conv), rows, columns]
        };
        block.convs.iter().enumerate().map(shape).collect()
    };
    attention(a) == attention(b) && convs(a) == convs(b) && a.scale() == b.scale()
}
