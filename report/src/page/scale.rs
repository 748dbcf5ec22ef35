//! The network to scale: what every block makes, and the shortcuts over them.

use std::fmt::Write;

use crate::draw::escape;
use crate::network::{Dimensions, Network};
use crate::page::block::Block;
use crate::page::text::shape;
use crate::page::{Side, colour};

/// The drawing's units; it is stretched to the width of the page, and not in height.
const WIDTH: f64 = 1000.0;
/// Height of the picture's rows.
const PICTURE: f64 = 132.0;
/// Its height on the page.
const REM: f64 = 10.5;
/// Room above and below what is drawn.
const ABOVE: f64 = 6.0;
/// The part of the width that lies between the shapes, at most, and the widest gap.
const GAPS: f64 = 0.3;
const GAP: f64 = 9.0;
/// What would be smaller is drawn so large, to be seen.
const LEAST: f64 = 1.2;

/// What a block, or a row without blocks, makes.
struct Piece {
    name: String,
    stage: Option<usize>,
    shape: Dimensions,
    shortcut: Option<&'static str>,
}

fn pieces(network: &Network) -> Vec<Piece> {
    let picture =
        Piece { name: "picture".into(), stage: None, shape: network.input, shortcut: None };
    let mut pieces = vec![picture];
    for (index, stage) in network.stages.iter().enumerate() {
        let Some(blocks) = stage.blocks else {
            let (name, shape) = (stage.name.clone(), stage.output);
            pieces.push(Piece { name, stage: Some(index), shape, shortcut: None });
            continue;
        };
        // Blocks differ in their first one at most.
        let shortcut = |block| Block::new(network, index, Some(block)).and_then(|b| b.shortcut());
        let kinds = [shortcut(0), shortcut(1.min(blocks - 1))];
        for block in 0..blocks {
            pieces.push(Piece {
                name: format!("{}.{block}", stage.name),
                stage: Some(index),
                shape: stage.output,
                shortcut: kinds[block.min(1)],
            });
        }
    }
    pieces
}

/// The drawing, with its legend.
pub(super) fn view(network: &Network, room: [usize; 2], side: Side) -> String {
    format!(
        "<figure>\n{}{}{}</figure>\n",
        svg(network, room, side),
        legend(network, side),
        caption(network)
    )
}

/// All channels that are drawn beside one another.
pub(super) fn all_channels(network: &Network) -> usize {
    pieces(network).iter().map(|piece| piece.shape[0]).sum()
}

/// The drawing where so many channels fill the width, and so many rows the height.
fn svg(network: &Network, [channels, rows]: [usize; 2], side: Side) -> String {
    let pieces = pieces(network);
    let gap = GAP.min(GAPS * WIDTH / pieces.len() as f64);
    let room = WIDTH - gap * pieces.len() as f64 - LEAST * pieces.len() as f64;
    let wide = |channels_of: usize| LEAST + room * channels_of as f64 / channels.max(1) as f64;
    let tall = |rows_of: usize| (PICTURE * rows_of as f64 / rows.max(1) as f64).max(LEAST);
    let height = PICTURE + 2.0 * ABOVE;
    let middle = height / 2.0;
    let mut svg = String::new();
    // The highest point: arcs rise above what is as high as the picture.
    let mut highest: f64 = 0.0;
    let mut left = gap / 2.0;
    let mut before = (left, 0.0);
    for piece in &pieces {
        let [channels, rows, _] = piece.shape;
        let (width, height) = (wide(channels), tall(rows));
        let class = colour(network, piece.stage);
        let shortcut = piece.shortcut.map(|kind| format!(", shortcut: {kind}")).unwrap_or_default();
        let hint = escape(&format!("{}: {}{shortcut}", piece.name, shape(piece.shape)));
        let link = piece.stage.map(|stage| side.stage(stage));
        let top = middle - height / 2.0;
        let rect = format!(
            "<rect class=\"{class}\" x=\"{left:.2}\" y=\"{top:.2}\" width=\"{width:.2}\" height=\"{height:.2}\">\
             <title>{hint}</title></rect>"
        );
        let _ = match link {
            Some(id) => writeln!(svg, "<a href=\"#{id}\" tabindex=\"-1\">{rect}</a>"),
            None => writeln!(svg, "{rect}"),
        };
        if let Some(kind) = piece.shortcut {
            let (from, above) = before;
            let to = left + width;
            let foot = middle - f64::max(above, height) / 2.0 - 1.5;
            let rise = foot - 10.0 - (to - from) * 0.12;
            // A curve of this kind goes three quarters of the way.
            highest = highest.min(foot + (rise - foot) * 0.75 - ABOVE);
            let class = if kind == "identity" { "arc" } else { "arc changed" };
            let _ = writeln!(
                svg,
                "<path class=\"{class}\" d=\"M{from:.2} {foot:.2}C{from:.2} {rise:.2} {to:.2} {rise:.2} {to:.2} {foot:.2}\"/>"
            );
        }
        before = (left + width, height);
        left += width + gap;
    }
    let tall = height - highest;
    // Rows are as high in every drawing, whatever rises above them.
    let rem = REM * tall / height;
    let label = escape(&format!("the activations of {} to scale", network.name));
    format!(
        "<svg class=\"scale\" viewBox=\"0 {highest:.2} {WIDTH} {tall:.2}\" style=\"height: {rem:.2}rem\" \
         preserveAspectRatio=\"none\" role=\"group\" aria-label=\"{label}\">\n{svg}</svg>\n"
    )
}

/// The stages, with their colours and shapes.
fn legend(network: &Network, side: Side) -> String {
    let items: String = network
        .stages
        .iter()
        .enumerate()
        .map(|(index, stage)| {
            let class = colour(network, Some(index));
            let times =
                stage.blocks.filter(|n| *n > 1).map(|n| format!(" ×{n}")).unwrap_or_default();
            format!(
                "<li><a href=\"#{}\"><i class=\"{class}\"></i>{}</a>{times} <span>{}</span></li>\n",
                side.stage(index),
                escape(&stage.name),
                shape(stage.output)
            )
        })
        .collect();
    format!("<ul class=\"legend\">\n{items}</ul>\n")
}

fn caption(network: &Network) -> String {
    let arcs = match pieces(network).iter().any(|piece| piece.shortcut.is_some()) {
        true => " Arcs are shortcuts, heavy where they change the shape.",
        false => "",
    };
    format!(
        "<figcaption>What each block makes: as high as its rows, as long as its channels.{arcs}</figcaption>\n"
    )
}
