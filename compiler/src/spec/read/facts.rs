//! What a table says beside its rows.

use resnet_runtime::picture::{Channels, Filter, Preprocess, Resize};

use super::positive;
use crate::diagnostics::{Diagnostic, Spanned};
use crate::geometry::{Extent, Shape};
use crate::spec::cell::{self, Refused};
use crate::spec::errors::{Errors, Read, all};
use crate::spec::fields::{Fields, scalar};
use crate::spec::tree::{self, Node};
use crate::spec::{Expect, Expected, Labels, Lint};

const PREPROCESS: &[&str] =
    &["resize", "crop_pct", "filter", "antialias", "crop", "mean", "std", "channels"];

const EXPECT: &[&str] = &["depth", "params", "macs", "flops", "arena_bytes"];

/// A list of rows' names; empty if it is left out.
pub(super) fn read_features(
    node: Option<&Spanned<Node>>,
    errors: &mut Errors,
) -> Read<Vec<Spanned<String>>> {
    let Some(node) = node else { return Ok(Vec::new()) };
    let items = match &node.value {
        Node::Sequence(items) if !items.is_empty() => items,
        other => {
            let message = format!("`features` needs a list of layers, found {}", other.describe());
            let help = "write the names of rows, such as [conv2_x, conv3_x, conv4_x, conv5_x]";
            return Err(errors.push(Diagnostic::new(node.span, message).help(help)));
        }
    };
    all(items.iter().map(|item| scalar("features", item, cell::name, errors)))
}

/// A list of what is not to be warned of; empty if it is left out.
pub(super) fn read_allow(
    node: Option<&Spanned<Node>>,
    errors: &mut Errors,
) -> Read<Vec<Spanned<Lint>>> {
    let Some(node) = node else { return Ok(Vec::new()) };
    let Node::Sequence(items) = &node.value else {
        let message = format!("`allow` needs a list of warnings, found {}", node.value.describe());
        let help = "write the names that warnings show, such as [skipped_pixels]";
        return Err(errors.push(Diagnostic::new(node.span, message).help(help)));
    };
    let mut known: Vec<Spanned<Lint>> = Vec::new();
    all(items.iter().map(|item| {
        let lint = scalar("allow", item, Lint::parse, errors)?;
        if let Some(first) = known.iter().find(|known| known.value == lint.value) {
            let message = format!("`allow` names `{}` twice", lint.value.word());
            return Err(errors.push(
                Diagnostic::new(lint.span, message)
                    .related(first.span, "first here")
                    .help("remove one of them"),
            ));
        }
        known.push(lint);
        Ok(lint)
    }))
}

