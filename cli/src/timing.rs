//! Times of runs, and what can be said of them on a machine that others use too.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use resnet_runtime::session::DynSession;
use resnet_runtime::threads::Pool;
use serde::Serialize;

/// A run is repeated at least this often,
pub(crate) const FEWEST_RUNS: usize = 5;

/// unless it is so slow that this would take longer than this.
const LONGEST: Duration = Duration::from_secs(60);

/// Rounds in which [`Rounds`] are made.
pub(crate) const ROUNDS: usize = 5;

/// Medians of rounds that differ by more say that the machine did other work,
const CALM: f64 = 1.1;

/// if they are of so many runs at least.
const FEWEST_FOR_MEDIAN: usize = 3;

/// The threads that work beside this one; for one thread there is no need of any.
pub(crate) fn pool(threads: NonZeroUsize) -> Result<Option<Pool>> {
    match threads.get() {
        1 => Ok(None),
        _ => Ok(Some(Pool::new(threads).context("cannot start threads")?)),
    }
}

/// Times of single runs, in their order, after one that is not counted.
pub(crate) fn measure(
    session: &mut dyn DynSession,
    pictures: &[f32],
    answers: &mut [f32],
    fewest: usize,
    duration: Duration,
) -> Result<Vec<Duration>> {
    let start = Instant::now();
    session.run_batch(pictures, answers)?;
    let mut times = Vec::new();
    while times.is_empty()
        || (times.len() < fewest && start.elapsed() < LONGEST)
        || start.elapsed() < duration
    {
        let run = Instant::now();
        session.run_batch(pictures, answers)?;
        times.push(run.elapsed());
    }
    Ok(times)
}

/// What runs took, in milliseconds; the JSON has these names.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Times {
    pub(crate) min_ms: f64,
    /// A quarter of the runs were faster.
    pub(crate) lower_quartile_ms: f64,
    pub(crate) median_ms: f64,
    /// A quarter of the runs were slower.
    pub(crate) upper_quartile_ms: f64,
}

impl Times {
    /// Of at least one run, in any order.
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |quarters: usize| 1e3 * times[(times.len() - 1) * quarters / 4].as_secs_f64();
        // The upper one of two in the middle.
        let median_ms = 1e3 * times[times.len() / 2].as_secs_f64();
        Self {
            min_ms: at(0),
            lower_quartile_ms: at(1),
            median_ms,
            upper_quartile_ms: at(3).max(median_ms),
        }
    }
}

/// The runs of one network, in rounds between which others ran.
#[derive(Debug, Default)]
pub(crate) struct Rounds(Vec<Vec<Duration>>);

impl Rounds {
    pub(crate) fn push(&mut self, times: Vec<Duration>) {
        self.0.push(times);
    }

    /// The slowest round's median in units of the fastest one's, if that is more than a calm machine's.
    pub(crate) fn unrest(&self) -> Option<f64> {
        if self.0.iter().any(|times| times.len() < FEWEST_FOR_MEDIAN) {
            return None;
        }
        let medians = self.0.iter().map(|times| Times::of(times.clone()).median_ms);
        let [low, high] =
            medians.fold([f64::MAX, 0.0], |[low, high]: [f64; 2], ms| [low.min(ms), high.max(ms)]);
        Some(high / low).filter(|&ratio| ratio > CALM)
    }

    pub(crate) fn times(self) -> Times {
        Times::of(self.0.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(times: &[u64]) -> Vec<Duration> {
        times.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn quartiles_are_runs() {
        let times = Times::of(milliseconds(&[5, 1, 4, 2, 3]));
        let Times { min_ms, lower_quartile_ms, median_ms, upper_quartile_ms } = times;
        assert_eq!([min_ms, lower_quartile_ms, median_ms, upper_quartile_ms], [1.0, 2.0, 3.0, 4.0]);
        let times = Times::of(milliseconds(&[7, 9]));
        assert_eq!([times.min_ms, times.median_ms, times.upper_quartile_ms], [7.0, 9.0, 9.0]);
    }

    #[test]
    fn a_round_that_was_slow_is_told() {
        let mut rounds = Rounds::default();
        rounds.push(milliseconds(&[100, 100, 500]));
        rounds.push(milliseconds(&[100, 104, 104]));
        assert_eq!(rounds.unrest(), None, "one slow run is none");
        rounds.push(milliseconds(&[130, 150, 150]));
        assert_eq!(rounds.unrest(), Some(1.5));
        assert_eq!(rounds.times().min_ms, 100.0);
    }
}
