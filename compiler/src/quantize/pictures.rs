//! Passes over the pictures on several threads, whose results come in the pictures' order.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use super::Seen;
use super::error::QuantizeError;

/// Writes a picture, planar and preprocessed, and answers with what is doubtful about it.
pub type Load<'a, E> = &'a (dyn Fn(usize, &mut [f32]) -> Result<Option<String>, E> + Sync);

/// The pictures that can be had.
pub(super) struct Pictures<'a, E> {
    indices: Vec<usize>,
    load: Load<'a, E>,
    threads: NonZeroUsize,
    first_pass: bool,
}

impl<'a, E: Send> Pictures<'a, E> {
    pub(super) fn new(len: usize, load: Load<'a, E>, threads: NonZeroUsize) -> Self {
        Self { indices: (0..len).collect(), load, threads, first_pass: true }
    }

    /// Threads that may run.
    pub(super) fn threads(&self) -> NonZeroUsize {
        self.threads
    }

    /// How many workers have something to do.
    pub(super) fn workers(&self) -> usize {
        self.threads.get().min(self.indices.len())
    }

    /// Gives each picture, of `input_len` numbers, to one of the workers, and what the worker makes of it in
    /// order to `fold`.
    pub(super) fn pass<W: Send, T: Send>(
        &mut self,
        input_len: usize,
        workers: &mut [W],
        work: impl Fn(&mut W, usize, &[f32]) -> Result<T, QuantizeError> + Sync,
        mut fold: impl FnMut(T),
        mut each: impl FnMut(usize, Seen<E>),
    ) -> Result<(), QuantizeError> {
        let next = AtomicUsize::new(0);
        let (indices, load, work) = (&self.indices, self.load, &work);
        let mut failed = Vec::new();
        thread::scope(|scope| {
            let (sender, receiver) = sync_channel(2 * workers.len());
            for worker in workers {
                let (sender, next) = (sender.clone(), &next);
                let run = move || {
                    let mut input = vec![0.0; input_len];
                    while let turn = next.fetch_add(1, Ordering::Relaxed)
                        && let Some(&index) = indices.get(turn)
                    {
                        let made = load(index, &mut input)
                            .map(|doubt| work(worker, index, &input).map(|made| (made, doubt)));
                        // Nobody listens any more if something failed.
                        if sender.send((turn, made)).is_err() {
                            return;
                        }
                    }
                };
                thread::Builder::new().spawn_scoped(scope, run).map_err(QuantizeError::Start)?;
            }
            drop(sender);
            let mut early = BTreeMap::new();
            let mut turn = 0;
            for (index, made) in receiver {
                early.insert(index, made);
                while let Some(made) = early.remove(&turn) {
                    let index = indices[turn];
                    match made {
                        Ok(made) => {
                            let (made, doubt) = made?;
                            fold(made);
                            each(
                                index,
                                if self.first_pass { Seen::Taken(doubt) } else { Seen::Again },
                            );
                        }
                        Err(error) => {
                            failed.push(index);
                            each(index, Seen::Failed(error));
                        }
                    }
                    turn += 1;
                }
            }
            Ok::<_, QuantizeError>(())
        })?;
        self.indices.retain(|index| failed.binary_search(index).is_err());
        self.first_pass = false;
        match self.indices.is_empty() {
            true => Err(QuantizeError::NoPictures { failed: failed.len() }),
            false => Ok(()),
        }
    }
}
