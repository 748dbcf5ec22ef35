//! What the choices come to, whatever the batch size.

use resnet_runtime::kernels::Element;
use resnet_runtime::weights::Content;

use super::choice::{Choice, Site};
use super::conv;
use super::layout::Layout;
use super::operator::{ConvWay, Way, way};
use super::weights::Parts;
use crate::fuse::{Format, Fused, FusedNode};

/// What was decided of a node, whatever the batch size.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) layout: Layout,
    /// What its value consists of.
    pub(super) element: Element,
    /// Where the scale of its bytes is, if its value consists of bytes.
    pub(super) scale: Option<usize>,
    pub(super) way: Way,
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
            Format::F32 | Format::Bf16 => None,
        };
        let way = way(node, &mut parts, |parts, input| {
            let conv = convs.next().expect("each convolution is a site");
            conv_way(fused, node, conv, layouts[input.index()], parts)
        });
        Decision { layout, element: node.format.element(), scale, way }
    });
    let decisions = decisions.collect();
    (parts, decisions)
}

/// A convolution, whose weights are packed for a choice and for an input that lies so.
fn conv_way(
    fused: &Fused,
    node: &FusedNode,
    (site, choice): (&Site<'_>, Choice),
    layout: Layout,
    parts: &mut Parts,
) -> ConvWay {
    let Site { conv, input, output, .. } = *site;
    let transform = site.transform(choice.algorithm).expect("only what is allowed is chosen");
    let panels = conv::panels(conv, (transform, choice.order), layout, input, output);
    let weights = match conv.quantised() {
        true => parts.quantised(fused, node, conv, panels),
        false => parts.add(Content::Conv { source: conv.source(), panels }),
    };
    ConvWay { window: conv.window, panels, weights, order: choice.order }
}
