//! How a value inside a pickle is reached, and how usual the way is.

use crate::checkpoint::pickle::Value;

/// Keys under which training scripts keep the state dict, by preference.
pub(super) const WRAPPERS: [&str; 10] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "state_dict_ema",
    "model_ema",
    "ema",
];

/// What leads from a value to one inside it.
#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    Key(&'a str),
    Place(usize),
}

/// A value and how it was reached.
pub(super) struct Node<'a> {
    pub(super) value: Value<'a>,
    /// Number of the node that holds it.
    pub(super) parent: usize,
    pub(super) step: Option<Step<'a>>,
    pub(super) depth: usize,
}

/// What `--key` takes to get to a node.
pub(super) fn path(nodes: &[Node<'_>], mut number: usize, key: &str) -> String {
    let mut parts = Vec::new();
    while let Some(step) = nodes[number].step {
        parts.push(match step {
            Step::Key(key) => key.to_owned(),
            Step::Place(place) => place.to_string(),
        });
        number = nodes[number].parent;
    }
    if !key.is_empty() {
        parts.push(key.to_owned());
    }
    parts.reverse();
    parts.join(".")
}

/// How usual the keys are that lead to a node: the less the better; a key that is not usual is the length
/// of [`WRAPPERS`].
pub(super) fn rank(nodes: &[Node<'_>], mut number: usize) -> Vec<usize> {
    let mut ranks = Vec::new();
    while let Some(step) = nodes[number].step {
        let usual =
            WRAPPERS.iter().position(|&usual| matches!(step, Step::Key(key) if key == usual));
        ranks.push(usual.unwrap_or(WRAPPERS.len()));
        number = nodes[number].parent;
    }
    ranks.reverse();
    ranks
}
