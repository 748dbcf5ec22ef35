//! Cells that several kinds of rows have.

use resnet_runtime::kernels::Activation;

use super::positive;
use crate::diagnostics::Spanned;
use crate::spec::cell::{self, Refused};
use crate::spec::errors::{Errors, Read};
use crate::spec::fields::{Fields, scalar};
use crate::spec::tree::Node;
use crate::spec::{Norm, Standardization};

pub(super) fn read_channels(
    fields: &Fields<'_>,
    example: &str,
    errors: &mut Errors,
) -> Read<Spanned<usize>> {
    fields.required("channels", example, |text| cell::number(text, 1), errors)
}

/// `true`, `false`, or `{epsilon: 1e-8}`.
pub(super) fn read_standardization(
    fields: &Fields<'_>,
    errors: &mut Errors,
) -> Read<Option<Standardization>> {
    const NAME: &str = "weight_standardization";
    let Some(node) = fields.get(NAME) else { return Ok(None) };
    let on = Standardization::On { epsilon: Standardization::EPSILON };
    if let Node::Scalar(_) = &node.value {
        let words = [("true", on), ("false", Standardization::Off)];
        let value = scalar(NAME, node, |text| cell::choice(text, &words), errors)?;
        return Ok(Some(value.value));
    }
    let mut own = Fields::open(node, format!("`{NAME}`"), errors)?;
    own.check_known(&["epsilon"], |_| None, errors);
    let epsilon = own.required("epsilon", "1e-6", positive, errors)?;
    Ok(Some(Standardization::On { epsilon: epsilon.value }))
}

/// The `norm` of a row that has one.
pub(super) fn read_norm(fields: &Fields<'_>, errors: &mut Errors) -> Read<Spanned<Norm>> {
    let Some(node) = fields.get("norm") else {
        return Ok(Spanned::new(Norm::Batch, fields.span));
    };
    let norms = [("batch", Norm::Batch), ("group", Norm::Group { groups: Norm::GROUPS })];
    read_norm_of("norm", node, &norms, errors)
}

/// A norm that there may be.
pub(super) fn read_norm_or_none(
    name: &str,
    node: &Spanned<Node>,
    errors: &mut Errors,
) -> Read<Option<Spanned<Norm>>> {
    let group = Norm::Group { groups: Norm::GROUPS };
    let norms = [("batch", Some(Norm::Batch)), ("group", Some(group)), ("none", None)];
    let norm = read_norm_of(name, node, &norms, errors)?;
    Ok(norm.value.map(|value| Spanned::new(value, norm.span)))
}

/// One of the words, or `{groups: 8}`.
fn read_norm_of<T: Copy + From<Norm>>(
    name: &str,
    node: &Spanned<Node>,
    words: &[(&str, T)],
    errors: &mut Errors,
) -> Read<Spanned<T>> {
    if let Node::Scalar(_) = &node.value {
        return scalar(name, node, |text| cell::choice(text, words), errors);
    }
    let mut group = Fields::open(node, format!("`{name}`"), errors)?;
    group.check_known(&["groups"], |_| None, errors);
    let groups = group.required("groups", "32", |text| cell::number(text, 1), errors)?;
    Ok(Spanned::new(Norm::Group { groups: groups.value }.into(), node.span))
}

/// An activation's word.
pub(super) fn activation(text: &str) -> Result<Activation, Refused> {
    let words: Vec<_> = Activation::ALL.iter().map(|&known| (known.name(), known)).collect();
    cell::choice(text, &words)
}

/// The activation that a row names, if it does.
pub(super) fn read_activation(
    fields: &Fields<'_>,
    errors: &mut Errors,
) -> Read<Option<Activation>> {
    let named = fields.optional("activation", activation, errors)?;
    Ok(named.map(|activation| activation.value))
}
