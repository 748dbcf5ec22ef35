use resnet_compiler::graph::Graph;
use resnet_compiler::spec::Spec;
use resnet_compiler::zoo::zoo;
use serde_json::{Map, Value, json};

use crate::Workshop;

#[test]
fn json_has_the_keys_that_programs_rely_on() {
    let workshop = Workshop::new();
    let options =
        "bench colours.yaml --batch 3 --threads 2 --isa portable --seconds 0.1 --format json";
    let out = workshop.resnet(options).succeeds();
    let out: Value = serde_json::from_str(&out).unwrap();
    let keys: Vec<&str> = out.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "name",
        "backend",
        "isa",
        "threads",
        "batch",
        "compile_ms",
        "load_ms",
        "min_ms",
        "median_ms",
        "gflops",
        "peak_rss_bytes",
    ];
    expected.sort();
    let mut sorted = keys.clone();
    sorted.sort();
    assert_eq!(sorted, expected);
    assert_eq!((&out["name"], &out["backend"]), (&"colours".into(), &"jit".into()));
    assert_eq!((&out["isa"], &out["threads"]), (&"portable".into(), &2.into()));
    assert_eq!(out["batch"], 3);
    assert!(out["min_ms"].as_f64() <= out["median_ms"].as_f64());
    assert!(out["peak_rss_bytes"].as_u64().unwrap() > 1 << 18);
}

#[test]
fn text_verifies_if_asked() {
    let workshop = Workshop::new();
    let options = "bench colours.yaml --weights colours.safetensors --backend interpret --verify";
    let out = workshop.resnet(options).succeeds();
    assert!(out.starts_with("colours: interpret, "), "{out}");
    let error = out.lines().find_map(|line| line.strip_prefix("error ")).unwrap();
    let error: f64 = error.split_whitespace().next().unwrap().parse().unwrap();
    assert!(error < 1e-6, "{out}");
}

#[test]
fn what_cannot_be_measured_is_explained() {
    let workshop = Workshop::new();
    workshop.resnet("bench colours.yaml --weights absent").fails("there is no such file");
    workshop.resnet("bench resnet18 --batch 9999999").fails("9999999");
}

#[test]
fn a_mistake_in_the_table_is_drawn_once() {
    let workshop = Workshop::new();
    let table =
        "name: odd\ninput: 3x8x8\ntable:\n  - {layer: conv2_x, op: bottleneck, channels: 30}\n";
    workshop.write("odd.yaml", table);
    let done = workshop.resnet("bench odd.yaml").fails("error: a quarter of 30 channels");
    assert!(done.err.contains("odd.yaml:4:"), "{}", done.err);
    assert_eq!(done.err.matches("error:").count(), 1, "{}", done.err);
}

/// A network with convolutions of either kind, and with layers that do not multiply.
const SMALL: &str = "
name: small & simple
input: 3x16x16
table:
  - {layer: stem, op: conv, kernel: 3, channels: 32}
  - {layer: body, op: conv, kernel: 3, channels: 32}
  - {layer: mean, op: global_average_pool}
  - {layer: fc, op: linear, channels: 10}
";

const LAYERS: [&str; 6] = ["input", "stem", "body", "mean", "fc", "output"];

#[test]
fn a_profile_sets_each_layer_beside_the_limits() {
    let workshop = Workshop::new();
    workshop.write("small.yaml", SMALL);
    let out = workshop.resnet("bench small.yaml --profile --threads 1 --seconds 0").succeeds();
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("small & simple: ") && lines[0].ends_with(", 1 thread, batch 1"));
    assert!(lines[1].starts_with("peak ") && lines[1].contains(" GFLOP/s "), "{out}");
    assert!(lines[2].starts_with("bandwidth ") && lines[2].contains(" GB/s "), "{out}");
    let header = "layer ms share GFLOP/s MMAC done of peak MB of bandwidth bound what";
    let shown: Vec<&str> = lines[4].split_whitespace().collect();
    assert_eq!(shown.join(" "), header);
    // Behind them may stand a note on layers above the roofline.
    let names: Vec<&str> = lines[5..12].iter().filter_map(|l| l.split(' ').next()).collect();
    assert_eq!(names, [&LAYERS[..], &["total"]].concat());
    assert!(lines[7].contains("Winograd F(4x4, 3x3)"), "{out}");
}

