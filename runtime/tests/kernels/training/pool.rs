use resnet_runtime::kernels::{BLOCK, Call, PoolGradientParams, PoolParams};

use super::super::{Random, invoke, tables};
use super::Plane;

/// Windows over one axis pair: sizes, kernels, strides, padding before, zeros before and after.
type Case = ((usize, usize), (usize, usize), (usize, usize), (usize, usize), [usize; 4]);

const CASES: [Case; 7] = [
    ((1, 1), (1, 1), (1, 1), (0, 0), [0; 4]),
    ((7, 6), (2, 2), (2, 2), (0, 0), [0; 4]),
    ((8, 5), (3, 3), (2, 2), (1, 1), [0; 4]),
    ((8, 5), (3, 3), (2, 2), (1, 1), [1, 1, 1, 1]),
    ((4, 9), (3, 2), (1, 3), (2, 1), [1, 2, 1, 0]),
    ((5, 5), (5, 4), (1, 2), (2, 2), [0; 4]),
    ((6, 6), (2, 3), (1, 1), (0, 1), [0, 1, 1, 1]),
];

/// The planes of input, output and gradients, and the parameters.
struct Pool {
    x: Plane,
    z: Plane,
    params: PoolGradientParams,
    zeros: [usize; 4],
}

impl Pool {
    fn new((size, kernel, stride, padding, zeros): Case, residual: bool) -> Self {
        let [above, below, left, right] = zeros;
        // As far as the padding reaches on the other side.
        let out = |size: usize, kernel: usize, stride: usize, before: usize, after: usize| {
            (size + before + after - kernel) / stride + 1
        };
        let z = (
            out(size.0, kernel.0, stride.0, padding.0, below.max(padding.0.min(kernel.0 - 1))),
            out(size.1, kernel.1, stride.1, padding.1, right.max(padding.1.min(kernel.1 - 1))),
        );
        let (x, z) = (Plane::new(size, 6), Plane::new(z, 10));
        let params = PoolGradientParams {
            zero_rows: above,
            zero_rows_after: below,
            zero_columns: left,
            zero_columns_after: right,
            pool: PoolParams {
                in_rows: x.rows,
                in_columns: x.columns,
                x_row: x.row,
                out_rows: z.rows,
                out_columns: z.columns,
                y_row: z.row,
                kernel_rows: kernel.0,
                kernel_columns: kernel.1,
                stride_rows: stride.0,
                stride_columns: stride.1,
                padding_rows: padding.0,
                padding_columns: padding.1,
            },
            g_row: z.columns * BLOCK + 4,
            d_row: x.columns * BLOCK + 2,
            r_row: x.columns * BLOCK + 8,
            residual,
        };
        Self { x, z, params, zeros }
    }

    /// The pixels under a window, row by row: of the input, or none where it counts a zero.
    fn window(&self, row: usize, column: usize) -> Vec<Option<(usize, usize)>> {
        let pool = &self.params.pool;
        let [above, below, left, right] = self.zeros.map(|zeros| zeros as isize);
        let mut seen = Vec::new();
        for r in 0..pool.kernel_rows {
            for c in 0..pool.kernel_columns {
                let r = (row * pool.stride_rows + r) as isize - pool.padding_rows as isize;
                let c = (column * pool.stride_columns + c) as isize - pool.padding_columns as isize;
                let (rows, columns) = (self.x.rows as isize, self.x.columns as isize);
                if (-above..rows + below).contains(&r) && (-left..columns + right).contains(&c) {
                    let inside = (0..rows).contains(&r) && (0..columns).contains(&c);
                    seen.push(inside.then_some((r as usize, c as usize)));
                }
            }
        }
        seen
    }

    /// Adds what `share` says of each window's pixels to the residual, and compares.
    fn check(
        &self,
        make: impl Fn(PoolGradientParams) -> Call,
        inputs: &[&[f32]],
        [g, r]: [&[f32]; 2],
        share: impl Fn(usize, (usize, usize), f64) -> Vec<((usize, usize), f64)>,
    ) {
        let with = |plane: &Plane, row: usize| Plane { row, ..*plane };
        let p = &self.params;
        let (of_g, of_r) = (with(&self.z, p.g_row), with(&self.x, p.r_row));
        let of_y = with(&self.x, p.d_row);
        let mut expected = vec![0.0; of_y.len()];
        for lane in 0..BLOCK {
            for (row, column) in of_y.pixels() {
                let residual = of_r.get(r, (row, column, lane));
                expected[of_y.at(row, column, lane)] = if p.residual { residual } else { 0.0 };
            }
            for at in self.z.pixels() {
                let g = of_g.get(g, (at.0, at.1, lane));
                for ((row, column), part) in share(lane, at, g) {
                    expected[of_y.at(row, column, lane)] += part;
                }
            }
        }
        for (isa, table) in tables() {
            let mut y = of_y.output();
            let mut operands: Vec<*const f32> = inputs.iter().map(|input| input.as_ptr()).collect();
            operands.extend([g.as_ptr(), r.as_ptr(), y.pointer()]);
            invoke(&make(self.params), table, &operands);
            let expected = |(row, column, lane)| expected[of_y.at(row, column, lane)];
            of_y.check(&y, expected, 2e-6, &format!("{isa} {:?}", self.params));
        }
    }

