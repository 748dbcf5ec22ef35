//! A residual block of the graph: what its row says, and its tensors.

mod shortcut;
mod units;

use resnet_compiler::graph::{Extent, Padding, PoolKind, Pooling, Shape, Window};
use resnet_compiler::spec::{AntiAlias, ShortcutFrom};

use self::units::{Unit, check_kernels, strides, units_after};
use super::chain::Branch;
use super::graph::{
    Attention, Chunk, Chunks, Conv, Function, Network, Norm, Op, Statistics, ValueId,
};
use crate::checkpoint::Stored;
use crate::error::Fault;

/// A block.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) same: Kind,
    pub(crate) stride: Extent,
    /// Which convolution has the stride, from 0 on.
    pub(crate) stride_on: usize,
    /// What has the stride in the place of that convolution.
    pub(crate) anti_alias: Option<AntiAlias>,
    /// Of the first 3x3 convolution, if it has another one than the others.
    pub(crate) first_dilation: Extent,
    pub(crate) path: Path,
    /// The kernel of the mean before a projection that has no stride.
    pub(crate) pooled: Option<Extent>,
    /// Whether the shape changes.
    pub(crate) changes: bool,
    /// Whether the 3x3 convolutions are padded by as much as they reach, and as TensorFlow's `SAME`.
    pub(crate) padded: [bool; 2],
    pub(crate) bias: bool,
    /// By their names in the block, without those of the shortcut.
    pub(crate) tensors: Vec<(String, Stored)>,
    /// Convolutions, by their names in the block: their biases, if they have any of their own.
    pub(crate) biases: Vec<(String, usize, Option<Stored>)>,
    pub(crate) projection: Option<Projection>,
    /// What the shortcut of a pre-activation block reads, where that is not as usual.
    pub(crate) from: Option<ShortcutFrom>,
    /// What it makes.
    pub(crate) value: ValueId,
    /// What messages call the node that ends it.
    pub(crate) label: String,
}

/// What all blocks of a row have in common.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kind {
    pub(crate) channels: usize,
    pub(crate) dilation: Extent,
    pub(crate) norm: NormKind,
    /// Width and groups.
    pub(crate) bottleneck: Option<([usize; 2], usize)>,
    /// Chunks of the first convolution's channels, in a Res2Net.
    pub(crate) scale: Option<usize>,
    /// Field and value.
    pub(crate) attention: Option<(&'static str, String)>,
    /// Whether it weighs what the last convolution but one makes.
    pub(crate) weighs_middle: bool,
    pub(crate) activation: Function,
    /// What ends the block.
    pub(crate) output: Function,
}

/// A row's `norm`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum NormKind {
    Batch,
    Group(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Path {
    /// Nothing: a plain network.
    None,
    Identity,
    Projection,
    PoolProjection,
    /// Of strided pixels, or of their means; `after`: all zeros are behind the channels.
    ZeroPad {
        pools: bool,
        after: bool,
    },
}

#[derive(Debug)]
pub(crate) struct Projection {
    pub(crate) conv: Conv,
    /// Whether it is padded by half its kernel, and as TensorFlow's `SAME`.
    pub(crate) padded: [bool; 2],
    pub(crate) norm: Option<NormKind>,
    pub(crate) tensors: Vec<(&'static str, Stored)>,
}

/// What stands before the fork of a pre-activation block.
pub(crate) type Before<'a> = Option<(&'a Norm, Function)>;

/// Reads blocks.
pub(crate) struct Blocks<'a> {
    pub(crate) network: &'a Network,
    pub(crate) pre_activation: bool,
    pub(crate) epsilon: f64,
}

