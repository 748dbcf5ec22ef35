//! What a table says beside its rows.

use resnet_runtime::picture::Preprocess;

use super::{Errors, positive};
use crate::diagnostics::{Diagnostic, Spanned};
use crate::graph::{Extent, Shape};
use crate::spec::cell::{self, Refused};
use crate::spec::fields::{Fields, scalar};
use crate::spec::tree::{self, Node};
use crate::spec::{Expect, Expected, Labels};

const EXPECT: &[&str] = &["depth", "params", "macs", "flops", "arena_bytes"];

/// A list of rows' names; empty if it is left out.
pub(super) fn read_features(
    node: Option<&Spanned<Node>>,
    errors: &mut Errors,
) -> Option<Vec<Spanned<String>>> {
    let Some(node) = node else { return Some(Vec::new()) };
    let items = match &node.value {
        Node::Sequence(items) if !items.is_empty() => items,
        other => {
            let message = format!("`features` needs a list of layers, found {}", other.describe());
            let help = "write the names of rows, such as [conv2_x, conv3_x, conv4_x, conv5_x]";
            errors.push(Diagnostic::new(node.span, message).help(help));
            return None;
        }
    };
    let names: Vec<_> =
        items.iter().filter_map(|item| scalar("features", item, cell::name, errors)).collect();
    (names.len() == items.len()).then_some(names)
}

pub(super) fn read_expect(node: &Spanned<Node>, errors: &mut Errors) -> Option<Expect> {
    let mut fields = Fields::open(node, "`expect`", errors)?;
    fields.check_known(EXPECT, |_| None, errors);
    let mut count = |name: &str| {
        let parse = |text: &str| {
            Expected::parse(text).ok_or_else(|| Refused {
                reason: format!("is `{}`, which is not a count", tree::abbreviate(text)),
                help: Some("write a number without a unit, such as 11689512 or 1.814e9".into()),
            })
        };
        fields.optional(name, parse, errors)
    };
    let [depth, params, macs, flops, arena_bytes] =
        [count("depth"), count("params"), count("macs"), count("flops"), count("arena_bytes")];
    Some(Expect {
        depth: depth?,
        params: params?,
        macs: macs?,
        flops: flops?,
        arena_bytes: arena_bytes?,
    })
}

/// The way from a picture to the network's input; everything has a default.
pub(super) fn read_preprocess(
    node: Option<&Spanned<Node>>,
    input: Option<&Spanned<Shape>>,
    errors: &mut Errors,
) -> Option<Preprocess> {
    let mut fields = match node {
        Some(node) => Some(Fields::open(node, "`preprocess`", errors)?),
        None => None,
    };
    if let Some(fields) = &mut fields {
        fields.check_known(&["resize", "crop", "mean", "std"], |_| None, errors);
    }
    let input = input?.value;
    let own = Extent::new(input.height, input.width);
    let longer = input.height.max(input.width);
    let size = (input.height, input.width);
    let Some(fields) = fields else {
        let (resize, crop) = (Some(longer), Some(size));
        return Some(Preprocess { resize, crop, ..Preprocess::default() });
    };
    let crop = fields.or("crop", own, |text| cell::extent(text, 1), errors);
    let resize = fields.or("resize", longer, |text| cell::number(text, 1), errors);
    if let Some(crop) = crop.filter(|crop| crop.value != own) {
        let message = format!("the crop is {}, but the network reads {input}", crop.value);
        let help = format!("write `crop: {own}`, or leave it out");
        errors.push(Diagnostic::new(crop.span, message).help(help));
    } else if let Some(resize) = resize.filter(|resize| resize.value < longer) {
        let message = format!("a side of {} pixels is shorter than the crop", resize.value);
        let help = format!("write at least `resize: {longer}`");
        errors.push(Diagnostic::new(resize.span, message).help(help));
    }
    let mean = read_channel_list(&fields, "mean", input.channels, cell::real, errors);
    let std = read_channel_list(&fields, "std", input.channels, positive, errors);
    crop?;
    Some(Preprocess { resize: Some(resize?.value), crop: Some(size), mean: mean?, std: std? })
}

/// A list with a number for every channel or one for all; empty if it is left out.
fn read_channel_list(
    fields: &Fields<'_>,
    name: &str,
    channels: usize,
    parse: fn(&str) -> Result<f64, Refused>,
    errors: &mut Errors,
) -> Option<Vec<f32>> {
    let Some(node) = fields.get(name) else { return Some(Vec::new()) };
    let found = match &node.value {
        Node::Sequence(items) if items.len() == channels || items.len() == 1 => {
            let numbers: Vec<f32> = items
                .iter()
                .filter_map(|item| scalar(name, item, parse, errors))
                .map(|number| number.value as f32)
                .collect();
            return (numbers.len() == items.len()).then_some(numbers);
        }
        Node::Sequence(items) => items.len().to_string(),
        other => other.describe(),
    };
    let message = format!("`{name}` needs a list of {channels} numbers, found {found}");
    let help = "write a number for each channel, or a list of one number for all";
    errors.push(Diagnostic::new(node.span, message).help(help));
    None
}

pub(super) fn read_labels(node: &Spanned<Node>, errors: &mut Errors) -> Option<Spanned<Labels>> {
    let labels = match &node.value {
        Node::Sequence(items) => {
            let names: Vec<String> = items
                .iter()
                .filter_map(|item| scalar("labels", item, cell::name, errors))
                .map(|name| name.value)
                .collect();
            (names.len() == items.len()).then_some(Labels::Names(names))?
        }
        _ => Labels::File(scalar("labels", node, cell::name, errors)?.value),
    };
    Some(Spanned::new(labels, node.span))
}
