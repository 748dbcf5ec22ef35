use std::collections::BTreeSet;

use roxmltree::{Document, Node, ParsingOptions};
use serde_json::Value;

use crate::Workshop;

/// A page is well-formed XML, in which every `id` is one element's.
fn parse(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(page, options).unwrap_or_else(|e| panic!("{e}"));
    let mut ids = BTreeSet::new();
    for id in document.descendants().filter_map(|node| node.attribute("id")) {
        assert!(ids.insert(id), "`{id}` is there twice");
    }
    for node in document.descendants() {
        if let Some(link) = node.attribute("href") {
            assert!(ids.contains(link.strip_prefix('#').unwrap()), "nothing has the id `{link}`");
        }
        let outside = node.attribute("src").or(node.attribute("xlink:href"));
        assert_eq!(outside, None, "a page needs no other file");
    }
    document
}

/// The names of the layers' lines, in their order.
fn layers(document: &Document<'_>) -> Vec<String> {
    let is_layer = |node: &Node<'_, '_>| node.attribute("class") == Some("layers");
    let tables = document.descendants().filter(is_layer);
    let names = tables
        .flat_map(|table| table.descendants())
        .filter(|node| node.has_tag_name("th") && node.attribute("scope") == Some("row"));
    names.map(|name| words(&name)).collect()
}

fn words(node: &Node<'_, '_>) -> String {
    node.descendants().filter(Node::is_text).filter_map(|text| text.text()).collect()
}

fn json(workshop: &Workshop, arguments: &str) -> Value {
    serde_json::from_str(&workshop.resnet(arguments).succeeds()).unwrap()
}

const TRAINED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/cifar10/resnet20.yaml");

