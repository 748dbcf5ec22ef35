//! Plans of Winograd convolutions: what is computed together, and where it lies meanwhile.

use std::fmt;

use resnet_runtime::kernels::{BLOCK, Element, Filter, LINE_BYTES, PanelFormat, Transform};

use super::{Buffer, Layout, Order, Region};
use crate::graph::{Extent, Shape, Window};

/// The plan of a Winograd convolution.
///
/// A band is what is computed together. With [`Order::RowsOuter`] the input's points of one band are
/// made in a thread's scratch memory, where they stay in cache while all panels pass over them. With
/// the others the points of the whole input are made first, in the arena, and a panel's
/// weights pass over all bands, or all panels over one. The products of one panel and one band are
/// scratch always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Winograd {
    /// Whose filters it is computed with.
    pub transform: Transform,
    /// Rows and columns of tiles in a picture. The last row may be a partial one.
    pub tiles: Extent,
    /// The tiles that are computed together.
    pub band: Band,
    /// Tiles of a row whose products are made before their outputs: all of them, but for a planar
    /// input, whose products are so many that they would not stay near.
    pub strip: usize,
    /// The input's points of one band, `[point][block][tile][16]`, or, if the input is planar,
    /// `[point][channel][column]`.
    pub input: Points,
    /// Where the points of the first band lie, in bytes; those of the others follow if it is the arena.
    pub input_place: (Region, usize),
    /// The products of one band and one panel.
    pub output: Points,
    /// Where they lie in the scratch memory, in bytes.
    pub output_offset: usize,
}

impl Winograd {
    /// Output rows and columns of a tile.
    pub fn tile(&self) -> Extent {
        tile(self.transform)
    }

    /// The last row and the last column of tiles of such an output, if they are edges.
    pub fn edges(&self, output: Shape) -> Edges {
        Edges::of(self.transform, self.input.element, output)
    }

    /// The words that are made of a panel for each band, `[point][block][8][panel_blocks * 16][2]`, and where they lie in the scratch
    /// memory, in bytes, if the panels are packed as bytes.
    pub fn words(&self, format: &PanelFormat) -> Option<(Points, usize)> {
        let block = format.panel_blocks * BLOCK * BLOCK;
        let words = points(self.input.count, format.factor(), format.in_blocks, block);
        let offset = self.scratch_bytes().next_multiple_of(LINE_BYTES);
        format.is_untransformed().then_some((words, offset))
    }

    /// Bytes of scratch memory, but for those [words](Self::words).
    pub fn scratch_bytes(&self) -> usize {
        self.output_offset + self.output.bytes()
    }

    /// Bytes of the input's points of `batch` pictures, where they lie in the arena.
    pub(super) fn points_bytes(&self, batch: usize) -> usize {
        self.input.bytes() * self.bands(batch)
    }

    /// Bands of `batch` pictures.
    pub(crate) fn bands(&self, batch: usize) -> usize {
        match self.band {
            // The last row may be a band by itself.
            Band::Rows(rows) => batch * self.tiles.rows.div_ceil(rows),
            Band::Pictures(pictures) => batch / pictures,
        }
    }
}

/// As in `Winograd F(4x4, 3x3)`, the outputs of a tile and the kernel.
impl fmt::Display for Winograd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernel = self.transform.filters()[0].taps();
        let Extent { rows, columns } = self.tile();
        write!(f, "Winograd F({rows}x{columns}, {kernel}x{kernel})")
    }
}

/// Of a convolution of bytes, the output rows and columns of the last tiles, where they are one or two: so few are computed by
/// F2, see [`Filter::of_bytes`], from four points in the place of six.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Edges {
    /// Rows of the last row of tiles.
    pub rows: Option<usize>,
    /// Columns of the last column of tiles.
    pub columns: Option<usize>,
}

