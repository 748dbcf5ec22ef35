//! The dimensions in which a graph's tensors hold activations.
//!
//! One activation, `C x H x W` for each picture, stands in many forms between one operator and the next:
//! flattened, with channels last, in groups. Nodes that change the form alone make another view of it, not
//! another activation.

use std::fmt;

use resnet_compiler::graph::{Padding, Shape};

use super::graph::ValueId;

/// How a tensor holds an activation; `N` pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    /// `N x C x H x W`.
    Planar,
    /// `N x H x W x C`.
    Interleaved,
    /// `N x CHW`.
    Flat,
    /// `N x parts x CHW / parts`: groups of channels, or channels and their pixels.
    Parts(usize),
    /// `N x C x H x W`, with mirrored pixels past the edges.
    Mirrored(Padding),
    /// `N x C x height x width`, each channel's one pixel over and over.
    Spread([usize; 2]),
}

/// An activation in a form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct View {
    pub(crate) value: ValueId,
    pub(crate) form: Form,
}

impl View {
    pub(crate) fn planar(value: ValueId) -> Self {
        Self { value, form: Form::Planar }
    }
}

impl Form {
    /// The dimensions of an activation after that of the pictures.
    pub(crate) fn dimensions(self, shape: Shape) -> Vec<usize> {
        let Shape { channels, height, width } = shape;
        match self {
            Self::Planar => vec![channels, height, width],
            Self::Interleaved => vec![height, width, channels],
            Self::Flat => vec![shape.elements()],
            Self::Parts(parts) => vec![parts, shape.elements() / parts],
            Self::Mirrored(Padding { before, after }) => vec![
                channels,
                before.rows + height + after.rows,
                before.columns + width + after.columns,
            ],
            Self::Spread([height, width]) => vec![channels, height, width],
        }
    }

    /// The form that has these dimensions, if elements stay in their order.
    pub(crate) fn of(dimensions: &[usize], shape: Shape) -> Option<Self> {
        let elements = shape.elements();
        let form = match *dimensions {
            [_] => Self::Flat,
            [parts, _] if parts > 0 && elements.is_multiple_of(parts) => Self::Parts(parts),
            [.., last] if last == shape.channels && shape.pixels() == 1 && last > 1 => {
                Self::Interleaved
            }
            _ => Self::Planar,
        };
        (form.dimensions(shape) == dimensions).then_some(form)
    }

    /// Whether elements stand in channel, row, column order.
    pub(crate) fn in_order(self, shape: Shape) -> bool {
        match self {
            Self::Planar | Self::Flat | Self::Parts(_) => true,
            Self::Interleaved => shape.pixels() == 1,
            Self::Mirrored(_) | Self::Spread(_) => false,
        }
    }

    /// Which of the dimensions, that of the pictures not counted, is the channels'.
    pub(crate) fn channels(self, shape: Shape) -> Option<usize> {
        let single = shape.pixels() == 1;
        match self {
            Self::Planar | Self::Mirrored(_) | Self::Spread(_) => Some(0),
            Self::Interleaved => Some(2),
            Self::Flat => single.then_some(0),
            Self::Parts(parts) if parts == shape.channels => Some(0),
            Self::Parts(parts) => (single && parts == 1).then_some(1),
        }
    }
}

/// What messages call it.
impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Planar => f.write_str("with planar channels"),
            Self::Interleaved => f.write_str("with interleaved channels"),
            Self::Flat => f.write_str("flattened"),
            Self::Parts(parts) => write!(f, "in {parts} parts"),
            Self::Mirrored(_) => {
                f.write_str("padded by mirroring, as a table's blurs alone read it")
            }
            Self::Spread(_) => f.write_str("with one pixel over and over"),
        }
    }
}

/// Dimensions without those of `axes`, or without every one that is one.
pub(crate) fn squeezed<T: Clone>(
    dimensions: &[T],
    axes: Option<&[i64]>,
    is_one: impl Fn(&T) -> bool,
) -> Option<Vec<T>> {
    let Some(axes) = axes else {
        return Some(dimensions.iter().filter(|size| !is_one(size)).cloned().collect());
    };
    let axes = places(axes, dimensions.len())?;
    let left = |(index, size): (usize, &T)| (!axes.contains(&index)).then(|| size.clone());
    let all_ones = axes.iter().all(|&axis| is_one(&dimensions[axis]));
    all_ones.then(|| dimensions.iter().enumerate().filter_map(left).collect())
}

/// Dimensions with ones at `axes` of the result.
pub(crate) fn unsqueezed<T: Clone>(dimensions: &[T], axes: &[i64], one: T) -> Option<Vec<T>> {
    let count = dimensions.len() + axes.len();
    let axes = places(axes, count)?;
    let mut rest = dimensions.iter().cloned();
    (0..count).map(|at| if axes.contains(&at) { Some(one.clone()) } else { rest.next() }).collect()
}

/// Axes counted from the first dimension; `None` if one is not there, or is there twice.
pub(crate) fn places(axes: &[i64], count: usize) -> Option<Vec<usize>> {
    let mut found = Vec::new();
    for &axis in axes {
        let axis = if axis < 0 { axis.checked_add(i64::try_from(count).ok()?)? } else { axis };
        let axis =
            usize::try_from(axis).ok().filter(|axis| *axis < count && !found.contains(axis))?;
        found.push(axis);
    }
    Some(found)
}