#[test]
fn a_page_has_every_layer_once_and_the_figures_of_check() {
    let workshop = Workshop::new();
    for model in ["resnet18", TRAINED, "colours.yaml"] {
        let report = format!("report {model} -o page.html");
        assert_eq!(workshop.resnet(&report).succeeds(), "");
        let page = std::fs::read_to_string(workshop.path("page.html")).unwrap();
        let document = parse(&page);
        let check = json(&workshop, &format!("check {model} --format json"));
        let names: Vec<&str> = check["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l["name"].as_str().unwrap())
            .collect();
        assert_eq!(layers(&document), names, "{model}");
        let text = words(&document.root());
        let params = check["params"].as_u64().unwrap();
        let grouped = resnet_compiler::report::grouped(params);
        assert!(text.contains(&grouped), "{model}: {grouped}");
        // The same again, in the place of the old one.
        workshop.resnet(&report).succeeds();
        assert!(page == std::fs::read_to_string(workshop.path("page.html")).unwrap(), "{model}");
    }
}

#[test]
fn the_json_has_what_check_says_and_more() {
    let workshop = Workshop::new();
    for model in ["resnet18", TRAINED, "seresnet50"] {
        let report = json(&workshop, &format!("report {model} --json"));
        let check = json(&workshop, &format!("check {model} --format json"));
        for (key, value) in check.as_object().unwrap().iter().filter(|(key, _)| *key != "layers") {
            assert_eq!(&report[key], value, "{model}: {key}");
        }
        let pairs = [&report, &check].map(|all| all["layers"].as_array().unwrap());
        assert_eq!(pairs[0].len(), pairs[1].len());
        for (layer, counts) in pairs[0].iter().zip(pairs[1]) {
            for (key, value) in counts.as_object().unwrap() {
                assert_eq!(&layer[key], value, "{model}: {key}");
            }
        }
        // Every part of the network is in a stage.
        for key in ["params", "macs", "weight_bytes"] {
            let stages = report["stages"].as_array().unwrap().iter();
            let sum: u64 = stages.map(|stage| stage[key].as_u64().unwrap()).sum();
            let [low, high] = [report[key].as_u64().unwrap(), sum];
            // Packed weights begin at cache lines.
            assert!(low == high || key == "weight_bytes" && low.abs_diff(high) < 1 << 16, "{key}");
        }
        let memory = &report["memory"];
        let scratch = memory["scratch_bytes"].as_u64().unwrap();
        let arena = memory["arena_bytes"].as_u64().unwrap();
        assert_eq!(report["arena_bytes"], arena + scratch);
        for space in memory["spaces"].as_array().unwrap() {
            let number = |key: &str| space[key].as_u64().unwrap();
            assert!(number("offset") + number("bytes") <= arena);
            assert_eq!(space["steps"][0], space["step"]);
        }
    }
    let both = json(&workshop, "report resnet18 resnet8 --json");
    assert_eq!((&both[0]["name"], &both[1]["name"]), (&"resnet18".into(), &"resnet8".into()));
}

#[test]
fn a_deep_network_has_a_small_page() {
    let page = Workshop::new().resnet("report resnet152 -o -").succeeds();
    parse(&page);
    assert!(page.len() < 1 << 20, "{} bytes", page.len());
}

/// Names come from tables, and nothing in a table is markup.
#[test]
fn hostile_names_are_text() {
    let workshop = Workshop::new();
    let evil = "</script><img src=x onerror=alert(1)>&\\\"'";
    let table = format!(
        "name: \"{evil}\"\ninput: 3x16x16\ntable:\n  - {{layer: \"{evil}a\", op: basic, channels: 16}} # {evil}\n  \
         - {{layer: \"{evil}b\", op: global_average_pool}}\n"
    );
    workshop.write("evil<b>&.yaml", &table);
    for models in ["evil<b>&.yaml", "evil<b>&.yaml colours.yaml", "colours.yaml evil<b>&.yaml"] {
        workshop.resnet(&format!("report {models} -o page.html")).succeeds();
        let page = std::fs::read_to_string(workshop.path("page.html")).unwrap();
        let document = parse(&page);
        assert!(!page.contains("<img") && page.matches("</script>").count() == 1, "{models}");
        let text = words(&document.root());
        assert!(text.contains("</script><img src=x onerror=alert(1)>&\"'a"), "{text}");
        assert!(
            !document.descendants().any(|node| {
                node.attributes().any(|attribute| attribute.name().starts_with("on"))
            })
        );
    }
}

#[test]
fn two_networks_are_set_side_by_side() {
    let workshop = Workshop::new();
    workshop.write(
        "wide.yaml",
        crate::COLOURS
            .replace("channels: 3", "channels: 6")
            .replace("[red, green, blue]", "[a, b, c, d, e, f]"),
    );
    let page = workshop.resnet("report colours.yaml wide.yaml -o -").succeeds();
    let document = parse(&page);
    let marked = |mark: &str| -> Vec<String> {
        document
            .descendants()
            .filter(|node| node.has_tag_name(mark))
            .map(|node| words(&node))
            .collect()
    };
    let (old, new) = (marked("del"), marked("ins"));
    assert!(old.contains(&"12".to_owned()) && new.contains(&"24".to_owned()), "{old:?} {new:?}");
    assert!(new.iter().any(|line| line.starts_with("+   - {layer: fc, op: linear, channels: 6}")));
    assert!(words(&document.root()).contains("all layers are alike"));
    assert!(words(&document.root()).contains("1 layer differs"));
    // The same twice has nothing to mark but the names of the two files.
    let page = workshop.resnet("report resnet8 resnet8 -o -").succeeds();
    let document = parse(&page);
    let marks = document.descendants().filter(|node| node.has_tag_name("ins")).count();
    assert_eq!(marks, 2, "the names in the keys");
}

#[test]
fn weights_say_bytes_and_algorithms() {
    let workshop = Workshop::new();
    let int8 = TRAINED.replace(".yaml", "-int8.safetensors");
    let plain = json(&workshop, &format!("report {TRAINED} --json"));
    let bytes = json(&workshop, &format!("report {TRAINED} --weights {int8} --json"));
    let check = json(&workshop, &format!("check {TRAINED} --weights {int8} --format json"));
    assert_eq!(bytes["weight_bytes"], check["weights"]["bytes"]);
    assert_eq!(bytes["quantised_layers"], check["weights"]["quantised_layers"]);
    assert_eq!(bytes["arena_bytes"], check["arena_bytes"]);
    assert!(bytes["weight_bytes"].as_u64() < plain["weight_bytes"].as_u64());
    let page = workshop.resnet(&format!("report {TRAINED} --weights {int8} -o -")).succeeds();
    assert!(page.contains(", 8 bits</span>"));
    workshop.resnet(&format!("report resnet8 --weights {int8} -o -")).fails("of that weight");
    workshop
        .resnet(&format!("report {TRAINED} resnet8 --weights {int8} -o -"))
        .fails("`--weights` is given once, but there are 2 models");
}

#[test]
fn times_are_measured_at_wish() {
    let workshop = Workshop::new();
    let report = "report colours.yaml --bench --seconds 0 --threads 1 -o -";
    let page = workshop.resnet(report).succeeds();
    parse(&page);
    assert!(page.contains("id=\"roofline\"") && page.contains("class=\"roof\""));
    let report = json(&workshop, "report colours.yaml --bench --seconds 0 --threads 1 --json");
    let layers = report["layers"].as_array().unwrap();
    assert!(layers.iter().all(|layer| layer["ms"].is_f64()));
    assert_eq!(report["profile"]["threads"], 1);
    workshop.resnet("report colours.yaml --seconds 1 -o -").must_be_misuse("--bench");
}

#[test]
fn no_file_is_lost() {
    let workshop = Workshop::new();
    workshop.write("mine.html", "<!DOCTYPE html>\n<title>mine</title>");
    let report = "report colours.yaml -o mine.html";
    workshop
        .resnet(report)
        .fails("`mine.html` exists already and is not a page of `resnet report`");
    workshop.resnet(&format!("{report} --force")).succeeds();
    workshop.resnet(report).succeeds();
    workshop.resnet("report colours.yaml -o colours.yaml --force").fails("over the input");
    workshop.resnet("report colours.yaml --json -o colours.json").succeeds();
    workshop.resnet("report colours.yaml --json -o colours.json").fails("exists already");
    workshop.resnet("report colours.yaml").must_be_misuse("--output");
    workshop.resnet("report").must_be_misuse("MODEL");
    workshop.resnet("report a b c -o d").must_be_misuse("");
    workshop.resnet("report zebra -o zebra.html").fails("neither a file nor a network");
    assert!(!workshop.files().iter().any(|name| name.starts_with("zebra")));
}

#[test]
fn rows_in_one_line_have_their_costs_each() {
    let workshop = Workshop::new();
    let rows = "[{layer: mean, op: global_average_pool}, {layer: fc, op: linear, channels: 7}]";
    workshop.write("flow.yaml", format!("name: flow\ninput: 3x4x4\ntable: {rows}\n"));
    let page = workshop.resnet("report flow.yaml -o -").succeeds();
    let document = parse(&page);
    let listing = document.descendants().find(|node| node.attribute("class") == Some("listing"));
    let listing = listing.unwrap();
    let lines: Vec<String> = listing
        .descendants()
        .filter(|node| node.has_tag_name("tr"))
        .map(|row| words(&row))
        .collect();
    // The names of the columns, three lines, and the second row of the third line.
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert_eq!(lines[4], "fc72821");
}

#[test]
fn shortcuts_are_told_by_their_kinds() {
    let workshop = Workshop::new();
    for (model, kinds) in [
        ("resnet18", &["identity", "projection"][..]),
        ("resnet34-a", &["identity", "zero padding"]),
        ("resnet50d", &["identity", "pool, projection", "projection"]),
        ("plain18", &[]),
    ] {
        let page = workshop.resnet(&format!("report {model} -o -")).succeeds();
        let document = parse(&page);
        let of_class = |class: &'static str| {
            document.descendants().filter(move |node| {
                node.attribute("class").is_some_and(|found| found.split(' ').any(|c| c == class))
            })
        };
        let found: BTreeSet<String> = of_class("kind").map(|kind| words(&kind)).collect();
        assert!(found.iter().eq(kinds), "{model}: {found:?}");
        // An arc over each block, and a line beside the blocks that are drawn.
        let blocks = if kinds.is_empty() {
            0
        } else if model.contains("18") {
            8
        } else {
            16
        };
        assert_eq!(of_class("arc").count(), blocks, "{model}");
        assert_eq!(of_class("shortcut").count() > 0, blocks > 0, "{model}");
    }
}
