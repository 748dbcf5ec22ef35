//! Tiles that are computed alike, and where they lie among those of a band.
//!
//! Where the last row or column of tiles is an edge, which fewer points are computed for, a band's tiles lie in this order:
//!
//! ```text
//! the edge row | all others | the edge column | the tile in both
//! ```
//!
//! so that those that need a point lie side by side, whether or not the edges need it.

use std::ops::Range;

use resnet_runtime::kernels::BLOCK;

use super::runs::Run;
use super::{Bands, Side};
use crate::graph::Extent;
use crate::nest::{Address, Loop, Var};

/// Tiles of a band, in rows.
pub(super) struct Patch {
    /// The loops over the rows of tiles: pictures, if a band has several, and the rows of each.
    pub(super) rows: Vec<Loop>,
    /// Rows of tiles that lie before it in the picture's part.
    pub(super) below: usize,
    /// Columns of tiles that lie before it in the picture.
    pub(super) right: usize,
    /// Tiles of a row.
    pub(super) tiles: usize,
    /// Output rows and columns of a tile.
    pub(super) outputs: Extent,
    /// Output columns of a row of tiles.
    pub(super) columns: usize,
    /// The band's tiles that lie before it in memory.
    first: usize,
}

impl Patch {
    /// Where points of its tiles lie, of a side without the tiles.
    pub(super) fn tiles_of(&self, side: &Side, operand: usize, loops: &[Loop]) -> Address {
        let (row, picture) = self.rows.split_last().expect("a patch has rows");
        let mut side = side.clone().with(Var::Row, self.tiles * BLOCK);
        if !picture.is_empty() {
            side = side.with(Var::Picture, row.extent * self.tiles * BLOCK);
        }
        let mut address = side.address(operand, loops);
        address.offset += side.bytes(self.first * BLOCK);
        address
    }
}

impl Bands<'_> {
    /// Output rows of the last row of tiles, if the part has it and it is an edge.
    pub(super) fn edge_row(&self) -> Option<usize> {
        self.edges.rows.filter(|_| self.partial.is_some())
    }

    /// How many pictures a band has, and rows of tiles of each that are no edge, and are.
    fn counts(&self) -> [usize; 3] {
        let (row, outer) = self.rows.split_last().expect("a band has rows");
        let edges = usize::from(self.edge_row().is_some());
        [outer.iter().map(|l| l.extent).product(), row.extent - edges, edges]
    }

    /// All of a band, or of a strip of it; one if there are no edges.
    pub(super) fn patches(&self) -> Vec<Patch> {
        let [pictures, full, edges] = self.counts();
        let (row, outer) = self.rows.split_last().expect("a band has rows");
        let (width, tile) = (self.layer.of.output.shape.width, self.plan.tile());
        let [before, edge_columns] = self.columns();
        let first = [
            [pictures * edges * before, pictures * (edges + full) * before],
            [0, pictures * ((edges + full) * before + full)],
        ];
        let of_rows = [(full, 0, Some(tile.rows)), (edges, full, self.edge_row())];
        let of_columns =
            [(before, 0, Some(tile.columns)), (edge_columns, before, self.edges.columns)];
        let mut patches = Vec::new();
        for ((extent, below, rows), first) in of_rows.into_iter().zip(first) {
            for ((tiles, right, columns), first) in of_columns.into_iter().zip(first) {
                let (Some(rows), Some(columns)) = (rows, columns) else { continue };
                if extent * tiles == 0 {
                    continue;
                }
                patches.push(Patch {
                    rows: [outer, &[Loop { extent, ..*row }]].concat(),
                    below,
                    right,
                    tiles,
                    outputs: Extent::new(rows, columns),
                    columns: (width - right * tile.columns).min(tiles * tile.columns),
                    first,
                });
            }
        }
        patches
    }

    /// How many tiles of a row are no edge, and are.
    fn columns(&self) -> [usize; 2] {
        let edges = usize::from(self.edges.columns.is_some());
        [self.plan.strip - edges, edges]
    }

    /// The tiles of a band that need the products of such points.
    pub(super) fn tiles_that_need(&self, [row, column]: [&Run; 2]) -> Range<usize> {
        let [pictures, full, edges] = self.counts();
        let [before, edge_columns] = self.columns();
        let rows = full + edges;
        if edges + edge_columns == 0 {
            let rows = pictures * rows - usize::from(!row.needed);
            return 0..rows * before;
        }
        let first = if row.needed { 0 } else { pictures * edges * before };
        let last = match (row.needed, column.needed) {
            (true, true) => rows * (before + edge_columns),
            (false, true) => rows * before + full * edge_columns,
            (_, false) => rows * before,
        };
        first..pictures * last
    }
}
