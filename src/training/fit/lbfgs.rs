//! The minimum of a smooth convex function: L-BFGS ("On the limited memory BFGS method for large scale optimization", Liu and
//! Nocedal, 1989) with a line search that goes back by parabolas until the function falls enough (Armijo). A
//! convex function has positive curvature along every step, so that nothing more is asked of one.

use std::collections::VecDeque;

/// Steps that are remembered.
const PAIRS: usize = 20;

/// The part of what the slope promises that a step has to gain.
const ARMIJO: f64 = 1e-4;

/// What a sum of many terms may be wrong by, of its value: near the minimum this is more than a step gains.
const ROUNDING: f64 = 1e-14;

/// Where a search ended.
pub(super) struct Minimum {
    pub(super) point: Vec<f64>,
    pub(super) iterations: usize,
    /// The gradient's largest component, without its sign.
    pub(super) gradient: f64,
}

/// A step, and by how much the gradient changed over it.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    /// Their product.
    curvature: f64,
}

/// Goes down from a point until no component of the gradient is larger than `tolerance`, for at most `most` steps.
/// `function` writes the gradient at a point, and answers with its value.
pub(super) fn minimise(
    mut point: Vec<f64>,
    tolerance: f64,
    most: usize,
    mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Minimum {
    let mut gradient = vec![0.0; point.len()];
    let mut value = function(&point, &mut gradient);
    let (mut next, mut next_gradient) = (point.clone(), gradient.clone());
    let mut pairs: VecDeque<Pair> = VecDeque::new();
    let mut iterations = 0;
    while largest(&gradient) > tolerance && iterations < most {
        let direction = direction(&gradient, &pairs);
        let slope = dot(&gradient, &direction);
        // Without a step before there is no scale: the first one is no longer than 1.
        let first = if pairs.is_empty() { (1.0 / (-slope).sqrt()).min(1.0) } else { 1.0 };
        let mut length = first;
        let found = loop {
            for ((next, at), direction) in next.iter_mut().zip(&point).zip(&direction) {
                *next = at + length * direction;
            }
            let found = function(&next, &mut next_gradient);
            if found <= value + ARMIJO * length * slope + ROUNDING * value.abs() {
                break Some(found);
            }
            if length < 1e-10 * first {
                break None;
            }
            let lowest = -slope * length * length / (2.0 * (found - value - slope * length));
            // The order makes something of what is no number.
            length = lowest.max(0.1 * length).min(0.5 * length);
        };
        let Some(found) = found else {
            // What was remembered misleads, or the function's rounding is all that is left.
            if pairs.is_empty() {
                break;
            }
            pairs.clear();
            continue;
        };
        let between = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect();
        let (step, change): (Vec<f64>, Vec<f64>) =
            (between(&next, &point), between(&next_gradient, &gradient));
        let curvature = dot(&step, &change);
        if curvature > f64::EPSILON * dot(&change, &change) {
            if pairs.len() == PAIRS {
                pairs.pop_front();
            }
            pairs.push_back(Pair { step, change, curvature });
        }
        std::mem::swap(&mut point, &mut next);
        std::mem::swap(&mut gradient, &mut next_gradient);
        value = found;
        iterations += 1;
    }
    Minimum { point, iterations, gradient: largest(&gradient) }
}

/// Against the gradient, by the inverse of the curvature that the pairs have seen: the two loops of the paper.
fn direction(gradient: &[f64], pairs: &VecDeque<Pair>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|value| -value).collect();
    let mut parts = Vec::with_capacity(pairs.len());
    for Pair { step, change, curvature } in pairs.iter().rev() {
        let part = dot(step, &direction) / curvature;
        add(&mut direction, -part, change);
        parts.push(part);
    }
    if let Some(Pair { change, curvature, .. }) = pairs.back() {
        let scale = curvature / dot(change, change);
        direction.iter_mut().for_each(|value| *value *= scale);
    }
    for (Pair { step, change, curvature }, part) in pairs.iter().zip(parts.into_iter().rev()) {
        let other = dot(change, &direction) / curvature;
        add(&mut direction, part - other, step);
    }
    direction
}

fn add(to: &mut [f64], times: f64, values: &[f64]) {
    for (to, value) in to.iter_mut().zip(values) {
        *to += times * value;
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| if value.abs() <= most { most } else { value.abs() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of many scales: 1 to 10^4 along the axes.
    #[test]
    fn a_long_valley_is_gone_down_to_its_end() {
        let scale = |at: usize| 10f64.powf(at as f64 / 10.0);
        let found = minimise(vec![3.0; 41], 1e-9, 1000, |x, gradient| {
            gradient.iter_mut().zip(x).enumerate().for_each(|(at, (g, x))| {
                *g = scale(at) * (x - at as f64);
            });
            x.iter().enumerate().map(|(at, x)| scale(at) / 2.0 * (x - at as f64).powi(2)).sum()
        });
        assert!(found.iterations < 1000 && found.gradient <= 1e-9, "{}", found.iterations);
        for (at, x) in found.point.iter().enumerate() {
            assert!((x - at as f64).abs() < 1e-8, "{at}: {x}");
        }
    }

    /// Convex, and steep enough that whole steps go far too far.
    #[test]
    fn steps_that_are_too_long_are_taken_back() {
        let found = minimise(vec![5.0, -7.0], 1e-10, 1000, |x, gradient| {
            gradient.copy_from_slice(&[x[0].exp() - (-x[0]).exp(), 4.0 * x[1].powi(3) + x[1]]);
            x[0].exp() + (-x[0]).exp() + x[1].powi(4) + x[1] * x[1] / 2.0
        });
        assert!(found.gradient <= 1e-10 && found.point.iter().all(|x| x.abs() < 1e-9));
    }

    #[test]
    fn a_search_ends_where_it_is_told_to() {
        let found = minimise(vec![1.0], 0.0, 3, |x, gradient| {
            gradient[0] = x[0].exp();
            x[0].exp()
        });
        assert_eq!(found.iterations, 3);
    }
}
