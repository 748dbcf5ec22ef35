//! What the command says beside its results, on stderr: for people, or with `--format json` an object a
//! line, for programs.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use resnet::{CompileError, Diagnostics, ModelError, Warnings};
use resnet_compiler::diagnostics::{Diagnostic, Source};
use resnet_compiler::family::FamilyError;
use serde::Serialize;

use crate::args::{Arguments, ColorName};
use crate::hints;

/// How weighty a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Note,
    Warning,
    Error,
}

#[derive(Clone, Copy, Debug, Default)]
struct Voice {
    quiet: bool,
    json: bool,
    color: bool,
}

static VOICE: OnceLock<Voice> = OnceLock::new();

/// Speaks as the command line asks from here on.
pub(crate) fn set(arguments: &Arguments) {
    let voice = Voice {
        quiet: arguments.quiet,
        json: arguments.command.is_json(),
        color: has_colors(arguments.color),
    };
    let _ = VOICE.set(voice);
}

fn voice() -> Voice {
    VOICE.get().copied().unwrap_or_default()
}

/// Whether nothing but errors is said.
pub(crate) fn is_quiet() -> bool {
    voice().quiet
}

fn has_colors(wish: ColorName) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match wish {
        ColorName::Always => true,
        ColorName::Never => false,
        ColorName::Auto => {
            let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
            io::stderr().is_terminal() && !set("NO_COLOR") && !dumb
        }
    }
}

/// What programs read; the JSON has these names.
#[derive(Serialize)]
struct Line<'a> {
    level: Level,
    message: String,
    /// The file, line and column that a mistake in a table is at, and the text that stands there.
    #[serde(flatten)]
    place: Option<Place<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

#[derive(Serialize)]
struct Place<'a> {
    file: &'a str,
    line: usize,
    column: usize,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notes: &'a [String],
}

/// Says a line. Where nobody reads it any more, that is no reason to stop.
pub(crate) fn say(level: Level, message: impl Display) {
    if level != Level::Error && voice().quiet {
        return;
    }
    line(&Line { level, message: message.to_string(), place: None, help: None });
}

fn line(line: &Line<'_>) {
    let Voice { json, color, .. } = voice();
    let Line { level, message, help, .. } = line;
    if json {
        let text = serde_json::to_string(line).unwrap_or_default();
        print(&text);
        return;
    }
    let (word, style) = match level {
        Level::Note => ("note", "\x1b[1;92m"),
        Level::Warning => ("warning", "\x1b[1;93m"),
        Level::Error => ("error", "\x1b[1;91m"),
    };
    let dyed = |word: &str, style: &str| match color {
        true => format!("{style}{word}\x1b[0m"),
        false => word.to_owned(),
    };
    print(&format!("{}: {}", dyed(word, style), escaped(message, "\n\t")));
    if let Some(help) = help {
        print(&format!("{}: {help}", dyed("help", "\x1b[1;96m")));
    }
}

/// A text without control characters, which may be in the names of files and tensors and would command a terminal;
/// but for those in `kept`.
pub(crate) fn escaped<'a>(text: &'a str, kept: &str) -> Cow<'a, str> {
    let commands = |c: char| c.is_control() && !kept.contains(c);
    if !text.contains(commands) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match commands(c) {
            true => plain.extend(c.escape_default()),
            false => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

fn print(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Says what is wrong. Mistakes in a table are drawn with the text that they point at; everything else is a line.
pub(crate) fn report(error: &anyhow::Error) {
    let of_compile = || match error.downcast_ref() {
        Some(CompileError::Table(diagnostics)) => Some(diagnostics),
        _ => None,
    };
    let of_family = || match error.downcast_ref() {
        Some(FamilyError::Table(diagnostics)) => Some(diagnostics),
        _ => None,
    };
    let of_model = || match error.downcast_ref() {
        Some(ModelError::Table(diagnostics)) => Some(diagnostics),
        _ => None,
    };
    let table: Option<&Diagnostics> = error.downcast_ref();
    match table.or_else(of_compile).or_else(of_family).or_else(of_model) {
        Some(table) if voice().json => {
            for diagnostic in table.list() {
                line(&at(Level::Error, table.source(), diagnostic));
            }
        }
        Some(table) => print(&table.render(voice().color)),
        None => {
            let help = hints::hint(error);
            line(&Line { level: Level::Error, message: format!("{error:#}"), place: None, help });
        }
    }
}

/// Says what a table is warned of, drawn as its mistakes are.
pub(crate) fn warnings(warnings: &Warnings) {
    match voice() {
        Voice { quiet: true, .. } => {}
        Voice { json: true, .. } => {
            for warning in warnings.list() {
                line(&at(Level::Warning, warnings.source(), &warning.diagnostic));
            }
        }
        Voice { color, .. } if !warnings.is_empty() => {
            print(&format!("{}\n", warnings.render(color)));
        }
        Voice { .. } => {}
    }
}

fn at<'a>(level: Level, source: &'a Source, diagnostic: &'a Diagnostic) -> Line<'a> {
    let (line, column) = source.line_column(diagnostic.span);
    let place = Place {
        file: source.name(),
        line,
        column,
        text: source.slice(diagnostic.span),
        label: diagnostic.label.as_deref(),
        notes: &diagnostic.notes,
    };
    Line {
        level,
        message: diagnostic.message.clone(),
        place: Some(place),
        help: diagnostic.help.clone(),
    }
}

macro_rules! note {
    ($($argument:tt)*) => { crate::voice::say(crate::voice::Level::Note, format_args!($($argument)*)) };
}
macro_rules! warning {
    ($($argument:tt)*) => { crate::voice::say(crate::voice::Level::Warning, format_args!($($argument)*)) };
}
macro_rules! error {
    ($($argument:tt)*) => { crate::voice::say(crate::voice::Level::Error, format_args!($($argument)*)) };
}
pub(crate) use {error, note, warning};
