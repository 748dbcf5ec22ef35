//! From a weights file to the packed weights of a network.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::kernels::{Isa, UnavailableIsa};
use crate::memory::Buffer;
use crate::pack::{Norm, PackError, Packer, pack_norm};
use crate::packed::{PackedError, PackedFile};
use crate::session::Packed;
use crate::tensors::{ConvRecipe, NormTensors, TensorSpec, VectorRecipe, VectorSource};
use crate::weights::{Weights, WeightsError};

/// How to load a network that `resnet!` compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The instruction set whose kernels are called; the best one of this CPU if none is named.
    pub isa: Option<Isa>,
    /// Threads that pack weights; as many as this process may use if there is no number.
    pub threads: Option<NonZeroUsize>,
}

/// Why weights could not be loaded.
#[derive(Debug, thiserror::Error)]
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

/// What a compiled network asks of weights.
#[derive(Clone, Copy, Debug)]
pub struct Packing<'a> {
    /// The network's name.
    pub network: &'a str,
    /// A fingerprint of its table: of operators and shapes, whatever their names.
    pub table: u64,
    /// The tensors that a weights file has to hold.
    pub tensors: &'a [TensorSpec],
    /// How each convolution's weights are packed.
    pub recipes: &'a [ConvRecipe],
    /// How what stands beside activations is packed.
    pub vectors: &'a [VectorRecipe],
    /// Elements of the packed weights.
    pub len: usize,
}

/// Folds batch norms and packs each recipe of `packing` at its offset, on up to `threads` threads;
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
/// If a recipe reaches over `packing.len`, or recipes overlap.
pub fn load(
    packing: &Packing<'_>,
    weights: &Weights,
    threads: NonZeroUsize,
) -> Result<Packed, LoadError> {
    if let Some(file) = weights.packed() {
        return load_packed(packing, file, weights.origin(), threads);
    }
    let Packing { tensors, recipes, vectors, len, .. } = *packing;
    weights.check(tensors)?;
    let packers: Vec<Packer<'_>> =
        recipes.iter().map(|recipe| packer(recipe, weights)).collect::<Result<_, _>>()?;
    let mut packed = buffer(len)?;
    for recipe in vectors {
        let out = &mut packed.as_mut_slice()[recipe.offset..][..recipe.len()];
        load_vector(recipe, weights, out)?;
    }
    let jobs = jobs(recipes, &packers, packed.as_mut_slice());
    // A thread is worth its start if it saves more than that: packing is about as fast as memory.
    let threads = threads.get().min(len * size_of::<f32>() / BYTES_PER_THREAD + 1);
    work(jobs, threads, |job, values| {
        let name = &job.packer.recipe().weight;
        weights.read(name, job.packer.source(job.panel), values)?;
        job.packer.pack_panel(job.panel, values, job.out);
        Ok(())
    })?;
    Ok(Packed::Owned(packed))
}

fn buffer(len: usize) -> Result<Buffer, LoadError> {
    Buffer::zeroed(len).map_err(|reason| LoadError::Memory { bytes: len.saturating_mul(4), reason })
}

fn load_packed(
    packing: &Packing<'_>,
    file: &Arc<PackedFile>,
    origin: &str,
    threads: NonZeroUsize,
) -> Result<Packed, LoadError> {
    file.check(packing, threads)
        .map_err(|reason| LoadError::Packed { origin: origin.to_owned(), reason: reason.into() })?;
    if file.is_mapped() && cfg!(target_endian = "little") {
        return Ok(Packed::Mapped(Arc::clone(file)));
    }
    let mut packed = buffer(packing.len)?;
    let (elements, _) = file.elements().as_chunks();
    for (out, element) in packed.as_mut_slice().iter_mut().zip(elements) {
        *out = f32::from_le_bytes(*element);
    }
    Ok(Packed::Owned(packed))
}

/// Packed weights that are worth a thread.
const BYTES_PER_THREAD: usize = 1 << 20;

/// Reads what a convolution's weights are folded with.
fn packer<'a>(recipe: &'a ConvRecipe, weights: &Weights) -> Result<Packer<'a>, LoadError> {
    let bias = recipe.bias.as_ref().map(|name| weights.tensor(name)).transpose()?;
    let bias = bias.as_ref().map(|bias| &bias.values[..]);
    let new = |norm: Option<Norm<'_>>| {
        Packer::new(recipe, bias, norm).map_err(|reason| LoadError::Pack {
            origin: weights.origin().to_owned(),
            tensor: recipe.weight.clone(),
            reason,
        })
    };
    match &recipe.norm {
        Some(names) => with_norm(names, weights, |norm| new(Some(norm))),
        None => new(None),
    }
}

fn load_vector(recipe: &VectorRecipe, weights: &Weights, out: &mut [f32]) -> Result<(), LoadError> {
    match &recipe.source {
        VectorSource::Tensor(name) => {
            let tensor = weights.tensor(name)?;
            // `weights.check` has seen to the length; the rest is padding, zero already.
            out[..recipe.channels].copy_from_slice(&tensor.values);
            Ok(())
        }
        VectorSource::Norm(names) => with_norm(names, weights, |norm| {
            pack_norm(recipe, norm, out).map_err(|reason| LoadError::Pack {
                origin: weights.origin().to_owned(),
                tensor: names.weight.clone(),
                reason,
            })
        }),
    }
}

/// Reads a batch norm's tensors for `pack`.
fn with_norm<T>(
    names: &NormTensors,
    weights: &Weights,
    pack: impl FnOnce(Norm<'_>) -> Result<T, LoadError>,
) -> Result<T, LoadError> {
    let scale = weights.tensor(&names.weight)?;
    let shift = weights.tensor(&names.bias)?;
    let mean = weights.tensor(&names.mean)?;
    let variance = weights.tensor(&names.variance)?;
    pack(Norm {
        weight: &scale.values,
        bias: &shift.values,
        mean: &mean.values,
        variance: &variance.values,
        epsilon: names.epsilon,
    })
}

/// A panel to pack.
struct Job<'a> {
    packer: &'a Packer<'a>,
    panel: usize,
    out: &'a mut [f32],
}

/// Writes the biases and cuts the panels out of the packed weights, in the order of their offsets.
fn jobs<'a>(
    recipes: &'a [ConvRecipe],
    packers: &'a [Packer<'a>],
    packed: &'a mut [f32],
) -> Vec<Job<'a>> {
    let mut order: Vec<usize> = (0..recipes.len()).collect();
    order.sort_by_key(|&index| recipes[index].offset);
    let mut jobs = Vec::new();
    let (mut rest, mut start) = (packed, 0);
    for index in order {
        let (recipe, packer) = (&recipes[index], &packers[index]);
        let (_, behind) = rest.split_at_mut(recipe.offset - start);
        let (own, behind) = behind.split_at_mut(recipe.len());
        (rest, start) = (behind, recipe.offset + recipe.len());
        let (panels, biases) = own.split_at_mut(recipe.bias_offset());
        packer.pack_biases(biases);
        let panels = panels.chunks_mut(recipe.panel_len()).enumerate();
        jobs.extend(panels.map(|(panel, out)| Job { packer, panel, out }));
    }
    jobs
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
