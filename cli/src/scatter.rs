//! A plot of dots on two logarithmic axes as SVG.

use std::fmt::Write;

use crate::plot::{FONT, HEIGHT, WIDTH, axis_names, escape, grid, overlap, sheet, text};

/// What is drawn. A straight line of slope 1 is a constant ratio of the two numbers.
pub(crate) struct Scatter {
    pub(crate) title: String,
    /// What is counted to the right, and upwards.
    pub(crate) axes: [&'static str; 2],
    /// Dots; those of a series are joined in this order.
    pub(crate) dots: Vec<Dot>,
}

pub(crate) struct Dot {
    pub(crate) label: String,
    pub(crate) series: String,
    /// Both numbers, positive.
    pub(crate) at: [f64; 2],
}

/// The frame: left, top, right, bottom.
const FRAME: [f64; 4] = [80.0, 64.0, WIDTH - 130.0, HEIGHT - 64.0];
const RADIUS: f64 = 4.5;

const STYLE: &str = "
  .line { stroke-opacity: .5; stroke-width: 1.5; fill: none }
";

/// Colours of a middle lightness, which stand out on white and on black; used in turn.
const COLOURS: [&str; 6] = ["#3d85d9", "#e07b1a", "#2aa58c", "#b0549b", "#8a8a8a", "#a08a1e"];

/// A logarithmic axis, and where it lies on the paper.
struct Axis {
    /// Logarithms of the numbers at both ends.
    logs: [f64; 2],
    ends: [f64; 2],
}

impl Axis {
    /// An axis that holds all of `values`, with a little room.
    fn over(values: impl Iterator<Item = f64>, ends: [f64; 2]) -> Self {
        let (low, high) = values
            .map(f64::log10)
            .fold((f64::MAX, f64::MIN), |(low, high), log| (low.min(log), high.max(log)));
        let room = 0.1 + 0.03 * (high - low);
        let logs = if low <= high { [low - room, high + room] } else { [0.0, 1.0] };
        Self { logs, ends }
    }

    fn at(&self, value: f64) -> f64 {
        let [low, high] = self.logs;
        self.ends[0] + (self.ends[1] - self.ends[0]) * (value.log10() - low) / (high - low)
    }

    /// 1, 2 and 5 times the powers of ten, where they lie.
    fn ticks(&self) -> Vec<(String, f64)> {
        let [low, high] = self.logs;
        let decades = low.floor() as i32..=high.ceil() as i32;
        let values =
            decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(decade)));
        let inside = |value: &f64| (low..=high).contains(&value.log10());
        values.filter(inside).map(|value| (number(value), self.at(value))).collect()
    }
}

impl Scatter {
    /// The plot as a file's content. Writing to a string cannot fail.
    pub(crate) fn svg(&self) -> String {
        let [left, top, right, bottom] = FRAME;
        let x = Axis::over(self.dots.iter().map(|dot| dot.at[0]), [left, right]);
        let y = Axis::over(self.dots.iter().map(|dot| dot.at[1]), [bottom, top]);
        let mut svg = sheet(&self.title, STYLE);
        text(&mut svg, [left, top - 24.0], "class=\"title\"", &self.title);
        grid(&mut svg, FRAME, x.ticks(), y.ticks());
        axis_names(&mut svg, FRAME, self.axes);
        self.series(&mut svg, &x, &y);
        self.labels(&mut svg, &x, &y);
        svg + "</svg>\n"
    }

    fn series(&self, svg: &mut String, x: &Axis, y: &Axis) {
        let mut names: Vec<&str> = Vec::new();
        for dot in &self.dots {
            if !names.contains(&dot.series.as_str()) {
                names.push(&dot.series);
            }
        }
        for (row, (name, colour)) in names.iter().zip(COLOURS.into_iter().cycle()).enumerate() {
            let dots = || self.dots.iter().filter(|dot| dot.series == *name);
            let points: Vec<String> = dots()
                .map(|dot| format!("{:.1},{:.1}", x.at(dot.at[0]), y.at(dot.at[1])))
                .collect();
            let points = points.join(" ");
            let _ =
                writeln!(svg, "<polyline class=\"line\" stroke=\"{colour}\" points=\"{points}\"/>");
            for Dot { label, at, .. } in dots() {
                let [right, up] = self.axes;
                let hint = format!("{label}: {} {right}, {:.3} {up}", number(at[0]), at[1]);
                let _ = writeln!(
                    svg,
                    "<circle fill=\"{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{RADIUS}\"><title>{}</title></circle>",
                    x.at(at[0]),
                    y.at(at[1]),
                    escape(&hint)
                );
            }
            if names.len() > 1 {
                let place = [FRAME[2] + 14.0, FRAME[1] + 14.0 + 20.0 * row as f64];
                let _ = writeln!(
                    svg,
                    "<circle fill=\"{colour}\" cx=\"{}\" cy=\"{}\" r=\"{RADIUS}\"/>",
                    place[0],
                    place[1] - 4.0
                );
                text(svg, [place[0] + 12.0, place[1]], "", name);
            }
        }
    }

