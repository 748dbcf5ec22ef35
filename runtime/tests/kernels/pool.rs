use resnet_runtime::kernels::{BLOCK, Call, LARGEST_BLUR, MeanParams, PoolParams};

use super::{Guarded, Random, assert_close, invoke, tables};

/// A pool over `size` with gaps between rows.
fn params(
    size: (usize, usize),
    kernel: (usize, usize),
    stride: (usize, usize),
    padding: (usize, usize),
) -> PoolParams {
    let out_columns = (size.1 + 2 * padding.1 - kernel.1) / stride.1 + 1;
    PoolParams {
        in_rows: size.0,
        in_columns: size.1,
        x_row: size.1 * BLOCK + 6,
        out_rows: (size.0 + 2 * padding.0 - kernel.0) / stride.0 + 1,
        out_columns,
        y_row: out_columns * BLOCK + 10,
        kernel_rows: kernel.0,
        kernel_columns: kernel.1,
        stride_rows: stride.0,
        stride_columns: stride.1,
        padding_rows: padding.0,
        padding_columns: padding.1,
    }
}

fn cases() -> impl Iterator<Item = PoolParams> {
    let sizes = [(1, 1), (2, 3), (7, 7), (8, 5), (13, 16)];
    let windows = [
        ((1, 1), (1, 1), (0, 0)),
        ((2, 2), (2, 2), (0, 0)),
        ((3, 3), (2, 2), (1, 1)),
        ((3, 3), (1, 1), (1, 1)),
        ((2, 3), (3, 1), (1, 0)),
        ((5, 4), (1, 2), (2, 2)),
        ((7, 7), (3, 2), (3, 3)),
    ];
    sizes.into_iter().flat_map(move |size| {
        let fits = windows.into_iter().filter(move |(kernel, _, padding)| {
            size.0 + 2 * padding.0 >= kernel.0 && size.1 + 2 * padding.1 >= kernel.1
        });
        fits.map(move |(kernel, stride, padding)| params(size, kernel, stride, padding))
    })
}

/// The values of one window and lane that lie inside the input.
fn window(p: &PoolParams, x: &[f32], row: usize, column: usize, lane: usize) -> Vec<f64> {
    let mut values = vec![];
    for kernel_row in 0..p.kernel_rows {
        for kernel_column in 0..p.kernel_columns {
            let row = (row * p.stride_rows + kernel_row).checked_sub(p.padding_rows);
            let column = (column * p.stride_columns + kernel_column).checked_sub(p.padding_columns);
            if let (Some(row), Some(column)) = (row, column)
                && row < p.in_rows
                && column < p.in_columns
            {
                values.push(f64::from(x[row * p.x_row + column * BLOCK + lane]));
            }
        }
    }
    values
}

fn check(call: fn(PoolParams) -> Call, expected: fn(&PoolParams, &[f64]) -> f64) {
    for p in cases() {
        let x = Random(0x51_7cc1).vec((p.in_rows - 1) * p.x_row + p.in_columns * BLOCK);
        for (isa, table) in tables() {
            let mut y = Guarded::new((p.out_rows - 1) * p.y_row + p.out_columns * BLOCK);
            invoke(&call(p), table, &[x.as_ptr(), y.pointer()]);
            for (row, y) in y.values().chunks(p.y_row).enumerate() {
                let (y, gap) = y.split_at(p.out_columns * BLOCK);
                assert!(gap.iter().all(|value| value.to_bits() == Guarded::MARKER));
                let expected: Vec<f64> = (0..y.len())
                    .map(|at| expected(&p, &window(&p, &x, row, at / BLOCK, at % BLOCK)))
                    .collect();
                assert_close(y, &expected, 1e-6, &format!("{isa} row {row} of {p:?}"));
            }
        }
    }
}

#[test]
fn max_pool() {
    check(Call::MaxPool, |_, window| window.iter().copied().fold(f64::NEG_INFINITY, f64::max));
}

#[test]
fn average_pool() {
    check(Call::AveragePool, |_, window| window.iter().sum::<f64>() / window.len() as f64);
}

/// Coefficient `k` of `(1/2 + x/2)^(kernel - 1)`.
fn binomial(kernel: usize, k: usize) -> f64 {
    (0..k)
        .fold(0.5_f64.powi(kernel as i32 - 1), |c, i| c * (kernel - 1 - i) as f64 / (i + 1) as f64)
}

