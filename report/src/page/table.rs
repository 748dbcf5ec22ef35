//! The table as it was written, with what each row costs in its margin.

use std::fmt::Write;

use crate::draw::escape;
use crate::network::{Network, Stage};
use crate::page::colour;
use crate::page::text::{scaled, shape, share};
use crate::page::wide;

pub(super) fn view(network: &Network) -> String {
    let text = &network.table.text;
    let mut lines = String::new();
    for (number, line) in (1..).zip(text.lines()) {
        let rows = network.stages.iter().enumerate().filter(|(_, stage)| stage.line == number);
        let mut margins = rows.map(|(index, stage)| (stage, margin(network, index, stage)));
        let first = margins.next().map_or("<td colspan=\"5\"></td>".to_owned(), |(_, cells)| cells);
        let _ = writeln!(
            lines,
            "<tr><td class=\"no\">{number}</td><td class=\"code\"><code>{}</code></td>{first}</tr>",
            escape(line)
        );
        // Rows that begin in the same line.
        for (stage, cells) in margins {
            let name = escape(&stage.name);
            let _ = writeln!(
                lines,
                "<tr><td class=\"no\"></td><td class=\"n\">{name}</td>{cells}</tr>"
            );
        }
    }
    let head = "<thead><tr><th scope=\"col\"><span class=\"sr\">Line</span></th><th scope=\"col\">Row</th>\
                <th scope=\"col\">Output</th><th scope=\"col\">Params</th><th scope=\"col\"><span class=\"sr\">Share</span></th>\
                <th scope=\"col\">MACs</th><th scope=\"col\"><span class=\"sr\">Share</span></th></tr></thead>";
    let table = format!("<table class=\"listing\">\n{head}\n<tbody>\n{lines}</tbody>\n</table>\n");
    format!(
        "<p class=\"file\"><code>{}</code></p>\n{}",
        escape(&network.table.file),
        wide("The table", &table)
    )
}

/// What a row makes and costs.
fn margin(network: &Network, index: usize, stage: &Stage) -> String {
    let class = colour(network, Some(index));
    let cost = |part: u64, whole: u64| {
        if part == 0 {
            return "<td></td><td></td>".to_owned();
        }
        let percent = 100.0 * part as f64 / whole.max(1) as f64;
        format!(
            "<td class=\"n\">{}</td><td class=\"share\" title=\"{}\"><i class=\"{class}\" style=\"width:{percent:.2}%\"></i></td>",
            scaled(part),
            share(part as f64, whole as f64)
        )
    };
    format!(
        "<td class=\"n\"><a href=\"#s{index}\">{}</a></td>{}{}",
        shape(stage.output),
        cost(stage.params, network.params),
        cost(stage.macs, network.macs)
    )
}
