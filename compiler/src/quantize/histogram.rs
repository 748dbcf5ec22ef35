//! How often an activation had which value, and the range that is chosen of that.
//!
//! Bins are as wide as a power of two, and twice as wide as before where a value comes that is out of reach. A
//! wide bin is exactly two narrow ones, so that it does not matter in which order values come, or which thread
//! counts them.

use super::Method;

/// Bins on each side of zero: at least 16 for each step of a quantised activation.
const HALF: usize = 1 << 13;

/// Counts of values.
#[derive(Clone)]
pub(super) struct Histogram {
    /// Bins reach up to 2 to the power of this, on both sides.
    exponent: i32,
    /// `2 * HALF` bins; the first of the positive ones is in the middle.
    counts: Vec<u64>,
    low: f32,
    high: f32,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { exponent: f32::MIN_EXP, counts: vec![0; 2 * HALF], low: 0.0, high: 0.0 }
    }

    /// Counts values; the error is one that is not finite.
    pub(super) fn count(&mut self, values: &[f32]) -> Result<(), f32> {
        let (mut low, mut high) = (self.low, self.high);
        let mut finite = true;
        for &value in values {
            finite &= value.is_finite();
            low = low.min(value);
            high = high.max(value);
        }
        if !finite {
            return Err(values
                .iter()
                .copied()
                .find(|value| !value.is_finite())
                .unwrap_or(f32::NAN));
        }
        (self.low, self.high) = (low, high);
        self.reach(exponent(low.abs().max(high)));
        let per_width = self.bins_per_unit();
        for &value in values {
            self.counts[bin(value, per_width)] += 1;
        }
        Ok(())
    }

    /// Adds another one's counts.
    pub(super) fn merge(&mut self, mut other: Self) {
        let exponent = self.exponent.max(other.exponent);
        self.reach(exponent);
        other.reach(exponent);
        (self.low, self.high) = (self.low.min(other.low), self.high.max(other.high));
        for (count, other) in self.counts.iter_mut().zip(other.counts) {
            *count += other;
        }
    }

    /// The smallest and the largest value, or zero.
    pub(super) fn range(&self) -> [f32; 2] {
        [self.low, self.high]
    }

    /// Joins bins until they reach as far as that.
    fn reach(&mut self, exponent: i32) {
        if exponent <= self.exponent {
            return;
        }
        // Shifted by more, all are in the two bins beside zero.
        let shift = (exponent - self.exponent).min(HALF.ilog2() as i32 + 1);
        let mut joined = vec![0; 2 * HALF];
        for (bin, &count) in self.counts.iter().enumerate() {
            let from_zero = bin as isize - HALF as isize;
            joined[((from_zero >> shift) + HALF as isize) as usize] += count;
        }
        (self.counts, self.exponent) = (joined, exponent);
    }

    fn bins_per_unit(&self) -> f64 {
        HALF as f64 * 2_f64.powi(-self.exponent)
    }

    /// The middle of each bin that is not empty, and its count.
    fn bins(&self) -> Vec<(f64, f64)> {
        let width = 1.0 / self.bins_per_unit();
        let middle = |bin: usize| (bin as f64 - HALF as f64 + 0.5) * width;
        let counted = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counted.map(|(bin, &count)| (middle(bin), count as f64)).collect()
    }

    /// The quantiser that a method chooses; `None` if all values are zero.
    pub(super) fn quantiser(&self, method: Method) -> Option<Quantiser> {
        let all = Quantiser::of(self.range())?;
        match method {
            Method::MinMax => Some(all),
            Method::Percentile(percent) => Quantiser::of(self.percentile(percent)).or(Some(all)),
            Method::LeastSquares => Some(self.least_squares(all)),
        }
    }

    /// The quantisers that a method leaves to be tried, the widest first: beside the one with the least squared error one
    /// of all values and one between, since what a sum of many values makes of clipping is another thing than the
    /// error of each.
    pub(super) fn trials(&self, method: Method) -> Vec<Quantiser> {
        let mut trials: Vec<Quantiser> = self.quantiser(method).into_iter().collect();
        if let (Method::LeastSquares, Some(least)) = (method, trials.first())
            && let Some(all) = Quantiser::of(self.range())
        {
            let [low, high] = [0, 1].map(|end| (least.ends()[end] + all.ends()[end]) as f32 / 2.0);
            trials.splice(..0, [Some(all), Quantiser::of([low, high])].into_iter().flatten());
            trials.dedup();
        }
        trials
    }

    /// The range without the outermost values on either side.
    fn percentile(&self, percent: f64) -> [f32; 2] {
        let bins = self.bins();
        let all: f64 = bins.iter().map(|(_, count)| count).sum();
        let outside = all * (1.0 - percent / 100.0);
        let half = 0.5 / self.bins_per_unit();
        let mut cut = [0.0; 2];
        let mut inside = |side: usize, count: f64| {
            cut[side] += count;
            cut[side] > outside
        };
        let high = bins.iter().rev().find(|(_, count)| inside(0, *count));
        let low = bins.iter().find(|(_, count)| inside(1, *count));
        let end = |bin: Option<&(f64, f64)>| bin.map_or(0.0, |(middle, _)| *middle);
        // A bin's far end, and no further than its values.
        let high = (end(high) + half) as f32;
        let low = (end(low) - half) as f32;
        [low.max(self.low).min(0.0), high.min(self.high).max(0.0)]
    }

    /// The range with the least squared error, looked for one end after the other.
    fn least_squares(&self, all: Quantiser) -> Quantiser {
        /// Parts of the whole range that are tried.
        const TRIALS: usize = 128;
        let bins = self.bins();
        let mut best = (all.squared_error(&bins), self.range(), all);
        for end in [1, 0, 1] {
            for trial in TRIALS / 8..TRIALS {
                let mut range = best.1;
                range[end] = self.range()[end] * (trial as f32 / TRIALS as f32);
                if let Some(quantiser) = Quantiser::of(range) {
                    let error = quantiser.squared_error(&bins);
                    if error < best.0 {
                        best = (error, range, quantiser);
                    }
                }
            }
        }
        best.2
    }

    /// The part of all values that are further out than a quantiser's range, by more than rounding.
    pub(super) fn clipped(&self, quantiser: &Quantiser) -> f64 {
        let [low, high] = quantiser.ends();
        let half = 0.5 * f64::from(quantiser.scale);
        let (mut clipped, mut all) = (0.0, 0.0);
        for (middle, count) in self.bins() {
            all += count;
            // The bin of the outermost value is not cut, wherever its middle is.
            let value = middle.clamp(self.low.into(), self.high.into());
            if value < low - half || value > high + half {
                clipped += count;
            }
        }
        if all > 0.0 { clipped / all } else { 0.0 }
    }

    /// Signal to noise of the values after a quantiser, in decibels.
    pub(super) fn snr_db(&self, quantiser: &Quantiser) -> f64 {
        let bins = self.bins();
        let signal: f64 = bins.iter().map(|(middle, count)| count * middle * middle).sum();
        decibels(signal, quantiser.squared_error(&bins))
    }
}

