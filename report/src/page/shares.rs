//! Shares of the stages in parameters, multiply-adds, bytes and time.

use crate::draw::escape;
use crate::network::{Network, Stage};
use crate::page::text::{bytes, milliseconds, scaled, share};
use crate::page::{Side, colour};

/// What stages have shares of.
struct Measure {
    name: &'static str,
    total: String,
    of: fn(&Stage) -> f64,
}

fn measures(network: &Network) -> Vec<Measure> {
    let total = |of: fn(&Stage) -> u64| network.stages.iter().map(of).sum::<u64>();
    let mut measures = vec![
        Measure {
            name: "Parameters",
            total: scaled(network.params),
            of: |stage| stage.params as f64,
        },
        Measure {
            name: "Multiply-adds",
            total: scaled(network.macs),
            of: |stage| stage.macs as f64,
        },
        Measure {
            name: "Bytes of weights",
            total: bytes(total(|stage| stage.weight_bytes)),
            of: |stage| stage.weight_bytes as f64,
        },
        Measure {
            name: "Bytes of activations moved",
            total: bytes(total(|stage| stage.activation_bytes)),
            of: |stage| stage.activation_bytes as f64,
        },
    ];
    if let Some(profile) = &network.profile {
        let total = format!("{} ms", milliseconds(profile.total.ms));
        measures.push(Measure { name: "Time", total, of: |stage| stage.ms.unwrap_or(0.0) });
    }
    measures
}

/// A bar for each measure.
pub(super) fn view(network: &Network) -> String {
    let bars: String = measures(network)
        .iter()
        .map(|measure| bar(network, measure, measure.name, 1.0, Side::Only))
        .collect();
    format!("<div class=\"shares\">\n{bars}</div>\n")
}

/// Two bars for each measure, to one scale.
pub(super) fn two(networks: [&Network; 2]) -> String {
    let [one, other] = networks.map(measures);
    let bars = one.iter().zip(&other).map(|(one, other)| {
        let sums = [0, 1].map(|side| {
            networks[side].stages.iter().map(if side == 0 { one.of } else { other.of }).sum::<f64>()
        });
        let most = sums[0].max(sums[1]);
        let bar = |side: usize, measure: &Measure| {
            let name = format!("{}, {}", measure.name, escape(&networks[side].name));
            bar(networks[side], measure, &name, sums[side] / most, Side::BOTH[side])
        };
        bar(0, one) + &bar(1, other)
    });
    format!("<div class=\"shares\">\n{}</div>\n", bars.collect::<String>())
}

/// A bar of so much of the width.
fn bar(
    network: &Network,
    Measure { total, of, .. }: &Measure,
    name: &str,
    long: f64,
    side: Side,
) -> String {
    let whole: f64 = network.stages.iter().map(of).sum();
    let part = |(index, stage): (usize, &Stage)| {
        let value = of(stage);
        if value <= 0.0 {
            return String::new();
        }
        let percent = 100.0 * value / whole;
        let words = share(value, whole);
        let seen = percent * long;
        // A narrow part has no room for words.
        let label = if seen < 7.0 { String::new() } else { words.clone() };
        let hint = escape(&format!("{}: {words} of {total}", stage.name));
        format!(
            "<a href=\"#{}\" class=\"{}\" style=\"width:{percent:.3}%\" title=\"{hint}\" aria-label=\"{hint}\">{label}</a>",
            side.stage(index),
            colour(network, Some(index))
        )
    };
    let parts: String = network.stages.iter().enumerate().map(part).collect();
    format!(
        "<p>{name} <b>{total}</b></p>\n<div class=\"bar\" style=\"width:{:.2}%\">{parts}</div>\n",
        100.0 * long
    )
}