impl Edges {
    /// Those of a convolution with such an output, whose products are of such an element.
    pub(super) fn of(transform: Transform, element: Element, output: Shape) -> Self {
        if element != Element::I16 {
            return Self::default();
        }
        let tile = tile(transform);
        let edge = |size: usize, outputs: usize| {
            let rest = size % outputs;
            (rest > 0 && Filter::of_bytes(rest) != Filter::of_bytes(outputs)).then_some(rest)
        };
        Self { rows: edge(output.height, tile.rows), columns: edge(output.width, tile.columns) }
    }

    /// Points of all tiles of a column, and of a row.
    pub(super) fn points(self, transform: Transform, tiles: Extent) -> Extent {
        let [rows, columns] = transform.filters();
        let points = |filter: Filter, edge: Option<usize>, tiles: usize| {
            let last = edge.map_or(filter, Filter::of_bytes);
            filter.points() * (tiles - 1) + last.points()
        };
        let Extent { rows: of_rows, columns: of_columns } = tiles;
        Extent::new(points(rows, self.rows, of_rows), points(columns, self.columns, of_columns))
    }
}

/// Tiles that a Winograd convolution computes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Band {
    /// As many rows of tiles of one picture; it divides the whole rows. A partial one is a band by
    /// itself.
    Rows(usize),
    /// All tiles of as many pictures; it divides the batch.
    Pictures(usize),
}

impl Band {
    /// Its tiles, where a picture has as many rows and columns of them.
    fn tiles(self, picture: Extent) -> usize {
        match self {
            Self::Rows(rows) => rows * picture.columns,
            Self::Pictures(pictures) => pictures * picture.rows * picture.columns,
        }
    }
}

/// The points of a Winograd convolution's tiles, or of its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Points {
    /// What they consist of.
    pub element: Element,
    /// How many a tile, or a kernel, has.
    pub count: usize,
    /// Elements between points.
    pub distance: usize,
    /// Elements between a point's blocks.
    pub block: usize,
}

impl Points {
    /// Elements of one set of points.
    pub fn len(&self) -> usize {
        self.count * self.distance
    }

    /// There are always points.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Bytes of one set of points.
    pub fn bytes(&self) -> usize {
        self.len() * self.element.bytes()
    }
}

/// Points of so many blocks: one cache line more than needed apart, so that they do not all fall into one set of a cache.
fn points(count: usize, element: Element, blocks: usize, block: usize) -> Points {
    let distance = blocks * block + LINE_BYTES / element.bytes();
    Points { element, count, distance, block }
}

/// What products of points consist of.
const PRODUCT: Element = Element::F32;

/// Bytes that one panel's products of a band of tiles may take, a quarter of a second-level cache.
const PRODUCT_BYTES: usize = 256 * 1024;

/// The same for the input's points, where a band's are made just before all its panels pass.
const BAND_BYTES: usize = 300 * 1024;

/// Tiles of a row whose products are computed together where the input is planar: two of the widest
/// register tiles, whose products and weights a first-level cache holds, more or less.
const STRIP: usize = 28;

/// The strip for rows of so many tiles. Where they have no fitting divisor, products that do not stay
/// near cost less than tiles of a few pixels.
fn strip(columns: usize) -> usize {
    let strip = largest_divisor(columns, |columns| columns <= STRIP);
    if strip < STRIP / 4 { columns } else { strip }
}

/// The plan of a Winograd convolution for `batch` pictures; the arena sets the offset of points
/// that lie there.
pub(super) fn plan(
    order: Order,
    format: &PanelFormat,
    window: &Window,
    output: &Buffer,
    batch: usize,
) -> Winograd {
    let transform = format.transform;
    let [rows, columns] = transform.filters();
    let tiles = tiles(transform, output.shape);
    let count = rows.points() * columns.points();
    let (band, strip) = if format.planar {
        (Band::Rows(1), strip(tiles.columns))
    } else {
        (
            band(order, format, count, tiles, output.shape.height / rows.outputs(), batch),
            tiles.columns,
        )
    };
    let in_strip = band.tiles(tiles) / tiles.columns * strip;
    let in_block =
        if format.planar { columns_read(window, output.shape) } else { in_strip * BLOCK };
    // Points are what they are multiplied with, words or `f32`.
    let input = points(count, format.factor(), format.in_blocks, in_block);
    let output = points(count, PRODUCT, format.panel_blocks, in_strip * BLOCK);
    let (input_place, output_offset) = match order {
        Order::RowsOuter => ((Region::Scratch, 0), input.bytes().next_multiple_of(LINE_BYTES)),
        _ => ((Region::Arena, 0), 0),
    };
    Winograd { transform, tiles, band, strip, input, input_place, output, output_offset }
}

