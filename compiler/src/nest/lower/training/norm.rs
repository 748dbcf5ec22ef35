//! Batch norms with the batch's statistics, and their gradients.

use resnet_runtime::kernels::{
    Activation, BLOCK, BatchParams, Call, Constant, GradientParams, GroupNormParams, MeanParams,
    PAIR_LEN, TRIPLE_LEN,
};

use super::super::Side;
use super::super::channel::{plane, plane_params};
use super::{Steps, addresses, per_block, residual_or, residual_row};
use crate::nest::{Statement, Var};
use crate::schedule::{Buffer, PICTURE, Region};
use crate::train::{NormOf, NormSlots, NormValues, SlotId, ValueId, padded};

impl Steps<'_> {
    pub(super) fn moments(&mut self, x: ValueId, y: ValueId) {
        let x = self.buffer(x);
        let loops = self.planes(&x);
        let mean = self.of_images(y, &x, BLOCK);
        let variance = mean.clone().skip(self.of.batch * x.blocks() * BLOCK);
        let sides = [plane(&x), mean, variance];
        let params = pixels_of(&x);
        let at = addresses(&sides, &loops);
        let body = vec![
            Statement::Call(Call::Mean(params), vec![at[0].clone(), at[1].clone()]),
            Statement::Call(Call::Variance(params), at),
        ];
        let doc = format!("moments of {}", x.shape);
        self.step(doc, &["x", "m", "v"], &sides, &loops, body);
    }

    pub(super) fn image_means(&mut self, x: ValueId, y: ValueId) {
        let x = self.buffer(x);
        let loops = self.planes(&x);
        let sides = [plane(&x), self.of_images(y, &x, BLOCK)];
        self.call(format!("means of {}", x.shape), Call::Mean(pixels_of(&x)), sides, &loops);
    }

    pub(super) fn magnitudes(&mut self, x: ValueId, at: usize) {
        let x = self.buffer(x);
        let answers = self.of.batch * (1 + self.of.classes());
        let y = Side::at(Region::Output, PICTURE, 0).skip(answers + at);
        let y = per_block(y, BLOCK).with(Var::Picture, x.blocks() * BLOCK);
        let (sides, loops) = ([plane(&x), y], self.planes(&x));
        self.call(
            format!("magnitudes of {}", x.shape),
            Call::Magnitude(pixels_of(&x)),
            sides,
            &loops,
        );
    }

    pub(super) fn sum_images(&mut self, p: ValueId, pixels: usize, y: ValueId) {
        let blocks = self.lanes(y);
        let params = self.batch_params(pixels, [blocks * BLOCK, 0], 0.0);
        let sides = [per_block(self.side(p), BLOCK), per_block(self.side(y), BLOCK)];
        let loops = [crate::nest::Loop { var: Var::Block, extent: blocks }];
        self.call("sum over the batch".to_owned(), Call::SumImages(params), sides, &loops);
    }

    /// Blocks of numbers, one a channel.
    fn lanes(&self, id: ValueId) -> usize {
        match self.of.tape.value(id).kind {
            crate::train::Kind::Numbers(len) => len / BLOCK,
            crate::train::Kind::Activation(_) => unreachable!("{id} is an activation"),
        }
    }

    fn batch_params(
        &self,
        pixels: usize,
        [distance, second]: [usize; 2],
        epsilon: f64,
    ) -> BatchParams {
        BatchParams {
            images: self.of.batch,
            distance,
            second,
            pixels,
            epsilon: Constant::new(epsilon as f32),
            momentum: Constant::new(self.of.descent.norm_momentum as f32),
        }
    }

    /// Numbers of each image, so many a block of `x`.
    fn of_images(&self, id: ValueId, x: &Buffer, each: usize) -> Side {
        per_block(self.side(id), each).with(Var::Picture, x.blocks() * each)
    }

    /// Mean, scale and inverse deviation: the batch's, or each image's.
    fn norm_moments(&self, of: NormValues, x: &Buffer) -> Side {
        self.triples(of.moments, of.of_images, x.blocks())
    }

    /// Three numbers a channel, of the batch or of each image.
    fn triples(&self, id: ValueId, of_images: bool, blocks: usize) -> Side {
        let side = per_block(self.side(id), TRIPLE_LEN);
        match of_images {
            true => side.with(Var::Picture, blocks * TRIPLE_LEN),
            false => side,
        }
    }

    pub(super) fn group_moments(&mut self, norm: NormSlots, group: usize, p: ValueId, y: ValueId) {
        let channels = self.of.state.slot(norm.scale).len;
        let each = padded(channels);
        let params = GroupNormParams {
            channels,
            group,
            second: self.of.batch * each,
            pixels: 0,
            epsilon: Constant::new(norm.epsilon as f32),
        };
        let of_image = |side: Side, each: usize| side.with(Var::Picture, each);
        let sides = [
            of_image(self.side(p), each),
            self.lasting(norm.scale),
            of_image(self.side(y), each / BLOCK * TRIPLE_LEN),
        ];
        let loops = [self.lowering.picture()];
        let doc = format!("moments of groups of {group}, {channels} channels");
        self.call(doc, Call::GroupMoments(params), sides, &loops);
    }

    pub(super) fn group_gradient(
        &mut self,
        moments: ValueId,
        [group, channels, pixels]: [usize; 3],
        p: ValueId,
        [w, b, y]: [ValueId; 3],
    ) {
        let epsilon = Constant::new(0.0);
        let params = GroupNormParams { channels, group, second: 0, pixels, epsilon };
        let of_image = |id: ValueId, each: usize| {
            self.side(id).with(Var::Picture, channels.div_ceil(BLOCK) * each)
        };
        let sides = [
            of_image(p, PAIR_LEN),
            of_image(moments, TRIPLE_LEN),
            of_image(w, BLOCK),
            of_image(b, BLOCK),
            of_image(y, TRIPLE_LEN),
        ];
        let loops = [self.lowering.picture()];
        let doc = format!("gradient of a norm of groups of {group}, {channels} channels");
        self.call(doc, Call::GroupGradient(params), sides, &loops);
    }

    pub(super) fn batch_moments(&mut self, norm: NormSlots, pixels: usize, p: ValueId, y: ValueId) {
        let blocks = self.of.state.slot(norm.scale).len.div_ceil(BLOCK);
        let each = blocks * BLOCK;
        let params = self.batch_params(pixels, [each, self.of.batch * each], norm.epsilon);
        let (running, params) = match norm.of {
            NormOf::Batch { running } => (running, params),
            // They are those of one image, and stay what they are.
            NormOf::Running { running } => {
                let momentum = Constant::new(0.0);
                (running, BatchParams { images: 1, distance: 0, second: each, momentum, ..params })
            }
            NormOf::Group { .. } => unreachable!("a group norm has no statistics of the batch"),
        };
        let sides = [
            per_block(self.side(p), BLOCK),
            per_block(self.lasting(norm.scale), BLOCK),
            per_block(self.lasting(running), PAIR_LEN),
            per_block(self.side(y), TRIPLE_LEN),
        ];
        let loops = [crate::nest::Loop { var: Var::Block, extent: blocks }];
        let doc = format!("moments of the batch, {pixels} pixels");
        self.call(doc, Call::BatchMoments(params), sides, &loops);
    }

    pub(super) fn normalise(
        &mut self,
        of: NormValues,
        shift: SlotId,
        residual: Option<ValueId>,
        activation: Activation,
        y: ValueId,
    ) {
        let (x, y) = (self.buffer(of.x), self.ringed(y));
        let r = residual.map(|id| self.buffer(id));
        let epilogue = self.epilogue(r.is_some(), activation);
        let r = residual_or(r.as_ref(), &y);
        let params = plane_params(&x, &epilogue, &r, &y);
        let moments = self.norm_moments(of, &x);
        let shifts = self.lasting(shift);
        let sides = [
            plane(&x),
            moments.clone(),
            moments.skip(BLOCK),
            per_block(shifts, BLOCK),
            plane(&r),
            plane(&y),
        ];
        let loops = self.planes(&x);
        let doc = format!("normalise {}, {activation}", x.shape);
        self.call(doc, Call::Normalise(params), sides, &loops);
    }

    pub(super) fn norm_sums(
        &mut self,
        of: NormValues,
        z: ValueId,
        activation: Activation,
        g: ValueId,
        s: ValueId,
        y: ValueId,
    ) {
        let (x, z, g, y) = (self.buffer(of.x), self.buffer(z), self.buffer(g), self.ringed(y));
        let params = GradientParams { activation, ..gradient_params([&x, &z, &g, &y], None) };
        let sides = [
            plane(&x),
            self.norm_moments(of, &x),
            plane(&z),
            plane(&g),
            self.of_images(s, &x, PAIR_LEN),
            plane(&y),
        ];
        let loops = self.planes(&x);
        self.call(format!("gradient and sums {}", x.shape), Call::NormSums(params), sides, &loops);
    }

    pub(super) fn batch_gradient(
        &mut self,
        moments: ValueId,
        pixels: usize,
        p: ValueId,
        [w, b, y]: [ValueId; 3],
    ) {
        let blocks = self.lanes(w);
        let params = self.batch_params(pixels, [blocks * PAIR_LEN, BLOCK], 0.0);
        let sides = [
            per_block(self.side(p), PAIR_LEN),
            per_block(self.side(moments), TRIPLE_LEN),
            per_block(self.side(w), BLOCK),
            per_block(self.side(b), BLOCK),
            per_block(self.side(y), TRIPLE_LEN),
        ];
        let loops = [crate::nest::Loop { var: Var::Block, extent: blocks }];
        let doc = format!("gradient of a norm, {pixels} pixels");
        self.call(doc, Call::BatchGradient(params), sides, &loops);
    }

    pub(super) fn norm_input(
        &mut self,
        of: NormValues,
        g: ValueId,
        c: ValueId,
        residual: Option<ValueId>,
        y: ValueId,
    ) {
        let (x, g, y) = (self.buffer(of.x), self.buffer(g), self.ringed(y));
        let r = residual.map(|id| self.buffer(id));
        let params = gradient_params([&x, &x, &g, &y], r.as_ref());
        let sides = [
            plane(&x),
            self.norm_moments(of, &x),
            plane(&g),
            self.triples(c, of.of_images, x.blocks()),
            plane(&residual_or(r.as_ref(), &y)),
            plane(&y),
        ];
        let loops = self.planes(&x);
        let doc = format!("gradient before a norm {}", x.shape);
        self.call(doc, Call::NormInput(params), sides, &loops);
    }
}

fn pixels_of(x: &Buffer) -> MeanParams {
    MeanParams { rows: x.shape.height, columns: x.shape.width, x_row: x.row_len() }
}

/// The planes of a gradient, without an activation.
pub(super) fn gradient_params(
    [x, z, g, y]: [&Buffer; 4],
    residual: Option<&Buffer>,
) -> GradientParams {
    GradientParams {
        rows: x.shape.height,
        columns: x.shape.width,
        x_row: x.row_len(),
        z_row: z.row_len(),
        g_row: g.row_len(),
        r_row: residual_row(residual),
        y_row: y.row_len(),
        activation: Activation::None,
        residual: residual.is_some(),
    }
}
