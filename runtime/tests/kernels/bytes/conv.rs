//! Convolutions of bytes.

use std::ffi::c_void;

use resnet_runtime::kernels::{
    BLOCK, ByteEpilogue, Call, ConvU8Params, OutputElement, QUAD, ResidualElement, TensorLine,
};

use super::{Bytes, LINE, byte, clamped, floats, run};
use crate::{Random, tables};

/// A convolution call and its operands, with gaps between rows and blocks.
struct Case {
    params: ConvU8Params,
    lanes: usize,
    x: Vec<u8>,
    w: Vec<i8>,
    q: Vec<f32>,
    line: TensorLine,
    r: Vec<f32>,
}

impl Case {
    fn new(
        lanes: usize,
        pixels: usize,
        stride: usize,
        blocks: usize,
        kernel: (usize, usize),
    ) -> Self {
        let (kernel_rows, kernel_columns) = kernel;
        let columns = (pixels - 1) * stride + kernel_columns;
        let x_row = columns * lanes + 5;
        let epilogue = ByteEpilogue { residual: ResidualElement::None, output: OutputElement::U8 };
        let params = ConvU8Params {
            pixels,
            x_step: lanes * stride,
            blocks,
            x_block: kernel_rows * x_row + 3,
            kernel_rows,
            kernel_columns,
            x_row,
            x_column: lanes,
            out_blocks: 2,
            y_block: pixels * BLOCK + 7,
            r_block: pixels * BLOCK + 9,
            epilogue,
            next: 0,
        };
        let mut case =
            Self { params, lanes, x: vec![], w: vec![], q: vec![], line: LINE, r: vec![] };
        case.fill();
        case
    }

    fn with(mut self, change: impl FnOnce(&mut ConvU8Params)) -> Self {
        change(&mut self.params);
        self.fill();
        self
    }

    /// Operands that end where the kernel's reading must end.
    fn fill(&mut self) {
        let p = self.params;
        let last = (p.blocks - 1) * p.x_block
            + (p.kernel_rows - 1) * p.x_row
            + (p.kernel_columns - 1) * p.x_column
            + (p.pixels - 1) * p.x_step;
        let steps = p.blocks * p.kernel_rows * p.kernel_columns * self.lanes;
        let mut random = Random(0x9e37_79b9 + p.pixels as u64);
        self.x = (0..last + self.lanes).map(|_| (random.next() * 128.0 + 128.0) as u8).collect();
        self.w = (0..steps * p.out_blocks * BLOCK).map(|_| (random.next() * 128.0) as i8).collect();
        // Sums of about 10,000 times the root of their length become a few hundred, in halves.
        let scale = 1.0 / 128.0 / (1.0 + (steps as f32).sqrt().round());
        self.q = (0..p.out_blocks * 2 * BLOCK)
            .map(|at| {
                if (at / BLOCK).is_multiple_of(2) {
                    scale
                } else {
                    (random.next() * 100.0).round() / 2.0
                }
            })
            .collect();
        self.r = random.vec((p.out_blocks - 1) * p.r_block + p.pixels * BLOCK);
        self.r.iter_mut().for_each(|r| *r = (*r * 128.0 + 128.0).floor());
    }

    fn call(&self) -> Call {
        if self.lanes == BLOCK { Call::ConvU8(self.params) } else { Call::ConvU8Quads(self.params) }
    }

    fn operands(&self) -> Vec<Bytes> {
        let bytes: Vec<u8> = self.r.iter().map(|&r| r as u8).collect();
        let r = match self.params.epilogue.residual {
            ResidualElement::None => Bytes::filled(0, 0),
            ResidualElement::U8 => Bytes::of(&bytes),
            ResidualElement::F32 => Bytes::of(&self.r),
        };
        let (q, t) = (Bytes::of(&self.q), Bytes::of(&self.line.to_line()));
        vec![Bytes::of(&self.x), Bytes::of(&self.w), q, t, r, Bytes::of(&self.w)]
    }

    fn sum(&self, pixel: usize, o: usize, lane: usize) -> i32 {
        let p = &self.params;
        let (mut sum, mut step) = (0i32, 0);
        for block in 0..p.blocks {
            for row in 0..p.kernel_rows {
                for column in 0..p.kernel_columns {
                    for input_lane in 0..self.lanes {
                        let x = block * p.x_block + row * p.x_row + column * p.x_column;
                        let x = self.x[x + pixel * p.x_step + input_lane];
                        let row = step / QUAD * p.out_blocks * BLOCK + o * BLOCK + lane;
                        let w = self.w[row * QUAD + step % QUAD];
                        sum += i32::from(x) * i32::from(w);
                        step += 1;
                    }
                }
            }
        }
        sum
    }

