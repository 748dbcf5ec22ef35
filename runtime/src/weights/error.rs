//! What can be wrong with weights.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use safetensors::tensor::Dtype;

use super::file::PackedError;
use super::tensor::{Stored, TensorSpec};

/// Why weights could not be used.
#[derive(thiserror::Error)]
pub enum WeightsError {
    /// The file could not be read.
    #[error("cannot read the weights `{path}`: {reason}")]
    Open {
        /// The path as it was given.
        path: String,
        /// What the operating system says.
        reason: String,
    },
    /// The file is of another format.
    #[error("`{origin}` is {found}, but weights are read from safetensors files; {advice}")]
    Foreign {
        /// Path, or a phrase.
        origin: String,
        /// What it is.
        found: &'static str,
        /// What to do.
        advice: &'static str,
        /// Whether files of this format can be imported.
        importable: bool,
    },
    /// The file is no safetensors file, or damaged or truncated.
    #[error("`{origin}` is no valid safetensors file, or damaged: {reason}")]
    Corrupt {
        /// Path, or a phrase.
        origin: String,
        /// What the reader says.
        reason: String,
    },
    /// The file holds packed weights, but is of another version or damaged.
    #[error("`{origin}` holds packed weights and cannot be used: {reason}")]
    Packed {
        /// Path, or a phrase.
        origin: String,
        /// What is wrong.
        reason: Box<PackedError>,
    },
    /// Tensors were asked of packed weights.
    #[error(
        "`{origin}` holds packed weights, which have no tensors any more: give the safetensors \
         file that they were packed from"
    )]
    NoTensors {
        /// Path, or a phrase.
        origin: String,
    },
    /// The weights are not those of the network.
    #[error("{0}")]
    Mismatch(Box<Mismatch>),
    /// A tensor was asked for that is not there.
    #[error("`{origin}` has no tensor `{tensor}`")]
    Missing {
        /// Path, or a phrase.
        origin: String,
        /// Its name.
        tensor: String,
    },
    /// A tensor's elements are of a type that cannot be used.
    #[error(
        "`{origin}`: the elements of `{tensor}` are {dtype}; supported are F32, F16, BF16 and F64"
    )]
    Dtype {
        /// Path, or a phrase.
        origin: String,
        /// Its name.
        tensor: String,
        /// Its element type, as safetensors calls it.
        dtype: String,
    },
    /// The network was compiled for other weights to be quantised than are.
    #[error(
        "`{origin}` has {quantised} quantised layers, for which the network was not compiled: give the weights \
         to the compiler too (`Compiler::weights`)"
    )]
    NotCompiledFor {
        /// Path, or a phrase.
        origin: String,
        /// Layers that are quantised.
        quantised: usize,
    },
    /// A scale is no positive number.
    #[error(
        "`{origin}`: `{tensor}` is {value} at {index}; a scale is a positive number, and not so small that it is subnormal"
    )]
    Scale {
        /// Path, or a phrase.
        origin: String,
        /// The tensor's name.
        tensor: String,
        /// Where.
        index: usize,
        /// The value.
        value: f32,
    },
    /// Two layers read one activation as if it were quantised in two ways.
    #[error(
        "`{origin}`: `{a}` and `{b}` read the same activation, and have another `input_scale` or \
         `input_zero_point`", a = layers[0], b = layers[1]
    )]
    Scales {
        /// Path, or a phrase.
        origin: String,
        /// The layers.
        layers: [String; 2],
    },
    /// A value is infinite or not a number.
    #[error(
        "`{origin}`: `{tensor}` is {value} at {index:?}; \
         weights must be finite (and within the range of f32)"
    )]
    NonFinite {
        /// Path, or a phrase.
        origin: String,
        /// The tensor's name.
        tensor: String,
        /// Where.
        index: Vec<usize>,
        /// The value.
        value: f32,
    },
}

/// As `Display`: a `main` that returns an error, and `unwrap`, print it so.
impl fmt::Debug for WeightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A tensor that weights have.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its shape.
    pub shape: &'a [usize],
    /// Its element type.
    pub dtype: Dtype,
}

/// Everything in which weights differ from what a network needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    /// Where the weights come from.
    pub origin: String,
    /// Name and shape of tensors that the network needs and the weights lack.
    pub missing: Vec<(String, Vec<usize>)>,
    /// Name and shape of tensors that the network does not have.
    pub surplus: Vec<(String, Vec<usize>)>,
    /// Name, the network's shape, and the weights' shape.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// Name and element type of needed tensors whose elements are something else, and what they
    /// should be.
    pub unsupported: Vec<(String, String, Stored)>,
    /// A prefix that all names of the weights have, without which none would be missing.
    pub prefix: Option<String>,
}

