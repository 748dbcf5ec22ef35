//! Rows of residual blocks.

use super::Errors;
use super::row::{read_channels, read_norm, read_norm_or_none};
use crate::diagnostics::Diagnostic;
use crate::graph::Extent;
use crate::spec::cell::{self, Refused};
use crate::spec::fields::Fields;
use crate::spec::{AntiAlias, Attention, BlockKind, BlockRow, Shortcut, Squeeze, StrideOn};

pub(super) fn read_bottleneck(fields: &Fields<'_>, errors: &mut Errors) -> Option<BlockKind> {
    let width = fields.optional("width", |text| cell::number(text, 1), errors);
    let groups = fields.or("groups", 1, |text| cell::number(text, 1), errors);
    let strides = [("3x3", StrideOn::Middle), ("1x1", StrideOn::First)];
    let stride_on =
        fields.or("stride_on", StrideOn::Middle, |text| cell::choice(text, &strides), errors);
    Some(BlockKind::Bottleneck { width: width?, groups: groups?, stride_on: stride_on?.value })
}

pub(super) fn read_block(
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
    let norm = read_norm(fields, errors);
    let projection_norm = match fields.get("projection_norm") {
        Some(node) => read_norm_or_none("projection_norm", node, errors).map(Some),
        None => Some(None),
    };
    let kinds = AntiAlias::ALL.map(|kind| (kind.word(), kind));
    let anti_alias = fields.optional("anti_alias", |text| cell::choice(text, &kinds), errors);
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
        norm: norm?,
        anti_alias: anti_alias?,
        shortcut: shortcut?,
        attention: attention?,
        projection_norm: projection_norm?,
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
