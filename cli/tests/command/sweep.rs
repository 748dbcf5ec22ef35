use serde_json::Value;

use crate::Workshop;
use crate::bench::assert_is_well_formed;

/// Networks that take no time.
const SMALL: &str = "sweep --cifar --input 3x8x8 --isa portable --threads 1 --seconds 0";

#[test]
fn json_has_every_network_in_order() {
    let workshop = Workshop::new();
    let out = workshop.resnet(&format!("{SMALL} --n 1..=2 --width 0.5,1 --format json")).succeeds();
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&out["isa"], &out["threads"]), (&"portable".into(), &1.into()));
    let networks = out["networks"].as_array().unwrap();
    let of = |key: &str| networks.iter().map(|network| network[key].clone()).collect::<Vec<_>>();
    let names = ["cifar-resnet8-w0.5", "cifar-resnet14-w0.5", "cifar-resnet8", "cifar-resnet14"];
    assert_eq!(of("name"), names);
    assert_eq!(of("depth"), [8, 14, 8, 14]);
    assert_eq!(of("width"), [0.5, 0.5, 1.0, 1.0]);
    assert_eq!(of("block"), ["basic"; 4]);
    for network in networks {
        let number = |key: &str| network[key].as_f64().unwrap();
        let times = ["min_ms", "lower_quartile_ms", "median_ms", "upper_quartile_ms"].map(number);
        assert!(0.0 < times[0] && times.is_sorted(), "{network}");
        assert!(number("gflops") > 0.0 && number("arena_bytes") > 0.0, "{network}");
    }
    // The same counts as its table's.
    let table = workshop.resnet("new --cifar --input 3x8x8 --n 2").succeeds();
    assert!(table.contains(&format!("params: {}", networks[3]["params"])), "{table}");
}

#[test]
fn csv_has_the_columns_of_the_json() {
    let workshop = Workshop::new();
    let csv = workshop.resnet(&format!("{SMALL} --n 1,2 --format csv")).succeeds();
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 3, "{csv}");
    let json = workshop.resnet(&format!("{SMALL} --n 1 --format json")).succeeds();
    let network = &serde_json::from_str::<Value>(&json).unwrap()["networks"][0];
    assert_eq!(network.as_object().unwrap().len(), lines[0].len());
    for (name, value) in lines[0].iter().zip(&lines[1]) {
        assert!(network.get(name).is_some(), "{name}");
        assert!(
            *value == "basic" || *value == "cifar-resnet8" || value.parse::<f64>().is_ok(),
            "{csv}"
        );
    }
    assert_eq!(lines[2][0], "cifar-resnet14");
}

#[test]
fn kinds_of_blocks_are_not_joined() {
    let workshop = Workshop::new();
    let small = "sweep --input 3x32x32 --isa portable --threads 1 --seconds 0 --width 0.125";
    workshop.resnet(&format!("{small} --depth 18,26,34 --svg plot.svg")).succeeds();
    let plot = std::fs::read_to_string(workshop.path("plot.svg")).unwrap();
    assert!(plot.contains(">basic</text>"), "{plot}");
    assert!(plot.contains(">bottleneck</text>"), "{plot}");
    assert_eq!(plot.matches("<polyline ").count(), 2);
}

#[test]
fn text_is_a_line_for_each_network_and_a_plot_has_all() {
    let workshop = Workshop::new();
    workshop.write("plot.svg", "<svg old>");
    let out = workshop.resnet(&format!("{SMALL} --depth 8,14 --svg plot.svg")).succeeds();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 5, "{out}");
    assert_eq!(lines[0], "portable, 1 thread, one picture at a time");
    assert!(lines[2].starts_with("network         depth "), "{out}");
    assert!(lines[3].starts_with("cifar-resnet8       8 "), "{out}");
    assert!(lines[4].starts_with("cifar-resnet14     14 "), "{out}");
    let plot = std::fs::read_to_string(workshop.path("plot.svg")).unwrap();
    assert!(plot.starts_with("<svg ") && plot.ends_with("</svg>\n"));
    assert_is_well_formed(&plot);
    assert_eq!(plot.matches("<circle ").count(), 2);
    assert!(plot.contains("<title>cifar-resnet14: "), "{plot}");
    assert_eq!(workshop.files(), ["colours.safetensors", "colours.yaml", "plot.svg"]);
}

#[test]
fn bad_ranges_and_networks_are_refused_before_anything_runs() {
    let workshop = Workshop::new();
    workshop.resnet("sweep").must_be_misuse("--depth");
    workshop.resnet("sweep --cifar").must_be_misuse("--depth");
    workshop.resnet("sweep --n 3..=5").must_be_misuse("--cifar");
    workshop.resnet("sweep --cifar --n 18..=3").must_be_misuse("there is no number in `18..=3`");
    workshop.resnet("sweep --cifar --n 0..=3").must_be_misuse("no number of at least 1");
    workshop.resnet("sweep --cifar --n 1..=9999").must_be_misuse("more than 1000");
    workshop.resnet("sweep --depth 18,x").must_be_misuse("`x` in `x`");
    workshop.resnet("sweep --depth 18 --width wide").must_be_misuse("--width");
    workshop.resnet("sweep --depth 18,19 --svg plot.svg").fails("there is no known ResNet-19");
    workshop.resnet("sweep --depth 18 --width 1,0.01").fails("times a width of 0.01");
    workshop
        .resnet("sweep --cifar --n 1 --svg absent/plot.svg")
        .fails("cannot write `absent/plot.svg`");
    assert_eq!(workshop.files(), ["colours.safetensors", "colours.yaml"]);
}
