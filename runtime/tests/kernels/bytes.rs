//! The kernels of quantised networks against plain definitions, in every bit, on every instruction set.

use std::ffi::c_void;

use resnet_runtime::kernels::{
    BLOCK, ByteEpilogue, Call, ConvU8Params, CopyParams, OutputElement, PoolParams, QUAD,
    ResidualElement, RingParams, Table, TensorLine, ZeroPadParams,
};

use super::{Random, tables};

/// Bytes on a cache line of their own.
struct Bytes(Vec<Line>);

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u8; 64]);

impl Bytes {
    fn filled(len: usize, byte: u8) -> Self {
        Self(vec![Line([byte; 64]); len.div_ceil(64)])
    }

    fn of<T: Copy>(values: &[T]) -> Self {
        let mut bytes = Self::filled(size_of_val(values), 0);
        // SAFETY: as many bytes as the values have.
        unsafe {
            bytes.pointer().cast::<T>().copy_from_nonoverlapping(values.as_ptr(), values.len())
        }
        bytes
    }

    fn pointer(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }

    fn get(&self, at: usize) -> u8 {
        self.0[at / 64].0[at % 64]
    }
}

/// Runs a kernel whose contract the caller has seen to; the last operand is the output, for which
/// there are `len` bytes. Answers with those that were written.
fn run(call: &Call, table: &Table, inputs: &mut [Bytes], len: usize) -> Vec<Option<u8>> {
    const GUARD: usize = 256;
    // Whatever is written differs from one of two markers.
    let [zeros, ones] = [0x00, 0xff].map(|marker| {
        let mut y = Bytes::filled(len + 2 * GUARD, marker);
        let mut operands: Vec<*mut c_void> =
            inputs.iter_mut().map(|input| input.pointer().cast()).collect();
        operands.push(y.pointer().wrapping_add(GUARD).cast());
        // SAFETY: the tests pass operands that reach as far as the parameters say, and `Isa::table`
        // gives tables of this CPU only.
        unsafe { call.invoke(table, &operands) }
        y
    });
    let written: Vec<_> = (0..len + 2 * GUARD)
        .map(|at| (zeros.get(at) == ones.get(at)).then_some(zeros.get(at)))
        .collect();
    let (before, rest) = written.split_at(GUARD);
    let (inside, after) = rest.split_at(len);
    assert!(before.iter().chain(after).all(Option::is_none), "written outside the output");
    inside.to_vec()
}

/// The elements of 4 bytes that were written whole.
fn floats(bytes: &[Option<u8>]) -> Vec<Option<f32>> {
    let float = |bytes: &[Option<u8>]| {
        let bytes: Option<Vec<u8>> = bytes.iter().copied().collect();
        bytes.map(|bytes| f32::from_ne_bytes(bytes.try_into().unwrap()))
    };
    bytes.chunks(4).map(float).collect()
}

/// The definition: half to even, plus the zero point.
fn byte(line: TensorLine, v: f32) -> u8 {
    if v.is_nan() {
        return 0;
    }
    (v.round_ties_even() + line.zero) as u8
}

fn clamped(line: TensorLine, v: f32) -> f32 {
    if v.is_nan() { v } else { v.max(line.low).min(line.high) }
}

/// A line whose scale makes halves of many numbers.
const LINE: TensorLine =
    TensorLine { factor: 0.5, offset: 100.0, low: -37.0, high: 218.0, zero: 37.0 };

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

