//! A roofline plot as SVG: how fast layers run, beside how fast memory and multiply-add units let
//! them.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::draw::{
    Axis, HEIGHT, Medium, Named, WIDTH, axis_names, escape, grid, names, sheet, text,
};

/// What is drawn.
pub struct Plot {
    /// The network and how it ran.
    pub title: String,
    /// The flat roof.
    pub peak_gflops: f64,
    /// The sloping roof.
    pub bandwidth_gb_s: f64,
    /// The layers.
    pub dots: Vec<Dot>,
}

/// A layer.
pub struct Dot {
    /// What it is called.
    pub name: String,
    /// Its word, which is the class of its colour too.
    pub algorithm: &'static str,
    /// Operations a byte.
    pub intensity: f64,
    /// Operations a second, in units of 10^9.
    pub gflops: f64,
    /// Its part of the network's time, of 1; the dot's area.
    pub share: f64,
}

/// The frame: left, top, right, bottom.
const FRAME: [f64; 4] = [80.0, 84.0, WIDTH - 30.0, HEIGHT - 64.0];
/// More names than this hide what they name.
const MOST_NAMES: usize = 12;

/// Colours of a middle lightness, which stand out on white and on black.
pub const STYLE: &str = "
  .plot .roof { stroke: #222; stroke-width: 2; fill: none }
  .plot .dot { fill-opacity: .75; stroke: #fff; stroke-width: .75 }
  .plot .direct { fill: #e07b1a }
  .plot .winograd4 { fill: #3d85d9 }
  .plot .winograd2 { fill: #2aa58c }
  .plot .other { fill: #8a8a8a }
  @media (prefers-color-scheme: dark) {
    .plot .roof { stroke: #e4e4e4 }
    .plot .dot { stroke: #16191d }
  }
";

impl Plot {
    /// The plot as a file's content. Writing to a string cannot fail.
    pub fn svg(&self) -> String {
        self.sheet(Medium::File)
    }

    /// The plot as a sheet, the style of whose marks is [`STYLE`].
    pub fn sheet(&self, medium: Medium) -> String {
        let ridge = self.peak_gflops / self.bandwidth_gb_s;
        let [left, top, right, bottom] = FRAME;
        let intensities = self.dots.iter().map(|dot| dot.intensity);
        // Both roofs are to be seen.
        let x = Axis::over(intensities.chain([ridge / 5.0, ridge * 5.0]), [left, right]);
        let speeds = self.dots.iter().map(|dot| dot.gflops);
        let y = Axis::over(speeds.chain([self.peak_gflops, self.peak_gflops / 5.0]), [bottom, top]);
        let mut svg = sheet(&self.title, STYLE, medium);
        self.captions(&mut svg);
        grid(&mut svg, &x, &y);
        let legend = self.legend(&mut svg);
        self.dots(&mut svg, &x, &y, legend);
        svg + "</svg>\n"
    }

    /// What layers above the roof mean, if there are any. A measurement's noise is none.
    pub fn above(&self) -> Option<String> {
        let roof = |dot: &Dot| self.peak_gflops.min(dot.intensity * self.bandwidth_gb_s);
        let above = self.dots.iter().filter(|dot| dot.gflops > 1.02 * roof(dot)).count();
        (above > 0).then(|| {
            format!(
                "{above} of {} layers above the roofline: caches hold what memory would have to bring, or the machine \
                 was slower while its limits were measured",
                self.dots.len()
            )
        })
    }

    fn captions(&self, svg: &mut String) {
        let [left, top, ..] = FRAME;
        let limits = format!(
            "line: the most that this machine did, {:.1} GFLOP/s and {:.1} GB/s of memory; \
             a dot's area: its layer's part of the time",
            self.peak_gflops, self.bandwidth_gb_s
        );
        text(svg, [left, top - 44.0], "class=\"title\"", &self.title);
        text(svg, [left, top - 22.0], "", &limits);
        if let Some(note) = self.above() {
            text(svg, [left, top - 4.0], "", &note);
        }
        let names = ["operations done for a byte of weights, inputs and output", "GFLOP/s done"];
        axis_names(svg, FRAME, names);
    }

    /// The corners of the roofs, on the paper.
    fn roofs(&self, x: &Axis, y: &Axis) -> [[f64; 2]; 3] {
        let ridge = self.peak_gflops / self.bandwidth_gb_s;
        let start = x.range()[0].max(y.range()[0] / self.bandwidth_gb_s);
        [
            [x.at(start), y.at(start * self.bandwidth_gb_s)],
            [x.at(ridge), y.at(self.peak_gflops)],
            [x.at(f64::MAX), y.at(self.peak_gflops)],
        ]
    }

    fn dots(&self, svg: &mut String, x: &Axis, y: &Axis, legend: [f64; 4]) {
        let roofs = self.roofs(x, y);
        let points: Vec<String> = roofs.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(svg, "<polyline class=\"roof\" points=\"{}\"/>", points.join(" "));
        // Small ones lie on large ones.
        let mut dots: Vec<&Dot> = self.dots.iter().collect();
        dots.sort_by(|a, b| b.share.total_cmp(&a.share));
        for dot in &dots {
            let Dot { name, algorithm, intensity, gflops, share } = dot;
            let percent = 100.0 * share;
            let hint = format!(
                "{name}: {algorithm}, {gflops:.1} GFLOP/s, {intensity:.1} operations a byte, \
                 {percent:.1}% of the time"
            );
            let _ = writeln!(
                svg,
                "<circle class=\"dot {}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{:.1}\"><title>{}</title></circle>",
                algorithm,
                x.at(*intensity),
                y.at(*gflops),
                dot.radius(),
                escape(&hint)
            );
        }
        let named: Vec<Named<'_>> = dots
            .iter()
            .map(|dot| {
                let at = [x.at(dot.intensity), y.at(dot.gflops)];
                Named { name: &dot.name, at, radius: dot.radius() }
            })
            .collect();
        names(svg, FRAME, &named, &[roofs.to_vec()], vec![legend], MOST_NAMES);
    }

    /// The algorithms that there are, in a box.
    fn legend(&self, svg: &mut String) -> [f64; 4] {
        let algorithms: BTreeSet<&str> = self.dots.iter().map(|dot| dot.algorithm).collect();
        let (width, height) = (178.0, 25.0 * algorithms.len() as f64 + 8.0);
        let (right, bottom) = (FRAME[2] - 12.0, FRAME[3] - 12.0);
        let (left, top) = (right - width, bottom - height);
        let _ = writeln!(
            svg,
            "<rect class=\"paper\" x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"/>\n\
             <rect class=\"grid\" x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"/>"
        );
        for (row, algorithm) in (1..).zip(algorithms) {
            let middle = top + 25.0 * f64::from(row) - 4.0;
            // A square: circles are layers.
            let _ = writeln!(
                svg,
                "<rect class=\"{algorithm}\" x=\"{}\" y=\"{}\" width=\"10\" height=\"10\"/>",
                left + 12.0,
                middle - 9.0
            );
            text(svg, [left + 30.0, middle], "", algorithm);
        }
        [left, top, right, bottom]
    }
}

impl Dot {
    fn radius(&self) -> f64 {
        (30.0 * self.share.max(0.0).sqrt()).clamp(3.0, 14.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(name: &str, intensity: f64, gflops: f64, share: f64) -> Dot {
        Dot { name: name.to_owned(), algorithm: "direct", intensity, gflops, share }
    }

    #[test]
    fn labels_are_sparse_and_dots_are_complete() {
        let dots = (0..100).map(|i| dot(&format!("layer{i}"), 10.0 + f64::from(i), 50.0, 0.01));
        let plot = Plot {
            title: "a & b".to_owned(),
            peak_gflops: 100.0,
            bandwidth_gb_s: 10.0,
            dots: dots.collect(),
        };
        let svg = plot.svg();
        assert_eq!(svg.matches("<circle ").count(), 100);
        let labels = svg.matches(">layer").count() - svg.matches("<title>layer").count();
        assert!(labels <= MOST_NAMES, "{labels}");
        assert!(svg.contains("<title>a &amp; b</title>"));
    }

    #[test]
    fn dots_above_the_roof_are_told() {
        let plot = |gflops| Plot {
            title: String::new(),
            peak_gflops: 100.0,
            bandwidth_gb_s: 10.0,
            dots: vec![dot("a", 2.0, gflops, 0.5), dot("b", 50.0, 90.0, 0.5)],
        };
        assert_eq!(plot(20.0).above(), None);
        assert!(plot(30.0).svg().contains(">1 of 2 layers above the roofline: caches hold"));
    }

    #[test]
    fn a_lonely_dot_has_its_name_beside_it() {
        let dots = vec![dot("<fc>", 0.5, 4.0, 1.0)];
        let plot = Plot { title: String::new(), peak_gflops: 100.0, bandwidth_gb_s: 10.0, dots };
        assert!(plot.svg().contains(">&lt;fc&gt;</text>"));
    }
}
