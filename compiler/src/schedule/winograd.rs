//! Plans of Winograd convolutions: what is computed together, and where it lies meanwhile.

use resnet_runtime::kernels::BLOCK;
use resnet_runtime::tensors::ConvRecipe;

use super::{Buffer, Order, Region};
use crate::graph::Extent;

/// The plan of a Winograd convolution.
///
/// A band is what is computed together. With [`Order::RowsOuter`] the input's points of one band are
/// made in a thread's scratch memory, where they stay in cache while all panels pass over them. With
/// [`Order::PanelsOuter`] the points of the whole input are made first, in the arena, and a panel's
/// weights pass over all bands. The products of one panel and one band are scratch in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Winograd {
    /// Output pixels of a tile's side: 2 or 4.
    pub side: usize,
    /// Rows and columns of tiles in a picture.
    pub tiles: Extent,
    /// The tiles that are computed together.
    pub band: Band,
    /// The input's points of one band, `[point][block][tile][16]`.
    pub input: Points,
    /// Where the points of the first band lie; those of the others follow if it is the arena.
    pub input_place: (Region, usize),
    /// The products of one band and one panel.
    pub output: Points,
    /// Where they lie in the scratch memory.
    pub output_offset: usize,
}

impl Winograd {
    /// Tiles that are computed together.
    pub fn band_tiles(&self) -> usize {
        self.band.tiles(self.tiles)
    }

    /// Elements of scratch memory.
    pub fn scratch_len(&self) -> usize {
        self.output_offset + self.output.len()
    }

    /// Bands of `batch` pictures.
    pub fn bands(&self, batch: usize) -> usize {
        match self.band {
            Band::Rows(rows) => batch * (self.tiles.rows / rows),
            Band::Pictures(pictures) => batch / pictures,
        }
    }
}

/// Tiles that a Winograd convolution computes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Band {
    /// As many rows of tiles of one picture; it divides the rows.
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

/// The points of a Winograd convolution's tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Points {
    /// How many a tile has.
    pub count: usize,
    /// Distance between points.
    pub distance: usize,
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
}

/// Bytes that one panel's products of a band of tiles may take, a quarter of a second-level cache.
const PRODUCT_BYTES: usize = 256 * 1024;

/// The same for the input's points, where a band's are made just before all its panels pass.
const BAND_BYTES: usize = 160 * 1024;

/// The plan of a Winograd convolution for `batch` pictures; the arena sets the offset of points
/// that lie there.
pub(super) fn plan(
    side: usize,
    order: Order,
    tiles: Extent,
    recipe: &ConvRecipe,
    output: &Buffer,
    batch: usize,
) -> Winograd {
    let points = (side + 2) * (side + 2);
    let bytes = |blocks: usize, tiles: usize| points * tiles * blocks * BLOCK * size_of::<f32>();
    let fits = |count: usize| {
        let products = bytes(recipe.panel_blocks, count) <= PRODUCT_BYTES;
        products && (order != Order::RowsOuter || bytes(recipe.in_blocks, count) <= BAND_BYTES)
    };
    let picture = tiles.rows * tiles.columns;
    let pictures = match order {
        // Bands are the iterations that threads divide; they should be many.
        Order::RowsOuter => 1,
        _ => largest_divisor(batch, |pictures| fits(pictures * picture)),
    };
    let band = if pictures > 1 || fits(picture) && order != Order::RowsOuter {
        Band::Pictures(pictures)
    } else if output.shape.height.is_multiple_of(side) {
        Band::Rows(largest_divisor(tiles.rows, |rows| fits(rows * tiles.columns)))
    } else {
        // Only whole rows of tiles can be divided: the last, partial one needs a call of its own.
        Band::Pictures(1)
    };
    let in_band = band.tiles(tiles);
    // One block more than needed, so that the points do not all fall into one set of a cache.
    let distance = |blocks: usize| (blocks * in_band + 1) * BLOCK;
    let input = Points { count: points, distance: distance(recipe.in_blocks) };
    let output = Points { count: points, distance: distance(recipe.panel_blocks) };
    let (input_place, output_offset) = match order {
        Order::RowsOuter => ((Region::Scratch, 0), input.len()),
        _ => ((Region::Arena, 0), 0),
    };
    Winograd { side, tiles, band, input, input_place, output, output_offset }
}

/// The largest divisor of `n` that is `good`, or 1.
fn largest_divisor(n: usize, good: impl Fn(usize) -> bool) -> usize {
    (2..=n).rev().find(|&d| n.is_multiple_of(d) && good(d)).unwrap_or(1)
}
