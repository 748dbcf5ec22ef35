//! The results as text: a column for each table and time.

use std::io::Write;

use anyhow::Result;

use super::{Layer, Measured, Results};

/// As many bars as a cell has at most.
const BARS: usize = 8;
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub(super) fn write(results: &Results, layers: bool, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "L2 norm of the gradient that reaches a layer: {}\n", results.heading())?;
    let each = || results.networks.iter().flat_map(|of| &of.measured);
    let mut table = cells(results, layers, |layer| layer.norm, Scale::ratios);
    let ratio = |of: &Measured| match &of.layers[..] {
        [first, .., last] => format!("{:>8}", number(first.norm / last.norm)),
        _ => String::new(),
    };
    table.push(std::iter::once("first : last".to_owned()).chain(each().map(ratio)).collect());
    let loss = each().map(|of| format!("{:>8.3}", of.loss));
    table.push(std::iter::once("loss".to_owned()).chain(loss).collect());
    aligned(&table, out)?;
    if let Some(part) = results.moved {
        let percent = 100.0 * part;
        writeln!(
            out,
            "\nCosine between the gradient of a layer's weights and that of images moved by {percent} %\n"
        )?;
        let agreement = |layer: &Layer| layer.agreement.unwrap_or(f64::NAN);
        aligned(&cells(results, layers, agreement, |_| Scale::parts()), out)?;
    }
    Ok(())
}

/// A line for each row of the tables, or each layer, with a cell for each network and time.
fn cells<'a>(
    results: &'a Results,
    layers: bool,
    value: impl Fn(&Layer) -> f64,
    scale: impl FnOnce(&mut dyn Iterator<Item = f64>) -> Scale,
) -> Vec<Vec<String>> {
    let name = |layer: &'a str| if layers { layer } else { row_of(layer) };
    let measured = results.networks.iter().flat_map(|of| &of.measured);
    let columns: Vec<Vec<(&str, Vec<f64>)>> = measured.map(|of| rows(of, name, &value)).collect();
    let scale = scale(&mut columns.iter().flatten().flat_map(|(_, values)| values).copied());
    let mut names = Vec::new();
    columns.iter().for_each(|column| merge(&mut names, column));
    let mut table = heads(results);
    for name in names {
        let cell = |column: &Vec<(&str, Vec<f64>)>| {
            let values = column.iter().find(|(of, _)| *of == name).map(|(_, values)| values);
            values.map(|values| scale.cell(values)).unwrap_or_default()
        };
        table.push(std::iter::once(name.to_owned()).chain(columns.iter().map(cell)).collect());
    }
    table
}

/// What was done before: `after 10 steps`.
pub(super) fn after(steps: usize) -> String {
    match steps {
        0 => "at the start".to_owned(),
        1 => "after 1 step".to_owned(),
        _ => format!("after {steps} steps"),
    }
}

/// The row of the table that a layer is of.
fn row_of(layer: &str) -> &str {
    layer.split_once('.').map_or(layer, |(row, _)| row)
}

/// The values of each row, in the layers' order.
fn rows<'a>(
    of: &'a Measured,
    name: impl Fn(&'a str) -> &'a str,
    value: impl Fn(&Layer) -> f64,
) -> Vec<(&'a str, Vec<f64>)> {
    let mut rows: Vec<(&str, Vec<f64>)> = Vec::new();
    for layer in &of.layers {
        let (name, value) = (name(&layer.layer), value(layer));
        match rows.iter_mut().find(|(row, _)| *row == name) {
            Some((_, values)) => values.push(value),
            None => rows.push((name, vec![value])),
        }
    }
    rows
}

