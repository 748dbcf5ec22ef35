//! `resnet!`: from the tokens of its invocation to the tokens of its types.
//!
//! The macro's crate is a doorway to [`expand`]; this is an ordinary library that tests call.
//! For each item: *parse* the call, *read* the table (a file or tokens), *check* it and its
//! budgets, *emit*. What goes wrong ends up at the token that is to blame, with a stand-in for the
//! type, so that one mistake is one error.

mod call;
mod embed;
mod error;
mod errors;
mod warnings;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proc_macro2::{Span, TokenStream};
use resnet_runtime::session::Info;

use crate::counts::grouped;
use crate::emit::rust::{self, Parts};
use crate::graph::Graph;
use crate::labels::Labels;
use crate::network::CompileError;
use crate::plan::{Plan, PlanError, arena_bytes};
use crate::schedule::{Choices, Wishes};
use crate::spec::inline::Inline;
use crate::spec::{self, Spec};

use call::{Budget, Item, Table};
use error::Error;
use errors::{Errors, Known};

/// Expands an invocation. `input` is the path of the crate `resnet` in brackets and then the
/// user's tokens; packed weights are kept in `scratch`, unless the user's crate has a folder for
/// what is made while it is built.
///
/// Never fails: what is wrong with the input is in the tokens, as `compile_error!`.
pub fn expand(input: TokenStream, scratch: &Path) -> TokenStream {
    let (krate, items, errors) = call::parse(input);
    let items: TokenStream = items.iter().map(|item| expand_item(&krate, item, scratch)).collect();
    let errors = errors::complaints(&errors);
    quote::quote!(#errors #items)
}

fn expand_item(krate: &TokenStream, item: &Item, scratch: &Path) -> TokenStream {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut known = Known { input: None, outputs: None };
    let mut tracked = Vec::new();
    let tokens = Place::read(item, &root, &mut tracked).and_then(|place| {
        known = place.known();
        let tokens = compile(krate, item, &root, &place, tracked, scratch)?;
        let warnings = place.warnings();
        Ok(quote::quote!(#tokens #warnings))
    });
    tokens.unwrap_or_else(|errors| errors::skeleton(krate, item, &errors, &known))
}

fn compile(
    krate: &TokenStream,
    item: &Item,
    root: &Path,
    place: &Place,
    mut tracked: Vec<String>,
    scratch: &Path,
) -> Result<TokenStream, Errors> {
    let spec = place.spec()?;
    let graph = Graph::build(spec).map_err(|error| place.errors(&error))?;
    let mut wishes = wishes(item, root, &mut tracked)?;
    let weights = match &item.weights {
        Some(path) => {
            let file = root.join(&path.value);
            tracked.push(text(&file, path.span)?);
            let opened = embed::open(&file, &path.value);
            Some((path, opened.map_err(|message| Errors::one(path.span, message))?))
        }
        None => None,
    };
    if let Some((_, weights)) = &weights {
        wishes.quantised = Arc::new(weights.quantised());
    }
    let plan = Plan::new(&graph, &wishes).map_err(|error| planning(item, place, error.into()))?;
    // A table is not written for a batch size.
    let single = &plan.programs[plan.programs.len() - 1..];
    spec.check_arena_bytes(arena_bytes(single) as u64).map_err(|error| place.errors(&error))?;
    check_budgets(item, &plan.info)?;
    let labels = labels(item, spec, &graph, root, place, &mut tracked)?;
    let embedded = match &weights {
        Some((path, weights)) => {
            let file = root.join(&path.value);
            let packed = embed::embed(&file, &path.value, weights, item, &plan, scratch)
                .map_err(|message| Errors::one(path.span, message))?;
            Some(text(&packed, path.span)?)
        }
        None => None,
    };
    let parts = Parts {
        krate,
        attributes: &item.attributes,
        visibility: &item.visibility,
        name: &item.name,
        preprocess: &spec.preprocess,
        labels: &labels,
        embedded: embedded.as_deref(),
        tracked: &tracked,
    };
    rust::emit(&plan, &parts).map_err(|error| planning(item, place, error.into()))
}

/// A network that cannot be planned, at what is to blame.
fn planning(item: &Item, place: &Place, error: CompileError) -> Errors {
    let name = item.name.span();
    match error {
        CompileError::Table(error) => place.errors(&error),
        CompileError::Plan(error @ PlanError::Precision { .. }) => {
            Errors::one(item.precision.map_or(name, |(_, span)| span), error.to_string())
        }
        CompileError::Plan(PlanError::Choices(error)) => {
            Errors::one(item.schedule.as_ref().map_or(name, |path| path.span), error.to_string())
        }
        CompileError::Plan(PlanError::Memory { memory, least }) => {
            let (mut with, mut or) = ("", "");
            if item.schedule.is_some() {
                (with, or) = (" with the algorithms of its schedule", ", or leave `schedule` out");
            } else if item.wishes.batch > 1 {
                or = ", or a smaller `batch`";
            }
            let message = format!(
                "`{}` needs at least {} bytes for weights, activations, pictures and answers{with}, \
                 and may have {}: write `memory = {least}` or more{or}",
                item.name,
                grouped(least as u64),
                grouped(memory as u64),
            );
            Errors::one(item.memory.unwrap_or(name), message)
        }
        other => Errors::one(name, other.to_string()),
    }
}

/// The options, with the saved schedule if one is named.
fn wishes(item: &Item, root: &Path, tracked: &mut Vec<String>) -> Result<Wishes, Errors> {
    let mut measured = None;
    if let Some(path) = &item.schedule {
        let file = root.join(&path.value);
        let saved = resnet_runtime::file::read_text(&file)
            .map_err(|error| Errors::one(path.span, unreadable("schedule", path, &error)))?;
        tracked.push(text(&file, path.span)?);
        let choices: Choices = saved
            .parse()
            .map_err(|error| Errors::one(path.span, format!("`{}`, {error}", path.value)))?;
        measured = Some(Arc::new(choices));
    }
    let precision = item.precision.map(|(precision, _)| precision);
    Ok(item.wishes.clone().with(measured, precision))
}

/// A table with the way back from its places to the user's tokens.
enum Place {
    /// A file; every error is at its path, and shows the file's line.
    File { spec: Result<Spec, crate::diagnostics::Diagnostics>, path: Span, folder: PathBuf },
    /// Tokens; every error is at its own.
    Inline(Inline, Span),
}

impl Place {
    fn read(item: &Item, root: &Path, tracked: &mut Vec<String>) -> Result<Self, Errors> {
        match &item.table {
            Table::File(path) => {
                let file = root.join(&path.value);
                let yaml = resnet_runtime::file::read_text(&file)
                    .map_err(|error| Errors::one(path.span, unreadable("table", path, &error)))?;
                tracked.push(text(&file, path.span)?);
                let folder = file.parent().unwrap_or(root).to_owned();
                let spec = Spec::from_yaml_named(&yaml, &path.value);
                Ok(Self::File { spec, path: path.span, folder })
            }
            Table::Inline { input, body } => {
                let inline = Inline::read(&item.name, input.clone(), body.clone());
                Ok(Self::Inline(inline, item.name.span()))
            }
        }
    }

    fn spec(&self) -> Result<&Spec, Errors> {
        let spec = match self {
            Self::File { spec, .. } => spec,
            Self::Inline(inline, _) => &inline.spec,
        };
        spec.as_ref().map_err(|error| self.errors(error))
    }

    /// What can be told of the network even if its table is wrong.
    fn known(&self) -> Known {
        let spec = match self {
            Self::File { spec, .. } => spec,
            Self::Inline(inline, _) => &inline.spec,
        };
        let graph = spec.as_ref().ok().and_then(|spec| Graph::build(spec).ok());
        let outputs = graph.map(|graph| graph.output_len());
        match spec {
            Ok(spec) => {
                let shape = spec.input.value;
                let input = Some([shape.channels, shape.height, shape.width]);
                Known { input, outputs: outputs.or_else(|| classes(spec.source.text())) }
            }
            Err(error) => Known { input: None, outputs: classes(error.source().text()) },
        }
    }

    fn warnings(&self) -> TokenStream {
        match self {
            Self::File { spec: Ok(spec), path, .. } => warnings::in_file(&spec.warnings(), *path),
            Self::Inline(inline @ Inline { spec: Ok(spec), .. }, name) => {
                warnings::inline(&spec.warnings(), inline, *name)
            }
            Self::File { spec: Err(_), .. } | Self::Inline(..) => TokenStream::new(),
        }
    }

    fn errors(&self, error: &crate::diagnostics::Diagnostics) -> Errors {
        match self {
            Self::File { path, .. } => Errors::one(*path, errors::in_file(error)),
            Self::Inline(inline, name) => errors::inline(error, inline, *name),
        }
    }

    /// The span for what a part of the spec is to blame for.
    fn locate(&self, span: crate::diagnostics::Span) -> (Span, Span) {
        match self {
            Self::File { path, .. } => (*path, *path),
            Self::Inline(inline, name) => inline.tokens(span).unwrap_or((*name, *name)),
        }
    }
}

/// A guess at the classes of a table that cannot be read: the first number behind the last
/// `linear`. A wrong one does no more than add an error to those that there are.
fn classes(table: &str) -> Option<usize> {
    let (_, rest) = table.rsplit_once("linear")?;
    let digits = rest.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

fn unreadable(what: &str, path: &call::Text, error: &std::io::Error) -> String {
    let reason = match error.kind() {
        std::io::ErrorKind::NotFound => {
            "there is no such file; the path counts from the folder of the crate's Cargo.toml"
                .to_owned()
        }
        _ => error.to_string(),
    };
    format!("cannot read the {what} `{}`: {reason}", path.value)
}

/// A path as text, for `include_bytes!`.
fn text(path: &Path, span: Span) -> Result<String, Errors> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Errors::one(span, format!("the path `{}` is not valid Unicode", path.display()))
    })
}

fn check_budgets(item: &Item, info: &Info) -> Result<(), Errors> {
    let over = item.budgets.iter().filter_map(|Budget { field, most, span }| {
        let (count, unit) = match field.as_str() {
            "params" => (info.params, "parameters"),
            "macs" => (info.macs, "multiply-adds for a picture"),
            _ => (info.arena_bytes as u64, "bytes of memory for activations in a session"),
        };
        let message = format!(
            "`{}` has {} {unit}; its budget is {}",
            item.name,
            grouped(count),
            grouped(*most)
        );
        (count > *most).then(|| Error::new((*span, *span), message))
    });
    Errors::or(over.collect(), ())
}

/// The names of the classes, one for each number of the answer.
fn labels(
    item: &Item,
    spec: &Spec,
    graph: &Graph,
    root: &Path,
    place: &Place,
    tracked: &mut Vec<String>,
) -> Result<Vec<String>, Errors> {
    let Some(labels) = &spec.labels else { return Ok(Vec::new()) };
    let span = place.locate(labels.span);
    let labels = match &labels.value {
        spec::Labels::Names(names) => Labels::new(names.clone()),
        spec::Labels::File(path) => {
            let folder = match place {
                Place::File { folder, .. } => folder,
                Place::Inline(..) => root,
            };
            let file = folder.join(path);
            if file.exists() {
                tracked.push(text(&file, span.0)?);
            }
            Labels::read(&file).map_err(|error| {
                Error::new(span, format!("cannot read the labels `{path}`: {error}"))
            })?
        }
    };
    let labels = labels.for_network(&item.name.to_string(), graph.output_len());
    Ok(labels.map_err(|error| Error::new(span, error.to_string()))?.names().to_vec())
}
