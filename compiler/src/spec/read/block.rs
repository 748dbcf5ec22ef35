//! Rows of residual blocks.

use resnet_runtime::kernels::Activation;

use super::common::{
    activation, read_activation, read_channels, read_norm, read_norm_or_none, read_standardization,
};
use crate::diagnostics::{Diagnostic, Spanned};
use crate::geometry::Extent;
use crate::spec::cell::{self, Refused};
use crate::spec::errors::{Errors, Read};
use crate::spec::fields::{Fields, scalar};
use crate::spec::tree::Node;
use crate::spec::{
    AntiAlias, Attention, AttentionOn, BlockKind, BlockRow, Shortcut, ShortcutFrom, Squeeze,
    StrideOn, ZeroChannels,
};

pub(super) fn read_bottleneck(fields: &Fields<'_>, errors: &mut Errors) -> Read<BlockKind> {
    let width = read_width(fields, errors);
    let groups = fields.or("groups", 1, |text| cell::number(text, 1), errors);
    let scale = fields.optional("scale", |text| cell::number(text, 2), errors);
    if let (Ok(width), Ok(Some(Spanned { value: scale, span }))) = (width, scale) {
        let help = "write the channels of a chunk as `width`, as in `width: 26, scale: 4`";
        match width {
            None => {
                errors.push(Diagnostic::new(span, "`scale` without `width`").help(help));
            }
            Some(Spanned { value: [first, middle], span: width }) if first != middle => {
                errors.push(
                    Diagnostic::new(width, format!("two widths beside `scale: {scale}`"))
                        .related(span, "its chunks have one width")
                        .help(help),
                );
            }
            Some(_) => {}
        }
    }
    Ok(BlockKind::Bottleneck { width: width?, groups: groups?, scale: scale? })
}

/// `16`, or `[16, 12]` where the 3x3 convolution makes other channels than the first 1x1.
fn read_width(fields: &Fields<'_>, errors: &mut Errors) -> Read<Option<Spanned<[usize; 2]>>> {
    let Some(node) = fields.get("width") else { return Ok(None) };
    let mut number =
        |node| scalar("width", node, |text| cell::number(text, 1), errors).map(|n| n.value);
    let width = match &node.value {
        Node::Sequence(items) if items.len() == 2 => [number(&items[0])?, number(&items[1])?],
        Node::Sequence(items) => {
            let message = format!("`width` needs a number or two, found {}", items.len());
            return Err(errors.push(
                Diagnostic::new(node.span, message)
                    .help("write what the first 1x1 convolution makes, and the 3x3 convolution"),
            ));
        }
        _ => [number(node)?; 2],
    };
    Ok(Some(Spanned::new(width, node.span)))
}

/// `strides` and `weighed` are the words of the block's kind.
pub(super) fn read_block(
    fields: &Fields<'_>,
    kind: Read<BlockKind>,
    strides: &[(&str, StrideOn)],
    weighed: &[(&str, AttentionOn)],
    errors: &mut Errors,
) -> Read<BlockRow> {
    let repeat = fields.or("repeat", 1, |text| cell::number(text, 1), errors);
    let channels = read_channels(fields, "64", errors);
    let stride = fields.or("stride", Extent::square(1), |text| cell::extent(text, 1), errors);
    let stride_on =
        fields.or("stride_on", strides[0].1, |text| cell::choice(text, strides), errors);
    let dilation = fields.or("dilation", Extent::square(1), |text| cell::extent(text, 1), errors);
    let first_dilation = fields.optional("first_dilation", |text| cell::extent(text, 1), errors);
    // Blocks are always padded; the cell only says how.
    let same_padding =
        fields.or("padding", false, |text| cell::choice(text, &[("same", true)]), errors);
    let bias = fields.or("bias", false, cell::boolean, errors);
    let standardization = read_standardization(fields, errors);
    let norm = read_norm(fields, errors);
    let own_activation = read_activation(fields, errors);
    let projection_norm = match fields.get("projection_norm") {
        Some(node) => read_norm_or_none("projection_norm", node, errors).map(Some),
        None => Ok(None),
    };
    let anti_alias = fields.optional("anti_alias", AntiAlias::parse, errors);
    let attention = read_attention(fields, errors);
    let attention_on =
        fields.or("attention_on", weighed[0].1, |text| cell::choice(text, weighed), errors);
    check_attention(fields, attention, attention_on, errors);
    let output_activation = fields.optional("output_activation", activation, errors);
    let shortcut = fields.or("shortcut", Shortcut::Projection, Shortcut::parse, errors);
    let shortcut_from = fields.optional("shortcut_from", ShortcutFrom::parse, errors);
    let zero_channels =
        fields.or("zero_channels", ZeroChannels::Around, ZeroChannels::parse, errors);
    let projection_kernel =
        fields.or("projection_kernel", Extent::square(1), cell::odd_extent, errors);
    if let Ok(shortcut) = shortcut {
        check_shortcut(fields, shortcut, errors);
    }
    check_anti_alias(kind, stride_on, anti_alias, errors);
    Ok(BlockRow {
        kind: kind?,
        repeat: repeat?,
        channels: channels?,
        stride: stride?,
        stride_on: stride_on?.value,
        dilation: dilation?,
        first_dilation: first_dilation?,
        same_padding: same_padding?.value,
        bias: bias?.value,
        weight_standardization: standardization?,
        norm: norm?,
        activation: own_activation?,
        output_activation: output_activation?.map(|activation| activation.value),
        anti_alias: anti_alias?,
        shortcut: shortcut?,
        shortcut_from: shortcut_from?,
        zero_channels: zero_channels?.value,
        projection_kernel: projection_kernel?.value,
        attention: attention?,
        attention_on: attention_on?.value,
        projection_norm: projection_norm?,
    })
}

