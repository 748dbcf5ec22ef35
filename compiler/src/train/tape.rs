//! The step as a straight line of operators over values, each of which is written once: the network forward, the loss,
//! the gradients from the last operator to the first, and the step of descent of each tensor as soon as its gradient
//! is there.

use std::ops::Range;

use resnet_runtime::kernels::{Activation, Panels};

use super::algorithms::Bands;
use super::state::{NormSlots, SlotId, TableId};
use crate::entity::entity;
use crate::graph::{Extent, Pooling, Shape, Window};
use crate::schedule::{Layout, Order, Winograd};

entity! {
    /// A value of a [`Tape`], by its position in [`Tape::values`].
    pub(crate) ValueId, "t"
}

entity! {
    /// A convolution of a [`Tape`], by its position in [`Tape::convs`].
    pub(crate) ConvId, "c"
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// An activation, or its gradient, of each image of the batch.
    Activation(Shape),
    /// So many numbers: statistics, packed weights, gradients of weights.
    Numbers(usize),
}

/// A value that a step writes and reads, and forgets.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// A convolution in one of its directions: forward, or, with flipped weights, that which makes its input's gradient.
#[derive(Clone, Debug)]
pub(crate) struct Conv {
    pub(crate) window: Window,
    /// Its weights, as they are packed for it.
    pub(crate) panels: Panels,
    pub(crate) order: Order,
    /// By Winograd's F(4x4, 3x3), if it is.
    pub(crate) winograd: Option<Winograd>,
}

/// What a gradient of weights is of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gradient {
    pub(crate) window: Window,
    /// The weights as they are packed for a direct convolution.
    pub(crate) panels: Panels,
    /// Parts of the batch, of as many images, that are summed apart.
    pub(crate) parts: usize,
    /// Whether it is so small that it is summed image by image, while that is in cache.
    pub(crate) by_image: bool,
}

/// Where the numbers of a gather come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// The lasting tensors, from a slot on.
    Slot(SlotId),
    /// A value: the sum of so many arrays, so far apart.
    Value { value: ValueId, parts: usize, distance: usize },
}

/// What a norm normalises, and by what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormValues {
    /// The norm's input.
    pub(crate) x: ValueId,
    /// Mean, scale and inverse deviation of each channel, [`TRIPLE_LEN`](resnet_runtime::kernels::TRIPLE_LEN) a block.
    pub(crate) moments: ValueId,
    /// Whether each image has its own.
    pub(crate) of_images: bool,
}

/// Weights that are standardised, each output channel's apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filters {
    pub(crate) slot: SlotId,
    /// Output channels.
    pub(crate) channels: usize,
    pub(crate) epsilon: f64,
}

