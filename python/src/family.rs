//! Tables of depth variants.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use resnet_compiler::family::{Block, Form, Member};

use crate::error::raise;

/// The table of a depth variant: of a known `depth`, or of stages with these `repeats` of a block.
///
/// `block` is `"basic"` or `"bottleneck"`; `width` multiplies all channels; `cifar` takes the stem and the three stages
/// for images of 32x32.
#[pyfunction]
#[pyo3(signature = (depth = None, *, repeats = None, cifar = false, block = None, width = 1.0, groups = None, width_per_group = None, classes = None))]
#[expect(clippy::too_many_arguments, reason = "they are Python's keywords")]
pub(crate) fn family(
    depth: Option<usize>,
    repeats: Option<Vec<usize>>,
    cifar: bool,
    block: Option<&str>,
    width: f64,
    groups: Option<usize>,
    width_per_group: Option<usize>,
    classes: Option<usize>,
) -> PyResult<String> {
    let form = if cifar { Form::Cifar } else { Form::ImageNet };
    let block = match block {
        None => None,
        Some("basic") => Some(Block::Basic),
        Some("bottleneck") => Some(Block::Bottleneck),
        Some(other) => {
            return Err(PyValueError::new_err(format!(
                "block is \"basic\" or \"bottleneck\", not {other:?}"
            )));
        }
    };
    let member = match (depth, repeats) {
        (Some(depth), None) => Member::of_depth(form, depth, block).map_err(raise)?,
        (None, Some(repeats)) => Member::of_repeats(form, block.unwrap_or(Block::Basic), repeats),
        _ => return Err(PyValueError::new_err("give either a depth or the repeats of the stages")),
    };
    let member = Member {
        width,
        groups: groups.unwrap_or(member.groups),
        width_per_group: width_per_group.or(member.width_per_group),
        classes: classes.unwrap_or(member.classes),
        ..member
    };
    member.table().map_err(raise)
}
