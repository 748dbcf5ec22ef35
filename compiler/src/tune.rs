//! Which algorithms are the fastest on this machine: by measuring, layer by layer, inside the network.
//!
//! Round `k` runs the whole network with the `k`-th choice of every convolution and times its steps,
//! so that each choice is measured with the caches and the cold weights that a run leaves to it. There
//! are as many rounds as the convolution with the most choices has.

use std::sync::Arc;
use std::time::Duration;

use resnet_runtime::kernels::Isa;
use resnet_runtime::threads::Pool;
use resnet_runtime::weights::Weights;

use crate::fuse::fuse;
use crate::graph::Graph;
use crate::network::CompileError;
use crate::profile::{Layer, ProfileError, profile};
use crate::schedule::{Choice, Choices, Wishes, candidates};

/// Runs of a round, of which the shortest times count.
const RUNS: usize = 20;

/// What a choice has to gain over the cost model's to take its place: less is noise.
const GAIN: f64 = 0.97;

/// Measures the algorithms of every convolution for `batch` pictures at a time and returns the
/// fastest. `progress` is called after each round with how many are done and how many there are.
///
/// # Errors
///
/// A network that cannot be compiled or loaded.
pub fn tune(
    graph: &Graph,
    isa: Isa,
    batch: usize,
    weights: &Weights,
    pool: Option<&Pool>,
    mut progress: impl FnMut(usize, usize),
) -> Result<Tuned, ProfileError> {
    let wishes = Wishes { batch, ..Wishes::default() };
    let layers = candidates(&fuse(graph).map_err(CompileError::from)?, &wishes);
    let rounds = layers.iter().map(|(_, choices)| choices.len()).max().unwrap_or(0);
    let mut best: Vec<Best> = layers.iter().map(|(_, choices)| Best::new(choices[0])).collect();
    let mut model = Duration::ZERO;
    for round in 0..rounds {
        // A layer that has no more choices repeats its last one.
        let choice = |choices: &[Choice]| choices[round.min(choices.len() - 1)];
        let all = layers.iter().map(|(name, choices)| (name.clone(), choice(choices))).collect();
        let choices = Some(Arc::new(Choices::new(graph, batch, all)));
        let wishes = Wishes { choices, ..wishes.clone() };
        let measured = profile(graph, isa, &wishes, weights, pool, RUNS, Duration::ZERO)?;
        if round == 0 {
            model = measured.iter().map(Layer::time).sum();
        }
        for ((name, choices), best) in layers.iter().zip(&mut best) {
            best.consider(choice(choices), layer_time(&measured, name), round == 0);
        }
        progress(round + 1, rounds);
    }
    let gained = best.iter().map(|best| best.model.saturating_sub(best.time)).sum();
    let layers = layers.into_iter().zip(&best).map(|((name, _), best)| (name, best.choice));
    let choices = Choices::new(graph, batch, layers.collect());
    Ok(Tuned { choices, model, tuned: model.saturating_sub(gained) })
}

/// The outcome of [`tune`].
#[derive(Clone, Debug)]
pub struct Tuned {
    /// The fastest choices.
    pub choices: Choices,
    /// The time of a run with the cost model's choices, its steps' shortest times added up.
    pub model: Duration,
    /// The same with the fastest choices, as their rounds measured them.
    pub tuned: Duration,
}

/// The fastest choice of a convolution so far.
struct Best {
    choice: Choice,
    time: Duration,
    /// The time of the cost model's choice.
    model: Duration,
}

impl Best {
    fn new(choice: Choice) -> Self {
        Self { choice, time: Duration::MAX, model: Duration::MAX }
    }

    fn consider(&mut self, choice: Choice, time: Duration, of_model: bool) {
        if of_model {
            (self.time, self.model) = (time, time);
        } else if time < self.time && time < self.model.mul_f64(GAIN) {
            (self.choice, self.time) = (choice, time);
        }
    }
}

/// The time of all of a convolution's steps.
fn layer_time(layers: &[Layer], name: &str) -> Duration {
    let points = format!("{name}.points");
    let steps = layers.iter().flat_map(|layer| &layer.steps);
    steps.filter(|step| step.name == name || step.name == points).map(|s| s.time).sum()
}