#[test]
fn a_profile_for_programs_has_numbers_that_agree() {
    let workshop = Workshop::new();
    workshop.write("small.yaml", SMALL);
    let options = "bench small.yaml --profile --threads 2 --batch 3 --exact --isa portable \
                   --seconds 0 --format json";
    let out: Value = serde_json::from_str(&workshop.resnet(options).succeeds()).unwrap();
    assert_eq!((&out["name"], &out["isa"]), (&"small & simple".into(), &"portable".into()));
    assert_eq!((&out["threads"], &out["batch"]), (&2.into(), &3.into()));
    assert_eq!(out["exact"], true);
    let number = |value: &Value| value.as_f64().unwrap();
    let (peak, bandwidth) = (number(&out["peak_gflops"]), number(&out["bandwidth_gb_s"]));
    assert!(peak > 0.0 && bandwidth > 0.0);
    let layers = out["layers"].as_array().unwrap();
    let names: Vec<&str> = layers.iter().map(|layer| layer["name"].as_str().unwrap()).collect();
    assert_eq!(names, LAYERS);
    let agree = |a: f64, b: f64| (a - b).abs() <= 1e-6 * a.abs().max(b.abs());
    let sum = |key: &str| layers.iter().map(|layer| number(&layer[key])).sum::<f64>();
    for key in ["ms", "macs", "macs_done", "bytes"] {
        assert!(agree(sum(key), number(&out["total"][key])), "{key}: {out}");
    }
    assert!(agree(sum("share_of_time"), 1.0), "{out}");
    for layer in layers {
        let [ms, macs, done] = ["ms", "macs", "macs_done"].map(|key| number(&layer[key]));
        let multiplies = ["stem", "body", "fc"].contains(&layer["name"].as_str().unwrap());
        let algorithm = if multiplies { "direct" } else { "other" };
        assert_eq!(layer["algorithm"], algorithm);
        assert_eq!((macs > 0.0, done > 0.0), (multiplies, multiplies), "{layer}");
        assert!(agree(number(&layer["gflops"]), 2e-6 * macs / ms), "{layer}");
        assert!(agree(number(&layer["share_of_peak"]), number(&layer["gflops_done"]) / peak));
        let moved = 1e-6 * number(&layer["bytes"]) / ms;
        assert!(agree(number(&layer["share_of_bandwidth"]), moved / bandwidth), "{layer}");
        let computes = 2.0 * done / number(&layer["bytes"]) >= peak / bandwidth;
        assert_eq!(layer["bound"], if computes { "compute" } else { "memory" });
        let steps = layer["steps"].as_array().unwrap();
        assert!(agree(steps.iter().map(|step| number(&step["ms"])).sum(), ms), "{layer}");
    }
    assert_eq!(layers[2]["macs_done"], 3 * 256 * 288 * 32);
}

#[test]
fn a_roofline_has_a_dot_for_each_layer_that_multiplies() {
    let workshop = Workshop::new();
    workshop.write("small.yaml", SMALL);
    workshop.write("roof.svg", "<svg old>");
    let options = "bench small.yaml --profile --threads 1 --seconds 0 --svg roof.svg";
    workshop.resnet(options).succeeds();
    let svg = std::fs::read_to_string(workshop.path("roof.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert_eq!(svg.matches("<circle ").count(), 3, "{svg}");
    assert!(svg.contains("small &amp; simple: "), "{svg}");
    assert!(svg.contains("winograd4"), "{svg}");
    assert_is_well_formed(&svg);
}

/// Tags are closed in order, attributes are quoted, and text has no bare `<` or `&`.
#[track_caller]
pub(crate) fn assert_is_well_formed(xml: &str) {
    let mut open: Vec<&str> = Vec::new();
    for piece in xml.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        let name = tag.split([' ', '/']).find(|name| !name.is_empty()).unwrap();
        match (tag.starts_with('/'), tag.ends_with('/')) {
            (true, _) => assert_eq!(open.pop(), Some(name), "{piece}"),
            (false, false) => open.push(name),
            (false, true) => {}
        }
        // Outside of quotes there are names and equals signs.
        for (index, part) in tag.split('"').enumerate() {
            let bare = |c: char| c.is_alphanumeric() || " =:/-".contains(c);
            assert!(index % 2 == 1 || part.chars().all(bare), "{tag}");
        }
        assert!(tag.matches('"').count() % 2 == 0, "{tag}");
        let entities = ["amp;", "lt;", "gt;", "quot;"];
        for after in text.split('&').skip(1).chain(tag.split('&').skip(1)) {
            assert!(entities.iter().any(|entity| after.starts_with(entity)), "{piece}");
        }
        assert!(!open.is_empty() || text.trim().is_empty(), "{piece}");
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn options_of_a_profile_go_together() {
    let workshop = Workshop::new();
    workshop.resnet("bench colours.yaml --svg roof.svg").must_be_misuse("--profile");
    workshop.resnet("bench colours.yaml --profile --verify").must_be_misuse("--verify");
    workshop.resnet("bench colours.yaml --profile --backend jit").must_be_misuse("--backend");
    let over = "bench colours.yaml --profile --seconds 0 --svg colours.yaml";
    workshop.resnet(over).fails("would be written over the input");
    workshop.resnet("bench colours.yaml --profile --svg no/roof.svg").fails("no/roof.svg");
    assert!(!workshop.files().contains(&"roof.svg".to_owned()));
}

/// A safetensors file of zeros for a network of the zoo.
fn zeros_for(name: &str) -> Vec<u8> {
    let graph = Graph::build(&Spec::from_yaml(zoo(name).unwrap()).unwrap()).unwrap();
    let (mut header, mut end) = (Map::new(), 0);
    for tensor in &graph.tensors {
        let start = end;
        end += 4 * tensor.shape.iter().product::<usize>();
        let entry = json!({"dtype": "F32", "shape": tensor.shape, "data_offsets": [start, end]});
        header.insert(tensor.name.to_string(), entry);
    }
    let header = Value::from(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + end, 0);
    bytes
}

#[test]
fn weights_of_another_network_are_recognised() {
    let workshop = Workshop::new();
    workshop.write("eight.safetensors", zeros_for("resnet8"));
    workshop
        .resnet("bench cifar-resnet20 --weights eight.safetensors")
        .fails("hint: these are the weights of `resnet8`: conv1.bias exists\n");
    // Of nothing known.
    let done = workshop.resnet("bench resnet8 --weights colours.safetensors").fails("missing");
    assert!(!done.err.contains("hint"), "{}", done.err);
}
