//! What plots have in common: a sheet of SVG, logarithmic and linear axes with a grid in a frame, text, names
//! beside dots. Writing to a string cannot fail.

use std::cmp::Ordering;
use std::fmt::Write;

/// Width of a sheet, in the units of all that is drawn on it.
pub const WIDTH: f64 = 960.0;
/// Height of a sheet.
pub const HEIGHT: f64 = 620.0;
/// Of all text but the title, as in `STYLE`.
const FONT: f64 = 12.0;
/// What a letter takes at most on the average, in the fonts that stand for `system-ui`.
pub const LETTER: f64 = 0.63 * FONT;

/// Colours of a middle lightness, which stand out on white and on black; used in turn.
pub const COLOURS: [&str; 6] = ["#3d85d9", "#e07b1a", "#2aa58c", "#b0549b", "#8a8a8a", "#a08a1e"];

/// Of all sheets, for light and dark paper. A page that holds some has this, and what each adds to it, once.
pub const STYLE: &str = "
  .plot text { font: 12px system-ui, sans-serif; fill: #222 }
  .plot .title { font-size: 17px; font-weight: 600 }
  .plot .paper { fill: #fff }
  .plot .grid { stroke: #8884; fill: none }
  .plot .leader { stroke: #888; stroke-width: .75 }
  @media (prefers-color-scheme: dark) {
    .plot text { fill: #e4e4e4 }
    .plot .paper { fill: #16191d }
  }
";

/// Where a sheet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// Into a file of its own.
    File,
    /// Into a page that has all styles.
    Page,
}

/// A sheet whose marks have `style`, to be closed by `</svg>`.
pub fn sheet(title: &str, style: &str, medium: Medium) -> String {
    let title = escape(title);
    let head = match medium {
        Medium::File => format!(
            "xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n\
             <title>{title}</title>\n<style>{STYLE}{style}</style>\n"
        ),
        // Its title would hide those of the marks from the pointer.
        Medium::Page => format!("role=\"img\" aria-label=\"{title}\">\n"),
    };
    format!(
        "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" {head}\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n"
    )
}

/// Digits of the marks in each power of ten, from many to few.
const MARKS: [&[f64]; 4] = [
    &[1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0],
    &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
    &[1.0, 2.0, 5.0],
    &[1.0],
];
/// More marks than this crowd an axis.
const MOST_MARKS: usize = 12;

/// An axis that begins and ends at a mark, and where it lies on the paper.
pub struct Axis {
    /// Rising; two at least.
    marks: Vec<f64>,
    ends: [f64; 2],
    is_linear: bool,
}

impl Axis {
    /// The shortest logarithmic one that holds all of `values` and a little room around them, with as many marks
    /// as fit.
    pub fn over(values: impl Iterator<Item = f64>, ends: [f64; 2]) -> Self {
        let values = values.filter(|value| value.is_normal() && *value > 0.0);
        let [low, high] = values
            .fold([f64::MAX, f64::MIN], |[low, high], value| [low.min(value), high.max(value)]);
        let [low, high] = if low <= high { [low, high] } else { [1.0, 2.0] };
        // So that a dot and its name are not at the edge.
        let room = 10_f64.powf(0.02 + 0.03 * (high / low).log10());
        let [low, high] = [low / room, high * room];
        let marks = MARKS.map(|digits| marks(digits, low, high));
        let fitting = marks.iter().find(|marks| marks.len() <= MOST_MARKS);
        let marks = fitting.unwrap_or(&marks[MARKS.len() - 1]).clone();
        Self { marks, ends, is_linear: false }
    }

    /// The shortest linear one that holds all of `values`, with at most `most` steps between its marks.
    pub fn linear(values: impl Iterator<Item = f64>, ends: [f64; 2], most: usize) -> Self {
        let [low, high] = values
            .filter(|value| value.is_finite())
            .fold([f64::MAX, f64::MIN], |[low, high], value| [low.min(value), high.max(value)]);
        let [low, high] = match low.total_cmp(&high) {
            Ordering::Less => [low, high],
            Ordering::Equal => [low, low + low.abs().max(1.0)],
            Ordering::Greater => [0.0, 1.0],
        };
        let decade = ((high - low) / most as f64).log10().floor() as i32;
        let marks =
            [(1, decade), (2, decade), (5, decade), (1, decade + 1)].map(|(digit, decade)| {
                // As decimals, so that they are the nearest numbers to what is shown.
                let step: f64 = format!("{digit}e{decade}").parse().unwrap_or(f64::MAX);
                let [first, last] = [(low / step).floor() as i64, (high / step).ceil() as i64];
                let mark =
                    |count: i64| format!("{}e{decade}", count * digit).parse().unwrap_or(0.0);
                (first..=last).map(mark).collect::<Vec<f64>>()
            });
        let fitting = marks.iter().find(|marks| marks.len() <= most + 1).unwrap_or(&marks[3]);
        Self { marks: fitting.clone(), ends, is_linear: true }
    }

    /// Where a value lies; what lies outside is drawn at the end.
    pub fn at(&self, value: f64) -> f64 {
        let of = |value: f64| match self.is_linear {
            true => value,
            false => value.max(f64::MIN_POSITIVE).log10(),
        };
        let [low, high] = self.range().map(of);
        let along = (of(value) - low) / (high - low);
        self.ends[0] + (self.ends[1] - self.ends[0]) * along.clamp(0.0, 1.0)
    }

    /// The values at its ends.
    pub fn range(&self) -> [f64; 2] {
        [self.marks[0], self.marks[self.marks.len() - 1]]
    }

    /// Its marks, in words and place.
    fn ticks(&self) -> impl Iterator<Item = (String, f64)> + '_ {
        // A linear axis may count in steps of less than four digits can show.
        let words = |mark: f64| match self.is_linear && mark.abs() < 1e4 {
            true => mark.to_string(),
            false => number(mark),
        };
        self.marks.iter().map(move |&mark| (words(mark), self.at(mark)))
    }
}

/// From the last mark that is at most `low` to the first one that is at least `high`.
fn marks(digits: &[f64], low: f64, high: f64) -> Vec<f64> {
    let decades = low.log10().floor() as i32..=high.log10().floor() as i32 + 1;
    // Read as a decimal, so that it is the nearest number to what is shown.
    let mark = |digit: f64, decade: i32| format!("{digit}e{decade}").parse().unwrap_or(f64::MAX);
    let mut marks: Vec<f64> =
        decades.flat_map(|decade| digits.iter().map(move |&digit| mark(digit, decade))).collect();
    let below = marks.iter().rposition(|&mark| mark <= low).unwrap_or(0);
    let above = marks.iter().position(|&mark| mark >= high);
    marks.truncate(above.map_or(marks.len(), |above| above + 1));
    marks.split_off(below)
}

/// A number in four digits, with the unit of its thousands from 10,000 on: `200M`, `0.05`; as a power of ten what is
/// smaller than `0.0001` or too large for a unit: `2e-7`.
pub fn number(value: f64) -> String {
    if value >= 1e12 || value > 0.0 && value < 1e-4 {
        let shown = format!("{value:.3e}");
        let (digits, power) = shown.split_once('e').unwrap_or((&shown, "0"));
        return format!("{}e{power}", digits.trim_end_matches('0').trim_end_matches('.'));
    }
    let (scale, unit) = match value {
        v if v >= 1e9 => (1e9, "G"),
        v if v >= 1e6 => (1e6, "M"),
        v if v >= 1e4 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let value = value / scale;
    let decimals = if value > 0.0 { (3.0 - value.log10().floor()).clamp(0.0, 12.0) } else { 0.0 };
    let shown = format!("{value:.*}", decimals as usize);
    let shown = if shown.contains('.') { shown.trim_end_matches('0') } else { &shown };
    format!("{}{unit}", shown.trim_end_matches('.'))
}

/// Lines at the marks of both axes, with their values.
pub fn grid(svg: &mut String, x: &Axis, y: &Axis) {
    let ([left, right], [bottom, top]) = (x.ends, y.ends);
    let line = |svg: &mut String, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]| {
        let ends = format!("x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"");
        let _ = writeln!(svg, "<line class=\"grid\" {ends}/>");
    };
    for (value, at) in x.ticks() {
        line(svg, [at, top], [at, bottom]);
        text(svg, [at, bottom + 20.0], "text-anchor=\"middle\"", &value);
    }
    for (value, at) in y.ticks() {
        line(svg, [left, at], [right, at]);
        text(svg, [left - 8.0, at + 4.0], "text-anchor=\"end\"", &value);
    }
}

/// What is counted to the right, and upwards.
pub fn axis_names(
    svg: &mut String,
    [left, top, right, bottom]: [f64; 4],
    [right_axis, up_axis]: [&str; 2],
) {
    let middle = [(left + right) / 2.0, bottom + 46.0];
    text(svg, middle, "text-anchor=\"middle\"", right_axis);
    let (x, y) = (left - 52.0, (top + bottom) / 2.0);
    let turned = format!("text-anchor=\"middle\" transform=\"rotate(-90 {x} {y})\"");
    text(svg, [x, y], &turned, up_axis);
}

/// Writes text, whose left end is there unless the attributes say otherwise.
pub fn text(svg: &mut String, [x, y]: [f64; 2], attributes: &str, content: &str) {
    let content = escape(content);
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{content}</text>");
}

/// A dot with a name.
pub struct Named<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Its middle on the paper.
    pub at: [f64; 2],
    /// How far it reaches from there.
    pub radius: f64,
}

/// Writes the names of those dots, at most `most`, that have room for them inside `frame`, the first
/// ones first, and none over a dot, a line, or what is `taken` already. A name that is not beside its dot has a
/// line that leads to it.
pub fn names(
    svg: &mut String,
    frame: [f64; 4],
    dots: &[Named<'_>],
    lines: &[Vec<[f64; 2]>],
    mut taken: Vec<[f64; 4]>,
    most: usize,
) {
    let boxes = dots.iter().map(|dot| {
        let ([x, y], r) = (dot.at, dot.radius);
        [x - r, y - r, x + r, y + r]
    });
    let own = taken.len();
    taken.extend(boxes);
    // As points, close enough that no name fits between two.
    let segments = lines.iter().flat_map(|line| line.windows(2));
    taken.extend(segments.flat_map(|ends| {
        (0..=200).map(|step| {
            let along = f64::from(step) / 200.0;
            let [x, y] = [0, 1].map(|i| ends[0][i] + along * (ends[1][i] - ends[0][i]));
            [x, y, x, y]
        })
    }));
    let mut written = 0;
    for (index, dot) in dots.iter().enumerate() {
        if written == most {
            break;
        }
        let free = places(dot).find(|place| {
            let [left, top, right, bottom] = place.area;
            let inside = left > frame[0] && right < frame[2] && top > frame[1] && bottom < frame[3];
            let mut others = taken.iter().enumerate().filter(|(other, _)| *other != own + index);
            inside && !others.any(|(_, &other)| overlap(place.area, other))
        });
        if let Some(Place { anchor, area: [left, top, right, bottom], far }) = free {
            // Names may be shorter than their places: from the side of the dot on.
            let x = match anchor {
                "start" => left,
                "end" => right,
                _ => dot.at[0],
            };
            if far {
                // To the edge that is nearer.
                let y = if bottom < dot.at[1] { bottom } else { dot.at[1].max(top) };
                let ends = format!(
                    "x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{y:.1}\"",
                    dot.at[0], dot.at[1]
                );
                let _ = writeln!(svg, "<line class=\"leader\" {ends}/>");
            }
            text(svg, [x, bottom - 3.0], &format!("text-anchor=\"{anchor}\""), dot.name);
            taken.push([left, top, right, bottom]);
            written += 1;
        }
    }
}

/// Where a name could stand.
struct Place {
    /// The part of the name that is next to the dot.
    anchor: &'static str,
    /// Left, top, right, bottom.
    area: [f64; 4],
    /// Not beside the dot.
    far: bool,
}

/// Further distances from a dot at which its name is looked for, when there is no room beside it.
const FAR: [f64; 8] = [18.0, 34.0, 50.0, 70.0, 90.0, 115.0, 140.0, 170.0];

/// Where a dot's name could stand: right, left, above, below, and in the corners between, beside the dot and then
/// further away.
fn places(dot: &Named<'_>) -> impl Iterator<Item = Place> {
    let near = (dot.radius + 4.0, false);
    let far = FAR.map(|distance| (dot.radius + 4.0 + distance, true));
    std::iter::once(near).chain(far).flat_map(move |(away, far)| {
        around(dot, away).into_iter().map(move |(anchor, area)| Place { anchor, area, far })
    })
}

/// Where a dot's name could stand at a distance from it.
fn around(dot: &Named<'_>, away: f64) -> [(&'static str, [f64; 4]); 8] {
    let (width, height) = (LETTER * dot.name.chars().count() as f64, FONT + 2.0);
    // A corner is as far away as a side.
    let corner = 0.7 * away;
    let [x, y] = dot.at;
    let place = |left: f64, top: f64| [left, top, left + width, top + height];
    [
        ("start", place(x + away, y - height / 2.0)),
        ("end", place(x - away - width, y - height / 2.0)),
        ("middle", place(x - width / 2.0, y - away - height)),
        ("middle", place(x - width / 2.0, y + away)),
        ("start", place(x + corner, y + corner)),
        ("end", place(x - corner - width, y - corner - height)),
        ("start", place(x + corner, y - corner - height)),
        ("end", place(x - corner - width, y + corner)),
    ]
}

/// Whether two boxes (left, top, right, bottom) have a point in common.
fn overlap(a: [f64; 4], b: [f64; 4]) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

/// Text that XML takes as such; characters that it has no way to write become marks.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\t' | '\n' | '\r' => escaped.push(' '),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(values: &[f64]) -> Vec<String> {
        let axis = Axis::over(values.iter().copied(), [0.0, 1.0]);
        axis.ticks().map(|(words, _)| words).collect()
    }

    #[test]
    fn axes_hold_all_values_between_marks() {
        let axis = Axis::over([0.3, 40.0].into_iter(), [0.0, 300.0]);
        assert_eq!(axis.range(), [0.2, 50.0]);
        assert_eq!((axis.at(0.1), axis.at(50.0), axis.at(1e9)), (0.0, 300.0, 300.0));
        assert!((axis.at(10_f64.sqrt()) - 150.0).abs() < 1e-9);
        assert_eq!(shown(&[0.3, 40.0]), ["0.2", "0.5", "1", "2", "5", "10", "20", "50"]);
        assert_eq!(shown(&[0.19, 0.341]), ["0.15", "0.2", "0.25", "0.3", "0.4"]);
        let middle = ["0.2", "0.3", "0.5", "0.7", "1", "1.5", "2", "3", "5", "7"];
        assert_eq!(shown(&[0.3, 5.0]), middle);
        let long = ["0.001", "0.01", "0.1", "1", "10", "100", "1000", "10k"];
        assert_eq!(shown(&[0.002, 9e2]), long);
        for few in [&[1.0, 1.0][..], &[], &[0.0, f64::NAN]] {
            let axis = Axis::over(few.iter().copied(), [0.0, 1.0]);
            assert!(axis.range()[0] < 1.0 && axis.range()[1] > 1.0, "{few:?}");
        }
    }

    #[test]
    fn linear_axes_hold_all_values_between_marks() {
        for (values, most, shown) in [
            (&[0.0, 1.0][..], 5, &["0", "0.2", "0.4", "0.6", "0.8", "1"][..]),
            (&[1.0, 60.0], 8, &["0", "10", "20", "30", "40", "50", "60"]),
            (&[0.31, 2.29], 4, &["0", "1", "2", "3"]),
            (&[3.0], 4, &["3", "4", "5", "6"]),
            (&[], 4, &["0", "0.5", "1"]),
            (&[f64::INFINITY, 2.0, 2.001], 4, &["2", "2.0005", "2.001"]),
        ] {
            let axis = Axis::linear(values.iter().copied(), [300.0, 0.0], most);
            assert_eq!(axis.ticks().map(|(words, _)| words).collect::<Vec<_>>(), shown);
            let [low, high] = axis.range();
            assert!(
                axis.at(low) == 300.0
                    && axis.at(high) == 0.0
                    && axis.at(f64::NEG_INFINITY) == 300.0
            );
            assert!((axis.at((low + high) / 2.0) - 150.0).abs() < 1e-9);
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, shown) in [
            (2e8, "200M"),
            (4.089e9, "4.089G"),
            (0.05, "0.05"),
            (1000.0, "1000"),
            (50_000.0, "50k"),
            (54.7123e6, "54.71M"),
            (100.0, "100"),
            (0.0, "0"),
            (2e-7, "2e-7"),
            (1.2345e15, "1.234e15"),
            (1e-4, "0.0001"),
        ] {
            assert_eq!(number(value), shown);
        }
    }

    #[test]
    fn names_keep_away_from_dots_lines_and_one_another() {
        let dots = [("a dot", [100.0, 50.0]), ("a name", [380.0, 50.0]), ("c", [110.0, 50.0])];
        let dots = dots.map(|(name, at)| Named { name, at, radius: 4.0 });
        let written = |lines: &[Vec<[f64; 2]>], taken: Vec<[f64; 4]>, most| {
            let mut svg = String::new();
            names(&mut svg, [0.0, 0.0, 400.0, 100.0], &dots, lines, taken, most);
            let place = |line: &str| -> Vec<f64> {
                let quoted = line.split('"').skip(1).step_by(2).take(2);
                quoted.map(|number| number.parse().unwrap()).collect()
            };
            svg.lines().map(place).collect::<Vec<_>>()
        };
        let free = written(&[], Vec::new(), 9);
        let [first, second, third] = &free[..] else { panic!("{free:?}") };
        assert_eq!(first[0], 92.0, "to the left of both");
        assert_eq!(second[0], 372.0, "inside the frame");
        assert_eq!(third[0], 118.0, "to the right");
        assert_eq!(written(&[], Vec::new(), 2), free[..2]);
        let line = vec![[0.0, 50.0], [400.0, 50.0]];
        let above = written(&[line], Vec::new(), 1);
        assert!(above[0][1] < 46.0, "above dot and line: {above:?}");
        assert!(written(&[], vec![[0.0, 0.0, 400.0, 100.0]], 9).is_empty());
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(escape("a<b> & \"c\"\u{1}\n"), "a&lt;b&gt; &amp; &quot;c&quot;\u{fffd} ");
    }
}
