use resnet_runtime::kernels::{Activation, BLOCK, Call, ConvParams, Epilogue, Table};

use super::{
    Guarded, RESIDUAL_RELU, Random, assert_close, bits, epilogues, finished, invoke, tables,
};

/// A convolution call and its operands, with gaps between rows and blocks.
struct Case {
    params: ConvParams,
    planar: bool,
    x: Vec<f32>,
    w: Vec<f32>,
    b: Vec<f32>,
    r: Vec<f32>,
}

impl Case {
    fn new(
        planar: bool,
        pixels: usize,
        stride: usize,
        blocks: usize,
        kernel: (usize, usize),
    ) -> Self {
        let lanes = if planar { 1 } else { BLOCK };
        let (kernel_rows, kernel_columns) = kernel;
        let columns = (pixels - 1) * stride + kernel_columns;
        let x_row = columns * lanes + 5;
        let x_block = kernel_rows * x_row + 3;
        let params = ConvParams {
            pixels,
            x_step: lanes * stride,
            blocks,
            x_block,
            kernel_rows,
            kernel_columns,
            x_row,
            x_column: lanes,
            out_blocks: 2,
            y_block: pixels * BLOCK + 7,
            r_block: pixels * BLOCK + 9,
            epilogue: Epilogue::NONE,
            next: 0,
        };
        let mut case = Self { params, planar, x: vec![], w: vec![], b: vec![], r: vec![] };
        case.fill();
        case
    }

    /// Operands that end where the kernel's reading must end.
    fn fill(&mut self) {
        let p = &self.params;
        let steps = p.blocks * p.kernel_rows * p.kernel_columns * self.lanes();
        let last = (p.blocks - 1) * p.x_block
            + (p.kernel_rows - 1) * p.x_row
            + (p.kernel_columns - 1) * p.x_column
            + (p.pixels - 1) * p.x_step;
        let mut random = Random(0x9e37_79b9 + p.pixels as u64);
        self.x = random.vec(last + self.lanes());
        self.w = random.vec(steps * p.out_blocks * BLOCK);
        self.b = random.vec(p.out_blocks * BLOCK);
        self.r = random.vec((p.out_blocks - 1) * p.r_block + p.pixels * BLOCK);
    }

    fn with(mut self, change: impl FnOnce(&mut ConvParams)) -> Self {
        change(&mut self.params);
        self.fill();
        self
    }

    fn lanes(&self) -> usize {
        if self.planar { 1 } else { BLOCK }
    }

    fn call(&self) -> Call {
        if self.planar { Call::ConvPlanar(self.params) } else { Call::Conv(self.params) }
    }

    fn output_len(&self) -> usize {
        (self.params.out_blocks - 1) * self.params.y_block + self.params.pixels * BLOCK
    }

    /// The kernel's output, without the gap between its blocks.
    fn run(&self, table: &Table) -> Vec<f32> {
        let mut y = Guarded::new(self.output_len());
        let operands = [&self.x, &self.w, &self.b, &self.r].map(|operand| operand.as_ptr());
        let [x, w, b, r] = operands;
        invoke(&self.call(), table, &[x, w, b, r, w, y.pointer()]);
        self.gather(y.values())
    }

    fn gather(&self, y: &[f32]) -> Vec<f32> {
        let mut found = vec![];
        for (index, &value) in y.iter().enumerate() {
            if index % self.params.y_block < self.params.pixels * BLOCK {
                found.push(value);
            } else {
                assert_eq!(value.to_bits(), Guarded::MARKER, "written between the blocks");
            }
        }
        found
    }

    /// The obvious version: one output element at a time.
    fn expected(&self) -> Vec<f64> {
        let p = &self.params;
        let mut expected = vec![];
        for o in 0..p.out_blocks {
            for pixel in 0..p.pixels {
                for lane in 0..BLOCK {
                    let sum = f64::from(self.b[o * BLOCK + lane]) + self.sum(pixel, o, lane);
                    let residual = self.r[o * p.r_block + pixel * BLOCK + lane];
                    expected.push(finished(p.epilogue, sum, residual));
                }
            }
        }
        expected
    }