/// The least power of two that is larger than a value, at least the smallest normal number's.
fn exponent(value: f32) -> i32 {
    let bits = (value.to_bits() >> 23) as i32 & 0xff;
    (bits - 126).max(f32::MIN_EXP)
}

fn bin(value: f32, per_unit: f64) -> usize {
    // In reach, so that neither end is left: exact, as all factors are powers of two.
    ((f64::from(value) * per_unit).floor() + HALF as f64) as usize
}

/// Ten times the logarithm of a ratio; infinite where there is no noise.
pub(super) fn decibels(signal: f64, noise: f64) -> f64 {
    if noise == 0.0 { f64::INFINITY } else { 10.0 * (signal / noise).log10() }
}

/// What a value `scale * (q - zero_point)` is as `q`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quantiser {
    pub(super) scale: f32,
    pub(super) zero_point: u8,
}

impl Quantiser {
    /// That of the values from the first to the second, zero among them; zero itself is exact. `None` if there
    /// is no other value, or none that `f32` has a scale for.
    pub(super) fn of([low, high]: [f32; 2]) -> Option<Self> {
        let (low, high) = (f64::from(low.min(0.0)), f64::from(high.max(0.0)));
        let scale = ((high - low) / 255.0) as f32;
        if !scale.is_normal() {
            return None;
        }
        let zero_point = (-low / f64::from(scale)).round_ties_even().clamp(0.0, 255.0) as u8;
        Some(Self { scale, zero_point })
    }

    /// The values of 0 and of 255.
    pub(super) fn ends(&self) -> [f64; 2] {
        let (scale, zero) = (f64::from(self.scale), f64::from(self.zero_point));
        [-zero * scale, (255.0 - zero) * scale]
    }

    /// A value, rounded and clipped.
    pub(super) fn round(&self, value: f32) -> f32 {
        let zero = f32::from(self.zero_point);
        let rounded = (value / self.scale).round_ties_even().clamp(-zero, 255.0 - zero);
        rounded * self.scale
    }