/// The plan of a training step's convolution.
#[cfg(feature = "train")]
pub(crate) fn plan_winograd(
    order: Order,
    format: &PanelFormat,
    window: &Window,
    output: Shape,
    batch: usize,
) -> Winograd {
    let none = Extent::square(0);
    let (region, layout) = (Region::Arena, Layout::Blocked);
    let output = Buffer {
        region,
        offset: 0,
        layout,
        shape: output,
        ring: none,
        margin: none,
        element: Element::F32,
        scale: None,
    };
    plan(order, format, window, &output, batch)
}

/// The band of a convolution with `count` points a tile and `whole` whole rows of `tiles`.
fn band(
    order: Order,
    format: &PanelFormat,
    count: usize,
    tiles: Extent,
    whole: usize,
    batch: usize,
) -> Band {
    let bytes = |element: Element, blocks: usize, tiles: usize| {
        count * tiles * blocks * BLOCK * element.bytes()
    };
    let fits = |tiles: usize| {
        let products = bytes(PRODUCT, format.panel_blocks, tiles) <= PRODUCT_BYTES;
        let points = bytes(format.factor(), format.in_blocks, tiles) <= BAND_BYTES;
        products && (order != Order::RowsOuter || points)
    };
    let picture = tiles.rows * tiles.columns;
    if order != Order::RowsOuter && fits(picture) {
        Band::Pictures(largest_divisor(batch, |pictures| fits(pictures * picture)))
    } else {
        // Here, bands are the iterations that threads divide; they should be many.
        Band::Rows(largest_divisor(whole, |rows| fits(rows * tiles.columns)))
    }
}

/// Output rows and columns of a tile.
fn tile(transform: Transform) -> Extent {
    let [rows, columns] = transform.filters();
    Extent::new(rows.outputs(), columns.outputs())
}

/// The tiles that cover a picture's output.
pub(crate) fn tiles(transform: Transform, output: Shape) -> Extent {
    let Extent { rows, columns } = tile(transform);
    Extent::new(output.height.div_ceil(rows), output.width.div_ceil(columns))
}

/// Rows and columns that a Winograd convolution, whose products are of such an element, reads of a picture, from its padding
/// on.
pub(crate) fn reads(
    transform: Transform,
    element: Element,
    window: &Window,
    output: Shape,
    layout: Layout,
) -> Option<Extent> {
    if transform == Transform::None {
        return None;
    }
    let [rows, columns] = transform.filters();
    let tiles = tiles(transform, output);
    let edges = Edges::of(transform, element, output);
    let along = |filter: Filter, edge: Option<usize>, tiles: usize| {
        filter.step() * (tiles - 1) + edge.map_or(filter, Filter::of_bytes).points()
    };
    let columns = match layout {
        Layout::Blocked => along(columns, edges.columns, tiles.columns),
        Layout::Planar => columns_read(window, output),
        Layout::Interleaved => unreachable!("quantised pictures have no Winograd form"),
    };
    Some(Extent::new(along(rows, edges.rows, tiles.rows), columns))
}

/// Columns that are read of a planar picture; sixteen neighbours stand for a block.
fn columns_read(window: &Window, output: Shape) -> usize {
    let last = window.stride.columns * (output.width - 1);
    (last + window.kernel.columns).next_multiple_of(BLOCK)
}

/// The largest divisor of `n` that is `good`, or 1.
fn largest_divisor(n: usize, good: impl Fn(usize) -> bool) -> usize {
    (2..=n).rev().find(|&d| n.is_multiple_of(d) && good(d)).unwrap_or(1)
}
