//! A table's mistakes and warnings, at their places, and the views of its network.

use std::ops::Range;

use resnet_compiler::diagnostics::{self, Diagnostic, Source};
use resnet_compiler::network::{CompileError, Compiler};
use resnet_compiler::report::Report;
use resnet_compiler::spec::Spec;
use resnet_compiler::warnings::Warnings;
use resnet_report::network::Network;
use resnet_report::page::{self, Page};
use serde::Serialize;

/// What the table is called in its report.
const NAME: &str = "table.yaml";

/// Most marks in a text; the rest is counted.
const MOST_MARKS: usize = 100;

/// What is known of a table.
#[derive(Serialize, Default)]
pub(crate) struct Checked {
    /// Mistakes and warnings, by their places.
    marks: Vec<Mark>,
    /// How many more there are.
    more: usize,
    /// What stands in the way and has no place in the table.
    failure: Option<String>,
    /// The network's views, if there are no mistakes.
    page: Option<Page>,
}

/// A place in the text, in UTF-16's units, and what is said there.
#[derive(Serialize)]
struct Mark {
    severity: Severity,
    from: usize,
    to: usize,
    /// From 1.
    line: usize,
    message: String,
    label: Option<String>,
    notes: Vec<String>,
    help: Option<String>,
    fixes: Vec<Fix>,
}

#[derive(Serialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Error,
    Warning,
}

/// Text in the place of other text.
#[derive(Serialize)]
struct Fix {
    from: usize,
    to: usize,
    text: String,
    label: String,
}

/// Reads a table, plans its network and draws it.
pub(crate) fn check(text: &str) -> Checked {
    // A source leaves such a mark out.
    let places = Places { skipped: usize::from(text.starts_with('\u{feff}')) };
    match network(text) {
        Ok((network, warnings)) => {
            let found = warnings.list().iter().map(|warning| &warning.diagnostic);
            let page = Some(page::parts(&network));
            Checked { page, ..places.marked(warnings.source(), Severity::Warning, found) }
        }
        Err(CompileError::Table(errors)) => {
            places.marked(errors.source(), Severity::Error, errors.list().iter())
        }
        Err(other) => Checked { failure: Some(other.to_string()), ..Checked::default() },
    }
}

fn network(text: &str) -> Result<(Network, Warnings), CompileError> {
    let spec = Spec::from_yaml_named(text, NAME)?;
    let (graph, plan, levels) = Compiler::new(&spec).levels()?;
    let warnings = spec.warnings();
    let counted = Report::new(&graph, Some(plan.info.arena_bytes as u64)).with_warnings(&warnings);
    Ok((Network::new(&spec, counted, &graph, &plan, &levels, None), warnings))
}

/// Turns places in a source into those of the text that it was made of, whose lines end in a newline alone.
struct Places {
    /// Units of the text before the source.
    skipped: usize,
}

impl Places {
    fn marked<'a>(
        &self,
        source: &Source,
        severity: Severity,
        found: impl ExactSizeIterator<Item = &'a Diagnostic>,
    ) -> Checked {
        let more = found.len().saturating_sub(MOST_MARKS);
        let marks = found.take(MOST_MARKS).map(|found| self.mark(source, severity, found));
        Checked { marks: marks.collect(), more, ..Checked::default() }
    }

    fn mark(&self, source: &Source, severity: Severity, found: &Diagnostic) -> Mark {
        let fix = |fix: &diagnostics::Fix| {
            let [from, to] = self.units(source, fix.span.range());
            Fix { from, to, text: fix.text.clone(), label: fix.label.clone() }
        };
        let [from, to] = self.units(source, source.underlined(found.span));
        let (line, _) = source.line_column(found.span);
        let Diagnostic { message, label, notes, help, fixes, .. } = found.clone();
        let fixes = fixes.iter().map(fix).collect();
        Mark { severity, from, to, line, message, label, notes, help, fixes }
    }

    /// A range of bytes in UTF-16's units.
    fn units(&self, source: &Source, Range { start, end }: Range<usize>) -> [usize; 2] {
        let text = source.text();
        [start, end].map(|at| {
            let before = &text[..text.floor_char_boundary(at)];
            self.skipped + before.encode_utf16().count()
        })
    }
}
