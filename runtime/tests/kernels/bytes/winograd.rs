//! Winograd convolutions of bytes: points, their products and the output, each against its definition.

use resnet_runtime::kernels::{
    BLOCK, ByteEpilogue, Call, ConvI16Params, ConvShape, Element, OutputElement, PAIR, PanelFormat,
    Panels, ResidualElement, TensorLine, Transform, WinogradInputU8Params, WinogradOutputU8Params,
    WinogradWeightsI8Params,
};
use resnet_runtime::weights::pack::{Points, pack_kernels, pack_words};

use super::{Bytes, LINE, byte, clamped, floats, run};
use crate::{Random, tables};

const B: [[i64; 6]; 6] = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
];

/// The same where a tile has one or two outputs.
const B2: [[i64; 6]; 6] = [
    [4, 0, -4, 0, 0, 0],
    [0, -3, -3, 0, 0, 0],
    [0, 3, -3, 0, 0, 0],
    [0; 6],
    [0; 6],
    [0, -1, 0, 1, 0, 0],
];

const G: [[i64; 3]; 6] = [[1, 0, 0], [1, 1, 1], [1, -1, 1], [1, 2, 4], [1, -2, 4], [0, 0, 1]];

const FORM: Transform = Transform::Winograd4x4;

/// `B^T d B` at a point of a tile of so many outputs; none where it has no such point.
fn point(outputs: [usize; 2], point: usize, d: impl Fn(usize, usize) -> u8) -> Option<i64> {
    let [down, along] =
        [(outputs[0], point / 6), (outputs[1], point % 6)].map(|(outputs, at)| match outputs {
            1 | 2 => B2[at],
            _ => B[at],
        });
    let pixels = (0..36).map(|at| (at / 6, at % 6)).filter(|&(r, c)| down[r] * along[c] != 0);
    let terms = pixels.map(|(r, c)| down[r] * along[c] * i64::from(d(r, c)));
    terms.reduce(|a, b| a + b)
}

/// The elements of two bytes that were written whole.
fn words(bytes: &[Option<u8>]) -> Vec<Option<i16>> {
    let word = |bytes: &[Option<u8>]| Some(i16::from_ne_bytes([bytes[0]?, bytes[1]?]));
    bytes.chunks(2).map(word).collect()
}

#[test]
fn points_are_exact() {
    for (tiles, outputs) in
        (1..=5).flat_map(|tiles| [[4, 4], [2, 4], [4, 1], [1, 2], [3, 3]].map(|o| (tiles, o)))
    {
        // As many as a kernel may read.
        let [read, of_tile] = outputs.map(|outputs| if outputs > 2 { 6 } else { 4 });
        let step = of_tile - 2;
        let columns = step * (tiles - 1) + of_tile;
        let (x_row, y_point) = (columns * BLOCK + 5, tiles * BLOCK + 3);
        let mut random = Random(7 + tiles as u64);
        let x: Vec<u8> = (0..(read - 1) * x_row + columns * BLOCK)
            .map(|_| (random.next() * 128.0 + 128.0) as u8)
            .collect();
        let [rows, columns] = outputs;
        let params = WinogradInputU8Params { rows, columns, tiles, x_row, y_point };
        let len = 35 * y_point + tiles * BLOCK;
        for (isa, table) in tables() {
            let y = run(&Call::WinogradInputU8(params), table, &mut [Bytes::of(&x)], 2 * len);
            for (at, found) in words(&y).into_iter().enumerate() {
                let (of, at) = (at / y_point, at % y_point);
                let (tile, lane) = (at / BLOCK, at % BLOCK);
                let d = |r: usize, c: usize| x[r * x_row + (step * tile + c) * BLOCK + lane];
                let expected = (tile < tiles).then(|| point(outputs, of, d)).flatten();
                assert_eq!(found.map(i64::from), expected, "{isa}, {params:?}, {of} of {tile}");
            }
        }
    }
}

/// Products of one point: `x` is `[block][pixel][16]`, `weights` `[output][input]`.
fn products(pixels: usize, out_blocks: usize, x: &[i16], weights: &[Vec<i16>], scale: f32) {
    let blocks = x.len() / (pixels * BLOCK);
    let row = out_blocks * BLOCK;
    let mut packed = vec![0; blocks * BLOCK * row];
    for (o, weights) in weights.iter().enumerate() {
        for (i, &weight) in weights.iter().enumerate() {
            packed[(i / PAIR * row + o) * PAIR + i % PAIR] = weight;
        }
    }
    let params = ConvI16Params {
        pixels,
        x_step: BLOCK,
        blocks,
        x_block: pixels * BLOCK,
        kernel_rows: 1,
        kernel_columns: 1,
        x_row: BLOCK,
        x_column: BLOCK,
        out_blocks,
        y_block: pixels * BLOCK + 7,
        r_block: 0,
        epilogue: (),
        next: 0,
    };
    let len = (out_blocks - 1) * params.y_block + pixels * BLOCK;
    let mut operands =
        [Bytes::of(x), Bytes::of(&packed), Bytes::of(&vec![scale; row]), Bytes::of(&packed)];
    for (isa, table) in tables() {
        let y = floats(&run(&Call::ConvI16(params), table, &mut operands, 4 * len));
        for (at, found) in y.into_iter().enumerate() {
            let (o, pixel) = (at / params.y_block, at % params.y_block / BLOCK);
            let channel = o * BLOCK + at % params.y_block % BLOCK;
            let inputs = (0..blocks * BLOCK)
                .map(|i| x[(i / BLOCK * pixels + pixel.min(pixels - 1)) * BLOCK + i % BLOCK]);
            let sum: i64 =
                inputs.zip(&weights[channel]).map(|(x, &w)| i64::from(x) * i64::from(w)).sum();
            assert_eq!(i64::from(sum as i32), sum, "the sum of channel {channel} fits");
            let expected = (pixel < pixels).then_some(sum as f32 * scale);
            assert_eq!(found, expected, "{isa}, {pixels} pixels, channel {channel} of {pixel}");
        }
    }
}

