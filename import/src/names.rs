//! Finds the parts of a residual network among the names and shapes of its tensors.
//!
//! A *module* is what holds tensors: the name of a tensor without its last part. Whether a module is a
//! convolution, a batch norm or a linear layer is told by its tensors; what it is for, by its name.

mod place;

use std::collections::BTreeMap;

pub(crate) use self::place::block_of;
use self::place::{Place, Role, common_prefix, natural, norm_names, role};
use crate::checkpoint::Checkpoint;
use crate::error::{Fault, unknown};

/// Tensors of a module and their shapes.
type Parts = BTreeMap<String, Vec<usize>>;

/// The parts of a network, and the names of their modules in the checkpoint.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) stem: Vec<StemConv>,
    /// In order; at least one.
    pub(crate) stages: Vec<Stage>,
    /// The batch norm after the last block.
    pub(crate) norm: Option<String>,
    pub(crate) linear: Option<Linear>,
    pub(crate) pre_activation: bool,
    /// Whether norms have no statistics of their own, as group norm.
    pub(crate) group_norm: bool,
    /// What all names begin with, dots included.
    pub(crate) wrapper: String,
}

#[derive(Debug)]
pub(crate) struct StemConv {
    pub(crate) conv: Conv,
    pub(crate) norm: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) module: String,
    pub(crate) classes: usize,
}

/// Blocks with one prefix.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) prefix: String,
    /// At least one.
    pub(crate) blocks: Vec<Block>,
}

#[derive(Debug, Default)]
pub(crate) struct Block {
    /// Two or three.
    pub(crate) convs: Vec<Conv>,
    /// As many.
    pub(crate) norms: Vec<Norm>,
    pub(crate) shortcut: Option<Projection>,
    pub(crate) attention: Option<Attention>,
}

impl Block {
    /// Whether any of its convolutions has a bias; a table has it for all of them.
    pub(crate) fn has_bias(&self) -> bool {
        let projection = self.shortcut.as_ref().map(|shortcut| &shortcut.conv);
        self.convs.iter().chain(projection).any(|conv| conv.bias)
    }
}

#[derive(Debug)]
pub(crate) struct Norm {
    pub(crate) module: String,
    pub(crate) channels: usize,
}

/// A convolution; none of its sizes is zero.
#[derive(Clone, Debug)]
pub(crate) struct Conv {
    pub(crate) module: String,
    pub(crate) channels: usize,
    /// Input channels of one group.
    pub(crate) inputs: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) bias: bool,
}

#[derive(Debug)]
pub(crate) struct Projection {
    pub(crate) conv: Conv,
    pub(crate) norm: Option<String>,
    /// Whether the module before it has no tensors, as the pool of ResNet-D.
    pub(crate) second: bool,
}

#[derive(Debug)]
pub(crate) enum Attention {
    /// Module of the block, channels in the middle.
    SqueezeExcitation(String, usize),
    /// Module of the block, kernel.
    Efficient(String, usize),
}

/// Modules by their names, without what all names begin with.
struct Modules {
    map: BTreeMap<String, Parts>,
}

impl Network {
    /// Finds the parts. Tensors that batch norms count training steps with are left out.
    pub(crate) fn find(checkpoint: &Checkpoint) -> Result<Self, Fault> {
        let (wrapper, mut modules) = Modules::group(checkpoint);
        let group_norm = modules.group_norm()?;
        let stages = modules.stages()?;
        let pre_activation = is_pre_activation(&stages)?;
        let channels = stages.last().and_then(|stage| stage.blocks.last()?.convs.last());
        let channels = channels.map_or(0, |conv| conv.channels);
        let linear = modules.linear(channels)?;
        let (stem, norm) = modules.stem(pre_activation)?;
        for pair in stem.windows(2) {
            let [before, conv] = [&pair[0].conv, &pair[1].conv];
            // A convolution of a part that comes after the blocks, such as a head for segmentation.
            if !before.channels.is_multiple_of(conv.inputs) {
                return unknown(format!(
                    "`{wrapper}{}` reads {} channels, and what stands before the blocks makes {}; it has no \
                     place in a network of a stem, blocks and a classifier",
                    conv.module, conv.inputs, before.channels
                ));
            }
        }
        if let Some(name) = modules.map.keys().next() {
            let rest = modules.map.len() - 1;
            return unknown(format!(
                "`{wrapper}{name}` (and {rest} more) has no place in a residual network of rows that \
                 a table knows"
            ));
        }
        Ok(Self { stem, stages, norm, linear, pre_activation, group_norm, wrapper })
    }
}

