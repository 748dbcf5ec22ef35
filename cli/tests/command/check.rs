use serde_json::{Value, json};

use crate::Workshop;

#[test]
fn text_has_the_totals() {
    let out = Workshop::new().resnet("check resnet18").succeeds();
    for expected in ["resnet18: 3x224x224 -> 1000x1x1", "11,689,512", "1.814G", "arena"] {
        assert!(out.contains(expected), "{out}");
    }
}

#[test]
fn json_has_the_keys_that_programs_rely_on() {
    let out = Workshop::new().resnet("check colours.yaml --format json").succeeds();
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["name"], "colours");
    assert_eq!(report["input"], json!([3, 4, 4]));
    assert_eq!(report["output"], json!([3, 1, 1]));
    assert_eq!(report["depth"], 1);
    assert_eq!(report["params"], 12);
    assert_eq!(report["macs"], 9);
    assert_eq!(report["flops"], 18);
    assert!(report["arena_bytes"].is_u64());
    let layers: Vec<&Value> = report["layers"].as_array().unwrap().iter().collect();
    assert_eq!(layers.len(), 2);
    let fc = json!({
        "name": "fc", "op": "linear", "input": [3, 1, 1], "output": [3, 1, 1],
        "params": 12, "macs": 9,
    });
    assert_eq!(layers[1], &fc);
}

#[test]
fn a_batch_needs_a_larger_arena() {
    let workshop = Workshop::new();
    let arena = |batch: &str| {
        let out = workshop.resnet(&format!("check resnet18 --format json {batch}")).succeeds();
        serde_json::from_str::<Value>(&out).unwrap()["arena_bytes"].as_u64().unwrap()
    };
    assert!(arena("--batch 4") > 2 * arena(""));
    workshop.resnet("check resnet18 --batch 99999999999").fails("99999999999 pictures");
}

#[test]
fn a_training_step_needs_more() {
    let workshop = Workshop::new();
    let check = "check cifar-resnet20 --train --batch 32";
    let out = workshop.resnet(check).succeeds();
    let tail = out.split_once("training, 32 images a step\n").unwrap().1;
    let words: Vec<&str> = tail.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(words, ["weights", "momentum", "tables", "arena", "kept", "scratch", "total"]);
    let json = workshop.resnet(&format!("{check} --format json")).succeeds();
    let report: Value = serde_json::from_str(&json).unwrap();
    let bytes = |key: &str| report["training"][key].as_u64().unwrap();
    assert!(bytes("momentum_bytes") >= 4 * report["params"].as_u64().unwrap());
    assert!(bytes("kept_bytes") < bytes("arena_bytes"));
    assert!(bytes("arena_bytes") > report["arena_bytes"].as_u64().unwrap());
    let plain = workshop.resnet("check cifar-resnet20 --format json").succeeds();
    assert_eq!(serde_json::from_str::<Value>(&plain).unwrap().get("training"), None);
    workshop.resnet("check resnet50_backbone --train").fails("a classifier is needed to train");
    let half = workshop.resnet(&format!("{check} --memory 40MB")).succeeds().to_owned();
    assert!(half.contains("convolutions are computed again on the way back"), "{half}");
    workshop
        .resnet(&format!("{check} --memory 2MB"))
        .fails("may have 2000000: take a smaller batch");
    workshop.resnet(&format!("{check} --exact")).must_be_misuse("--exact");
}

#[test]
fn a_mistake_is_shown_where_it_stands() {
    let workshop = Workshop::new();
    workshop.write("wrong.yaml", crate::COLOURS.replace("channels: 3}", "chanels: 3}"));
    let done = workshop.resnet("check wrong.yaml").fails("--> wrong.yaml:6");
    assert!(done.err.contains("channels"), "{}", done.err);
    assert_eq!(done.out, "");

    workshop.write("budget.yaml", format!("{}expect: {{arena_bytes: 1}}\n", crate::COLOURS));
    workshop.resnet("check budget.yaml").fails("arena_bytes");
}

#[test]
fn what_is_nearly_always_a_mistake_is_warned_of() {
    let workshop = Workshop::new();
    let table = crate::COLOURS.replace(
        "  - {layer: fc",
        "  - {layer: hidden, op: linear, channels: 3, weights: h}\n  - {layer: fc",
    );
    workshop.write("stacked.yaml", &table);
    let done = workshop.resnet("check stacked.yaml");
    assert_eq!(done.status, 0);
    assert!(
        done.err.starts_with("warning: no activation between `hidden` and `fc`"),
        "{}",
        done.err
    );
    assert!(done.err.contains("--> stacked.yaml:6:"), "{}", done.err);
    assert!(done.err.contains("`allow: [stacked_linear]`"), "{}", done.err);
    let done = workshop.resnet("check stacked.yaml --format json");
    let said: Value = serde_json::from_str(&done.err).unwrap();
    assert_eq!((&said["level"], &said["line"]), (&json!("warning"), &json!(6)));
    let report: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(report["warnings"].as_array().unwrap().len(), 1);
    let warning = &report["warnings"][0];
    assert_eq!((&warning["name"], &warning["line"]), (&json!("stacked_linear"), &json!(6)));
    assert!(warning["help"].as_str().unwrap().contains("activation: relu"));

    let denied = workshop.resnet("check stacked.yaml --deny warnings");
    assert!(denied.out.starts_with("colours"), "{}", denied.out);
    denied.fails("1 warning, which `--deny warnings` does not let pass");
    workshop.resnet("check stacked.yaml --deny stacked").must_be_misuse("--deny");
    // Every command that reads the table says so, once.
    for command in ["emit stacked.yaml --as graph", "pack stacked.yaml --random-weights 1 -o w"] {
        let done = workshop.resnet(command);
        assert_eq!(done.err.matches("warning:").count(), 1, "{}", done.err);
    }

    workshop.write("allowed.yaml", format!("allow: [stacked_linear]\n{table}"));
    workshop.resnet("check allowed.yaml --deny warnings").succeeds();
    workshop.resnet("check resnet18 --deny warnings").succeeds();
    workshop.write("misspelt.yaml", format!("allow: [stacked_liner]\n{table}"));
    workshop.resnet("check misspelt.yaml").fails("did you mean `stacked_linear`?");
}

