//! Kernels of [`Bf16`]: those of `f32` between roundings, and a convolution whose every bit is defined.

use std::ffi::c_void;

use resnet_runtime::kernels::{
    Activation, BLOCK, Bf16, Call, ConvParams, CopyParams, Element, Epilogue, MeanParams, Operand,
    PAIR, PlaneParams, PoolParams, Precision, RingParams, Role, Table, Transform,
    WinogradInputParams, WinogradOutputParams, ZeroPadParams,
};

use super::{Random, tables};

/// Some memory that an operand points at, and as much before and behind that has to stay as it is.
struct Memory {
    element: Element,
    bytes: Vec<u8>,
}

/// Bytes before and behind.
const GUARD: usize = 128;

impl Memory {
    /// `values`, rounded to the operand's element.
    fn new(operand: &Operand, values: &[f32]) -> Self {
        let mut bytes = vec![0x5a; GUARD];
        for value in values {
            match operand.element {
                Element::F32 => bytes.extend(value.to_ne_bytes()),
                Element::Bf16 => bytes.extend(Bf16::new(*value).to_bits().to_ne_bytes()),
                other => unreachable!("no kernel here has {other}"),
            }
        }
        bytes.extend([0x5a; GUARD]);
        Self { element: operand.element, bytes }
    }

    fn pointer(&mut self) -> *mut c_void {
        self.bytes[GUARD..].as_mut_ptr().cast()
    }

    /// What is there now, rounded to [`Bf16`] if `half`, after a look at the guards.
    fn values(&self, half: bool) -> Vec<f32> {
        let (before, rest) = self.bytes.split_at(GUARD);
        let (values, behind) = rest.split_at(rest.len() - GUARD);
        assert!(before.iter().chain(behind).all(|&byte| byte == 0x5a), "written outside");
        let wide = match self.element {
            Element::F32 => values
                .as_chunks()
                .0
                .iter()
                .map(|&bytes| f32::from_ne_bytes(bytes))
                .collect::<Vec<_>>(),
            _ => {
                let halves = values.as_chunks().0.iter();
                halves.map(|&bytes| Bf16::from_bits(u16::from_ne_bytes(bytes)).get()).collect()
            }
        };
        if half { wide.into_iter().map(|value| Bf16::new(value).get()).collect() } else { wide }
    }
}

/// Runs a call on these values of its operands; what they are afterwards.
fn run(call: &Call, table: &Table, values: &[Vec<f32>]) -> Vec<Memory> {
    let operands = call.operands();
    let mut memory: Vec<Memory> =
        operands.iter().zip(values).map(|(operand, values)| Memory::new(operand, values)).collect();
    let pointers: Vec<*mut c_void> = memory.iter_mut().map(Memory::pointer).collect();
    // SAFETY: each operand reaches as far as the call says; no two overlap.
    unsafe { call.invoke(table, &pointers) };
    memory
}

/// Values for each operand, of what it consists of.
fn values_of(operands: &[Operand], seed: u64) -> Vec<Vec<f32>> {
    let mut random = Random(seed);
    let values = |operand: &Operand| {
        let values = random.vec(operand.len);
        match operand.element {
            Element::Bf16 => values.into_iter().map(|v| Bf16::new(v).get()).collect(),
            _ => values,
        }
    };
    operands.iter().map(values).collect()
}

/// Fails unless `half` writes what `wide` does with the same inputs, rounded where it is stored in two bytes, and
/// nothing else.
fn check(wide: &Call, half: &Call, seed: u64) {
    let (of_wide, of_half) = (wide.operands(), half.operands());
    let values = values_of(&of_half, 0x9e37_79b9 + seed);
    for (isa, table) in tables() {
        let (expected, found) = (run(wide, table, &values), run(half, table, &values));
        for (at, (operand, found)) in of_half.iter().zip(&found).enumerate() {
            assert_eq!((operand.name, operand.len), (of_wide[at].name, of_wide[at].len));
            let rounded = operand.element == Element::Bf16;
            let expected = expected[at].values(rounded && operand.role == Role::Write);
            let found = found.values(false);
            let differs = expected.iter().zip(&found).position(|(a, b)| a.to_bits() != b.to_bits());
            assert_eq!(differs, None, "{isa}: `{}` of {half:?}", operand.name);
        }
    }
}

/// Every epilogue, in two bytes.
fn epilogues() -> impl Iterator<Item = Epilogue> {
    super::epilogues().map(|epilogue| Epilogue { stored: Precision::Bf16, ..epilogue })
}

fn wide(epilogue: Epilogue) -> Epilogue {
    Epilogue { stored: Precision::F32, ..epilogue }
}

