//! How fast each kernel is on this CPU, beside the peak of its multiply-add units.
//!
//! ```text
//! cargo run --release -p resnet-runtime --example kernel_bench -- [ISA] [cold] [WORD]
//! ```
//!
//! The instruction set is the best of this CPU if none is given. `cold` takes the weights of each
//! round from another copy, 64 MiB of them in all, as in a network whose weights exceed the cache.
//! Each call fetches weights of the next ones ahead, as compiled networks do for large layers.
//! With a WORD, only the lines that contain it are run. One thread; the best of several rounds, as
//! on a shared machine every disturbance makes a round slower and none makes it faster.

mod bytes;
mod winograd;

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::Instant;

use resnet_runtime::kernels::*;
use resnet_runtime::machine;

const ROUNDS: usize = 40;

/// Elements of all copies of a layer's weights, if they are to be cold.
const COLD_WEIGHTS: usize = 16 << 20;

fn main() {
    let (mut isa, mut copies_of, mut filter) = (Isa::detect(), 0, String::new());
    for word in std::env::args().skip(1) {
        match (word.parse(), word.as_str()) {
            (Ok(named), _) => isa = named,
            (_, "cold") => copies_of = COLD_WEIGHTS,
            _ => filter = word,
        }
    }
    let table = isa.table().unwrap_or_else(|error| panic!("{error}"));
    let peak =
        machine::flops(isa, NonZeroUsize::MIN).expect("the table says that there is one") * 1e-9;
    println!("{isa}: the multiply-add peak is {peak:.0} GFLOP/s");
    let byte_peak =
        machine::byte_ops(isa, NonZeroUsize::MIN).expect("the table says that there is one") * 1e-9;
    println!("{isa}: that of bytes is {byte_peak:.0} GOP/s");
    let run = |line: String, bench: &dyn Fn() -> String| {
        if line.contains(&filter) {
            println!("{line:<44} {}", bench());
        }
    };
    for layer in LAYERS {
        run(layer.name(), &|| layer.bench(table, peak, copies_of));
    }
    for layer in bytes::LAYERS {
        run(layer.name(), &|| layer.bench(table, byte_peak, copies_of));
    }
    for layer in winograd::LAYERS {
        run(layer.name(), &|| layer.bench(table, copies_of));
    }
    run("max_pool 3x3/2 112x112x64".into(), &|| max_pool(table));
    run("mean 7x7x2048".into(), &|| mean(table));
    run("pack 512x512x3x3".into(), &|| pack(512, 512, 3, Transform::None));
    for channels in [64, 128, 256, 512] {
        let name = format!("pack winograd {channels}x{channels}x3x3");
        run(name, &|| pack(channels, channels, 3, Transform::Winograd4x4));
    }
    run("pack 2048x512x1x1".into(), &|| pack(2048, 512, 1, Transform::None));
}

/// A whole convolution: every row and every group of output channels.
struct Layer {
    planar: bool,
    input: usize,
    output: usize,
    kernel: usize,
    stride: usize,
    /// Output rows and columns.
    size: usize,
}

const fn layer(input: usize, output: usize, kernel: usize, stride: usize, size: usize) -> Layer {
    Layer { planar: false, input, output, kernel, stride, size }
}

const LAYERS: [Layer; 15] = [
    Layer { planar: true, ..layer(3, 64, 7, 2, 112) },
    layer(64, 64, 3, 1, 56),
    layer(128, 128, 3, 1, 28),
    layer(256, 256, 3, 1, 14),
    layer(512, 512, 3, 1, 7),
    layer(64, 128, 3, 2, 28),
    layer(128, 256, 3, 2, 14),
    layer(256, 512, 3, 2, 7),
    layer(64, 256, 1, 1, 56),
    layer(256, 64, 1, 1, 56),
    layer(256, 1024, 1, 1, 14),
    layer(1024, 256, 1, 1, 14),
    layer(2048, 512, 1, 1, 7),
    layer(16, 16, 3, 1, 32),
    layer(512, 1000, 1, 1, 1),
];

impl Layer {
    fn name(&self) -> String {
        let Self { input, output, kernel, stride, size, .. } = self;
        format!(
            "{} {kernel}x{kernel}/{stride} {size}x{size} {input} to {output}",
            self.call(2).name()
        )
    }

    /// A call over one row, or over the whole plane where it is one run of pixels.
    fn call(&self, out_blocks: usize) -> Call {
        let lanes = if self.planar { 1 } else { BLOCK };
        let size = (self.size - 1) * self.stride + self.kernel;
        let run = self.kernel == 1 && self.stride == 1;
        let params = ConvParams {
            pixels: if run { self.size * self.size } else { self.size },
            x_step: lanes * self.stride,
            blocks: self.input / lanes,
            x_block: size * size * lanes,
            kernel_rows: self.kernel,
            kernel_columns: self.kernel,
            x_row: size * lanes,
            x_column: lanes,
            out_blocks,
            y_block: self.size * self.size * BLOCK,
            r_block: self.size * self.size * BLOCK,
            epilogue: Epilogue {
                residual: false,
                activation: Activation::Relu,
                stored: Precision::F32,
            },
            next: self.panel_len(out_blocks) / if run { 1 } else { self.size },
        };
        if self.planar { Call::ConvPlanar(params) } else { Call::Conv(params) }
    }

    /// Weights of a panel of `out_blocks` blocks.
    fn panel_len(&self, out_blocks: usize) -> usize {
        self.input * self.kernel * self.kernel * out_blocks * BLOCK
    }