/// Puts a column's names among those that are there, each behind the one that it follows.
fn merge<'a>(names: &mut Vec<&'a str>, column: &[(&'a str, Vec<f64>)]) {
    let mut next = 0;
    for (name, _) in column {
        match names.iter().position(|other| other == name) {
            Some(at) => next = at + 1,
            None => {
                names.insert(next, name);
                next += 1;
            }
        }
    }
}

/// The names of the networks, and the times.
fn heads(results: &Results) -> Vec<Vec<String>> {
    let each = || results.networks.iter().flat_map(|of| of.measured.iter().map(move |m| (of, m)));
    let network = each().map(|(of, m)| if m.steps == 0 { of.name.clone() } else { String::new() });
    let time = each().map(|(_, m)| after(m.steps));
    let head = |cells: Vec<String>| std::iter::once(String::new()).chain(cells).collect();
    vec![head(network.collect()), head(time.collect())]
}

fn aligned(table: &[Vec<String>], out: &mut dyn Write) -> Result<()> {
    let count = |text: &String| text.chars().count();
    let width = |column: usize| table.iter().map(|row| count(&row[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..table[0].len()).map(width).collect();
    for row in table {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// What the lowest and the highest bar stand for.
struct Scale {
    ends: [f64; 2],
    is_of_ratios: bool,
}

impl Scale {
    /// From the smallest to the largest of some values, by their ratios.
    fn ratios(values: &mut dyn Iterator<Item = f64>) -> Self {
        let ends = values
            .filter(|value| value.is_normal())
            .fold([f64::MAX, f64::MIN_POSITIVE], |[low, high], value| {
                [low.min(value), high.max(value)]
            });
        Self { ends, is_of_ratios: true }
    }

    /// From 0 to 1.
    fn parts() -> Self {
        Self { ends: [0.0, 1.0], is_of_ratios: false }
    }

    /// The median, and if there are several, a bar for each or for each eighth.
    fn cell(&self, values: &[f64]) -> String {
        let mut cell = format!("{:>8}", number(median(values)));
        if values.len() > 1 {
            let bars = values.len().min(BARS);
            let part =
                |bar: usize| &values[bar * values.len() / bars..(bar + 1) * values.len() / bars];
            cell.push(' ');
            cell.extend((0..bars).map(|bar| self.bar(median(part(bar)))));
        }
        cell
    }

    fn bar(&self, value: f64) -> char {
        let of = |value: f64| if self.is_of_ratios { value.log10() } else { value };
        let [low, high] = self.ends.map(of);
        let along = (of(value) - low) / (high - low).max(f64::MIN_POSITIVE);
        HEIGHTS[(along.clamp(0.0, 1.0) * (HEIGHTS.len() - 1) as f64).round() as usize]
    }
}

fn median(norms: &[f64]) -> f64 {
    let mut sorted = norms.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (middle, is_odd) = (sorted.len() / 2, sorted.len() % 2 == 1);
    match is_odd {
        true => sorted[middle],
        false => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// In three digits; as a power of ten where it is much smaller or larger than 1.
fn number(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        _ if !value.is_finite() => value.to_string(),
        _ if (0.001..1000.0).contains(&value.abs()) => {
            let decimals = (2.0 - value.abs().log10().floor()) as usize;
            format!("{value:.decimals$}")
        }
        _ => format!("{value:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_medians_and_bars() {
        let scale = Scale::ratios(&mut [0.01, 1.0, 100.0, f64::INFINITY, 0.0].into_iter());
        assert_eq!(scale.cell(&[0.01]), "  0.0100");
        assert_eq!(scale.cell(&[0.01, 1.0, 100.0, f64::INFINITY]), "    50.5 ▁▅██");
        let many: Vec<f64> = (0..80).map(|at| 10f64.powf(-2.0 + f64::from(at) / 20.0)).collect();
        assert_eq!(scale.cell(&many), "   0.946 ▁▂▃▄▅▆▇█");
        assert_eq!(scale.cell(&[0.0, 0.0]), "       0 ▁▁");
        assert_eq!(Scale::parts().cell(&[-0.1, 0.5, 1.0]), "   0.500 ▁▅█");
        assert_eq!(Scale::ratios(&mut [2.0].into_iter()).cell(&[2.0, 2.0]), "    2.00 ▁▁");
    }

    #[test]
    fn numbers_have_three_digits() {
        let numbers = [1.0, 999.4, 1000.0, 0.00123, 1.234e-9, f64::INFINITY].map(number);
        assert_eq!(numbers, ["1.00", "999", "1.00e3", "0.00123", "1.23e-9", "inf"]);
    }

    #[test]
    fn names_are_merged_in_order() {
        let column = |names: &[&'static str]| -> Vec<(&str, Vec<f64>)> {
            names.iter().map(|name| (*name, Vec::new())).collect()
        };
        let mut names = Vec::new();
        merge(&mut names, &column(&["conv1", "conv2.1", "fc"]));
        merge(&mut names, &column(&["conv1", "conv2.0", "conv2.1", "last"]));
        assert_eq!(names, ["conv1", "conv2.0", "conv2.1", "last", "fc"]);
    }
}
