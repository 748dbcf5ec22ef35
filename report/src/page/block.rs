//! A block's inside: its operators as shapes that are as wide as their channels, from top to bottom, with the shortcut
//! beside them.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::draw::escape;
use crate::network::{Dimensions, Network};
use crate::page::text::{operation, shape};

/// Distance between rows of operators, and what of it an operator takes.
const ROW: f64 = 64.0;
const HEIGHT: f64 = 34.0;
/// Width of the most channels that a drawing has, in each lane.
const WIDEST: f64 = 148.0;
/// An operator of few channels is wider than to scale, so that it can be seen.
const NARROWEST: f64 = 22.0;
/// Middles of the lanes: the main path, what stands beside it, and beside that.
const LANES: [f64; 3] = [96.0, 262.0, 418.0];
const TOP: f64 = 26.0;

/// An operator with those that only rescale what it makes.
struct Item {
    /// Its place among the network's nodes.
    node: usize,
    /// The last operator that is drawn with it.
    end: usize,
    /// What follows in it, in words.
    then: Vec<&'static str>,
    /// What it reads: an item, or none for what comes from outside.
    inputs: Vec<Option<usize>>,
    lane: usize,
    row: usize,
}

/// The operators of a row of the table, or of one of its blocks, and how they hang together.
pub(super) struct Block<'a> {
    network: &'a Network,
    /// What it reads.
    input: Dimensions,
    items: Vec<Item>,
}

impl<'a> Block<'a> {
    /// Those that belong to a row and one of its blocks. None if there are none.
    pub(super) fn new(network: &'a Network, stage: usize, block: Option<usize>) -> Option<Self> {
        let inside = |node: usize| {
            let node = &network.nodes[node];
            node.stage == Some(stage) && node.block == block
        };
        let nodes: Vec<usize> = (0..network.nodes.len()).filter(|&node| inside(node)).collect();
        let first = *nodes.first()?;
        let input = network.nodes[*network.nodes[first].inputs.first()?].output;
        let mut items: Vec<Item> = Vec::new();
        for node in nodes {
            let inputs = &network.nodes[node].inputs;
            let item = |input: &usize| items.iter().position(|item| item.end == *input);
            let from: Vec<Option<usize>> = inputs.iter().map(item).collect();
            if let ([Some(before)], true) = (&from[..], follows(network, node)) {
                items[*before].end = node;
                items[*before].then.push(network.nodes[node].op);
                continue;
            }
            items.push(Item { node, end: node, then: Vec::new(), inputs: from, lane: 0, row: 0 });
        }
        let mut block = Self { network, input, items };
        block.assign_lanes();
        block.assign_rows();
        Some(block)
    }

    /// What stands beside the main path: the shortcut outermost, gates inside it.
    fn assign_lanes(&mut self) {
        let gated = self.items.iter().any(|item| self.op(item) == "gate");
        for index in 0..self.items.len() {
            let lane = match self.op(&self.items[index]) {
                "gate" => 1,
                "add" => 1 + usize::from(gated),
                _ => continue,
            };
            let [main, beside] = self.items[index].inputs[..] else { continue };
            let main = self.before(main);
            for other in self.before(beside).difference(&main) {
                // An addition inside a block of several scales is no shortcut.
                if self.op(&self.items[*other]) != "slice" && self.is_last_sum(index, lane) {
                    self.items[*other].lane = lane;
                }
            }
        }
    }

    /// Whether the item is a gate, or the last of all additions.
    fn is_last_sum(&self, index: usize, lane: usize) -> bool {
        let is_sum = |item: &Item| self.op(item) == "add";
        !is_sum(&self.items[index])
            || lane == 0
            || self.items.iter().rposition(is_sum) == Some(index)
    }

