//! The rows of a network whose parts were found in a state dict, and which tensor is which.

use std::collections::BTreeMap;

use resnet_compiler::graph::{Graph, Shape};
use resnet_compiler::spec::rows::Row;
use resnet_compiler::spec::{AntiAlias, Shortcut, StrideOn};

use crate::Options;
use crate::beside::Known;
use crate::checkpoint::{Checkpoint, Stored};
use crate::draft::Draft;
use crate::error::{Fault, unknown};
use crate::names::{Attention, Block, Network, Stage};

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
}

/// Derives the rows.
pub(crate) fn derive(network: &Network, known: &Known) -> Result<(Draft, Pairs), Fault> {
    let writer = |keeps_names| Writer {
        network,
        options: &known.options,
        known,
        keeps_names,
        modules: Renamed::new(),
        draft: Draft { pre_activation: network.pre_activation, ..Draft::default() },
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
    Ok((draft, Pairs { wrapper: network.wrapper.clone(), modules }))
}

impl Writer<'_> {
    fn rows(&mut self) -> Result<(), Fault> {
        self.draft.classes = self.network.linear.as_ref().map(|linear| linear.classes);
        self.head();
        self.stem();
        let strides = self.strides()?;
        if ![0, strides.len()].contains(&self.options.dilations.len()) {
            return unknown(format!(
                "{} dilations were given for {} stages",
                self.options.dilations.len(),
                strides.len()
            ));
        }
        self.refuse_what_has_no_place(&strides)?;
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
        self.draft.rows.push(Row::new("avgpool", "global_average_pool"));
        match &self.network.linear {
            Some(linear) => {
                let mut row = Row::new("fc", "linear");
                row.set("channels", linear.classes);
                let weights = self.named(&linear.module, "fc");
                self.weights(&mut row, "weights", &weights, "fc");
                self.draft.rows.push(row);
            }
            None => self.note("there is no classifier; the answers are features"),
        }
        self.features();
        Ok(())
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

    fn stem(&mut self) {
        let stem = &self.network.stem;
        let deep = stem.len() > 1;
        for (index, unit) in (1..).zip(stem) {
            let conv = &unit.conv;
            let layer = if deep { format!("stem{index}") } else { "conv1".to_owned() };
            let mut row = Row::new(&layer, "conv");
            let [rows, columns] = conv.kernel;
            let kernel =
                if rows == columns { rows.to_string() } else { format!("{rows}x{columns}") };
            row.set("kernel", kernel);
            row.set("channels", conv.channels);
            if index == 1 && (deep || conv.kernel[0] > 3) {
                row.set("stride", "2");
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
            if self.network.pre_activation && index == stem.len() {
                row.set("activation", "none");
            }
            self.draft.rows.push(row);
        }
        let large = deep || stem.first().is_some_and(|unit| unit.conv.kernel[0] > 3);
        if self.options.pool.unwrap_or(large) {
            self.stem_pool();
        }
        if let (None, false) = (self.options.pool, stem.is_empty()) {
            let (what, flag) = if large { ("a", "false") } else { ("no", "true") };
            self.assume(&format!("assumed: {what} max pool after the stem (else `--pool {flag}`)"));
        }
    }

    /// The pool after the stem, which halves its output. The anti-aliased ones are timm's.
    fn stem_pool(&mut self) {
        let max = Row::new("pool1", "max_pool").with("kernel", 3);
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
        if self.options.stride_on.is_some() && blocks().all(|block| block.convs.len() != 3) {
            return unknown(
                "`--stride-on` says which convolution of a bottleneck has the stride, and the network has \
                 basic blocks alone; leave it out",
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
                self.assume(
                    "assumed: no anti-aliasing, which has no weights (else `--anti-alias blur` for timm's \
                     `resnetblur*`, `--anti-alias average` for its `resnetaa*`)",
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
                _ if index == 0 => 1,
                _ => 2,
            };
            strides.push(stride);
        }
        let shown: Vec<String> = strides.iter().map(usize::to_string).collect();
        self.assume(&format!(
            "assumed: the stages' strides are {shown} (else `--strides {shown}`)",
            shown = shown.join(",")
        ));
        Ok(strides)
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
        let shortcut = self.shortcut(stage);
        if shortcut != Shortcut::Projection {
            row.set("shortcut", shortcut.word());
        }
        let projection = stage.blocks.iter().find_map(|block| block.shortcut.as_ref());
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

    /// Says in a row that its norms are group norms.
    fn group_norm(&mut self, row: &mut Row) {
        if self.network.group_norm {
            row.set("norm", "group");
            self.assume(
                "assumed: group norm has 32 groups (else write `norm: {groups: 16}` in the table)",
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
        if self.options.stride_on == Some(StrideOn::First) {
            row.set("stride_on", "1x1");
        } else if self.options.stride_on.is_none() && stride != 1 {
            self.assume(
                "assumed: bottlenecks have their stride on the 3x3 convolution (else `--stride-on 1x1`)",
            );
        }
    }

    /// What the blocks of a stage have beside their main path.
    fn shortcut(&mut self, stage: &Stage) -> Shortcut {
        if let Some(shortcut) = self.options.shortcut {
            return shortcut;
        }
        let stages = &self.network.stages;
        let blocks = || stages.iter().flat_map(|stage| &stage.blocks);
        let Some(projection) = blocks().find_map(|block| block.shortcut.as_ref()) else {
            self.assume(
                "assumed: shortcuts without weights are strided identities with zeros for new channels \
                 (else `--shortcut none`, a plain network)",
            );
            return Shortcut::ZeroPad;
        };
        let all = stage.blocks.iter().all(|block| block.shortcut.is_some());
        if all && stage.blocks.len() > 1 {
            return Shortcut::ProjectAll;
        }
        if projection.second {
            return Shortcut::PoolProjection;
        }
        // The names of timm's pre-activation networks do not tell; those with a deep stem are D.
        if self.network.pre_activation && self.network.stem.len() > 1 {
            self.assume(
                "assumed: shortcuts pool before they project, as the stem is deep (else `--shortcut \
                 projection`)",
            );
            return Shortcut::PoolProjection;
        }
        Shortcut::Projection
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
        for (inner, module) in modules {
            self.modules.insert(format!("{prefix}.{inner}"), module.clone());
        }
        let parts: &[&str] = match &block.attention {
            Some(Attention::SqueezeExcitation(..)) => &["fc1", "fc2"],
            Some(Attention::Efficient(..)) => &["conv"],
            None => &[],
        };
        if let Some(Attention::SqueezeExcitation(module, _) | Attention::Efficient(module, _)) =
            &block.attention
        {
            for part in parts {
                self.modules.insert(format!("{prefix}.se.{part}"), format!("{module}.{part}"));
            }
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
        let large = first.kernel[0] > 3 || self.network.stem.len() > 1;
        let (height, width) = self.options.input.unwrap_or_else(|| {
            let size = if large { 224 } else { 32 };
            self.note(&format!("assumed: pictures of {size}x{size} (else `--input HxW`)"));
            (size, size)
        });
        self.draft.input = Shape::new(first.inputs, height, width);
        self.draft.norm_epsilon = self.options.norm_epsilon;
        if self.options.norm_epsilon.is_none() {
            self.assume("assumed: the norms' epsilon is 1e-5 (else `--norm-epsilon`)");
        }
    }

    /// Says what is assumed of an architecture, unless that is known.
    fn assume(&mut self, note: &str) {
        if !self.known.settled {
            self.note(note);
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

/// Names for a message; nothing for none.
fn listed(names: &[String]) -> Option<String> {
    let (shown, more) = names.split_at(names.len().min(3));
    let shown: Vec<String> = shown.iter().map(|name| format!("`{name}`")).collect();
    match more {
        [] if shown.is_empty() => None,
        [] => Some(shown.join(", ")),
        _ => Some(format!("{} and {} more", shown.join(", "), more.len())),
    }
}

/// Output channels of a stage.
pub(crate) fn outputs(stage: &Stage) -> usize {
    stage.blocks[0].convs.last().map_or(0, |conv| conv.channels)
}