/// An operator of the tape.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// The images, blocked.
    Images { y: ValueId },
    /// Numbers by a table of indices.
    ///
    /// They begin at element `at` of `y`.
    Gather { from: Source, table: TableId, y: ValueId, at: usize },
    /// Packed weights `x` into the points that a Winograd convolution is packed of.
    Points { conv: ConvId, x: ValueId, y: ValueId },
    /// A convolution, in either direction. The points of all its inputs are there at once where panels of weights pass
    /// over them.
    Conv {
        conv: ConvId,
        x: ValueId,
        w: ValueId,
        points: Option<ValueId>,
        residual: Option<ValueId>,
        y: ValueId,
    },
    /// The gradient of a convolution's weights, a sum for each part of the batch.
    ConvGradient { of: Gradient, x: ValueId, d: ValueId, y: ValueId },
    /// The same by the points of F(4x4, 3x3): sums of their products.
    PointsGradient { of: Gradient, bands: Bands, x: ValueId, d: ValueId, y: ValueId },
    /// The points of all tiles of a convolution's input.
    InputPoints { of: Gradient, bands: Bands, output: Shape, x: ValueId, y: ValueId },
    /// The points of all tiles of its output's gradient.
    GradientPoints { bands: Bands, x: ValueId, y: ValueId },
    /// The sums of their products; the number of blocks of both.
    PointsProducts {
        of: Gradient,
        bands: Bands,
        blocks: [usize; 2],
        x: ValueId,
        d: ValueId,
        y: ValueId,
    },
    /// What the sums of all parts come to, as packed weights lie.
    WeightsOfPoints { of: Gradient, x: ValueId, y: ValueId },
    /// The mean and, squared, the distance from it of each image's channels.
    Moments { x: ValueId, y: ValueId },
    /// Those of the batch.
    BatchMoments { norm: NormSlots, pixels: usize, p: ValueId, y: ValueId },
    /// The moments of each image's groups of channels, from those of its channels.
    GroupMoments { norm: NormSlots, group: usize, p: ValueId, y: ValueId },
    /// A norm, with what follows it.
    Normalise {
        of: NormValues,
        shift: SlotId,
        residual: Option<ValueId>,
        activation: Activation,
        y: ValueId,
    },
    /// The sum of two values, or one of them, and an activation.
    Add { x: ValueId, residual: Option<ValueId>, activation: Activation, y: ValueId },
    /// A pool.
    Pool { pool: Pooling, x: ValueId, y: ValueId },
    /// The mean of all pixels.
    Mean { x: ValueId, y: ValueId },
    /// A zero-padding shortcut.
    ZeroPad { stride: Extent, before: usize, x: ValueId, y: ValueId },
    /// A blur.
    Blur { window: Window, x: ValueId, y: ValueId },
    /// The sigmoid of `gates` times `x`: forward, or, of the output's gradient, that of what is gated.
    Gate { x: ValueId, gates: ValueId, residual: Option<ValueId>, y: ValueId },
    /// A convolution along the channels of one pixel, with packed weights: forward, or, of the output's gradient and with
    /// turned weights, that of the input.
    ChannelConv { kernel: usize, x: ValueId, w: ValueId, y: ValueId },
    /// Standardised weights; what lies behind them, a bias, as it is.
    Standardise { weights: Filters, y: ValueId },
    /// The logits to the caller.
    Logits { x: ValueId },
    /// The losses to the caller, and the gradient of the logits.
    CrossEntropy { x: ValueId, y: ValueId },
    /// The gradient before an activation, and its sums for a norm.
    NormSums {
        of: NormValues,
        z: ValueId,
        activation: Activation,
        g: ValueId,
        s: ValueId,
        y: ValueId,
    },
    /// The gradients of a batch norm's scales and shifts, and the coefficients of its input's.
    BatchGradient {
        moments: ValueId,
        pixels: usize,
        p: ValueId,
        w: ValueId,
        b: ValueId,
        y: ValueId,
    },
    /// Each image's part of the gradients of a group norm's scales and shifts, and the coefficients of its input's.
    GroupGradient {
        moments: ValueId,
        group: usize,
        channels: usize,
        pixels: usize,
        p: ValueId,
        w: ValueId,
        b: ValueId,
        y: ValueId,
    },
    /// The gradient of a norm's input.
    NormInput { of: NormValues, g: ValueId, c: ValueId, residual: Option<ValueId>, y: ValueId },
    /// The gradient before an activation.
    Mask { z: ValueId, activation: Activation, g: ValueId, y: ValueId },
    /// The gradient before a mean of all pixels.
    Spread { x: ValueId, residual: Option<ValueId>, y: ValueId },
    /// Zeros between pixels, without the first of the rows and columns.
    Dilate { stride: Extent, skipped: Extent, x: ValueId, residual: Option<ValueId>, y: ValueId },
    /// The channels of `x` from `skipped` on, behind `before` zeros, with zeros between pixels.
    Shift {
        stride: Extent,
        skipped: usize,
        before: usize,
        x: ValueId,
        residual: Option<ValueId>,
        y: ValueId,
    },
    /// The gradient before a pool, whose input `x` and output `z` were.
    PoolGradient {
        pool: Pooling,
        x: ValueId,
        z: ValueId,
        g: ValueId,
        residual: Option<ValueId>,
        y: ValueId,
    },
    /// The gradient before a blur.
    BlurGradient { window: Window, g: ValueId, residual: Option<ValueId>, y: ValueId },
    /// The gradient of gates.
    GateGradient { x: ValueId, gates: ValueId, g: ValueId, y: ValueId },
    /// The gradient of the weights of a convolution along the channels.
    ChannelConvGradient { kernel: usize, x: ValueId, g: ValueId, y: ValueId },
    /// The gradient of weights, of that of the standardised ones.
    StandardiseGradient { weights: Filters, g: ValueId, y: ValueId },
    /// The mean of each image's pixels, one number a channel.
    ImageMeans { x: ValueId, y: ValueId },
    /// The sum over the batch of what are means over `pixels`.
    SumImages { p: ValueId, pixels: usize, y: ValueId },
    /// How large each channel of each image is, to the caller: the root of its mean square. The numbers begin at element
    /// `at` of those of all that are [`reached`](Tape::reached).
    Magnitudes { x: ValueId, at: usize },
    /// A step of descent.
    Sgd { g: ValueId, slot: SlotId },
}