impl Modules {
    fn group(checkpoint: &Checkpoint) -> (String, Self) {
        let names: Vec<&str> = checkpoint.tensors.keys().map(String::as_str).collect();
        let wrapper = common_prefix(&names);
        let mut map: BTreeMap<String, Parts> = BTreeMap::new();
        for (name, tensor) in &checkpoint.tensors {
            let name = &name[wrapper.len()..];
            let (module, part) = name.rsplit_once('.').unwrap_or(("", name));
            if part != "num_batches_tracked" {
                let parts = map.entry(module.to_owned()).or_default();
                parts.insert(part.to_owned(), tensor.shape.clone());
            }
        }
        (wrapper.to_owned(), Self { map })
    }

    fn shape(&self, module: &str) -> &[usize] {
        self.map.get(module).and_then(|parts| parts.get("weight")).map_or(&[], Vec::as_slice)
    }

    /// The convolution of a module, if it is one.
    fn conv(&self, module: &str) -> Option<Conv> {
        let &[channels, inputs, rows, columns] = self.shape(module) else { return None };
        let bias = self.map[module].contains_key("bias");
        let sizes = [channels, inputs, rows, columns];
        let module = module.to_owned();
        let kernel = [rows, columns];
        (!sizes.contains(&0)).then_some(Conv { module, channels, inputs, kernel, bias })
    }

    /// A scale and a shift for each channel; a batch norm has statistics too.
    fn is_norm(&self, module: &str) -> bool {
        let one = |part: &str| {
            self.map.get(module).and_then(|parts| parts.get(part)).is_some_and(|s| s.len() == 1)
        };
        one("weight") && one("bias")
    }

    /// Whether the norms are group norms, which all of them or none have to be.
    fn group_norm(&self) -> Result<bool, Fault> {
        let norms = || self.map.iter().filter(|(module, _)| self.is_norm(module));
        let without = |(_, parts): &(&String, &Parts)| !parts.contains_key("running_mean");
        match norms().find(without) {
            Some((module, _)) if !norms().all(|norm| without(&norm)) => unknown(format!(
                "`{module}` has no `running_mean`, and other norms have one; batch norm and group norm \
                 together are not known"
            )),
            found => Ok(found.is_some()),
        }
    }

    /// Takes all modules of blocks.
    fn stages(&mut self) -> Result<Vec<Stage>, Fault> {
        let mut found: BTreeMap<(usize, String), BTreeMap<usize, Vec<String>>> = BTreeMap::new();
        for module in self.map.keys() {
            if let Some(place) = Place::of(module) {
                let stage = found.entry((place.stage, place.prefix.to_owned())).or_default();
                stage.entry(place.block).or_default().push(module.clone());
            }
        }
        if found.is_empty() {
            let names = self.map.iter().flat_map(|(module, parts)| {
                let dot = if module.is_empty() { "" } else { "." };
                parts.keys().map(move |part| format!("`{module}{dot}{part}`"))
            });
            let names: Vec<String> = names.take(5).collect();
            return unknown(match &*names {
                [] => "there are no tensors in it".to_owned(),
                _ => format!(
                    "no residual blocks: expected names such as `layer1.0.conv1.weight`, found {}",
                    names.join(", ")
                ),
            });
        }
        let mut stages = Vec::new();
        for ((_, prefix), blocks) in found {
            let count = blocks.len();
            if blocks.keys().copied().ne(0..count) {
                return unknown(format!("blocks of `{prefix}` are missing"));
            }
            let blocks = blocks.values().enumerate().map(|(index, modules)| {
                let block = self.block(&format!("{prefix}.{index}"), modules);
                modules.iter().for_each(|module| drop(self.map.remove(module)));
                block
            });
            let blocks = blocks.collect::<Result<_, _>>()?;
            stages.push(Stage { prefix, blocks });
        }
        Ok(stages)
    }