#[test]
fn blur() {
    let sizes = [(1, 1), (2, 3), (7, 7), (8, 5), (13, 16)];
    let windows = (1..=LARGEST_BLUR).flat_map(|k| {
        let oblong = ((k, 3), (1, 3), (k / 2, 1));
        [((k, k), (2, 2), (k / 2, k / 2)), ((k, k), (1, 1), ((k - 1) / 2, k / 2)), oblong]
    });
    let mut mirrored = 0;
    for ((kernel, stride, padding), size) in
        windows.flat_map(|window| sizes.map(|size| (window, size)))
    {
        if padding.0 >= size.0 || padding.1 >= size.1 {
            continue;
        }
        let p = params(size, kernel, stride, padding);
        let at = |position: usize, padding: usize, size: usize| {
            let from = position.abs_diff(padding);
            from.min(2 * (size - 1) - from.min(2 * (size - 1)))
        };
        let x = Random(0x51_7cc1).vec((p.in_rows - 1) * p.x_row + p.in_columns * BLOCK);
        for (isa, table) in tables() {
            let mut y = Guarded::new((p.out_rows - 1) * p.y_row + p.out_columns * BLOCK);
            invoke(&Call::Blur(p), table, &[x.as_ptr(), y.pointer()]);
            for (row, y) in y.values().chunks(p.y_row).enumerate() {
                let (y, gap) = y.split_at(p.out_columns * BLOCK);
                assert!(gap.iter().all(|value| value.to_bits() == Guarded::MARKER));
                let tap = |column: usize, lane: usize, kr: usize, kc: usize| {
                    let from_row = at(row * stride.0 + kr, padding.0, size.0);
                    let from_column = at(column * stride.1 + kc, padding.1, size.1);
                    let weight = binomial(kernel.0, kr) * binomial(kernel.1, kc);
                    weight * f64::from(x[from_row * p.x_row + from_column * BLOCK + lane])
                };
                let sum = |at: usize| {
                    let taps = (0..kernel.0).flat_map(|kr| (0..kernel.1).map(move |kc| (kr, kc)));
                    taps.map(|(kr, kc)| tap(at / BLOCK, at % BLOCK, kr, kc)).sum()
                };
                let expected: Vec<f64> = (0..y.len()).map(sum).collect();
                assert_close(y, &expected, 1e-6, &format!("{isa} row {row} of {p:?}"));
            }
        }
        mirrored += usize::from(padding != (0, 0));
    }
    assert!(mirrored > 40, "only {mirrored} cases look past an edge");
}

#[test]
fn max_pool_keeps_nan_wherever_the_window_has_it() {
    let p = params((3, 3), (3, 3), (1, 1), (0, 0));
    for nan in 0..9 {
        let mut x = vec![1.0; 3 * p.x_row];
        x[nan / 3 * p.x_row + nan % 3 * BLOCK + 5] = f32::NAN;
        for (isa, table) in tables() {
            let mut y = Guarded::new(BLOCK);
            invoke(&Call::MaxPool(p), table, &[x.as_ptr(), y.pointer()]);
            let found: Vec<bool> = y.full().iter().map(|value| value.is_nan()).collect();
            let expected: Vec<bool> = (0..BLOCK).map(|lane| lane == 5).collect();
            assert_eq!(found, expected, "{isa}, NaN at {nan}");
        }
    }
}

#[test]
fn mean() {
    for (rows, columns) in [(1, 1), (7, 7), (3, 10), (14, 1)] {
        let x_row = columns * BLOCK + 4;
        let x = Random(0x2545_f491).vec((rows - 1) * x_row + columns * BLOCK);
        let expected: Vec<f64> = (0..BLOCK)
            .map(|lane| {
                let row = |row: usize| (0..columns).map(move |c| row * x_row + c * BLOCK + lane);
                let sum: f64 = (0..rows).flat_map(row).map(|at| f64::from(x[at])).sum();
                sum / (rows * columns) as f64
            })
            .collect();
        for (isa, table) in tables() {
            let mut y = Guarded::new(BLOCK);
            let call = Call::Mean(MeanParams { rows, columns, x_row });
            invoke(&call, table, &[x.as_ptr(), y.pointer()]);
            assert_close(y.full(), &expected, 1e-6, &format!("{isa} {rows}x{columns}"));
        }
    }
}

/// Equal pixels are the worst case: one running sum would round the same way each time.
#[test]
fn means_of_many_equal_pixels_stay_exact() {
    let pixel = 0.1f32;
    for (rows, columns) in [(30_000, 1), (1, 30_000), (150, 200)] {
        let x = vec![pixel; rows * columns * BLOCK];
        let expected = vec![f64::from(pixel); BLOCK];
        let x_row = columns * BLOCK;
        let pool = PoolParams {
            out_rows: 1,
            out_columns: 1,
            in_rows: rows,
            in_columns: columns,
            kernel_rows: rows,
            kernel_columns: columns,
            stride_rows: 1,
            stride_columns: 1,
            padding_rows: 0,
            padding_columns: 0,
            x_row,
            y_row: BLOCK,
        };
        for (isa, table) in tables() {
            let mut y = Guarded::new(BLOCK);
            let call = Call::Mean(MeanParams { rows, columns, x_row });
            invoke(&call, table, &[x.as_ptr(), y.pointer()]);
            assert_close(y.full(), &expected, 1e-6, &format!("{isa} mean of {rows}x{columns}"));
            if rows > 1 && columns > 1 {
                invoke(&Call::AveragePool(pool), table, &[x.as_ptr(), y.pointer()]);
                assert_close(y.full(), &expected, 3e-6, &format!("{isa} pool of {rows}x{columns}"));
            }
        }
    }
}