/// Complains of where attention is, if that has no meaning.
fn check_attention(
    fields: &Fields<'_>,
    attention: Read<Option<Attention>>,
    attention_on: Read<Spanned<AttentionOn>>,
    errors: &mut Errors,
) {
    if let (Ok(None), Some(node)) = (attention, fields.get("attention_on")) {
        errors.push(
            Diagnostic::new(node.span, "`attention_on` without attention")
                .help("remove it, or add `squeeze_excitation` or `eca`"),
        );
    }
    if let (Ok(Some(Attention::SqueezeExcitation { after_activation: true, .. })), Ok(on)) =
        (attention, attention_on)
        && on.value == AttentionOn::Middle
    {
        errors.push(
            Diagnostic::new(on.span, "`attention_on` beside `after: activation`")
                .note("before the last convolution, attention is after the activation anyway")
                .help("remove one of them"),
        );
    }
}

/// Complains of a pool whose stride has no place.
fn check_anti_alias(
    kind: Read<BlockKind>,
    stride_on: Read<Spanned<StrideOn>>,
    anti_alias: Read<Option<Spanned<AntiAlias>>>,
    errors: &mut Errors,
) {
    if let (Ok(BlockKind::Basic), Ok(Spanned { value: StrideOn::Second, span }), Ok(Some(kind))) =
        (kind, stride_on, anti_alias)
    {
        errors.push(
            Diagnostic::new(kind.span, "`anti_alias` beside `stride_on: second`")
                .related(span, "no ReLU follows this convolution before the shortcut is added")
                .note("the pool has the stride after the ReLU that follows the convolution")
                .help("remove one of them"),
        );
    }
}

/// Complains of fields that say how something is done that the shortcut does not do.
fn check_shortcut(fields: &Fields<'_>, shortcut: Spanned<Shortcut>, errors: &mut Errors) {
    use Shortcut::{Identity, None, PoolProjection, PoolZeroPad, ProjectAll, Projection, ZeroPad};
    const PROJECTIONS: &[Shortcut] = &[Projection, PoolProjection, ProjectAll];
    const TAKEN_BY: [(&str, &[Shortcut]); 4] = [
        ("projection_norm", PROJECTIONS),
        ("projection_kernel", PROJECTIONS),
        ("zero_channels", &[ZeroPad, PoolZeroPad]),
        (
            "shortcut_from",
            &[Projection, PoolProjection, ZeroPad, PoolZeroPad, ProjectAll, Identity],
        ),
    ];
    for (field, takers) in TAKEN_BY {
        let Some(node) = fields.get(field).filter(|_| !takers.contains(&shortcut.value)) else {
            continue;
        };
        let words: Vec<&str> = takers.iter().map(|taker| taker.word()).collect();
        let what = match shortcut.value {
            None => "which has no shortcut".to_owned(),
            other => format!("whose shortcut is `{}`", other.word()),
        };
        errors.push(
            Diagnostic::new(node.span, format!("`{field}` in {}, {what}", fields.what))
                .help(format!("remove it; shortcuts that take it: {}", words.join(", "))),
        );
    }
}

/// `squeeze_excitation: {reduction: 16}`, or `{channels: 8}`, with an `activation` and what it is `after`; `eca: 3`, or
/// `adaptive`.
fn read_attention(fields: &Fields<'_>, errors: &mut Errors) -> Read<Option<Attention>> {
    let odd = |text: &str| match text {
        "adaptive" => Ok(None),
        _ => match cell::number(text, 1)? {
            even if even.is_multiple_of(2) => Err(Refused::new(
                format!("is {even}, which is even"),
                "write an odd number of channels, or `adaptive`",
            )),
            kernel => Ok(Some(kernel)),
        },
    };
    let eca = fields.optional("eca", odd, errors)?;
    let Some(node) = fields.get("squeeze_excitation") else {
        return Ok(eca.map(|kernel| Attention::Efficient(kernel.value)));
    };
    if let Some(eca) = eca {
        return Err(errors.push(
            Diagnostic::new(eca.span, "`eca` beside `squeeze_excitation`")
                .related(node.span, "a block has one of them")
                .help("remove one of them"),
        ));
    }
    let mut squeeze = Fields::open(node, "`squeeze_excitation`", errors)?;
    squeeze.check_known(&["reduction", "channels", "activation", "after"], |_| None, errors);
    let number = |text: &str| cell::number(text, 1);
    let reduction = squeeze.optional("reduction", number, errors)?;
    let channels = squeeze.optional("channels", number, errors)?;
    let between = squeeze.or("activation", Activation::Relu, activation, errors)?;
    let places = [("norm", false), ("activation", true)];
    let after = squeeze.or("after", false, |text| cell::choice(text, &places), errors)?;
    let middle = match (reduction, channels) {
        (Some(reduction), None) => Squeeze::Reduction(reduction.value),
        (None, Some(channels)) => Squeeze::Channels(channels.value),
        (None, None) => Squeeze::Reduction(16),
        (Some(_), Some(channels)) => {
            return Err(errors.push(
                Diagnostic::new(channels.span, "`channels` beside `reduction`")
                    .help("the one follows from the other; remove one of them"),
            ));
        }
    };
    Ok(Some(Attention::SqueezeExcitation {
        middle,
        activation: between.value,
        after_activation: after.value,
    }))
}
