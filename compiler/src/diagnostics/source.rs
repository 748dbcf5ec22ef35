//! Where things stand in the text: the text itself, ranges of it, and values that remember theirs.

use std::ops::Range;
use std::sync::Arc;

/// A named text that spans point into. Cloning it is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    name: Arc<str>,
    text: Arc<str>,
}

impl Source {
    /// A text and the name that messages show for it, such as `resnet18.yaml`.
    ///
    /// A byte order mark at the start is left out, so that spans and columns do not count it, and lines
    /// end in a newline alone, so that no carriage return is drawn.
    pub fn new(name: &str, text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { name: name.into(), text: text.replace("\r\n", "\n").into() }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text under a span; empty if the span is not of this source.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or("")
    }

    /// The part of a span that can be underlined: inside the text, on character boundaries, and its
    /// first line only, because a block of rows under one underline is hard to read.
    pub fn underlined(&self, span: Span) -> Range<usize> {
        let (Range { start, end }, text) = (span.range(), self.text());
        let start = text.floor_char_boundary(start.min(text.len()));
        let end = text.ceil_char_boundary(end.clamp(start, text.len()));
        let line = text[start..end].lines().next().unwrap_or("").trim_end();
        start..start + line.len()
    }

    /// Line and column of a span's start, both from 1, the column in characters.
    pub fn line_column(&self, span: Span) -> (usize, usize) {
        let before = self.text.get(..span.range().start).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }
}

/// A range of a [`Source`]; outside this crate an opaque token to point with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// A range of bytes. Positions past `u32::MAX` are clamped; no source is that long.
    pub fn new(range: Range<usize>) -> Self {
        let clamp = |position: usize| u32::try_from(position).unwrap_or(u32::MAX);
        Self { start: clamp(range.start), end: clamp(range.end.max(range.start)) }
    }

    /// The range of bytes.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A value and the place where its author wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its place. A default that nobody wrote has the place of the row or mapping it belongs to.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// A value at a place.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}