    /// An item and all that it depends on.
    fn before(&self, item: Option<usize>) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut open = vec![item];
        while let Some(item) = open.pop() {
            if let Some(item) = item
                && found.insert(item)
            {
                open.extend(&self.items[item].inputs);
            }
        }
        found
    }

    /// Each one below all that it reads, and below what stands in its lane already.
    fn assign_rows(&mut self) {
        let mut next = [1; LANES.len()];
        for index in 0..self.items.len() {
            let inputs = self.items[index].inputs.iter().flatten();
            let below = inputs.map(|&input| self.items[input].row + 1).max().unwrap_or(1);
            let item = &mut self.items[index];
            item.row = below.max(next[item.lane]);
            next[item.lane] = item.row + 1;
        }
    }

    fn op(&self, item: &Item) -> &'static str {
        self.network.nodes[item.node].op
    }

    fn output(&self, item: Option<usize>) -> Dimensions {
        item.map_or(self.input, |item| self.network.nodes[self.items[item].end].output)
    }

    /// The kind of shortcut that joins the block's ends, if one does.
    pub(super) fn shortcut(&self) -> Option<&'static str> {
        let sum = self.items.iter().rfind(|item| self.op(item) == "add")?;
        let [main, beside] = sum.inputs[..] else { return None };
        let on_main = self.before(main);
        let own: Vec<&'static str> = self
            .before(beside)
            .difference(&on_main)
            .map(|&item| self.op(&self.items[item]))
            .collect();
        Some(match &own[..] {
            [] => "identity",
            own if own.contains(&"conv") && own.iter().any(|op| op.ends_with("pool")) => {
                "pool, projection"
            }
            own if own.contains(&"conv") => "projection",
            own if own.iter().any(|op| op.ends_with("pool")) => "pool, zero padding",
            own if own.contains(&"zero_pad") => "zero padding",
            _ => "identity",
        })
    }

    /// The operators of the main path that have a window or weights, in short: `1×1 64`.
    pub(super) fn summary(&self) -> Vec<String> {
        let main = self.items.iter().filter(|item| item.lane == 0);
        let drawn = main.filter(|item| {
            !matches!(
                self.op(item),
                "add" | "gate" | "slice" | "concat" | "batch_norm" | "group_norm"
            )
        });
        let words = drawn.map(|item| {
            let node = &self.network.nodes[item.node];
            let words = operation(&node.operation);
            match node.op {
                "conv" => {
                    let window = words.strip_prefix("conv ").unwrap_or(&words);
                    format!("{window}, {}", node.output[0])
                }
                _ => words,
            }
        });
        words.collect()
    }

    /// The drawing, as an image in the line.
    pub(super) fn svg(&self, name: &str) -> String {
        let rows = self.items.iter().map(|item| item.row).max().unwrap_or(0);
        let lanes = self.items.iter().map(|item| item.lane).max().unwrap_or(0);
        let lanes = lanes.max(usize::from(self.shortcut().is_some()));
        let width = if lanes == 0 { 2.0 * LANES[0] } else { LANES[lanes] + 82.0 };
        let height = TOP + ROW * rows as f64 + 38.0;
        let mut svg = format!(
            "<svg class=\"block\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"img\" aria-label=\"{}\">\n",
            escape(&format!("the inside of {name}: {}", self.words()))
        );
        for (index, item) in self.items.iter().enumerate() {
            for (order, &input) in item.inputs.iter().enumerate() {
                self.edge(&mut svg, input, index, order);
            }
        }
        self.shapes(&mut svg);
        for item in &self.items {
            self.operator(&mut svg, item);
        }
        svg + "</svg>\n"
    }

    /// What the drawing shows, for those who hear it.
    fn words(&self) -> String {
        let items = self.items.iter().map(|item| {
            let node = &self.network.nodes[item.node];
            format!(
                "{} to {}",
                operation(&node.operation),
                shape(self.network.nodes[item.end].output)
            )
        });
        let shortcut = self.shortcut().map(|kind| format!("; shortcut: {kind}"));
        items.collect::<Vec<_>>().join(", ") + &shortcut.unwrap_or_default()
    }

    fn width(&self, channels: usize) -> f64 {
        let all = self.items.iter().map(|item| self.network.nodes[item.end].output[0]);
        let most = all.chain([self.input[0]]).max().unwrap_or(1).max(1);
        (WIDEST * (channels as f64 / most as f64).sqrt()).max(NARROWEST)
    }

    fn middle(&self, item: Option<usize>) -> f64 {
        LANES[item.map_or(0, |item| self.items[item].lane)]
    }

    /// Where an item ends, or what comes from outside does.
    fn bottom(&self, item: Option<usize>) -> f64 {
        item.map_or(TOP, |item| top(&self.items[item]) + HEIGHT)
    }

    /// Whether an item of the lane lies between two rows.
    fn is_blocked(&self, lane: usize, from: usize, to: usize) -> bool {
        self.items.iter().any(|item| item.lane == lane && item.row > from && item.row < to)
    }

    /// The way of a value from where it is made to where it is read.
    fn edge(&self, svg: &mut String, from: Option<usize>, to: usize, order: usize) {
        let (reader, row) = (&self.items[to], from.map_or(0, |from| self.items[from].row));
        let (x0, y0) = (self.middle(from), self.bottom(from));
        let (x1, y1) = (LANES[reader.lane], top(reader));
        let is_sum = matches!(self.op(reader), "add" | "gate");
        let blocked = self.is_blocked(reader.lane, row, reader.row);
        let lane = from.map_or(0, |from| self.items[from].lane);
        if lane == reader.lane && !blocked {
            let half = self.width(self.output(from)[0]) / 2.0;
            let (left, right, tall) = (x0 - half, 2.0 * half, y1 - y0);
            let _ = writeln!(
                svg,
                "<rect class=\"flow\" x=\"{left:.1}\" y=\"{y0:.1}\" width=\"{right:.1}\" height=\"{tall:.1}\"/>"
            );
            return;
        }
        // Into the side of a sum, past which the shortcut leads.
        let (end_x, end_y) =
            if is_sum && order > 0 { (x1 + 15.0, y1 + HEIGHT / 2.0) } else { (x1, y1) };
        let path = if lane == reader.lane && order > 0 && is_sum && lane == 0 {
            let gated = self.items.iter().any(|item| self.op(item) == "gate");
            let is_shortcut = self.is_last_sum(to, 1);
            if is_shortcut {
                let x = LANES[1 + usize::from(gated)];
                beside(x0, y0, x, end_x, end_y)
            } else {
                around(x0, y0, end_x - 30.0, end_y, reader.row - row)
            }
        } else if lane == reader.lane {
            around(x0, y0, end_x - 12.0, end_y + 6.0, reader.row - row)
        } else if lane < reader.lane {
            let bend = y0 + ROW - HEIGHT;
            format!("M{x0:.1} {y0:.1}C{x0:.1} {bend:.1} {x1:.1} {y0:.1} {x1:.1} {bend:.1}V{y1:.1}")
        } else {
            format!(
                "M{x0:.1} {y0:.1}V{:.1}Q{x0:.1} {end_y:.1} {:.1} {end_y:.1}H{end_x:.1}",
                end_y - 16.0,
                x0 - 16.0
            )
        };
        let apart = is_sum && order > 0 || reader.lane > 0;
        let class = if apart { "edge shortcut" } else { "edge" };
        let _ = writeln!(svg, "<path class=\"{class}\" d=\"{path}\"/>");
    }

    /// The shape of what comes in, and of what each operator makes.
    fn shapes(&self, svg: &mut String) {
        let _ = writeln!(
            svg,
            "<text class=\"shape\" x=\"{}\" y=\"{:.1}\">{}</text>",
            LANES[0],
            TOP - 8.0,
            shape(self.input)
        );
        for (index, item) in self.items.iter().enumerate() {
            let _ = writeln!(
                svg,
                "<text class=\"shape\" x=\"{}\" y=\"{:.1}\">{}</text>",
                LANES[item.lane],
                top(item) + HEIGHT + 18.0,
                shape(self.output(Some(index)))
            );
        }
    }

    fn operator(&self, svg: &mut String, item: &Item) {
        let node = &self.network.nodes[item.node];
        let (x, y) = (LANES[item.lane], top(item));
        let middle = y + HEIGHT / 2.0;
        let then = item.then.iter().map(|op| words(op)).collect::<Vec<_>>().join(", ");
        let hint = escape(&format!("{}: {}", node.name, operation(&node.operation)));
        let _ = write!(svg, "<g class=\"{}\"><title>{hint}</title>", class(node.op));
        if matches!(node.op, "add" | "gate") {
            let sign = if node.op == "add" { "+" } else { "×" };
            let _ = write!(
                svg,
                "<circle cx=\"{x}\" cy=\"{middle}\" r=\"14\"/><text class=\"sign\" x=\"{x}\" y=\"{:.1}\">{sign}</text>",
                middle + 5.5
            );
            if !then.is_empty() {
                let _ = write!(
                    svg,
                    "<text class=\"then left\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                    x - 20.0,
                    middle + 4.0,
                    escape(&then)
                );
            }
        } else {
            let from = item.inputs.first().copied().flatten();
            let [a, b] = [self.output(from)[0], node.output[0]].map(|c| self.width(c) / 2.0);
            let end = y + HEIGHT;
            let _ = write!(
                svg,
                "<path d=\"M{:.1} {y}H{:.1}L{:.1} {end}H{:.1}Z\"/>",
                x - a,
                x + a,
                x + b,
                x - b
            );
            let line = if then.is_empty() { middle + 4.5 } else { middle - 1.0 };
            let _ = write!(
                svg,
                "<text class=\"op\" x=\"{x}\" y=\"{line:.1}\">{}</text>",
                escape(&operation(&node.operation))
            );
            if !then.is_empty() {
                let _ = write!(
                    svg,
                    "<text class=\"then\" x=\"{x}\" y=\"{:.1}\">{}</text>",
                    middle + 12.0,
                    escape(&then)
                );
            }
        }
        svg.push_str("</g>\n");
    }
}