    /// The value before it is stored, by the catalogue's formula.
    fn value(&self, pixel: usize, o: usize, lane: usize) -> f32 {
        let (p, line) = (&self.params, self.line);
        let q = &self.q[o * 2 * BLOCK..];
        let mut v = self.sum(pixel, o, lane) as f32 * q[lane];
        v += q[BLOCK + lane];
        let r = self.r[o * p.r_block + pixel * BLOCK + lane];
        match p.epilogue.residual {
            ResidualElement::None => {}
            ResidualElement::F32 => v += r * line.factor,
            ResidualElement::U8 => v += (r - line.offset) * line.factor,
        }
        clamped(line, v)
    }

    /// What each element of the output is, as bits; nothing between the blocks.
    fn expected(&self) -> Vec<Option<u32>> {
        let p = &self.params;
        let len = (p.out_blocks - 1) * p.y_block + p.pixels * BLOCK;
        let element = |at: usize| {
            let (o, pixel, lane) = (at / p.y_block, at % p.y_block / BLOCK, at % p.y_block % BLOCK);
            let v = || self.value(pixel, o, lane);
            (pixel < p.pixels).then(|| match p.epilogue.output {
                OutputElement::F32 => v().to_bits(),
                OutputElement::U8 => u32::from(byte(self.line, v())),
            })
        };
        (0..len).map(element).collect()
    }

    fn check(&self, what: &str) {
        let expected = self.expected();
        let mut operands = self.operands();
        for (isa, table) in tables() {
            let found: Vec<Option<u32>> = match self.params.epilogue.output {
                OutputElement::U8 => run(&self.call(), table, &mut operands, expected.len())
                    .into_iter()
                    .map(|byte| byte.map(u32::from))
                    .collect(),
                OutputElement::F32 => {
                    floats(&run(&self.call(), table, &mut operands, 4 * expected.len()))
                        .into_iter()
                        .map(|float| float.map(f32::to_bits))
                        .collect()
                }
            };
            assert_eq!(found, expected, "{isa} {what} {:?}", self.params);
        }
    }
}

#[test]
fn every_number_of_pixels() {
    for lanes in [BLOCK, QUAD] {
        for pixels in 1..=40 {
            for stride in 1..=3 {
                for out_blocks in 1..=2 {
                    Case::new(lanes, pixels, stride, 1, (1, 2))
                        .with(|p| p.out_blocks = out_blocks)
                        .check("pixels");
                }
            }
        }
    }
}

/// Neighbouring pixels of a picture of one to four channels, whose quads overlap.
#[test]
fn pixels_of_fewer_bytes_than_a_quad() {
    for step in 1..=2 * QUAD {
        for pixels in [1, 5, 13, 14, 29] {
            for kernel in [(1, 1), (7, 6), (3, 3)] {
                Case::new(QUAD, pixels, 1, 1, kernel).with(|p| p.x_step = step).check("step");
            }
        }
    }
}

#[test]
fn every_shape_of_kernel() {
    for lanes in [BLOCK, QUAD] {
        for blocks in [1, if lanes == BLOCK { 3 } else { 1 }] {
            for kernel in [(1, 1), (3, 3), (7, 7), (1, 3), (3, 1), (5, 2)] {
                for (pixels, stride) in [(7, 1), (17, 2), (5, 3)] {
                    Case::new(lanes, pixels, stride, blocks, kernel).check("kernel");
                }
            }
        }
    }
}

