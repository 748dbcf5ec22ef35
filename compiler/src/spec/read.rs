//! The walk from the YAML tree to a [`Spec`], against the schema.

use std::collections::HashMap;

use resnet_runtime::picture::Preprocess;

use crate::diagnostics::{Diagnostic, Diagnostics, Source, Span, Spanned};
use crate::graph::{Extent, Padding, Shape};
use crate::spec::cell::{self, Refused};
use crate::spec::fields::{Fields, scalar};
use crate::spec::tree::{self, Node};
use crate::spec::{
    Attention, BlockKind, BlockRow, ConvRow, Expect, Expected, Labels, PaddingCell, Row, RowOp,
    Shortcut, Spec, Squeeze, StrideOn, WindowCells,
};

type Errors = Vec<Diagnostic>;

const TOP: &[&str] = &[
    "name",
    "input",
    "table",
    "norm_epsilon",
    "pre_activation",
    "features",
    "expect",
    "preprocess",
    "labels",
];

const EXPECT: &[&str] = &["depth", "params", "macs", "flops", "arena_bytes"];

/// The operations, each with the fields it takes beside `layer`, `op`, `input` and `output`.
const OPS: &[(&str, &[&str])] = &[
    (
        "conv",
        &[
            "kernel",
            "stride",
            "dilation",
            "padding",
            "channels",
            "groups",
            "norm",
            "bias",
            "activation",
            "weights",
            "norm_weights",
        ],
    ),
    ("max_pool", &["kernel", "stride", "padding"]),
    ("average_pool", &["kernel", "stride", "padding", "count_padding"]),
    (
        "basic",
        &[
            "repeat",
            "channels",
            "stride",
            "dilation",
            "first_dilation",
            "padding",
            "bias",
            "shortcut",
            "projection_norm",
            "squeeze_excitation",
            "eca",
            "weights",
        ],
    ),
    (
        "bottleneck",
        &[
            "repeat",
            "channels",
            "stride",
            "dilation",
            "first_dilation",
            "padding",
            "bias",
            "shortcut",
            "projection_norm",
            "squeeze_excitation",
            "eca",
            "width",
            "groups",
            "stride_on",
            "weights",
        ],
    ),
    ("norm", &["activation", "weights"]),
    ("global_average_pool", &[]),
    ("linear", &["channels", "weights"]),
    ("softmax", &[]),
];

const EVERY_ROW: &[&str] = &["layer", "op", "input", "output"];

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
    let mut errors = Errors::new();
    let spec = read_top(&source, root, what, &mut errors);
    match spec {
        Some(spec) => Diagnostics::or(&source, errors, spec),
        None => Err(Diagnostics::or(&source, errors, ()).err().unwrap_or_else(|| {
            // Every reader that answers `None` has pushed its reason.
            Diagnostics::one(source, Diagnostic::new(root.span, "the table cannot be read"))
        })),
    }
}

