//! Rows: which fields each operation takes, and what they say.

use resnet_runtime::kernels::Activation;

use super::block::{read_block, read_bottleneck};
use super::common::{
    read_activation, read_channels, read_norm, read_norm_or_none, read_standardization,
};
use crate::diagnostics::{Diagnostic, Spanned};
use crate::geometry::{Extent, Padding};
use crate::spec::cell::{self, Refused};
use crate::spec::errors::{Errors, Read};
use crate::spec::fields::{Fields, scalar};
use crate::spec::schema::{self, Operation};
use crate::spec::tree::Node;
use crate::spec::{
    AttentionOn, BlockKind, ConvRow, Norm, PaddingCell, PoolKind, PoolRow, Row, RowOp, StrideOn,
    WindowCells,
};

pub(super) fn read_row(mut fields: Fields<'_>, errors: &mut Errors) -> Read<Row> {
    let op = read_operation(&mut fields, errors)?;
    fields.what = format!("a `{}` row", op.value.word());
    let known: Vec<&str> = op.value.fields().collect();
    let elsewhere = |name: &str| {
        let field = schema::fields().find(|field| field.name == name)?;
        let takers: Vec<&str> = field.of.iter().map(|taker| taker.word()).collect();
        Some(format!("remove it; rows that take it: {}", takers.join(", ")))
    };
    fields.check_known(&known, elsewhere, errors);
    let layer = fields.required("layer", "conv1", cell::name, errors);
    let input = fields.optional("input", cell::claim, errors);
    let output = fields.optional("output", cell::claim, errors);
    let upsample = fields.optional("upsample", cell::factor, errors);
    let weights = fields.optional("weights", cell::name, errors);
    let kind = read_op(op.value, &fields, errors);
    Ok(Row {
        span: fields.span,
        layer: layer?,
        op: Spanned::new(kind?, op.span),
        input: input?,
        output: output?,
        upsample: upsample?,
        weights: weights?,
    })
}

/// Without an operation, the fields are looked at here: which ones are right depends on it.
fn read_operation(fields: &mut Fields<'_>, errors: &mut Errors) -> Read<Spanned<Operation>> {
    let op = fields.get("op").map(|node| scalar("op", node, Operation::parse, errors));
    if let Some(Ok(op)) = op {
        return Ok(op);
    }
    let known: Vec<&str> = schema::fields().map(|field| field.name).collect();
    fields.check_known(&known, |_| None, errors);
    // For its complaint alone.
    let _ = fields.required("layer", "conv1", cell::name, errors);
    op.unwrap_or_else(|| {
        let node = fields.require("op", "conv", errors)?;
        scalar("op", node, Operation::parse, errors)
    })
}

fn read_op(op: Operation, fields: &Fields<'_>, errors: &mut Errors) -> Read<RowOp> {
    Ok(match op {
        Operation::Conv => RowOp::Conv(read_conv(fields, errors)?),
        Operation::MaxPool => RowOp::Pool(read_pool(fields, PoolKind::Max, errors)?),
        Operation::AveragePool => RowOp::Pool(read_pool(fields, PoolKind::Average, errors)?),
        Operation::Blur => RowOp::Blur(read_window(fields, Some(Extent::square(3)), errors)?),
        Operation::Basic => {
            let (strides, weighed) = (StrideOn::OF_BASIC, AttentionOn::OF_BASIC);
            RowOp::Block(read_block(fields, Ok(BlockKind::Basic), strides, weighed, errors)?)
        }
        Operation::Bottleneck => {
            let kind = read_bottleneck(fields, errors);
            let (strides, weighed) = (StrideOn::OF_BOTTLENECK, AttentionOn::OF_BOTTLENECK);
            RowOp::Block(read_block(fields, kind, strides, weighed, errors)?)
        }
        Operation::Norm => {
            let norm = read_norm(fields, errors);
            let activation = read_activation(fields, errors);
            RowOp::Norm { norm: norm?, activation: activation? }
        }
        Operation::Linear => {
            let channels = read_channels(fields, "1000", errors);
            let activation = read_activation(fields, errors);
            let activation = activation?.unwrap_or(Activation::None);
            RowOp::Linear { channels: channels?, activation }
        }
        Operation::Softmax => RowOp::Softmax,
        Operation::GlobalAveragePool => RowOp::GlobalAveragePool,
    })
}

