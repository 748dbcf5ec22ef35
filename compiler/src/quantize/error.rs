//! What can be wrong with a quantisation.

use std::fmt;
use std::io;

use resnet_runtime::weights::LoadError;

use crate::network::CompileError;

/// Why a network could not be quantised.
#[derive(thiserror::Error)]
pub enum QuantizeError {
    /// The f32 network cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Its weights cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The weights are quantised.
    #[error(
        "`{origin}` is quantised already (it has `{tensor}`): quantise the weights in f32 that it was made of"
    )]
    Already {
        /// Where the weights come from.
        origin: String,
        /// A tensor that only quantised weights have.
        tensor: String,
    },
    /// A layer that is to stay in f32 does not exist.
    #[error("there is no layer `{name}` to keep{}\nlayers: {}", did_you_mean(near), some(layers))]
    UnknownLayer {
        /// The name.
        name: String,
        /// Names that are nearly the same.
        near: Vec<String>,
        /// All layers that have weights to quantise.
        layers: Vec<String>,
    },
    /// Every layer stays in f32.
    #[error("`{network}` has nothing to quantise{}", because(reasons))]
    Nothing {
        /// The network's name.
        network: String,
        /// Why each layer stays in f32.
        reasons: Vec<String>,
    },
    /// There is no picture to calibrate on.
    #[error("{}", no_pictures(*failed))]
    NoPictures {
        /// Pictures that could not be had.
        failed: usize,
    },
    /// An activation is infinite or not a number.
    #[error(
        "`{layer}` reads {value} in picture {picture}: the network itself fails there, or the picture is no \
         picture of numbers"
    )]
    NonFinite {
        /// The layer that reads it.
        layer: String,
        /// The picture, from 0 on.
        picture: usize,
        /// The value.
        value: f32,
    },
    /// No memory for sessions.
    #[error("no memory for the network's activations: {0}")]
    Memory(io::Error),
    /// The operating system starts no thread more.
    #[error("cannot start threads: {0}")]
    Start(io::Error),
    /// The tensors cannot be written as a safetensors file.
    #[error("cannot make a safetensors file: {0}")]
    Format(String),
}

/// As `Display`: a `main` that returns an error, and `unwrap`, print it so.
impl fmt::Debug for QuantizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Enough to see the pattern.
const SHOWN: usize = 20;

fn some(names: &[String]) -> String {
    let more = if names.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", names[..names.len().min(SHOWN)].join(", "))
}

fn because(reasons: &[String]) -> String {
    let lines: String = reasons.iter().take(SHOWN).map(|reason| format!("\n  {reason}")).collect();
    let more = reasons.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    if reasons.is_empty() {
        ": it has neither convolutions nor linear layers".to_owned()
    } else {
        format!(":{lines}{rest}")
    }
}

fn did_you_mean(near: &[String]) -> String {
    let near: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
    if near.is_empty() { String::new() } else { format!(": did you mean {}?", near.join(" or ")) }
}

fn no_pictures(failed: usize) -> String {
    match failed {
        0 => "there are no pictures to calibrate on".to_owned(),
        _ => format!("none of the {failed} pictures to calibrate on could be read"),
    }
}
