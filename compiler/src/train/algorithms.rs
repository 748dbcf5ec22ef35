//! What computes a step's convolutions.

use resnet_runtime::kernels::{BLOCK, Element, Filter, LINE_BYTES, PanelFormat, Panels, Transform};

use super::order::FEWEST;
use super::tape::{Conv, Gradient};
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
fn is_winograd(window: &Window, panels: &Panels) -> bool {
    has_points(window) && panels.shape.groups == 1
}

/// Whether F(4x4, 3x3) has such windows.
fn has_points(window: &Window) -> bool {
    let one = Extent::square(1);
    window.kernel == Extent::square(3) && window.stride == one && window.dilation == one
}

/// Whether images stay planar for the convolution that alone reads them: they have fewer channels than a block, and it multiplies
/// their pixels.
pub(super) fn stays_planar(window: &Window, groups: usize, images: Shape) -> bool {
    let few = images.channels < BLOCK && groups == 1;
    let in_a_row = window.dilation.columns == 1 && window.kernel.columns <= BLOCK;
    few && in_a_row && !has_points(window)
}

/// Weights of a layer of which sums stay in a second-level cache.
const FEW_WEIGHTS: usize = 64 * 64 * 9;

/// Pieces of work for threads to divide; they do not depend on how many there are.
const PIECES: usize = 16;

/// What a gradient of weights is summed by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Products {
    /// The pixels that each tap meets.
    Pixels,
    /// The points of F(4x4, 3x3), of some tiles of an image at a time, to sums that stay in cache.
    Bands(Bands),
    /// The points of all tiles of the batch, each sum for itself.
    Batch(Bands),
}

/// How the gradient of so packed weights is summed.
pub(super) fn gradient(
    window: Window,
    panels: Panels,
    [input, output]: [Shape; 2],
    batch: usize,
    exact: bool,
) -> (Gradient, Products) {
    let parts = |most: usize| {
        let divides = |parts: &usize| batch.is_multiple_of(*parts);
        (1..=batch.min(most)).rev().find(divides).unwrap_or(1)
    };
    let few = panels.weights_len() <= FEW_WEIGHTS;
    let products = match !exact && is_winograd(&window, &panels) {
        false => Products::Pixels,
        true if few => Products::Bands(bands(input, output)),
        true => {
            let tiles = schedule::tiles(Transform::Winograd4x4, output);
            let rows = batch * tiles.rows;
            Products::Batch(Bands { tiles: Extent { rows, ..tiles }, rows })
        }
    };
    let by_image = few && parts(PIECES) >= FEWEST;
    let blocks = panels.shape.out_blocks().div_ceil(panels.format.panel_blocks);
    let parts = match products {
        Products::Bands(_) => parts(PIECES),
        Products::Pixels if by_image => parts(PIECES),
        // Panels and blocks are pieces too.
        Products::Pixels => parts(PIECES.div_ceil(blocks * panels.format.in_blocks)),
        Products::Batch(_) => 1,
    };
    (Gradient { window, panels, parts, by_image }, products)
}

/// How a convolution's weights are packed.
pub(super) fn panels(
    window: Window,
    groups: usize,
    layout: Layout,
    input: Shape,
    output: Shape,
) -> Panels {
    let conv = fuse::Conv {
        window,
        groups,
        weight: String::new(),
        bias: None,
        standardise: None,
        norm: None,
        slice: None,
        element: Element::F32,
    };
    schedule::panels(&conv, (Transform::None, Order::PanelsOuter), layout, input, output)
}

/// Output rows and columns of a tile of F(4x4, 3x3).
pub(crate) const TILE: usize = Filter::F4.outputs();

/// The points of its tile.
pub(crate) const POINTS: usize = Filter::F4.points() * Filter::F4.points();

/// The tiles whose points are multiplied for a weights' gradient, some rows at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bands {
    /// Of an image, or of all of them, one below the other.
    pub(crate) tiles: Extent,
    /// Rows of a band; they divide all rows.
    pub(crate) rows: usize,
}

impl Bands {
    pub(crate) fn count(&self) -> usize {
        self.tiles.rows / self.rows
    }

    /// Elements of one block of a point of a band.
    pub(crate) fn block(&self) -> usize {
        self.rows * self.tiles.columns * BLOCK
    }

    /// Elements between the points of so many blocks: a line more, so that they do not all fall into one set of a cache.
    pub(crate) fn point(&self, blocks: usize) -> usize {
        blocks * self.block() + LINE_BYTES / Element::F32.bytes()
    }

    /// Elements of all points of so many blocks.
    pub(crate) fn len(&self, blocks: usize) -> usize {
        POINTS * self.point(blocks)
    }

    /// Bytes of the points of a band of a convolution between so many blocks.
    pub(crate) fn scratch_bytes(&self, in_blocks: usize, out_blocks: usize) -> usize {
        (self.len(in_blocks) + self.len(out_blocks)) * Element::F32.bytes()
    }
}

/// Bytes of points, of inputs and of gradients each, that are made at once: a part of a second-level cache.
const BAND_BYTES: usize = 256 * 1024;

/// The bands of a gradient of the weights between an input and an output.
fn bands(input: Shape, output: Shape) -> Bands {
    let tiles = schedule::tiles(Transform::Winograd4x4, output);
    let blocks = input.channels.max(output.channels).div_ceil(BLOCK);
    let row = tiles.columns * POINTS * blocks * BLOCK * Element::F32.bytes();
    let fits = |rows: &usize| tiles.rows.is_multiple_of(*rows) && rows * row <= BAND_BYTES;
    Bands { tiles, rows: (1..=tiles.rows).rev().find(fits).unwrap_or(1) }
}
