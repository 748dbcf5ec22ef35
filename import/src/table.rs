//! The rows of a network whose parts were found in a state dict, and which tensor is which.

use std::collections::BTreeMap;

use resnet_compiler::graph::{Graph, Shape};
use resnet_compiler::spec::rows::Row;
use resnet_compiler::spec::{AntiAlias, Shortcut, ShortcutFrom, StrideOn, ZeroChannels};

use crate::beside::Known;
use crate::checkpoint::{Checkpoint, Stored};
use crate::draft::Draft;
use crate::error::{Fault, listed, unknown};
use crate::names::{Attention, Block, Dialect, Linear, Network, Projection, Stage};
use crate::{GlobalPool, Options, StemPool};

/// Modules by their names in the table's weights; the values are their names in the checkpoint.
type Renamed = BTreeMap<String, String>;

struct Writer<'a> {
    network: &'a Network,
    options: &'a Options,
    known: &'a Known,
    /// Whether tensors keep their names, but for what all of them begin with.
    keeps_names: bool,
    modules: Renamed,
    draft: Draft,
}

/// The tensors of a table, found among those of a checkpoint.
pub(crate) struct Pairs {
    wrapper: String,
    modules: Renamed,
    /// What is read without being a tensor of the table, by its whole name.
    read: Vec<String>,
}

/// Derives the rows.
pub(crate) fn derive(network: &Network, known: &Known) -> Result<(Draft, Pairs), Fault> {
    let writer = |keeps_names| Writer {
        network,
        options: &known.options,
        known,
        keeps_names,
        modules: Renamed::new(),
        draft: Draft {
            pre_activation: network.pre_activation,
            activation: known.options.activation,
            weight_standardization: known.options.weight_standardization,
            ..Draft::default()
        },
    };
    let mut kept = writer(true);
    kept.rows()?;
    if kept.modules.iter().any(|(name, old)| name != old) {
        // Prefixes alone cannot express the names, so all become the ones that tables default to.
        kept = writer(false);
        kept.rows()?;
        kept.note("tensors are renamed to what tables expect by default");
    }
    let Writer { draft, modules, .. } = kept;
    let read = network.normalisation_tensors().into_iter().flatten().collect();
    Ok((draft, Pairs { wrapper: network.wrapper.clone(), modules, read }))
}

