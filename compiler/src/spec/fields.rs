//! A mapping whose fields are taken one by one, with complaints about what is not as it should be.

use crate::diagnostics::{Diagnostic, Span, Spanned};
use crate::spec::cell::{self, Refused};
use crate::spec::tree::Node;

/// A mapping whose keys are all known, each of them once.
///
/// The methods that take a field push their complaints and answer `None` when there is nothing
/// to go on with.
pub(super) struct Fields<'a> {
    /// What messages call the mapping, such as "the table" or "a `conv` row".
    pub(super) what: String,
    /// Where it is.
    pub(super) span: Span,
    entries: Vec<(&'a str, Span, &'a Spanned<Node>)>,
    /// Fields that are there under a misspelt name: complained of once, not missing as well.
    misspelt: Vec<String>,
}

impl<'a> Fields<'a> {
    /// The fields of a mapping, whatever they are called.
    pub(super) fn open(
        node: &'a Spanned<Node>,
        what: impl Into<String>,
        errors: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let what = what.into();
        let Node::Mapping(pairs) = &node.value else {
            errors.push(
                Diagnostic::new(
                    node.span,
                    format!("{what} must be a mapping, found {}", node.value.describe()),
                )
                .help("write `{field: value, ...}`, or one `field: value` a line"),
            );
            return None;
        };
        let mut entries: Vec<(&str, Span, &Spanned<Node>)> = Vec::new();
        for (key, value) in pairs {
            let Node::Scalar(name) = &key.value else {
                let message =
                    format!("a field's name must be a word, found {}", key.value.describe());
                errors.push(Diagnostic::new(key.span, message));
                continue;
            };
            // Linear: `check_known` has no more than a schema's worth of names to keep, but this
            // is before it, so a mapping of thousands of keys is cut short.
            match entries.iter().find(|(known, ..)| known == name) {
                Some((_, first, _)) => errors.push(
                    Diagnostic::new(key.span, format!("`{name}` is given twice in {what}"))
                        .related(*first, "first here")
                        .help("remove one of them"),
                ),
                None => entries.push((name, key.span, value)),
            }
            if entries.len() > 1000 {
                errors.push(Diagnostic::new(node.span, format!("{what} has too many fields")));
                return None;
            }
        }
        Some(Self { what, span: node.span, entries, misspelt: Vec::new() })
    }

    /// Complains of fields that are not in `known`; `elsewhere` says of a field what takes it.
    pub(super) fn check_known(
        &mut self,
        known: &[&str],
        elsewhere: impl Fn(&str) -> Option<String>,
        errors: &mut Vec<Diagnostic>,
    ) {
        for (name, span, _) in &self.entries {
            if known.contains(name) {
                continue;
            }
            let shown = crate::spec::tree::abbreviate(name);
            let diagnostic = match elsewhere(name) {
                Some(place) => {
                    Diagnostic::new(*span, format!("{} takes no `{shown}`", self.what)).help(place)
                }
                None => {
                    let help = match cell::closest(name, known) {
                        Some(word) => {
                            self.misspelt.push(word.into());
                            format!("did you mean `{word}`?")
                        }
                        None => format!("it may be {}", cell::listed(known)),
                    };
                    Diagnostic::new(*span, format!("unknown field `{shown}` in {}", self.what))
                        .help(help)
                }
            };
            errors.push(diagnostic);
        }
    }

    /// The value of a field, if it is there.
    pub(super) fn get(&self, name: &str) -> Option<&'a Spanned<Node>> {
        self.entries.iter().find(|(known, ..)| *known == name).map(|(.., value)| *value)
    }

    /// The value of a field that must be there.
    pub(super) fn require(
        &self,
        name: &str,
        example: &str,
        errors: &mut Vec<Diagnostic>,
    ) -> Option<&'a Spanned<Node>> {
        let value = self.get(name);
        if value.is_none() && !self.misspelt.iter().any(|word| word == name) {
            errors.push(
                Diagnostic::new(self.span, format!("{} needs `{name}`", self.what))
                    .help(format!("add `{name}: {example}`")),
            );
        }
        value
    }

    /// A field that may be left out: `Some(None)` if it is.
    pub(super) fn optional<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, Refused>,
        errors: &mut Vec<Diagnostic>,
    ) -> Option<Option<Spanned<T>>> {
        match self.get(name) {
            Some(node) => scalar(name, node, parse, errors).map(Some),
            None => Some(None),
        }
    }

    /// A field with a default, whose place then is the whole mapping.
    pub(super) fn or<T>(
        &self,
        name: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, Refused>,
        errors: &mut Vec<Diagnostic>,
    ) -> Option<Spanned<T>> {
        let value = self.optional(name, parse, errors)?;
        Some(value.unwrap_or_else(|| Spanned::new(default, self.span)))
    }

    /// A field that must be there.
    pub(super) fn required<T>(
        &self,
        name: &str,
        example: &str,
        parse: impl FnOnce(&str) -> Result<T, Refused>,
        errors: &mut Vec<Diagnostic>,
    ) -> Option<Spanned<T>> {
        let node = self.require(name, example, errors)?;
        scalar(name, node, parse, errors)
    }
}

/// The scalar of a cell, parsed.
pub(super) fn scalar<T>(
    name: &str,
    node: &Spanned<Node>,
    parse: impl FnOnce(&str) -> Result<T, Refused>,
    errors: &mut Vec<Diagnostic>,
) -> Option<Spanned<T>> {
    let Node::Scalar(text) = &node.value else {
        let message = format!("`{name}` must be one value, found {}", node.value.describe());
        errors.push(Diagnostic::new(node.span, message));
        return None;
    };
    match parse(text) {
        Ok(value) => Some(Spanned::new(value, node.span)),
        Err(Refused { reason, help }) => {
            let mut diagnostic = Diagnostic::new(node.span, format!("`{name}` {reason}"));
            diagnostic.help = help;
            errors.push(diagnostic);
            None
        }
    }
}
