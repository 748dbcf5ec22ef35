//! Norms.

use resnet_runtime::tensors::{Init, NormTensors};

use crate::graph::build::Builder;
use crate::graph::{NodeId, Op};

impl Builder<'_> {
    /// `ends_residual`: random scales are small at the end of a main path, so that activations stay
    /// finite through hundreds of additions.
    pub(super) fn batch_norm(
        &mut self,
        name: String,
        input: NodeId,
        prefix: &str,
        ends_residual: bool,
    ) -> Option<NodeId> {
        let shape = self.shape(input);
        let names = NormTensors {
            weight: format!("{prefix}.weight"),
            bias: format!("{prefix}.bias"),
            mean: format!("{prefix}.running_mean"),
            variance: format!("{prefix}.running_var"),
            epsilon: self.spec.norm_epsilon,
        };
        let scale = if ends_residual { Init::Uniform(0.1, 0.3) } else { Init::Uniform(0.8, 1.2) };
        for (name, init) in [
            (&names.weight, scale),
            (&names.bias, Init::Uniform(-0.2, 0.2)),
            (&names.mean, Init::Uniform(-0.2, 0.2)),
            (&names.variance, Init::Uniform(0.5, 1.5)),
        ] {
            self.tensor(name, vec![shape.channels], init)?;
        }
        self.push(name, Op::BatchNorm(names), vec![input], shape)
    }
}
