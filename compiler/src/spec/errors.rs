//! What is wrong with a table, as it is read.

use crate::diagnostics::{Diagnostic, Diagnostics, Source};

/// That something is wrong, and was said: there is nothing to go on with, and nothing to add. Only
/// [`Errors::push`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reported(());

/// What a reader answers.
pub(super) type Read<T> = Result<T, Reported>;

/// Every mistake so far.
#[derive(Default)]
pub(super) struct Errors(Vec<Diagnostic>);

impl Errors {
    /// Says what is wrong.
    pub(super) fn push(&mut self, diagnostic: Diagnostic) -> Reported {
        self.0.push(diagnostic);
        Reported(())
    }

    /// What was read, if nothing is wrong.
    pub(super) fn or<T>(self, source: &Source, value: Read<T>) -> Result<T, Diagnostics> {
        match value {
            Ok(value) => Diagnostics::or(source, self.0, value),
            Err(Reported(())) => Err(Diagnostics::all(source.clone(), self.0)),
        }
    }
}

/// All values, or that some of them could not be read; each is looked at.
pub(super) fn all<T>(values: impl IntoIterator<Item = Read<T>>) -> Read<Vec<T>> {
    let read: Vec<Read<T>> = values.into_iter().collect();
    read.into_iter().collect()
}
