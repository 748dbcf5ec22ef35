//! The arena as a map: bytes upwards, steps to the right.

use std::fmt::Write;

use crate::draw::escape;
use crate::network::{Network, Space};
use crate::page::text::{bytes, shape};
use crate::page::{Side, colour};

/// The drawing's units; it is stretched to the width of the page.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 240.0;

pub(super) fn view(network: &Network, [arena, steps]: [usize; 2], side: Side) -> String {
    let memory = &network.memory;
    let peak = peak(network);
    format!(
        "<figure class=\"map\">\n<div class=\"axis\"><span>{}</span><span>0</span></div>\n{}\
         <figcaption>The arena of {}: each box is an activation, from the step that writes it (left) to the last one that \
         reads it, at the bytes where it lies; pale, Winograd’s points of a layer’s input. The most that is alive at a \
         step is {}. A thread’s scratch takes {} more.</figcaption>\n</figure>\n",
        bytes(arena as u64),
        svg(network, arena, steps, side),
        bytes(memory.arena_bytes as u64),
        bytes(peak as u64),
        bytes(memory.scratch_bytes as u64),
    )
}

/// The most bytes that are needed at one step; a value that takes its residual's place counts once.
fn peak(network: &Network) -> usize {
    let memory = &network.memory;
    let at = |step: usize| -> usize {
        let alive = memory.spaces.iter().filter(|s| s.steps[0] <= step && step <= s.steps[1]);
        let mut ranges: Vec<[usize; 2]> = alive.map(|s| [s.offset, s.offset + s.bytes]).collect();
        ranges.sort_unstable();
        let mut end = 0;
        let mut sum = 0;
        for [first, last] in ranges {
            sum += last.saturating_sub(first.max(end));
            end = end.max(last);
        }
        sum
    };
    (0..memory.steps.len()).map(at).max().unwrap_or(0)
}

/// The map where so many bytes fill the height, and so many steps the width.
fn svg(network: &Network, arena: usize, steps: usize, side: Side) -> String {
    let memory = &network.memory;
    let x = |step: usize| WIDTH * step as f64 / steps.max(1) as f64;
    let y = |byte: usize| HEIGHT * (1.0 - byte as f64 / arena.max(1) as f64);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {}\" preserveAspectRatio=\"none\" role=\"group\" aria-label=\"{}\">\n\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n",
        HEIGHT + 10.0,
        escape(&format!("the memory of {} from step to step", network.name))
    );
    for space in &memory.spaces {
        let Space { step, points, offset, bytes: len, steps: [first, last], .. } = *space;
        let made = &memory.steps[step];
        // What is written over a residual begins where that ends.
        let over = memory.spaces.iter().any(|next| {
            next.offset == offset && next.steps[0] == last && next.step != step && !next.points
        });
        let end = if over { last } else { last + 1 };
        let class = colour(network, made.stage);
        let points_class = if points { " points" } else { "" };
        let what = if points { "points of its input".to_owned() } else { shape(space.shape) };
        let hint = escape(&format!(
            "{}: {what}, {} from byte {offset}, steps {first} to {last}",
            made.name,
            bytes(len as u64)
        ));
        let (top, height) = (y(offset + len), y(offset) - y(offset + len));
        let rect = format!(
            "<rect class=\"{class}{points_class}\" x=\"{:.2}\" y=\"{top:.2}\" width=\"{:.2}\" height=\"{height:.2}\">\
             <title>{hint}</title></rect>",
            x(first),
            (x(end) - x(first)).max(0.5)
        );
        let _ = match made.layer {
            Some(layer) => {
                writeln!(svg, "<a href=\"#{}\" tabindex=\"-1\">{rect}</a>", side.layer(layer))
            }
            None => writeln!(svg, "{rect}"),
        };
    }
    for (index, step) in memory.steps.iter().enumerate() {
        let _ = writeln!(
            svg,
            "<rect class=\"{}\" x=\"{:.2}\" y=\"{}\" width=\"{:.2}\" height=\"5\"><title>{}</title></rect>",
            colour(network, step.stage),
            x(index),
            HEIGHT + 5.0,
            x(index + 1) - x(index),
            escape(&format!("step {index}: {}", step.name))
        );
    }
    svg + "</svg>\n"
}
