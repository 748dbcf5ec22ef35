//! A plot of dots on two logarithmic axes as SVG.

use std::fmt::Write;

use crate::draw::{
    Axis, COLOURS, HEIGHT, Medium, Named, WIDTH, axis_names, escape, grid, names, number, sheet,
    text,
};

/// What is drawn. A straight line of slope 1 is a constant ratio of the two numbers.
pub struct Scatter {
    /// What stands above.
    pub title: String,
    /// What is counted to the right, and upwards.
    pub axes: [&'static str; 2],
    /// Dots; those of a series are joined in this order.
    pub dots: Vec<Dot>,
}

/// What two numbers are known of.
pub struct Dot {
    /// What it is called.
    pub label: String,
    /// What it belongs to.
    pub series: String,
    /// Both numbers, positive.
    pub at: [f64; 2],
    /// From where to where the one that is counted upwards spreads.
    pub spread: [f64; 2],
}

/// The frame: left, top, right, bottom; on the right there is room for a legend beside it.
const FRAME: [f64; 4] = [80.0, 64.0, WIDTH - 30.0, HEIGHT - 64.0];
const LEGEND: f64 = 100.0;
const RADIUS: f64 = 4.5;

const STYLE: &str = "
  .plot .line { stroke-opacity: .5; stroke-width: 1.5; fill: none }
  .plot .spread { stroke-width: 3; stroke-linecap: round }
";

impl Scatter {
    /// The plot as a file's content. Writing to a string cannot fail.
    pub fn svg(&self) -> String {
        let series = self.series();
        let mut frame = FRAME;
        if series.len() > 1 {
            frame[2] -= LEGEND;
        }
        let [left, top, right, bottom] = frame;
        let x = Axis::over(self.dots.iter().map(|dot| dot.at[0]), [left, right]);
        let heights = self.dots.iter().flat_map(|dot| [dot.at[1], dot.spread[0], dot.spread[1]]);
        let y = Axis::over(heights, [bottom, top]);
        let on_paper = |dot: &Dot| [x.at(dot.at[0]), y.at(dot.at[1])];
        let mut svg = sheet(&self.title, STYLE, Medium::File);
        text(&mut svg, [left, top - 24.0], "class=\"title\"", &self.title);
        grid(&mut svg, &x, &y);
        axis_names(&mut svg, frame, self.axes);
        let mut lines = Vec::new();
        for (row, (name, dots)) in series.iter().enumerate() {
            let colour = COLOURS[row % COLOURS.len()];
            let line: Vec<[f64; 2]> = dots.iter().map(|dot| on_paper(dot)).collect();
            let spreads: Vec<[[f64; 2]; 2]> = dots
                .iter()
                .map(|dot| dot.spread.map(|height| [x.at(dot.at[0]), y.at(height)]))
                .collect();
            self.draw(&mut svg, colour, dots, &line, &spreads);
            lines.push(line);
            lines.extend(spreads.iter().map(|spread| spread.to_vec()));
            if series.len() > 1 {
                let at = [right + 18.5, top + 10.0 + 20.0 * row as f64];
                circle(&mut svg, colour, at, "");
                text(&mut svg, [at[0] + 12.0, at[1] + 4.0], "", name);
            }
        }
        let dots = self.dots.iter();
        let named: Vec<Named<'_>> =
            dots.map(|dot| Named { name: &dot.label, at: on_paper(dot), radius: RADIUS }).collect();
        names(&mut svg, frame, &named, &lines, Vec::new(), usize::MAX);
        svg + "</svg>\n"
    }

    /// The dots of each series, in the order in which they come.
    fn series(&self) -> Vec<(&str, Vec<&Dot>)> {
        let mut series: Vec<(&str, Vec<&Dot>)> = Vec::new();
        for dot in &self.dots {
            match series.iter_mut().find(|(name, _)| *name == dot.series) {
                Some((_, dots)) => dots.push(dot),
                None => series.push((&dot.series, vec![dot])),
            }
        }
        series
    }

