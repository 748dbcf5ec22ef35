//! Finds the parts of a residual network among the names and shapes of its tensors.
//!
//! A *module* is what holds tensors: the name of a tensor without its last part. Whether a module is a
//! convolution, a norm or a linear layer is told by its tensors; what it is for, by its name.

mod block;
mod message;
mod place;
mod stages;

use std::collections::BTreeMap;

pub(crate) use self::place::block_of;
use self::place::{common_prefix, natural, norm_names};
use crate::checkpoint::{Checkpoint, Flat};
use crate::error::{Fault, unknown};

/// Tensors of a module and their shapes.
type Parts = BTreeMap<String, Vec<usize>>;

/// The parts of a network, and the names of their modules in the checkpoint.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) stem: Vec<StemConv>,
    /// In order; at least one.
    pub(crate) stages: Vec<Stage>,
    /// A convolution after the last block.
    pub(crate) final_conv: Option<StemConv>,
    /// The norm after the last block.
    pub(crate) norm: Option<String>,
    /// The norm before the classifier's layers, after the mean of pixels.
    pub(crate) head_norm: Option<String>,
    /// In order, the classifier last.
    pub(crate) linear: Vec<Linear>,
    pub(crate) pre_activation: bool,
    /// Whether norms have no statistics of their own, as group norm.
    pub(crate) group_norm: bool,
    /// What all names begin with, dots included.
    pub(crate) wrapper: String,
    /// The module whose `mean` and `std` pictures are normalised by.
    pub(crate) normalisation: Option<String>,
    /// Whose names these are, if that tells more than names do.
    pub(crate) dialect: Option<Dialect>,
}

/// Names that one family of networks has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Dialect {
    /// `s1.b1`, or torchvision's `block1.block1-0`.
    RegNet,
    /// `layer0.conv1` and `se_module`: networks that came from Caffe.
    Senet,
    /// `conv1_1x1` and `conv2_kxk`.
    Byobnet,
    /// Names without a hierarchy.
    Flat(Flat),
}

#[derive(Debug)]
pub(crate) struct StemConv {
    pub(crate) conv: Conv,
    pub(crate) norm: Option<String>,
    /// Whether it has the place of the stem's pool, and its stride.
    pub(crate) pool: bool,
}

#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) module: String,
    pub(crate) classes: usize,
    inputs: usize,
}

/// Blocks with one prefix.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) prefix: String,
    /// At least one.
    pub(crate) blocks: Vec<Block>,
}

impl Stage {
    /// Output channels.
    pub(crate) fn outputs(&self) -> usize {
        self.blocks[0].convs.last().map_or(0, |conv| conv.channels)
    }
}

#[derive(Debug)]
pub(crate) struct Block {
    /// Its name.
    pub(crate) module: String,
    /// Two or three; of a Res2Net's, the second is that of the first chunk.
    pub(crate) convs: Vec<Conv>,
    /// As many.
    pub(crate) norms: Vec<Norm>,
    /// The convolutions of a Res2Net's other chunks, all of them alike, with their norms.
    pub(crate) chunks: Vec<(Conv, Norm)>,
    pub(crate) shortcut: Option<Projection>,
    pub(crate) attention: Option<Attention>,
    /// Whether its first norm stands before its first convolution, where names number both.
    norm_first: Option<bool>,
}

impl Block {
    /// Whether any of its convolutions has a bias; a table has it for all of them.
    pub(crate) fn has_bias(&self) -> bool {
        let projection = self.shortcut.as_ref().map(|shortcut| &shortcut.conv);
        self.convs.iter().chain(projection).any(|conv| conv.bias)
    }

    /// The chunks of what the first convolution of a Res2Net's block makes; 1 in other blocks.
    pub(crate) fn scale(&self) -> usize {
        let whole = self.convs[0].channels == self.convs[1].channels;
        if self.norms[1].module.ends_with(".bns.0") && !whole { self.chunks.len() + 2 } else { 1 }
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
    /// Whether the module before it has no tensors, as the pool of ResNet-D; `None` if names do not number
    /// them.
    pub(crate) second: Option<bool>,
}

#[derive(Debug)]
pub(crate) enum Attention {
    /// Two modules, the channels between them, and those that they weigh.
    SqueezeExcitation { layers: [String; 2], middle: usize, channels: usize },
    /// A module and its kernel.
    Efficient(String, usize),
}

/// Modules by their names, without what all names begin with. What is found is taken out.
struct Modules {
    map: BTreeMap<String, Parts>,
    wrapper: String,
}

impl Network {
    /// Finds the parts. Tensors that batch norms count training steps with are left out.
    pub(crate) fn find(checkpoint: &Checkpoint) -> Result<Self, Fault> {
        let mut modules = Modules::group(checkpoint);
        modules.check_weights_are_whole()?;
        let normalisation = modules.normalisation();
        let group_norm = modules.group_norm()?;
        let stages = modules.stages()?;
        let pre_activation = is_pre_activation(&stages)?;
        let channels = stages.last().and_then(|stage| stage.blocks.last()?.convs.last());
        let channels = channels.map_or(0, |conv| conv.channels);
        let final_conv = modules.final_conv(channels);
        let channels = final_conv.as_ref().map_or(channels, |unit| unit.conv.channels);
        let linear = modules.linear(channels)?;
        let head_norm = modules.head_norm(&linear);
        let (stem, norm) = modules.stem(pre_activation, channels);
        modules.check_all_taken(&stem)?;
        let dialect = checkpoint.flat.map(Dialect::Flat).or_else(|| dialect(&stem, &stages));
        let Modules { wrapper, .. } = modules;
        Ok(Self {
            stem,
            stages,
            final_conv,
            norm,
            head_norm,
            linear,
            pre_activation,
            group_norm,
            wrapper,
            normalisation,
            dialect,
        })
    }
}

impl Network {
    /// Whether any shortcut has weights.
    pub(crate) fn projects(&self) -> bool {
        self.stages.iter().flat_map(|stage| &stage.blocks).any(|block| block.shortcut.is_some())
    }