#[test]
fn planes() {
    for (seed, epilogue) in epilogues().enumerate() {
        for (rows, columns) in [(1, 1), (2, 4), (3, 7)] {
            let row = columns * BLOCK;
            let half = PlaneParams {
                rows,
                columns,
                x_row: row + 3,
                r_row: row + 5,
                y_row: row + 2,
                epilogue,
            };
            let single = PlaneParams { epilogue: wide(epilogue), ..half };
            let seed = seed as u64;
            if !epilogue.residual {
                check(&Call::Affine(single), &Call::Affine(half), seed);
            }
            check(&Call::Add(single), &Call::Add(half), seed);
            check(&Call::Gate(single), &Call::Gate(half), seed);
            check(&Call::Normalise(single), &Call::Normalise(half), seed);
        }
    }
}

#[test]
fn pools() {
    for (seed, (kernel, stride, padding)) in
        [(1, 1, 0), (2, 2, 0), (3, 2, 1), (3, 1, 1), (5, 2, 2)].into_iter().enumerate()
    {
        let (in_rows, in_columns) = (6, 9);
        let out = |size: usize| (size + 2 * padding - kernel) / stride + 1;
        let params = PoolParams {
            in_rows,
            in_columns,
            x_row: in_columns * BLOCK + 2,
            out_rows: out(in_rows),
            out_columns: out(in_columns),
            y_row: out(in_columns) * BLOCK + 1,
            kernel_rows: kernel,
            kernel_columns: kernel,
            stride_rows: stride,
            stride_columns: stride,
            padding_rows: padding,
            padding_columns: padding,
        };
        let seed = seed as u64;
        check(&Call::MaxPool(params), &Call::MaxPoolBf16(params), seed);
        check(&Call::AveragePool(params), &Call::AveragePoolBf16(params), seed);
        check(&Call::Blur(params), &Call::BlurBf16(params), seed);
        let params = MeanParams { rows: in_rows, columns: in_columns, x_row: params.x_row };
        check(&Call::Mean(params), &Call::MeanBf16(params), seed);
        check(&Call::Variance(params), &Call::VarianceBf16(params), seed);
    }
}

#[test]
fn what_moves_values() {
    for (seed, before) in [0, 4, 16].into_iter().enumerate() {
        let params = ZeroPadParams {
            pixels: 5,
            x_step: 2 * BLOCK,
            x_block: 11 * BLOCK,
            y_block: 6 * BLOCK,
            in_channels: 24,
            out_channels: 48,
            before,
        };
        check(&Call::ZeroPad(params), &Call::ZeroPadBf16(params), seed as u64);
    }
    let ring =
        RingParams { rows: 3, columns: 4, top: 1, bottom: 2, left: 1, right: 3, lanes: BLOCK };
    check(&Call::Ring(ring), &Call::RingBf16(ring), 0);
}

#[test]
fn winograd() {
    for (seed, form) in Transform::WINOGRAD.into_iter().enumerate() {
        let [rows, columns] = form.filters();
        let points = rows.points() * columns.points();
        for tiles in [1, 3] {
            let params = WinogradInputParams {
                form,
                tiles,
                x_row: (tiles * columns.step() + columns.points()) * BLOCK + 4,
                y_point: tiles * BLOCK + 3,
            };
            let seed = (points + 100 * seed) as u64;
            check(&Call::WinogradInput(params), &Call::WinogradInputBf16(params), seed);
            for epilogue in epilogues() {
                let output = WinogradOutputParams {
                    form,
                    tiles,
                    rows: rows.outputs(),
                    columns: tiles * columns.outputs(),
                    x_point: tiles * BLOCK + 5,
                    y_row: tiles * columns.outputs() * BLOCK + 1,
                    r_row: tiles * columns.outputs() * BLOCK + 2,
                    epilogue,
                };
                let single = WinogradOutputParams { epilogue: wide(epilogue), ..output };
                check(&Call::WinogradOutput(single), &Call::WinogradOutput(output), seed);
            }
        }
    }
}

/// A convolution's parameters, with gaps between rows and blocks.
fn conv(
    pixels: usize,
    stride: usize,
    out_blocks: usize,
    kernel: usize,
    lanes: usize,
) -> ConvParams {
    let x_row = ((pixels - 1) * stride + kernel) * lanes + 6;
    ConvParams {
        pixels,
        x_step: lanes * stride,
        blocks: 2,
        x_block: kernel * x_row + 2,
        kernel_rows: kernel,
        kernel_columns: kernel,
        x_row,
        x_column: lanes,
        out_blocks,
        y_block: pixels * BLOCK + 7,
        r_block: pixels * BLOCK + 9,
        epilogue: Epilogue::NONE,
        next: 0,
    }
}

