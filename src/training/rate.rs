//! The learning rate over the steps of a training.

use std::f64::consts::PI;

/// How the rate goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Up along a cosine while it warms up, then down to nearly nothing along another: PyTorch's `OneCycleLR` ("Super-Convergence",
    /// Smith and Topin, 2018).
    OneCycle,
    /// Up along a line while it warms up, then down to nothing along a cosine ("SGDR", Loshchilov and Hutter, 2017, without
    /// restarts).
    Cosine,
}

/// OneCycle begins at the highest rate over this.
const START: f64 = 25.0;

/// And ends at where it began over this.
const END: f64 = 1e4;

impl Schedule {
    /// The rate of step `at` of `steps`, of which `warm_up` are to warm up, if the highest one is `most`.
    pub(super) fn rate(self, most: f64, at: usize, warm_up: f64, steps: usize) -> f64 {
        let at = at as f64;
        let along = |from: f64, to: f64, part: f64| {
            to + (from - to) / 2.0 * (1.0 + (PI * part.clamp(0.0, 1.0)).cos())
        };
        match self {
            Self::OneCycle => {
                let (start, last) = (most / START, (steps - 1) as f64);
                let top = warm_up - 1.0;
                if at <= top {
                    along(start, most, if top > 0.0 { at / top } else { 1.0 })
                } else {
                    along(most, start / END, (at - top) / (last - top).max(1.0))
                }
            }
            Self::Cosine if at < warm_up => most * (at + 1.0) / warm_up,
            Self::Cosine => along(most, 0.0, (at - warm_up) / (steps as f64 - warm_up).max(1.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `torch.optim.lr_scheduler.OneCycleLR(max_lr=0.2, total_steps=10, pct_start=0.3)`, PyTorch 2.15.
    #[test]
    fn one_cycle_is_pytorchs() {
        let expected = [
            0.008,
            0.104,
            0.2,
            0.190_096_926,
            0.162_349_131,
            0.122_252_404,
            0.077_748_396,
            0.037_651_669,
            0.009_903_874,
            8e-7,
        ];
        for (at, expected) in expected.into_iter().enumerate() {
            let found = Schedule::OneCycle.rate(0.2, at, 3.0, 10);
            assert!((found - expected).abs() < 1e-8, "{at}: {found}, {expected}");
        }
    }

    #[test]
    fn a_cosine_warms_up_and_ends_at_nearly_nothing() {
        let rates: Vec<f64> = (0..10).map(|at| Schedule::Cosine.rate(1.0, at, 4.0, 10)).collect();
        assert_eq!(rates[..5], [0.25, 0.5, 0.75, 1.0, 1.0]);
        assert!(rates.windows(2).skip(4).all(|pair| pair[1] < pair[0]) && rates[9] < 0.1);
        assert_eq!(Schedule::Cosine.rate(1.0, 0, 0.0, 10), 1.0);
    }
}