#[test]
fn a_table_that_cannot_be_read_is_explained() {
    let workshop = Workshop::new();
    workshop.resnet("check resnet5").fails("did you mean `resnet50`").fails("networks: resnet18");
    workshop.resnet("check zebra").fails("`zebra` is neither a file nor a network");
    workshop.resnet("check resnet50.yaml").fails("(the zoo has `resnet50`, without `.yaml`)");
    workshop.resnet("check no/such.yaml").fails("`no/such.yaml`: there is no such file");
    workshop.resnet("check .").fails("it is a folder");
    workshop.write("binary.yaml", b"name: \xff");
    workshop.resnet("check binary.yaml").fails("it is no UTF-8 text (at byte 6)");
    workshop.write("empty.yaml", "");
    workshop.resnet("check empty.yaml").fails("empty.yaml");
}

#[test]
fn a_file_comes_before_a_network_of_the_same_name() {
    let workshop = Workshop::new();
    workshop.write("resnet50", crate::COLOURS);
    assert!(workshop.resnet("check resnet50").succeeds().starts_with("colours"));
}

#[test]
fn labels_may_stand_in_a_file_beside_the_table() {
    let workshop = Workshop::new();
    let table = crate::COLOURS.replace("[red, green, blue]", "names.txt");
    workshop.write("nested/table.yaml", table);
    workshop.resnet("check nested/table.yaml").fails("cannot read the labels `nested/names.txt`");
    workshop.write("nested/names.txt", "one\ntwo\n");
    workshop.resnet("check nested/table.yaml").fails("names 2 classes, but `colours` has 3");
    workshop.write("nested/names.txt", "one\r\ntwo\r\nthree\r\n");
    workshop.resnet("check nested/table.yaml").succeeds();
}

#[test]
fn a_budget_that_is_too_small_says_what_is_needed() {
    let workshop = Workshop::new();
    workshop.resnet("check colours.yaml --memory 16M").succeeds();
    let done = workshop.resnet("check colours.yaml --memory 16").fails("needs at least ");
    let least = done.err.split("at least ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    workshop.resnet(&format!("check colours.yaml --memory {least}")).succeeds();
    for command in ["bench colours.yaml", "pack colours.yaml --random-weights 1 -o f"] {
        workshop.resnet(&format!("{command} --memory 16")).fails(&format!("--memory {least}"));
    }
    workshop
        .resnet("check colours.yaml --memory 1X")
        .must_be_misuse("such as 65536, 80MB, 64MiB or 1.5G");
}

/// It is for the weights that are given: in 8 bits they need less than the table does in f32.
#[test]
fn a_budget_counts_the_given_weights() {
    let workshop = Workshop::new();
    let trained = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/cifar10");
    let check = format!("check {trained}/resnet20.yaml");
    let with_weights = format!("{check} --weights {trained}/resnet20-int8.safetensors");
    let least = |command: &str| -> usize {
        let done = workshop.resnet(&format!("{command} --memory 16")).fails("needs at least ");
        done.err.split("at least ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
    };
    let (of_table, of_weights) = (least(&check), least(&with_weights));
    assert!(of_weights < of_table, "{of_weights} and {of_table}");
    workshop.resnet(&format!("{with_weights} --memory {of_weights}")).succeeds();
}

#[test]
fn weights_add_what_they_take() {
    let workshop = Workshop::new();
    let weights = "--weights colours.safetensors";
    let out = workshop.resnet(&format!("check colours.yaml {weights} --format json")).succeeds();
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["weights"]["quantised_layers"], 0);
    assert!(report["weights"]["bytes"].as_u64().unwrap() >= 4 * 12, "{out}");
    let out = workshop.resnet(&format!("check colours.yaml {weights}")).succeeds();
    assert!(out.contains("weights ") && out.contains("as a run reads them"), "{out}");
    workshop.resnet(&format!("check resnet8 {weights}")).fails("conv1.weight");
    workshop.resnet("check colours.yaml --weights none.safetensors").fails("none.safetensors");
}