#[test]
fn a_convolution_of_f32_is_stored_in_two_bytes() {
    for (seed, epilogue) in epilogues().enumerate() {
        for pixels in [1, 6, 15] {
            for lanes in [1, BLOCK] {
                let half = ConvParams { epilogue, ..conv(pixels, 1, 2, 3, lanes) };
                let single = ConvParams { epilogue: wide(epilogue), ..half };
                match lanes {
                    1 => check(&Call::ConvPlanar(single), &Call::ConvPlanar(half), seed as u64),
                    _ => check(&Call::Conv(single), &Call::Conv(half), seed as u64),
                }
            }
        }
    }
}

/// What [`Call::ConvBf16`] has to answer, to the bit: sums of exact products in one order, each rounded.
fn expected(p: &ConvParams, values: &[Vec<f32>], o: usize, pixel: usize, lane: usize) -> f32 {
    let [x, w, b, r, ..] = values else { unreachable!("a convolution's operands") };
    let mut sum = b[o * BLOCK + lane];
    let mut pair = 0;
    for block in 0..p.blocks {
        for row in 0..p.kernel_rows {
            for column in 0..p.kernel_columns {
                let at = block * p.x_block + row * p.x_row + column * p.x_column + pixel * p.x_step;
                for first in (0..BLOCK).step_by(PAIR) {
                    for k in [1, 0] {
                        let weight = ((pair * p.out_blocks + o) * BLOCK + lane) * PAIR + k;
                        sum += x[at + first + k] * w[weight];
                    }
                    pair += 1;
                }
            }
        }
    }
    if p.epilogue.residual {
        sum += r[o * p.r_block + pixel * BLOCK + lane];
    }
    if p.epilogue.activation == Activation::Relu && sum < 0.0 { 0.0 } else { sum }
}

#[test]
fn a_convolution_has_the_bits_of_its_definition() {
    let epilogues = [
        (false, Activation::None, Precision::F32),
        (true, Activation::None, Precision::F32),
        (false, Activation::Relu, Precision::Bf16),
        (true, Activation::Relu, Precision::Bf16),
    ];
    for pixels in 1..=30 {
        for (stride, out_blocks, kernel) in [(1, 2, 1), (1, 1, 1), (2, 2, 3), (1, 2, 3), (3, 2, 2)]
        {
            for (residual, activation, stored) in epilogues {
                let epilogue = Epilogue { residual, activation, stored };
                let p = ConvParams { epilogue, ..conv(pixels, stride, out_blocks, kernel, BLOCK) };
                let call = Call::ConvBf16(p);
                let values = values_of(&call.operands(), 0x51 + pixels as u64);
                for (isa, table) in tables() {
                    let memory = run(&call, table, &values);
                    let y = memory.last().unwrap().values(false);
                    for o in 0..out_blocks {
                        for at in 0..pixels * BLOCK {
                            let (pixel, lane) = (at / BLOCK, at % BLOCK);
                            let expected = expected(&p, &values, o, pixel, lane);
                            let expected = match stored {
                                Precision::F32 => expected,
                                Precision::Bf16 => Bf16::new(expected).get(),
                            };
                            let found = y[o * p.y_block + at];
                            assert_eq!(found.to_bits(), expected.to_bits(), "{isa} {at} of {p:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn every_number_is_rounded_alike() {
    let special = [0, 1, 0x007f_ffff, 0x0080_0000, 0x3f80_7fff, 0x3f80_8000, 0x3f81_8000];
    let large = [0x7f7f_7fff, 0x7f7f_8000, 0x7f7f_ffff, 0x7f80_0000, 0x7f80_0001, 0x7fc0_1234];
    let signs = [0, 0x8000_0000];
    let bits = special.into_iter().chain(large).flat_map(|bits| signs.map(|sign| bits | sign));
    let mut values: Vec<f32> = bits.map(f32::from_bits).collect();
    let mut random = Random(7);
    values.extend((0..1000).map(|_| {
        let bits = (random.next() * 1e9) as i32 as u32;
        f32::from_bits(bits.rotate_left(9))
    }));
    values.resize(values.len().next_multiple_of(BLOCK), 0.0);
    let columns = values.len() / BLOCK;
    let row = columns * BLOCK;
    let params =
        CopyParams { channels: BLOCK, rows: 1, columns, x_row: row, y_row: row, plane: row };
    for (isa, table) in tables() {
        let narrow = run(&Call::Narrow(params), table, &[values.clone(), vec![0.5; row]]);
        let found = narrow[1].values(false);
        for (value, found) in values.iter().zip(&found) {
            let expected = Bf16::new(*value).get().to_bits();
            assert_eq!(found.to_bits(), expected, "{isa}: {value:e} ({:08x})", value.to_bits());
        }
        let widen = run(&Call::Widen(params), table, &[found.clone(), vec![0.5; row]]);
        let same =
            widen[1].values(false).iter().zip(&found).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "{isa}: widened as they are");
    }
}
