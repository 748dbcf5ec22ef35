//! A table as inline text.

use std::fmt::Write as _;

use resnet_runtime::kernels::Activation;
use resnet_runtime::picture::{Channels, Filter, Resize};

use crate::diagnostics::Spanned;
use crate::geometry::{Extent, Padding};
use crate::spec::{
    Attention, BlockKind, BlockRow, ConvRow, Expected, Labels, Norm, PaddingCell, PoolRow, Row,
    RowOp, Shortcut, Spec, Squeeze, Standardization, WindowCells,
};

/// Prints a table as the item `Name: shape => { ... }` of `resnet!`, which means the same.
///
/// Nearly every cell is written, also where its value is the default; comments are not kept.
pub fn print(type_name: &str, spec: &Spec) -> String {
    let mut text = format!("{type_name}: {} => {{\n", spec.input.value);
    let mut setting = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    {name} = {value};");
    };
    setting("name", quoted(&spec.name.value));
    setting("norm_epsilon", format!("{:?}", spec.norm_epsilon));
    setting("pre_activation", spec.pre_activation.to_string());
    setting("activation", spec.activation.to_string());
    if let Standardization::On { .. } = spec.weight_standardization {
        let text = standardization(spec.weight_standardization);
        setting("weight_standardization", text);
    }
    if !spec.features.is_empty() {
        let names: Vec<String> = spec.features.iter().map(|row| name(&row.value)).collect();
        setting("features", format!("[{}]", names.join(", ")));
    }
    if !spec.allow.is_empty() {
        let names: Vec<&str> = spec.allow.iter().map(|lint| lint.value.word()).collect();
        setting("allow", format!("[{}]", names.join(", ")));
    }
    for row in &spec.table {
        let _ = writeln!(text, "    {};", self::row(row));
    }
    let mut setting = |name: &str, value: String| {
        let _ = writeln!(text, "    {name} = {value};");
    };
    let expect = &spec.expect;
    let counts = [
        ("depth", &expect.depth),
        ("params", &expect.params),
        ("macs", &expect.macs),
        ("flops", &expect.flops),
        ("arena_bytes", &expect.arena_bytes),
    ];
    let field = |name: &str, count: &Expected| format!("{name} = {count}");
    let counts: Vec<String> = counts
        .iter()
        .filter_map(|(name, count)| count.as_ref().map(|count| field(name, &count.value)))
        .collect();
    if !counts.is_empty() {
        setting("expect", braced(&counts));
    }
    let preprocess = &spec.preprocess;
    let mut steps = Vec::new();
    steps.push(match preprocess.resize {
        None => "resize = none".to_owned(),
        Some(Resize::Shorter(side)) => format!("resize = {side}"),
        Some(Resize::Exact(rows, columns)) => format!("resize = {rows}x{columns}"),
    });
    if preprocess.filter != Filter::default() {
        steps.push(format!("filter = {}", preprocess.filter));
    }
    if !preprocess.antialias {
        steps.push("antialias = false".to_owned());
    }
    steps.extend(preprocess.crop.map(|(rows, columns)| format!("crop = {rows}x{columns}")));
    for (name, values) in [("mean", &preprocess.mean), ("std", &preprocess.std)] {
        if !values.is_empty() {
            steps.push(format!("{name} = {values:?}"));
        }
    }
    if preprocess.channels == Channels::Bgr {
        steps.push("channels = bgr".to_owned());
    }
    setting("preprocess", braced(&steps));
    match spec.labels.as_ref().map(|labels| &labels.value) {
        Some(Labels::Names(names)) => {
            let names: Vec<String> = names.iter().map(|name| self::name(name)).collect();
            setting("labels", format!("[{}]", names.join(", ")));
        }
        Some(Labels::File(path)) => setting("labels", quoted(path)),
        None => {}
    }
    text + "}\n"
}

fn braced(fields: &[String]) -> String {
    format!("{{ {} }}", fields.join(", "))
}

