//! Which algorithms are the fastest on this machine: by measuring, layer by layer, inside the network.
//!
//! Round `k` of a pass runs the whole network with the `k`-th choice of every convolution and times its steps,
//! so that each choice is measured with the caches and the cold weights that a run leaves to it. There
//! are as many rounds as the convolution with the most choices has, and some passes: what else the machine
//! does at a time shows as a difference between passes, and a choice that is not faster by more than that
//! does not replace the cost model's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use resnet_runtime::kernels::Isa;
use resnet_runtime::session::DynSession;
use resnet_runtime::threads::Pool;
use resnet_runtime::weights::Weights;

use crate::fuse::FusedId;
use crate::graph::Graph;
use crate::nest::Part;
use crate::network::{CompileError, Compiler, Options};
use crate::plan;
use crate::profile::{Layer, ProfileError, profile};
use crate::schedule::{Choice, Choices, Wishes, candidates};
use crate::spec::Spec;

/// Passes over all rounds.
const PASSES: usize = 3;

/// Runs of a round, of which the shortest times count.
const RUNS: usize = 8;

/// Runs of the whole network, by which the outcome is judged.
const WHOLE_RUNS: usize = 15;

/// Measures the algorithms of every convolution, compiled with such options, and returns the fastest: those
/// of the cost model, but where another was faster in its slowest pass than the model's in its fastest, and
/// all of the model's if the whole network is no faster with the others. `progress` is called
/// after each round with how many are done and how many there are.
///
/// # Errors
///
/// A network that cannot be compiled or loaded.
pub fn tune(
    spec: &Spec,
    options: &Options,
    weights: &Weights,
    pool: Option<&Pool>,
    mut progress: impl FnMut(usize, usize),
) -> Result<Tuned, ProfileError> {
    let graph = Graph::build(spec).map_err(CompileError::from)?;
    let quantised = Arc::new(weights.quantised());
    let isa = options.isa.unwrap_or_else(Isa::detect);
    let wishes = Wishes { quantised, ..options.wishes() };
    let fused = plan::fused(&graph, &wishes).map_err(CompileError::from)?;
    let layers = candidates(&fused, &wishes);
    let name = |id| fused.node(id).name.clone();
    let rounds = layers.iter().map(|(_, choices)| choices.len()).max().unwrap_or(0);
    let of_round = |round: usize| {
        // A layer that has no more choices repeats its last one.
        let choice = |choices: &[Choice]| choices[round.min(choices.len() - 1)];
        let all = layers.iter().map(|(id, choices)| (name(*id), choice(choices))).collect();
        Arc::new(Choices::new(&graph, &wishes, all))
    };
    let mut measured: Vec<Vec<Range>> =
        layers.iter().map(|(_, choices)| vec![Range::default(); choices.len()]).collect();
    for step in 0..PASSES * rounds {
        let round = step % rounds;
        let wishes = Wishes { choices: Some(of_round(round)), ..wishes.clone() };
        let steps = profile(&graph, isa, &wishes, weights, pool, RUNS, Duration::ZERO)?;
        for ((id, _), ranges) in layers.iter().zip(&mut measured) {
            if let Some(range) = ranges.get_mut(round) {
                range.add(layer_time(&steps, *id));
            }
        }
        progress(step + 1, PASSES * rounds);
    }
    let faster = layers
        .iter()
        .zip(&measured)
        .map(|((id, choices), ranges)| (name(*id), choices[fastest(ranges)]));
    let choices = Choices::new(&graph, &wishes, faster.collect());
    let by_model = of_round(0);
    let both = [Arc::clone(&by_model), Arc::new(choices.clone())];
    let [model, tuned] = whole_runs(spec, options, weights, pool, both)?;
    Ok(match tuned < model {
        true => Tuned { choices, model, tuned },
        false => Tuned { choices: (*by_model).clone(), model, tuned: model },
    })
}

/// The outcome of [`tune`].
#[derive(Clone, Debug)]
pub struct Tuned {
    /// The fastest choices.
    pub choices: Choices,
    /// The time of a run of the whole network with the cost model's choices: the median of some that took
    /// turns with the others.
    pub model: Duration,
    /// The same with the fastest choices.
    pub tuned: Duration,
}

/// The shortest and the longest time of a choice in all passes.
#[derive(Clone, Copy)]
struct Range {
    min: Duration,
    max: Duration,
}

impl Default for Range {
    fn default() -> Self {
        Self { min: Duration::MAX, max: Duration::ZERO }
    }
}

impl Range {
    fn add(&mut self, time: Duration) {
        self.min = self.min.min(time);
        self.max = self.max.max(time);
    }
}

/// The choice with the shortest time of those that were always faster than the first, the cost model's.
fn fastest(ranges: &[Range]) -> usize {
    let always = ranges.iter().enumerate().filter(|(_, range)| range.max < ranges[0].min);
    always.min_by_key(|(_, range)| range.min).map_or(0, |(index, _)| index)
}

/// The median times of the whole network's runs with two lists of choices, run in turns.
fn whole_runs(
    spec: &Spec,
    options: &Options,
    weights: &Weights,
    pool: Option<&Pool>,
    choices: [Arc<Choices>; 2],
) -> Result<[Duration; 2], ProfileError> {
    let mut networks = Vec::new();
    for choices in choices {
        let compiler = Compiler::new(spec).options(options.clone()).choices(choices);
        let compiled = compiler.weights(weights).compile()?;
        networks.push(compiled.load(weights)?);
    }
    let (info, batch) = (networks[0].info(), options.batch);
    let (input, mut output) =
        (vec![0.5; batch * info.input_len()], vec![0.0; batch * info.outputs]);
    let mut sessions: Vec<Box<dyn DynSession + '_>> = Vec::new();
    for network in &networks {
        sessions.push(network.session_in(pool)?);
    }
    let mut times = [const { Vec::new() }; 2];
    for _ in 0..WHOLE_RUNS {
        for (session, times) in sessions.iter_mut().zip(&mut times) {
            let mut run = || {
                let start = Instant::now();
                session
                    .run_batch(&input, &mut output)
                    .expect("whole batches have the right lengths");
                start.elapsed()
            };
            // The first leaves the caches as they are while one network runs again and again.
            run();
            times.push(run());
        }
    }
    Ok(times.map(|mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    }))
}

/// The time of a convolution's steps; the borders of its output take the same whatever computes it.
fn layer_time(layers: &[Layer], id: FusedId) -> Duration {
    let steps = layers.iter().filter(|layer| layer.id == Some(id)).flat_map(|layer| &layer.steps);
    steps.filter(|step| step.part != Part::Ring).map(|step| step.time).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(min: u64, max: u64) -> Range {
        Range { min: Duration::from_millis(min), max: Duration::from_millis(max) }
    }

    #[test]
    fn the_models_choice_stays_unless_another_is_faster_by_more_than_the_spread() {
        assert_eq!(fastest(&[range(10, 14)]), 0);
        assert_eq!(fastest(&[range(10, 14), range(7, 11)]), 0, "it was slower once");
        assert_eq!(fastest(&[range(10, 14), range(7, 9), range(6, 11), range(5, 8)]), 3);
    }
}