pub(super) fn read_expect(node: &Spanned<Node>, errors: &mut Errors) -> Read<Expect> {
    let mut fields = Fields::open(node, "`expect`", errors)?;
    fields.check_known(EXPECT, |_| None, errors);
    let mut count = |name: &str| {
        let parse = |text: &str| {
            Expected::parse(text).ok_or_else(|| {
                Refused::new(
                    format!("is `{}`, which is not a count", tree::abbreviate(text)),
                    "write a number without a unit, such as 11689512 or 1.814e9",
                )
            })
        };
        fields.optional(name, parse, errors)
    };
    let [depth, params, macs, flops, arena_bytes] =
        [count("depth"), count("params"), count("macs"), count("flops"), count("arena_bytes")];
    Ok(Expect {
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
    input: Read<Spanned<Shape>>,
    errors: &mut Errors,
) -> Read<Preprocess> {
    let mut fields = match node {
        Some(node) => Some(Fields::open(node, "`preprocess`", errors)?),
        None => None,
    };
    if let Some(fields) = &mut fields {
        fields.check_known(PREPROCESS, |_| None, errors);
    }
    let input = input?.value;
    let own = Extent::new(input.height, input.width);
    let longer = input.height.max(input.width);
    let size = (input.height, input.width);
    let Some(fields) = fields else {
        let (resize, crop) = (Some(Resize::Shorter(longer)), Some(size));
        return Ok(Preprocess { resize, crop, ..Preprocess::default() });
    };
    let crop = fields.or("crop", own, |text| cell::extent(text, 1), errors);
    let resize = read_resize(&fields, own, errors);
    if let Some(crop) = crop.ok().filter(|crop| crop.value != own) {
        let message = format!("the crop is {}, but the network reads {input}", crop.value);
        let help = format!("write `crop: {own}`, or leave it out");
        errors.push(Diagnostic::new(crop.span, message).help(help));
    } else if let Ok(resize) = &resize {
        check_resize(resize, own, errors);
    }
    let filters = Filter::ALL.map(|filter| (filter.name(), filter));
    let filter = fields.or("filter", Filter::default(), |t| cell::choice(t, &filters), errors);
    let antialias = fields.or("antialias", true, cell::boolean, errors);
    if let (Ok(antialias), Ok(filter)) = (&antialias, &filter)
        && !antialias.value
        && !matches!(filter.value, Filter::Bilinear | Filter::Bicubic)
    {
        let message = format!("the filter `{}` is not without antialiasing", filter.value);
        let help = "`antialias: false` goes with `bilinear` and `bicubic`";
        errors.push(Diagnostic::new(antialias.span, message).help(help));
    }
    let orders = [("rgb", Channels::Rgb), ("bgr", Channels::Bgr)];
    let order = fields.or("channels", Channels::default(), |t| cell::choice(t, &orders), errors);
    if let Some(order) =
        order.as_ref().ok().filter(|o| o.value == Channels::Bgr && input.channels != 3)
    {
        let message =
            format!("the network reads {} channels, which have no colours", input.channels);
        errors.push(Diagnostic::new(order.span, message).help("leave `channels` out"));
    }
    let mean = read_channel_list(&fields, "mean", input.channels, cell::real, errors);
    let std = read_channel_list(&fields, "std", input.channels, positive, errors);
    if let (Ok(mean), Ok(std)) = (&mean, &std) {
        check_scale(&fields, mean, std, errors);
    }
    crop?;
    Ok(Preprocess {
        resize: resize?.value,
        filter: filter?.value,
        antialias: antialias?.value,
        crop: Some(size),
        mean: mean?,
        std: std?,
        channels: order?.value,
    })
}

/// `resize`, or what `crop_pct` makes of the input's size: `floor(size / crop_pct)`, as in timm.
fn read_resize(
    fields: &Fields<'_>,
    own: Extent,
    errors: &mut Errors,
) -> Read<Spanned<Option<Resize>>> {
    let longer = own.rows.max(own.columns);
    let part = fields.optional("crop_pct", cell::factor, errors)?;
    let Some(part) = part else {
        return fields.or("resize", Some(Resize::Shorter(longer)), resize_cell, errors);
    };
    let refuse = |message: &str, help: &str, errors: &mut Errors| {
        Err(errors.push(Diagnostic::new(part.span, message).help(help)))
    };
    if fields.get("resize").is_some() {
        return refuse("`crop_pct` and `resize` say the same", "leave one of them out", errors);
    }
    if own.rows != own.columns {
        let help = "write `resize: HxW`, or `resize` for the shorter side";
        return refuse("`crop_pct` is for square inputs", help, errors);
    }
    let side = (longer as f64 / part.value).floor();
    if side > cell::MOST as f64 {
        return refuse("`crop_pct` is too small", "write a part such as 0.875", errors);
    }
    Ok(Spanned::new(Some(Resize::Shorter(side as usize)), part.span))
}

/// `256` for the shorter side, `224x224` for both, or `none`.
fn resize_cell(text: &str) -> Result<Option<Resize>, Refused> {
    if text == "none" {
        return Ok(None);
    }
    if !text.contains(['x', 'X']) {
        return Ok(Some(Resize::Shorter(cell::number(text, 1)?)));
    }
    let Extent { rows, columns } = cell::extent(text, 1)?;
    Ok(Some(Resize::Exact(rows, columns)))
}

/// Refuses a size that the crop does not fit into.
fn check_resize(resize: &Spanned<Option<Resize>>, own: Extent, errors: &mut Errors) {
    let longer = own.rows.max(own.columns);
    let (message, help) = match resize.value {
        Some(Resize::Shorter(side)) if side < longer => (
            format!("a side of {side} pixels is shorter than the crop"),
            format!("write at least `resize: {longer}`"),
        ),
        Some(Resize::Exact(rows, columns)) if rows < own.rows || columns < own.columns => (
            format!("{rows}x{columns} pixels are less than the crop"),
            format!("write at least `resize: {own}`"),
        ),
        _ => return,
    };
    errors.push(Diagnostic::new(resize.span, message).help(help));
}

/// Pictures are numbers from 0 to 1 here, and elsewhere often from 0 to 255: means above 1, or deviations of a
/// size that no such numbers have, would make every picture the same.
fn check_scale(fields: &Fields, mean: &[f32], std: &[f32], errors: &mut Errors) {
    let divided = |values: &[f32]| {
        let values: Vec<String> =
            values.iter().map(|value| format!("{:.4}", value / 255.0)).collect();
        values.join(", ")
    };
    for (field, values, most) in [("mean", mean, 1.0), ("std", std, 10.0)] {
        if let Some(value) = values.iter().find(|value| **value > most)
            && let Some(node) = fields.get(field)
        {
            let message =
                format!("`{field}` is of values from 0 to 1, and {value} is one from 0 to 255");
            let (mean, std) = (divided(mean), divided(if std.is_empty() { &[1.0] } else { std }));
            let help = format!("divide both by 255: `mean: [{mean}], std: [{std}]`");
            errors.push(Diagnostic::new(node.span, message).help(help));
            return;
        }
    }
}

/// A list with a number for every channel or one for all; empty if it is left out.
fn read_channel_list(
    fields: &Fields<'_>,
    name: &str,
    channels: usize,
    parse: fn(&str) -> Result<f64, Refused>,
    errors: &mut Errors,
) -> Read<Vec<f32>> {
    let Some(node) = fields.get(name) else { return Ok(Vec::new()) };
    let found = match &node.value {
        Node::Sequence(items) if items.len() == channels || items.len() == 1 => {
            let number = |item| scalar(name, item, parse, errors).map(|number| number.value as f32);
            return all(items.iter().map(number));
        }
        Node::Sequence(items) => items.len().to_string(),
        other => other.describe(),
    };
    let message = format!("`{name}` needs a list of {channels} numbers, found {found}");
    let help = "write a number for each channel, or a list of one number for all";
    Err(errors.push(Diagnostic::new(node.span, message).help(help)))
}

pub(super) fn read_labels(node: &Spanned<Node>, errors: &mut Errors) -> Read<Spanned<Labels>> {
    let labels = match &node.value {
        Node::Sequence(items) => {
            let name = |item| scalar("labels", item, cell::name, errors).map(|name| name.value);
            Labels::Names(all(items.iter().map(name))?)
        }
        _ => Labels::File(scalar("labels", node, cell::name, errors)?.value),
    };
    Ok(Spanned::new(labels, node.span))
}