/// A string literal of Rust.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// A word where it can be one.
fn name(text: &str) -> String {
    // Words that Rust keeps for itself are words here too, but for a lone underscore.
    let word = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && text.starts_with(|c: char| c.is_ascii_alphabetic());
    if word { text.to_owned() } else { quoted(text) }
}

fn row(row: &Row) -> String {
    let mut text = format!("{}: ", name(&row.layer.value));
    if let Some(claim) = &row.input {
        text += &format!("{} -> ", claim.value);
    }
    let (mut arguments, repeat) = arguments(&row.op.value);
    arguments.extend(row.upsample.map(|factor| format!("upsample = {}", factor.value)));
    if let Some(prefix) = &row.weights {
        arguments.push(format!("weights = {}", quoted(&prefix.value)));
    }
    text += row.op.value.operation().word();
    if !arguments.is_empty() {
        text += &format!("({})", arguments.join(", "));
    }
    if repeat != 1 {
        text += &format!(" * {repeat}");
    }
    if let Some(claim) = &row.output {
        text += &format!(" -> {}", claim.value);
    }
    text
}

/// The arguments, and how often the operation is repeated.
fn arguments(op: &RowOp) -> (Vec<String>, usize) {
    let arguments = match op {
        RowOp::Conv(conv) => self::conv(conv),
        RowOp::Pool(PoolRow { window, count_padding, round_up, .. }) => {
            let mut arguments = self::window(window);
            arguments.push(format!("count_padding = {count_padding}"));
            arguments.push(format!("rounding = {}", if *round_up { "up" } else { "down" }));
            arguments
        }
        RowOp::Blur(window) => self::window(window),
        RowOp::Block(block) => return (self::block(block), block.repeat.value),
        RowOp::Norm { norm, activation } => {
            let norm = self::norm("norm", Some(*norm));
            std::iter::once(norm).chain(self::activation(*activation)).collect()
        }
        RowOp::Linear { channels, activation } => {
            let channels = channels.value.to_string();
            std::iter::once(channels).chain(self::activation(Some(*activation))).collect()
        }
        RowOp::GlobalAveragePool | RowOp::Softmax => Vec::new(),
    };
    (arguments, 1)
}

fn extent(extent: Extent) -> String {
    format!("{}x{}", extent.rows, extent.columns)
}

fn strides(window: &WindowCells) -> [String; 2] {
    let WindowCells { stride, padding, .. } = window;
    [
        format!("stride = {}", extent(stride.value)),
        format!("padding = {}", self::padding(padding.value)),
    ]
}

fn padding(padding: PaddingCell) -> String {
    match padding {
        PaddingCell::Same => "same".to_owned(),
        PaddingCell::Sides(Padding { before, after }) if before == after => extent(before),
        PaddingCell::Sides(Padding { before, after }) => braced(&[
            format!("top = {}", before.rows),
            format!("bottom = {}", after.rows),
            format!("left = {}", before.columns),
            format!("right = {}", after.columns),
        ]),
    }
}

fn window(window: &WindowCells) -> Vec<String> {
    let mut arguments = vec![extent(window.kernel.value)];
    arguments.extend(strides(window));
    arguments
}

fn conv(conv: &ConvRow) -> Vec<String> {
    let mut arguments = vec![extent(conv.window.kernel.value), conv.channels.value.to_string()];
    arguments.extend(strides(&conv.window));
    arguments.push(format!("dilation = {}", extent(conv.window.dilation.value)));
    arguments.push(format!("groups = {}", conv.groups.value));
    arguments.push(norm("norm", conv.norm));
    arguments.push(format!("bias = {}", conv.bias));
    arguments.extend(activation(conv.activation));
    let own = conv.weight_standardization.map(standardization);
    arguments.extend(own.map(|own| format!("weight_standardization = {own}")));
    if let Some(prefix) = &conv.norm_weights {
        arguments.push(format!("norm_weights = {}", quoted(&prefix.value)));
    }
    arguments
}

