//! What the packed weights of a network consist of: decided once, for all batch sizes.

use resnet_runtime::kernels::{BLOCK, Panels};
use resnet_runtime::weights::{Content, NormTensors, Recipe};

use super::choice::{Choice, Order, Site};
use super::layout::Layout;
use super::{Operator, conv};
use crate::fuse::formats;
use crate::fuse::{Conv, Format, Fused, FusedId, FusedNode, FusedOp};
use crate::graph::{GroupNorm, Window};

/// The packed weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    /// What they consist of, by rising offsets.
    pub recipes: Vec<Recipe>,
    /// Bytes.
    pub bytes: usize,
}

impl Parts {
    /// The part that begins at a byte.
    pub fn at(&self, offset: usize) -> Option<&Recipe> {
        let found = self.recipes.binary_search_by_key(&offset, |recipe| recipe.offset);
        found.ok().map(|index| &self.recipes[index])
    }

    /// Adds a part behind the others; where it begins.
    fn add(&mut self, content: Content) -> usize {
        let offset = self.bytes;
        self.bytes += content.bytes();
        self.recipes.push(Recipe { content, offset });
        offset
    }

    fn vector(&mut self, weight: &str, channels: usize) -> usize {
        self.add(Content::Vector { weight: weight.to_owned().into(), channels })
    }

    /// Where the numbers of a scale are, which all activations of that scale share.
    fn scale(&mut self, weight: &str) -> usize {
        let content = Content::Scale { weight: weight.to_owned().into() };
        let found = self.recipes.iter().find(|recipe| recipe.content == content);
        found.map(|recipe| recipe.offset).unwrap_or_else(|| self.add(content))
    }

    fn quantised(&mut self, fused: &Fused, node: &FusedNode, conv: &Conv, panels: Panels) -> usize {
        self.add(Content::Quantised { source: formats::source(fused, node, conv), panels })
    }

    /// A convolution's weights, as they are packed for a choice and for an input that lies so.
    fn conv(
        &mut self,
        fused: &Fused,
        node: &FusedNode,
        (site, choice): (&Site<'_>, Choice),
        layout: Layout,
    ) -> ConvWay {
        let Site { conv, input, output, .. } = *site;
        let transform = site.transform(choice.algorithm).expect("only what is allowed is chosen");
        let panels = conv::panels(conv, transform, layout, input, output);
        let weights = match conv.quantised {
            true => self.quantised(fused, node, conv, panels),
            false => self.add(Content::Conv { source: conv.source(), panels }),
        };
        ConvWay { window: conv.window, panels, weights, order: choice.order }
    }

    fn norm(&mut self, norm: &NormTensors, channels: usize) -> Operator {
        Operator::Affine { weights: self.add(Content::Norm { norm: norm.clone(), channels }) }
    }

    fn group_norm(&mut self, norm: &GroupNorm, channels: usize) -> Operator {
        let weights = self.vector(&norm.weight, channels);
        self.vector(&norm.bias, channels);
        let group = channels / norm.groups;
        let blocks = joined_blocks(channels, group);
        Operator::GroupNorm { group, epsilon: norm.epsilon, weights, blocks }
    }
}

/// What was decided of a node, whatever the batch size.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) layout: Layout,
    /// Where the scale of its bytes is, if its value consists of bytes.
    pub(super) scale: Option<usize>,
    pub(super) way: Way,
}

/// How a node's value is made.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// It is given.
    Input,
    /// By a convolution, of which a plan says more.
    Conv { input: FusedId, conv: ConvWay },
    /// By an operator that is the same for all batch sizes.
    Fixed { input: FusedId, operator: Operator },
}

/// What is decided of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConvWay {
    pub(super) window: Window,
    pub(super) panels: Panels,
    /// Where its weights begin.
    pub(super) weights: usize,
    pub(super) order: Order,
}

/// What the choices, one for each site, come to: the packed weights, and a decision for each node.
pub(super) fn decide(
    fused: &Fused,
    layouts: &[Layout],
    sites: &[Site<'_>],
    choices: &[Choice],
) -> (Parts, Vec<Decision>) {
    let mut parts = Parts::default();
    let mut convs = sites.iter().zip(choices.iter().copied());
    let decisions = fused.nodes.iter().zip(layouts).map(|(node, &layout)| {
        let scale = match &node.format {
            Format::U8(weight) => Some(parts.scale(weight)),
            Format::F32 => None,
        };
        let channels = node.shape.channels;
        let fixed = |operator| Way::Fixed { input: node.source(), operator };
        let way = match &node.op {
            FusedOp::Input => Way::Input,
            FusedOp::Conv(_) => {
                let input = node.source();
                let conv = convs.next().expect("each convolution is a site");
                Way::Conv { input, conv: parts.conv(fused, node, conv, layouts[input.index()]) }
            }
            FusedOp::Affine(norm) => fixed(parts.norm(norm, channels)),
            FusedOp::GroupNorm(norm) => fixed(parts.group_norm(norm, channels)),
            &FusedOp::ChannelConv { kernel, ref weight } => {
                fixed(Operator::ChannelConv { kernel, weights: parts.vector(weight, kernel) })
            }
            FusedOp::Pool(pool) => fixed(Operator::Pool(*pool)),
            FusedOp::Blur(window) => fixed(Operator::Blur(*window)),
            FusedOp::GlobalAveragePool => fixed(Operator::GlobalAveragePool),
            FusedOp::Add => fixed(Operator::Add),
            &FusedOp::Gate { gate } => fixed(Operator::Gate { gate }),
            FusedOp::Softmax => fixed(Operator::Softmax),
            FusedOp::Quantise => fixed(Operator::Quantise),
            FusedOp::Dequantise => fixed(Operator::Dequantise),
        };
        Decision { layout, scale, way }
    });
    let decisions = decisions.collect();
    (parts, decisions)
}

/// The fewest channel blocks that hold whole groups of so many channels, and into which all blocks
/// can be divided.
fn joined_blocks(channels: usize, group: usize) -> usize {
    let all = channels.div_ceil(BLOCK);
    let whole =
        |blocks: &usize| all.is_multiple_of(*blocks) && (blocks * BLOCK).is_multiple_of(group);
    (1..all).find(whole).unwrap_or(all)
}
