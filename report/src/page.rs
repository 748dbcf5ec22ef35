//! Networks as a page: one file of HTML, which needs no other. It is well-formed XML too.

mod block;
mod compare;
mod field;
mod figures;
mod memory;
mod scale;
mod shares;
mod stages;
mod table;
mod text;

use serde::Serialize;

use crate::draw::{self, Medium, escape};
use crate::network::Network;
use crate::roofline;

use self::text::grouped;

/// How every page begins.
pub const START: &str = "<!DOCTYPE html>\n<!-- Made by `resnet report` -->\n";

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// What a page about a network consists of, for a page that has more than this. All text of the network's is escaped.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// The network's name, as text.
    pub title: String,
    /// Its heading and its figures, as HTML.
    pub head: String,
    /// Its views, one after the other.
    pub sections: Vec<Section>,
}

/// A network on a page.
pub fn one(network: &Network) -> String {
    let Page { title, head, sections } = parts(network);
    document(&title, &head, &sections)
}

/// The style sheet of all that is drawn here.
pub fn style() -> String {
    [draw::STYLE, roofline::STYLE, STYLE].concat()
}

/// A network on a page, in parts.
pub fn parts(network: &Network) -> Page {
    let mut sections = vec![
        Section::new(
            "scale",
            "To scale",
            scale::view(network, [scale::all_channels(network), network.input[1]], Side::Only),
        ),
        Section::new("shares", "Where it goes", shares::view(network)),
        Section::new("stages", "Stage by stage", stages::view(network)),
    ];
    if let Some(profile) = &network.profile {
        let plot = profile.plot().sheet(Medium::Page);
        sections.push(Section::new("roofline", "Roofline", wide("Roofline", &plot)));
    }
    sections.push(Section::new(
        "memory",
        "Memory, step by step",
        memory::view(network, [network.memory.arena_bytes, network.memory.steps.len()], Side::Only),
    ));
    sections.push(Section::new(
        "field",
        "Receptive field",
        field::view(network, [field::most(network) as usize, field::len(network)], Side::Only),
    ));
    sections.push(Section::new("table", "The table", table::view(network)));
    let head = format!(
        "<h1>{}</h1>\n<p class=\"lead\">{}</p>\n{}",
        escape(&network.name),
        figures::lead(network),
        figures::view(network)
    );
    Page { title: network.name.clone(), head, sections }
}

/// Two networks side by side.
pub fn two(one: &Network, other: &Network) -> String {
    let both = [one, other];
    let most = |of: &dyn Fn(&Network) -> usize| both.map(of).into_iter().max().unwrap_or(0);
    let room = [most(&scale::all_channels), most(&|network| network.input[1])];
    let memory = [most(&|n| n.memory.arena_bytes), most(&|n| n.memory.steps.len())];
    let fields = [most(&|n| field::most(n) as usize), most(&field::len)];
    let mut sections = vec![
        Section::new(
            "scale",
            "To scale",
            compare::beside(both, |n, side| scale::view(n, room, side)),
        ),
        Section::new("shares", "Where it goes", shares::two(both)),
        Section::new("layers", "Layer by layer", compare::layers(both)),
        Section::new(
            "memory",
            "Memory, step by step",
            compare::beside(both, |n, side| memory::view(n, memory, side)),
        ),
        Section::new(
            "field",
            "Receptive field",
            compare::beside(both, |n, side| field::view(n, fields, side)),
        ),
        Section::new("table", "The tables", compare::tables(both)),
    ];
    if both.iter().all(|network| network.is_timed()) {
        let plots = compare::beside(both, |network, _| {
            let plot = network.profile.as_ref().map(|profile| profile.plot().sheet(Medium::Page));
            wide("Roofline", &plot.unwrap_or_default())
        });
        sections.insert(3, Section::new("roofline", "Rooflines", plots));
    }
    let names = both.map(|network| escape(&network.name));
    let head =
        format!("<h1>{} <small>and</small> {}</h1>\n{}", names[0], names[1], compare::head(both));
    document(&format!("{} and {}", one.name, other.name), &head, &sections)
}

/// A part of a page, under a heading.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    /// Where links find it.
    pub id: &'static str,
    /// The heading.
    pub heading: &'static str,
    /// What is below, as HTML.
    pub content: String,
}

impl Section {
    fn new(id: &'static str, heading: &'static str, content: String) -> Self {
        Self { id, heading, content }
    }
}

fn document(title: &str, head: &str, sections: &[Section]) -> String {
    let link = |Section { id, heading, .. }: &Section| format!("<a href=\"#{id}\">{heading}</a>");
    let links: Vec<String> = sections.iter().map(link).collect();
    let section = |Section { id, heading, content }: &Section| {
        format!(
            "<section id=\"{id}\" aria-labelledby=\"{id}-h\">\n<h2 id=\"{id}-h\">{heading}</h2>\n{content}</section>\n"
        )
    };
    let content: String = sections.iter().map(section).collect();
    format!(
        "{START}<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <title>{}</title>\n<style>{}</style>\n</head>\n<body>\n\
         <header>\n{head}</header>\n<nav aria-label=\"Sections\">{}</nav>\n<main>\n{content}</main>\n\
         <footer><p>Made by <code>resnet report</code>, version {}.</p></footer>\n\
         <script>{SCRIPT}</script>\n</body>\n</html>\n",
        escape(title),
        style(),
        links.join(" "),
        env!("CARGO_PKG_VERSION"),
    )
}

/// What may be wider than the page, and is then moved by itself.
fn wide(name: &str, content: &str) -> String {
    format!(
        "<div class=\"wide\" role=\"group\" aria-label=\"{}\" tabindex=\"0\">\n{content}</div>\n",
        escape(name)
    )
}

/// The class of a stage's colour: those of blocks have one each in turn, as plots' series have; the others are grey, but
/// where there are no blocks.
fn colour(network: &Network, stage: Option<usize>) -> String {
    let coloured = |stage: &usize| {
        let stages = &network.stages;
        let any = stages.iter().any(|stage| stage.blocks.is_some());
        if any { stages[*stage].blocks.is_some() } else { stages[*stage].macs > 0 }
    };
    match stage.filter(coloured) {
        None => "grey".to_owned(),
        Some(stage) => format!("c{}", (0..stage).filter(coloured).count() % draw::COLOURS.len()),
    }
}

/// Whose stages and layers a page shows, where links lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// The only network's.
    Only,
    /// The first one's of two.
    First,
    /// The second one's.
    Second,
}

impl Side {
    const BOTH: [Self; 2] = [Self::First, Self::Second];

    fn prefix(self) -> &'static str {
        match self {
            Self::Only => "",
            Self::First => "a-",
            Self::Second => "b-",
        }
    }

    /// Where a stage is found on the page.
    fn stage(self, stage: usize) -> String {
        format!("{}s{stage}", self.prefix())
    }

    /// Where a layer is found on the page.
    fn layer(self, layer: usize) -> String {
        format!("{}l{layer}", self.prefix())
    }
}

/// `12 params` with commas.
fn counted(count: u64, what: &str) -> String {
    format!("{} {what}", grouped(count))
}