fn read_top(
    source: &Source,
    root: &Spanned<Node>,
    what: &str,
    errors: &mut Errors,
) -> Option<Spec> {
    if matches!(root.value, Node::Null) {
        errors.push(
            Diagnostic::new(root.span, "the table is empty")
                .help("a table has the fields `name`, `input` and `table`"),
        );
        return None;
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
    let features = read_features(top.get("features"), errors);
    let expect =
        top.get("expect").map_or(Some(Expect::default()), |node| read_expect(node, errors));
    let preprocess = read_preprocess(top.get("preprocess"), input.as_ref(), errors);
    let labels = match top.get("labels") {
        Some(node) => read_labels(node, errors).map(Some),
        None => Some(None),
    };
    Some(Spec {
        source: source.clone(),
        name: name?,
        input: input?,
        table: table?,
        norm_epsilon: norm_epsilon?.value,
        pre_activation: pre_activation?.value,
        features: features?,
        expect: expect?,
        preprocess: preprocess?,
        labels: labels?,
    })
}

/// A list of rows' names; empty if it is left out.
fn read_features(
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

fn positive(text: &str) -> Result<f64, Refused> {
    let value = cell::real(text)?;
    // Smaller ones vanish in the network's own precision.
    if value as f32 > 0.0 {
        return Ok(value);
    }
    let help = Some("write a positive number such as 1e-5".into());
    Err(Refused { reason: format!("is {text}; it must be positive"), help })
}

fn read_table(node: &Spanned<Node>, errors: &mut Errors) -> Option<Vec<Row>> {
    let Node::Sequence(items) = &node.value else {
        let message = format!("`table` must be a list of rows, found {}", node.value.describe());
        errors.push(
            Diagnostic::new(node.span, message)
                .help("write one row a line: `- {layer: conv1, op: conv, ...}`"),
        );
        return None;
    };
    if items.is_empty() {
        errors.push(Diagnostic::new(node.span, "`table` has no rows").help(
            "write at least one row, such as `- {layer: conv1, op: conv, kernel: 3, channels: 16}`",
        ));
        return None;
    }
    let before = errors.len();
    let mut names: HashMap<&str, Span> = HashMap::new();
    let mut rows = Vec::new();
    for item in items {
        let Some(fields) = Fields::open(item, "a row", errors) else { continue };
        if let Some(Spanned { value: Node::Scalar(name), span }) = fields.get("layer") {
            match names.get(name.as_str()) {
                Some(first) => errors.push(
                    Diagnostic::new(
                        *span,
                        format!("there are two layers `{}`", tree::abbreviate(name)),
                    )
                    .related(*first, "the first")
                    .help("give every row a name of its own"),
                ),
                None => {
                    names.insert(name, *span);
                }
            }
        }
        rows.extend(read_row(fields, errors));
    }
    (errors.len() == before).then_some(rows)
}

fn read_row(mut fields: Fields<'_>, errors: &mut Errors) -> Option<Row> {
    let words: Vec<(&str, &str)> = OPS.iter().map(|(op, _)| (*op, *op)).collect();
    let op = match fields.get("op") {
        Some(node) => scalar("op", node, |text| cell::choice(text, &words), errors),
        None => None,
    };
    let Some(op) = op else {
        // Which fields are right depends on the operation.
        let known: Vec<&str> =
            EVERY_ROW.iter().chain(OPS.iter().flat_map(|op| op.1)).copied().collect();
        fields.check_known(&known, |_| None, errors);
        fields.required("layer", "conv1", cell::name, errors);
        fields.require("op", "conv", errors);
        return None;
    };
    fields.what = format!("a `{}` row", op.value);
    let takes = |op: &str| OPS.iter().find(|(name, _)| *name == op).map_or(&[][..], |(_, own)| own);
    let known: Vec<&str> = EVERY_ROW.iter().chain(takes(op.value)).copied().collect();
    let elsewhere = |field: &str| {
        let takers: Vec<&str> =
            OPS.iter().filter(|(_, own)| own.contains(&field)).map(|(name, _)| *name).collect();
        (!takers.is_empty()).then(|| format!("remove it; rows that take it: {}", takers.join(", ")))
    };
    fields.check_known(&known, elsewhere, errors);
    let layer = fields.required("layer", "conv1", cell::name, errors);
    let input = fields.optional("input", cell::claim, errors);
    let output = fields.optional("output", cell::claim, errors);
    let weights = fields.optional("weights", cell::name, errors);
    let kind = read_op(op.value, &fields, errors);
    Some(Row {
        span: fields.span,
        layer: layer?,
        op: Spanned::new(kind?, op.span),
        input: input?,
        output: output?,
        weights: weights?,
    })
}

fn read_op(op: &str, fields: &Fields<'_>, errors: &mut Errors) -> Option<RowOp> {
    Some(match op {
        "conv" => RowOp::Conv(read_conv(fields, errors)?),
        "max_pool" => RowOp::MaxPool(read_window(fields, errors)?),
        "average_pool" => {
            let window = read_window(fields, errors);
            let count_padding = fields.or("count_padding", true, cell::boolean, errors);
            RowOp::AveragePool { window: window?, count_padding: count_padding?.value }
        }
        "basic" => RowOp::Block(read_block(fields, Some(BlockKind::Basic), errors)?),
        "bottleneck" => {
            let kind = read_bottleneck(fields, errors);
            RowOp::Block(read_block(fields, kind, errors)?)
        }
        "norm" => RowOp::Norm { relu: read_activation(fields, errors)? },
        "linear" => RowOp::Linear { channels: read_channels(fields, "1000", errors)? },
        "softmax" => RowOp::Softmax,
        _ => RowOp::GlobalAveragePool,
    })
}

fn read_channels(
    fields: &Fields<'_>,
    example: &str,
    errors: &mut Errors,
) -> Option<Spanned<usize>> {
    fields.required("channels", example, |text| cell::number(text, 1), errors)
}

fn read_window(fields: &Fields<'_>, errors: &mut Errors) -> Option<WindowCells> {
    let kernel = fields.required("kernel", "3", |text| cell::extent(text, 1), errors);
    let stride = fields.or("stride", Extent::square(1), |text| cell::extent(text, 1), errors);
    let dilation = fields.or("dilation", Extent::square(1), |text| cell::extent(text, 1), errors);
    let padding = read_padding(fields, errors);
    let (kernel, dilation) = (kernel?, dilation?);
    let half = |kernel: usize, dilation: usize| (kernel - 1).saturating_mul(dilation).div_ceil(2);
    let half = Extent::new(
        half(kernel.value.rows, dilation.value.rows),
        half(kernel.value.columns, dilation.value.columns),
    );
    let half = PaddingCell::Sides(Padding::even(half));
    let padding = padding?.unwrap_or(Spanned::new(half, kernel.span));
    Some(WindowCells { kernel, stride: stride?, dilation, padding })
}

/// `1`, `1x2`, `same`, or `{top: 0, bottom: 1, left: 0, right: 1}`.
fn read_padding(fields: &Fields<'_>, errors: &mut Errors) -> Option<Option<Spanned<PaddingCell>>> {
    let Some(node) = fields.get("padding") else { return Some(None) };
    if let Node::Scalar(_) = &node.value {
        let parse = |text: &str| match text {
            "same" => Ok(PaddingCell::Same),
            _ => cell::extent(text, 0).map(Padding::even).map(PaddingCell::Sides).map_err(
                |refused| match text.starts_with(char::is_alphabetic) {
                    true => Refused {
                        help: Some("write a number of pixels, such as 1 or 1x2, or `same`".into()),
                        ..refused
                    },
                    false => refused,
                },
            ),
        };
        return scalar("padding", node, parse, errors).map(Some);
    }
    let mut sides = Fields::open(node, "`padding`", errors)?;
    sides.check_known(&["top", "bottom", "left", "right"], |_| None, errors);
    let mut side = |name| sides.or(name, 0, |text| cell::number(text, 0), errors);
    let [top, bottom, left, right] = [side("top"), side("bottom"), side("left"), side("right")];
    let padding = Padding {
        before: Extent::new(top?.value, left?.value),
        after: Extent::new(bottom?.value, right?.value),
    };
    Some(Some(Spanned::new(PaddingCell::Sides(padding), node.span)))
}

fn read_conv(fields: &Fields<'_>, errors: &mut Errors) -> Option<ConvRow> {
    let window = read_window(fields, errors);
    let channels = read_channels(fields, "64", errors);
    let groups = fields.or("groups", 1, |text| cell::number(text, 1), errors);
    let norms = [("batch", true), ("none", false)];
    let norm = fields.or("norm", true, |text| cell::choice(text, &norms), errors);
    let without_norm = norm.as_ref().is_some_and(|norm| !norm.value);
    let bias = fields.or("bias", without_norm, cell::boolean, errors);
    let relu = read_activation(fields, errors);
    let norm_weights = fields.optional("norm_weights", cell::name, errors);
    if let (true, Some(Some(prefix))) = (without_norm, &norm_weights) {
        errors.push(
            Diagnostic::new(prefix.span, "`norm_weights` without a batch norm")
                .help("remove it, or write `norm: batch`"),
        );
    }
    if let (Some(norm), Some(None), Some(weights)) = (&norm, &norm_weights, fields.get("weights"))
        && norm.value
    {
        errors.push(
            Diagnostic::new(weights.span, "`weights` does not name the batch norm's tensors").help(
                "add `norm_weights` with the batch norm's prefix in the state dict, such as bn1",
            ),
        );
    }
    Some(ConvRow {
        window: window?,
        channels: channels?,
        groups: groups?,
        norm: norm?.value,
        bias: bias?.value,
        relu: relu?,
        norm_weights: norm_weights?,
    })
}

fn read_activation(fields: &Fields<'_>, errors: &mut Errors) -> Option<bool> {
    let activations = [("relu", true), ("none", false)];
    let relu = fields.or("activation", true, |text| cell::choice(text, &activations), errors);
    relu.map(|relu| relu.value)
}

fn read_bottleneck(fields: &Fields<'_>, errors: &mut Errors) -> Option<BlockKind> {
    let width = fields.optional("width", |text| cell::number(text, 1), errors);
    let groups = fields.or("groups", 1, |text| cell::number(text, 1), errors);
    let strides = [("3x3", StrideOn::Middle), ("1x1", StrideOn::First)];
    let stride_on =
        fields.or("stride_on", StrideOn::Middle, |text| cell::choice(text, &strides), errors);
    Some(BlockKind::Bottleneck { width: width?, groups: groups?, stride_on: stride_on?.value })
}

fn read_block(
    fields: &Fields<'_>,
    kind: Option<BlockKind>,
    errors: &mut Errors,
) -> Option<BlockRow> {
    let repeat = fields.or("repeat", 1, |text| cell::number(text, 1), errors);
    let channels = read_channels(fields, "64", errors);
    let stride = fields.or("stride", Extent::square(1), |text| cell::extent(text, 1), errors);
    let dilation = fields.or("dilation", Extent::square(1), |text| cell::extent(text, 1), errors);
    let first_dilation = fields.optional("first_dilation", |text| cell::extent(text, 1), errors);
    // Blocks are always padded; the cell only says how.
    let same_padding =
        fields.or("padding", false, |text| cell::choice(text, &[("same", true)]), errors);
    let bias = fields.or("bias", false, cell::boolean, errors);
    let norms = [("batch", true), ("none", false)];
    let projection_norm =
        fields.optional("projection_norm", |text| cell::choice(text, &norms), errors);
    let attention = read_attention(fields, errors);
    let shortcuts = Shortcut::ALL.map(|shortcut| (shortcut.word(), shortcut));
    let shortcut =
        fields.or("shortcut", Shortcut::Projection, |text| cell::choice(text, &shortcuts), errors);
    Some(BlockRow {
        kind: kind?,
        repeat: repeat?,
        channels: channels?,
        stride: stride?,
        dilation: dilation?,
        first_dilation: first_dilation?,
        same_padding: same_padding?.value,
        bias: bias?.value,
        shortcut: shortcut?,
        attention: attention?,
        projection_norm: projection_norm?.map(|norm| norm.value),
    })
}

/// `squeeze_excitation: {reduction: 16}`, or `{channels: 8}`; `eca: 3`, or `adaptive`.
fn read_attention(fields: &Fields<'_>, errors: &mut Errors) -> Option<Option<Attention>> {
    let odd = |text: &str| match text {
        "adaptive" => Ok(None),
        _ => match cell::number(text, 1)? {
            even if even.is_multiple_of(2) => Err(Refused {
                reason: format!("is {even}, which is even"),
                help: Some("write an odd number of channels, or `adaptive`".into()),
            }),
            kernel => Ok(Some(kernel)),
        },
    };
    let eca = fields.optional("eca", odd, errors)?;
    let Some(node) = fields.get("squeeze_excitation") else {
        return Some(eca.map(|kernel| Attention::Efficient(kernel.value)));
    };
    if let Some(eca) = eca {
        errors.push(
            Diagnostic::new(eca.span, "`eca` beside `squeeze_excitation`")
                .related(node.span, "a block has one of them")
                .help("remove one of them"),
        );
        return None;
    }
    let mut squeeze = Fields::open(node, "`squeeze_excitation`", errors)?;
    squeeze.check_known(&["reduction", "channels"], |_| None, errors);
    let number = |text: &str| cell::number(text, 1);
    let reduction = squeeze.optional("reduction", number, errors)?;
    let channels = squeeze.optional("channels", number, errors)?;
    let squeeze = match (reduction, channels) {
        (Some(reduction), None) => Squeeze::Reduction(reduction.value),
        (None, Some(channels)) => Squeeze::Channels(channels.value),
        (None, None) => Squeeze::Reduction(16),
        (Some(_), Some(channels)) => {
            errors.push(
                Diagnostic::new(channels.span, "`channels` beside `reduction`")
                    .help("the one follows from the other; remove one of them"),
            );
            return None;
        }
    };
    Some(Some(Attention::SqueezeExcitation(squeeze)))
}

fn read_expect(node: &Spanned<Node>, errors: &mut Errors) -> Option<Expect> {
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
fn read_preprocess(
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

fn read_labels(node: &Spanned<Node>, errors: &mut Errors) -> Option<Spanned<Labels>> {
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
