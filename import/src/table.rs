//! The rows of a network whose parts were found in a state dict, and which tensor is which.

mod pairs;
mod stage;
mod stem;

use std::collections::BTreeMap;

use resnet_compiler::graph::Shape;
use resnet_compiler::spec::rows::Row;
use resnet_compiler::spec::{Shortcut, StrideOn};

pub(crate) use self::pairs::Pairs;
use crate::beside::Known;
use crate::checkpoint::Flat;
use crate::draft::Draft;
use crate::error::{Fault, unknown};
use crate::names::{Dialect, Linear, Network, Stage};
use crate::{Activation, GlobalPool, Options};

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
    /// Rows of blocks so far.
    block_rows: usize,
    /// The last row of every stage so far.
    stages: Vec<String>,
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
        block_rows: 0,
        stages: Vec::new(),
    };
    let mut kept = writer(true);
    kept.rows()?;
    let divided = kept.block_rows > network.stages.len();
    if divided || kept.modules.iter().any(|(name, old)| name != old) {
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
        if let Some(unit) = &self.network.final_conv {
            let index = self.network.stem.len() + 1;
            let row = Row::new("final", "conv");
            let row = self.conv(row, unit, index, 1)?;
            self.draft.rows.push(row);
        }
        if let Some(norm) = &self.network.norm {
            self.norm(norm, false)?;
        }
        self.global_pool();
        if let Some(norm) = &self.network.head_norm {
            self.norm(norm, true)?;
        }
        self.linear();
        self.features();
        Ok(())
    }

    /// A norm of its own; `bare`: without an activation.
    fn norm(&mut self, module: &str, bare: bool) -> Result<(), Fault> {
        let mut row = Row::new("norm", "norm");
        let channels = match &self.network.final_conv {
            Some(unit) => unit.conv.channels,
            None => self.network.stages.last().map_or(0, Stage::outputs),
        };
        self.group_norm(&mut row, &[channels])?;
        if bare {
            row.set("activation", "none");
        }
        let weights = self.named(module, "norm");
        self.weights(&mut row, "weights", &weights, "norm");
        self.draft.rows.push(row);
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
            [linear] => self.linear_row("fc", linear, "fc", None),
            [hidden, linear, ..] => {
                let own = self.options.activation;
                let own = own.filter(|_| self.network.dialect == Some(Dialect::Byobnet));
                let between = own.unwrap_or(Activation::Relu);
                let word = if between == Activation::Relu { "ReLU" } else { between.name() };
                self.assume(
                    false,
                    format!("a {word} stands between `{}` and `{}`", hidden.module, linear.module),
                    format!(
                        "--without {}",
                        hidden.module.rsplit_once('.').map_or("", |(list, _)| list)
                    ),
                );
                self.linear_row("hidden", hidden, "fc", Some(between));
                self.linear_row("fc", linear, "fc2", None);
            }
        }
    }

    fn linear_row(
        &mut self,
        layer: &str,
        linear: &Linear,
        default: &str,
        then: Option<Activation>,
    ) {
        let mut row = Row::new(layer, "linear").with("channels", linear.classes);
        if let Some(activation) = then {
            row.set("activation", activation);
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
            stage => self.stages.get(stage - 1).cloned().unwrap_or_default(),
        };
        self.draft.features = self.known.features.iter().map(row).collect();
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
        let groups = self.options.norm_groups.or(self.options.norm_group_size);
        if groups.is_some() && !self.network.group_norm {
            return unknown(
                "`--norm-groups` and `--norm-group-size` are for group norms, and the network's norms have statistics; \
                 leave it out",
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

    /// Says in a row that its norms are group norms.
    /// `channels`: what each of its norms reads.
    fn group_norm(&mut self, row: &mut Row, channels: &[usize]) -> Result<(), Fault> {
        if !self.network.group_norm {
            return Ok(());
        }
        let by_size = match self.options.norm_group_size {
            Some(size) => Some(groups_of(size, channels)?),
            None => None,
        };
        let groups = by_size.or(self.options.norm_groups).unwrap_or(32);
        if let Some(odd) =
            channels.iter().find(|&&channels| !channels.is_multiple_of(groups.max(1)))
        {
            return unknown(format!(
                "its norms have no statistics, so that they are taken for group norms, and {groups} groups do not \
                 divide {odd} channels; say `--norm-groups G` or `--norm-group-size C` (1 is an instance norm)"
            ));
        }
        row.set(
            "norm",
            if groups == 32 { "group".to_owned() } else { format!("{{groups: {groups}}}") },
        );
        if self.options.norm_groups.is_none() && by_size.is_none() {
            self.assume(
                false,
                "norms without statistics are group norms of 32 groups",
                "--norm-groups 16`, `--norm-group-size 16",
            );
        }
        Ok(())
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
        // Perhaps what stands before it is missing.
        if ![1, 3].contains(&first.inputs) {
            let note = format!(
                "pictures have {} channels, as `{}` reads them",
                first.inputs, first.module
            );
            self.note(&note);
        }
        self.draft.norm_epsilon = self.options.norm_epsilon;
        if self.options.norm_epsilon.is_none() {
            let own = match self.network.dialect {
                Some(Dialect::Flat(Flat::Keras)) => Some("1.001e-5"),
                Some(Dialect::Flat(Flat::FirstKeras)) => Some("1e-3"),
                _ => None,
            };
            self.draft.norm_epsilon = own.and_then(|own| own.parse().ok());
            let epsilon = own.unwrap_or("1e-5");
            let what = format!("the norms' epsilon is {epsilon}");
            self.assume(own != Some("1e-3"), what, "--norm-epsilon E");
        }
        self.draft.is_caffe = matches!(self.network.dialect, Some(Dialect::Flat(_)));
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

/// The groups that norms over so many channels have, if a group has `size` channels; a row has one number.
fn groups_of(size: usize, channels: &[usize]) -> Result<usize, Fault> {
    match channels {
        [first, rest @ ..]
            if first.is_multiple_of(size)
                && *first > 0
                && rest.iter().all(|other| other == first) =>
        {
            Ok(first / size)
        }
        _ => unknown(format!(
            "groups of {size} channels in norms over {channels:?} channels: a row of a table has one number of \
             groups, which has to divide all of them"
        )),
    }
}
