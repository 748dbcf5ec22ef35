//! Warnings: what is legal in a table and nearly always a mistake.
//!
//! A warning has to be worth its noise. What published networks do is not warned of; a test holds that
//! of the zoo and of families.

mod rows;
mod shapes;

use std::fmt;

use serde::Serialize;

use crate::diagnostics::{self, Diagnostic, Severity, Source, Spanned};
use crate::graph::Graph;
use crate::spec::{Lint, Spec};

/// One of a table's warnings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What it is called; the table's `allow` silences it by this.
    pub lint: Lint,
    /// What is said, and where.
    pub diagnostic: Diagnostic,
}

/// The warnings of a table, perhaps none, with the text they point into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warnings {
    source: Source,
    list: Vec<Warning>,
}

impl Warnings {
    /// The warnings, in the order of the text.
    pub fn list(&self) -> &[Warning] {
        &self.list
    }

    /// The text that the spans point into.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Draws them as [`Diagnostics::render`](diagnostics::Diagnostics::render) draws mistakes.
    pub fn render(&self, color: bool) -> String {
        let list: Vec<&Diagnostic> = self.list.iter().map(|warning| &warning.diagnostic).collect();
        diagnostics::render(&self.source, Severity::Warning, &list, color)
    }

    /// The same as lines of a report.
    pub fn lines(&self) -> Vec<Line> {
        let lines = self.list.iter().map(|Warning { lint, diagnostic }| {
            let (line, column) = self.source.line_column(diagnostic.span);
            let Diagnostic { message, label, notes, help, .. } = diagnostic.clone();
            Line { name: lint.word(), message, line, column, label, notes, help }
        });
        lines.collect()
    }
}

/// Draws them without colours.
impl fmt::Display for Warnings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// A warning in a program's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The name that silences it.
    pub name: &'static str,
    /// What is wrong.
    pub message: String,
    /// The line of the table, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What stands beside the place.
    pub label: Option<String>,
    /// The arithmetic and other facts.
    pub notes: Vec<String>,
    /// How to mend it.
    pub help: Option<String>,
}

impl Spec {
    /// What is legal in this table and nearly always a mistake, but for what its `allow` names. Of a
    /// table from which no graph can be built, what can be told without one.
    pub fn warnings(&self) -> Warnings {
        let graph = Graph::build(self).ok();
        let mut found = Found { spec: self, list: Vec::new() };
        found.input();
        found.rows();
        if let Some(graph) = &graph {
            found.nodes(graph);
        }
        let mut list = found.list;
        let allowed = |lint: Lint| self.allow.iter().any(|allow| allow.value == lint);
        if graph.is_some() {
            let unused = self.allow.iter().filter(|allow| {
                allow.value != Lint::UnusedAllow
                    && list.iter().all(|warning| warning.lint != allow.value)
            });
            let unused: Vec<Warning> = unused.map(unused_allow).collect();
            list.extend(unused);
        }
        list.retain(|warning| !allowed(warning.lint));
        list.sort_by_key(|warning| warning.diagnostic.span.range().start);
        Warnings { source: self.source.clone(), list }
    }
}

fn unused_allow(allow: &Spanned<Lint>) -> Warning {
    let name = allow.value.word();
    let message = format!("`allow` names `{name}`, of which nothing would be warned");
    let diagnostic = Diagnostic::new(allow.span, message).help("remove it");
    Warning { lint: Lint::UnusedAllow, diagnostic }
}

/// What was found so far.
struct Found<'a> {
    spec: &'a Spec,
    list: Vec<Warning>,
}

impl Found<'_> {
    fn warn(&mut self, lint: Lint, diagnostic: Diagnostic) {
        let name = lint.word();
        let silence = format!("if it is meant, write `allow: [{name}]` at the top of the table");
        self.list.push(Warning { lint, diagnostic: diagnostic.note(silence) });
    }
}
