//! Group norm: means, variances and the normalisation of a few channel blocks at a time, whose planes
//! are then still in the cache.

use resnet_runtime::kernels::{BLOCK, Call, Constant, Element, GroupParams, MeanParams};

use super::channel::{epilogue_doc, plane_params};
use super::{Layer, Lowering, Side, nested, of_reals, real_loops};
use crate::graph::Extent;
use crate::nest::{Function, Loop, Statement, Var};
use crate::schedule::{Buffer, Region, STATISTIC};

/// What is decided about a group norm.
pub(super) struct Groups {
    /// Channels of a group.
    pub(super) group: usize,
    pub(super) epsilon: f64,
    /// Where the scales begin in the packed weights; the shifts follow.
    pub(super) weights: usize,
    /// Channel blocks that are normalised together.
    pub(super) blocks: usize,
}

impl Lowering {
    pub(super) fn group_norm(&mut self, layer: &Layer<'_>, groups: &Groups) {
        let Layer { input: x, output: y, .. } = *layer;
        let &Groups { group, epsilon, weights, blocks } = groups;
        let r = self.residual(layer);
        let parallel = [self.picture(), Loop { var: Var::Group, extent: x.blocks() / blocks }];
        let block = [Loop { var: Var::Block, extent: blocks }];
        let all = [&parallel[..], &block].concat();

        let plane = |buffer: &Buffer| {
            let side = Side::new(buffer, Extent::square(0), buffer.block_len());
            side.with(Var::Group, blocks * buffer.block_len())
        };
        let of_channels = |start| {
            Side::weights(Element::F32, start)
                .with(Var::Block, BLOCK)
                .with(Var::Group, blocks * BLOCK)
        };
        // What one iteration knows of its channels: their means, then variances, then scales.
        let own =
            |skipped| Side::at(Region::Scratch, STATISTIC, 0).skip(skipped).with(Var::Block, BLOCK);
        let shifts = weights + x.blocks() * BLOCK * Element::F32.bytes();
        let sides = [plane(x), of_channels(weights), of_channels(shifts), plane(&r), plane(y)];
        let [means, scales] = [own(0), own(blocks * BLOCK)];

        let groups = |epsilon| GroupParams {
            channels: (blocks * BLOCK).min(x.shape.channels),
            group,
            epsilon,
        };
        let pixels =
            MeanParams { rows: x.shape.height, columns: x.shape.width, x_row: x.row_len() };
        let mean_of = of_reals(x, [Call::Mean, Call::MeanBf16])(pixels);
        let variance_of = of_reals(x, [Call::Variance, Call::VarianceBf16])(pixels);
        let pass = plane_params(x, layer.epilogue, &r, y);
        let at = |operand: usize, loops: &[Loop]| sides[operand].address(operand, loops);
        let temporary = |side: &Side, loops: &[Loop]| side.address(0, loops);
        let each = |call, addresses| nested(&block, vec![Statement::Call(call, addresses)]);
        let (mean, scale) = (temporary(&means, &all), temporary(&scales, &all));
        let (mean_of_all, scale_of_all) =
            (temporary(&means, &parallel), temporary(&scales, &parallel));
        let epsilon = Constant::new(epsilon as f32);
        let body = [
            each(mean_of, vec![at(0, &all), mean.clone()]),
            vec![Statement::Call(
                Call::GroupMean(groups(Constant::new(0.0))),
                vec![mean_of_all.clone(), mean_of_all],
            )],
            each(variance_of, vec![at(0, &all), mean.clone(), scale.clone()]),
            vec![Statement::Call(
                Call::GroupScale(groups(epsilon)),
                vec![scale_of_all.clone(), at(1, &parallel), scale_of_all],
            )],
            each(
                Call::Normalise(pass),
                vec![at(0, &all), mean, scale, at(2, &all), at(3, &all), at(4, &all)],
            ),
        ];
        let epilogue = epilogue_doc(layer.epilogue);
        let doc = format!("group norm of {group} channels, {}{epilogue}", x.shape);
        let function = Function {
            doc,
            operands: vec!["x", "w", "b", "r", "y"],
            parallel: real_loops(&parallel),
            body: body.concat(),
        };
        self.step(layer.main(), function, sides.iter().map(|side| side.place).collect());
    }
}
