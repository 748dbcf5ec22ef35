//! Feeds a network from many inputs on all threads, and hands out the answers in order.
//!
//! With many inputs every thread has a session of its own and decodes, preprocesses and runs one
//! input after the other, so that decoding and computing overlap and no thread waits for another
//! inside a layer. With few inputs one session divides each layer among all threads. The answers
//! are the same bits either way.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use resnet_runtime::session::{DynSession, Network};

use crate::bench::pool;

/// Where inputs come from.
pub(crate) trait Source: Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// What messages call an input.
    fn name(&self, index: usize) -> String;

    /// Reads an input, planar `C x H x W`, and answers with what is doubtful about it.
    fn load(&self, index: usize, input: &mut [f32]) -> Result<Option<String>>;
}

/// What the network makes of an input.
pub(crate) struct Answer {
    pub(crate) values: Vec<f32>,
    /// What is doubtful about the input.
    pub(crate) doubt: Option<String>,
}

/// Runs every input of `source` and gives each answer, or why there is none, to `each`, in the
/// order of the inputs. An error of `each` ends it all.
pub(crate) fn answers(
    network: &dyn Network,
    source: &dyn Source,
    threads: NonZeroUsize,
    mut each: impl FnMut(usize, Result<Answer>) -> Result<()>,
) -> Result<()> {
    let sessions = sessions(network, source.len(), threads)?;
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(4 * sessions.len());
        for mut session in sessions {
            let (sender, next) = (sender.clone(), &next);
            let mut input = vec![0.0; network.info().input_len()];
            thread::Builder::new()
                .spawn_scoped(scope, move || {
                    work(&mut *session, source, next, &mut input, &sender);
                })
                .context("cannot start threads")?;
        }
        // The workers' clones alone keep the channel open.
        drop(sender);
        let mut early = BTreeMap::new();
        let mut turn = 0;
        for (index, answer) in receiver {
            early.insert(index, answer);
            while let Some(answer) = early.remove(&turn) {
                each(turn, answer)?;
                turn += 1;
            }
        }
        Ok(())
    })
}

/// One session a thread if there is enough to do for all of them, else one for all threads.
fn sessions(
    network: &dyn Network,
    inputs: usize,
    threads: NonZeroUsize,
) -> Result<Vec<Box<dyn DynSession>>> {
    let no_memory = "no memory for the network's activations";
    if inputs >= 2 * threads.get() {
        let sessions =
            (0..threads.get()).map(|_| network.session_in(None)).collect::<io::Result<_>>();
        return sessions.context(no_memory);
    }
    let pool = pool(threads)?;
    Ok(vec![network.session_in(pool.as_ref()).context(no_memory)?])
}

fn work(
    session: &mut dyn DynSession,
    source: &dyn Source,
    next: &AtomicUsize,
    input: &mut [f32],
    sender: &SyncSender<(usize, Result<Answer>)>,
) {
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= source.len() {
            return;
        }
        let answer = source
            .load(index, input)
            .and_then(|doubt| Ok(Answer { values: session.run(input)?.to_vec(), doubt }));
        // The receiver is gone if `each` failed: there is nobody to work for.
        if sender.send((index, answer)).is_err() {
            return;
        }
    }
}

/// A progress bar on stderr, if that is a terminal and there is enough to do to look at it.
/// `shared`: results scroll over the same terminal, so a bar would be in their way.
pub(crate) fn progress(len: usize, shared: bool) -> ProgressBar {
    let busy = shared && io::stdout().is_terminal();
    if len < 10 || busy || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} pictures, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(len as u64).with_style(style)
}
