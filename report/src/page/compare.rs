//! Two networks side by side, to one scale, and what differs.

use crate::draw::escape;
use crate::network::{Layer, Network, Stage};
use crate::page::figures::{Figure, figures};
use crate::page::text::{bytes, field, grouped, milliseconds, operation, scaled, shape};
use crate::page::{Side, colour, wide};

/// What belongs together of two lists; nothing where one has no counterpart.
type Pairs = Vec<[Option<usize>; 2]>;

/// What two lists have in common in the same order, as long as it can be, and the rest in between.
fn align<T: PartialEq>(one: &[T], other: &[T]) -> Pairs {
    let width = other.len() + 1;
    let mut longest = vec![0_u32; (one.len() + 1) * width];
    for i in (0..one.len()).rev() {
        for j in (0..other.len()).rev() {
            longest[i * width + j] = if one[i] == other[j] {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < one.len() || j < other.len() {
        if i < one.len() && j < other.len() && one[i] == other[j] {
            pairs.push([Some(i), Some(j)]);
            (i, j) = (i + 1, j + 1);
        } else if j == other.len()
            || i < one.len() && longest[(i + 1) * width + j] >= longest[i * width + j + 1]
        {
            pairs.push([Some(i), None]);
            i += 1;
        } else {
            pairs.push([None, Some(j)]);
            j += 1;
        }
    }
    pairs
}

/// The stages of two networks: of one name, or else, between those, in their order.
fn stages([one, other]: [&Network; 2]) -> Pairs {
    let names = |network: &Network| -> Vec<String> {
        network.stages.iter().map(|stage| stage.name.clone()).collect()
    };
    let mut pairs = Pairs::new();
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let between = |pairs: &mut Pairs, left: &mut Vec<usize>, right: &mut Vec<usize>| {
        for place in 0..left.len().max(right.len()) {
            pairs.push([left.get(place).copied(), right.get(place).copied()]);
        }
        left.clear();
        right.clear();
    };
    for [a, b] in align(&names(one), &names(other)) {
        match [a, b] {
            [Some(_), Some(_)] => {
                between(&mut pairs, &mut left, &mut right);
                pairs.push([a, b]);
            }
            _ => {
                left.extend(a);
                right.extend(b);
            }
        }
    }
    between(&mut pairs, &mut left, &mut right);
    pairs
}

/// The figures of both, and by how much they differ.
pub(super) fn head(networks: [&Network; 2]) -> String {
    let [one, other] = networks.map(figures);
    let rows = one.iter().filter_map(|a| Some((a, other.iter().find(|b| b.name == a.name)?)));
    let rows: String = rows
        .map(|(a, b)| {
            let ratio = match (a.amount, b.amount) {
                (Some(a), Some(b)) => difference(a, b),
                _ => String::new(),
            };
            let cell = |Figure { value, note, .. }: &Figure| {
                format!("<td><b>{value}</b> <small>{note}</small></td>")
            };
            format!(
                "<tr><th scope=\"row\">{}</th>{}{}<td>{ratio}</td></tr>\n",
                a.name,
                cell(a),
                cell(b)
            )
        })
        .collect();
    let [a, b] = networks.map(|network| escape(&network.name));
    let head = format!(
        "<thead><tr><th scope=\"col\"><span class=\"sr\">Figure</span></th><th scope=\"col\">{a}</th><th scope=\"col\">{b}</th>\
         <th scope=\"col\">Second beside first</th></tr></thead>"
    );
    wide("Figures", &format!("<table class=\"two\">\n{head}\n<tbody>\n{rows}</tbody>\n</table>\n"))
}

/// How much more the second one is, in words.
fn difference(a: f64, b: f64) -> String {
    let more = 100.0 * (b / a - 1.0);
    match more {
        _ if a == b => "the same".to_owned(),
        _ if a <= 0.0 => String::new(),
        more if more >= 100.0 => format!("×{:.2}", b / a),
        more if more.abs() < 9.95 => format!("{more:+.2}%"),
        more => format!("{more:+.0}%"),
    }
}

/// A view of each, side by side where there is room.
pub(super) fn beside(networks: [&Network; 2], view: impl Fn(&Network, Side) -> String) -> String {
    let parts = networks.iter().zip(Side::BOTH).map(|(network, side)| {
        format!("<div>\n<h3>{}</h3>\n{}</div>\n", escape(&network.name), view(network, side))
    });
    format!("<div class=\"pair\">\n{}</div>\n", parts.collect::<String>())
}

/// Stage by stage, each layer of one beside its counterpart.
pub(super) fn layers(networks: [&Network; 2]) -> String {
    let [one, other] = networks.map(|network| escape(&network.name));
    let note = format!(
        "<p class=\"facts\">Struck out: <del>{one}</del>; underlined: <ins>{other}</ins>. What both have stands once.</p>\n"
    );
    let pairs = stages(networks).into_iter();
    note + &pairs.map(|pair| article(networks, pair)).collect::<String>()
}

fn article(networks: [&Network; 2], pair: [Option<usize>; 2]) -> String {
    let [one, other] = [0, 1].map(|side| pair[side].map(|stage| &networks[side].stages[stage]));
    let class = match pair {
        [Some(stage), _] => colour(networks[0], Some(stage)),
        [None, stage] => colour(networks[1], stage),
    };
    let both = |of: &dyn Fn(&Stage) -> String| change(one.map(of), other.map(of));
    let name = both(&|stage| escape(&stage.name));
    let kind = both(&|stage| {
        let times = stage.blocks.map(|blocks| format!(" ×{blocks}")).unwrap_or_default();
        format!("{}{times}", operation(stage.op))
    });
    let facts = [
        both(&|stage| format!("{} → {}", shape(stage.input), shape(stage.output))),
        both(&|stage| some(stage.params, format!("{} params", scaled(stage.params)))),
        both(&|stage| some(stage.macs, format!("{} MACs", scaled(stage.macs)))),
    ];
    let (rows, differing) = rows(networks, pair);
    let anchors = [0, 1].map(|side| pair[side].map(|stage| Side::BOTH[side].stage(stage)));
    let layers = match differing {
        0 => "all layers are alike".to_owned(),
        1 => "1 layer differs".to_owned(),
        many => format!("{many} layers differ"),
    };
    let table = wide(
        "Layers",
        &format!(
            "<table class=\"layers\">\n{}<tbody>\n{rows}</tbody>\n</table>\n",
            heading(networks)
        ),
    );
    format!(
        "<article class=\"stage {class}\"{}>\n<h3>{name}{} <small>{kind}</small></h3>\n<p class=\"facts\">{}</p>\n\
         <details{}>\n<summary>{layers}</summary>\n<div class=\"inside\">\n{table}</div>\n</details>\n</article>\n",
        id(anchors[0].as_deref()),
        place(anchors[1].as_deref()),
        facts.map(|fact| format!("<span>{fact}</span>")).concat(),
        if (1..=24).contains(&differing) { " open=\"open\"" } else { "" }
    )
}

fn heading(networks: [&Network; 2]) -> String {
    let time = if networks.iter().any(|network| network.is_timed()) {
        "<th scope=\"col\">ms</th>"
    } else {
        ""
    };
    format!(
        "<thead><tr><th scope=\"col\">Layer</th><th scope=\"col\">Operation</th><th scope=\"col\">Output</th>\
         <th scope=\"col\">Field</th><th scope=\"col\">Params</th><th scope=\"col\">MACs</th>\
         <th scope=\"col\">Weights</th><th scope=\"col\">Activations</th><th scope=\"col\">Algorithm</th>{time}</tr></thead>\n"
    )
}

/// A line for each layer, and how many differ.
fn rows(networks: [&Network; 2], pair: [Option<usize>; 2]) -> (String, usize) {
    let of_side = |side: usize| -> Vec<(usize, &Layer)> {
        let layers = networks[side].layers.iter().enumerate();
        layers.filter(|(_, layer)| Some(layer.stage) == pair[side]).collect()
    };
    let (one, other) = (of_side(0), of_side(1));
    let within = |side: usize, layers: &[(usize, &Layer)]| -> Vec<String> {
        let stage = pair[side].map_or("", |stage| &*networks[side].stages[stage].name);
        let name = |(_, layer): &(usize, &Layer)| {
            layer.counts.name.strip_prefix(stage).unwrap_or(&layer.counts.name).to_owned()
        };
        layers.iter().map(name).collect()
    };
    let pairs = align(&within(0, &one), &within(1, &other));
    let mut differing = 0;
    let timed = networks.iter().any(|network| network.is_timed());
    let rows = pairs.into_iter().map(|[a, b]| {
        let (a, b) = (a.map(|a| one[a]), b.map(|b| other[b]));
        let cells = [a, b].map(|layer| layer.map(|(_, layer)| cells(layer)));
        let anchors = [
            a.map(|(place, _)| Side::First.layer(place)),
            b.map(|(place, _)| Side::Second.layer(place)),
        ];
        // Times are never quite the same.
        let alike = cells[0].as_ref().map(|cells| &cells[1..9])
            == cells[1].as_ref().map(|cells| &cells[1..9]);
        differing += usize::from(!alike);
        let columns = if timed { 10 } else { 9 };
        let cell = |column: usize| {
            let text = change(
                cells[0].as_ref().map(|cells| cells[column].clone()),
                cells[1].as_ref().map(|cells| cells[column].clone()),
            );
            match column {
                0 => {
                    let second = place(anchors[1].as_deref());
                    format!("<th scope=\"row\">{text}{second}</th>")
                }
                1 | 8 => format!("<td>{text}</td>"),
                _ => format!("<td class=\"n\">{text}</td>"),
            }
        };
        let row: String = (0..columns).map(cell).collect();
        format!("<tr{}>{row}</tr>\n", id(anchors[0].as_deref()))
    });
    let rows = rows.collect();
    (rows, differing)
}

/// What a layer's line says.
fn cells(layer: &Layer) -> [String; 10] {
    let counts = &layer.counts;
    let bits = layer.format();
    [
        escape(&counts.name),
        escape(&operation(&counts.operation)),
        shape(counts.output),
        field(&layer.receptive_field, counts.output),
        some(counts.params, grouped(counts.params)),
        some(counts.macs, scaled(counts.macs)),
        some(layer.weight_bytes, bytes(layer.weight_bytes)),
        some(layer.activation_bytes, bytes(layer.activation_bytes)),
        layer.algorithm.map(|word| format!("{word}{bits}")).unwrap_or_default(),
        layer.ms.map(milliseconds).unwrap_or_default(),
    ]
}

/// The attribute by which an element is found.
fn id(anchor: Option<&str>) -> String {
    anchor.map(|anchor| format!(" id=\"{anchor}\"")).unwrap_or_default()
}

/// A place that is found by another name.
fn place(anchor: Option<&str>) -> String {
    anchor.map(|anchor| format!("<span id=\"{anchor}\"></span>")).unwrap_or_default()
}

/// A count in words, where there is something to count.
fn some(count: u64, words: String) -> String {
    if count == 0 { String::new() } else { words }
}

/// What was, and what is instead; once if it is the same.
fn change(one: Option<String>, other: Option<String>) -> String {
    let marked = |mark: &str, text: Option<String>| match text.filter(|text| !text.is_empty()) {
        Some(text) => format!("<{mark}>{text}</{mark}>"),
        None => String::new(),
    };
    if one == other {
        return one.unwrap_or_default();
    }
    let (old, new) = (marked("del", one), marked("ins", other));
    if old.is_empty() || new.is_empty() { old + &new } else { format!("{old} {new}") }
}

/// The lines of both tables.
pub(super) fn tables([one, other]: [&Network; 2]) -> String {
    let lines = |network: &Network| -> Vec<String> {
        network.table.text.lines().map(str::to_owned).collect()
    };
    let (a, b) = (lines(one), lines(other));
    let rows = align(&a, &b).into_iter().map(|pair| match pair {
        [Some(line), Some(_)] => format!("<span>  {}</span>\n", escape(&a[line])),
        [Some(line), None] => format!("<del>- {}</del>\n", escape(&a[line])),
        [None, line] => {
            format!("<ins>+ {}</ins>\n", line.map(|line| escape(&b[line])).unwrap_or_default())
        }
    });
    let files = [one, other].map(|network| escape(&network.table.file));
    format!(
        "<p class=\"file\"><del>{}</del> <ins>{}</ins></p>\n{}",
        files[0],
        files[1],
        wide(
            "The tables",
            &format!("<pre class=\"lines\"><code>{}</code></pre>\n", rows.collect::<String>())
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_aligned_by_what_they_have_in_common() {
        let pairs = align(&["a", "b", "c", "d"], &["x", "b", "d", "e"]);
        let words: Vec<String> = pairs
            .iter()
            .map(|pair| match pair {
                [Some(_), Some(_)] => "=".to_owned(),
                [Some(i), None] => format!("-{i}"),
                [_, j] => format!("+{}", j.unwrap()),
            })
            .collect();
        assert_eq!(words.concat(), "-0+0=-2=+3");
        assert!(align::<u8>(&[], &[]).is_empty());
    }

    #[test]
    fn differences_are_percents_or_factors() {
        assert_eq!(difference(2.0, 2.0), "the same");
        assert_eq!(difference(100.0, 106.0), "+6.00%");
        assert_eq!(difference(100.0, 50.0), "-50%");
        assert_eq!(difference(1.0, 3.0), "×3.00");
        assert_eq!(difference(0.0, 3.0), "");
    }

    #[test]
    fn what_differs_is_marked() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(change(text("a"), text("a")), "a");
        assert_eq!(change(text("a"), text("b")), "<del>a</del> <ins>b</ins>");
        assert_eq!(change(text(""), text("b")), "<ins>b</ins>");
        assert_eq!(change(text("a"), None), "<del>a</del>");
    }
}