#[test]
fn columns_may_stand_apart() {
    for lanes in [BLOCK, QUAD] {
        Case::new(lanes, 9, 1, 1, (3, 3))
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
    for lanes in [BLOCK, QUAD] {
        for &residual in ResidualElement::ALL {
            for &output in OutputElement::ALL {
                for out_blocks in 1..=2 {
                    for pixels in [1, 6, 13, 29] {
                        let mut case = Case::new(lanes, pixels, 1, 1, (3, 3)).with(|p| {
                            p.epilogue = ByteEpilogue { residual, output };
                            p.out_blocks = out_blocks;
                        });
                        case.check("epilogue");
                        // ReLU, and no limits.
                        case.line = TensorLine { low: 0.0, high: 255.0, zero: 0.0, ..LINE };
                        case.check("epilogue");
                        if output == OutputElement::F32 {
                            let (low, high) = (f32::NEG_INFINITY, f32::INFINITY);
                            case.line = TensorLine { low, high, ..LINE };
                            case.check("epilogue");
                        }
                    }
                }
            }
        }
    }
}

/// Kernels whose tiles are finished while the next ones are reduced.
#[test]
fn rows_of_one_tap() {
    for pixels in [16, 17, 21, 28, 32, 47, 49] {
        for (stride, blocks) in [(1, 1), (1, 2), (1, 9), (2, 4), (3, 2)] {
            for &residual in ResidualElement::ALL {
                for &output in OutputElement::ALL {
                    let case = Case::new(BLOCK, pixels, stride, blocks, (1, 1));
                    case.with(|p| p.epilogue = ByteEpilogue { residual, output }).check("row");
                }
            }
        }
    }
}

#[test]
fn residual_in_place() {
    let elements =
        [(ResidualElement::U8, OutputElement::U8), (ResidualElement::F32, OutputElement::F32)];
    for ((residual, output), kernel) in
        elements.into_iter().flat_map(|elements| [(elements, (3, 3)), (elements, (1, 1))])
    {
        let case = Case::new(BLOCK, 23, 1, 2, kernel).with(|p| {
            p.epilogue = ByteEpilogue { residual, output };
            p.r_block = p.y_block;
        });
        let expected = case.expected();
        for (isa, table) in tables() {
            let mut operands = case.operands();
            let mut pointers: Vec<*mut c_void> =
                operands.iter_mut().map(|operand| operand.pointer().cast()).collect();
            pointers.push(pointers[4]);
            // SAFETY: as in `run`; the output has the residual's elements.
            unsafe { case.call().invoke(table, &pointers) }
            for (at, &expected) in expected.iter().enumerate() {
                let found = match output {
                    OutputElement::U8 => u32::from(operands[4].get(at)),
                    OutputElement::F32 => {
                        let bytes = [0, 1, 2, 3].map(|byte| operands[4].get(4 * at + byte));
                        u32::from_ne_bytes(bytes)
                    }
                };
                assert!(expected.is_none_or(|expected| found == expected), "{isa} element {at}");
            }
        }
    }
}

/// The largest products, over sums at the edge of what `f32` holds exactly and far beyond: 66,000
/// products, the most that the design allows, are just below `2^31`.
#[test]
fn extreme_values() {
    for (x, w) in [(255, -127), (255, 127), (128, -128), (1, -1)] {
        for blocks in [1, 36, 4125] {
            let mut case = Case::new(BLOCK, 3, 1, blocks, (1, 1)).with(|p| p.out_blocks = 1);
            case.x.fill(x);
            case.w.fill(w);
            // Some sums end in an odd number, which `f32` has to round.
            case.w[5] = 1;
            case.x[2] = 254;
            for output in [OutputElement::F32, OutputElement::U8] {
                case.params.epilogue.output = output;
                let (low, high) = (f32::NEG_INFINITY, f32::INFINITY);
                case.line = if output == OutputElement::F32 {
                    TensorLine { low, high, ..LINE }
                } else {
                    LINE
                };
                case.q[..BLOCK].fill(if output == OutputElement::F32 { 1.0 } else { 1e-3 });
                case.q[BLOCK..].fill(0.0);
                case.check("extreme");
            }
        }
    }
}

/// Sums that are every multiple of 1/2 around the clamps' ends.
#[test]
fn ties_go_to_even_and_clamps_come_first() {
    let mut case = Case::new(QUAD, 256, 1, 1, (1, 1)).with(|p| p.out_blocks = 1);
    for (pixel, quad) in case.x.chunks_mut(QUAD).enumerate() {
        quad.copy_from_slice(&[pixel as u8, 0, 255, 0]);
    }
    for (lane, quad) in case.w.chunks_mut(QUAD).enumerate() {
        quad.copy_from_slice(&[lane as i8 / 4 - 1, 0, lane as i8 % 4 - 1, 0]);
    }
    case.q[..BLOCK].fill(0.5);
    case.q[BLOCK..].fill(-0.5);
    for (low, high, zero) in [
        (0.0, 255.0, 0.0),
        (-128.0, 127.0, 128.0),
        (-255.0, 0.0, 255.0),
        (-7.0, 11.0, 7.0),
        (-3.0, 11.0, 7.0),
    ] {
        case.line = TensorLine { low, high, zero, ..LINE };
        case.check("ties");
    }
}

/// What no byte can hold becomes the nearest one, and NaN 0, whether there is a lower limit or not.
#[test]
fn residuals_without_bounds() {
    let mut case = Case::new(BLOCK, 5, 1, 1, (1, 1)).with(|p| {
        p.epilogue = ByteEpilogue { residual: ResidualElement::F32, output: OutputElement::U8 };
    });
    for (residual, r) in case.r.iter_mut().zip(
        [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, 3e9, -3e9, 2e9, -2e9]
            .iter()
            .cycle(),
    ) {
        *residual = *r;
    }
    for low in [-37.0, 0.0] {
        case.line = TensorLine { low, ..LINE };
        case.check("unbounded");
    }
}

/// Nothing is read behind `n`.
#[test]
fn fetching_ahead_changes_nothing() {
    let case = Case::new(BLOCK, 29, 1, 3, (3, 3));
    let expected = case.expected();
    for next in [1, 64, 100_000] {
        let params = ConvU8Params { next, ..case.params };
        for (isa, table) in tables() {
            let found = run(&Call::ConvU8(params), table, &mut case.operands(), expected.len());
            let found: Vec<_> = found.into_iter().map(|byte| byte.map(u32::from)).collect();
            assert_eq!(found, expected, "{isa}");
        }
    }
}
