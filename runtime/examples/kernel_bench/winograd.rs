//! Whole Winograd convolutions, padded by half their kernel, in the order in which compiled networks
//! do them: the points of the whole input, then for each panel its products and its output.
//!
//! The parts in parentheses are timed by themselves, each in a loop, so that they find their
//! operands in nearer caches than as parts of the whole.

use super::*;

#[derive(Clone, Copy)]
pub(super) struct Layer {
    transform: Transform,
    /// Output rows and columns.
    size: usize,
    input: usize,
    output: usize,
    /// Rows of tiles whose products are made before their output is.
    group: usize,
}

const fn layer(
    transform: Transform,
    size: usize,
    input: usize,
    output: usize,
    group: usize,
) -> Layer {
    Layer { transform, size, input, output, group }
}

pub(super) const LAYERS: [Layer; 11] = [
    layer(Transform::Winograd4x1Stride2, 112, 3, 64, 1),
    layer(Transform::Winograd4x4, 56, 64, 64, 1),
    layer(Transform::Winograd4x4, 28, 128, 128, 7),
    layer(Transform::Winograd4x4, 14, 256, 256, 4),
    layer(Transform::Winograd2x2, 14, 256, 256, 7),
    layer(Transform::Winograd4x4, 7, 512, 512, 2),
    layer(Transform::Winograd2x2, 7, 512, 512, 4),
    layer(Transform::Winograd4x4Stride2, 28, 64, 128, 7),
    layer(Transform::Winograd4x4Stride2, 14, 128, 256, 4),
    layer(Transform::Winograd2x2Stride2, 14, 128, 256, 7),
    layer(Transform::Winograd2x2Stride2, 7, 256, 512, 4),
];

impl Layer {
    fn rows(&self) -> Filter {
        self.transform.filters()[0]
    }

    fn columns(&self) -> Filter {
        self.transform.filters()[1]
    }

    fn stride(&self) -> usize {
        self.rows().step() / self.rows().outputs()
    }

    /// Whether a convolution along the rows does the columns.
    fn planar(&self) -> bool {
        self.columns() == Filter::Identity
    }

    fn kernel(&self) -> usize {
        if self.planar() { 7 } else { 3 }
    }

    /// Input channels of a block.
    fn lanes(&self) -> usize {
        if self.planar() { 1 } else { BLOCK }
    }

    fn blocks(&self) -> usize {
        self.input / self.lanes()
    }

    /// Panels of two output blocks.
    fn panels(&self) -> usize {
        self.output / (2 * BLOCK)
    }

    fn points(&self) -> usize {
        self.rows().points() * self.columns().points()
    }

    /// Weights of an input and an output channel, of which each product has as many as its kernel.
    fn weights(&self) -> usize {
        self.rows().weights(self.kernel()) * self.columns().weights(self.kernel())
    }

    /// Width of the products' kernel.
    fn product_kernel(&self) -> usize {
        if self.planar() { self.kernel() } else { 1 }
    }

    /// Elements of a panel's weights for one product.
    fn product_len(&self) -> usize {
        self.input * self.product_kernel() * 2 * BLOCK
    }

    /// Where a panel has the weights of point `point`.
    fn product_at(&self, point: usize) -> usize {
        let (rows, columns) = (self.rows(), self.columns());
        let row = columns.weights(self.kernel()) / self.product_kernel();
        let (i, j) = (point / columns.points(), point % columns.points());
        (rows.weight(i) * row + columns.weight(j)) * self.product_len()
    }

    /// Tiles of a row.
    fn tiles(&self) -> usize {
        self.size.div_ceil(self.columns().outputs())
    }

    fn tile_rows(&self) -> usize {
        self.size.div_ceil(self.rows().outputs())
    }

    /// Elements of an input row.
    fn x_row(&self) -> usize {
        if self.planar() {
            (self.stride() * (self.size - 1) + self.kernel()).next_multiple_of(BLOCK)
        } else {
            (self.columns().step() * (self.tiles() - 1) + self.columns().points()) * BLOCK
        }
    }

    /// Elements of an input block.
    fn x_block(&self) -> usize {
        (self.rows().step() * (self.tile_rows() - 1) + self.rows().points()) * self.x_row()
    }

    /// Elements of a point, for a row of tiles of one block.
    fn v_row(&self) -> usize {
        if self.planar() { self.x_row() } else { self.tiles() * BLOCK }
    }