impl Writer<'_> {
    fn rows(&mut self) -> Result<(), Fault> {
        self.draft.classes = self.network.linear.last().map(|linear| linear.classes);
        self.head();
        self.stem()?;
        let strides = self.strides()?;
        if ![0, strides.len()].contains(&self.options.dilations.len()) {
            return unknown(format!(
                "{} dilations were given for {} stages",
                self.options.dilations.len(),
                strides.len()
            ));
        }
        self.refuse_what_has_no_place(&strides)?;
        self.assume_no_dilation(&strides);
        self.assume_what_leaves_no_tensor();
        for (index, (stage, stride)) in self.network.stages.iter().zip(strides).enumerate() {
            self.stage(index, stage, stride)?;
        }
        if let Some(norm) = &self.network.norm {
            let mut row = Row::new("norm", "norm");
            self.group_norm(&mut row);
            let weights = self.named(norm, "norm");
            self.weights(&mut row, "weights", &weights, "norm");
            self.draft.rows.push(row);
        }
        self.global_pool();
        self.linear();
        self.features();
        Ok(())
    }

    fn assume_what_leaves_no_tensor(&mut self) {
        if self.options.activation.is_none() {
            let usual = self.network.dialect != Some(Dialect::Byobnet);
            self.assume(usual, "ReLU everywhere", "--activation silu");
        }
        if self.options.weight_standardization.is_none() {
            self.assume(
                !(self.network.group_norm && self.network.pre_activation),
                "weights are as they are in the file: no weight standardization, which BiT's networks have",
                "--weight-standardization 1e-8",
            );
        }
    }

    fn global_pool(&mut self) {
        if self.options.global_pool.is_none() {
            self.assume(
                true,
                "the mean over all pixels before the classifier",
                "--global-pool max",
            );
        }
        if self.options.global_pool == Some(GlobalPool::Max) {
            self.draft.global_max_pool = Some(self.draft.rows.len());
            self.draft
                .rows
                .push(Row::new("maxpool", "max_pool").with("kernel", 1).with("padding", 0));
        } else {
            self.draft.rows.push(Row::new("avgpool", "global_average_pool"));
        }
    }

    fn linear(&mut self) {
        match &*self.network.linear {
            [] => self.note("there is no classifier; the answers are features"),
            [linear] => self.linear_row("fc", linear, "fc", false),
            [hidden, linear, ..] => {
                self.assume(
                    false,
                    format!("a ReLU stands between `{}` and `{}`", hidden.module, linear.module),
                    format!(
                        "--without {}",
                        hidden.module.rsplit_once('.').map_or("", |(list, _)| list)
                    ),
                );
                self.linear_row("hidden", hidden, "fc", true);
                self.linear_row("fc", linear, "fc2", false);
            }
        }
    }

    fn linear_row(&mut self, layer: &str, linear: &Linear, default: &str, relu: bool) {
        let mut row = Row::new(layer, "linear").with("channels", linear.classes);
        if relu {
            row.set("activation", "relu");
        }
        let weights = self.named(&linear.module, default);
        self.weights(&mut row, "weights", &weights, default);
        self.draft.rows.push(row);
    }

    /// The stages whose outputs are the answer.
    fn features(&mut self) {
        let stem =
            self.draft.rows.iter().rfind(|row| {
                matches!(row.get("layer"), Some("conv1" | "stem3" | "pool1" | "blur1"))
            });
        let stem = stem.and_then(|row| row.get("layer")).unwrap_or_default().to_owned();
        let row = |&stage: &usize| match stage {
            0 => stem.clone(),
            stage => format!("conv{}_x", stage + 1),
        };
        self.draft.features = self.known.features.iter().map(row).collect();
    }

    fn stem(&mut self) -> Result<(), Fault> {
        let stem = &self.network.stem;
        let deep = stem.iter().filter(|unit| !unit.pool).count() > 1;
        for (index, unit) in (1..).zip(stem) {
            let conv = &unit.conv;
            let layer = match (unit.pool, deep) {
                (true, _) => "pool1".to_owned(),
                (false, true) => format!("stem{index}"),
                (false, false) => "conv1".to_owned(),
            };
            let mut row = Row::new(&layer, "conv");
            let [rows, columns] = conv.kernel;
            let kernel =
                if rows == columns { rows.to_string() } else { format!("{rows}x{columns}") };
            row.set("kernel", kernel);
            row.set("channels", conv.channels);
            let stride = match index {
                1 => self.stem_stride(),
                _ if unit.pool => 2,
                _ => 1,
            };
            if stride != 1 {
                row.set("stride", stride);
            }
            // Patches that do not overlap.
            if conv.kernel == [stride; 2] && stride > 1 {
                row.set("padding", 0);
            }
            let (default, default_norm) = (format!("conv{index}"), format!("bn{index}"));
            let weights = self.named(&conv.module, &default);
            if conv.bias == unit.norm.is_none() {
                // What is left out means this.
            } else {
                row.set("bias", conv.bias);
            }
            match &unit.norm {
                Some(norm) => {
                    self.group_norm(&mut row);
                    let norm = self.named(norm, &default_norm);
                    if weights != default || norm != default_norm {
                        row.set("weights", weights);
                        row.set("norm_weights", norm);
                    }
                }
                None => {
                    row.set("norm", "none");
                    self.weights(&mut row, "weights", &weights, &default);
                }
            }
            if self.network.pre_activation && index == stem.len() && unit.norm.is_none() {
                row.set("activation", "none");
            }
            self.draft.rows.push(row);
        }
        self.pool_of_stem()
    }

    /// The stride of the first convolution. Even kernels are those of patches.
    fn stem_stride(&mut self) -> usize {
        let (kernel, halves) = (self.stem_kernel(), self.stem_halves());
        let stride = match kernel {
            _ if kernel > 1 && kernel.is_multiple_of(2) => kernel,
            _ if halves => 2,
            _ => 1,
        };
        if let Some(stride) = self.options.stem_stride {
            return stride;
        }
        let usual =
            kernel == 7 || self.network.stem.len() > 1 || (kernel == 3 && !self.many_classes());
        let other = if stride == 1 { 2 } else { 1 };
        self.assume(
            usual,
            format!("the stem's stride is {stride}"),
            format!("--stem-stride {other}"),
        );
        stride
    }

    /// Rows of the first kernel.
    fn stem_kernel(&self) -> usize {
        self.network.stem.first().map_or(0, |unit| unit.conv.kernel[0])
    }

    /// Whether the stem has a stride as published networks have it: those for ImageNet, and not those of
    /// a single 3x3, for CIFAR.
    fn stem_halves(&self) -> bool {
        let known = self.network.dialect == Some(Dialect::RegNet);
        known || self.stem_kernel() > 3 || self.network.stem.len() > 1
    }

    /// As ImageNet's, which are no small pictures.
    fn many_classes(&self) -> bool {
        self.draft.classes.is_some_and(|classes| classes >= 1000)
    }

    fn pool_of_stem(&mut self) -> Result<(), Fault> {
        let Some(first) = self.network.stem.first() else { return Ok(()) };
        if let Some(unit) = self.network.stem.iter().find(|unit| unit.pool) {
            return match self.options.pool {
                None | Some(StemPool::None) => Ok(()),
                Some(StemPool::Max | StemPool::Ceil | StemPool::Zeros) => unknown(format!(
                    "`{}` is a convolution in the place of the stem's pool; leave `--pool` out",
                    unit.conv.module
                )),
            };
        }
        let patches = first.conv.kernel[0].is_multiple_of(2);
        let has = self.stem_halves() && !patches && self.network.dialect != Some(Dialect::RegNet);
        let assumed = match (has, self.network.dialect) {
            (false, _) => StemPool::None,
            (true, Some(Dialect::Senet)) => StemPool::Ceil,
            (true, _) => StemPool::Max,
        };
        if self.options.pool.is_none() {
            let (what, option) = match assumed {
                StemPool::None => ("no max pool after the stem", "--pool true"),
                StemPool::Max if self.network.group_norm && self.network.pre_activation => (
                    "the max pool after the stem ignores its padding, which BiT's takes as zeros",
                    "--pool zeros",
                ),
                StemPool::Max | StemPool::Zeros => ("a max pool after the stem", "--pool false"),
                StemPool::Ceil => (
                    "the max pool after the stem rounds sizes up, as its names are those of networks that came \
                     from Caffe",
                    "--pool true",
                ),
            };
            let usual = assumed != StemPool::Ceil && !patches && option != "--pool zeros";
            self.assume(usual, what, option);
        }
        self.stem_pool(self.options.pool.unwrap_or(assumed));
        Ok(())
    }

    /// The pool after the stem, which halves its output. The anti-aliased ones are timm's.
    fn stem_pool(&mut self, pool: StemPool) {
        let mut max = Row::new("pool1", "max_pool").with("kernel", 3);
        match pool {
            StemPool::None => return,
            StemPool::Max => {}
            StemPool::Ceil => max.set("padding", "{bottom: 1, right: 1}"),
            StemPool::Zeros => max.set("count_padding", true),
        }
        let rows = match self.options.anti_alias {
            None => vec![max.with("stride", 2)],
            Some(AntiAlias::Blur) => {
                vec![max, Row::new("blur1", "blur").with("kernel", 3).with("stride", 2)]
            }
            Some(AntiAlias::Average) => {
                let average = Row::new("pool1", "average_pool").with("kernel", 2);
                vec![average.with("stride", 2).with("padding", 0)]
            }
        };
        self.draft.rows.extend(rows);
    }

    /// Options that would change nothing are mistakes; where `--anti-alias` would change something and is
    /// not given, it is said.
    fn refuse_what_has_no_place(&mut self, strides: &[usize]) -> Result<(), Fault> {
        let blocks = || self.network.stages.iter().flat_map(|stage| &stage.blocks);
        let basic = blocks().all(|block| block.convs.len() != 3);
        if self.options.stride_on == Some(StrideOn::First) && basic {
            return unknown(
                "`--stride-on` says which convolution of a block has the stride; in basic blocks, which the \
                 network has alone, that is the first one anyway (else `second`); leave it out",
            );
        }
        let projects = blocks().any(|block| block.shortcut.is_some());
        if self.options.shortcut_from.is_some() && !(self.network.pre_activation && projects) {
            return unknown(
                "`--shortcut-from` is for projections in networks whose norms stand before convolutions; leave \
                 it out",
            );
        }
        let padded = [Shortcut::ZeroPad, Shortcut::PoolZeroPad];
        let pads = self.options.shortcut.map_or(!projects, |shortcut| padded.contains(&shortcut));
        if self.options.zero_channels.is_some() && !pads {
            return unknown(
                "`--zero-channels` is for shortcuts that add channels of zeros, and the network has others; leave \
                 it out",
            );
        }
        let pools = self.draft.rows.iter().any(|row| row.get("layer") == Some("pool1"));
        let has_place = pools || strides.iter().any(|&stride| stride != 1);
        match self.options.anti_alias {
            Some(_) if !has_place => unknown(
                "`--anti-alias` takes the place of strides, and neither a stage nor a pool after the stem \
                 has one; leave it out",
            ),
            None if has_place => {
                let usual = self.network.dialect != Some(Dialect::Byobnet);
                self.assume(
                    usual,
                    "no anti-aliasing, which has no weights",
                    "--anti-alias blur` for timm's `resnetblur*`, `--anti-alias average` for its `resnetaa*",
                );
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The stride of each stage.
    fn strides(&mut self) -> Result<Vec<usize>, Fault> {
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
            let before = std::mem::replace(&mut channels, outputs(stage));
            let changes = before != channels;
            let first = &stage.blocks[0];
            // A projection where channels stay must be there for a stride, and none means that there is
            // no stride; unless every block has one.
            let stride = match (first.shortcut.is_some(), changes) {
                (true, false) if stage.blocks.len() == 1 || !projects(stage) => 2,
                (false, false) => 1,
                _ if index == 0 && self.network.dialect != Some(Dialect::RegNet) => 1,
                _ => 2,
            };
            strides.push(stride);
        }
        let shown: Vec<String> = strides.iter().map(usize::to_string).collect();
        let shown = shown.join(",");
        self.assume(true, format!("the stages' strides are {shown}"), format!("--strides {shown}"));
        Ok(strides)
    }

    /// A stride that was given up is where networks for segmentation have dilation.
    fn assume_no_dilation(&mut self, strides: &[usize]) {
        if !self.options.dilations.is_empty() {
            return;
        }
        let given_up = !self.options.strides.is_empty() && strides.iter().skip(1).any(|&s| s == 1);
        let mut dilation = 1;
        let example = strides.iter().enumerate().map(|(index, &stride)| {
            dilation *= if given_up && index > 0 && stride == 1 { 2 } else { 1 };
            dilation.to_string()
        });
        let example: Vec<String> = example.collect();
        self.assume(!given_up, "no dilation", format!("--dilations {}", example.join(",")));
    }

    fn stage(&mut self, index: usize, stage: &Stage, stride: usize) -> Result<(), Fault> {
        let first = &stage.blocks[0];
        let bottleneck = first.convs.len() == 3;
        let op = if bottleneck { "bottleneck" } else { "basic" };
        let mut row = Row::new(format_args!("conv{}_x", index + 2), op);
        let channels = outputs(stage);
        row.set("repeat", stage.blocks.len());
        row.set("channels", channels);
        if stride != 1 {
            row.set("stride", stride);
        }
        let dilations = &self.options.dilations;
        let dilation = dilations.get(index).copied().unwrap_or(1);
        if dilation != 1 {
            row.set("dilation", dilation);
        }
        // A stage that begins with another dilation than it goes on with has a blur too.
        let changes = index
            .checked_sub(1)
            .is_some_and(|before| dilations.get(before) != dilations.get(index));
        if let Some(anti_alias) = self.options.anti_alias
            && (stride != 1 || changes && anti_alias == AntiAlias::Blur)
        {
            row.set("anti_alias", anti_alias.word());
        }
        let default = format!("layer{}", index + 1);
        let prefix = self.named_prefix(&stage.prefix, &default);
        self.weights(&mut row, "weights", &prefix, &default);
        self.group_norm(&mut row);
        if bottleneck {
            self.bottleneck(&mut row, first, channels, stride);
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
        if stage.blocks.iter().any(Block::has_bias) {
            row.set("bias", "true");
        }
        match &first.attention {
            Some(Attention::SqueezeExcitation(_, middle)) => {
                row.set("squeeze_excitation", format!("{{channels: {middle}}}"));
            }
            Some(Attention::Efficient(_, kernel)) => row.set("eca", kernel),
            None => {}
        }
        let shortcut = self.shortcut(stage, stride);
        if shortcut != Shortcut::Projection {
            row.set("shortcut", shortcut.word());
        }
        if let Some(zeros) = self.options.zero_channels
            && matches!(shortcut, Shortcut::ZeroPad | Shortcut::PoolZeroPad)
        {
            row.set("zero_channels", zeros.word());
        }
        let projection = stage.blocks.iter().find_map(|block| block.shortcut.as_ref());
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
        for (number, block) in stage.blocks.iter().enumerate() {
            if block.convs.len() != first.convs.len() {
                return Err(Fault::Unknown(format!(
                    "`{}` has both basic blocks and bottlenecks",
                    stage.prefix
                )));
            }
            self.block(&format!("{prefix}.{number}"), block, shortcut);
        }
        self.draft.rows.push(row);
        Ok(())
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
            None => self.assume(
                false,
                "projections in shortcuts read what their block's first norm and ReLU made",
                format!("--shortcut-from {}", ShortcutFrom::Input.word()),
            ),
        }
    }

    /// Says in a row that its norms are group norms.
    fn group_norm(&mut self, row: &mut Row) {
        if !self.network.group_norm {
            return;
        }
        let groups = self.options.norm_groups.unwrap_or(32);
        row.set(
            "norm",
            if groups == 32 { "group".to_owned() } else { format!("{{groups: {groups}}}") },
        );
        if self.options.norm_groups.is_none() {
            self.assume(
                false,
                "norms without statistics are group norms of 32 groups",
                "--norm-groups 16",
            );
        }
    }

    fn bottleneck(&mut self, row: &mut Row, block: &Block, channels: usize, stride: usize) {
        let [first, middle] = [&block.convs[0], &block.convs[1]];
        let width = first.channels;
        if width.checked_mul(4) != Some(channels) {
            row.set("width", width);
        }
        // What does not divide has another shape than the table's, and is found out by that.
        let groups = width / middle.inputs;
        if groups != 1 {
            row.set("groups", groups);
        }
        // What came from Caffe has it on the first convolution, but for ResNeXt.
        let on_first = self.network.dialect == Some(Dialect::Senet) && groups == 1;
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
        } else if self.options.stride_on.is_none() && stride != 1 {
            self.assume(
                true,
                "bottlenecks have their stride on the 3x3 convolution",
                "--stride-on 1x1",
            );
        }
    }

    /// What the blocks of a stage have beside their main path.
    fn shortcut(&mut self, stage: &Stage, stride: usize) -> Shortcut {
        if let Some(shortcut) = self.options.shortcut {
            return shortcut;
        }
        let stages = &self.network.stages;
        let blocks = || stages.iter().flat_map(|stage| &stage.blocks);
        let Some(projection) = blocks().find_map(|block| block.shortcut.as_ref()) else {
            if stride == 1 && stage.blocks[0].convs[0].inputs == outputs(stage) {
                return Shortcut::Projection;
            }
            self.assume(
                false,
                "shortcuts without weights take every stride-th pixel (option A)",
                "--shortcut pool_zero_pad`, `--shortcut none",
            );
            if self.options.zero_channels.is_none() {
                self.assume(
                    false,
                    "half of the zeros for new channels stand before the others, half behind",
                    format!("--zero-channels {}", ZeroChannels::After.word()),
                );
            }
            return Shortcut::ZeroPad;
        };
        let all = stage.blocks.iter().all(|block| block.shortcut.is_some());
        if all && stage.blocks.len() > 1 {
            return Shortcut::ProjectAll;
        }
        // Names such as `downsample.conv` do not tell; networks with a deep stem are D.
        let deep = self.network.stem.len() > 1;
        match projection.second {
            Some(true) => Shortcut::PoolProjection,
            Some(false) => Shortcut::Projection,
            None if deep => {
                self.assume(
                    self.network.pre_activation,
                    "shortcuts pool before they project, as the stem is deep",
                    "--shortcut projection",
                );
                Shortcut::PoolProjection
            }
            None => Shortcut::Projection,
        }
    }

    fn block(&mut self, prefix: &str, block: &Block, shortcut: Shortcut) {
        let pre_activation = self.network.pre_activation;
        let norm_word = if pre_activation { "norm" } else { "bn" };
        let mut modules = Vec::new();
        for (number, (conv, norm)) in (1..).zip(block.convs.iter().zip(&block.norms)) {
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
            Some(Attention::SqueezeExcitation([fc1, fc2], _)) => {
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

    /// The name of a module in the table's weights.
    fn named(&mut self, module: &str, default: &str) -> String {
        let name = self.named_prefix(module, default);
        self.modules.insert(name.clone(), module.to_owned());
        name
    }

    fn named_prefix(&self, prefix: &str, default: &str) -> String {
        if self.keeps_names { prefix } else { default }.to_owned()
    }

    /// Writes a name where it is not what the table expects by default.
    fn weights(&self, row: &mut Row, field: &'static str, name: &str, default: &str) {
        if name != default {
            row.set(field, name);
        }
    }

    /// What stands before the rows.
    fn head(&mut self) {
        let stem = self.network.stem.first().map(|unit| &unit.conv);
        let first = stem.unwrap_or(&self.network.stages[0].blocks[0].convs[0]);
        let (height, width) = self.options.input.unwrap_or_else(|| {
            let size = if self.stem_halves() || self.many_classes() { 224 } else { 32 };
            self.assume(true, format!("pictures of {size}x{size}"), "--input HxW");
            (size, size)
        });
        self.draft.input = Shape::new(first.inputs, height, width);
        self.draft.norm_epsilon = self.options.norm_epsilon;
        if self.options.norm_epsilon.is_none() {
            self.assume(true, "the norms' epsilon is 1e-5", "--norm-epsilon E");
        }
    }

    /// Says what is assumed of an architecture, unless that is known.
    fn assume(&mut self, usual: bool, what: impl Into<String>, option: impl Into<String>) {
        if !self.known.settled {
            self.draft.assume(usual, what, option);
        }
    }

    fn note(&mut self, note: &str) {
        if !self.draft.notes.iter().any(|found| found == note) {
            self.draft.notes.push(note.to_owned());
        }
    }
}

impl Pairs {
    /// Pairs the tensors of the table's network with those of the checkpoint. All of these have to be in the
    /// network, but for the counters of batch norms. Biases that the checkpoint does not have are zeros, and
    /// scales of batch norms ones, as PyTorch's layers without them compute; `notes` says so.
    pub(crate) fn find(
        &self,
        graph: &Graph,
        checkpoint: &Checkpoint,
        notes: &mut Vec<String>,
    ) -> Result<BTreeMap<String, Stored>, Fault> {
        let mut left: BTreeMap<&str, &Stored> =
            checkpoint.tensors.iter().map(|(name, stored)| (name.as_str(), stored)).collect();
        for name in &self.read {
            left.remove(name.as_str());
        }
        let mut pairs = BTreeMap::new();
        let (mut zeros, mut ones) = (Vec::new(), Vec::new());
        for tensor in &graph.tensors {
            let (module, part) = tensor.name.rsplit_once('.').unwrap_or(("", &tensor.name));
            let Some(old) = self.modules.get(module) else {
                return unknown(format!(
                    "the derived network needs `{module}`, which the checkpoint does not have; stages \
                     whose blocks differ are not known"
                ));
            };
            let old = |part: &str| format!("{}{old}.{part}", self.wrapper);
            let has = |part| checkpoint.tensors.contains_key(&old(part));
            let stored = match (left.remove(old(part).as_str()), part) {
                (Some(stored), _) => stored.clone(),
                (None, "bias") if has("weight") || has("running_mean") => {
                    zeros.push(old(part));
                    Stored::same(tensor.shape.to_vec(), 0.0)
                }
                (None, "weight") if has("running_mean") => {
                    ones.push(old(part));
                    Stored::same(tensor.shape.to_vec(), 1.0)
                }
                _ => return unknown(format!("`{}` is missing", old(part))),
            };
            pairs.insert(tensor.name.to_string(), stored);
        }
        for (what, number, names) in [("biases", "zeros", zeros), ("scales", "ones", ones)] {
            if let Some(listed) = listed(&names) {
                notes.push(format!("{what} that the file does not have are {number}: {listed}"));
            }
        }
        let counters = left.len();
        left.retain(|name, _| name.rsplit('.').next() != Some("num_batches_tracked"));
        match counters - left.len() {
            0 => {}
            count => notes.push(format!("left out: {count} counters `num_batches_tracked`")),
        }
        let left: Vec<String> = left.into_keys().map(str::to_owned).collect();
        match listed(&left) {
            Some(names) => unknown(format!(
                "the derived network has no place for {names}; stages whose blocks differ are not \
                 known, and a layer has no tensors but those that a table knows"
            )),
            None => Ok(pairs),
        }
    }
}

/// Output channels of a stage.
pub(crate) fn outputs(stage: &Stage) -> usize {
    stage.blocks[0].convs.last().map_or(0, |conv| conv.channels)
}