    fn squared_error(&self, bins: &[(f64, f64)]) -> f64 {
        let (scale, zero) = (f64::from(self.scale), f64::from(self.zero_point));
        let per_scale = 1.0 / scale;
        let error = |&(value, count): &(f64, f64)| {
            let rounded = (value * per_scale).round_ties_even().clamp(-zero, 255.0 - zero);
            let error = value - rounded * scale;
            count * error * error
        };
        bins.iter().map(error).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from a seed: many small ones, and a few that are larger.
    fn values(seed: u32, len: usize) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / f64::from(1 << 24)
        };
        (0..len)
            .map(|_| (((next() + next() + next()) * 2.0 - 3.0) * 10_f64.powf(next())) as f32)
            .collect()
    }

    #[test]
    fn counts_do_not_depend_on_the_order() {
        let values = values(7, 3000);
        let of = |parts: &[&[f32]]| {
            let mut all = Histogram::new();
            for part in parts {
                let mut one = Histogram::new();
                one.count(part).unwrap();
                all.merge(one);
            }
            all
        };
        let (first, rest) = values.split_at(11);
        let (whole, parts) = (of(&[&values]), of(&[rest, first]));
        assert_eq!((whole.exponent, &whole.counts), (parts.exponent, &parts.counts));
        assert_eq!(whole.range(), parts.range());
        let mut one_by_one = Histogram::new();
        values.iter().rev().for_each(|&value| one_by_one.count(&[value]).unwrap());
        assert_eq!((one_by_one.exponent, one_by_one.counts), (whole.exponent, whole.counts));
    }

    #[test]
    fn every_value_is_in_its_bin() {
        let mut histogram = Histogram::new();
        histogram.count(&[1e-30, -3.0, 0.0, 2.999, 4.0]).unwrap();
        assert_eq!(histogram.exponent, 3, "4 is not below 4");
        let width = 8.0 / HALF as f64;
        for (middle, count) in histogram.bins() {
            let values = [1e-30, -3.0, 0.0, 2.999_f32, 4.0].map(f64::from);
            let inside = |value: &&f64| (**value - middle).abs() <= width / 2.0;
            assert_eq!(values.iter().filter(inside).count() as f64, count);
        }
        assert!(histogram.count(&[1.0, f32::NAN]).unwrap_err().is_nan());
        assert_eq!(histogram.count(&[f32::NEG_INFINITY]), Err(f32::NEG_INFINITY));
    }

    #[test]
    fn zero_is_exact_and_nothing_is_clipped_by_min_max() {
        for (range, zero_point) in [([0.0, 5.1], 0), ([-5.1, 0.0], 255), ([-1.0, 3.0], 64)] {
            let quantiser = Quantiser::of(range).unwrap();
            assert_eq!(quantiser.zero_point, zero_point);
            assert_eq!(quantiser.round(0.0), 0.0);
            for value in range {
                assert!((quantiser.round(value) - value).abs() <= 0.51 * quantiser.scale);
            }
        }
        assert_eq!(Quantiser::of([0.0, 0.0]), None);
        let mut histogram = Histogram::new();
        histogram.count(&values(3, 1000)).unwrap();
        let quantiser = histogram.quantiser(Method::MinMax).unwrap();
        assert_eq!(histogram.clipped(&quantiser), 0.0);
    }

    #[test]
    fn least_squares_make_less_error_than_the_other_methods() {
        let mut histogram = Histogram::new();
        let values = values(5, 20_000);
        histogram.count(&values).unwrap();
        let error = |method| {
            let quantiser = histogram.quantiser(method).unwrap();
            let square = |&value: &f32| f64::from(value - quantiser.round(value)).powi(2);
            values.iter().map(square).sum::<f64>()
        };
        let least = error(Method::LeastSquares);
        for other in [Method::MinMax, Method::Percentile(99.0), Method::Percentile(99.9)] {
            assert!(least <= 1.01 * error(other), "{other}: {least} and {}", error(other));
        }
        assert!(least < error(Method::MinMax));
    }

    #[test]
    fn a_percentile_leaves_so_many_outside() {
        let mut histogram = Histogram::new();
        let values: Vec<f32> = (0..1000).map(|n| n as f32).collect();
        histogram.count(&values).unwrap();
        let quantiser = histogram.quantiser(Method::Percentile(99.0)).unwrap();
        let [low, high] = quantiser.ends();
        assert_eq!(low, 0.0);
        assert!((989.0..=990.0).contains(&high), "{high}");
    }
}
