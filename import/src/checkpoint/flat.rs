//! Names of layers without a hierarchy, as Keras's and Caffe's networks have them, as if they were torchvision's.
//!
//! `conv2_block1_1_conv/kernel` (keras.applications since 2.2.3), `res2a_branch2a` with `bn2a_branch2a` (Caffe, and
//! keras.applications before). What a tensor is called tells how it lies: Keras's `kernel` has its output channels
//! last, PyTorch's `weight` first.

use std::collections::{BTreeMap, BTreeSet};

use super::{Checkpoint, Elements, Stored, pickle};
use crate::error::{Fault, unknown};

/// Whose names they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flat {
    /// `conv2_block1_1_conv`, Keras's since 2.2.3.
    Keras,
    /// `res2a_branch2a` with Keras's tensors.
    FirstKeras,
    /// `res2a_branch2a` with PyTorch's.
    Caffe,
}

impl Flat {
    pub(crate) fn whose(self) -> &'static str {
        match self {
            Self::Keras => "keras.applications",
            Self::FirstKeras => "keras.applications before 2.2.3",
            Self::Caffe => "Caffe's networks",
        }
    }
}

/// A tensor's name in its file: `resnet50/conv1_conv/kernel:0`.
struct Name<'a> {
    /// What stands before the layer's.
    outer: Vec<&'a str>,
    layer: &'a str,
    part: &'a str,
}

impl<'a> Name<'a> {
    fn of(name: &'a str) -> Option<Self> {
        let name = name.strip_suffix(":0").unwrap_or(name);
        let mut parts: Vec<&str> = name.split(['/', '.']).filter(|part| !part.is_empty()).collect();
        let part = parts.pop()?;
        let layer = parts.pop()?;
        // In the files of Keras 2 a layer's tensors stand in a group of its name.
        while parts.last() == Some(&layer) {
            parts.pop();
        }
        Some(Self { outer: parts, layer, part })
    }
}

/// Where torchvision has a layer, and whether it is one of a block.
struct Module {
    name: String,
    is_norm: bool,
    in_block: bool,
}

fn module(layer: &str) -> Option<Module> {
    let of_stem = |name: &str, is_norm| Module { name: name.to_owned(), is_norm, in_block: false };
    match layer {
        "conv1_conv" | "conv1" => return Some(of_stem("conv1", false)),
        "conv1_bn" | "bn_conv1" | "scale_conv1" => return Some(of_stem("bn1", true)),
        _ => {}
    }
    let (stage, block, index, is_norm) = of_keras(layer).or_else(|| of_caffe(layer))?;
    let inner = match (index, is_norm) {
        (0, _) => format!("downsample.{}", usize::from(is_norm)),
        (_, false) => format!("conv{index}"),
        (_, true) => format!("bn{index}"),
    };
    let name = format!("layer{}.{block}.{inner}", stage.checked_sub(1).filter(|&stage| stage > 0)?);
    Some(Module { name, is_norm, in_block: true })
}

/// Stage, block from 0, convolution in it with 0 for the projection, and whether it is the norm:
/// `conv2_block1_0_bn`.
fn of_keras(layer: &str) -> Option<(usize, usize, usize, bool)> {
    let (stage, rest) = layer.strip_prefix("conv")?.split_once("_block")?;
    let (block, rest) = rest.split_once('_')?;
    let (index, kind) = rest.split_once('_')?;
    let is_norm = match kind {
        "conv" => false,
        "bn" => true,
        _ => return None,
    };
    Some((number(stage)?, number(block)?.checked_sub(1)?, number(index)?, is_norm))
}

/// The same of `res2a_branch1`, `bn4b22_branch2c`.
fn of_caffe(layer: &str) -> Option<(usize, usize, usize, bool)> {
    let (block, branch) = layer.split_once("_branch")?;
    let (is_norm, block) = match block.strip_prefix("res") {
        Some(block) => (false, block),
        None => (true, block.strip_prefix("bn").or_else(|| block.strip_prefix("scale"))?),
    };
    let letter = block.find(|c: char| !c.is_ascii_digit())?;
    let (stage, block) = block.split_at(letter);
    // The blocks of a deep stage are `a`, `b1`, `b2` and so on.
    let block = match block.as_bytes() {
        [letter @ b'a'..=b'z'] => usize::from(letter - b'a'),
        [b'b', ..] => number(&block[1..]).filter(|&number| number > 0)?,
        _ => return None,
    };
    let index = match branch {
        "1" => 0,
        "2a" => 1,
        "2b" => 2,
        "2c" => 3,
        _ => return None,
    };
    Some((number(stage)?, block, index, is_norm))
}