    /// Gradients of the output, and a residual.
    fn gradients(&self, random: &mut Random) -> [Vec<f32>; 2] {
        let p = &self.params;
        let g = Plane { row: p.g_row, ..self.z }.random(random);
        [g, Plane { row: p.r_row, ..self.x }.random(random)]
    }
}

fn pools(cases: impl Iterator<Item = Case>) -> impl Iterator<Item = Pool> {
    cases.flat_map(|case| [false, true].map(|residual| Pool::new(case, residual)))
}

#[test]
fn max_pool_gradient() {
    for pool in pools(CASES.into_iter()) {
        let mut random = Random(0x51_7cc1);
        // A few values only, so that some are the same.
        let x: Vec<f32> =
            pool.x.random(&mut random).iter().map(|x| (x * 4.0).round() / 4.0).collect();
        let [g, r] = pool.gradients(&mut random);
        let value = |at: &Option<(usize, usize)>, lane: usize| {
            at.map_or(0.0, |(row, column)| pool.x.get(&x, (row, column, lane)))
        };
        let mut z = vec![0.0; pool.z.len()];
        for (row, column) in pool.z.pixels() {
            for lane in 0..BLOCK {
                let seen = pool.window(row, column);
                let largest = seen.iter().map(|at| value(at, lane)).fold(f64::MIN, f64::max);
                z[pool.z.at(row, column, lane)] = largest as f32;
            }
        }
        pool.check(Call::MaxPoolGradient, &[&x, &z], [&g, &r], |lane, (row, column), g| {
            let largest = pool.z.get(&z, (row, column, lane));
            let first =
                pool.window(row, column).into_iter().find(|at| value(at, lane) == largest).unwrap();
            first.map(|at| (at, g)).into_iter().collect()
        });
    }
}

#[test]
fn average_pool_gradient() {
    for pool in pools(CASES.into_iter()) {
        let [g, r] = pool.gradients(&mut Random(0x51_7cc1));
        pool.check(Call::AveragePoolGradient, &[], [&g, &r], |_, (row, column), g| {
            let seen = pool.window(row, column);
            let share = g / seen.len() as f64;
            seen.into_iter().flatten().map(|at| (at, share)).collect()
        });
    }
}

#[test]
fn blur_gradient() {
    let mirrored = CASES.into_iter().filter(|(.., zeros)| *zeros == [0; 4]);
    for pool in pools(mirrored.filter(|(size, ..)| size.0 > 1)) {
        let [g, r] = pool.gradients(&mut Random(0x51_7cc1));
        let p = pool.params.pool;
        let weights = |kernel: usize| -> Vec<f64> {
            let row = |last: Vec<f64>, _| {
                let shifted = [&[0.0], &last[..]].concat();
                let next = [&last[..], &[0.0]].concat();
                shifted.iter().zip(next).map(|(a, b)| (a + b) / 2.0).collect()
            };
            (1..kernel).fold(vec![1.0], row)
        };
        let reflected = |at: isize, size: usize| {
            let from = at.unsigned_abs();
            if from < size { from } else { 2 * (size - 1) - from }
        };
        pool.check(Call::BlurGradient, &[], [&g, &r], |_, (row, column), g| {
            let (down, across) = (weights(p.kernel_rows), weights(p.kernel_columns));
            let mut shares = Vec::new();
            for (r, a) in down.iter().enumerate() {
                for (c, b) in across.iter().enumerate() {
                    let r = (row * p.stride_rows + r) as isize - p.padding_rows as isize;
                    let c = (column * p.stride_columns + c) as isize - p.padding_columns as isize;
                    let at = (reflected(r, p.in_rows), reflected(c, p.in_columns));
                    shares.push((at, a * b * g));
                }
            }
            shares
        });
    }
}
