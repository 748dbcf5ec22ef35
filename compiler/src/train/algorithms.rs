//! What computes a step's convolutions.

use resnet_runtime::kernels::{BLOCK, Element, Filter, PanelFormat, Panels, Transform};

use super::tape::Conv;
use crate::fuse;
use crate::graph::{Extent, Shape, Window};
use crate::schedule::{self, Layout, Order};

/// Bytes of weights that may stay in a second-level cache while a band's rows pass.
const RESIDENT: usize = 1280 * 1024;

/// What computes a convolution whose weights are packed so for a direct one.
pub(super) fn plan(
    window: Window,
    panels: Panels,
    output: Shape,
    batch: usize,
    exact: bool,
) -> Conv {
    let order = |panels: &Panels| match panels.bytes() <= RESIDENT {
        true => Order::RowsOuter,
        false => Order::PanelsOuter,
    };
    if exact || !is_winograd(&window, &panels) {
        return Conv { window, panels, order: order(&panels), winograd: None };
    }
    let format = PanelFormat { transform: Transform::Winograd4x4, ..panels.format };
    let panels = Panels { format, ..panels };
    let order = order(&panels);
    let winograd = schedule::plan_winograd(order, &format, &window, output, batch);
    Conv { window, panels, order, winograd: Some(winograd) }
}

/// Whether F(4x4, 3x3) computes it, and the gradient of its weights.
pub(super) fn is_winograd(window: &Window, panels: &Panels) -> bool {
    let one = Extent::square(1);
    window.kernel == Extent::square(3)
        && window.stride == one
        && window.dilation == one
        && panels.shape.groups == 1
}

/// How a convolution's weights are packed.
pub(super) fn panels(window: Window, groups: usize, input: Shape, output: Shape) -> Panels {
    let conv = fuse::Conv {
        window,
        groups,
        weight: String::new(),
        bias: None,
        standardise: None,
        norm: None,
        slice: None,
        quantised: false,
    };
    schedule::panels(&conv, Transform::None, Layout::Blocked, input, output)
}

/// Output rows and columns of a tile of F(4x4, 3x3).
pub(crate) const TILE: usize = Filter::F4.outputs();

/// The points of its tile.
pub(crate) const POINTS: usize = Filter::F4.points() * Filter::F4.points();

/// The tiles whose points are multiplied for a weights' gradient, some rows at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bands {
    /// Of an image.
    pub(crate) tiles: Extent,
    /// Rows of a band; they divide those of an image.
    pub(crate) rows: usize,
}

/// Bytes of points, of inputs and of gradients each, that are made at once: a part of a second-level cache.
const BAND_BYTES: usize = 256 * 1024;

/// The bands of a gradient of the weights between an input and an output.
pub(super) fn bands(input: Shape, output: Shape) -> Bands {
    let tiles = schedule::tiles(Transform::Winograd4x4, output);
    let blocks = input.channels.max(output.channels).div_ceil(BLOCK);
    let row = tiles.columns * POINTS * blocks * BLOCK * Element::F32.bytes();
    let fits = |rows: &usize| tiles.rows.is_multiple_of(*rows) && rows * row <= BAND_BYTES;
    Bands { tiles, rows: (1..=tiles.rows).rev().find(fits).unwrap_or(1) }
}
