//! A network by its name, or by its table's file, with what belongs to it: what a command, or a binding for
//! another language, reads first.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use resnet_runtime::file;

use crate::diagnostics::Diagnostics;
use crate::graph::Graph;
use crate::labels::{Labels, LabelsError};
use crate::network::Compiler;
use crate::network::Options;
use crate::plan::{Plan, PlanError};
use crate::report::Report;
use crate::schedule::Wishes;
use crate::spec::{self, Spec};
use crate::zoo::{ZOO, zoo};

/// A table and where it came from.
#[derive(Clone, Debug)]
pub struct Model {
    /// The table.
    pub spec: Spec,
    origin: Origin,
}

#[derive(Clone, Debug)]
enum Origin {
    Zoo,
    File(PathBuf),
    Text,
}

/// Why a model could not be opened.
#[derive(thiserror::Error)]
pub enum ModelError {
    /// There is no file and no network of the zoo of this name.
    #[error(
        "`{name}` is neither a file nor a network of the zoo{}\nnetworks: {}",
        did_you_mean(near),
        names()
    )]
    Unknown {
        /// The name.
        name: String,
        /// Networks of the zoo whose names are nearly the same.
        near: Vec<&'static str>,
    },
    /// A file could not be read as text.
    #[error("cannot read the {what} `{path}`{}: {reason}", inside(*carried))]
    Read {
        /// `table` or `labels`.
        what: &'static str,
        /// The path as it was given.
        path: String,
        /// What the operating system says, or what is wrong with the content.
        reason: io::Error,
        /// The network of the zoo that the file is called after, if there is no such file.
        carried: Option<&'static str>,
    },
    /// The table contradicts itself.
    #[error(transparent)]
    Table(#[from] Diagnostics),
    /// There are more or fewer labels than classes.
    #[error(transparent)]
    Labels(#[from] LabelsError),
    /// The network cannot be planned so.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// As [`Display`](fmt::Display), so that a program which ends in an error prints it legibly.
impl fmt::Debug for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ModelError {
    /// The error that there is no network of this name, with those of names that are nearly the same.
    pub fn unknown(name: &str) -> Self {
        Self::Unknown { name: name.to_owned(), near: near(name) }
    }
}

fn did_you_mean(near: &[&str]) -> String {
    let near: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
    if near.is_empty() { String::new() } else { format!("\ndid you mean {}?", near.join(" or ")) }
}

fn names() -> String {
    ZOO.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

fn inside(carried: Option<&str>) -> String {
    carried.map_or(String::new(), |name| format!(" (the zoo has `{name}`, without `.yaml`)"))
}

impl Model {
    /// Reads a table from a file, or takes a network of the zoo by its name.
    ///
    /// A file that is there is meant, whatever its name; a bare word may be of the zoo.
    ///
    /// # Errors
    ///
    /// A name that is neither, a file that cannot be read, a table that contradicts itself.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let model = &*path.to_string_lossy();
        if !path.is_file()
            && let Some(text) = zoo(model)
        {
            return Ok(Self { spec: Spec::from_yaml_named(text, model)?, origin: Origin::Zoo });
        }
        let looks_like_a_path =
            path.components().count() > 1 || path.extension().is_some() || path.exists();
        if !looks_like_a_path {
            return Err(ModelError::unknown(model));
        }
        let text = file::read_text(path).map_err(|reason| {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let known = ZOO.iter().map(|(name, _)| *name).find(|name| *name == stem);
            ModelError::Read {
                what: "table",
                path: model.to_owned(),
                reason,
                carried: known.filter(|_| !path.exists()),
            }
        })?;
        Ok(Self {
            spec: Spec::from_yaml_named(&text, model)?,
            origin: Origin::File(path.to_owned()),
        })
    }

    /// Reads a table that is no file; messages call it `name`, and other files that it names are looked
    /// for where the process is.
    ///
    /// # Errors
    ///
    /// A table that contradicts itself.
    pub fn from_text(text: &str, name: &str) -> Result<Self, ModelError> {
        Ok(Self { spec: Spec::from_yaml_named(text, name)?, origin: Origin::Text })
    }

    /// Compiles the table, with options that are set first.
    pub fn compiler(&self) -> Compiler<'_> {
        Compiler::new(&self.spec)
    }

    /// The table's file, if it was read from one.
    pub fn path(&self) -> Option<&Path> {
        match &self.origin {
            Origin::File(path) => Some(path),
            Origin::Zoo | Origin::Text => None,
        }
    }

    /// The files that the model is in: the table's and the labels'.
    pub fn files(&self) -> Vec<PathBuf> {
        let labels = self.spec.labels.as_ref().and_then(|labels| match &labels.value {
            spec::Labels::File(name) => Some(self.beside(name)),
            spec::Labels::Names(_) => None,
        });
        self.path().map(Path::to_owned).into_iter().chain(labels).collect()
    }

    /// The file that the table calls `name`.
    fn beside(&self, name: &str) -> PathBuf {
        self.path().and_then(Path::parent).unwrap_or(Path::new("")).join(name)
    }

    /// The names of the classes, of which there are `classes`; `None` if the table has none. The zoo's
    /// networks of a thousand classes are ImageNet's.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or another number of names.
    pub fn labels(&self, classes: usize) -> Result<Option<Labels>, ModelError> {
        let labels = match (self.spec.labels.as_ref().map(|labels| &labels.value), &self.origin) {
            (Some(spec::Labels::Names(names)), _) => Labels::new(names.clone()),
            (Some(spec::Labels::File(name)), _) => {
                let path = self.beside(name);
                Labels::read(&path).map_err(|reason| {
                    let path = path.display().to_string();
                    ModelError::Read { what: "labels", path, reason, carried: None }
                })?
            }
            (None, Origin::Zoo) if classes == 1000 => Labels::imagenet(),
            (None, _) => return Ok(None),
        };
        Ok(Some(labels.for_network(&self.spec.name.value, classes)?))
    }

    /// Checks the table: its graph, labels and budgets; counts what it has, its memory with these options, and
    /// what it is warned of.
    ///
    /// # Errors
    ///
    /// A table that contradicts itself or goes over its budgets, labels that do not suit, options that cannot be
    /// met.
    pub fn report(&self, options: &Options) -> Result<Report, ModelError> {
        let graph = Graph::build(&self.spec)?;
        self.labels(graph.output_len())?;
        let arena_bytes = |batch| -> Result<u64, ModelError> {
            let wishes = Wishes { batch, ..options.wishes() };
            Ok(Plan::new(&graph, &wishes)?.info.arena_bytes as u64)
        };
        // What is expected is said of one picture at a time, whatever batch is looked at.
        self.spec.check_arena_bytes(arena_bytes(1)?)?;
        let report = Report::new(&graph, Some(arena_bytes(options.batch)?));
        Ok(report.with_warnings(&self.spec.warnings()))
    }

    /// Whether the table says how pictures are normalised, as nearly every trained network needs.
    pub fn normalises(&self) -> bool {
        let preprocess = &self.spec.preprocess;
        !(preprocess.mean.is_empty() && preprocess.std.is_empty())
    }
}

/// The networks of the zoo whose names are nearest, three at most.
fn near(name: &str) -> Vec<&'static str> {
    let mut near: Vec<(usize, &str)> = ZOO
        .iter()
        .map(|(known, _)| (strsim::damerau_levenshtein(&name.to_lowercase(), known), *known))
        .filter(|(distance, known)| *distance <= 2.max(known.len() / 4))
        .collect();
    near.sort();
    near.into_iter().take(3).map(|(_, known)| known).collect()
}