    /// Dots, the line that joins them, and one for the spread of each.
    fn draw(
        &self,
        svg: &mut String,
        colour: &str,
        dots: &[&Dot],
        line: &[[f64; 2]],
        spreads: &[[[f64; 2]; 2]],
    ) {
        let points: Vec<String> = line.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        let _ = writeln!(svg, "<polyline class=\"line\" stroke=\"{colour}\" points=\"{points}\"/>");
        for [[x, low], [_, high]] in spreads {
            let ends = format!("x1=\"{x:.1}\" y1=\"{low:.1}\" x2=\"{x:.1}\" y2=\"{high:.1}\"");
            let _ = writeln!(svg, "<line class=\"spread\" stroke=\"{colour}\" {ends}/>");
        }
        let [right, up] = self.axes;
        for (Dot { label, at, spread: [low, high], .. }, &place) in dots.iter().zip(line) {
            let hint = format!(
                "{label}: {} {right}, {:.3} {up}, from {low:.3} to {high:.3}",
                number(at[0]),
                at[1]
            );
            circle(svg, colour, place, &format!("<title>{}</title>", escape(&hint)));
        }
    }
}

fn circle(svg: &mut String, colour: &str, [x, y]: [f64; 2], inside: &str) {
    let place = format!("cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{RADIUS}\"");
    let _ = writeln!(svg, "<circle fill=\"{colour}\" {place}>{inside}</circle>");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(dots: &[(&str, &str, f64, f64)]) -> String {
        let dots = dots.iter().map(|&(label, series, x, y)| Dot {
            label: label.to_owned(),
            series: series.to_owned(),
            at: [x, y],
            spread: [0.9 * y, 1.2 * y],
        });
        let axes = ["multiply-adds", "ms"];
        Scatter { title: "a < b & c".to_owned(), axes, dots: dots.collect() }.svg()
    }

    #[test]
    fn every_dot_is_drawn_and_no_name_lies_on_another() {
        let svg =
            plot(&[("far", "w", 1e3, 1.0), ("near", "w", 1e6, 10.0), ("same", "w", 1e6, 10.0)]);
        assert_eq!(svg.matches("<circle ").count(), 3);
        assert_eq!(svg.matches("<polyline ").count(), 1);
        assert_eq!(svg.matches("class=\"spread\"").count(), 3);
        assert!(svg.contains(", from 0.900 to 1.200"), "{svg}");
        assert!(
            svg.contains(">far</text>") && svg.contains("<title>far: 1000 multiply-adds, 1.000 ms")
        );
        assert!(svg.contains("<title>a &lt; b &amp; c</title>"));
    }

    #[test]
    fn a_crowd_has_all_its_names() {
        let names: Vec<String> = (0..16).map(|n| format!("cifar-resnet{}", 20 + 6 * n)).collect();
        let near = (1..).zip(&names).map(|(n, name)| {
            (name.as_str(), "w", 1e8 * (1.0 + 0.02 * f64::from(n)), 3.0 + 0.02 * f64::from(n))
        });
        let svg = plot(&near.collect::<Vec<_>>());
        for name in &names {
            assert!(svg.contains(&format!(">{name}</text>")), "{name}");
        }
        assert!(svg.contains("class=\"leader\""));
    }

    #[test]
    fn series_have_colours_and_a_legend() {
        let svg = plot(&[("a", "width 1", 1e3, 1.0), ("b", "width 2", 1e4, 3.0)]);
        // A line, a spread, a dot, and one in the legend.
        assert_eq!(svg.matches(COLOURS[0]).count(), 4);
        assert_eq!(svg.matches(COLOURS[1]).count(), 4);
        assert!(svg.contains(">width 1</text>") && svg.contains(">width 2</text>"));
        assert!(!plot(&[("a", "width 1", 1e3, 1.0)]).contains(">width 1</text>"));
    }
}
