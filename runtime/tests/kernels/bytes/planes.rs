//! What moves, compares or converts bytes.

use resnet_runtime::kernels::{
    BLOCK, Call, CopyParams, PoolParams, QUAD, RingParams, TensorLine, ZeroPadParams,
};

use super::{Bytes, LINE, byte, clamped, floats, run};
use crate::{Random, tables};

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
fn quantise_interleaved() {
    for channels in 1..=QUAD {
        for (line, (rows, columns)) in LINES.into_iter().zip([(1, 1), (3, 16), (4, 37)]) {
            let (x_row, y_row) = (columns + 2, columns * channels + 9);
            let plane = rows * x_row + 1;
            let p = CopyParams { channels, rows, columns, x_row, y_row, plane };
            let x = numbers((channels - 1) * plane + (rows - 1) * x_row + columns);
            let mut operands = [Bytes::of(&x), Bytes::of(&line.to_line())];
            for (isa, table) in tables() {
                let len = (rows - 1) * y_row + columns * channels;
                let found = run(&Call::QuantiseInterleaved(p), table, &mut operands, len);
                for (at, found) in found.into_iter().enumerate() {
                    let (row, at) = (at / y_row, at % y_row);
                    let (column, channel) = (at / channels, at % channels);
                    let expected = (column < columns).then(|| {
                        let from = channel * plane + row * x_row + column;
                        byte(line, clamped(line, x[from] * line.factor))
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
