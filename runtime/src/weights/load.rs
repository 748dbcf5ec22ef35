//! From a weights file to the packed weights of a network.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::error::WeightsError;
use super::file::{PackedError, PackedFile, to_little_endian};
use super::pack::{Folded, Norm, PackError, Packer, numbers, pack_norm};
use super::packed::Packed;
use super::quantised;
use super::recipe::{Content, ConvSource, Recipe, Slice, WeightsPlan};
use super::source::Weights;
use super::tensor::NormTensors;
use crate::kernels::{Panels, UnavailableIsa};
use crate::memory::Buffer;

/// Why weights could not be loaded.
#[derive(thiserror::Error)]
pub enum LoadError {
    /// The weights do not fit the network, or cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A layer's weights cannot be folded and packed.
    #[error("{origin}: `{tensor}` and its batch norm cannot be folded: {reason}")]
    Pack {
        /// The weights file.
        origin: String,
        /// The layer's weight tensor.
        tensor: String,
        /// What is wrong.
        reason: PackError,
    },
    /// Packed weights are for another network or another way to compute it, or damaged.
    #[error("`{origin}` cannot be used: {reason}")]
    Packed {
        /// The file of packed weights.
        origin: String,
        /// What is wrong.
        reason: Box<PackedError>,
    },
    /// The CPU lacks the instruction set that was asked for.
    #[error(transparent)]
    Isa(#[from] UnavailableIsa),
    /// No memory for the packed weights.
    #[error("no memory for {bytes} bytes of packed weights: {reason}")]
    Memory {
        /// Bytes asked for.
        bytes: usize,
        /// What the operating system said.
        reason: std::io::Error,
    },
}

/// As `Display`: a `main` that returns an error, and `unwrap`, print it so.
impl fmt::Debug for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Folds batch norms and packs each recipe of `plan` at its offset, on up to `threads` threads;
/// the result does not depend on their number. Weights that are packed already are checked, and
/// mapped as they are.
///
/// A panel's weights are read, folded and packed at a time, so that hardly more than the result has
/// to be in memory.
///
/// # Errors
///
/// Tensors that are missing, left over or misshapen (all in one message), values that cannot be
/// folded, or no memory.
///
/// # Panics
///
/// If a recipe reaches over the plan's `bytes`, or recipes overlap or do not rise.
pub fn load(
    plan: &WeightsPlan,
    weights: &Weights,
    threads: NonZeroUsize,
) -> Result<Packed, LoadError> {
    if let Some(file) = weights.packed() {
        return load_packed(plan, file, weights.origin(), threads);
    }
    let quantised = weights.quantised();
    if !quantised.iter().map(String::as_str).eq(plan.quantised().collect::<BTreeSet<_>>()) {
        return Err(LoadError::Weights(WeightsError::NotCompiledFor {
            origin: weights.origin().to_owned(),
            quantised: quantised.len(),
        }));
    }
    weights.check(&plan.tensors)?;
    let mut packed = buffer(plan.bytes)?;
    let mut jobs = Vec::new();
    for (recipe, out) in cut(&plan.recipes, packed.as_mut_bytes()) {
        match &recipe.content {
            Content::Conv { source, panels } => conv(source, *panels, weights, out, &mut jobs)?,
            Content::Quantised { source, panels } => {
                quantised::pack(source, panels, weights, out)?;
            }
            Content::Scale { weight } => {
                quantised::pack_conversions(weight, weights, out)?;
            }
            Content::Norm { norm, channels } => {
                let values = NormValues::read(norm, weights)?;
                pack_norm(*channels, values.norm(), numbers(out))
                    .map_err(|reason| cannot_pack(weights, &norm.weight, reason))?;
            }
            Content::Vector { weight, channels } => {
                // `weights.check` has seen to the length; the rest is padding, zero already.
                numbers(out)[..*channels].copy_from_slice(&weights.tensor(weight)?.values);
            }
        }
    }
    // A thread is worth its start if it saves more than that: packing is about as fast as memory.
    let threads = threads.get().min(plan.bytes / BYTES_PER_THREAD + 1);
    work(jobs, threads, |job, values| {
        job.read(weights, values)?;
        job.packer.pack(job.panel, values, job.out);
        Ok(())
    })?;
    Ok(Packed::Owned(packed))
}

/// The places of recipes, by rising offsets, in the packed weights.
fn cut<'a>(recipes: &'a [Recipe], packed: &'a mut [u8]) -> Vec<(&'a Recipe, &'a mut [u8])> {
    let (mut rest, mut start) = (packed, 0);
    let mut parts = Vec::with_capacity(recipes.len());
    for recipe in recipes {
        let (_, behind) = rest.split_at_mut(recipe.offset - start);
        let (own, behind) = behind.split_at_mut(recipe.content.bytes());
        (rest, start) = (behind, recipe.range().end);
        parts.push((recipe, own));
    }
    parts
}