fn number(text: &str) -> Option<usize> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// PyTorch's name of a part, and whether it lies as Keras has it.
fn part(name: &str) -> Option<(&'static str, bool)> {
    Some(match name {
        "kernel" => ("weight", true),
        "gamma" => ("weight", false),
        "beta" => ("bias", false),
        "moving_mean" => ("running_mean", false),
        "moving_variance" | "moving_var" => ("running_var", false),
        "weight" => ("weight", false),
        "bias" => ("bias", false),
        "running_mean" => ("running_mean", false),
        "running_var" => ("running_var", false),
        "num_batches_tracked" => ("num_batches_tracked", false),
        _ => return None,
    })
}

impl Checkpoint {
    /// Calls the tensors as torchvision does, if they have names of Keras's or Caffe's networks.
    pub(super) fn unflatten(mut self) -> Result<Self, Fault> {
        let names =
            || self.tensors.keys().chain(self.unread.keys()).filter_map(|name| Name::of(name));
        let found = names().find(|name| module(name.layer).is_some_and(|module| module.in_block));
        if let Some(name) = names().find(|name| name.layer.ends_with("_preact_bn")) {
            return unknown(format!(
                "`{}` is one of keras.applications' ResNet-V2, which have the strides of stages in their last \
                 blocks; they are not read",
                name.layer
            ));
        }
        let Some(found) = found else { return Ok(self) };
        let first_keras = names().any(|name| name.part == "kernel");
        let flat = match of_keras(found.layer) {
            Some(_) => Flat::Keras,
            None if first_keras => Flat::FirstKeras,
            None => Flat::Caffe,
        };
        let mut tensors = BTreeMap::new();
        let mut norms: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
        for (whole, stored) in std::mem::take(&mut self.tensors) {
            let name = Name::of(&whole).filter(|name| part(name.part).is_some());
            let Some(name) = name else {
                return unknown(format!(
                    "`{whole}`, among names of {}, is neither a `kernel`, `bias`, `gamma`, `beta`, `moving_mean` or \
                     `moving_variance` of a layer, as in Keras, nor a `weight`, `bias`, `running_mean` or \
                     `running_var`, as in PyTorch: how it lies is not known",
                    flat.whose()
                ));
            };
            let (part, of_keras) = part(name.part).unwrap_or_default();
            let known = module(name.layer);
            let layer = known.as_ref().map_or(name.layer, |module| &*module.name);
            let outer: String = name.outer.iter().map(|outer| format!("{outer}.")).collect();
            let layer = format!("{outer}{layer}");
            if known.is_some_and(|module| module.is_norm) {
                norms.entry(layer.clone()).or_default().insert(part);
            }
            let new = format!("{layer}.{part}");
            let stored = if of_keras { outputs_first(stored) } else { stored };
            if tensors.insert(new.clone(), stored).is_some() {
                return unknown(format!("`{whole}` is a second `{new}`, as torchvision calls it"));
            }
        }
        // Scales and shifts alone would be taken for a group norm.
        for (norm, parts) in norms {
            if !parts.contains("running_mean") || !parts.contains("running_var") {
                return unknown(format!(
                    "`{norm}`, as torchvision calls it, has no mean and variance: {} have batch norms with both; \
                     scales and shifts alone are those of another network, or folded",
                    flat.whose()
                ));
            }
        }
        self.tensors = tensors;
        self.notes.push(format!(
            "the names are those of {}, and the tensors are called as torchvision has them",
            flat.whose()
        ));
        self.flat = Some(flat);
        Ok(self)
    }
}

/// Keras's `kernel`, rows x columns x inputs x outputs, as outputs x inputs x rows x columns, and a matrix
/// likewise.
fn outputs_first(stored: Stored) -> Stored {
    let order: &[usize] = match stored.shape.len() {
        4 => &[3, 2, 0, 1],
        2 => &[1, 0],
        _ => return stored,
    };
    let Elements::At { file, start, strides } = stored.elements else { return stored };
    let strides = strides.unwrap_or_else(|| pickle::strides(&stored.shape, false));
    let turned = |sizes: &[usize]| order.iter().map(|&axis| sizes[axis]).collect::<Vec<_>>();
    Stored {
        shape: turned(&stored.shape),
        elements: Elements::At { file, start, strides: Some(turned(&strides)) },
        ..stored
    }
}