    /// The tensors that pictures are normalised by, means and deviations, by their names in the file.
    pub(crate) fn normalisation_tensors(&self) -> Option<[String; 2]> {
        let module = self.normalisation.as_ref()?;
        let dot = if module.is_empty() { "" } else { "." };
        Some(["mean", "std"].map(|part| format!("{}{module}{dot}{part}", self.wrapper)))
    }
}

impl Modules {
    fn group(checkpoint: &Checkpoint) -> Self {
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
        Self { map, wrapper: wrapper.to_owned() }
    }

    /// Refuses weights that a module computes of others whenever it runs.
    fn check_weights_are_whole(&self) -> Result<(), Fault> {
        for (module, parts) in &self.map {
            let has = |part| parts.contains_key(part);
            let parametrised = module.ends_with("parametrizations.weight");
            let (what, remedy) = if has("weight_orig") && has("weight_mask") {
                ("pruned by a mask", "torch.nn.utils.prune.remove(module, \"weight\")")
            } else if has("weight_g") && has("weight_v") {
                ("normalised", "torch.nn.utils.remove_weight_norm(module)")
            } else if has("weight_orig") {
                ("divided by its spectral norm", "torch.nn.utils.remove_spectral_norm(module)")
            } else if parametrised {
                (
                    "parametrised",
                    "torch.nn.utils.parametrize.remove_parametrizations(module, \"weight\")",
                )
            } else {
                continue;
            };
            let module = module.trim_end_matches(".parametrizations.weight");
            return unknown(format!(
                "the weight of `{}` is {what} whenever it is used, and not in the file as it is; call `{remedy}` \
                 for each such module and save again",
                self.whole(module)
            ));
        }
        Ok(())
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

    /// The norm of a module, if it is one: a scale and a shift for each channel, or statistics.
    fn norm(&self, module: &str) -> Option<Norm> {
        let parts = self.map.get(module)?;
        let channels = |part: &str| match parts.get(part).map(Vec::as_slice) {
            Some(&[channels]) => Some(channels),
            _ => None,
        };
        let pair = |a, b| channels(a).filter(|_| channels(b).is_some());
        let channels = pair("weight", "bias").or_else(|| pair("running_mean", "running_var"))?;
        Some(Norm { module: module.to_owned(), channels })
    }

    fn is_norm(&self, module: &str) -> bool {
        self.norm(module).is_some()
    }

    /// Takes the buffers of a layer before the network that normalises pictures.
    fn normalisation(&mut self) -> Option<String> {
        let is = |parts: &Parts| {
            parts.len() == 2 && ["mean", "std"].iter().all(|&p| parts.contains_key(p))
        };
        let found =
            self.map.iter().find(|(_, parts)| is(parts)).map(|(module, _)| module.clone())?;
        self.map.remove(&found);
        Some(found)
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

    /// Takes the classifier, of one layer or of two: matrices, or a 1x1 convolution on the last block's
    /// channels that has a bias or a classifier's name.
    fn linear(&mut self, channels: usize) -> Result<Vec<Linear>, Fault> {
        const NAMES: [&str; 6] = ["fc", "linear", "classifier", "head", "last_linear", "logits"];
        let found = |(module, parts): (&String, &Parts)| {
            let named = || NAMES.contains(&module.rsplit('.').next().unwrap_or_default());
            let (classes, inputs) = match parts.get("weight").map(Vec::as_slice) {
                Some(&[classes, inputs]) => (classes, inputs),
                Some(&[classes, inputs, 1, 1])
                    if inputs == channels && (parts.contains_key("bias") || named()) =>
                {
                    (classes, inputs)
                }
                _ => return None,
            };
            Some(Linear { module: module.clone(), classes, inputs })
        };
        let mut linears: Vec<Linear> = self.map.iter().filter_map(found).collect();
        // timm's first layer of two has a name of its own, `head.pre_logits.fc` before `head.fc`.
        let hidden = |linear: &Linear| linear.module.ends_with(".pre_logits.fc");
        linears.sort_by_key(|linear| (!hidden(linear), natural(&linear.module)));
        match &*linears {
            [] | [_] => {}
            [first, second] if self.follows(first, second, channels) => {}
            [first, second, ..] => {
                return unknown(format!(
                    "`{}` and `{}` are both linear layers; one is known, the classifier, or two with a \
                     ReLU between them, the second of which reads what the first one makes",
                    first.module, second.module
                ));
            }
        }
        for linear in &linears {
            self.map.remove(&linear.module);
        }
        Ok(linears)
    }

    /// Whether two linear layers stand one after the other in one list, which has a place for an
    /// activation between them, or have timm's names for that.
    fn follows(&self, first: &Linear, second: &Linear, channels: usize) -> bool {
        let fits = first.inputs == channels && second.inputs == first.classes;
        if let Some(head) = first.module.strip_suffix("pre_logits.fc") {
            return fits && second.module.strip_suffix("fc") == Some(head);
        }
        let place = |linear: &Linear| {
            let (list, index) = linear.module.rsplit_once('.')?;
            Some((list.to_owned(), index.parse::<usize>().ok()?))
        };
        let (Some((list, at)), Some((other, next))) = (place(first), place(second)) else {
            return false;
        };
        let between = (at + 1..next).any(|index| self.map.contains_key(&format!("{list}.{index}")));
        list == other && next > at + 1 && !between && fits
    }

    /// Takes the 1x1 convolution, with a norm, that timm has between the last block and the mean of pixels.
    fn final_conv(&mut self, channels: usize) -> Option<StemConv> {
        let conv = self.conv("final_conv.conv")?;
        let norm = self.norm("final_conv.bn")?;
        if conv.kernel != [1, 1] || conv.inputs != channels || norm.channels != conv.channels {
            return None;
        }
        self.map.remove(&conv.module);
        self.map.remove(&norm.module);
        Some(StemConv { conv, norm: Some(norm.module), pool: false })
    }

    /// Takes the norm before timm's classifier of two layers.
    fn head_norm(&mut self, linear: &[Linear]) -> Option<String> {
        let [first, _] = linear else { return None };
        let name = format!("{}norm", first.module.strip_suffix("pre_logits.fc")?);
        let norm = self.norm(&name).filter(|norm| norm.channels == first.inputs)?;
        self.map.remove(&norm.module);
        Some(norm.module)
    }

    /// Takes the convolutions that are left, with their norms; and the norm that ends a
    /// pre-activation network, told by its channels.
    fn stem(&mut self, pre_activation: bool, channels: usize) -> (Vec<StemConv>, Option<String>) {
        let mut convs: Vec<Conv> = self.map.keys().filter_map(|module| self.conv(module)).collect();
        convs.sort_by_key(|conv| natural(&conv.module));
        let mut stem = Vec::new();
        for conv in convs {
            self.map.remove(&conv.module);
            let mut names = norm_names(&conv.module).into_iter();
            let norm = names
                .find(|name| self.norm(name).is_some_and(|norm| norm.channels == conv.channels));
            if let Some(norm) = &norm {
                self.map.remove(norm);
            }
            let (parent, _) = conv.module.rsplit_once('.').unwrap_or_default();
            let pool = parent.ends_with("pool");
            stem.push(StemConv { conv, norm, pool });
        }
        let left: Vec<Norm> = self.map.keys().filter_map(|module| self.norm(module)).collect();
        let mut last = None;
        match &*left {
            [rest] if pre_activation && rest.channels == channels => {
                last = Some(rest.module.clone())
            }
            [rest] => {
                let lacks = |unit: &&mut StemConv| unit.norm.is_none();
                if let Some(unit) = stem.iter_mut().rfind(lacks)
                    && unit.conv.channels == rest.channels
                {
                    self.map.remove(&rest.module);
                    unit.norm = Some(rest.module.clone());
                }
            }
            // `conv1` and a `bn1` that ends the network.
            [] if pre_activation
                && stem.last().is_some_and(|unit| unit.conv.channels == channels) =>
            {
                last = stem.last_mut().and_then(|unit| unit.norm.take());
            }
            _ => {}
        }
        if let Some(last) = &last {
            self.map.remove(last);
        }
        (stem, last)
    }
}

/// Whether norms stand before their convolutions: told by their channels, and where all are alike by
/// their order, or by their names, which are timm's in the one case.
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
    let first = &stages[0].blocks[0];
    Ok(match (before, after) {
        (true, true) => first.norm_first.unwrap_or(first.norms[0].module.ends_with(".norm1")),
        (before, _) => before,
    })
}

/// Whose names these are.
fn dialect(stem: &[StemConv], stages: &[Stage]) -> Option<Dialect> {
    let block = &stages[0].blocks[0];
    let from_caffe = |unit: &StemConv| unit.conv.module.split('.').any(|part| part == "layer0");
    match &block.attention {
        _ if ["s1.b1", "block1.block1-0"].iter().any(|name| block.module.ends_with(name)) => {
            Some(Dialect::RegNet)
        }
        _ if block.convs[0].module.contains(".conv1_") => Some(Dialect::Byobnet),
        Some(Attention::SqueezeExcitation { layers: [fc1, _], .. })
            if fc1.contains(".se_module.") && stem.iter().any(from_caffe) =>
        {
            Some(Dialect::Senet)
        }
        _ => None,
    }
}
