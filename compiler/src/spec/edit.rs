//! Changes in a table's text that leave the rest as its author wrote it.

use std::ops::Range;

use super::Spec;
use super::rows::scalar;
use super::tree::{self, Node};
use crate::diagnostics::{Diagnostics, Source, Span, Spanned};

/// The widest line of a list that is written.
const WIDTH: usize = 110;

/// A text and what is to stand where in it.
pub(crate) struct Edit<'a> {
    source: &'a Source,
    /// The fields at the top: keys and values.
    fields: Vec<(Spanned<Node>, Spanned<Node>)>,
    /// Whether the fields stand in braces, with commas between.
    braces: bool,
    changes: Vec<(Range<usize>, String)>,
}

impl<'a> Edit<'a> {
    /// Begins with the text as it is.
    pub(crate) fn new(spec: &'a Spec) -> Result<Self, Diagnostics> {
        let source = &spec.source;
        let root = tree::parse(source)?;
        let braces = source.text()[root.span.range()].starts_with('{');
        let fields = match root.value {
            Node::Mapping(fields) => fields,
            Node::Null | Node::Scalar(_) | Node::Sequence(_) => Vec::new(),
        };
        Ok(Self { source, fields, braces, changes: Vec::new() })
    }

    /// Puts a text in a cell's place.
    pub(crate) fn replace(&mut self, cell: Span, text: String) {
        self.changes.push((cell.range(), text));
    }

    /// Whether there is a field at the top.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.find(field).is_some()
    }

    /// Gives a field at the top this value, in YAML, whether it is there or not.
    pub(crate) fn set(&mut self, field: &str, value: &str) {
        let text = format!("{field}: {value}");
        let change = match self.find(field) {
            Some(place) => (place, text),
            None => {
                let end = self.fields.last().map_or(0, |(_, value)| value.span.range().end);
                match self.braces {
                    true => (end..end, format!(", {text}")),
                    false => {
                        let end = self.line_end(end);
                        (end..end, format!("\n{text}"))
                    }
                }
            }
        };
        self.changes.push(change);
    }

    /// Removes a field at the top, with its lines or its comma.
    pub(crate) fn remove(&mut self, field: &str) {
        let Some(place) = self.find(field) else { return };
        let text = self.source.text();
        let range = if self.braces {
            let rest = &text[place.end..];
            let behind = rest.trim_start().strip_prefix(',').map(str::trim_start);
            match behind {
                Some(behind) => place.start..text.len() - behind.len(),
                None => text[..place.start].trim_end().trim_end_matches(',').len()..place.end,
            }
        } else {
            let start = text[..place.start].rfind('\n').map_or(0, |newline| newline + 1);
            start..(self.line_end(place.end) + 1).min(text.len())
        };
        self.changes.push((range, String::new()));
    }

    /// The text with all changes.
    pub(crate) fn finish(mut self) -> String {
        let mut text = self.source.text().to_owned();
        // What is added at one place stays in the order in which it was asked for.
        self.changes.reverse();
        self.changes.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
        for (range, own) in self.changes {
            text.replace_range(range, &own);
        }
        text
    }

    /// A field's key and value.
    fn find(&self, field: &str) -> Option<Range<usize>> {
        let is_it = |key: &Node| matches!(key, Node::Scalar(name) if name == field);
        let (key, value) = self.fields.iter().find(|(key, _)| is_it(&key.value))?;
        Some(key.span.range().start..value.span.range().end)
    }

    /// Where the line ends that a place is in.
    fn line_end(&self, at: usize) -> usize {
        let text = self.source.text();
        text[at..].find('\n').map_or(text.len(), |newline| at + newline)
    }
}

/// Names as a list of YAML, on as many lines as they need.
pub(crate) fn list(names: &[String]) -> String {
    let mut text = String::from("[");
    let mut line = text.len();
    for (at, name) in names.iter().enumerate() {
        let name = scalar(name);
        if at > 0 {
            text += if line + name.len() > WIDTH { ",\n  " } else { ", " };
            line = if line + name.len() > WIDTH { 2 } else { line + 2 };
        }
        line += name.len();
        text += &name;
    }
    text + "]"
}
