//! Errors that point: what is wrong, where it stands in the table, and how to mend it.
//!
//! The front end collects every mistake it finds and hands them over as one [`Diagnostics`],
//! drawn the way rustc draws its own.

mod source;

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

pub use source::{Source, Span, Spanned};

/// How many diagnostics are drawn; the rest is counted. A table that is wrong in more places than
/// this is usually not a table.
const MOST_DRAWN: usize = 50;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The cell that is underlined.
    pub span: Span,
    /// What is wrong, in one line.
    pub message: String,
    /// What stands beside the underline.
    pub label: Option<String>,
    /// Other places that matter, each with what stands beside its underline.
    pub related: Vec<(Span, String)>,
    /// The arithmetic and other facts.
    pub notes: Vec<String>,
    /// How to mend it.
    pub help: Option<String>,
    /// What `help` says, as far as a program can do it; each by itself mends it.
    pub fixes: Vec<Fix>,
}

/// Text in the place of other text, by which a mistake is mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What is replaced.
    pub span: Span,
    /// By what.
    pub text: String,
    /// What a button that does it says.
    pub label: String,
}

impl Diagnostic {
    /// A mistake at a place.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
            label: None,
            related: Vec::new(),
            notes: Vec::new(),
            help: None,
            fixes: Vec::new(),
        }
    }

    /// Writes beside the underline.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Points at another place too.
    #[must_use]
    pub(crate) fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Says how to mend it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds what a program can do: to write `text` as the value of `field` that stands at `span`.
    #[must_use]
    pub(crate) fn fix(mut self, span: Span, field: &str, text: impl fmt::Display) -> Self {
        let text = text.to_string();
        self.fixes.push(Fix { span, label: format!("write {field}: {text}"), text });
        self
    }

    /// The same for one word in the place of another.
    #[must_use]
    pub(crate) fn fix_word(mut self, span: Span, word: &str) -> Self {
        self.fixes.push(Fix { span, label: format!("write {word}"), text: word.to_owned() });
        self
    }
}

/// Every mistake that a stage found, at least one, with the text they point into.
#[derive(Clone, PartialEq, Eq)]
pub struct Diagnostics {
    source: Source,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// One mistake.
    pub fn one(source: Source, diagnostic: Diagnostic) -> Self {
        Self { source, list: vec![diagnostic] }
    }

    /// The mistakes of `list`, in the order of the text, if there are any, and else `value`.
    ///
    /// # Errors
    ///
    /// If `list` is not empty.
    pub fn or<T>(source: &Source, list: Vec<Diagnostic>, value: T) -> Result<T, Self> {
        if list.is_empty() { Ok(value) } else { Err(Self::all(source.clone(), list)) }
    }

    /// Mistakes, at least one, in the order of the text.
    pub(crate) fn all(source: Source, mut list: Vec<Diagnostic>) -> Self {
        list.sort_by_key(|diagnostic| diagnostic.span.range().start);
        Self { source, list }
    }

    /// The text that the spans point into.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The mistakes, at least one, in the order of the text.
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    /// Draws the mistakes, each with its file, line and column and the text underlined; with
    /// `color`, in a terminal's colours. The text ends without a newline.
    pub fn render(&self, color: bool) -> String {
        let list: Vec<&Diagnostic> = self.list.iter().collect();
        render(&self.source, Severity::Error, &list, color)
    }
}

/// How bad it is what is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The table is refused.
    Error,
    /// The table is taken.
    Warning,
}

/// Draws diagnostics of one severity.
pub(crate) fn render(
    source: &Source,
    severity: Severity,
    list: &[&Diagnostic],
    color: bool,
) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let (level, many) = match severity {
        Severity::Error => (Level::ERROR, "errors"),
        Severity::Warning => (Level::WARNING, "warnings"),
    };
    let drawn = list.iter().take(MOST_DRAWN);
    let mut blocks: Vec<String> = drawn
        .map(|diagnostic| renderer.render(&[group(source, level.clone(), diagnostic)]))
        .collect();
    if let Some(rest) = list.len().checked_sub(MOST_DRAWN).filter(|&rest| rest > 0) {
        let group = Group::with_title(level.primary_title(format!("{rest} more {many}")));
        blocks.push(renderer.render(&[group]));
    }
    blocks.join("\n\n")
}

fn group<'a>(source: &'a Source, level: Level<'a>, diagnostic: &'a Diagnostic) -> Group<'a> {
    let text = source.text();
    let primary = source.underlined(diagnostic.span);
    let related: Vec<(Range<usize>, &str)> = diagnostic
        .related
        .iter()
        .map(|(span, label)| (source.underlined(*span), label.as_str()))
        .collect();
    // The renderer walks all it is given, so it is given the lines that matter.
    let spans = || related.iter().map(|(span, _)| span).chain([&primary]);
    let first = spans().map(|span| span.start).min().unwrap_or(0);
    let last = spans().map(|span| span.end).max().unwrap_or(0);
    let start = text[..first].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[last..].find('\n').map_or(text.len(), |newline| last + newline);
    let within = |span: &Range<usize>| span.start - start..span.end - start;
    let snippet = Snippet::source(&text[start..end])
        .path(source.name())
        .line_start(text[..start].matches('\n').count() + 1)
        .annotation(
            AnnotationKind::Primary.span(within(&primary)).label(diagnostic.label.as_deref()),
        )
        .annotations(
            related
                .iter()
                .map(|(span, label)| AnnotationKind::Context.span(within(span)).label(*label)),
        );
    let mut group = level.primary_title(diagnostic.message.as_str()).element(snippet);
    for note in &diagnostic.notes {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    group
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// As [`Display`](fmt::Display): a `main` that returns an error, and `unwrap`, print it so.
impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for Diagnostics {}