#[test]
fn residual_in_place() {
    for (residual, output) in
        [(ResidualElement::U8, OutputElement::U8), (ResidualElement::F32, OutputElement::F32)]
    {
        let case = Case::new(BLOCK, 23, 1, 2, (3, 3)).with(|p| {
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
    for (low, high, zero) in
        [(0.0, 255.0, 0.0), (-128.0, 127.0, 128.0), (-255.0, 0.0, 255.0), (-7.0, 11.0, 7.0)]
    {
        case.line = TensorLine { low, high, zero, ..LINE };
        case.check("ties");
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

/// A plane with gaps between its rows.
fn plane(rows: usize, columns: usize) -> CopyParams {
    let (x_row, y_row) = (columns * BLOCK + 3, columns * BLOCK + 5);
    CopyParams { channels: 16, rows, columns, x_row, y_row, plane: 0 }
}

/// Numbers around all ties and ends, with what is no number.
fn numbers(len: usize) -> Vec<f32> {
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e9, -1e9];
    (0..len)
        .map(|at| special.get(at % 97).copied().unwrap_or((at * 31 % 2000) as f32 / 2.0 - 400.0))
        .collect()
}

const LINES: [TensorLine; 3] = [
    LINE,
    TensorLine { factor: 1.0, offset: 0.0, low: 0.0, high: 255.0, zero: 0.0 },
    TensorLine { factor: 0.3, offset: 255.0, low: -128.0, high: 127.0, zero: 128.0 },
];

#[test]
fn quantise() {
    for (line, (rows, columns)) in LINES.into_iter().zip([(1, 1), (3, 7), (5, 33)]) {
        let p = plane(rows, columns);
        let x = numbers((rows - 1) * p.x_row + columns * BLOCK);
        let mut operands = [Bytes::of(&x), Bytes::of(&line.to_line())];
        let len = (rows - 1) * p.y_row + columns * BLOCK;
        for (isa, table) in tables() {
            let found = run(&Call::Quantise(p), table, &mut operands, len);
            for (at, found) in found.into_iter().enumerate() {
                let (row, column) = (at / p.y_row, at % p.y_row);
                let inside = column < columns * BLOCK;
                let v = clamped(line, x[(row * p.x_row + column).min(x.len() - 1)] * line.factor);
                assert_eq!(found, inside.then(|| byte(line, v)), "{isa} {row}, {column}");
            }
        }
    }
}

#[test]
fn quantise_quads() {
    for channels in 1..=QUAD {
        for (line, (rows, columns)) in LINES.into_iter().zip([(1, 1), (3, 16), (4, 37)]) {
            let (x_row, y_row) = (columns + 2, columns * QUAD + 9);
            let plane = rows * x_row + 1;
            let p = CopyParams { channels, rows, columns, x_row, y_row, plane };
            let x = numbers((channels - 1) * plane + (rows - 1) * x_row + columns);
            let mut operands = [Bytes::of(&x), Bytes::of(&line.to_line())];
            for (isa, table) in tables() {
                let len = (rows - 1) * y_row + columns * QUAD;
                let found = run(&Call::QuantiseQuads(p), table, &mut operands, len);
                for (at, found) in found.into_iter().enumerate() {
                    let (row, column, channel) = (at / y_row, at % y_row / QUAD, at % y_row % QUAD);
                    let expected = (column < columns).then(|| {
                        let v = |at: usize| clamped(line, x[at] * line.factor);
                        let from = channel * plane + row * x_row + column;
                        if channel < channels { byte(line, v(from)) } else { byte(line, 0.0) }
                    });
                    assert_eq!(found, expected, "{isa} {row}, {column}, {channel} of {p:?}");
                }
            }
        }
    }
}

#[test]
fn dequantise() {
    for (line, (rows, columns)) in LINES.into_iter().zip([(1, 1), (3, 7), (5, 33)]) {
        let p = plane(rows, columns);
        let x: Vec<u8> =
            (0..(rows - 1) * p.x_row + columns * BLOCK).map(|at| (at * 7) as u8).collect();
        let mut operands = [Bytes::of(&x), Bytes::of(&line.to_line())];
        let len = (rows - 1) * p.y_row + columns * BLOCK;
        for (isa, table) in tables() {
            let found = floats(&run(&Call::Dequantise(p), table, &mut operands, 4 * len));
            for (at, found) in found.into_iter().enumerate() {
                let (row, column) = (at / p.y_row, at % p.y_row);
                let expected = (column < columns * BLOCK)
                    .then(|| (f32::from(x[row * p.x_row + column]) - line.offset) * line.factor);
                assert_eq!(found, expected, "{isa} {row}, {column}");
            }
        }
    }
}

#[test]
fn max_pool() {
    for (size, kernel, stride, padding) in
        [((1, 1), 1, 1, 0), ((7, 9), 3, 2, 1), ((8, 5), 2, 2, 0), ((13, 16), 3, 1, 1)]
    {
        let out = |size: usize| (size + 2 * padding - kernel) / stride + 1;
        let (x_row, y_row) = (size.1 * BLOCK + 6, out(size.1) * BLOCK + 10);
        let p = PoolParams {
            in_rows: size.0,
            in_columns: size.1,
            x_row,
            out_rows: out(size.0),
            out_columns: out(size.1),
            y_row,
            kernel_rows: kernel,
            kernel_columns: kernel,
            stride_rows: stride,
            stride_columns: stride,
            padding_rows: padding,
            padding_columns: padding,
        };
        let mut random = Random(0x51_7cc1);
        let x: Vec<u8> = (0..(size.0 - 1) * x_row + size.1 * BLOCK)
            .map(|_| (random.next() * 128.0 + 128.0) as u8)
            .collect();
        for (isa, table) in tables() {
            let len = (p.out_rows - 1) * y_row + p.out_columns * BLOCK;
            let found = run(&Call::MaxPoolU8(p), table, &mut [Bytes::of(&x)], len);
            for (at, found) in found.into_iter().enumerate() {
                let (row, column, lane) = (at / y_row, at % y_row / BLOCK, at % y_row % BLOCK);
                let taps = (0..kernel).flat_map(|i| (0..kernel).map(move |j| (i, j)));
                let window = taps.filter_map(|(i, j)| {
                    let row = (row * stride + i).checked_sub(padding)?;
                    let column = (column * stride + j).checked_sub(padding)?;
                    let inside = row < size.0 && column < size.1;
                    inside.then(|| x[row * x_row + column * BLOCK + lane])
                });
                let expected = (column < p.out_columns).then(|| window.max().unwrap());
                assert_eq!(found, expected, "{isa} {row}, {column}, {lane} of {p:?}");
            }
        }
    }
}

#[test]
fn ring() {
    for [top, bottom, left, right] in [[1; 4], [3; 4], [2, 2, 0, 0], [1, 4, 3, 2], [0, 3, 1, 0]] {
        for (rows, columns) in [(1, 1), (7, 3)] {
            for lanes in [QUAD, BLOCK] {
                let p = RingParams { rows, columns, top, bottom, left, right, lanes };
                let y_row = (left + columns + right) * lanes;
                for (isa, table) in tables() {
                    let len = (top + rows + bottom) * y_row;
                    let mut operands = [Bytes::of(&LINE.to_line())];
                    let found = run(&Call::RingU8(p), table, &mut operands, len);
                    for (at, found) in found.into_iter().enumerate() {
                        let (row, column) = (at / y_row, at % y_row / lanes);
                        let inside = (top..top + rows).contains(&row)
                            && (left..left + columns).contains(&column);
                        assert_eq!(found, (!inside).then_some(37), "{isa} {row}, {column}, {p:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn zero_pad() {
    for (in_channels, out_channels, before) in [(16, 32, 8), (64, 128, 32), (5, 11, 3), (7, 7, 0)] {
        for (pixels, stride) in [(1, 1), (9, 2), (4, 3)] {
            let x_block = ((pixels - 1) * stride + 1) * BLOCK + 2;
            let y_block = pixels * BLOCK + 3;
            let p = ZeroPadParams {
                pixels,
                x_step: stride * BLOCK,
                x_block,
                y_block,
                in_channels,
                out_channels,
                before,
            };
            let x: Vec<u8> =
                (0..in_channels.div_ceil(BLOCK) * x_block - 2).map(|at| (at * 11) as u8).collect();
            let mut operands = [Bytes::of(&x), Bytes::of(&LINE.to_line())];
            for (isa, table) in tables() {
                let len = (out_channels.div_ceil(BLOCK) - 1) * y_block + pixels * BLOCK;
                let found = run(&Call::ZeroPadU8(p), table, &mut operands, len);
                for (at, found) in found.into_iter().enumerate() {
                    let (pixel, lane) = (at % y_block / BLOCK, at % y_block % BLOCK);
                    let channel = (at / y_block * BLOCK + lane).checked_sub(before);
                    let source = |channel: usize| {
                        x[channel / BLOCK * x_block + pixel * p.x_step + channel % BLOCK]
                    };
                    let channel = channel.filter(|&channel| channel < in_channels);
                    let expected = (pixel < pixels).then(|| channel.map_or(37, source));
                    assert_eq!(found, expected, "{isa} element {at} of {p:?}");
                }
            }
        }
    }
}
