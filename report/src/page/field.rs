//! The receptive field, layer by layer.

use std::fmt::Write;

use crate::draw::escape;
use crate::network::{Layer, Network};
use crate::page::text;
use crate::page::{Side, colour};

/// The drawing's units; it is stretched to the width of the page.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 150.0;

/// The layers that have pixels, or all if none has.
fn layers(network: &Network) -> Vec<(usize, &Layer)> {
    let all = network.layers.iter().enumerate();
    all.filter(|(_, layer)| layer.counts.output[1] * layer.counts.output[2] > 1).collect()
}

/// How many layers are drawn.
pub(super) fn len(network: &Network) -> usize {
    layers(network).len()
}

/// The most rows that are drawn: those of the largest field, or of the picture.
pub(super) fn most(network: &Network) -> i64 {
    let fields = layers(network).into_iter().map(|(_, layer)| layer.receptive_field.rows);
    fields.max().unwrap_or(1).max(network.input[1] as i64)
}

/// The bars where so many rows fill the height, and so many layers the width.
pub(super) fn view(network: &Network, [most, len]: [usize; 2], side: Side) -> String {
    let picture = network.input[1];
    let whole = network.layers.iter().any(|layer| {
        layer.receptive_field.whole && layer.counts.output[1] * layer.counts.output[2] > 1
    });
    let star = if whole {
        " Means over the whole picture, of gates and group norms, are not counted; what depends on them has a star in the \
         tables."
    } else {
        ""
    };
    format!(
        "<figure class=\"map\">\n<div class=\"axis short\"><span>{most}</span><span>0</span></div>\n{}\
         <figcaption>Rows of the picture that one element of a layer’s output depends on, padding counted; the line is the \
         picture’s height, {picture}.{star}</figcaption>\n</figure>\n",
        svg(network, most, len, side)
    )
}

fn svg(network: &Network, most: usize, len: usize, side: Side) -> String {
    let layers = layers(network);
    let step = WIDTH / len.max(1) as f64;
    let mut svg = format!(
        "<svg class=\"short\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"group\" \
         aria-label=\"{}\">\n",
        escape(&format!("the receptive fields of {}", network.name))
    );
    for (place, (index, layer)) in layers.iter().enumerate() {
        let tall = HEIGHT * layer.receptive_field.rows as f64 / most as f64;
        let hint = escape(&format!(
            "{}: {} pixels, every {}",
            layer.counts.name,
            text::field(&layer.receptive_field, layer.counts.output),
            layer.receptive_field.stride[0]
        ));
        let _ = writeln!(
            svg,
            "<a href=\"#{}\" tabindex=\"-1\"><rect class=\"{}\" x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{tall:.2}\">\
             <title>{hint}</title></rect></a>",
            side.layer(*index),
            colour(network, Some(layer.stage)),
            step * place as f64,
            HEIGHT - tall,
            0.86 * step
        );
    }
    let line = HEIGHT * (1.0 - network.input[1] as f64 / most as f64);
    let _ = writeln!(svg, "<path class=\"mark\" d=\"M0 {line:.2}H{WIDTH}\"/>");
    svg + "</svg>\n"
}
