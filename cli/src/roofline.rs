//! A roofline plot as SVG: how fast layers run, beside how fast memory and multiply-add units let
//! them.

use std::collections::BTreeSet;
use std::fmt::Write;

use resnet::compiler::profile::Algorithm;

use crate::plot::{FONT, HEIGHT, WIDTH, axis_names, escape, grid, overlap, sheet, text};

/// What is drawn.
pub(crate) struct Plot {
    /// The network and how it ran.
    pub(crate) title: String,
    /// The flat roof.
    pub(crate) peak_gflops: f64,
    /// The sloping roof.
    pub(crate) bandwidth_gb_s: f64,
    /// The layers.
    pub(crate) dots: Vec<Dot>,
}

/// A layer.
pub(crate) struct Dot {
    pub(crate) name: String,
    pub(crate) algorithm: Algorithm,
    /// Operations a byte.
    pub(crate) intensity: f64,
    pub(crate) gflops: f64,
    /// Its part of the network's time, of 1; the dot's area.
    pub(crate) share: f64,
}

/// The frame: left, top, right, bottom.
const FRAME: [f64; 4] = [80.0, 84.0, WIDTH - 30.0, HEIGHT - 64.0];
const LEGEND: [f64; 4] = [FRAME[2] - 190.0, FRAME[3] - 116.0, FRAME[2] - 12.0, FRAME[3] - 12.0];
/// More labels than this hide what they name.
const MOST_LABELS: usize = 12;

