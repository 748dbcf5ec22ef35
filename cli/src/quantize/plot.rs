//! A plot of what quantising each layer costs, beside what it saves, as SVG.

use std::fmt::Write;

use resnet::quantize::{Layer, Precision, Report};

use resnet_report::draw::{
    Axis, HEIGHT, Medium, Named, WIDTH, axis_names, escape, grid, names, sheet, text,
};

/// The frame: left, top, right, bottom.
const FRAME: [f64; 4] = [80.0, 84.0, WIDTH - 30.0, HEIGHT - 64.0];
const RADIUS: f64 = 5.0;
/// More names than this hide what they name.
const MOST_NAMES: usize = 16;

/// Colours of a middle lightness, which stand out on white and on black.
const STYLE: &str = "
  .plot .int8 { fill: #3d85d9 }
  .plot .f32 { fill: #e07b1a }
";

/// The layers that can be quantised, as dots.
pub(super) fn svg(report: &Report) -> String {
    let measured = |layer: &Layer| Some((layer.clone(), noise(layer)?));
    let mut dots: Vec<(Layer, f64)> = report.layers.iter().filter_map(measured).collect();
    // The worst ones are named first.
    dots.sort_by(|a, b| b.1.total_cmp(&a.1));
    let [left, top, right, bottom] = FRAME;
    let x = Axis::over(dots.iter().map(|(layer, _)| layer.macs as f64), [left, right]);
    let y = Axis::over(dots.iter().map(|(_, noise)| *noise), [bottom, top]);
    let title =
        format!("{} in 8 bits: {} pictures, {}", report.network, report.pictures, report.method);
    let mut svg = sheet(&title, STYLE, Medium::File);
    text(&mut svg, [left, top - 44.0], "class=\"title\"", &title);
    let caption =
        "a layer's noise where it alone is in 8 bits; blue: in 8 bits, orange: kept in f32";
    text(&mut svg, [left, top - 22.0], "", caption);
    grid(&mut svg, &x, &y);
    axis_names(&mut svg, FRAME, ["multiply-adds", "noise, % of the results' root mean square"]);
    let places: Vec<[f64; 2]> =
        dots.iter().map(|(layer, noise)| [x.at(layer.macs as f64), y.at(*noise)]).collect();
    for ((layer, noise), [x, y]) in dots.iter().zip(&places) {
        let class = if layer.precision == Precision::Int8 { "int8" } else { "f32" };
        let hint = escape(&format!("{}: {noise:.3} % noise", layer.name));
        let _ = writeln!(
            svg,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{RADIUS}\"><title>{hint}</title></circle>"
        );
    }
    let named: Vec<Named<'_>> = dots
        .iter()
        .zip(&places)
        .map(|((layer, _), &at)| Named { name: &layer.name, at, radius: RADIUS })
        .collect();
    names(&mut svg, FRAME, &named, &[], Vec::new(), MOST_NAMES);
    svg + "</svg>\n"
}

/// Noise in percent of the signal's amplitude.
fn noise(layer: &Layer) -> Option<f64> {
    let snr = layer.output_snr_db.filter(|snr| snr.is_finite())?;
    Some(100.0 * 10_f64.powf(-snr / 20.0))
}
