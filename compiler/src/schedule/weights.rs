//! What the packed weights of a network consist of: decided once, for all batch sizes.

use resnet_runtime::kernels::{Panels, Transform};
use resnet_runtime::weights::{Content, QuantisedSource, Recipe};

use super::choice::{Choice, Site};
use super::layout::Layout;
use super::{Order, conv};
use crate::fuse::{Conv, Format, Fused, FusedNode, FusedOp};

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
        let scale = |format: &Format| match format {
            Format::U8(weight) => Some(weight.clone().into()),
            Format::F32 => None,
        };
        let of = |id| scale(&fused.node(id).format);
        let source = QuantisedSource {
            weight: conv.weight.clone().into(),
            input: node.input.and_then(of).expect("a quantised convolution reads bytes"),
            residual: node.epilogue.residual.and_then(|r| of(r.source())),
            output: scale(&node.format),
            activation: node.epilogue.activation,
        };
        self.add(Content::Quantised { source, panels })
    }

    fn conv(&mut self, conv: &Conv, panels: Panels) -> usize {
        self.add(Content::Conv { source: conv.source(), panels })
    }
}

/// What was decided of a node, whatever the batch size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decision {
    /// Where its weights begin, if it has any.
    pub(super) weights: usize,
    /// How a convolution is computed.
    pub(super) conv: Option<(Panels, Order)>,
    /// Where the scale of its bytes is, if its value consists of bytes.
    pub(super) scale: Option<usize>,
}

impl Decision {
    /// What becomes of a convolution's weights.
    pub(super) fn transform(&self) -> Option<Transform> {
        self.conv.map(|(panels, _)| panels.format.transform)
    }
}

/// What the choices come to: the packed weights, and a decision for each node.
pub(super) fn decide(
    fused: &Fused,
    layouts: &[Layout],
    sites: &[Option<Site<'_>>],
    choices: &[Option<Choice>],
) -> (Parts, Vec<Decision>) {
    let mut parts = Parts::default();
    let decisions = fused.iter().map(|(id, node)| {
        let (site, choice) = (&sites[id.index()], choices[id.index()]);
        let scale = match &node.format {
            Format::U8(weight) => Some(parts.scale(weight)),
            Format::F32 => None,
        };
        let mut decision = Decision { weights: parts.bytes, conv: None, scale };
        match (&node.op, site, choice, node.input) {
            (FusedOp::Conv(conv), Some(site), Some(choice), Some(input)) => {
                let transform =
                    site.transform(choice.method).expect("only what is allowed is chosen");
                let layout = layouts[input.index()];
                let panels = conv::panels(conv, transform, layout, site.input, site.output);
                match conv.quantised {
                    true => parts.quantised(fused, node, conv, panels),
                    false => parts.conv(conv, panels),
                };
                decision.conv = Some((panels, choice.order));
            }
            (FusedOp::Affine(norm), ..) => {
                let (norm, channels) = (norm.clone(), node.shape.channels);
                parts.add(Content::Norm { norm, channels });
            }
            (FusedOp::ChannelConv { kernel, weight }, ..) => {
                parts.vector(weight, *kernel);
            }
            (FusedOp::GroupNorm(norm), ..) => {
                parts.vector(&norm.weight, node.shape.channels);
                parts.vector(&norm.bias, node.shape.channels);
            }
            _ => {}
        }
        decision
    });
    let decisions = decisions.collect();
    (parts, decisions)
}
