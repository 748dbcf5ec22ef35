//! The figures at the top of a page.

use crate::network::Network;
use crate::page::text::{bytes, field, grouped, milliseconds, scaled, shape};

/// What goes in and what comes out.
pub(super) fn lead(network: &Network) -> String {
    let [channels, height, width] = network.input;
    let answer = match &network.features[..] {
        [] => shape(network.output),
        features => {
            let features = features.iter().map(|(name, of)| format!("{name} {}", shape(*of)));
            features.collect::<Vec<_>>().join(", ")
        }
    };
    let answer = crate::draw::escape(&answer);
    let batch = match network.batch {
        1 => String::new(),
        batch => format!("; memory, bytes and times are of {batch} pictures together"),
    };
    format!("{channels}×{height}×{width} in, {answer} out{batch}")
}

/// A figure, what it is of, and what else is to be said of it.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) note: String,
    /// The value, if it can be compared.
    pub(super) amount: Option<f64>,
}

pub(super) fn figures(network: &Network) -> Vec<Figure> {
    let figure = |name, value: String, note: String| Figure { name, value, note, amount: None };
    let counted = |name, amount: u64, value: String, note: String| Figure {
        amount: Some(amount as f64),
        ..figure(name, value, note)
    };
    let formats = match network.quantised_layers {
        0 => "in f32, as a run reads them".to_owned(),
        1 => "1 layer in 8 bits".to_owned(),
        many => format!("{many} layers in 8 bits"),
    };
    let mut figures = vec![
        counted(
            "Depth",
            network.depth as u64,
            network.depth.to_string(),
            "weighted layers, projections not counted".into(),
        ),
        counted("Parameters", network.params, scaled(network.params), grouped(network.params)),
        counted(
            "Multiply-adds",
            network.macs,
            scaled(network.macs),
            "for one picture; two FLOPs each".into(),
        ),
        counted("Weights", network.weight_bytes, bytes(network.weight_bytes), formats),
        counted(
            "Activations",
            network.arena_bytes,
            bytes(network.arena_bytes),
            "arena, and one thread’s scratch".into(),
        ),
    ];
    if let Some(last) = last_field(network) {
        let [_, height, width] = network.input;
        let picture = format!("pixels, of a picture of {height}×{width}");
        figures.push(figure("Receptive field", last, picture));
    }
    if let Some(profile) = &network.profile {
        let how = format!("{}, {}", profile.isa, crate::profile::threads_text(profile.threads));
        let ms = profile.total.ms;
        let time = figure("Time", format!("{} ms", milliseconds(ms)), how);
        figures.push(Figure { amount: Some(ms), ..time });
    }
    figures
}

/// The receptive field of the last layer that still has pixels.
fn last_field(network: &Network) -> Option<String> {
    let [_, height, width] = network.input;
    let last = network.layers.iter().rfind(|layer| {
        let [_, rows, columns] = layer.counts.output;
        rows * columns > 1
    });
    last.filter(|_| height * width > 1).map(|l| field(&l.receptive_field, l.counts.output))
}

pub(super) fn view(network: &Network) -> String {
    let items: String = figures(network)
        .iter()
        .map(|Figure { name, value, note, .. }| {
            format!("<div><dt>{name}</dt><dd><b>{value}</b> <small>{note}</small></dd></div>\n")
        })
        .collect();
    format!("<dl class=\"figures\">\n{items}</dl>\n{}", warnings(network))
}

/// What the table is warned of.
fn warnings(network: &Network) -> String {
    let warnings = network.warnings.iter().map(|warning| {
        let message = crate::draw::escape(&warning.message);
        format!("<p class=\"warning\"><b>Warning</b>, line {}: {message}</p>\n", warning.line)
    });
    warnings.collect()
}