fn standardization(standardization: Standardization) -> String {
    match standardization {
        Standardization::Off => "false".to_owned(),
        Standardization::On { epsilon } => braced(&[format!("epsilon = {epsilon:?}")]),
    }
}

fn norm(name: &str, norm: Option<Spanned<Norm>>) -> String {
    match norm.map(|norm| norm.value) {
        Some(Norm::Batch) => format!("{name} = batch"),
        Some(Norm::Group { groups }) => format!("{name} = {{ groups = {groups} }}"),
        None => format!("{name} = none"),
    }
}

fn activation(activation: Option<Activation>) -> Option<String> {
    activation.map(|activation| format!("activation = {activation}"))
}

fn block(block: &BlockRow) -> Vec<String> {
    let mut arguments = vec![
        block.channels.value.to_string(),
        format!("stride = {}", extent(block.stride.value)),
        format!("dilation = {}", extent(block.dilation.value)),
        format!("bias = {}", block.bias),
        norm("norm", Some(block.norm)),
        format!("shortcut = {}", block.shortcut.value.word()),
    ];
    match block.shortcut.value {
        Shortcut::Projection | Shortcut::PoolProjection | Shortcut::ProjectAll => {
            arguments.push(format!("projection_kernel = {}", extent(block.projection_kernel)));
        }
        Shortcut::ZeroPad | Shortcut::PoolZeroPad => {
            arguments.push(format!("zero_channels = {}", block.zero_channels.word()));
        }
        Shortcut::Identity | Shortcut::None => {}
    }
    let shortcut_from = block.shortcut_from;
    arguments.extend(shortcut_from.map(|from| format!("shortcut_from = {}", from.value.word())));
    arguments.extend(activation(block.activation));
    let own = block.weight_standardization.map(standardization);
    arguments.extend(own.map(|own| format!("weight_standardization = {own}")));
    arguments.extend(block.projection_norm.map(|kind| norm("projection_norm", kind)));
    arguments.extend(block.anti_alias.map(|kind| format!("anti_alias = {}", kind.value.word())));
    match block.attention {
        Some(Attention::SqueezeExcitation { middle, activation, after_activation }) => {
            let middle = match middle {
                Squeeze::Reduction(reduction) => format!("reduction = {reduction}"),
                Squeeze::Channels(channels) => format!("channels = {channels}"),
            };
            let after = if after_activation { ", after = activation" } else { "" };
            let cell = format!("{{ {middle}, activation = {activation}{after} }}");
            arguments.push(format!("squeeze_excitation = {cell}"));
        }
        Some(Attention::Efficient(Some(kernel))) => arguments.push(format!("eca = {kernel}")),
        Some(Attention::Efficient(None)) => arguments.push("eca = adaptive".to_owned()),
        None => {}
    }
    if block.attention.is_some() {
        let place = word(block.kind.weighed(), block.attention_on);
        arguments.push(format!("attention_on = {place}"));
    }
    let last = block.output_activation;
    arguments.extend(last.map(|last| format!("output_activation = {last}")));
    if block.same_padding {
        arguments.push("padding = same".to_owned());
    }
    let first_dilation = block.first_dilation;
    arguments.extend(first_dilation.map(|d| format!("first_dilation = {}", extent(d.value))));
    if let BlockKind::Bottleneck { width, groups, scale } = &block.kind {
        let width = width.map(|width| match scale {
            Some(_) => format!("width = {}", width.value[0]),
            None => format!("width = {:?}", width.value),
        });
        arguments.extend(width);
        arguments.extend(scale.map(|scale| format!("scale = {}", scale.value)));
        arguments.push(format!("groups = {}", groups.value));
    }
    let stride_on = word(block.kind.strides(), block.stride_on);
    arguments.push(format!("stride_on = {stride_on}"));
    arguments
}

/// The word of a choice, which has one.
fn word<T: Copy + PartialEq>(words: &[(&'static str, T)], choice: T) -> &'static str {
    words.iter().find(|(_, known)| *known == choice).map_or("", |(word, _)| word)
}