/// A window whose kernel may be left out if there is a `default`.
fn read_window(
    fields: &Fields<'_>,
    default: Option<Extent>,
    errors: &mut Errors,
) -> Read<WindowCells> {
    let parse = |text: &str| cell::extent(text, 1);
    let kernel = match default {
        Some(default) => fields.or("kernel", default, parse, errors),
        None => fields.required("kernel", "3", parse, errors),
    };
    let stride = fields.or("stride", Extent::square(1), |text| cell::extent(text, 1), errors);
    let dilation = fields.or("dilation", Extent::square(1), |text| cell::extent(text, 1), errors);
    let padding = read_padding(fields, errors);
    let (kernel, dilation) = (kernel?, dilation?);
    let half = PaddingCell::Sides(Padding::half(kernel.value, dilation.value));
    let padding = padding?.unwrap_or(Spanned::new(half, kernel.span));
    Ok(WindowCells { kernel, stride: stride?, dilation, padding })
}

/// As in PyTorch, an average pool counts its padding if nothing is said, and a max pool does not.
fn read_pool(fields: &Fields<'_>, kind: PoolKind, errors: &mut Errors) -> Read<PoolRow> {
    let window = read_window(fields, None, errors);
    let counts = kind == PoolKind::Average;
    let count_padding = fields.or("count_padding", counts, cell::boolean, errors);
    let roundings = [("down", false), ("up", true)];
    let round_up = fields.or("rounding", false, |text| cell::choice(text, &roundings), errors);
    Ok(PoolRow {
        kind,
        window: window?,
        count_padding: count_padding?.value,
        round_up: round_up?.value,
    })
}

/// `1`, `1x2`, `same`, or `{top: 0, bottom: 1, left: 0, right: 1}`.
fn read_padding(fields: &Fields<'_>, errors: &mut Errors) -> Read<Option<Spanned<PaddingCell>>> {
    let Some(node) = fields.get("padding") else { return Ok(None) };
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
    Ok(Some(Spanned::new(PaddingCell::Sides(padding), node.span)))
}

fn read_conv(fields: &Fields<'_>, errors: &mut Errors) -> Read<ConvRow> {
    let window = read_window(fields, None, errors);
    let channels = read_channels(fields, "64", errors);
    let groups = fields.or("groups", 1, |text| cell::number(text, 1), errors);
    let norm = match fields.get("norm") {
        Some(node) => read_norm_or_none("norm", node, errors),
        None => Ok(Some(Spanned::new(Norm::Batch, fields.span))),
    };
    let without_norm = norm == Ok(None);
    let bias = fields.or("bias", without_norm, cell::boolean, errors);
    let activation = read_activation(fields, errors);
    let standardization = read_standardization(fields, errors);
    let norm_weights = fields.optional("norm_weights", cell::name, errors);
    if let (true, Ok(Some(prefix))) = (without_norm, &norm_weights) {
        errors.push(
            Diagnostic::new(prefix.span, "`norm_weights` without a norm")
                .help("remove it, or write `norm: batch`"),
        );
    }
    if let (Ok(Some(_)), Ok(None), Some(weights)) = (&norm, &norm_weights, fields.get("weights")) {
        errors.push(
            Diagnostic::new(weights.span, "`weights` does not name the norm's tensors")
                .help("add `norm_weights` with the norm's prefix in the state dict, such as bn1"),
        );
    }
    Ok(ConvRow {
        window: window?,
        channels: channels?,
        groups: groups?,
        norm: norm?,
        bias: bias?.value,
        activation: activation?,
        weight_standardization: standardization?,
        norm_weights: norm_weights?,
    })
}
