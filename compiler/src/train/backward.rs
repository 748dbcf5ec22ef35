//! The gradients, from the last operator to the first, and the steps of descent.
//!
//! What several operators read has the sum of what each of them hands back: the later ones add to what the earlier ones
//! made, as residuals, where they make their own.

use std::collections::HashMap;

use resnet_runtime::kernels::{Activation, BLOCK, PAIR_LEN, TRIPLE_LEN};

use super::algorithms::{POINTS, Products, panels};
use super::forward::{Forward, Packing, shift};
use super::record::{ConvRecord, Record};
use super::remade::{Remade, remade};
use super::state::{NormOf, NormSlots, SlotId, padded};
use super::tape::{Filters, Gradient, Kind, NormValues, Op, Reached, Source, ValueId};
use super::{Descent, TableError};
use crate::geometry::Padding;
use crate::graph::{Extent, PoolKind, Shape, Window};
use crate::schedule::Layout;

pub(super) struct Backward<'a> {
    forward: Forward<'a>,
    batch: usize,
    /// Whether gradients are measured.
    measures: bool,
    images: ValueId,
    /// The gradient of each value, as far as it is there.
    gradients: HashMap<ValueId, ValueId>,
    /// The values that are not kept.
    remade: Remade,
    /// What these were made again as, as far as it is there.
    again: HashMap<ValueId, ValueId>,
}