    fn sum(&self, pixel: usize, o: usize, lane: usize) -> f64 {
        let p = &self.params;
        let mut sum = 0.0;
        let mut step = 0;
        for block in 0..p.blocks {
            for row in 0..p.kernel_rows {
                for column in 0..p.kernel_columns {
                    for input_lane in 0..self.lanes() {
                        let x = block * p.x_block + row * p.x_row + column * p.x_column;
                        let x = self.x[x + pixel * p.x_step + input_lane];
                        let w = self.w[(step * p.out_blocks + o) * BLOCK + lane];
                        sum += f64::from(x) * f64::from(w);
                        step += 1;
                    }
                }
            }
        }
        sum
    }

    fn check(&self, what: &str) {
        let p = &self.params;
        // A chain of n roundings of partial sums of up to n products below 1, each half an ULP;
        // the worst case grows as n squared, what is seen as n.
        let steps = p.blocks * p.kernel_rows * p.kernel_columns * self.lanes();
        let tolerance = 2e-7 * (steps + 2) as f64;
        let expected = self.expected();
        for (isa, table) in tables() {
            let what = format!("{isa} {what} {:?}", self.params);
            assert_close(&self.run(table), &expected, tolerance, &what);
        }
    }
}

#[test]
fn every_number_of_pixels() {
    for planar in [false, true] {
        for pixels in 1..=40 {
            for stride in 1..=3 {
                for out_blocks in 1..=2 {
                    Case::new(planar, pixels, stride, 1, (1, 2))
                        .with(|p| p.out_blocks = out_blocks)
                        .check("pixels");
                }
            }
        }
    }
}

#[test]
fn every_shape_of_kernel() {
    for planar in [false, true] {
        for blocks in 1..=3 {
            for kernel in [(1, 1), (3, 3), (7, 7), (1, 3), (3, 1), (5, 2)] {
                for (pixels, stride) in [(7, 1), (17, 2), (5, 3)] {
                    Case::new(planar, pixels, stride, blocks, kernel).check("kernel");
                }
            }
        }
    }
}

#[test]
fn long_rows() {
    Case::new(false, 197, 1, 2, (1, 1)).check("pointwise");
    Case::new(true, 112, 2, 3, (7, 7)).check("stem");
}

#[test]
fn columns_may_stand_apart() {
    for planar in [false, true] {
        let lanes = if planar { 1 } else { BLOCK };
        Case::new(planar, 9, 1, 2, (3, 3))
            .with(|p| {
                p.x_column = 2 * lanes;
                p.x_row += 2 * lanes;
                p.x_block = 3 * p.x_row;
            })
            .check("dilated");
    }
}

#[test]
fn every_epilogue() {
    for planar in [false, true] {
        for epilogue in epilogues() {
            for out_blocks in 1..=2 {
                for pixels in [1, 6, 13, 29] {
                    Case::new(planar, pixels, 1, 1, (3, 3))
                        .with(|p| {
                            (p.epilogue, p.out_blocks) = (epilogue, out_blocks);
                        })
                        .check("epilogue");
                }
            }
        }
    }
}

#[test]
fn residual_in_place() {
    let case = Case::new(false, 23, 1, 2, (3, 3)).with(|p| {
        p.epilogue = RESIDUAL_RELU;
        p.r_block = p.y_block;
    });
    for (isa, table) in tables() {
        let mut y = Guarded::from(&case.r);
        let (x, w, b) = (case.x.as_ptr(), case.w.as_ptr(), case.b.as_ptr());
        let pointer = y.pointer();
        invoke(&case.call(), table, &[x, w, b, pointer, w, pointer]);
        let pixels = case.params.pixels * BLOCK;
        let y = y.values();
        let found = [&y[..pixels], &y[case.params.y_block..][..pixels]].concat();
        assert_eq!(bits(&found), bits(&case.run(table)), "{isa}");
    }
}