    pub(super) fn name(&self) -> String {
        let Self { size, input, output, .. } = self;
        let (height, width) = (self.rows().outputs(), self.columns().outputs());
        let (kernel, stride) = (self.kernel(), self.stride());
        format!("F({height}x{width}) {kernel}x{kernel}/{stride} {size}x{size} {input} to {output}")
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
        let steps = self.input * self.kernel() * self.kernel();
        let macs = (self.size * self.size * self.output * steps) as f64;
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
    layer: Layer,
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
        // One block more than needed, so that the points do not all fall into one set of a cache.
        let v_point = layer.blocks() * layer.tile_rows() * layer.v_row() + BLOCK;
        let m_point = (2 * layer.group * layer.tiles() + 1) * BLOCK;
        let w_len = layer.weights() * layer.input * layer.output;
        let copies = copies_of.div_ceil(w_len).max(1);
        Self {
            table,
            layer: *layer,
            v_point,
            m_point,
            x: aligned(layer.blocks() * layer.x_block()),
            v: aligned(layer.points() * v_point),
            weights: aligned(copies * w_len),
            copies,
            copy: 0,
            bias: aligned(2 * BLOCK),
            m: aligned(layer.points() * m_point),
            y: aligned(layer.output * layer.size * layer.size),
        }
    }

    fn points(&mut self) {
        let layer = self.layer;
        let call = Call::WinogradInput(WinogradInputParams {
            form: layer.transform,
            tiles: layer.v_row() / BLOCK,
            x_row: layer.x_row(),
            y_point: self.v_point,
        });
        for block in 0..layer.blocks() {
            for row in 0..layer.tile_rows() {
                let x = block * layer.x_block() + layer.rows().step() * row * layer.x_row();
                let v = (block * layer.tile_rows() + row) * layer.v_row();
                let operands = [self.x[x..].as_mut_ptr(), self.v[v..].as_mut_ptr()];
                // SAFETY: the buffers hold the whole layer, and the table is this CPU's.
                unsafe { call.invoke(self.table, &operands.map(<*mut f32>::cast)) }
            }
        }
    }

    /// The products of each panel, and its output: one of them, or both.
    fn panels(&mut self, products: bool, output: bool) {
        self.copy = (self.copy + 1) % self.copies;
        for panel in 0..self.layer.panels() {
            for first in (0..self.layer.tile_rows()).step_by(self.layer.group) {
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
        let layer = self.layer;
        let pixels = layer.group * layer.tiles();
        let params = ConvParams {
            pixels,
            x_step: if layer.planar() { layer.stride() } else { BLOCK },
            blocks: layer.blocks(),
            x_block: layer.tile_rows() * layer.v_row(),
            kernel_rows: 1,
            kernel_columns: layer.product_kernel(),
            x_row: layer.v_row(),
            x_column: layer.lanes(),
            out_blocks: 2,
            y_block: pixels * BLOCK,
            r_block: 0,
            epilogue: Epilogue::NONE,
            next: layer.product_len(),
        };
        let call = if layer.planar() { Call::ConvPlanar(params) } else { Call::Conv(params) };
        let panel_len = layer.weights() * layer.input * 2 * BLOCK;
        let panel = (self.copy * layer.panels() + panel) * panel_len;
        for point in 0..layer.points() {
            let w = self.weights[panel + layer.product_at(point)..].as_mut_ptr();
            let operands = [
                self.v[point * self.v_point + first * layer.v_row()..].as_mut_ptr(),
                w,
                self.bias.as_mut_ptr(),
                std::ptr::null_mut(),
                w,
                self.m[point * self.m_point..].as_mut_ptr(),
            ];
            // SAFETY: as above.
            unsafe { call.invoke(self.table, &operands.map(<*mut f32>::cast)) }
        }
    }

    fn output(&mut self, panel: usize, first: usize) {
        let layer = self.layer;
        let (size, height) = (layer.size, layer.rows().outputs());
        for block in 0..2 {
            for row in 0..layer.group {
                let top = height * (first + row);
                let call = Call::WinogradOutput(WinogradOutputParams {
                    form: layer.transform,
                    tiles: layer.tiles(),
                    rows: (size - top).min(height),
                    columns: size,
                    x_point: self.m_point,
                    y_row: size * BLOCK,
                    r_row: size * BLOCK,
                    epilogue: Epilogue {
                        residual: false,
                        activation: Activation::Relu,
                        stored: Precision::F32,
                    },
                });
                let m = (block * layer.group + row) * layer.tiles() * BLOCK;
                let m = self.m[m..].as_mut_ptr();
                let y = ((2 * panel + block) * size + top) * size * BLOCK;
                let y = self.y[y..].as_mut_ptr();
                // SAFETY: as above.
                unsafe {
                    let operands = [m, self.bias.as_mut_ptr(), y, y];
                    call.invoke(self.table, &operands.map(<*mut f32>::cast));
                }
            }
        }
    }
}
