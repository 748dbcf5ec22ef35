//! What plots have in common: a sheet of SVG, a grid in a frame, text. Writing to a string cannot fail.

use std::fmt::Write;

pub(crate) const WIDTH: f64 = 960.0;
pub(crate) const HEIGHT: f64 = 620.0;
/// Of names at dots.
pub(crate) const FONT: f64 = 12.0;

/// For light and dark paper.
const STYLE: &str = "
  text { font: 12px system-ui, sans-serif; fill: #222 }
  .title { font-size: 17px; font-weight: 600 }
  .paper { fill: #fff }
  .grid { stroke: #8884; fill: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #e4e4e4 }
    .paper { fill: #16191d }
  }
";

/// A sheet with `style` of its own, to be closed by `</svg>`.
pub(crate) fn sheet(title: &str, style: &str) -> String {
    let title = escape(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n\
         <title>{title}</title>\n<style>{STYLE}{style}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n"
    )
}

/// Lines at the ticks of both axes, with their values, in the frame `[left, top, right, bottom]`.
pub(crate) fn grid(
    svg: &mut String,
    [left, top, right, bottom]: [f64; 4],
    x: impl IntoIterator<Item = (String, f64)>,
    y: impl IntoIterator<Item = (String, f64)>,
) {
    let line = |svg: &mut String, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]| {
        let ends = format!("x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"");
        let _ = writeln!(svg, "<line class=\"grid\" {ends}/>");
    };
    for (value, at) in x {
        line(svg, [at, top], [at, bottom]);
        text(svg, [at, bottom + 20.0], "text-anchor=\"middle\"", &value);
    }
    for (value, at) in y {
        line(svg, [left, at], [right, at]);
        text(svg, [left - 8.0, at + 4.0], "text-anchor=\"end\"", &value);
    }
}

/// What is counted to the right, and upwards.
pub(crate) fn axis_names(
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
pub(crate) fn text(svg: &mut String, [x, y]: [f64; 2], attributes: &str, content: &str) {
    let content = escape(content);
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{content}</text>");
}

/// Whether two boxes (left, top, right, bottom) have a point in common.
pub(crate) fn overlap(a: [f64; 4], b: [f64; 4]) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

/// Text that XML takes as such; characters that it has no way to write become marks.
pub(crate) fn escape(text: &str) -> String {
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

    #[test]
    fn names_are_escaped() {
        assert_eq!(escape("a<b> & \"c\"\u{1}\n"), "a&lt;b&gt; &amp; &quot;c&quot;\u{fffd} ");
    }
}
