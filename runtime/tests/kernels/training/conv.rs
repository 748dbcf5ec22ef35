use resnet_runtime::kernels::{
    BLOCK, Call, ConvGradientParams, Transform, WinogradInputParams, WinogradWeightsParams,
};

use super::super::{Guarded, Random, assert_close, bits, invoke, tables};

/// Rows, columns, inputs, output blocks, strides.
const CASES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 1, 16, 1, 1),
    (3, 5, 16, 2, 1),
    (4, 7, 16, 1, 2),
    (2, 9, 7, 2, 2),
    (5, 3, 1, 1, 1),
    (3, 3, 11, 1, 3),
    (2, 2, 13, 2, 1),
];

#[test]
fn conv_gradient() {
    for (rows, columns, inputs, out_blocks, stride) in CASES {
        let mut random = Random(0x2545_f491);
        let params = ConvGradientParams {
            rows,
            columns,
            inputs,
            x_row: stride * (stride * columns * BLOCK + 4),
            x_step: stride * BLOCK,
            out_blocks,
            d_row: columns * BLOCK + 8,
            d_block: rows * (columns * BLOCK + 8) + 12,
        };
        let x = random.vec((rows - 1) * params.x_row + (columns - 1) * params.x_step + inputs);
        let d = random.vec(out_blocks * params.d_block);
        let width = out_blocks * BLOCK;
        // Weights are written on cache lines.
        let old = random.vec(inputs * width);
        let sum = |i: usize, o: usize| -> f64 {
            let product = |row: usize, column: usize| {
                let x = x[row * params.x_row + column * params.x_step + i];
                let d =
                    d[o / BLOCK * params.d_block + row * params.d_row + column * BLOCK + o % BLOCK];
                f64::from(x) * f64::from(d)
            };
            (0..rows)
                .flat_map(|r| (0..columns).map(move |c| (r, c)))
                .map(|(r, c)| product(r, c))
                .sum()
        };
        let expected: Vec<f64> =
            (0..old.len()).map(|at| f64::from(old[at]) + sum(at / width, at % width)).collect();
        for (isa, table) in tables() {
            let mut y = Guarded::from(&old);
            invoke(&Call::ConvGradient(params), table, &[x.as_ptr(), d.as_ptr(), y.pointer()]);
            assert_close(y.values(), &expected, 4e-6, &format!("{isa} {params:?}"));
        }
    }
}

/// The bits of a sum do not depend on how many inputs lie beside it.
#[test]
fn conv_gradients_do_not_depend_on_the_tile() {
    let mut random = Random(0x2545_f491);
    let (rows, columns) = (3, 5);
    let params = |inputs| ConvGradientParams {
        rows,
        columns,
        inputs,
        x_row: columns * BLOCK,
        x_step: BLOCK,
        out_blocks: 2,
        d_row: columns * BLOCK,
        d_block: rows * columns * BLOCK,
    };
    let (x, d) = (random.vec(rows * columns * BLOCK), random.vec(2 * rows * columns * BLOCK));
    for (isa, table) in tables() {
        let run = |inputs: usize| {
            let mut y = Guarded::from(&vec![0.0; inputs * 2 * BLOCK]);
            let call = Call::ConvGradient(params(inputs));
            invoke(&call, table, &[x.as_ptr(), d.as_ptr(), y.pointer()]);
            bits(y.full())
        };
        let all = run(BLOCK);
        for inputs in 1..BLOCK {
            assert_eq!(run(inputs), all[..inputs * 2 * BLOCK], "{isa} {inputs}");
        }
    }
}

/// The points of F(4x4, 3x3) besides 0 and infinity.
const A: f64 = 0.625;
const B: f64 = 1.5;

/// `G`: a row makes a point of taps, their polynomial at 0, `A`, `-A`, `B`, `-B` and infinity, times a factor.
const WEIGHTS: [[f64; 3]; 6] = {
    const ZERO: f64 = 1.0 / (A * A * B * B);
    const OF_A: f64 = 1.0 / (2.0 * A * (A * A - B * B));
    const OF_B: f64 = 1.0 / (2.0 * (B * B - A * A));
    [
        [ZERO, 0.0, 0.0],
        [OF_A, OF_A * A, OF_A * A * A],
        [OF_A, -OF_A * A, OF_A * A * A],
        [OF_B, OF_B * B, OF_B * B * B],
        [OF_B, -OF_B * B, OF_B * B * B],
        [0.0, 0.0, 1.0],
    ]
};

