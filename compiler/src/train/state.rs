//! What lasts from step to step: the tensors in the state dict's order, each padded with zeros to whole blocks, what
//! descent remembers of them, running statistics, and the tables of indices by which weights are packed.

use std::collections::BTreeSet;

use resnet_runtime::kernels::{BLOCK, ConvShape, NOWHERE, PAIR_LEN, Panels, TRIPLE_LEN};
use resnet_runtime::weights::NormTensors;
use resnet_runtime::weights::pack::{PackError, pack_conv};

use crate::entity::entity;
use crate::graph::GroupNorm;

entity! {
    /// A slot of a [`State`], by its position in [`State::slots`].
    pub(crate) SlotId, "s"
}

entity! {
    /// A table of a [`State`], by its position in [`State::tables`].
    pub(crate) TableId, "i"
}

/// A lasting tensor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slot {
    /// The first of its bytes.
    pub(crate) offset: usize,
    /// Elements, without what pads them.
    pub(crate) len: usize,
    pub(crate) content: Content,
}

/// What a slot holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    /// A tensor that is learned; the velocity of its descent begins at this byte.
    Learned { name: String, velocity: usize, decays: bool },
    /// A running mean and a running variance, 16 of each a block.
    Running { mean: String, variance: String },
}

impl Content {
    /// The tensors that it holds.
    pub(crate) fn names(&self) -> Vec<&str> {
        match self {
            Self::Learned { name, .. } => vec![name],
            Self::Running { mean, variance } => vec![mean, variance],
        }
    }
}

/// A table of indices into a slot or a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table {
    pub(crate) offset: usize,
    pub(crate) indices: Vec<u32>,
    /// Elements that indices can name.
    pub(crate) of: usize,
}

/// The slots of a norm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormSlots {
    pub(crate) scale: SlotId,
    pub(crate) shift: SlotId,
    pub(crate) epsilon: f64,
    pub(crate) of: NormOf,
}

/// Whose statistics a norm has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NormOf {
    /// The batch's, whose running ones are kept.
    Batch { running: SlotId },
    /// The running ones, which do not change.
    Running { running: SlotId },
    /// Those of each image's groups of so many channels.
    Group { channels: usize },
}

/// All that lasts.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) slots: Vec<Slot>,
    pub(crate) tables: Vec<Table>,
    pub(crate) bytes: usize,
    /// The tensors that stay as they are.
    pub(crate) frozen: BTreeSet<String>,
}

impl State {
    pub(crate) fn slot(&self, id: SlotId) -> &Slot {
        &self.slots[id.index()]
    }

    pub(crate) fn table(&self, id: TableId) -> &Table {
        &self.tables[id.index()]
    }

    /// Whether a slot stays as it is.
    pub(crate) fn is_frozen(&self, id: SlotId) -> bool {
        self.slot(id).content.names().iter().any(|name| self.frozen.contains(*name))
    }

    fn reserve(&mut self, elements: usize) -> usize {
        let offset = self.bytes;
        self.bytes += padded(elements) * 4;
        offset
    }

    fn add(&mut self, slot: Slot) -> SlotId {
        self.slots.push(slot);
        SlotId::at(self.slots.len() - 1)
    }

    /// Tensors that are learned, one after the other in memory.
    pub(crate) fn learned(&mut self, tensors: &[(&str, usize, bool)]) -> Vec<SlotId> {
        let offsets: Vec<usize> = tensors.iter().map(|&(_, len, _)| self.reserve(len)).collect();
        let slots = tensors.iter().zip(offsets).map(|(&(name, len, decays), offset)| {
            let velocity = self.reserve(len);
            let content = Content::Learned { name: name.to_owned(), velocity, decays };
            self.add(Slot { offset, len, content })
        });
        slots.collect()
    }

    /// The tensors of a batch norm.
    pub(crate) fn norm(&mut self, norm: &NormTensors, channels: usize) -> NormSlots {
        let learned =
            self.learned(&[(&norm.weight, channels, false), (&norm.bias, channels, false)]);
        let offset = self.reserve(channels.div_ceil(BLOCK) * PAIR_LEN);
        let [mean, variance] = [&norm.mean, &norm.variance].map(|name| name.to_string());
        let content = Content::Running { mean, variance };
        let running = self.add(Slot { offset, len: channels, content });
        let of = match self.is_frozen(running) {
            true => NormOf::Running { running },
            false => NormOf::Batch { running },
        };
        NormSlots { scale: learned[0], shift: learned[1], epsilon: norm.epsilon, of }
    }

    /// The tensors of a group norm.
    pub(crate) fn group_norm(&mut self, norm: &GroupNorm, channels: usize) -> NormSlots {
        let learned =
            self.learned(&[(&norm.weight, channels, false), (&norm.bias, channels, false)]);
        let of = NormOf::Group { channels: channels / norm.groups };
        NormSlots { scale: learned[0], shift: learned[1], epsilon: norm.epsilon, of }
    }

