//! Ctrl-C: temporary files are removed, and `run` ends behind an answer, its JSON closed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is wrong when a run is stopped.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

/// The exit status of a process that SIGINT ended.
pub(crate) const STATUS: u8 = 130;

static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static STOPS: AtomicBool = AtomicBool::new(false);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Handles Ctrl-C from here on. Where that cannot be, it ends the process as always.
pub(crate) fn handle() {
    let handler = || {
        // The second time there is no waiting for the next answer.
        if !INTERRUPTED.swap(true, Ordering::SeqCst) && STOPS.load(Ordering::SeqCst) {
            return;
        }
        for path in TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = std::fs::remove_file(path);
        }
        std::process::exit(STATUS.into());
    };
    let _ = ctrlc::set_handler(handler);
}

/// A file that goes away with the process.
pub(crate) fn remember(path: &Path) {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner).push(path);
}

/// From here on the command asks [`check`] often enough to end by itself.
pub(crate) fn stops() {
    STOPS.store(true, Ordering::SeqCst);
}

/// Whether to go on.
pub(crate) fn check() -> Result<(), Interrupted> {
    if INTERRUPTED.load(Ordering::SeqCst) { Err(Interrupted) } else { Ok(()) }
}
