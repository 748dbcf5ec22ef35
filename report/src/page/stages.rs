//! Stage by stage: blocks that unfold, with a drawing of their inside and a line for each layer.

use crate::draw::escape;
use crate::network::{Layer, Network, Stage};
use crate::page::block::Block;
use crate::page::text::{bytes, field, grouped, milliseconds, operation, scaled, shape, share};
use crate::page::{Side, colour, counted, wide};

pub(super) fn view(network: &Network) -> String {
    let stages = network.stages.iter().enumerate();
    stages.map(|(index, stage)| article(network, index, stage)).collect()
}

/// Blocks of a stage that lie side by side and are alike, or a row that has no blocks.
struct Group {
    /// The first one, and how many there are.
    first: Option<usize>,
    count: usize,
}

fn article(network: &Network, index: usize, stage: &Stage) -> String {
    let class = colour(network, Some(index));
    let name = escape(&stage.name);
    let times = match stage.blocks {
        None => String::new(),
        Some(blocks) => format!(" ×{blocks}"),
    };
    let costs = costs(network, stage.params, stage.macs, stage.ms);
    let groups: String =
        groups(network, index, stage).iter().map(|g| group(network, index, stage, g)).collect();
    format!(
        "<article class=\"stage {class}\" id=\"s{index}\">\n<h3>{name} <small>{}{times}</small></h3>\n\
         <p class=\"facts\"><span>{} → {}</span>{costs}</p>\n{groups}</article>\n",
        operation(stage.op),
        shape(stage.input),
        shape(stage.output)
    )
}

/// What something costs, and what part of the network's that is.
fn costs(network: &Network, params: u64, macs: u64, ms: Option<f64>) -> String {
    let part = |text: String, part: f64, whole: f64| match part > 0.0 {
        true => format!(" <span>{text} <small>{}</small></span>", share(part, whole)),
        false => String::new(),
    };
    let params_part =
        part(format!("{} params", scaled(params)), params as f64, network.params as f64);
    let macs_part = part(format!("{} MACs", scaled(macs)), macs as f64, network.macs as f64);
    let time = match (&network.profile, ms) {
        (Some(profile), Some(ms)) => part(format!("{} ms", milliseconds(ms)), ms, profile.total.ms),
        _ => String::new(),
    };
    params_part + &macs_part + &time
}

fn groups(network: &Network, index: usize, stage: &Stage) -> Vec<Group> {
    let Some(blocks) = stage.blocks else { return vec![Group { first: None, count: 1 }] };
    let mut groups: Vec<Group> = Vec::new();
    for block in 0..blocks {
        match groups.last_mut() {
            Some(Group { first: Some(first), count }) if alike(network, index, [*first, block]) => {
                *count += 1;
            }
            _ => groups.push(Group { first: Some(block), count: 1 }),
        }
    }
    groups
}

fn of_block(
    network: &Network,
    stage: usize,
    block: Option<usize>,
) -> impl Iterator<Item = (usize, &Layer)> {
    let layers = network.layers.iter().enumerate();
    layers.filter(move |(_, layer)| layer.stage == stage && layer.block == block)
}

/// Whether two blocks consist of the same layers.
fn alike(network: &Network, stage: usize, blocks: [usize; 2]) -> bool {
    let [one, other] = blocks.map(|block| {
        let layers = of_block(network, stage, Some(block)).map(|(_, layer)| {
            let counts = &layer.counts;
            (
                &counts.operation,
                [counts.input, counts.output],
                [counts.params, counts.macs, layer.weight_bytes, layer.activation_bytes],
                (layer.algorithm, layer.format()),
            )
        });
        layers.collect::<Vec<_>>()
    });
    one == other
}