    fn block(&self, prefix: &str, modules: &[String]) -> Result<Block, Fault> {
        let mut block = Block::default();
        let (mut convs, mut norms) = (BTreeMap::new(), BTreeMap::new());
        let mut shortcut = Vec::new();
        for module in modules {
            let inner = &module[prefix.len() + 1..];
            let role = role(inner);
            match (role, self.conv(module)) {
                (Some(Role::Conv(index)), Some(conv)) => drop(convs.insert(index, conv)),
                (Some(Role::Norm(index)), _) if self.is_norm(module) => {
                    let channels = self.shape(module).first().copied().unwrap_or(0);
                    norms.insert(index, Norm { module: module.clone(), channels });
                }
                (Some(Role::Shortcut), _) => shortcut.push(module.as_str()),
                (Some(Role::Attention), _) => {
                    block.attention = Some(self.attention(module)?);
                }
                (Some(Role::Norm(_)), _) => {
                    return unknown(format!(
                        "`{module}` is no norm: a scale and a shift for each channel, `weight` and `bias`, \
                         are expected"
                    ));
                }
                _ if self.map[module].contains_key("filt") => {
                    return unknown(format!(
                        "`{module}` is the filter of a blur, which is not read: leave it out of the file, and \
                         import with `--anti-alias blur`, whose filters are binomial, 3x3"
                    ));
                }
                _ => {
                    return unknown(format!(
                        "`{module}` is no part of a basic or bottleneck block that is known"
                    ));
                }
            }
        }
        let count = convs.len();
        if !(2..=3).contains(&count)
            || convs.keys().copied().ne(0..count)
            || norms.keys().copied().ne(0..count)
        {
            return unknown(format!(
                "block `{prefix}` has {count} convolutions and {} batch norms; a basic block has 2 \
                 of each, a bottleneck 3",
                norms.len()
            ));
        }
        let (kernels, kind): (&[usize], _) =
            if count == 2 { (&[3, 3], "basic block") } else { (&[1, 3, 1], "bottleneck") };
        for (conv, &kernel) in convs.values().zip(kernels) {
            if conv.kernel != [kernel, kernel] {
                let [rows, columns] = conv.kernel;
                return unknown(format!(
                    "`{}` is {rows}x{columns}; in a {kind} it is {kernel}x{kernel}",
                    conv.module
                ));
            }
        }
        block.convs = convs.into_values().collect();
        block.norms = norms.into_values().collect();
        block.shortcut = self.projection(prefix, &shortcut)?;
        Ok(block)
    }

    fn projection(&self, prefix: &str, modules: &[&str]) -> Result<Option<Projection>, Fault> {
        let mut convs = modules.iter().filter_map(|module| self.conv(module));
        let norms: Vec<_> = modules.iter().filter(|module| self.is_norm(module)).collect();
        let (conv, more) = (convs.next(), convs.next().is_some());
        match conv {
            None if modules.is_empty() => Ok(None),
            Some(conv) if !more && norms.len() <= 1 && norms.len() + 1 == modules.len() => {
                let second = conv.module.ends_with(".1");
                let norm = norms.first().map(|norm| (**norm).to_owned());
                Ok(Some(Projection { conv, norm, second }))
            }
            _ => unknown(format!(
                "the shortcut of `{prefix}` is not a convolution and a batch norm: {}",
                modules.join(", ")
            )),
        }
    }

