//! What the machine can do at best, measured: the roofs of a roofline.
//!
//! Samuel Williams, Andrew Waterman, David Patterson: Roofline: an insightful visual performance
//! model for multicore architectures, 2009.

use std::num::NonZeroUsize;
use std::thread;
use std::time::{Duration, Instant};

use crate::kernels::{Isa, UnavailableIsa, limits};
use crate::memory::Buffer;

/// Rounds of a measurement, of which the fastest counts: on a shared machine every disturbance
/// makes a round slower, and none makes it faster.
const ROUNDS: usize = 8;

/// How long a round of multiply-adds takes: much longer than starting threads does.
const ROUND: Duration = Duration::from_millis(15);

/// Steps of a chain of multiply-adds between two looks at the clock.
const STEPS: usize = 10_000;

/// Bytes that are streamed: more than the last cache holds.
const STREAMED: usize = 256 << 20;

/// What some of the machine's threads can do at best, together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Floating-point operations a second, in registers, two for each multiply-add.
    pub flops: f64,
    /// The same of bytes, whose products are added to integers.
    pub byte_ops: f64,
    /// The same of `bf16`, whose products are added to `f32`.
    pub half_flops: f64,
    /// Bytes a second that are read from memory, from front to end.
    pub bandwidth: f64,
}

/// The machine's limits could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The CPU lacks the instruction set that was asked for.
    #[error(transparent)]
    Isa(#[from] UnavailableIsa),
    /// There was no memory to stream.
    #[error("no {mib} MiB of memory to measure its bandwidth: {0}", mib = STREAMED >> 20)]
    Memory(std::io::Error),
    /// The operating system refused the threads.
    #[error("could not start {threads} threads: {reason}")]
    Threads {
        /// Threads, that of the caller counted.
        threads: usize,
        /// Why not.
        reason: std::io::Error,
    },
}

impl Limits {
    /// Measures for about a third of a second, with the machine otherwise as idle as it is.
    ///
    /// # Errors
    ///
    /// An instruction set that the CPU lacks; no memory; no threads.
    pub fn measure(isa: Isa, threads: NonZeroUsize) -> Result<Self, MeasureError> {
        Ok(Self {
            flops: flops(isa, threads)?,
            byte_ops: byte_ops(isa, threads)?,
            half_flops: half_flops(isa, threads)?,
            bandwidth: bandwidth(isa, threads)?,
        })
    }

    /// The better ones of two measurements.
    pub fn max(self, other: Self) -> Self {
        Self {
            flops: self.flops.max(other.flops),
            byte_ops: self.byte_ops.max(other.byte_ops),
            half_flops: self.half_flops.max(other.half_flops),
            bandwidth: self.bandwidth.max(other.bandwidth),
        }
    }
}

/// Floating-point operations a second that `threads` threads do at once in registers, two for each
/// multiply-add; see [`Limits`].
///
/// # Errors
///
/// An instruction set that the CPU lacks; no threads.
pub fn flops(isa: Isa, threads: NonZeroUsize) -> Result<f64, MeasureError> {
    rate(isa, threads, limits::multiply_adds)
}

/// The same, of products of bytes that are added to integers.
///
/// # Errors
///
/// An instruction set that the CPU lacks; no threads.
pub fn byte_ops(isa: Isa, threads: NonZeroUsize) -> Result<f64, MeasureError> {
    rate(isa, threads, limits::byte_multiply_adds)
}

/// The same, of products of `bf16` that are added to `f32`.
///
/// # Errors
///
/// An instruction set that the CPU lacks; no threads.
pub fn half_flops(isa: Isa, threads: NonZeroUsize) -> Result<f64, MeasureError> {
    rate(isa, threads, limits::half_multiply_adds)
}

/// Operations a second of some work, which answers with its multiply-adds.
fn rate(
    isa: Isa,
    threads: NonZeroUsize,
    work: fn(Isa, usize) -> Result<usize, UnavailableIsa>,
) -> Result<f64, MeasureError> {
    // How many turns a round takes is found out first, which also wakes the CPU up.
    let (start, mut turns, mut done) = (Instant::now(), 0, 0);
    while turns == 0 || start.elapsed() < ROUND {
        done = work(isa, STEPS)?;
        turns += 1;
    }
    let seconds = fastest(threads, |_| (0..turns).try_for_each(|_| work(isa, STEPS).map(drop)))?;
    Ok(2.0 * (done * turns * threads.get()) as f64 / seconds)
}

/// Bytes a second that `threads` threads read at once from memory that no cache holds; see
/// [`Limits`].
///
/// # Errors
///
/// An instruction set that the CPU lacks; no memory; no threads.
pub fn bandwidth(isa: Isa, threads: NonZeroUsize) -> Result<f64, MeasureError> {
    let mut memory = Buffer::zeroed(STREAMED).map_err(MeasureError::Memory)?;
    // Pages that were never written are all the same one.
    let memory: &mut [f32] = bytemuck::cast_slice_mut(memory.as_mut_bytes());
    memory.fill(1.0);
    let parts: Vec<&[f32]> = memory.chunks(memory.len().div_ceil(threads.get())).collect();
    let seconds = fastest(threads, |thread| {
        limits::stream(isa, parts.get(thread).copied().unwrap_or_default())
    })?;
    Ok(STREAMED as f64 / seconds)
}

/// The seconds that the fastest of some rounds takes, in each of which all threads do their work
/// at once.
fn fastest(
    threads: NonZeroUsize,
    work: impl Fn(usize) -> Result<(), UnavailableIsa> + Sync,
) -> Result<f64, MeasureError> {
    let threads = threads.get();
    let work = &work;
    let round = || -> Result<f64, MeasureError> {
        let start = Instant::now();
        thread::scope(|scope| {
            for thread in 1..threads {
                let started = thread::Builder::new().spawn_scoped(scope, move || work(thread));
                started.map_err(|reason| MeasureError::Threads { threads, reason })?;
            }
            // What fails, fails on this thread too.
            Ok::<(), MeasureError>(work(0)?)
        })?;
        Ok(start.elapsed().as_secs_f64())
    };
    (0..ROUNDS).try_fold(f64::INFINITY, |fastest, _| Ok(fastest.min(round()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wide bounds: no CPU, and none that is emulated, is outside of them, only mistakes in counting are.
    #[test]
    fn limits_are_plausible() {
        let one = NonZeroUsize::MIN;
        let two = NonZeroUsize::new(2).unwrap();
        for isa in Isa::available() {
            for threads in [one, two] {
                let limits = Limits::measure(isa, threads).unwrap();
                assert!((1e6..1e13).contains(&limits.flops), "{isa} {limits:?}");
                assert!((1e6..1e13).contains(&limits.bandwidth), "{isa} {limits:?}");
                assert!((1e6..1e14).contains(&limits.byte_ops), "{isa} {limits:?}");
            }
        }
    }

    #[test]
    fn the_better_limits_win() {
        let slow = Limits { flops: 1.0, byte_ops: 5.0, half_flops: 6.0, bandwidth: 4.0 };
        let busy = Limits { flops: 2.0, byte_ops: 1.0, half_flops: 7.0, bandwidth: 3.0 };
        assert_eq!(
            slow.max(busy),
            Limits { flops: 2.0, byte_ops: 5.0, half_flops: 7.0, bandwidth: 4.0 }
        );
    }
}
