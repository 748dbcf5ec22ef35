//! A plot of lines as SVG: panels one above the other, over one axis to the right.

use std::fmt::Write;

use crate::draw::{
    Axis, COLOURS, HEIGHT, LETTER, Medium, WIDTH, axis_names, escape, grid, number, sheet, text,
};

/// What is drawn.
pub struct Curves {
    /// What stands above.
    pub title: String,
    /// What is counted to the right.
    pub right: &'static str,
    /// From the top down.
    pub panels: Vec<Panel>,
    /// What whole lines are, and what dashed ones; if there is anything to tell apart.
    pub strokes: Option<[String; 2]>,
}

/// A frame with lines in it.
pub struct Panel {
    /// What is counted upwards.
    pub up: &'static str,
    /// Whether equal distances are equal ratios.
    pub is_logarithmic: bool,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A line.
pub struct Line {
    /// Lines of the same name have the same colour, in all panels.
    pub name: String,
    /// The second one of the strokes.
    pub is_dashed: bool,
    /// To the right, and upwards; what is no number, or on a logarithmic axis not positive, interrupts the line.
    pub points: Vec<[f64; 2]>,
}

/// The frame: left, top, right, bottom.
const FRAME: [f64; 4] = [90.0, 64.0, WIDTH - 30.0, HEIGHT - 64.0];
/// Between panels.
const GAP: f64 = 34.0;
/// The line of the legend, and what is around it.
const SAMPLE: f64 = 24.0;
const ROOM: f64 = 16.0;

const STYLE: &str = "
  .plot .curve { stroke-width: 1.75; stroke-linejoin: round; fill: none }
  .plot .dashed { stroke-dasharray: 5 4 }
  .plot .sample { stroke: #888 }
";

impl Curves {
    /// The plot as a file's content. Writing to a string cannot fail.
    pub fn svg(&self) -> String {
        let names = self.names();
        let [left, top, right, bottom] = FRAME;
        let legend = names.iter().copied().chain(self.strokes.iter().flatten().map(|s| &**s));
        let longest = legend.map(|name| name.chars().count()).max().unwrap_or(0);
        let right = right - 2.0 * ROOM - SAMPLE - LETTER * longest as f64;
        let points =
            self.panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points);
        let x = Axis::linear(points.map(|point| point[0]), [left, right], 10);
        let mut svg = sheet(&self.title, STYLE, Medium::File);
        text(&mut svg, [left, top - 24.0], "class=\"title\"", &self.title);
        let count = self.panels.len() as f64;
        let height = (bottom - top - GAP * (count - 1.0)) / count;
        for (index, panel) in self.panels.iter().enumerate() {
            let top = top + (height + GAP) * index as f64;
            let y = panel.axis([top + height, top]);
            grid(&mut svg, &x, &y);
            let is_last = index + 1 == self.panels.len();
            let right_axis = if is_last { self.right } else { "" };
            axis_names(&mut svg, [left, top, right, top + height], [right_axis, panel.up]);
            for line in &panel.lines {
                line.draw(&mut svg, colour(&names, &line.name), panel, [&x, &y]);
            }
        }
        self.legend(&mut svg, &names, [right + ROOM, top + 10.0]);
        svg + "</svg>\n"
    }

    /// The names of the lines, in the order in which they come.
    fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for line in self.panels.iter().flat_map(|panel| &panel.lines) {
            if !names.contains(&&*line.name) {
                names.push(&*line.name);
            }
        }
        names
    }

    fn legend(&self, svg: &mut String, names: &[&str], [left, top]: [f64; 2]) {
        let mut row = top;
        let mut sample = |attributes: &str, name: &str| {
            let ends = format!(
                "x1=\"{left:.1}\" y1=\"{row:.1}\" x2=\"{:.1}\" y2=\"{row:.1}\"",
                left + SAMPLE
            );
            let _ = writeln!(svg, "<line {attributes} {ends}/>");
            text(svg, [left + SAMPLE + 8.0, row + 4.0], "", name);
            row += 20.0;
        };
        for name in names {
            sample(&format!("class=\"curve\" stroke=\"{}\"", colour(names, name)), name);
        }
        for (class, stroke) in ["", " dashed"].into_iter().zip(self.strokes.iter().flatten()) {
            sample(&format!("class=\"curve sample{class}\""), stroke);
        }
    }
}

fn colour(names: &[&str], name: &str) -> &'static str {
    let at = names.iter().position(|other| *other == name).unwrap_or(0);
    COLOURS[at % COLOURS.len()]
}

impl Panel {
    fn axis(&self, ends: [f64; 2]) -> Axis {
        let heights = self.lines.iter().flat_map(|line| &line.points).map(|point| point[1]);
        match self.is_logarithmic {
            true => Axis::over(heights, ends),
            false => Axis::linear(heights, ends, 6),
        }
    }

    fn shows(&self, height: f64) -> bool {
        height.is_finite() && (height > 0.0 || !self.is_logarithmic)
    }
}

impl Line {
    fn draw(&self, svg: &mut String, colour: &str, panel: &Panel, [x, y]: [&Axis; 2]) {
        let class = if self.is_dashed { "curve dashed" } else { "curve" };
        let Some(last) = self.points.iter().rfind(|point| panel.shows(point[1])) else { return };
        let hint = escape(&format!("{}: {} at the end", self.name, number(last[1])));
        let _ = writeln!(svg, "<g class=\"{class}\" stroke=\"{colour}\"><title>{hint}</title>");
        for part in self.points.split(|point| !panel.shows(point[1])) {
            let points: Vec<String> =
                part.iter().map(|p| format!("{:.1},{:.1}", x.at(p[0]), y.at(p[1]))).collect();
            match part {
                [] => {}
                [point] => {
                    let [cx, cy] = [x.at(point[0]), y.at(point[1])];
                    let _ = writeln!(
                        svg,
                        "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"2\" fill=\"{colour}\"/>"
                    );
                }
                _ => {
                    let _ = writeln!(svg, "<polyline points=\"{}\"/>", points.join(" "));
                }
            }
        }
        svg.push_str("</g>\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, is_dashed: bool, heights: &[f64]) -> Line {
        let points = heights.iter().enumerate().map(|(at, &height)| [at as f64, height]).collect();
        Line { name: name.to_owned(), is_dashed, points }
    }

    #[test]
    fn lines_are_interrupted_where_there_is_no_number() {
        let lines = vec![
            line("a", false, &[1.0, 10.0, f64::INFINITY, 0.1, 0.0, 1.0, 2.0, 1.0]),
            line("b<", true, &[f64::NAN]),
            line("a", true, &[1.0, 1.0]),
        ];
        let other = vec![line("b<", false, &[-1.0, 0.0])];
        let panels = vec![
            Panel { up: "norm", is_logarithmic: true, lines },
            Panel { up: "loss", is_logarithmic: false, lines: other },
        ];
        let strokes = Some(["start".to_owned(), "end".to_owned()]);
        let svg = Curves { title: "t & u".to_owned(), right: "depth", panels, strokes }.svg();
        assert_eq!(svg.matches("<polyline").count(), 4, "{svg}");
        assert_eq!(svg.matches("<circle").count(), 1, "{svg}");
        assert_eq!(
            svg.matches("stroke=\"#3d85d9\"").count(),
            3,
            "two lines of a, and its name: {svg}"
        );
        assert!(svg.contains("t &amp; u") && svg.contains("b&lt;") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("dashed\"").count(), 2, "{svg}");
    }
}