/// Colours of a middle lightness, which stand out on white and on black.
const STYLE: &str = "
  .roof { stroke: #222; stroke-width: 2; fill: none }
  .dot { fill-opacity: .75; stroke: #fff; stroke-width: .75 }
  .direct { fill: #e07b1a }
  .winograd4 { fill: #3d85d9 }
  .winograd2 { fill: #2aa58c }
  .other { fill: #8a8a8a }
  @media (prefers-color-scheme: dark) {
    .roof { stroke: #e4e4e4 }
    .dot { stroke: #16191d }
  }
";

/// A logarithmic axis that begins and ends at a mark, and where it lies on the paper.
struct Axis {
    /// The marks of its ends; see [`mark`].
    marks: [i32; 2],
    ends: [f64; 2],
}

/// The marks of an axis: ... 0.5, 1, 2, 5, 10, 20 ...; the one of index 0 is 1.
fn mark(index: i32) -> f64 {
    [1.0, 2.0, 5.0][index.rem_euclid(3) as usize] * 10_f64.powi(index.div_euclid(3))
}

impl Axis {
    /// The shortest one that holds all of `values`.
    fn over(values: impl Iterator<Item = f64>, ends: [f64; 2]) -> Self {
        let values = values.filter(|value| value.is_normal() && *value > 0.0);
        let [low, high] = values
            .fold([f64::MAX, f64::MIN], |[low, high], value| [low.min(value), high.max(value)]);
        if low > high {
            return Self { marks: [0, 1], ends };
        }
        let decade = |value: f64| 3 * value.log10().floor() as i32;
        let below = (decade(low) - 1..=decade(low) + 3).rfind(|&index| mark(index) <= low);
        let above = (decade(high) - 1..=decade(high) + 4).find(|&index| mark(index) >= high);
        let below = below.unwrap_or(decade(low));
        Self { marks: [below, above.unwrap_or(decade(high) + 3).max(below + 1)], ends }
    }

    fn at(&self, value: f64) -> f64 {
        let [low, high] = self.range().map(f64::log10);
        let along = (value.max(f64::MIN_POSITIVE).log10() - low) / (high - low);
        self.ends[0] + (self.ends[1] - self.ends[0]) * along.clamp(0.0, 1.0)
    }

    fn range(&self) -> [f64; 2] {
        self.marks.map(mark)
    }

    /// Its marks, in words and place; with many decades only the powers of ten.
    fn ticks(&self) -> impl Iterator<Item = (String, f64)> + '_ {
        let [low, high] = self.marks;
        let shown = move |index: &i32| high - low <= 12 || index.rem_euclid(3) == 0;
        (low..=high).filter(shown).map(|index| {
            // As few digits as say it: `mark` may be off by a bit.
            let decimals = usize::try_from(-index.div_euclid(3)).unwrap_or(0);
            (format!("{:.decimals$}", mark(index)), self.at(mark(index)))
        })
    }
}

impl Plot {
    /// The plot as a file's content. Writing to a string cannot fail.
    pub(crate) fn svg(&self) -> String {
        let ridge = self.peak_gflops / self.bandwidth_gb_s;
        let [left, top, right, bottom] = FRAME;
        let intensities = self.dots.iter().map(|dot| dot.intensity);
        // Both roofs are to be seen.
        let x = Axis::over(intensities.chain([ridge / 5.0, ridge * 5.0]), [left, right]);
        let speeds = self.dots.iter().map(|dot| dot.gflops);
        let y = Axis::over(speeds.chain([self.peak_gflops, self.peak_gflops / 5.0]), [bottom, top]);
        let mut svg = sheet(&self.title, STYLE);
        self.captions(&mut svg);
        grid(&mut svg, FRAME, x.ticks(), y.ticks());
        self.dots(&mut svg, &x, &y);
        self.legend(&mut svg);
        svg + "</svg>\n"
    }

    fn captions(&self, svg: &mut String) {
        let [left, top, ..] = FRAME;
        let limits = format!(
            "peak {:.1} GFLOP/s, memory {:.1} GB/s, both measured; a dot's area is its layer's part of the time",
            self.peak_gflops, self.bandwidth_gb_s
        );
        text(svg, [left, top - 44.0], "class=\"title\"", &self.title);
        text(svg, [left, top - 22.0], "", &limits);
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
            [x.ends[1], y.at(self.peak_gflops)],
        ]
    }

    fn dots(&self, svg: &mut String, x: &Axis, y: &Axis) {
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
                class(*algorithm),
                x.at(*intensity),
                y.at(*gflops),
                dot.radius(),
                escape(&hint)
            );
        }
        labels(svg, &dots, x, y, roofs);
    }

    /// The algorithms that there are.
    fn legend(&self, svg: &mut String) {
        let algorithms: BTreeSet<Algorithm> = self.dots.iter().map(|dot| dot.algorithm).collect();
        let [left, top, right, bottom] = LEGEND;
        let (width, height) = (right - left, bottom - top);
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
                "<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"10\" height=\"10\"/>",
                class(algorithm),
                left + 12.0,
                middle - 9.0
            );
            let shown = match algorithm {
                Algorithm::Winograd(side) => format!("Winograd F({side}x{side}, 3x3)"),
                algorithm => algorithm.to_string(),
            };
            text(svg, [left + 30.0, middle], "", &shown);
        }
    }
}

impl Dot {
    fn radius(&self) -> f64 {
        (30.0 * self.share.max(0.0).sqrt()).clamp(3.0, 14.0)
    }
}

/// The names of those dots that have room for them, the largest ones first.
fn labels(svg: &mut String, dots: &[&Dot], x: &Axis, y: &Axis, roofs: [[f64; 2]; 3]) {
    let boxes: Vec<[f64; 4]> = dots
        .iter()
        .map(|dot| {
            let (x, y, r) = (x.at(dot.intensity), y.at(dot.gflops), dot.radius());
            [x - r, y - r, x + r, y + r]
        })
        .collect();
    // The roofs as points, close enough that no label fits between two.
    let roof = roofs.windows(2).flat_map(|ends| {
        (0..=200).map(|step| {
            let along = f64::from(step) / 200.0;
            let [x, y] = [0, 1].map(|i| ends[0][i] + along * (ends[1][i] - ends[0][i]));
            [x, y, x, y]
        })
    });
    let mut taken: Vec<[f64; 4]> = roof.chain([LEGEND]).collect();
    let mut left = MOST_LABELS;
    for (index, dot) in dots.iter().enumerate() {
        let free = label_boxes(&dot.name, boxes[index]).into_iter().find(|&label| {
            let inside = label[0] > FRAME[0] && label[2] < FRAME[2] && label[1] > FRAME[1];
            let others = boxes.iter().enumerate().filter(|(other, _)| *other != index);
            let mut obstacles = others.map(|(_, other)| other).chain(&taken);
            inside && !obstacles.any(|&obstacle| overlap(label, obstacle))
        });
        if let (Some(label), true) = (free, left > 0) {
            text(svg, [label[0], label[3] - 3.0], "", &dot.name);
            taken.push(label);
            left -= 1;
        }
    }
}

/// Where a dot's name could stand: right, left, above, below; each left, top, right, bottom.
fn label_boxes(name: &str, [left, top, right, bottom]: [f64; 4]) -> [[f64; 4]; 4] {
    let (x, y, radius) = ((left + right) / 2.0, (top + bottom) / 2.0, (right - left) / 2.0);
    let (width, height) = (0.56 * FONT * name.chars().count() as f64, FONT + 2.0);
    let (away, half) = (radius + 4.0, height / 2.0);
    [
        [x + away, y - half, x + away + width, y + half],
        [x - away - width, y - half, x - away, y + half],
        [x - width / 2.0, y - away - height, x + width / 2.0, y - away],
        [x - width / 2.0, y + away, x + width / 2.0, y + away + height],
    ]
}

fn class(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Direct => "direct",
        Algorithm::Winograd(4) => "winograd4",
        Algorithm::Winograd(_) => "winograd2",
        Algorithm::Other => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(name: &str, intensity: f64, gflops: f64, share: f64) -> Dot {
        Dot { name: name.to_owned(), algorithm: Algorithm::Direct, intensity, gflops, share }
    }

    #[test]
    fn axes_hold_all_values_between_marks() {
        let axis = Axis::over([0.3, 40.0].into_iter(), [0.0, 300.0]);
        assert_eq!(axis.marks.map(mark), [0.2, 50.0]);
        assert_eq!((axis.at(0.1), axis.at(50.0), axis.at(1e9)), (0.0, 300.0, 300.0));
        let ticks: Vec<String> = axis.ticks().map(|(words, _)| words).collect();
        assert_eq!(ticks, ["0.2", "0.5", "1", "2", "5", "10", "20", "50"]);
        assert_eq!(Axis::over([1.0].into_iter(), [0.0, 1.0]).range(), [1.0, 2.0]);
        assert_eq!(Axis::over([0.0, f64::NAN].into_iter(), [0.0, 1.0]).range(), [1.0, 2.0]);
        let long = Axis::over([0.001, 9e3].into_iter(), [0.0, 1.0]);
        let ticks: Vec<String> = long.ticks().map(|(words, _)| words).collect();
        assert_eq!(ticks, ["0.001", "0.01", "0.1", "1", "10", "100", "1000", "10000"]);
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
        assert!(labels <= MOST_LABELS, "{labels}");
        assert!(svg.contains("<title>a &amp; b</title>"));
    }

    #[test]
    fn a_lonely_dot_has_its_name_beside_it() {
        let dots = vec![dot("<fc>", 0.5, 4.0, 1.0)];
        let plot = Plot { title: String::new(), peak_gflops: 100.0, bandwidth_gb_s: 10.0, dots };
        assert!(plot.svg().contains(">&lt;fc&gt;</text>"));
    }
}