/// `A`: a row makes a point of four pixels, so too, with the factors `1 / A` and `1 / B^2`.
const PIXELS: [[f64; 4]; 6] = [
    [1.0, 0.0, 0.0, 0.0],
    [1.0 / A, 1.0, A, A * A],
    [1.0 / A, -1.0, A, -A * A],
    [1.0 / (B * B), 1.0 / B, 1.0, B],
    [1.0 / (B * B), -1.0 / B, 1.0, -B],
    [0.0, 0.0, 0.0, 1.0],
];

#[test]
fn winograd_weights() {
    for (len, gap) in [(16, 0), (48, 16)] {
        let part = len + gap;
        let x = Random(0x0bad_5eed).vec(8 * part + len);
        let params = WinogradWeightsParams { len, x_part: part, sums: 1, x_sum: 0, y_part: part };
        for (isa, table) in tables() {
            let mut y = Guarded::new(35 * part + len);
            invoke(&Call::WinogradWeights(params), table, &[x.as_ptr(), y.pointer()]);
            for (point, found) in y.values().chunks(part).enumerate() {
                let [down, across] = [WEIGHTS[point / 6], WEIGHTS[point % 6]];
                let of = |at: usize| -> f64 {
                    let tap = |tap: usize| {
                        down[tap / 3] * across[tap % 3] * f64::from(x[tap * part + at])
                    };
                    (0..9).map(tap).sum()
                };
                let expected: Vec<f64> = (0..len).map(of).collect();
                assert_close(&found[..len], &expected, 1e-6, &format!("{isa} point {point}"));
            }
        }
    }
}

/// It is the transpose.
#[test]
fn winograd_weights_gradient() {
    for (len, gap, sums) in [(16, 0, 1), (48, 16, 3)] {
        let part = len + gap;
        let x_sum = 36 * part;
        let x = Random(0x0bad_5eed).vec(sums * x_sum);
        let params = WinogradWeightsParams { len, x_part: part, sums, x_sum, y_part: part };
        for (isa, table) in tables() {
            let mut y = Guarded::new(8 * part + len);
            invoke(&Call::WinogradWeightsGradient(params), table, &[x.as_ptr(), y.pointer()]);
            for (tap, found) in y.values().chunks(part).enumerate() {
                let of = |at: usize| -> f64 {
                    let point = |index: usize| {
                        let (sum, point) = (index / 36, index % 36);
                        let weight = WEIGHTS[point / 6][tap / 3] * WEIGHTS[point % 6][tap % 3];
                        weight * f64::from(x[sum * x_sum + point * part + at])
                    };
                    (0..36 * sums).map(point).sum()
                };
                let expected: Vec<f64> = (0..len).map(of).collect();
                assert_close(&found[..len], &expected, 4e-6, &format!("{isa} tap {tap}"));
            }
        }
    }
}

#[test]
fn winograd_gradient() {
    for tiles in [1, 3] {
        let (x_row, y_point) = (tiles * 4 * BLOCK + 8, tiles * BLOCK + 4);
        let x = Random(0x0bad_5eed).vec(4 * x_row);
        let form = Transform::Winograd4x4;
        let params = WinogradInputParams { form, tiles, x_row, y_point };
        for (isa, table) in tables() {
            let mut y = Guarded::new(35 * y_point + tiles * BLOCK);
            invoke(&Call::WinogradGradient(params), table, &[x.as_ptr(), y.pointer()]);
            for (point, found) in y.values().chunks(y_point).enumerate() {
                let [down, across] = [PIXELS[point / 6], PIXELS[point % 6]];
                let of = |at: usize| -> f64 {
                    let pixel = |index: usize| {
                        let (row, column) = (index / 4, index % 4);
                        let from = row * x_row + (at / BLOCK * 4 + column) * BLOCK + at % BLOCK;
                        down[row] * across[column] * f64::from(x[from])
                    };
                    (0..16).map(pixel).sum()
                };
                let (found, gap) = found.split_at(tiles * BLOCK);
                assert!(gap.iter().all(|value| value.to_bits() == Guarded::MARKER));
                let expected: Vec<f64> = (0..found.len()).map(of).collect();
                assert_close(found, &expected, 1e-5, &format!("{isa} point {point}"));
            }
        }
    }
}
