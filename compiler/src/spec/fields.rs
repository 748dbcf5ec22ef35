//! A mapping whose fields are taken one by one, with complaints about what is not as it should be.

use crate::diagnostics::{Diagnostic, Span, Spanned};
use crate::spec::cell::{self, Refused};
use crate::spec::errors::{Errors, Read, Reported};
use crate::spec::tree::Node;

/// A mapping whose keys are all known, each of them once.
///
/// The methods that take a field push their complaints.
pub(super) struct Fields<'a> {
    /// What messages call the mapping, such as "the table" or "a `conv` row".
    pub(super) what: String,
    /// Where it is.
    pub(super) span: Span,
    entries: Vec<(&'a str, Span, &'a Spanned<Node>)>,
    /// Fields that are there under a misspelt name: complained of once, not missing as well.
    misspelt: Vec<(String, Reported)>,
}

impl<'a> Fields<'a> {
    /// The fields of a mapping, whatever they are called.
    pub(super) fn open(
        node: &'a Spanned<Node>,
        what: impl Into<String>,
        errors: &mut Errors,
    ) -> Read<Self> {
        let what = what.into();
        let Node::Mapping(pairs) = &node.value else {
            return Err(errors.push(
                Diagnostic::new(
                    node.span,
                    format!("{what} must be a mapping, found {}", node.value.describe()),
                )
                .help("write `{field: value, ...}`, or one `field: value` a line"),
            ));
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
                Some((_, first, _)) => {
                    errors.push(
                        Diagnostic::new(key.span, format!("`{name}` is given twice in {what}"))
                            .related(*first, "first here")
                            .help("remove one of them"),
                    );
                }
                None => entries.push((name, key.span, value)),
            }
            if entries.len() > 1000 {
                return Err(
                    errors.push(Diagnostic::new(node.span, format!("{what} has too many fields")))
                );
            }
        }
        Ok(Self { what, span: node.span, entries, misspelt: Vec::new() })
    }

    /// Complains of fields that are not in `known`; `elsewhere` says of a field what takes it.
    pub(super) fn check_known(
        &mut self,
        known: &[&str],
        elsewhere: impl Fn(&str) -> Option<String>,
        errors: &mut Errors,
    ) {
        for (name, span, _) in &self.entries {
            if known.contains(name) {
                continue;
            }
            let shown = crate::spec::tree::abbreviate(name);
            if let Some(place) = elsewhere(name) {
                let message = format!("{} takes no `{shown}`", self.what);
                errors.push(Diagnostic::new(*span, message).help(place));
                continue;
            }
            let near = cell::closest(name, known);
            let help = match near {
                Some(word) => format!("did you mean `{word}`?"),
                None => format!("it may be {}", cell::listed(known)),
            };
            let message = format!("unknown field `{shown}` in {}", self.what);
            let mut diagnostic = Diagnostic::new(*span, message).help(help);
            // The same word under another name is another mistake.
            if let Some(word) = near.filter(|word| self.get(word).is_none()) {
                diagnostic = diagnostic.fix_word(*span, word);
            }
            let reported = errors.push(diagnostic);
            self.misspelt.extend(near.map(|word| (word.to_owned(), reported)));
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
        errors: &mut Errors,
    ) -> Read<&'a Spanned<Node>> {
        if let Some(value) = self.get(name) {
            return Ok(value);
        }
        Err(match self.misspelt.iter().find(|(word, _)| word == name) {
            Some((_, reported)) => *reported,
            None => errors.push(
                Diagnostic::new(self.span, format!("{} needs `{name}`", self.what))
                    .help(format!("add `{name}: {example}`")),
            ),
        })
    }

    /// A field that may be left out: `None` if it is.
    pub(super) fn optional<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, Refused>,
        errors: &mut Errors,
    ) -> Read<Option<Spanned<T>>> {
        match self.get(name) {
            Some(node) => scalar(name, node, parse, errors).map(Some),
            None => Ok(None),
        }
    }

    /// A field with a default, whose place then is the whole mapping.
    pub(super) fn or<T>(
        &self,
        name: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, Refused>,
        errors: &mut Errors,
    ) -> Read<Spanned<T>> {
        let value = self.optional(name, parse, errors)?;
        Ok(value.unwrap_or_else(|| Spanned::new(default, self.span)))
    }

    /// A field that must be there.
    pub(super) fn required<T>(
        &self,
        name: &str,
        example: &str,
        parse: impl FnOnce(&str) -> Result<T, Refused>,
        errors: &mut Errors,
    ) -> Read<Spanned<T>> {
        let node = self.require(name, example, errors)?;
        scalar(name, node, parse, errors)
    }
}

/// The scalar of a cell, parsed.
pub(super) fn scalar<T>(
    name: &str,
    node: &Spanned<Node>,
    parse: impl FnOnce(&str) -> Result<T, Refused>,
    errors: &mut Errors,
) -> Read<Spanned<T>> {
    let Node::Scalar(text) = &node.value else {
        let message = format!("`{name}` must be one value, found {}", node.value.describe());
        return Err(errors.push(Diagnostic::new(node.span, message)));
    };
    match parse(text) {
        Ok(value) => Ok(Spanned::new(value, node.span)),
        Err(Refused { reason, help, meant }) => {
            let mut diagnostic = Diagnostic::new(node.span, format!("`{name}` {reason}"));
            diagnostic.help = help;
            if let Some(word) = meant {
                diagnostic = diagnostic.fix(node.span, name, word);
            }
            Err(errors.push(diagnostic))
        }
    }
}