#[test]
fn products_are_exact() {
    let mut random = Random(11);
    let mut words = |len: usize, most: f32| -> Vec<i16> {
        (0..len).map(|_| (random.next() * most) as i16).collect()
    };
    for pixels in 1..=30 {
        for (out_blocks, blocks) in [(1, 1), (2, 1), (2, 3)] {
            let x = words(blocks * pixels * BLOCK, 17_340.0);
            let weights: Vec<_> =
                (0..out_blocks * BLOCK).map(|_| words(blocks * BLOCK, 2_000.0)).collect();
            products(pixels, out_blocks, &x, &weights, 0.37);
        }
    }
}

/// `G g G^T` without denominators.
fn transformed(kernel: &[i8], at: usize) -> i64 {
    let (i, j) = (at / 6, at % 6);
    (0..9).map(|tap| G[i][tap / 3] * G[j][tap % 3] * i64::from(kernel[tap])).sum()
}

/// What is packed as bytes becomes what is packed as words, also where these are rounded.
#[test]
fn words_are_those_of_the_kernels() {
    let mut random = Random(5);
    for (blocks, out_blocks, most) in [(1, 1, 128.0), (1, 2, 128.0), (3, 2, 128.0), (40, 1, 127.0)]
    {
        let [inputs, outputs] = [blocks, out_blocks].map(|blocks| blocks * BLOCK);
        // The last ones have the same sign everywhere, so that sums of many would leave `i32`.
        let sign = |weight: f32| if blocks < 40 { weight } else { most - (weight / most).abs() };
        let weights: Vec<i8> =
            (0..outputs * inputs * 9).map(|_| sign(random.next() * most) as i8).collect();
        let channels: Vec<_> = weights.chunks(inputs * 9).map(|w| (w, Points::of(w))).collect();
        let panels = |element| Panels {
            shape: ConvShape {
                out_channels: outputs,
                in_channels: inputs,
                groups: 1,
                kernel_rows: 3,
                kernel_columns: 3,
            },
            format: PanelFormat {
                planar: false,
                panel_blocks: out_blocks,
                in_blocks: blocks,
                in_block_step: 0,
                transform: FORM,
                element,
            },
        };
        let kernels = panels(Element::I8);
        let mut packed = vec![1; kernels.panel_len()];
        pack_kernels(&kernels, channels.iter().map(|(w, points)| (*w, points)), &mut packed);
        let point = inputs * outputs;
        let mut expected = vec![0; 36 * point];
        pack_words(&panels(Element::I16), channels.iter().map(|(_, points)| points), &mut expected);
        let params = WinogradWeightsI8Params { blocks, out_blocks, y_point: point + 32 };
        for (isa, table) in tables() {
            let len = 35 * params.y_point + point;
            let y =
                run(&Call::WinogradWeightsI8(params), table, &mut [Bytes::of(&packed)], 2 * len);
            for (at, found) in words(&y).into_iter().enumerate() {
                let (of, at) = (at / params.y_point, at % params.y_point);
                let expected = (at < point).then(|| expected[of * point + at]);
                assert_eq!(found, expected, "{isa}, word {at} of point {of}");
            }
        }
        let mut rounded = 0;
        for (at, &word) in expected.iter().enumerate() {
            let (of, pair, at) = (at / point, at % point / (outputs * 2), at % (outputs * 2));
            let (kernels, points) = &channels[at / 2];
            let exact = transformed(&kernels[(pair * 2 + at % 2) * 9..], of);
            let scaled = exact as f64 * f64::from(points[of].factor) / 8192.0;
            assert_eq!(f64::from(word), (scaled + 0.5).floor(), "{exact} of point {of}");
            rounded += usize::from(points[of].factor < 8192);
        }
        assert_eq!(rounded > 0, blocks == 40, "{rounded} words are rounded");
    }
}

