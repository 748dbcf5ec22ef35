//! The walk from the YAML tree to a [`Spec`], against the schema.

mod block;
mod common;
mod facts;
mod row;

use std::collections::HashMap;

use resnet_runtime::kernels::Activation;

use crate::diagnostics::{Diagnostic, Diagnostics, Source, Span, Spanned};
use crate::spec::cell::{self, Refused};
use crate::spec::errors::{Errors, Read, all};
use crate::spec::fields::Fields;
use crate::spec::tree::{self, Node};
use crate::spec::{Expect, Row, Spec, Standardization};

const TOP: &[&str] = &[
    "name",
    "input",
    "table",
    "norm_epsilon",
    "pre_activation",
    "activation",
    "weight_standardization",
    "features",
    "allow",
    "expect",
    "preprocess",
    "labels",
];

/// Reads the whole text, collecting every mistake.
pub(super) fn read(source: Source) -> Result<Spec, Diagnostics> {
    let root = tree::parse(&source)?;
    read_tree(source, &root, "the file")
}

/// Reads a tree whose places are in `source`, whatever language it was written in; messages call
/// it `what`.
pub(super) fn read_tree(
    source: Source,
    root: &Spanned<Node>,
    what: &str,
) -> Result<Spec, Diagnostics> {
    let mut errors = Errors::default();
    let spec = read_top(&source, root, what, &mut errors);
    errors.or(&source, spec)
}

fn read_top(source: &Source, root: &Spanned<Node>, what: &str, errors: &mut Errors) -> Read<Spec> {
    if matches!(root.value, Node::Null) {
        return Err(errors.push(
            Diagnostic::new(root.span, "the table is empty")
                .help("a table has the fields `name`, `input` and `table`"),
        ));
    }
    let mut top = Fields::open(root, what, errors)?;
    top.check_known(TOP, |_| None, errors);
    let name = top.required("name", "my_resnet", cell::name, errors);
    let input = top.required("input", "3x224x224", cell::shape, errors);
    let table = top
        .require("table", "[{layer: conv1, op: conv, kernel: 7, channels: 64}]", errors)
        .and_then(|node| read_table(node, errors));
    let norm_epsilon = top.or("norm_epsilon", 1e-5, positive, errors);
    let pre_activation = top.or("pre_activation", false, cell::boolean, errors);
    let activation = top.or("activation", Activation::Relu, common::activation, errors);
    let standardization = common::read_standardization(&top, errors);
    let features = facts::read_features(top.get("features"), errors);
    let allow = facts::read_allow(top.get("allow"), errors);
    let expect =
        top.get("expect").map_or(Ok(Expect::default()), |node| facts::read_expect(node, errors));
    let preprocess = facts::read_preprocess(top.get("preprocess"), input, errors);
    let labels = match top.get("labels") {
        Some(node) => facts::read_labels(node, errors).map(Some),
        None => Ok(None),
    };
    Ok(Spec {
        source: source.clone(),
        name: name?,
        input: input?,
        table: table?,
        norm_epsilon: norm_epsilon?.value,
        pre_activation: pre_activation?.value,
        activation: activation?.value,
        weight_standardization: standardization?.unwrap_or(Standardization::Off),
        features: features?,
        allow: allow?,
        expect: expect?,
        preprocess: preprocess?,
        labels: labels?,
    })
}

fn positive(text: &str) -> Result<f64, Refused> {
    let value = cell::real(text)?;
    // Smaller ones vanish in the network's own precision.
    if value as f32 > 0.0 {
        return Ok(value);
    }
    let help = "write a positive number such as 1e-5";
    Err(Refused::new(format!("is {text}; it must be positive"), help))
}

fn read_table(node: &Spanned<Node>, errors: &mut Errors) -> Read<Vec<Row>> {
    let Node::Sequence(items) = &node.value else {
        let message = format!("`table` must be a list of rows, found {}", node.value.describe());
        return Err(errors.push(
            Diagnostic::new(node.span, message)
                .help("write one row a line: `- {layer: conv1, op: conv, ...}`"),
        ));
    };
    if items.is_empty() {
        return Err(errors.push(Diagnostic::new(node.span, "`table` has no rows").help(
            "write at least one row, such as `- {layer: conv1, op: conv, kernel: 3, channels: 16}`",
        )));
    }
    let mut names: HashMap<&str, Span> = HashMap::new();
    all(items.iter().map(|item| {
        let fields = Fields::open(item, "a row", errors)?;
        if let Some(Spanned { value: Node::Scalar(name), span }) = fields.get("layer") {
            match names.get(name.as_str()) {
                Some(first) => {
                    let message = format!("there are two layers `{}`", tree::abbreviate(name));
                    errors.push(
                        Diagnostic::new(*span, message)
                            .related(*first, "the first")
                            .help("give every row a name of its own"),
                    );
                }
                None => {
                    names.insert(name, *span);
                }
            }
        }
        row::read_row(fields, errors)
    }))
}