fn group(network: &Network, index: usize, stage: &Stage, group: &Group) -> String {
    let Group { first, count } = *group;
    let layers: Vec<(usize, &Layer)> = match first {
        None => of_block(network, index, None).collect(),
        Some(first) => {
            (first..first + count).flat_map(|block| of_block(network, index, Some(block))).collect()
        }
    };
    let Some(block) = Block::new(network, index, first) else { return String::new() };
    let name = match first {
        None => "inside".to_owned(),
        Some(first) if count == 1 => format!("{}.{first}", stage.name),
        Some(first) => format!("{}.{first} to .{}", stage.name, first + count - 1),
    };
    let sum = |of: fn(&Layer) -> u64| layers.iter().map(|(_, layer)| of(layer)).sum::<u64>();
    let ms = layers.iter().map(|(_, layer)| layer.ms).sum::<Option<f64>>();
    let alike = if count > 1 { format!(" <em>{count} alike</em>") } else { String::new() };
    let steps: Vec<String> =
        block.summary().iter().map(|step| format!("<span>{}</span>", escape(step))).collect();
    let shortcut = block.shortcut().map(|kind| format!("<span class=\"kind\">{kind}</span>"));
    // A row without blocks says what it costs in its heading.
    let costs = match first {
        None => String::new(),
        Some(_) => costs(network, sum(|l| l.counts.params), sum(|l| l.counts.macs), ms),
    };
    format!(
        "<details>\n<summary><b>{}</b>{alike} <span class=\"chain\">{}{}</span>{costs}</summary>\n\
         <div class=\"inside\">\n{}{}</div>\n</details>\n",
        escape(&name),
        steps.join(" "),
        shortcut.unwrap_or_default(),
        block.svg(&name),
        wide(&format!("Layers of {name}"), &table(network, &layers))
    )
}

/// A line for each layer.
fn table(network: &Network, layers: &[(usize, &Layer)]) -> String {
    let time = if network.is_timed() { "<th scope=\"col\">ms</th>" } else { "" };
    let head = format!(
        "<thead><tr><th scope=\"col\">Layer</th><th scope=\"col\">Operation</th><th scope=\"col\">Output</th>\
         <th scope=\"col\">Field</th><th scope=\"col\">Params</th><th scope=\"col\">MACs</th>\
         <th scope=\"col\">Weights</th><th scope=\"col\">Activations</th><th scope=\"col\">Algorithm</th>{time}</tr></thead>"
    );
    let rows: String = layers.iter().map(|(index, layer)| row(network, *index, layer)).collect();
    format!("<table class=\"layers\">\n{head}\n<tbody>\n{rows}</tbody>\n</table>\n")
}

fn row(network: &Network, index: usize, layer: &Layer) -> String {
    let counts = &layer.counts;
    let some = |count: u64, text: String| if count == 0 { String::new() } else { text };
    let cell = |text: String, hint: String| match text.is_empty() {
        true => "<td></td>".to_owned(),
        false => format!("<td class=\"n\" title=\"{}\">{text}</td>", escape(&hint)),
    };
    let algorithm = layer.algorithm.map_or(String::new(), |word| {
        format!("<span class=\"algorithm {word}\">{word}{}</span>", layer.format())
    });
    let stride = layer.receptive_field.stride[0];
    let ms = layer.ms.map(|ms| {
        let whole = network.profile.as_ref().map_or(0.0, |profile| profile.total.ms);
        cell(some(u64::from(ms > 0.0), milliseconds(ms)), share(ms, whole))
    });
    format!(
        "<tr id=\"{}\"><th scope=\"row\">{}</th><td>{}</td><td class=\"n\" title=\"of {}\">{}</td>{}{}{}{}{}<td>{algorithm}</td>{}</tr>\n",
        Side::Only.layer(index),
        escape(&counts.name),
        escape(&operation(&counts.operation)),
        shape(counts.input),
        shape(counts.output),
        cell(
            field(&layer.receptive_field, counts.output),
            format!("pixels of the picture; neighbours are {stride} apart")
        ),
        cell(
            some(counts.params, grouped(counts.params)),
            share(counts.params as f64, network.params as f64)
        ),
        cell(some(counts.macs, scaled(counts.macs)), counted(counts.macs, "multiply-adds")),
        cell(
            some(layer.weight_bytes, bytes(layer.weight_bytes)),
            counted(layer.weight_bytes, "bytes")
        ),
        cell(
            some(layer.activation_bytes, bytes(layer.activation_bytes)),
            counted(layer.activation_bytes, "bytes")
        ),
        ms.unwrap_or_default()
    )
}