fn buffer(bytes: usize) -> Result<Buffer, LoadError> {
    Buffer::zeroed(bytes).map_err(|reason| LoadError::Memory { bytes, reason })
}

fn load_packed(
    plan: &WeightsPlan,
    file: &Arc<PackedFile>,
    origin: &str,
    threads: NonZeroUsize,
) -> Result<Packed, LoadError> {
    file.check(plan, threads)
        .map_err(|reason| LoadError::Packed { origin: origin.to_owned(), reason: reason.into() })?;
    if file.is_mapped() && cfg!(target_endian = "little") {
        return Ok(Packed::Mapped(Arc::clone(file)));
    }
    let mut packed = buffer(plan.bytes)?;
    packed.as_mut_bytes().copy_from_slice(file.elements());
    to_little_endian(plan, packed.as_mut_bytes());
    Ok(Packed::Owned(packed))
}

/// Packed weights that are worth a thread.
const BYTES_PER_THREAD: usize = 1 << 20;

/// A panel to pack.
struct Job<'a> {
    source: &'a ConvSource,
    packer: Arc<Packer>,
    panel: usize,
    /// The panel's bytes of the packed weights.
    out: &'a mut [u8],
}

impl Job<'_> {
    /// Reads what the panel is made of.
    fn read(&self, weights: &Weights, values: &mut Vec<f32>) -> Result<(), LoadError> {
        let ConvSource { weight, slice, .. } = self.source;
        let Some(slice) = slice else {
            return Ok(weights.read_range(weight, self.packer.source(self.panel), values)?);
        };
        let shape = self.packer.shape();
        let kernel = shape.kernel_len();
        let rows = slice.rows(&self.packer.channels(self.panel), kernel);
        weights.read_range(weight, rows, values)?;
        slice.cut(values, shape.in_channels, kernel);
        Ok(())
    }
}

/// Reads what a convolution's weights are folded with, writes its bias, and leaves its panels as jobs.
fn conv<'a>(
    source: &'a ConvSource,
    panels: Panels,
    weights: &Weights,
    out: &'a mut [u8],
    jobs: &mut Vec<Job<'a>>,
) -> Result<(), LoadError> {
    let channels = panels.shape.out_channels;
    let Slice { of, at } = source.slice.unwrap_or(Slice { of: [channels, 0], at: [0, 0] });
    if source.slice.is_some()
        && (panels.shape.groups != 1
            || at[0] + channels > of[0]
            || at[1] + panels.shape.in_channels > of[1])
    {
        let reason = PackError::Recipe("a slice reaches over its tensor");
        return Err(cannot_pack(weights, &source.weight, reason));
    }
    // Of a sum of several, the first has the bias and the shift.
    let with = FoldedIn::read(source, weights)?.cut(at[0]..at[0] + channels, at[1] == 0);
    let packer = Packer::new(panels, with.bias.as_deref(), with.norm())
        .map_err(|reason| cannot_pack(weights, &source.weight, reason))?
        .standardising(source.standardise);
    let packer = Arc::new(packer);
    let (out, biases) = out.split_at_mut(panels.bias_offset());
    packer.pack_biases(numbers(biases));
    let panel_bytes = panels.panel_len() * panels.format.element.bytes();
    let outs = out.chunks_mut(panel_bytes).enumerate();
    jobs.extend(outs.map(|(panel, out)| Job { source, packer: Arc::clone(&packer), panel, out }));
    Ok(())
}