/// The bits of an output element depend on its inputs alone: not on how many pixels or output
/// blocks the call has, and so on no split into tiles.
#[test]
fn bits_do_not_depend_on_the_tiles() {
    for planar in [false, true] {
        for stride in 1..=3 {
            let whole = Case::new(planar, 37, stride, 2, (3, 3))
                .with(|p| p.epilogue.activation = Activation::Relu);
            for (isa, table) in tables() {
                let expected = bits(&whole.run(table));
                for pixels in 1..=36 {
                    for out_blocks in 1..=2 {
                        for first in [0, 37 - pixels] {
                            let part = part(&whole, first, pixels, out_blocks);
                            let found = bits(&part.run(table));
                            for o in 0..out_blocks {
                                assert_eq!(
                                    found[o * pixels * BLOCK..][..pixels * BLOCK],
                                    expected[(o * 37 + first) * BLOCK..][..pixels * BLOCK],
                                    "{isa}, pixels {first} + {pixels}, block {o} of {out_blocks}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Some pixels of `whole`, and its first output blocks.
fn part(whole: &Case, first: usize, pixels: usize, out_blocks: usize) -> Case {
    let Case { params, planar, ref x, ref w, ref b, ref r } = *whole;
    let row = out_blocks * BLOCK;
    let w = w.chunks(2 * BLOCK).flat_map(|both| &both[..row]).copied().collect();
    let params = ConvParams { pixels, out_blocks, ..params };
    Case {
        params,
        planar,
        x: x[first * params.x_step..].to_vec(),
        w,
        b: b[..row].to_vec(),
        r: r.clone(),
    }
}

/// What is fetched ahead is not read, wherever it lies, and changes nothing.
#[test]
fn fetching_ahead_changes_nothing() {
    for pixels in [1, 7, 14, 49] {
        let case = Case::new(false, pixels, 1, 2, (1, 1));
        for (isa, table) in tables() {
            let expected = bits(&case.run(table));
            for next in [1, 16, 1000, 100_000] {
                let params = ConvParams { next, ..case.params };
                let [x, w, b] = [&case.x, &case.w, &case.b].map(|operand| operand.as_ptr());
                for n in [std::ptr::null(), w, w.wrapping_add(case.w.len()), usize::MAX as _] {
                    let mut y = Guarded::new(case.output_len());
                    let operands = [x, w, b, std::ptr::null(), n, y.pointer()];
                    invoke(&Call::Conv(params), table, &operands);
                    assert_eq!(bits(&case.gather(y.values())), expected, "{isa} {pixels} {next}");
                }
            }
        }
    }
}

/// They round in the same order.
#[test]
fn all_that_fuse_give_the_same_bits() {
    let case = Case::new(false, 31, 2, 3, (3, 3));
    let fused = tables().filter(|(isa, _)| isa.to_string() != "portable");
    let outputs: Vec<_> = fused.map(|(_, table)| bits(&case.run(table))).collect();
    assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]));
}

/// `max(0, NaN)` is NaN in every tile.
#[test]
fn relu_keeps_nan() {
    for pixels in 1..=15 {
        let mut case = Case::new(false, pixels, 1, 1, (1, 1))
            .with(|p| p.epilogue.activation = Activation::Relu);
        case.x.fill(0.0);
        case.b.fill(f32::NAN);
        case.b[3] = f32::NEG_INFINITY;
        case.b[4] = f32::INFINITY;
        for (isa, table) in tables() {
            for pixel in case.run(table).chunks(BLOCK).take(pixels) {
                assert!(pixel[0].is_nan() && pixel[15].is_nan(), "{isa} {pixels}");
                assert_eq!((pixel[3], pixel[4]), (0.0, f32::INFINITY), "{isa} {pixels}");
            }
        }
    }
}