/// For each point the tile that makes it as large as bytes can, and kernels that make its weights as large
/// as they can: over so many channels sums of exact words would leave `i32`.
#[test]
fn the_worst_tile_overflows_no_sum() {
    let channels = 640;
    let mut rounded = 0;
    for at in 0..36 {
        let (i, j) = (at / 6, at % 6);
        let of = |sign: i64| {
            move |r: usize, c: usize| if B[i][r] * B[j][c] * sign > 0 { 255 } else { 0 }
        };
        let [most, least] = [1, -1].map(|sign| point([4, 4], at, of(sign)).unwrap());
        let worst = if most > -least { most } else { least };
        let kernel = |tap: usize| if G[i][tap / 3] * G[j][tap % 3] < 0 { -128i8 } else { 127 };
        let kernel: Vec<i8> = (0..9).map(kernel).collect();
        let points = Points::of(&kernel.repeat(channels));
        let own = &points[at];
        rounded += usize::from(transformed(&kernel, at) != i64::from(own.words[0]));
        let x = vec![i16::try_from(worst).unwrap(); channels];
        products(1, 1, &x, &vec![own.words.clone(); BLOCK], 1.0);
    }
    assert!(rounded > 0, "no sum would have overflowed");
}

/// `A^T m` in single precision, of a tile of so many outputs.
fn interpolated(outputs: usize, m: [f32; 6]) -> [f32; 4] {
    let [sum_1, difference_1, sum_2, difference_2] =
        [m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]];
    if outputs <= 2 {
        return [m[0] + sum_1, difference_1 + m[5], f32::NAN, f32::NAN];
    }
    [
        m[0] + sum_1 + sum_2,
        difference_1 + 2.0 * difference_2,
        sum_1 + 4.0 * sum_2,
        difference_1 + 8.0 * difference_2 + m[5],
    ]
}

/// Tiles, rows and columns of calls: of F4, and of F2 where there are two rows or columns, or one.
const OUTPUTS: [(usize, usize, usize); 9] = [
    (1, 4, 4),
    (2, 4, 7),
    (3, 3, 12),
    (2, 1, 5),
    (3, 2, 12),
    (1, 4, 2),
    (1, 3, 1),
    (1, 2, 2),
    (1, 1, 2),
];

#[test]
fn outputs_round_in_one_order() {
    use OutputElement as Output;
    use ResidualElement as Residual;
    let mut random = Random(3);
    for (tiles, rows, columns) in OUTPUTS {
        for (residual, output) in [
            (Residual::None, Output::U8),
            (Residual::U8, Output::U8),
            (Residual::F32, Output::U8),
            (Residual::None, Output::F32),
            (Residual::U8, Output::F32),
            (Residual::F32, Output::F32),
        ] {
            let (x_point, y_row, r_row) =
                (tiles * BLOCK + 3, columns * BLOCK + 5, columns * BLOCK + 2);
            let mut x = random.vec(35 * x_point + tiles * BLOCK);
            x.iter_mut().for_each(|m| *m *= 90.0);
            let b = random.vec(BLOCK);
            let mut r = random.vec((rows - 1) * r_row + columns * BLOCK);
            r.iter_mut().for_each(|r| *r = (*r * 128.0 + 128.0).floor());
            let of_bytes: Vec<u8> = r.iter().map(|&r| r as u8).collect();
            let line: TensorLine = LINE;
            let params = WinogradOutputU8Params {
                form: FORM,
                tiles,
                rows,
                columns,
                x_point,
                y_row,
                r_row,
                epilogue: ByteEpilogue { residual, output },
            };
            let value = |row: usize, column: usize, lane: usize| {
                let m = |i: usize, j: usize| x[(6 * i + j) * x_point + column / 4 * BLOCK + lane];
                let of_column = |j| interpolated(rows, std::array::from_fn(|i| m(i, j)))[row];
                let v = interpolated(columns, std::array::from_fn(of_column))[column % 4];
                let mut v = v + b[lane];
                let r = r[row * r_row + column * BLOCK + lane];
                match residual {
                    Residual::None => {}
                    Residual::F32 => v += r * line.factor,
                    Residual::U8 => v += (r - line.offset) * line.factor,
                }
                clamped(line, v)
            };
            let len = (rows - 1) * y_row + columns * BLOCK;
            let expected: Vec<Option<f32>> = (0..len)
                .map(|at| {
                    let (row, column, lane) = (at / y_row, at % y_row / BLOCK, at % y_row % BLOCK);
                    (column < columns).then(|| match output {
                        Output::F32 => value(row, column, lane),
                        Output::U8 => f32::from(byte(line, value(row, column, lane))),
                    })
                })
                .collect();
            let mut operands = [
                Bytes::of(&x),
                Bytes::of(&b),
                Bytes::of(&line.to_line()),
                if residual == Residual::F32 { Bytes::of(&r) } else { Bytes::of(&of_bytes) },
            ];
            for (isa, table) in tables() {
                let call = Call::WinogradOutputU8(params);
                let found: Vec<Option<f32>> = match output {
                    Output::F32 => floats(&run(&call, table, &mut operands, 4 * len)),
                    Output::U8 => run(&call, table, &mut operands, len)
                        .into_iter()
                        .map(|byte| byte.map(f32::from))
                        .collect(),
                };
                assert_eq!(found, expected, "{isa} {params:?}");
            }
        }
    }
}