impl Blocks<'_> {
    pub(crate) fn read(
        &self,
        branch: &Branch<'_>,
        before: Before<'_>,
        output: Function,
        value: ValueId,
    ) -> Result<Block, Fault> {
        let (units, attention) = match self.pre_activation {
            true => self.units_before(branch, before)?,
            false => units_after(branch, self.network)?,
        };
        let from = self.network.values[branch.input].shape;
        check_kernels(branch, &units)?;
        let (stride, stride_on) = strides(branch, &units)?;
        let (mut same, first_dilation) = self.kind(branch, &units, attention)?;
        same.output = output;
        let mut padded = self.padded(&units)?;
        let changes = stride != Extent::square(1) || from.channels != same.channels;
        // Norms that are before activations have no convolution before the first one to be folded into.
        let folded = units[usize::from(self.pre_activation)..].iter().any(|u| u.norm.is_none());
        let shortcut = self.shortcut(branch, (stride, changes), from, folded)?;
        let apart = changes || shortcut.projection.is_some();
        if units.iter().filter_map(|unit| unit.chunks).any(|chunks| chunks.alone != apart) {
            return branch.end.refuse(
                "the chunks of a Res2Net's block are convolved one by one where its shape changes or it projects, and \
                 elsewhere each with what the convolution before it makes; this block does the other",
            );
        }
        if let Some(projection) = &shortcut.projection {
            padded = [0, 1].map(|index| padded[index] && projection.padded[index]);
            if padded == [false; 2] {
                return branch.end.refuse(
                    "the paddings of the block's convolutions and of its projection do not go together",
                );
            }
        }
        let mut block = Block {
            same,
            stride,
            stride_on,
            anti_alias: units.iter().find_map(|unit| unit.pool.map(|(kind, _)| kind)),
            first_dilation,
            path: shortcut.path,
            pooled: shortcut.pooled,
            changes,
            padded,
            bias: false,
            tensors: Vec::new(),
            biases: Vec::new(),
            projection: shortcut.projection,
            from: match before {
                Some(_) if !changes => Some(ShortcutFrom::NormAlways),
                _ => shortcut.from_input.then_some(ShortcutFrom::Input),
            },
            value,
            label: branch.end.label.clone(),
        };
        self.tensors(&mut block, &units);
        if let Some((attention, _)) = attention {
            block.attend(attention);
        }
        let own = block.biases.iter().any(|(.., bias)| bias.is_some());
        block.bias = own
            || block.projection.as_ref().is_some_and(|projection| projection.conv.bias.is_some());
        Ok(block)
    }

    /// What the convolutions say together.
    fn kind(
        &self,
        branch: &Branch<'_>,
        units: &[Unit<'_>],
        attention: Option<(&Attention, usize)>,
    ) -> Result<(Kind, Extent), Fault> {
        let bottleneck = units.len() == 3;
        let outputs = |unit: &Unit<'_>| unit.conv.weight.shape[0];
        let channels = units.last().map_or(0, outputs);
        let scale = self.scale(branch, units)?;
        let widths = match scale {
            Some(_) => [outputs(&units[1]); 2],
            None => [outputs(&units[0]), outputs(&units[1])],
        };
        if !bottleneck && widths[0] != channels {
            return units[0].step.refuse(format!(
                "it makes {} channels, where the block's table row would have {channels}",
                widths[0]
            ));
        }
        let norm = units[0].norm_kind();
        if let Some(unit) = units.iter().find(|unit| unit.norm_kind() != norm) {
            return unit.step.refuse(format!(
                "its norm is `{}`, and the one of the block's first convolution `{}`; a row has one",
                unit.norm_kind().cell(),
                norm.cell()
            ));
        }
        let dilation = |index: usize| units[index].conv.window.dilation;
        let bottleneck = bottleneck.then(|| (widths, units[1].conv.groups));
        let place = attention.map_or(units.len(), |(_, place)| place);
        if place + 1 < units.len() {
            return branch.end.refuse(
                "the block that ends here has its squeeze-and-excitation, or ECA, after its first convolution; a table \
                 has it after the last or the last but one",
            );
        }
        let after =
            !self.pre_activation && units.last().is_some_and(|unit| unit.function.is_some());
        let attention = match attention {
            Some((Attention::SqueezeExcitation(layers, between), _)) => {
                let [(weight, _), _] = &**layers;
                let between = match between {
                    Function::Relu => String::new(),
                    other => format!(", activation: {other}"),
                };
                let after = if after { ", after: activation" } else { "" };
                let cell = format!("{{channels: {}{between}{after}}}", weight.shape[0]);
                Some(("squeeze_excitation", cell))
            }
            Some((Attention::Efficient(_), _)) if after => {
                return branch
                    .end
                    .refuse("ECA after the last activation; a table has it after the last norm");
            }
            Some((Attention::Efficient(weight), _)) => Some(("eca", weight.shape[2].to_string())),
            None => None,
        };
        let activation = units[0].function.unwrap_or(Function::None);
        let kind = Kind {
            channels,
            dilation: dilation(1),
            norm,
            bottleneck,
            scale,
            attention,
            weighs_middle: place < units.len(),
            activation,
            output: activation,
        };
        Ok((kind, dilation(usize::from(units.len() == 3))))
    }

    /// How many chunks a Res2Net's block has, which stand in the middle of its bottleneck.
    fn scale(&self, branch: &Branch<'_>, units: &[Unit<'_>]) -> Result<Option<usize>, Fault> {
        let Some(at) = units.iter().position(|unit| unit.chunks.is_some()) else { return Ok(None) };
        let chunks = units[at].chunks.map_or(0, |chunks| chunks.chunks.len() + 1);
        if (at, units.len()) != (1, 3) {
            return branch.end.refuse("chunks of channels outside the middle of a bottleneck");
        }
        Ok(Some(chunks))
    }

    /// Which paddings the 3x3 convolutions all may have.
    fn padded(&self, units: &[Unit<'_>]) -> Result<[bool; 2], Fault> {
        let mut padded = [true; 2];
        for unit in units {
            let window = unit.conv.window;
            let shape = self.network.values[unit.step.inputs[0]].shape;
            let half = window.kernel.rows / 2;
            let even = Padding::even(Extent::new(
                half * window.dilation.rows,
                half * window.dilation.columns,
            ));
            let like_tensorflow = Window { padding: Padding::NONE, ..window }.padded_to_same(shape);
            let fits = [even == window.padding, like_tensorflow.padding == window.padding];
            if fits == [false; 2] {
                return unit.step.refuse(format!(
                    "a padding of {}; in a block it is {even}, or as TensorFlow's SAME",
                    window.padding
                ));
            }
            padded = [padded[0] && fits[0], padded[1] && fits[1]];
        }
        if padded == [false; 2] {
            return units[0]
                .step
                .refuse("the paddings of the block's convolutions do not go together");
        }
        Ok(padded)
    }

    /// Names the tensors of the main path.
    fn tensors(&self, block: &mut Block, units: &[Unit<'_>]) {
        let word = if self.pre_activation { "norm" } else { "bn" };
        // The bias that a norm left when it was folded into the convolution before it.
        let mut left = None;
        for (number, unit) in (1..).zip(units) {
            if let Some(chunks) = unit.chunks {
                self.chunk_tensors(block, chunks);
                continue;
            }
            let conv = unit.conv;
            let channels = conv.weight.shape[0];
            let mut bias = conv.bias.clone();
            let norm_channels =
                if self.pre_activation { conv.weight.shape[1] * conv.groups } else { channels };
            let norm = match unit.norm {
                Some(norm) => self.named(norm),
                None if self.pre_activation => self.identity(norm_channels, left.take()),
                None => self.identity(norm_channels, bias.take()),
            };
            if self.pre_activation && units.get(number).is_some_and(|next| next.norm.is_none()) {
                left = bias.take();
            }
            block.tensors.push((format!("conv{number}.weight"), conv.weight.clone()));
            block.biases.push((format!("conv{number}.bias"), channels, bias));
            for (part, stored) in norm {
                block.tensors.push((format!("{word}{number}.{part}"), stored));
            }
        }
    }

    /// Names those of chunks.
    fn chunk_tensors(&self, block: &mut Block, chunks: &Chunks) {
        for (index, Chunk { conv, norm }) in chunks.chunks.iter().enumerate() {
            let channels = conv.weight.shape[0];
            let mut bias = conv.bias.clone();
            let norm = match norm {
                Some(norm) => self.named(norm),
                None => self.identity(channels, bias.take()),
            };
            block.tensors.push((format!("convs.{index}.weight"), conv.weight.clone()));
            block.biases.push((format!("convs.{index}.bias"), channels, bias));
            for (part, stored) in norm {
                block.tensors.push((format!("bns.{index}.{part}"), stored));
            }
        }
    }

    /// The tensors of a norm.
    pub(crate) fn named(&self, norm: &Norm) -> Vec<(&'static str, Stored)> {
        let mut tensors = vec![("weight", norm.weight.clone()), ("bias", norm.bias.clone())];
        let same = |value: f32| Stored::same(norm.weight.shape.clone(), value);
        match &norm.statistics {
            Statistics::Running { mean, variance, .. } => {
                tensors.push(("running_mean", mean.clone()));
                tensors.push(("running_var", variance.clone()));
            }
            Statistics::Groups { .. } => {}
            Statistics::Folded => {
                tensors.push(("running_mean", same(0.0)));
                tensors.push(("running_var", same((1.0 - self.epsilon) as f32)));
            }
        }
        tensors
    }

    /// The tensors of a batch norm that adds a bias and changes nothing else.
    pub(crate) fn identity(
        &self,
        channels: usize,
        bias: Option<Stored>,
    ) -> Vec<(&'static str, Stored)> {
        let same = |value: f32| Stored::same(vec![channels], value);
        let bias = bias.unwrap_or_else(|| same(0.0));
        self.named(&Norm { weight: same(1.0), bias, statistics: Statistics::Folded })
    }
}

impl Block {
    fn attend(&mut self, attention: &Attention) {
        let mut push = |name: &str, stored: Stored| self.tensors.push((name.to_owned(), stored));
        match attention {
            Attention::SqueezeExcitation(layers, _) => {
                for (name, (weight, bias)) in ["fc1", "fc2"].iter().zip(&**layers) {
                    let zeros = || Stored::same(vec![weight.shape[0]], 0.0);
                    push(&format!("se.{name}.bias"), bias.clone().unwrap_or_else(zeros));
                    push(&format!("se.{name}.weight"), weight.clone());
                }
            }
            Attention::Efficient(weight) => push("se.conv.weight", weight.clone()),
        }
    }

    /// Whether it is the first block of a row whose convolutions have a dilation: that decides what pools
    /// there are without a stride.
    pub(crate) fn may_begin(&self, dilation: Extent) -> bool {
        let blurs = self.anti_alias.is_some() && self.stride == Extent::square(1);
        let pools = self.pooled.is_none_or(|kernel| kernel == dilation.min(Extent::square(2)));
        pools && (!blurs || dilation != self.first_dilation)
    }
}

impl NormKind {
    pub(crate) fn of(norm: &Norm) -> Self {
        match norm.statistics {
            Statistics::Groups { groups, .. } => Self::Group(groups),
            Statistics::Running { .. } | Statistics::Folded => Self::Batch,
        }
    }

    /// What a table says.
    pub(crate) fn cell(self) -> String {
        match self {
            Self::Batch => "batch".to_owned(),
            Self::Group(32) => "group".to_owned(),
            Self::Group(groups) => format!("{{groups: {groups}}}"),
        }
    }
}

/// The stride of a pool that is the mean of stride x stride pixels, over those that there are.
fn is_mean_of_strides(op: &Op, from: Shape) -> Option<Extent> {
    let Op::Pool { pool, .. } = op else { return None };
    let stride = pool.window.stride;
    let after = Extent::new(
        from.height.next_multiple_of(stride.rows) - from.height,
        from.width.next_multiple_of(stride.columns) - from.width,
    );
    let padding = Padding { before: Extent::square(0), after };
    let mean = Pooling::new(PoolKind::Average, Window::new(stride, stride, padding));
    // Rows at the edge that no window reaches make another shape, which the sum finds out.
    (*pool == mean).then_some(stride)
}
