//! Norms.

use resnet_runtime::weights::{Init, NormTensors};

use crate::diagnostics::{Diagnostic, Spanned};
use crate::graph::build::Builder;
use crate::graph::{GroupNorm, NodeId, Op};
use crate::spec::Norm;

impl Builder<'_> {
    /// `ends_residual`: random scales are small at the end of a main path, so that activations stay
    /// finite through hundreds of additions.
    pub(super) fn norm(
        &mut self,
        norm: Spanned<Norm>,
        name: String,
        input: NodeId,
        prefix: &str,
        ends_residual: bool,
    ) -> Option<NodeId> {
        let scale = if ends_residual { Init::Uniform(0.1, 0.3) } else { Init::Uniform(0.8, 1.2) };
        match norm.value {
            Norm::Batch => self.batch_norm(name, input, prefix, scale),
            Norm::Group { groups } => {
                let groups = Spanned::new(groups, norm.span);
                self.group_norm(groups, name, input, prefix, scale)
            }
        }
    }

    fn group_norm(
        &mut self,
        groups: Spanned<usize>,
        name: String,
        input: NodeId,
        prefix: &str,
        scale: Init,
    ) -> Option<NodeId> {
        let shape = self.shape(input);
        let (channels, Spanned { value: groups, span }) = (shape.channels, groups);
        if channels % groups != 0 {
            let message = format!("{name}: {groups} groups do not divide {channels} channels");
            let most = (1..=groups).rev().find(|groups| channels % groups == 0).unwrap_or(1);
            self.errors.push(
                Diagnostic::new(span, message)
                    .note(format!("{channels} / {groups} leaves {}", channels % groups))
                    .help(format!("write `norm: {{groups: {most}}}`, or choose other channels")),
            );
            return None;
        }
        let (weight, bias) = (format!("{prefix}.weight"), format!("{prefix}.bias"));
        self.tensor(&weight, vec![channels], scale)?;
        self.tensor(&bias, vec![channels], Init::Uniform(-0.2, 0.2))?;
        let norm = GroupNorm { groups, weight, bias, epsilon: self.spec.norm_epsilon };
        self.push(name, Op::GroupNorm(norm), vec![input], shape)
    }

    fn batch_norm(
        &mut self,
        name: String,
        input: NodeId,
        prefix: &str,
        scale: Init,
    ) -> Option<NodeId> {
        let shape = self.shape(input);
        let names = NormTensors {
            weight: format!("{prefix}.weight").into(),
            bias: format!("{prefix}.bias").into(),
            mean: format!("{prefix}.running_mean").into(),
            variance: format!("{prefix}.running_var").into(),
            epsilon: self.spec.norm_epsilon,
        };
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