/// The way around what is beside the main path.
fn beside(x0: f64, y0: f64, x: f64, end_x: f64, end_y: f64) -> String {
    let bend = y0 + ROW - HEIGHT;
    format!(
        "M{x0:.1} {y0:.1}C{x0:.1} {bend:.1} {x:.1} {y0:.1} {x:.1} {bend:.1}V{:.1}Q{x:.1} {end_y:.1} {:.1} \
         {end_y:.1}H{end_x:.1}",
        end_y - 16.0,
        x - 16.0
    )
}

/// The way around what lies between, on the left.
fn around(x0: f64, y0: f64, x1: f64, y1: f64, rows: usize) -> String {
    let left = (x0 - WIDEST / 2.0 - 4.0 * rows as f64).max(2.0);
    format!(
        "M{x0:.1} {y0:.1}C{left:.1} {:.1} {left:.1} {:.1} {x1:.1} {y1:.1}",
        y0 + 20.0,
        y1 - 20.0
    )
}

fn top(item: &Item) -> f64 {
    TOP + ROW * item.row as f64 - HEIGHT
}

/// Whether an operator is drawn with the one before it, whose only reader it is.
fn follows(network: &Network, node: usize) -> bool {
    let Some(&input) = network.nodes[node].inputs.first() else { return false };
    let readers = network.nodes.iter().flat_map(|other| &other.inputs);
    readers.filter(|&&read| read == input).count() == 1 && rescales(network.nodes[node].op)
}

/// Whether an operator changes no shape and has no second input.
fn rescales(op: &str) -> bool {
    !matches!(
        op,
        "input"
            | "conv"
            | "add"
            | "gate"
            | "slice"
            | "concat"
            | "channel_conv"
            | "zero_pad"
            | "max_pool"
            | "average_pool"
            | "blur"
            | "global_average_pool"
            | "linear"
            | "softmax"
    )
}

/// An operator's word with spaces.
fn words(op: &str) -> String {
    op.replace('_', " ")
}

fn class(op: &str) -> &'static str {
    match op {
        "conv" | "linear" | "channel_conv" => "weighted",
        "add" | "gate" => "sum",
        _ => "plain",
    }
}