impl Mismatch {
    /// The differences, or `None` if everything fits.
    pub(super) fn between<'a>(
        origin: &str,
        found: impl Iterator<Item = Found<'a>>,
        tensors: &[TensorSpec],
    ) -> Option<Self> {
        let needed: BTreeMap<&str, &TensorSpec> = tensors.iter().map(|t| (&*t.name, t)).collect();
        let found: BTreeMap<&str, Found> = found.map(|f| (f.name, f)).collect();
        let mut mismatch = Self {
            origin: origin.to_owned(),
            missing: Vec::new(),
            surplus: Vec::new(),
            misshapen: Vec::new(),
            unsupported: Vec::new(),
            prefix: None,
        };
        // In the network's order, so that the first report is of the first layer.
        for spec in tensors {
            let (name, shape) = (spec.name.to_string(), spec.shape.to_vec());
            match found.get(&*spec.name) {
                None => mismatch.missing.push((name, shape)),
                Some(found) if !same_shape(found.shape, &shape) => {
                    mismatch.misshapen.push((name, shape, found.shape.to_vec()));
                }
                Some(found) if !spec.stored.takes(found.dtype) => {
                    mismatch.unsupported.push((name, format!("{:?}", found.dtype), spec.stored));
                }
                Some(_) => {}
            }
        }
        for found in found.values() {
            if !needed.contains_key(found.name) && !is_counter(found.name) {
                mismatch.surplus.push((found.name.into(), found.shape.to_vec()));
            }
        }
        if mismatch.count() == 0 {
            return None;
        }
        mismatch.prefix = common_prefix(&needed, &found);
        Some(mismatch)
    }

    /// How many tensors differ.
    pub fn count(&self) -> usize {
        self.missing.len() + self.surplus.len() + self.misshapen.len() + self.unsupported.len()
    }
}

/// Whether two shapes differ in no more than ones at their ends: the weights of a linear layer and
/// of a 1x1 convolution are the same numbers in the same order.
fn same_shape(a: &[usize], b: &[usize]) -> bool {
    let common = a.len().min(b.len());
    let (rest_a, rest_b) = (&a[common..], &b[common..]);
    a[..common] == b[..common] && rest_a.iter().chain(rest_b).all(|&size| size == 1)
}

/// PyTorch's counter of training steps, which every batch norm carries and inference ignores.
fn is_counter(name: &str) -> bool {
    name == "num_batches_tracked" || name.ends_with(".num_batches_tracked")
}

/// A prefix such as `module.` that a training wrapper put before every name.
fn common_prefix(
    needed: &BTreeMap<&str, &TensorSpec>,
    found: &BTreeMap<&str, Found>,
) -> Option<String> {
    let (first, names) = (needed.keys().next()?, found.keys());
    let prefixes: BTreeSet<&str> = names
        .filter_map(|name| name.strip_suffix(first))
        .filter(|prefix| prefix.ends_with('.'))
        .collect();
    let fits = |prefix: &&&str| needed.keys().all(|n| found.contains_key(&*format!("{prefix}{n}")));
    prefixes.iter().find(fits).map(|prefix| prefix.to_string())
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` does not fit the network", self.origin)?;
        let named = |(name, shape): &(String, Vec<usize>)| format!("{name} {shape:?}");
        section(f, "missing", &self.missing, named)?;
        section(f, "that the network does not have", &self.surplus, named)?;
        section(f, "of another shape", &self.misshapen, |(name, wanted, found)| {
            format!("{name}: the network has {wanted:?}, the weights have {found:?}")
        })?;
        section(
            f,
            "of an unsupported element type",
            &self.unsupported,
            |(name, dtype, stored)| format!("{name}: {dtype}; supported are {}", stored.words()),
        )?;
        if let Some(prefix) = &self.prefix {
            write!(f, "\nevery name would fit without its prefix `{prefix}`: rename the tensors")?;
        }
        Ok(())
    }
}

/// A heading with the number of items, and the first of them, one a line.
fn section<T>(
    f: &mut fmt::Formatter<'_>,
    heading: &str,
    items: &[T],
    line: impl Fn(&T) -> String,
) -> fmt::Result {
    /// Enough to see the pattern, few enough to keep the next heading on the screen.
    const SHOWN: usize = 20;
    if items.is_empty() {
        return Ok(());
    }
    let plural = if items.len() == 1 { "tensor" } else { "tensors" };
    write!(f, "\n{} {plural} {heading}:", items.len())?;
    for item in items.iter().take(SHOWN) {
        write!(f, "\n  {}", line(item))?;
    }
    if items.len() > SHOWN {
        write!(f, "\n  and {} more", items.len() - SHOWN)?;
    }
    Ok(())
}