    fn bench(&self, table: &Table, peak: f64, copies_of: usize) -> String {
        let out_blocks = self.output.div_ceil(BLOCK);
        let steps = self.input * self.kernel * self.kernel;
        let (pair, single) = (self.call(2), self.call(1));
        let (Call::Conv(params) | Call::ConvPlanar(params)) = pair else { unreachable!() };
        let x = aligned(self.input / BLOCK.min(self.input) * params.x_block.max(1) * 16);
        let w_len = steps * out_blocks * BLOCK;
        let copies = copies_of.div_ceil(w_len).max(1);
        let (weights, mut copy) = (aligned(copies * w_len), 0);
        let bias = aligned(out_blocks * BLOCK);
        let y = aligned(out_blocks * params.y_block);
        let rows = self.size * self.size / params.pixels;
        let seconds = best(|| {
            copy = (copy + 1) % copies;
            let w = &weights[copy * w_len..];
            for block in (0..out_blocks).step_by(2) {
                let call = if block + 1 < out_blocks { &pair } else { &single };
                for row in 0..rows {
                    // The next panel's weights, shared among the rows.
                    let w = w[block * steps * BLOCK..].as_ptr();
                    let n = w.wrapping_add(row * params.next);
                    let operands = [
                        x[row * self.stride * params.x_row..].as_ptr().cast_mut(),
                        w.cast_mut(),
                        bias[block * BLOCK..].as_ptr().cast_mut(),
                        std::ptr::null_mut(),
                        n.cast_mut(),
                        y[block * params.y_block + row * params.pixels * BLOCK..].as_mut_ptr(),
                    ];
                    // SAFETY: the buffers hold the whole layer, and the table is this CPU's.
                    unsafe { call.invoke(table, &operands.map(<*mut f32>::cast)) }
                }
            }
        });
        let macs = (self.size * self.size * self.output * steps) as f64;
        let gflops = 2.0 * macs / seconds * 1e-9;
        format!("{:8.3} ms {gflops:6.1} GFLOP/s {:5.1}%", seconds * 1e3, 100.0 * gflops / peak)
    }
}

/// One block at a time, over all 64 channels.
fn max_pool(table: &Table) -> String {
    let call = Call::MaxPool(PoolParams {
        in_rows: 112,
        in_columns: 112,
        x_row: 112 * BLOCK,
        out_rows: 56,
        out_columns: 56,
        y_row: 56 * BLOCK,
        kernel_rows: 3,
        kernel_columns: 3,
        stride_rows: 2,
        stride_columns: 2,
        padding_rows: 1,
        padding_columns: 1,
    });
    blocks(table, &call, 4, 112 * 112 * BLOCK, 56 * 56 * BLOCK)
}

fn mean(table: &Table) -> String {
    let call = Call::Mean(MeanParams { rows: 7, columns: 7, x_row: 7 * BLOCK });
    blocks(table, &call, 128, 49 * BLOCK, BLOCK)
}

fn blocks(table: &Table, call: &Call, blocks: usize, x_block: usize, y_block: usize) -> String {
    let (x, y) = (aligned(blocks * x_block), aligned(blocks * y_block));
    let seconds = best(|| {
        for block in 0..blocks {
            let x = x[block * x_block..].as_ptr().cast_mut();
            // SAFETY: the buffers hold all blocks, and the table is this CPU's.
            unsafe {
                call.invoke(table, &[x, y[block * y_block..].as_mut_ptr()].map(<*mut f32>::cast))
            }
        }
    });
    format!("{:8.3} ms", seconds * 1e3)
}

fn pack(output: usize, input: usize, kernel: usize, transform: Transform) -> String {
    let panels = Panels {
        shape: ConvShape {
            out_channels: output,
            in_channels: input,
            groups: 1,
            kernel_rows: kernel,
            kernel_columns: kernel,
        },
        format: PanelFormat {
            planar: false,
            panel_blocks: 2,
            in_blocks: input / BLOCK,
            in_block_step: 0,
            transform,
            element: Element::F32,
        },
    };
    let weight = aligned(output * input * kernel * kernel);
    let ones = vec![1.0; output];
    let (weight, mut out) =
        (&weight[..output * input * kernel * kernel], vec![0.0; panels.bytes() / size_of::<f32>()]);
    let norm = resnet_runtime::weights::pack::Norm {
        weight: &ones,
        bias: &ones,
        mean: &ones,
        variance: &ones,
        epsilon: 1e-5,
    };
    let seconds = best(|| {
        resnet_runtime::weights::pack::pack_conv(&panels, weight, None, Some(norm), &mut out)
            .unwrap();
    });
    let nanoseconds = seconds * 1e9 / weight.len() as f64;
    format!("{:8.3} ms {nanoseconds:6.2} ns a weight", seconds * 1e3)
}

/// Seconds of the fastest round. A round repeats `work` for about a millisecond.
fn best(mut work: impl FnMut()) -> f64 {
    let once = time(&mut work);
    let repeat = (1e-3 / once).ceil().max(1.0);
    let rounds = (0..ROUNDS).map(|_| time(|| (0..repeat as usize).for_each(|_| work())) / repeat);
    rounds.fold(once, f64::min)
}

fn time(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// Small numbers of both signs, on a cache line of their own, with some room behind them.
fn aligned(len: usize) -> &'static mut [f32] {
    let memory = vec![0.0f32; len + 1024].leak();
    let skip = memory.as_ptr().align_offset(64);
    for (index, value) in memory.iter_mut().enumerate() {
        *value = (index * 7919 % 1000) as f32 / 1000.0 - 0.5;
    }
    black_box(&mut memory[skip..])
}