/// The values of an operator.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uses {
    pub(crate) reads: Vec<ValueId>,
    pub(crate) writes: Vec<ValueId>,
    /// What is written may be in the place of what is read, each element after it was read.
    pub(crate) over: Option<(ValueId, ValueId)>,
}

impl Op {
    /// What it reads and writes.
    pub(crate) fn uses(&self) -> Uses {
        let uses = |reads: &[ValueId], writes: &[ValueId]| Uses {
            reads: reads.to_vec(),
            writes: writes.to_vec(),
            over: None,
        };
        let with = |reads: &[ValueId], residual: Option<ValueId>, y: ValueId| Uses {
            reads: reads.iter().copied().chain(residual).collect(),
            writes: vec![y],
            over: residual.map(|r| (y, r)),
        };
        match *self {
            Self::Images { y } => uses(&[], &[y]),
            Self::Gather { from: Source::Slot(_), y, .. } => uses(&[], &[y]),
            Self::Gather { from: Source::Value { value, .. }, y, .. } => uses(&[value], &[y]),
            Self::Points { x, y, .. } | Self::WeightsOfPoints { x, y, .. } => uses(&[x], &[y]),
            Self::Conv { x, w, points, residual, y, .. } => {
                let mut all = with(&[x, w], residual, y);
                all.writes.extend(points);
                all
            }
            Self::ConvGradient { x, d, y, .. }
            | Self::PointsGradient { x, d, y, .. }
            | Self::PointsProducts { x, d, y, .. } => uses(&[x, d], &[y]),
            Self::InputPoints { x, y, .. } | Self::GradientPoints { x, y, .. } => uses(&[x], &[y]),
            Self::Moments { x, y } | Self::ImageMeans { x, y } => uses(&[x], &[y]),
            Self::BatchMoments { p, y, .. }
            | Self::GroupMoments { p, y, .. }
            | Self::SumImages { p, y, .. } => uses(&[p], &[y]),
            Self::Blur { x, y, .. } => uses(&[x], &[y]),
            Self::Gate { x, gates, residual, y } => with(&[x, gates], residual, y),
            Self::ChannelConv { x, w, y, .. } => uses(&[x, w], &[y]),
            Self::Standardise { y, .. } => uses(&[], &[y]),
            Self::Normalise { of, residual, y, .. } => with(&[of.x, of.moments], residual, y),
            Self::Add { x, residual, y, .. } => with(&[x], residual, y),
            Self::Pool { x, y, .. } | Self::Mean { x, y } | Self::ZeroPad { x, y, .. } => {
                uses(&[x], &[y])
            }
            Self::Logits { x } | Self::Magnitudes { x, .. } => uses(&[x], &[]),
            Self::CrossEntropy { x, y } => uses(&[x], &[y]),
            Self::NormSums { of, z, g, s, y, .. } => {
                Uses { over: Some((y, g)), ..uses(&[of.x, of.moments, z, g], &[s, y]) }
            }
            Self::BatchGradient { moments, p, w, b, y, .. }
            | Self::GroupGradient { moments, p, w, b, y, .. } => uses(&[moments, p], &[w, b, y]),
            Self::NormInput { of, g, c, residual, y } => {
                let all = with(&[of.x, of.moments, g, c], residual, y);
                Uses { over: Some((y, residual.unwrap_or(g))), ..all }
            }
            Self::Mask { z, g, y, .. } => Uses { over: Some((y, g)), ..uses(&[z, g], &[y]) },
            Self::Spread { x, residual, y }
            | Self::Dilate { x, residual, y, .. }
            | Self::Shift { x, residual, y, .. }
            | Self::BlurGradient { g: x, residual, y, .. } => with(&[x], residual, y),
            Self::GateGradient { x, gates, g, y } => uses(&[x, gates, g], &[y]),
            Self::ChannelConvGradient { x, g, y, .. } => uses(&[x, g], &[y]),
            Self::StandardiseGradient { g, y, .. } => uses(&[g], &[y]),
            Self::PoolGradient { x, z, g, residual, y, .. } => with(&[x, z, g], residual, y),
            Self::Sgd { g, .. } => uses(&[g], &[]),
        }
    }
}

impl Op {
    /// Whether it multiplies far more than it reads.
    pub(crate) fn is_conv(&self) -> bool {
        matches!(self, Self::Conv { .. } | Self::ConvGradient { .. } | Self::PointsGradient { .. })
    }

