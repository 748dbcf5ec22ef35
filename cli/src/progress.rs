//! Progress on stderr.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

use crate::voice::is_quiet;

/// A progress bar on stderr, if that is a terminal and there is enough to do to look at it.
/// `shared`: results scroll over the same terminal, so a bar would be in their way.
pub(crate) fn progress(len: usize, shared: bool) -> ProgressBar {
    let busy = shared && io::stdout().is_terminal();
    if len < 10 || busy || is_quiet() || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} pictures, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(len as u64).with_style(style)
}
