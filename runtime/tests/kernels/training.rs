//! The kernels of training steps.

mod channel;
mod conv;
mod magnitude;
mod norm;
mod plane;
mod pool;
mod update;

use resnet_runtime::kernels::{Activation, BLOCK};

use super::{Guarded, Random, activation, assert_close};

/// One channel block's plane in memory, with a gap between rows.
#[derive(Clone, Copy, Debug)]
struct Plane {
    rows: usize,
    columns: usize,
    /// Distance between rows.
    row: usize,
}

impl Plane {
    fn new((rows, columns): (usize, usize), gap: usize) -> Self {
        Self { rows, columns, row: columns * BLOCK + gap }
    }

    fn len(&self) -> usize {
        (self.rows - 1) * self.row + self.columns * BLOCK
    }

    fn random(&self, random: &mut Random) -> Vec<f32> {
        random.vec(self.len())
    }

    fn output(&self) -> Guarded {
        Guarded::new(self.len())
    }

    fn at(&self, row: usize, column: usize, lane: usize) -> usize {
        row * self.row + column * BLOCK + lane
    }

    fn get(&self, values: &[f32], (row, column, lane): (usize, usize, usize)) -> f64 {
        f64::from(values[self.at(row, column, lane)])
    }

    /// Rows and columns of all pixels.
    fn pixels(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let Self { rows, columns, .. } = *self;
        (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)))
    }

    /// Fails unless each pixel's lanes are the expected ones, and nothing is written between rows.
    fn check(
        &self,
        found: &Guarded,
        expected: impl Fn((usize, usize, usize)) -> f64,
        tolerance: f64,
        what: &str,
    ) {
        for (row, values) in found.values().chunks(self.row).enumerate() {
            let (values, gap) = values.split_at(self.columns * BLOCK);
            assert!(gap.iter().all(|value| value.to_bits() == Guarded::MARKER), "{what}");
            let expected: Vec<f64> =
                (0..values.len()).map(|at| expected((row, at / BLOCK, at % BLOCK))).collect();
            assert_close(values, &expected, tolerance, &format!("{what}, row {row}"));
        }
    }
}

const SIZES: [(usize, usize); 4] = [(1, 1), (7, 7), (3, 10), (14, 1)];

/// What the gradient is multiplied with before an activation of which `z` is kept.
fn slope(activation: Activation, z: f64) -> f64 {
    const HALF: f64 = 1e-5;
    if activation.keeps_input() {
        let [below, above] = [-HALF, HALF].map(|by| activation::activated(activation, z + by));
        return (above - below) / (2.0 * HALF);
    }
    match activation {
        Activation::Relu => f64::from(z > 0.0),
        Activation::Relu6 => f64::from(z > 0.0 && z < 6.0),
        Activation::LeakyRelu => {
            if z > 0.0 {
                1.0
            } else {
                0.01
            }
        }
        _ => 1.0,
    }
}

/// Values around the edges of activations, and on them.
fn around_edges(values: &mut [f32]) {
    for (at, value) in values.iter_mut().enumerate() {
        *value = match at % 7 {
            0 => 0.0,
            3 => 6.0,
            _ => *value * 8.0,
        };
    }
}