    /// The weights that it reads where they last, before a step of descent changes them.
    pub(crate) fn weights(&self) -> Option<SlotId> {
        match self {
            Self::Gather { from: Source::Slot(slot), .. } => Some(*slot),
            Self::Standardise { weights, .. } | Self::StandardiseGradient { weights, .. } => {
                Some(weights.slot)
            }
            _ => None,
        }
    }
}

/// A layer whose output's gradient is measured.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    pub(crate) layer: String,
    pub(crate) weight: SlotId,
    /// Of its output, for each image.
    pub(crate) shape: Shape,
    /// Where the numbers of its channels begin: 16 a block, block by block, image by image.
    pub(crate) at: usize,
}

/// An operator in its place.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The layer that it is of.
    pub(crate) layer: String,
    pub(crate) op: Op,
    /// What has to be there before it runs, besides what it reads: what is made again waits until it is wanted. Weights are
    /// packed just before they are read in any case.
    pub(crate) after: Option<ValueId>,
}

/// A training step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape {
    pub(crate) values: Vec<Value>,
    /// Whether the images, which are the first value, stay planar.
    pub(crate) planar: bool,
    pub(crate) convs: Vec<Conv>,
    pub(crate) entries: Vec<Entry>,
    /// What operators that are added have to wait for.
    pub(crate) after: Option<ValueId>,
    /// The layers whose gradients are measured, from the last to the first.
    pub(crate) reached: Vec<Reached>,
    /// Numbers of all of these.
    pub(crate) reached_len: usize,
}

impl Tape {
    pub(crate) fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    pub(crate) fn conv(&self, id: ConvId) -> &Conv {
        &self.convs[id.index()]
    }

    /// The operators, in their order.
    pub(crate) fn ops(&self) -> impl DoubleEndedIterator<Item = &Op> + ExactSizeIterator {
        self.entries.iter().map(|entry| &entry.op)
    }

    pub(crate) fn op(&self, at: usize) -> &Op {
        &self.entries[at].op
    }

    /// The shape of a value that is an activation.
    pub(crate) fn shape(&self, id: ValueId) -> Shape {
        match self.value(id).kind {
            Kind::Activation(shape) => shape,
            Kind::Numbers(_) => unreachable!("`{}` is no activation", self.value(id).name),
        }
    }

    /// How a value that is an activation lies.
    pub(crate) fn layout(&self, id: ValueId) -> Layout {
        if self.planar && id == ValueId::at(0) { Layout::Planar } else { Layout::Blocked }
    }

    /// A new value.
    pub(crate) fn add(&mut self, name: String, kind: Kind) -> ValueId {
        self.values.push(Value { name, kind });
        ValueId::at(self.values.len() - 1)
    }

    /// A new operator of a layer.
    pub(crate) fn push(&mut self, name: &str, op: Op) {
        self.entries.push(Entry { layer: name.to_owned(), op, after: self.after });
    }

    /// Removes the operators whose results nobody reads, and the memory of these.
    pub(crate) fn prune(&mut self) {
        let mut read = vec![false; self.values.len()];
        let mut needed = vec![false; self.entries.len()];
        for (at, op) in self.ops().enumerate().rev() {
            let Uses { reads, writes, .. } = op.uses();
            let lasts = matches!(
                op,
                Op::Sgd { .. }
                    | Op::Logits { .. }
                    | Op::CrossEntropy { .. }
                    | Op::Magnitudes { .. }
            );
            needed[at] = lasts || writes.iter().any(|id| read[id.index()]);
            if needed[at] {
                reads.iter().for_each(|id| read[id.index()] = true);
            }
        }
        let mut keep = needed.iter();
        self.entries.retain(|_| keep.next() == Some(&true));
        let mut touched = vec![false; self.values.len()];
        for Uses { reads, writes, .. } in self.ops().map(Op::uses) {
            reads.iter().chain(&writes).for_each(|id| touched[id.index()] = true);
        }
        for (value, _) in self.values.iter_mut().zip(touched).filter(|(_, touched)| !touched) {
            value.kind = Kind::Numbers(0);
        }
    }

    /// From the operator that writes each value to the last one that reads it.
    pub(crate) fn lifetimes(&self) -> Vec<Range<usize>> {
        let mut lifetimes: Vec<Option<Range<usize>>> = vec![None; self.values.len()];
        for (at, op) in self.ops().enumerate() {
            let Uses { reads, writes, .. } = op.uses();
            // What is written in parts lives from the first one on.
            for id in writes.into_iter().chain(reads) {
                lifetimes[id.index()].get_or_insert(at..at).end = at;
            }
        }
        lifetimes.into_iter().map(|lifetime| lifetime.unwrap_or(0..0)).collect()
    }
}
