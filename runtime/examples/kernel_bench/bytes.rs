//! Whole convolutions of bytes, every row and every group of output channels.

use std::ffi::c_void;

use super::*;

pub(super) struct Layer {
    input: usize,
    output: usize,
    kernel: usize,
    stride: usize,
    /// Output rows and columns.
    size: usize,
    residual: ResidualElement,
}

const fn layer(
    input: usize,
    output: usize,
    kernel: usize,
    stride: usize,
    size: usize,
    residual: ResidualElement,
) -> Layer {
    Layer { input, output, kernel, stride, size, residual }
}

const NONE: ResidualElement = ResidualElement::None;
const BYTES: ResidualElement = ResidualElement::U8;

pub(super) const LAYERS: [Layer; 17] = [
    layer(QUAD, 64, 7, 2, 112, NONE),
    layer(64, 64, 1, 1, 56, NONE),
    layer(64, 256, 1, 1, 56, BYTES),
    layer(256, 64, 1, 1, 56, NONE),
    layer(128, 512, 1, 1, 28, BYTES),
    layer(512, 128, 1, 1, 28, NONE),
    layer(256, 1024, 1, 1, 14, BYTES),
    layer(1024, 256, 1, 1, 14, NONE),
    layer(512, 2048, 1, 1, 7, BYTES),
    layer(2048, 512, 1, 1, 7, NONE),
    layer(64, 64, 3, 1, 56, BYTES),
    layer(128, 128, 3, 1, 28, BYTES),
    layer(256, 256, 3, 1, 14, BYTES),
    layer(512, 512, 3, 1, 7, BYTES),
    layer(64, 128, 3, 2, 28, NONE),
    layer(256, 512, 3, 2, 7, NONE),
    layer(256, 512, 1, 2, 28, NONE),
];

impl Layer {
    fn lanes(&self) -> usize {
        self.input.min(BLOCK)
    }

    pub(super) fn name(&self) -> String {
        let Self { input, output, kernel, stride, size, .. } = self;
        let residual = if self.residual == NONE { "" } else { " + r" };
        format!(
            "{} {kernel}x{kernel}/{stride} {size}x{size} {input} to {output}{residual}",
            self.call().name()
        )
    }

    /// Weights of a panel of two blocks.
    fn panel_len(&self) -> usize {
        self.input * self.kernel * self.kernel * 2 * BLOCK
    }

    fn params(&self) -> ConvU8Params {
        let lanes = self.lanes();
        let size = (self.size - 1) * self.stride + self.kernel;
        let run = self.kernel == 1 && self.stride == 1;
        ConvU8Params {
            pixels: if run { self.size * self.size } else { self.size },
            x_step: lanes * self.stride,
            blocks: self.input / lanes,
            x_block: size * size * lanes,
            kernel_rows: self.kernel,
            kernel_columns: self.kernel,
            x_row: size * lanes,
            x_column: lanes,
            out_blocks: 2,
            y_block: self.size * self.size * BLOCK,
            r_block: self.size * self.size * BLOCK,
            epilogue: ByteEpilogue { residual: self.residual, output: OutputElement::U8 },
            next: self.panel_len() / if run { 1 } else { self.size },
        }
    }

    fn call(&self) -> Call {
        let params = self.params();
        if self.input == QUAD { Call::ConvU8Quads(params) } else { Call::ConvU8(params) }
    }

    pub(super) fn bench(&self, table: &Table, peak: f64, copies_of: usize) -> String {
        let (call, params) = (self.call(), self.params());
        let x = bytes(params.blocks * params.x_block);
        let w_len = self.panel_len() * self.output / (2 * BLOCK);
        let copies = (copies_of * size_of::<f32>()).div_ceil(w_len).max(1);
        let (weights, mut copy) = (bytes(copies * w_len), 0);
        let q = aligned(2 * self.output);
        let line = TensorLine { factor: 0.5, offset: 9.0, low: 0.0, high: 255.0, zero: 0.0 };
        let t = aligned(TENSOR_NUMBERS);
        t[..TENSOR_NUMBERS].copy_from_slice(&line.to_line());
        let y = bytes(self.output / BLOCK * params.y_block);
        let rows = self.size * self.size / params.pixels;
        let seconds = best(|| {
            copy = (copy + 1) % copies;
            let w = &mut weights[copy * w_len..];
            for panel in 0..self.output / (2 * BLOCK) {
                for row in 0..rows {
                    // The next panel's weights, shared among the rows.
                    let w = w[panel * self.panel_len()..].as_mut_ptr();
                    let pixel = row * params.pixels * BLOCK;
                    let y = y[2 * panel * params.y_block + pixel..].as_mut_ptr();
                    let operands: [*mut c_void; 7] = [
                        x[row * self.stride * params.x_row..].as_mut_ptr().cast(),
                        w.cast(),
                        q[panel * 4 * BLOCK..].as_mut_ptr().cast(),
                        t.as_mut_ptr().cast(),
                        y.cast(),
                        w.wrapping_add(row * params.next).cast(),
                        y.cast(),
                    ];
                    // SAFETY: the buffers hold the whole layer, and the table is this CPU's.
                    unsafe { call.invoke(table, &operands) }
                }
            }
        });
        let steps = self.input * self.kernel * self.kernel;
        let macs = (self.size * self.size * self.output * steps) as f64;
        let gops = 2.0 * macs / seconds * 1e-9;
        format!("{:8.3} ms {gops:6.1} GOP/s {:5.1}%", seconds * 1e3, 100.0 * gops / peak)
    }
}

/// Some bytes, on a cache line of their own, with some room behind them.
fn bytes(len: usize) -> &'static mut [u8] {
    bytemuck::cast_slice_mut(aligned(len.div_ceil(size_of::<f32>())))
}