/// Reads a convolution's weights, bias and batch norm, and folds them into one another.
///
/// # Errors
///
/// A tensor that is not there or cannot be read, or a variance that is not positive.
pub fn fold(source: &ConvSource, weights: &Weights) -> Result<Folded, LoadError> {
    let weight = weights.tensor(&source.weight)?;
    let channels = weight.shape.first().copied().unwrap_or(0);
    let with = FoldedIn::read(source, weights)?;
    Folded::new(channels, &weight.values, with.bias.as_deref(), with.norm(), source.standardise)
        .map_err(|reason| cannot_pack(weights, &source.weight, reason))
}

/// What is folded into a convolution's weights.
struct FoldedIn {
    bias: Option<Vec<f32>>,
    norm: Option<NormValues>,
}

impl FoldedIn {
    fn read(source: &ConvSource, weights: &Weights) -> Result<Self, WeightsError> {
        let bias = source.bias.as_ref().map(|name| weights.tensor(name)).transpose()?;
        let norm =
            source.norm.as_ref().map(|names| NormValues::read(names, weights)).transpose()?;
        Ok(Self { bias: bias.map(|bias| bias.values), norm })
    }

    /// That of some output channels. A part of a sum that `adds` nothing but its products has neither
    /// bias nor shift.
    fn cut(self, outputs: Range<usize>, adds: bool) -> Self {
        let of = |values: Vec<f32>| values[outputs.clone()].to_vec();
        let added = |values| if adds { of(values) } else { vec![0.0; outputs.len()] };
        let norm = self.norm.map(|norm| NormValues {
            weight: of(norm.weight),
            bias: added(norm.bias),
            mean: added(norm.mean),
            variance: of(norm.variance),
            epsilon: norm.epsilon,
        });
        Self { bias: self.bias.filter(|_| adds).map(of), norm }
    }

    fn norm(&self) -> Option<Norm<'_>> {
        self.norm.as_ref().map(NormValues::norm)
    }
}

/// The values of a batch norm's tensors.
struct NormValues {
    weight: Vec<f32>,
    bias: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
    epsilon: f64,
}

impl NormValues {
    fn read(names: &NormTensors, weights: &Weights) -> Result<Self, WeightsError> {
        let values = |name: &str| weights.tensor(name).map(|tensor| tensor.values);
        Ok(Self {
            weight: values(&names.weight)?,
            bias: values(&names.bias)?,
            mean: values(&names.mean)?,
            variance: values(&names.variance)?,
            epsilon: names.epsilon,
        })
    }

    fn norm(&self) -> Norm<'_> {
        let Self { weight, bias, mean, variance, epsilon } = self;
        Norm { weight, bias, mean, variance, epsilon: *epsilon }
    }
}

fn cannot_pack(weights: &Weights, tensor: &str, reason: PackError) -> LoadError {
    let (origin, tensor) = (weights.origin().to_owned(), tensor.to_owned());
    LoadError::Pack { origin, tensor, reason }
}

/// Does all jobs on `threads` threads, this one among them. If some fail, the error is that of the
/// first one: jobs are taken in order, so that none before it was left out.
fn work<'a>(
    jobs: Vec<Job<'a>>,
    threads: usize,
    run: impl Fn(Job<'a>, &mut Vec<f32>) -> Result<(), LoadError> + Sync,
) -> Result<(), LoadError> {
    let jobs = Mutex::new(jobs.into_iter().enumerate());
    let take = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
    // Each thread has one buffer for the weights as the file has them.
    let worker = || {
        let mut values = Vec::new();
        while let Some((index, job)) = take() {
            run(job, &mut values).map_err(|error| (index, error))?;
        }
        Ok(())
    };
    let results = thread::scope(|scope| {
        // Where the operating system refuses a thread, the others do its work.
        let others: Vec<_> = (1..threads)
            .map_while(|_| thread::Builder::new().spawn_scoped(scope, worker).ok())
            .collect();
        let own = worker();
        let others = others
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        others.chain([own]).collect::<Vec<_>>()
    });
    let errors = results.into_iter().filter_map(Result::err);
    errors.min_by_key(|(index, _)| *index).map_or(Ok(()), |(_, error)| Err(error))
}

/// As many threads as this process may use at a time.
pub fn all_threads() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