impl<'a> Backward<'a> {
    /// Adds the way back to the way forward.
    pub(super) fn build(
        mut forward: Forward<'a>,
        logits: ValueId,
        batch: usize,
        descent: &Descent,
    ) -> Result<Forward<'a>, TableError> {
        let records = std::mem::take(&mut forward.records);
        let remade = remade(&forward, &records, descent.recompute);
        let mut backward = Self {
            forward,
            batch,
            measures: descent.magnitudes,
            images: ValueId::at(0),
            gradients: HashMap::new(),
            remade,
            again: HashMap::new(),
        };
        let y = backward.like("loss", logits);
        backward.push("loss", Op::CrossEntropy { x: logits, y });
        backward.gradients.insert(logits, y);
        for (name, record) in records.iter().rev() {
            backward.record(name, record)?;
        }
        Ok(backward.forward)
    }

    fn push(&mut self, name: &str, op: Op) {
        self.forward.tape.push(name, op);
    }

    fn shape(&self, value: ValueId) -> Shape {
        self.forward.tape.shape(value)
    }

    /// A new value of the shape of another one.
    fn like(&mut self, name: &str, value: ValueId) -> ValueId {
        let kind = self.forward.tape.value(value).kind;
        self.forward.tape.add(format!("{name}.gradient"), kind)
    }

    fn numbers(&mut self, name: &str, what: &str, len: usize) -> ValueId {
        self.forward.tape.add(format!("{name}.{what}"), Kind::Numbers(len))
    }

    /// A value, where it is wanted with the gradient `after`: itself, or what it is made again as.
    fn again(&mut self, value: ValueId, after: ValueId) -> ValueId {
        if let Some(&again) = self.again.get(&value) {
            return again;
        }
        let Some((name, record)) = self.remade.get(&value).cloned() else { return value };
        let tape = &mut self.forward.tape;
        let y = tape.add(format!("{name}.again"), tape.value(value).kind);
        match record {
            Record::Conv(conv) => {
                let x = self.again(conv.x, after);
                self.forward.tape.after = Some(after);
                self.forward.run(&name, &conv, x, y);
            }
            Record::Norm { of, slots, activation, .. } => {
                let of = self.norm_again(of, after);
                self.forward.tape.after = Some(after);
                let shift = slots.shift;
                self.push(&name, Op::Normalise { of, shift, residual: None, activation, y });
            }
            _ => unreachable!("convolutions and norms alone are made again"),
        }
        self.forward.tape.after = None;
        self.again.insert(value, y);
        y
    }

    /// What a norm normalises, where it is wanted with the gradient `after`.
    fn norm_again(&mut self, of: NormValues, after: ValueId) -> NormValues {
        NormValues { x: self.again(of.x, after), ..of }
    }

    /// Hands a value a part of its gradient: `make` writes it to a new value, and adds what is there already.
    fn hand(
        &mut self,
        name: &str,
        value: ValueId,
        make: impl FnOnce(&mut Self, Option<ValueId>, ValueId) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        if value == self.images {
            return Ok(());
        }
        let residual = self.gradients.get(&value).copied();
        let y = self.like(name, value);
        make(self, residual, y)?;
        self.gradients.insert(value, y);
        Ok(())
    }

    /// Hands a value a gradient that is there.
    fn hand_on(&mut self, name: &str, value: ValueId, gradient: ValueId) -> Result<(), TableError> {
        if !self.gradients.contains_key(&value) && value != self.images {
            self.gradients.insert(value, gradient);
            return Ok(());
        }
        let activation = Activation::None;
        self.hand_by(name, value, |residual, y| Op::Add { x: gradient, residual, activation, y })
    }

    /// Hands a value the part of its gradient that one operator makes.
    fn hand_by(
        &mut self,
        name: &str,
        value: ValueId,
        op: impl FnOnce(Option<ValueId>, ValueId) -> Op,
    ) -> Result<(), TableError> {
        self.hand(name, value, |own, residual, y| {
            own.push(name, op(residual, y));
            Ok(())
        })
    }

    /// Hands what an operator read its part, if anything has come of what it made.
    fn record(&mut self, name: &str, record: &Record) -> Result<(), TableError> {
        let Some(g) = self.gradients.remove(&record.made()) else { return Ok(()) };
        match *record {
            Record::Conv(ref conv) => self.conv(name, conv, g),
            Record::Norm { of, slots, pixels, residual, activation, z } => {
                self.norm(name, (of, slots, pixels), residual, (z, activation), g)
            }
            Record::Add { x, residual, activation, z } => {
                self.add(name, [Some(x), residual], (x, z, activation), g)
            }
            Record::Pool { pool, x: value, z } => {
                // An average does not ask what was averaged.
                let (x, z) =
                    if pool.kind == PoolKind::Max { (self.again(value, g), z) } else { (g, g) };
                self.hand_by(name, value, |residual, y| Op::PoolGradient {
                    pool,
                    x,
                    z,
                    g,
                    residual,
                    y,
                })
            }
            Record::Mean { x, .. } => {
                self.hand_by(name, x, |residual, y| Op::Spread { x: g, residual, y })
            }
            Record::ZeroPad { stride, before: skipped, x, .. } => {
                self.hand_by(name, x, |residual, y| Op::Shift {
                    stride,
                    skipped,
                    before: 0,
                    x: g,
                    residual,
                    y,
                })
            }
            Record::Blur { window, x, .. } => {
                self.hand_by(name, x, |residual, y| Op::BlurGradient { window, g, residual, y })
            }
            Record::Gate { x, gates, .. } => self.gate(name, x, gates, g),
            Record::ChannelConv { kernel, weight, x, .. } => {
                self.channel_conv(name, (kernel, weight), x, g)
            }
            Record::Slice { first, x, .. } => {
                self.hand_by(name, x, |residual, y| shift([0, first], g, residual, y))
            }
            Record::Concat { ref inputs, .. } => {
                let mut first = 0;
                for &x in inputs {
                    self.hand_by(name, x, |residual, y| shift([first, 0], g, residual, y))?;
                    first += self.shape(x).channels;
                }
                Ok(())
            }
        }
    }

    fn add(
        &mut self,
        name: &str,
        inputs: [Option<ValueId>; 2],
        (x, z, activation): (ValueId, ValueId, Activation),
        mut g: ValueId,
    ) -> Result<(), TableError> {
        if activation != Activation::None {
            let y = self.like(name, z);
            let z = self.again(if activation.keeps_input() { x } else { z }, g);
            self.push(name, Op::Mask { z, activation, g, y });
            g = y;
        }
        for value in inputs.into_iter().flatten() {
            self.hand_on(name, value, g)?;
        }
        Ok(())
    }

    fn gate(
        &mut self,
        name: &str,
        x: ValueId,
        gates: ValueId,
        g: ValueId,
    ) -> Result<(), TableError> {
        let y = self.like(&format!("{name}.gates"), gates);
        let own = self.again(x, g);
        self.push(name, Op::GateGradient { x: own, gates, g, y });
        self.hand_on(name, gates, y)?;
        self.hand_by(name, x, |residual, y| Op::Gate { x: g, gates, residual, y })
    }

    fn channel_conv(
        &mut self,
        name: &str,
        (kernel, weight): (usize, SlotId),
        x: ValueId,
        g: ValueId,
    ) -> Result<(), TableError> {
        let table = self.forward.state.line(kernel, true);
        let w = self.forward.pack(name, "turned", Source::Slot(weight), table);
        let y = self.like(name, x);
        self.push(name, Op::ChannelConv { kernel, x: g, w, y });
        self.hand_on(name, x, y)?;
        let y = self.numbers(name, "weight_gradient", padded(kernel));
        let x = self.again(x, g);
        self.push(name, Op::ChannelConvGradient { kernel, x, g, y });
        self.descend(name, y, weight);
        Ok(())
    }

    fn norm(
        &mut self,
        name: &str,
        (of, slots, pixels): (NormValues, NormSlots, usize),
        residual: Option<ValueId>,
        (z, activation): (ValueId, Activation),
        g: ValueId,
    ) -> Result<(), TableError> {
        let channels = self.shape(z).channels;
        let blocks = channels.div_ceil(BLOCK);
        let s = self.numbers(name, "sums", self.batch * blocks * PAIR_LEN);
        let masked = self.like(name, z);
        let (value, of) = (of.x, self.norm_again(of, g));
        // Without an activation nobody asks what came of it.
        let z = if activation == Activation::None { of.x } else { self.again(z, g) };
        self.push(name, Op::NormSums { of, z, activation, g, s, y: masked });
        let (moments, p) = (of.moments, s);
        let [w, b, c] = match slots.of {
            NormOf::Batch { .. } | NormOf::Running { .. } => {
                let w = self.numbers(name, "scale.gradient", padded(channels));
                let b = self.numbers(name, "shift.gradient", padded(channels));
                let y = self.numbers(name, "coefficients", blocks * TRIPLE_LEN);
                self.push(name, Op::BatchGradient { moments, pixels, p, w, b, y });
                let fixed = matches!(slots.of, NormOf::Running { .. });
                [w, b, if fixed { self.scales(name, moments, blocks) } else { y }]
            }
            NormOf::Group { channels: group } => {
                let each = self.batch * padded(channels);
                let w = self.numbers(name, "scales_of_images", each);
                let b = self.numbers(name, "shifts_of_images", each);
                let y = self.numbers(name, "coefficients", self.batch * blocks * TRIPLE_LEN);
                let op = Op::GroupGradient { moments, group, channels, pixels, p, w, b, y };
                self.push(name, op);
                let w = self.sum_images(name, "scale.gradient", w, 1, channels);
                let b = self.sum_images(name, "shift.gradient", b, 1, channels);
                [w, b, y]
            }
        };
        self.hand_by(name, value, |residual, y| Op::NormInput { of, g: masked, c, residual, y })?;
        if let Some(residual) = residual {
            self.hand_on(name, residual, masked)?;
        }
        self.descend(name, w, slots.scale);
        self.descend(name, b, slots.shift);
        Ok(())
    }

    /// The coefficients of a norm's input's gradient, where the statistics do not depend on it.
    fn scales(&mut self, name: &str, moments: ValueId, blocks: usize) -> ValueId {
        let table = self.forward.state.scales(blocks);
        let from = Source::Value { value: moments, parts: 1, distance: 0 };
        self.forward.pack(name, "scales", from, table)
    }

    /// The sum over the batch of what are means over `pixels` of each image.
    fn sum_images(
        &mut self,
        name: &str,
        what: &str,
        p: ValueId,
        pixels: usize,
        channels: usize,
    ) -> ValueId {
        let y = self.numbers(name, what, padded(channels));
        self.push(name, Op::SumImages { p, pixels, y });
        y
    }

    fn descend(&mut self, name: &str, g: ValueId, slot: SlotId) {
        if !self.forward.state.is_frozen(slot) {
            self.push(name, Op::Sgd { g, slot });
        }
    }

    fn conv(&mut self, name: &str, record: &ConvRecord, d: ValueId) -> Result<(), TableError> {
        let ConvRecord { gradient: of, products, x, .. } = *record;
        if self.measures {
            self.measure(name, record.weight, d);
        }
        // With the weights as they were.
        self.hand(name, x, |own, residual, y| own.input_gradient(name, record, d, residual, y))?;
        let x = self.again(x, d);
        let weights = of.panels.weights_len();
        let sums = of.parts * weights / of.panels.shape.kernel_len() * POINTS;
        let (packed, parts) = match products {
            Products::Pixels => {
                let packed = self.numbers(name, "packed_gradient", of.parts * weights);
                self.push(name, Op::ConvGradient { of, x, d, y: packed });
                (packed, of.parts)
            }
            Products::Bands(bands) => {
                let y = self.numbers(name, "products", sums);
                self.push(name, Op::PointsGradient { of, bands, x, d, y });
                (self.weights_of_points(name, of, y), 1)
            }
            Products::Batch(bands) => {
                let blocks = [x, d].map(|id| self.shape(id).channels.div_ceil(BLOCK));
                let [x_points, d_points] =
                    blocks.map(|blocks| self.numbers(name, "all_points", bands.len(blocks)));
                let output = self.shape(d);
                self.push(name, Op::InputPoints { of, bands, output, x, y: x_points });
                self.push(name, Op::GradientPoints { bands, x: d, y: d_points });
                let y = self.numbers(name, "products", sums);
                let [x, d] = [x_points, d_points];
                self.push(name, Op::PointsProducts { of, bands, blocks, x, d, y });
                (self.weights_of_points(name, of, y), 1)
            }
        };
        let slot_len = self.forward.state.slot(record.weight).len;
        let table = self.forward.state.unpacking(record.packing, slot_len, weights);
        let mut y = self.numbers(name, "weight_gradient", padded(slot_len));
        let from = Source::Value { value: packed, parts, distance: weights };
        self.push(name, Op::Gather { from, table, y, at: 0 });
        if let Some(epsilon) = record.standardise {
            let channels = self.shape(d).channels;
            let (weights, g) = (Filters { slot: record.weight, channels, epsilon }, y);
            y = self.numbers(name, "stored_gradient", padded(slot_len));
            self.push(name, Op::StandardiseGradient { weights, g, y });
        }
        self.descend(name, y, record.weight);
        if let Some(bias) = record.bias {
            let channels = self.shape(d).channels;
            let pixels = self.shape(d).pixels();
            let p = self.numbers(name, "of_images", self.batch * padded(channels));
            self.push(name, Op::ImageMeans { x: d, y: p });
            let y = self.sum_images(name, "bias.gradient", p, pixels, channels);
            self.descend(name, y, bias);
        }
        Ok(())
    }

    /// Measures the gradient that reaches a layer's output.
    fn measure(&mut self, name: &str, weight: SlotId, d: ValueId) {
        let (shape, batch) = (self.shape(d), self.batch);
        let tape = &mut self.forward.tape;
        let at = tape.reached_len;
        tape.reached_len += batch * padded(shape.channels);
        tape.reached.push(Reached { layer: name.to_owned(), weight, shape, at });
        self.push(name, Op::Magnitudes { x: d, at });
    }

    /// The gradient of packed weights, of the sums of products of points.
    fn weights_of_points(&mut self, name: &str, of: Gradient, x: ValueId) -> ValueId {
        let y = self.numbers(name, "packed_gradient", of.panels.weights_len());
        self.push(name, Op::WeightsOfPoints { of, x, y });
        y
    }

    /// The gradient of a convolution's input is a convolution of its output's: with zeros between the pixels
    /// that its stride left out, with the kernels turned round, and padded by what they reach beyond.
    fn input_gradient(
        &mut self,
        name: &str,
        record: &ConvRecord,
        d: ValueId,
        residual: Option<ValueId>,
        y: ValueId,
    ) -> Result<(), TableError> {
        let window = record.gradient.window;
        let (input, output) = (self.shape(record.x), self.shape(d));
        let one = Extent::square(1);
        let pointwise = window.kernel == one && window.padding == Padding::NONE;
        if window.stride != one && pointwise {
            // Few pixels are convolved, then spread.
            let few = Shape { channels: input.channels, ..output };
            let small = self.forward.tape.add(format!("{name}.small"), Kind::Activation(few));
            self.flipped(name, record, Window { stride: one, ..window }, d, None, small)?;
            let (stride, skipped) = (window.stride, Extent::square(0));
            self.push(name, Op::Dilate { stride, skipped, x: small, residual, y });
            return Ok(());
        }
        let reach = |kernel: usize, dilation: usize| (kernel - 1) * dilation;
        let reach = Extent::new(
            reach(window.kernel.rows, window.dilation.rows),
            reach(window.kernel.columns, window.dilation.columns),
        );
        let Padding { before: above, after: below } = window.padding;
        let (before, after) = (reach.without(above), reach.without(below));
        // Where padding is wider than what the kernel reaches, the output's first and last pixels saw zeros alone.
        let skipped = above.without(reach);
        // As many pixels as a stride of one would have made.
        let wide = Shape {
            channels: output.channels,
            height: input.height + reach.rows - before.rows - after.rows,
            width: input.width + reach.columns - before.columns - after.columns,
        };
        let mut d = d;
        if wide != output || skipped != Extent::square(0) || window.stride != one {
            let dilated = self.forward.tape.add(format!("{name}.dilated"), Kind::Activation(wide));
            let stride = window.stride;
            self.push(name, Op::Dilate { stride, skipped, x: d, residual: None, y: dilated });
            d = dilated;
        }
        let window = Window { stride: one, padding: Padding { before, after }, ..window };
        self.flipped(name, record, window, d, residual, y)
    }

    /// A convolution with a layer's weights turned round.
    fn flipped(
        &mut self,
        name: &str,
        record: &ConvRecord,
        window: Window,
        d: ValueId,
        residual: Option<ValueId>,
        y: ValueId,
    ) -> Result<(), TableError> {
        let panels = panels(window, record.groups, Layout::Blocked, self.shape(d), self.shape(y));
        let table = self.forward.state.flipping(&panels)?;
        let (slot, channels) = (record.weight, self.shape(d).channels);
        let from = self.forward.weights(name, slot, None, record.standardise, channels);
        let weights = Packing { from, table, bias: false };
        self.forward.convolve(name, weights, (window, panels), d, residual, y);
        Ok(())
    }
}
