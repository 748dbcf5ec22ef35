//! Whole Winograd convolutions of padding 1, in the order in which compiled networks do them: the
//! points of the whole input, then for each panel its products and its output.
//!
//! The parts in parentheses are timed by themselves, each in a loop, so that they find their
//! operands in nearer caches than as parts of the whole.

use super::*;

/// As many channels out as in.
pub(super) struct Layer {
    /// Rows and columns.
    size: usize,
    channels: usize,
    /// Output pixels of a tile's side.
    side: usize,
    /// Rows of tiles whose products are made before their output is.
    group: usize,
}

pub(super) const LAYERS: [Layer; 6] = [
    Layer { size: 56, channels: 64, side: 4, group: 1 },
    Layer { size: 28, channels: 128, side: 4, group: 7 },
    Layer { size: 14, channels: 256, side: 4, group: 4 },
    Layer { size: 14, channels: 256, side: 2, group: 7 },
    Layer { size: 7, channels: 512, side: 4, group: 2 },
    Layer { size: 7, channels: 512, side: 2, group: 4 },
];

impl Layer {
    pub(super) fn name(&self) -> String {
        let Self { size, channels, side, .. } = self;
        format!("F({side}x{side}) {size}x{size} {channels} to {channels}")
    }

    pub(super) fn bench(&self, table: &'static Table, copies_of: usize) -> String {
        let mut buffers = Buffers::new(table, self, copies_of);
        let all = best(|| {
            buffers.points();
            buffers.panels(true, true);
        });
        let points = best(|| buffers.points());
        let products = best(|| buffers.panels(true, false));
        let output = best(|| buffers.panels(false, true));
        let macs = (self.size * self.size * self.channels * self.channels * 9) as f64;
        format!(
            "{:8.3} ms {:6.1} GFLOP/s (points {:.3}, products {:.3}, output {:.3} ms)",
            all * 1e3,
            2.0 * macs / all * 1e-9,
            points * 1e3,
            products * 1e3,
            output * 1e3,
        )
    }
}

struct Buffers {
    table: &'static Table,
    size: usize,
    side: usize,
    /// Points of a tile.
    points: usize,
    /// Channel blocks in and out.
    blocks: usize,
    /// Tiles of a row, and rows of tiles.
    tiles: usize,
    group: usize,
    v_point: usize,
    m_point: usize,
    x: &'static mut [f32],
    v: &'static mut [f32],
    weights: &'static mut [f32],
    copies: usize,
    copy: usize,
    bias: &'static mut [f32],
    m: &'static mut [f32],
    y: &'static mut [f32],
}

impl Buffers {
    fn new(table: &'static Table, layer: &Layer, copies_of: usize) -> Self {
        let Layer { size, channels, side, group } = *layer;
        let (blocks, tiles) = (channels / BLOCK, size.div_ceil(side));
        let points = (side + 2) * (side + 2);
        // One block more than needed, so that the points do not all fall into one set of a cache.
        let v_point = (blocks * tiles * tiles + 1) * BLOCK;
        let m_point = (2 * group * tiles + 1) * BLOCK;
        let copies = copies_of.div_ceil(points * channels * channels).max(1);
        Self {
            table,
            size,
            side,
            points,
            blocks,
            tiles,
            group,
            v_point,
            m_point,
            x: aligned(blocks * (side * tiles + 2) * (side * tiles + 2) * BLOCK),
            v: aligned(points * v_point),
            weights: aligned(copies * points * channels * channels),
            copies,
            copy: 0,
            bias: aligned(2 * BLOCK),
            m: aligned(points * m_point),
            y: aligned(blocks * size * size * BLOCK),
        }
    }

    fn points(&mut self) {
        let (side, tiles) = (self.side, self.tiles);
        let x_row = (side * tiles + 2) * BLOCK;
        let call =
            Call::WinogradInput(WinogradInputParams { side, tiles, x_row, y_point: self.v_point });
        for block in 0..self.blocks {
            for row in 0..tiles {
                let x = self.x[(block * (side * tiles + 2) + side * row) * x_row..].as_mut_ptr();
                let v = self.v[(block * tiles + row) * tiles * BLOCK..].as_mut_ptr();
                // SAFETY: the buffers hold the whole layer, and the table is this CPU's.
                unsafe { call.invoke(self.table, &[x, v]) }
            }
        }
    }

    /// The products of each panel, and its output: one of them, or both.
    fn panels(&mut self, products: bool, output: bool) {
        self.copy = (self.copy + 1) % self.copies;
        for panel in 0..self.blocks / 2 {
            for first in (0..self.tiles).step_by(self.group) {
                if products {
                    self.products(panel, first);
                }
                if output {
                    self.output(panel, first);
                }
            }
        }
    }

    fn products(&mut self, panel: usize, first: usize) {
        let (blocks, tiles) = (self.blocks, self.tiles);
        let point_len = blocks * BLOCK * 2 * BLOCK;
        let call = Call::Conv(ConvParams {
            pixels: self.group * tiles,
            x_step: BLOCK,
            blocks,
            x_block: tiles * tiles * BLOCK,
            kernel_rows: 1,
            kernel_columns: 1,
            x_row: BLOCK,
            x_column: BLOCK,
            out_blocks: 2,
            y_block: self.group * tiles * BLOCK,
            r_block: 0,
            residual: 0,
            relu: 0,
            next: point_len,
        });
        let panel = (self.copy * blocks / 2 + panel) * self.points * point_len;
        for point in 0..self.points {
            let w = self.weights[panel + point * point_len..].as_mut_ptr();
            let operands = [
                self.v[point * self.v_point + first * tiles * BLOCK..].as_mut_ptr(),
                w,
                self.bias.as_mut_ptr(),
                std::ptr::null_mut(),
                w,
                self.m[point * self.m_point..].as_mut_ptr(),
            ];
            // SAFETY: as above.
            unsafe { call.invoke(self.table, &operands) }
        }
    }

    fn output(&mut self, panel: usize, first: usize) {
        let (size, side, tiles) = (self.size, self.side, self.tiles);
        for block in 0..2 {
            for row in 0..self.group {
                let top = side * (first + row);
                let call = Call::WinogradOutput(WinogradOutputParams {
                    side,
                    tiles,
                    rows: (size - top).min(side),
                    columns: size,
                    x_point: self.m_point,
                    y_row: size * BLOCK,
                    r_row: size * BLOCK,
                    residual: 0,
                    relu: 1,
                });
                let m = self.m[(block * self.group + row) * tiles * BLOCK..].as_mut_ptr();
                let y = ((2 * panel + block) * size + top) * size * BLOCK;
                let y = self.y[y..].as_mut_ptr();
                // SAFETY: as above.
                unsafe { call.invoke(self.table, &[m, self.bias.as_mut_ptr(), y, y]) }
            }
        }
    }
}
