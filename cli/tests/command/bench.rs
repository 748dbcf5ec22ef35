use serde_json::Value;

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
