use std::f64::consts::{FRAC_1_SQRT_2, PI};

use resnet_runtime::kernels::{
    Activation, BLOCK, Call, Epilogue, Isa, PlaneParams, Precision, Table,
};

use super::{Guarded, Random, bits, invoke, tables};

/// What an activation makes of a number.
pub(crate) fn activated(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => x * upper_tail(-x),
        Activation::LeakyRelu => x.max(0.0) + 0.01 * x.min(0.0),
        Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
    }
}

/// The probability that a normal variable is above `x`: by its Taylor series, and far out, where that
/// cancels, by a continued fraction.
fn upper_tail(x: f64) -> f64 {
    if x < 0.0 {
        return 1.0 - upper_tail(-x);
    }
    let density = (-x * x / 2.0).exp() * FRAC_1_SQRT_2 / PI.sqrt();
    if x > 3.0 {
        return density / (1..200).rev().fold(x, |below, n| x + f64::from(n) / below);
    }
    let (mut term, mut sum) = (x, 0.0);
    for n in 1..100 {
        sum += term;
        term *= x * x / f64::from(2 * n + 1);
    }
    0.5 - density * sum
}

/// Applies an activation to numbers that nothing else changes.
fn run(table: &'static Table, activation: Activation, x: &[f32]) -> Vec<f32> {
    let epilogue = Epilogue { residual: false, activation, stored: Precision::F32 };
    let (columns, row) = (x.len() / BLOCK, x.len());
    let params = PlaneParams { rows: 1, columns, x_row: row, r_row: 0, y_row: row, epilogue };
    let (one, zero) = ([1.0; BLOCK], [0.0; BLOCK]);
    let mut y = Guarded::new(x.len());
    let operands = [x.as_ptr(), one.as_ptr(), zero.as_ptr(), y.pointer()];
    invoke(&Call::Affine(params), table, &operands);
    y.full().to_vec()
}

/// Of both signs, small and large.
fn inputs() -> Vec<f32> {
    let mut random = Random(0x5eed);
    let sizes = [1e-6, 1e-2, 1.0, 4.0, 14.0, 90.0];
    sizes.iter().flat_map(|size| random.vec(4096).into_iter().map(move |x| x * size)).collect()
}

#[test]
fn errors_are_a_few_units_in_the_last_place() {
    let x = inputs();
    for &activation in Activation::ALL {
        let most = match activation {
            Activation::None | Activation::Relu | Activation::Relu6 => 0.0,
            Activation::LeakyRelu => 1.0,
            Activation::Silu => 2.0,
            Activation::HardSwish => 3.0,
            Activation::Gelu => 5.0,
        };
        for (isa, table) in tables() {
            for (&x, y) in x.iter().zip(run(table, activation, &x)) {
                let expected = activated(activation, f64::from(x));
                let size = (expected.abs() as f32).max(f32::MIN_POSITIVE);
                let unit = f64::from(f32::from_bits(size.to_bits() + 1) - size);
                let error = (f64::from(y) - expected).abs() / unit;
                // What is that near to zero may be zero.
                let close = error <= most || (f64::from(y) - expected).abs() < 3e-37;
                assert!(close, "{isa}, {activation} of {x:e}: {y:e}, not {expected:e}");
            }
        }
    }
}

#[test]
fn all_instruction_sets_give_the_same_bits() {
    let x = inputs();
    for &activation in Activation::ALL {
        let portable = bits(&run(Isa::Portable.table().unwrap(), activation, &x));
        for (isa, table) in tables() {
            assert_eq!(bits(&run(table, activation, &x)), portable, "{isa}, {activation}");
        }
    }
}

#[test]
fn limits() {
    let mut x = [0.0; BLOCK];
    x[..6].copy_from_slice(&[f32::INFINITY, f32::NAN, -1e30, 1e30, -200.0, -0.0]);
    for (isa, table) in tables() {
        for &activation in Activation::ALL {
            let y = run(table, activation, &x);
            let what = format!("{isa}, {activation}: {y:?}");
            assert_eq!(
                y[0],
                if activation == Activation::Relu6 { 6.0 } else { f32::INFINITY },
                "{what}"
            );
            assert!(y[1].is_nan(), "{what}");
            let bounded = !matches!(activation, Activation::None | Activation::LeakyRelu);
            assert!(!bounded || [y[2], y[4], y[5]].iter().all(|y| y.abs() < 1e-37), "{what}");
            let large = if activation == Activation::Relu6 { 6.0 } else { 1e30 };
            assert!((y[3] - large).abs() <= 1e-6 * large, "{what}");
        }
    }
}
