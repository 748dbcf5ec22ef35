//! Activation functions by definition.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use resnet_runtime::kernels::Activation;

/// What an activation makes of a value; NaN of NaN.
pub(super) fn activate(activation: Activation, x: f64) -> f64 {
    // Unlike `max`, it keeps NaN.
    let positive = |v: f64| if v < 0.0 { 0.0 } else { v };
    let up_to_six = |v: f64| if v > 6.0 { 6.0 } else { positive(v) };
    match activation {
        Activation::None => x,
        Activation::Relu => positive(x),
        Activation::Relu6 => up_to_six(x),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => 0.5 * x * erfc(-x * FRAC_1_SQRT_2),
        Activation::LeakyRelu => {
            if x < 0.0 {
                0.01 * x
            } else {
                x
            }
        }
        Activation::HardSwish => x * up_to_six(x + 3.0) / 6.0,
    }
}

/// The derivative of an activation; where there is none, at an edge, PyTorch's.
#[cfg(feature = "train")]
pub(super) fn slope(activation: Activation, x: f64) -> f64 {
    let step = |is: bool| f64::from(u8::from(is));
    match activation {
        Activation::None => 1.0,
        Activation::Relu => step(x > 0.0),
        Activation::Relu6 => step(x > 0.0 && x < 6.0),
        Activation::Silu => {
            let sigmoid = 1.0 / (1.0 + (-x).exp());
            sigmoid * (1.0 + x * (1.0 - sigmoid))
        }
        Activation::Gelu => {
            let density = (-x * x / 2.0).exp() / (2.0 * PI).sqrt();
            0.5 * erfc(-x * FRAC_1_SQRT_2) + x * density
        }
        Activation::LeakyRelu => {
            if x > 0.0 {
                1.0
            } else {
                0.01
            }
        }
        Activation::HardSwish => {
            if x < -3.0 {
                0.0
            } else if x <= 3.0 {
                x / 3.0 + 0.5
            } else {
                1.0
            }
        }
    }
}

/// `2 / sqrt(pi)` times the integral of `e^(-t^2)` from `x` on.
///
/// Up to 3 by the series `e^(-x^2) * sum of 2^n x^(2n + 1) / (1 * 3 * ... (2n + 1))` of its complement,
/// above by the continued fraction `e^(-x^2) / (x + (1/2) / (x + (2/2) / (x + (3/2) / (x + ...))))`:
/// Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.6 and 7.1.14.
fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    let bell = (-x * x).exp() / PI.sqrt();
    if x < 3.0 {
        let (mut term, mut sum) = (x, 0.0);
        for n in 1..100 {
            sum += term;
            term *= 2.0 * x * x / f64::from(2 * n + 1);
        }
        return 1.0 - 2.0 * bell * sum;
    }
    bell / (1..=60).rev().fold(x, |below, n| x + f64::from(n) / 2.0 / below)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Python's `math.erfc`.
    #[test]
    fn erfc_of_both_branches() {
        for (x, expected) in [
            (-2.0, 1.9953222650189528),
            (0.0, 1.0),
            (0.5, 0.4795001221869535),
            (2.9, 4.109787809945886e-05),
            (3.1, 1.1648657367199589e-05),
            (6.0, 2.1519736712498916e-17),
        ] {
            let found = erfc(x);
            assert!((found - expected).abs() <= 1e-10 * expected, "{x}: {found}, {expected}");
        }
    }
}
