//! Random weights from integer arithmetic alone.
//!
//! The usual ways to a normal distribution need logarithms or cosines, whose last bits differ
//! between C libraries. The sum of eight 16-bit uniform integers is exact everywhere, has the
//! wanted mean and deviation, is close enough to normal for weights (excess kurtosis -0.15), and
//! never leaves 4.9 deviations.

use std::ops::Range;

use crate::weights::tensor::Init;

/// Elements `range` of the tensor `name`. The stream depends on the seed and the name alone.
pub(super) fn draw(seed: u64, name: &str, init: Init, range: Range<usize>, out: &mut Vec<f32>) {
    let mut stream = SplitMix64::of(seed, name);
    match init {
        Init::Normal(deviation) => {
            stream.skip(2 * range.start as u64);
            // The variance of a uniform integer below n is (n^2 - 1) / 12.
            let unit = (8.0 * (65536.0_f64 * 65536.0 - 1.0) / 12.0).sqrt();
            let scale = f64::from(deviation) / unit;
            out.extend(range.map(|_| (stream.centred_sum() * scale) as f32));
        }
        Init::Uniform(low, high) => {
            stream.skip(range.start as u64);
            let (low, width) = (f64::from(low), f64::from(high) - f64::from(low));
            out.extend(range.map(|_| (low + width * stream.unit()) as f32));
        }
    }
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014).
struct SplitMix64(u64);

impl SplitMix64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    /// A stream of its own for every pair of seed and name.
    fn of(seed: u64, name: &str) -> Self {
        // FNV-1a, 64 bits.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        // The seed passes the mixer before it meets the name, so that close seeds do not give
        // streams that are shifted copies of each other.
        Self(Self(seed).next() ^ hash)
    }

    /// Passes over `numbers` calls of [`next`](SplitMix64::next).
    fn skip(&mut self, numbers: u64) {
        self.0 = self.0.wrapping_add(Self::STEP.wrapping_mul(numbers));
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(Self::STEP);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)`, 53 bits.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// The sum of eight uniform integers below 65536, less its mean.
    fn centred_sum(&mut self) -> f64 {
        let lanes = |word: u64| (0..4).map(|lane| (word >> (16 * lane)) & 0xffff).sum::<u64>();
        (lanes(self.next()) + lanes(self.next())) as f64 - 4.0 * 65535.0
    }
}