    fn attention(&self, module: &str) -> Result<Attention, Fault> {
        let (owner, _) = module.rsplit_once('.').unwrap_or(("", module));
        let [fc1, conv] = ["fc1", "conv"].map(|part| self.shape(&format!("{owner}.{part}")));
        match (fc1, conv) {
            (&[channels, _, 1, 1] | &[channels, _], []) => {
                Ok(Attention::SqueezeExcitation(owner.to_owned(), channels))
            }
            ([], &[1, 1, kernel]) => Ok(Attention::Efficient(owner.to_owned(), kernel)),
            _ => unknown(format!(
                "`{owner}` is neither squeeze-and-excitation (`fc1`, `fc2`: 1x1 convolutions) nor \
                 efficient channel attention (`conv`: [1, 1, kernel])"
            )),
        }
    }

    /// Takes the classifier: a matrix, or a 1x1 convolution with a bias on the last block's channels.
    fn linear(&mut self, channels: usize) -> Result<Option<Linear>, Fault> {
        let found = |(module, parts): (&String, &Parts)| {
            let classes = match parts.get("weight").map(Vec::as_slice) {
                Some(&[classes, _]) => classes,
                Some(&[classes, inputs, 1, 1])
                    if inputs == channels && parts.contains_key("bias") =>
                {
                    classes
                }
                _ => return None,
            };
            Some(Linear { module: module.clone(), classes })
        };
        let mut linears: Vec<Linear> = self.map.iter().filter_map(found).collect();
        if let [first, second, ..] = &*linears {
            return unknown(format!(
                "`{}` and `{}` are both linear layers; one is known, the classifier",
                first.module, second.module
            ));
        }
        let linear = linears.pop();
        if let Some(linear) = &linear {
            self.map.remove(&linear.module);
        }
        Ok(linear)
    }

    /// Takes the convolutions that are left, with their norms; and the norm that ends a
    /// pre-activation network.
    fn stem(&mut self, pre_activation: bool) -> Result<(Vec<StemConv>, Option<String>), Fault> {
        let mut convs: Vec<Conv> = self.map.keys().filter_map(|module| self.conv(module)).collect();
        convs.sort_by_key(|conv| natural(&conv.module));
        let last = convs.len().saturating_sub(1);
        let mut stem = Vec::new();
        for (index, conv) in convs.into_iter().enumerate() {
            self.map.remove(&conv.module);
            let bare = pre_activation && index == last;
            let norm =
                norm_names(&conv.module).into_iter().find(|norm| !bare && self.is_norm(norm));
            if let Some(norm) = &norm {
                self.map.remove(norm);
            }
            stem.push(StemConv { conv, norm });
        }
        let left: Vec<String> = self.map.keys().filter(|m| self.is_norm(m)).cloned().collect();
        let [rest] = &*left else { return Ok((stem, None)) };
        if pre_activation {
            self.map.remove(rest);
            return Ok((stem, Some(rest.clone())));
        }
        if let Some(unit) = stem.last_mut().filter(|unit| unit.norm.is_none()) {
            self.map.remove(rest);
            unit.norm = Some(rest.clone());
        }
        Ok((stem, None))
    }
}

/// Whether batch norms stand before their convolutions: told by their channels, and where all are
/// alike by their names, which are timm's in the one case.
fn is_pre_activation(stages: &[Stage]) -> Result<bool, Fault> {
    let (mut before, mut after) = (true, true);
    for block in stages.iter().flat_map(|stage| &stage.blocks) {
        let mut inputs = block.convs[0].inputs;
        for (conv, norm) in block.convs.iter().zip(&block.norms) {
            before &= norm.channels == inputs;
            after &= norm.channels == conv.channels;
            inputs = conv.channels;
            if !before && !after {
                return unknown(format!(
                    "`{}` has {} channels, which go neither before `{}` nor after it",
                    norm.module, norm.channels, conv.module
                ));
            }
        }
    }
    Ok(if before && after {
        stages[0].blocks[0].norms[0].module.ends_with(".norm1")
    } else {
        before
    })
}
