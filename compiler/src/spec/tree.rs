//! YAML text as a tree in which every key and every value knows its place.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Error;
use serde_yaml::budget::BudgetBreach;
use serde_yaml::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};

use crate::diagnostics::{Diagnostic, Diagnostics, Source, Span, Spanned};

/// Longest accepted text in bytes. The deepest network of the zoo needs 2 KB.
const MOST_TEXT: usize = 1 << 20;

/// Deepest accepted nesting. The schema needs four levels.
const MOST_DEPTH: usize = 16;

/// A YAML value.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Nothing, or `null`.
    Null,
    /// A scalar: for a plain one, the text as it is written, because `1.80e9` says more than its
    /// value; for a quoted one, what is between the quotes.
    Scalar(String),
    Sequence(Vec<Spanned<Node>>),
    Mapping(Vec<(Spanned<Node>, Spanned<Node>)>),
}

impl Node {
    /// What a message calls it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".into(),
            Self::Scalar(text) => format!("`{}`", abbreviate(text)),
            Self::Sequence(_) => "a list".into(),
            Self::Mapping(_) => "a mapping".into(),
        }
    }
}

/// A text short enough for a message.
pub(super) fn abbreviate(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text.into(),
    }
}

/// Parses a text that holds one YAML document.
pub(super) fn parse(source: &Source) -> Result<Spanned<Node>, Diagnostics> {
    let text = source.text();
    if text.len() > MOST_TEXT {
        let message =
            format!("the table is {} bytes long; at most {MOST_TEXT} are read", text.len());
        return Err(Diagnostics::one(source.clone(), Diagnostic::new(Span::default(), message)));
    }
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_depth: MOST_DEPTH,
            max_documents: 1,
            flow_nesting_limit: MOST_DEPTH,
        },
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: 100_000 },
        // Repeated keys are reported together with everything else that is wrong.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    serde_yaml::from_str_with_options::<serde_yaml::Spanned<Raw>>(text, options)
        .map(|raw| resolve(source, raw))
        .map_err(|error| Diagnostics::one(source.clone(), syntax_error(source, &error)))
}

fn syntax_error(source: &Source, error: &Error) -> Diagnostic {
    let text = source.text();
    let start = error.location().map_or(0, |location| byte_offset(text, location));
    let length = text[start..].chars().next().map_or(0, char::len_utf8);
    let span = Span::new(start..start + length);
    let mut error = error.without_snippet();
    while let Error::AliasError { error: inner, .. } = error {
        error = inner;
    }
    match error {
        Error::Budget { breach, .. } => over_budget(span, breach),
        Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => too_many_aliases(span),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            Diagnostic::new(span, "this anchor contains itself").help("write the value out")
        }
        error => {
            // The library ends its messages with the place, which the drawing shows.
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            // The reader's own limit on brackets says no more than this.
            if message == "recursion limit exceeded" {
                too_deep(span)
            } else {
                Diagnostic::new(span, format!("this is not YAML: {message}"))
            }
        }
    }
}

fn too_deep(span: Span) -> Diagnostic {
    Diagnostic::new(span, format!("nested deeper than {MOST_DEPTH} levels"))
        .help("a table needs four levels")
}

fn too_many_aliases(span: Span) -> Diagnostic {
    Diagnostic::new(span, "too many anchors, aliases or merge keys")
        .help("write the rows out, or use `repeat` for blocks")
}

fn over_budget(span: Span, breach: &BudgetBreach) -> Diagnostic {
    match breach {
        BudgetBreach::Documents { .. } => {
            Diagnostic::new(span, "the text holds more than one YAML document")
                .help("keep one table in a file, and remove this line")
        }
        BudgetBreach::Depth { .. } => too_deep(span),
        BudgetBreach::Events { .. } | BudgetBreach::Nodes { .. } => {
            Diagnostic::new(span, "the table has too many cells").help("use `repeat` for blocks")
        }
        _ => too_many_aliases(span),
    }
}

/// The byte that a place names, on a character boundary inside the text.
fn byte_offset(text: &str, location: serde_yaml::Location) -> usize {
    let offset = match location.span().byte_offset() {
        Some(offset) => offset as usize,
        None => {
            let line = location.line().saturating_sub(1) as usize;
            let column = location.column().saturating_sub(1) as usize;
            let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
            let characters = text[start..].char_indices().nth(column);
            characters.map_or(text.len(), |(within, _)| start + within)
        }
    };
    text.floor_char_boundary(offset.min(text.len()))
}

/// What serde delivers, before plain scalars get their text back.
enum Raw {
    Null,
    /// A string, quoted or not.
    Text(String),
    /// A plain scalar that looks like a number or a boolean.
    Plain(String),
    Sequence(Vec<serde_yaml::Spanned<Raw>>),
    Mapping(Vec<(serde_yaml::Spanned<Raw>, serde_yaml::Spanned<Raw>)>),
}

fn resolve(source: &Source, raw: serde_yaml::Spanned<Raw>) -> Spanned<Node> {
    let span = span_of(source, raw.referenced);
    match raw.value {
        Raw::Null => Spanned::new(Node::Null, span),
        Raw::Text(text) => Spanned::new(Node::Scalar(text), span),
        Raw::Plain(text) => {
            // Behind an alias the text is where the anchor is.
            let written = source.slice(span_of(source, raw.defined)).trim();
            let text = if written.is_empty() { text } else { written.into() };
            Spanned::new(Node::Scalar(text), span)
        }
        Raw::Sequence(items) => {
            let items: Vec<_> = items.into_iter().map(|item| resolve(source, item)).collect();
            let end = items.last().map(|item| item.span);
            Spanned::new(Node::Sequence(items), enclose(source, span, end, ']'))
        }
        Raw::Mapping(entries) => {
            let entries: Vec<_> = entries
                .into_iter()
                .map(|(key, value)| (resolve(source, key), resolve(source, value)))
                .collect();
            let end = entries.last().map(|(_, value)| value.span);
            Spanned::new(Node::Mapping(entries), enclose(source, span, end, '}'))
        }
    }
}

/// The span of a list or a mapping, of which the parser tells only where it starts: up to the
/// end of its last element and the closing bracket if that follows.
fn enclose(source: &Source, start: Span, last: Option<Span>, bracket: char) -> Span {
    let start = start.range();
    let end = last.map_or(start.end, |last| last.range().end.max(start.end));
    let rest = &source.text()[end..];
    let inner = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
    let end = if inner.starts_with(bracket) { end + rest.len() - inner.len() + 1 } else { end };
    Span::new(start.start..end)
}

fn span_of(source: &Source, location: serde_yaml::Location) -> Span {
    let start = byte_offset(source.text(), location);
    let length = location.span().byte_len().unwrap_or(0) as usize;
    let end = start.saturating_add(length).min(source.text().len());
    Span::new(start..source.text().ceil_char_boundary(end))
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Mapping(entries))
    }
}