    /// Names below and to the right of their dots, or above and to the left; a name that would lie on
    /// another is left out, and its dot's hint has it.
    fn labels(&self, svg: &mut String, x: &Axis, y: &Axis) {
        let mut taken: Vec<[f64; 4]> = self
            .dots
            .iter()
            .map(|dot| [x.at(dot.at[0]), y.at(dot.at[1])])
            .map(|[x, y]| [x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS])
            .collect();
        for dot in &self.dots {
            let [x, y] = [x.at(dot.at[0]), y.at(dot.at[1])];
            let (width, away) = (0.6 * FONT * dot.label.chars().count() as f64, RADIUS + 3.0);
            let boxes = [
                [x + away, y, x + away + width, y + FONT],
                [x - away - width, y - FONT, x - away, y],
            ];
            let free = boxes.into_iter().find(|a| {
                let inside = a[0] > FRAME[0] && a[2] < WIDTH && a[1] > FRAME[1] && a[3] < FRAME[3];
                inside && !taken.iter().any(|&b| overlap(*a, b))
            });
            if let Some(place) = free {
                text(svg, [place[0], place[3] - 1.0], "", &dot.label);
                taken.push(place);
            }
        }
    }
}

/// A number with the unit of its thousands: `200M`, `0.05`.
fn number(value: f64) -> String {
    let (scale, unit) = match value {
        v if v >= 1e9 => (1e9, "G"),
        v if v >= 1e6 => (1e6, "M"),
        v if v >= 1e3 => (1e3, "k"),
        _ => (1.0, ""),
    };
    // Enough for a tick, without the noise of powers of ten.
    let shown = format!("{:.4}", value / scale);
    format!("{}{unit}", shown.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(dots: &[(&str, &str, f64, f64)]) -> String {
        let dots = dots.iter().map(|&(label, series, x, y)| Dot {
            label: label.to_owned(),
            series: series.to_owned(),
            at: [x, y],
        });
        let axes = ["multiply-adds", "ms"];
        Scatter { title: "a < b & c".to_owned(), axes, dots: dots.collect() }.svg()
    }

    #[test]
    fn axes_are_logarithmic_and_hold_every_value() {
        let axis = Axis::over([10.0, 1000.0].into_iter(), [0.0, 100.0]);
        assert!((axis.at(100.0) - 50.0).abs() < 1e-9);
        assert!(axis.at(10.0) > 0.0 && axis.at(1000.0) < 100.0);
        let (values, places): (Vec<String>, Vec<f64>) = axis.ticks().into_iter().unzip();
        assert_eq!(values, ["10", "20", "50", "100", "200", "500", "1k"]);
        assert!(places.is_sorted() && (places[3] - 50.0).abs() < 1e-9, "{places:?}");
        assert!(Axis::over([7.0].into_iter(), [0.0, 1.0]).at(7.0).is_finite());
        assert!(Axis::over([].into_iter(), [0.0, 1.0]).at(7.0).is_finite());
    }

    #[test]
    fn numbers_are_short() {
        for (value, shown) in
            [(2e8, "200M"), (4.089e9, "4.089G"), (0.05, "0.05"), (1000.0, "1k"), (100.0, "100")]
        {
            assert_eq!(number(value), shown);
        }
    }

    #[test]
    fn every_dot_is_drawn_and_no_name_lies_on_another() {
        let svg =
            plot(&[("far", "w", 1e3, 1.0), ("near", "w", 1e6, 10.0), ("same", "w", 1e6, 10.0)]);
        assert_eq!(svg.matches("<circle ").count(), 3);
        assert_eq!(svg.matches("<polyline ").count(), 1);
        assert!(
            svg.contains(">far</text>") && svg.contains("<title>far: 1k multiply-adds, 1.000 ms")
        );
        assert!(svg.contains("<title>a &lt; b &amp; c</title>"));
    }

    #[test]
    fn series_have_colours_and_a_legend() {
        let svg = plot(&[("a", "width 1", 1e3, 1.0), ("b", "width 2", 1e4, 3.0)]);
        // A dot of each, and one in the legend.
        assert_eq!(svg.matches(COLOURS[0]).count(), 3);
        assert_eq!(svg.matches(COLOURS[1]).count(), 3);
        assert!(svg.contains(">width 1</text>") && svg.contains(">width 2</text>"));
        assert!(!plot(&[("a", "width 1", 1e3, 1.0)]).contains(">width 1</text>"));
    }
}
