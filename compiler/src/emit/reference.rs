//! The network evaluated naively: the oracle that the optimised back ends are measured against.
//!
//! A network of real numbers is evaluated as its graph stands: every sum is taken in `f64` in the order of
//! its definition, nothing is fused, folded or blocked, and each operator is a page of loops or less.
//! Weights are the stored `f32` values. What quantised layers compute is defined to the bit, and is
//! evaluated so.

mod activation;
#[cfg(feature = "train")]
mod gradient;
mod operators;
mod quantised;
mod real;
mod winograd;

use std::sync::Arc;

use resnet_runtime::session::{DynSession, Info, Network, RunError, check_lengths};
use resnet_runtime::threads::Pool;
use resnet_runtime::weights::{LoadError, Weights, WeightsError, WeightsPlan};

#[cfg(feature = "train")]
pub use self::gradient::{Gradients, gradients};
use self::operators::Values;
use crate::fuse::Fused;
use crate::graph::Graph;

/// A network that is evaluated by definition.
#[derive(Clone)]
pub struct Reference(Arc<Definition>);

struct Definition {
    info: Info,
    evaluator: Evaluator,
}

enum Evaluator {
    Real(real::Evaluator),
    Quantised(quantised::Evaluator),
}

impl Reference {
    /// Takes the tensors that `graph` needs out of `weights`.
    ///
    /// # Errors
    ///
    /// If tensors are missing, left over, misshapen or of an unknown type, or the weights quantised.
    pub fn load(graph: &Graph, info: Info, weights: &Weights) -> Result<Self, WeightsError> {
        let evaluator = Evaluator::Real(real::Evaluator::load(graph, weights)?);
        Ok(Self(Arc::new(Definition { info, evaluator })))
    }

    /// The same of a graph some of whose layers are quantised: `fused` says which, and where bytes are made,
    /// and `plan` by which algorithm each is computed, as that decides how its output is rounded.
    ///
    /// # Errors
    ///
    /// See [`load`](Reference::load); scales that are no positive numbers or contradict each other.
    pub fn load_quantised(
        fused: &Fused,
        plan: &WeightsPlan,
        info: Info,
        weights: &Weights,
    ) -> Result<Self, LoadError> {
        let evaluator = quantised::Evaluator::load(fused, plan, weights)?;
        let evaluator = Evaluator::Quantised(evaluator);
        Ok(Self(Arc::new(Definition { info, evaluator })))
    }

    /// The answer to one image, in `f64`.
    ///
    /// # Errors
    ///
    /// If `image` has not the network's size.
    pub fn evaluate(&self, image: &[f32]) -> Result<Vec<f64>, RunError> {
        let Definition { info, evaluator } = &*self.0;
        check_lengths(info, image, 1, info.outputs)?;
        Ok(match evaluator {
            Evaluator::Real(network) => network.evaluate(image),
            Evaluator::Quantised(network) => network.evaluate(image),
        })
    }
}

impl Network for Reference {
    fn info(&self) -> &Info {
        &self.0.info
    }

    /// The reference always runs on the calling thread.
    fn session_in(&self, _pool: Option<&Pool>) -> std::io::Result<Box<dyn DynSession>> {
        let output = vec![0.0; self.0.info.outputs];
        Ok(Box::new(ReferenceSession { network: self.clone(), output }))
    }
}

struct ReferenceSession {
    network: Reference,
    output: Vec<f32>,
}

impl DynSession for ReferenceSession {
    fn run(&mut self, picture: &[f32]) -> Result<&[f32], RunError> {
        let answer = self.network.evaluate(picture)?;
        self.output.clear();
        self.output.extend(answer.into_iter().map(|v| v as f32));
        Ok(&self.output)
    }

    fn run_batch(&mut self, pictures: &[f32], outputs: &mut [f32]) -> Result<(), RunError> {
        let info = &self.network.0.info;
        let (input_len, output_len) = (info.input_len(), info.outputs);
        check_lengths(info, pictures, pictures.len() / input_len, outputs.len())?;
        for (picture, output) in pictures.chunks(input_len).zip(outputs.chunks_mut(output_len)) {
            output.copy_from_slice(self.run(picture)?);
        }
        Ok(())
    }
}

/// Computes nodes in their order, of which the first is the image, and gives the values of `outputs`, one
/// after the other. A value is kept as long as somebody will read it.
fn walk(
    image: &[f32],
    nodes: usize,
    reads: impl Fn(usize) -> Vec<usize>,
    outputs: Vec<usize>,
    compute: impl Fn(usize, &[&Values]) -> Values,
) -> Values {
    let mut last_reader = vec![0; nodes];
    for index in 0..nodes {
        for input in reads(index) {
            last_reader[input] = index;
        }
    }
    for &output in &outputs {
        last_reader[output] = nodes;
    }
    let mut values = vec![Values::new(); nodes];
    values[0] = image.iter().map(|&v| f64::from(v)).collect();
    for index in 1..nodes {
        let inputs = reads(index);
        let read: Vec<&Values> = inputs.iter().map(|&input| &values[input]).collect();
        values[index] = compute(index, &read);
        for input in inputs {
            if last_reader[input] == index {
                values[input] = Values::new();
            }
        }
    }
    outputs.into_iter().flat_map(|output| std::mem::take(&mut values[output])).collect()
}