    fn add_table(&mut self, indices: Vec<u32>, of: usize) -> TableId {
        let offset = self.reserve(indices.len());
        self.tables.push(Table { offset, indices, of });
        TableId::at(self.tables.len() - 1)
    }

    /// The table by which a convolution's weights, and behind them its bias if it has one, are packed.
    pub(crate) fn packing(&mut self, panels: &Panels, bias: bool) -> Result<TableId, PackError> {
        let weights = panels.shape.out_channels * panels.shape.channel_len();
        let biases = if bias { panels.shape.out_channels } else { 0 };
        let numbered = numbers(0, weights);
        let numbered_bias = numbers(padded(weights), biases);
        let indices = pack_indices(panels, &numbered, bias.then_some(&numbered_bias[..]))?;
        Ok(self.add_table(indices, padded(weights) + padded(biases)))
    }

    /// The table of what follows the weights of a Winograd convolution: its bias, if it has one, and zeros.
    pub(crate) fn numbers_behind(&mut self, panels: &Panels, bias: bool) -> TableId {
        let outputs = panels.shape.out_channels;
        let weights = padded(outputs * panels.shape.channel_len());
        let index = |at: usize| match bias && at < outputs {
            true => (weights + at) as u32,
            false => NOWHERE,
        };
        let indices = (0..panels.numbers_len()).map(index).collect();
        self.add_table(indices, weights + if bias { padded(outputs) } else { 0 })
    }

    /// The table by which the weights of the convolution that makes the input's gradient are packed of a
    /// convolution's: input and output channels change places, and each kernel is turned round.
    pub(crate) fn flipping(&mut self, panels: &Panels) -> Result<TableId, PackError> {
        let ConvShape { out_channels, in_channels, groups, .. } = panels.shape;
        // The flipped convolution's outputs are the inputs of the one that is flipped.
        let (group_out, group_in) = (out_channels / groups, in_channels / groups);
        let taps = panels.shape.kernel_len();
        let mut numbered = Vec::with_capacity(out_channels * group_in * taps);
        for out in 0..out_channels {
            let (group, of_group) = (out / group_out, out % group_out);
            for input in 0..group_in {
                let original = ((group * group_in + input) * group_out + of_group) * taps;
                numbered.extend((0..taps).rev().map(|tap| (original + tap + 1) as f32));
            }
        }
        let of = padded(numbered.len());
        let indices = pack_indices(panels, &numbered, None)?;
        Ok(self.add_table(indices, of))
    }

    /// The table of so many numbers as they are, or from the last to the first.
    pub(crate) fn line(&mut self, len: usize, turned: bool) -> TableId {
        let mut indices: Vec<u32> = (0..len as u32).collect();
        if turned {
            indices.reverse();
        }
        indices.resize(padded(len), NOWHERE);
        self.add_table(indices, padded(len))
    }

    /// The table by which running statistics become the moments of one image: all means, then all variances.
    pub(crate) fn moments(&mut self, blocks: usize) -> TableId {
        let lanes = |at: usize| (0..BLOCK).map(move |lane| (at + lane) as u32);
        let of = |first: usize| (0..blocks).flat_map(move |block| lanes(block * PAIR_LEN + first));
        let indices = of(0).chain(of(BLOCK)).collect();
        self.add_table(indices, blocks * PAIR_LEN)
    }

    /// The table by which the scales among a norm's moments become the coefficients of its input's gradient, if its
    /// statistics do not depend on the input.
    pub(crate) fn scales(&mut self, blocks: usize) -> TableId {
        let index = |at: usize| match at % TRIPLE_LEN {
            lane if lane < BLOCK => (at + BLOCK) as u32,
            _ => NOWHERE,
        };
        let len = blocks * TRIPLE_LEN;
        self.add_table((0..len).map(index).collect(), len)
    }

    /// The table by which packed weights' gradients are put into the weights' own order.
    pub(crate) fn unpacking(&mut self, packing: TableId, weights: usize, packed: usize) -> TableId {
        let mut indices = vec![NOWHERE; padded(weights)];
        for (at, &index) in self.table(packing).indices[..packed].iter().enumerate() {
            if (index as usize) < weights {
                indices[index as usize] = at as u32;
            }
        }
        self.add_table(indices, packed)
    }
}

/// Elements with what pads them.
pub(crate) fn padded(elements: usize) -> usize {
    elements.next_multiple_of(BLOCK)
}

/// Numbers from one more than `first` on, as zero is nowhere.
fn numbers(first: usize, len: usize) -> Vec<f32> {
    (first + 1..=first + len).map(|number| number as f32).collect()
}

/// Where each packed number comes from, of weights that are their own numbers: how a format lies is known by what
/// packs it alone.
fn pack_indices(
    panels: &Panels,
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Result<Vec<u32>, PackError> {
    let mut packed = vec![0.0; panels.weights_len() + panels.numbers_len()];
    pack_conv(panels, weight, bias, None, &mut packed)?;
    let index = |number: f32| if number == 0.0 { NOWHERE } else { number as u32 - 1 };
    Ok(packed.into_iter().map(index).collect())
}
