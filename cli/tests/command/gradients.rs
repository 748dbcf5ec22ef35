use serde_json::Value;

use crate::Workshop;

/// Twelve layers of 3x3 convolutions, with this in the place of the shortcuts.
fn table(name: &str, shortcut: &str) -> String {
    format!(
        "
name: {name}
input: 3x8x8
table:
  - {{layer: conv1, op: conv, kernel: 3, channels: 8}}
  - {{layer: conv2_x, op: basic, repeat: 5, channels: 8, shortcut: {shortcut}}}
  - {{layer: avgpool, op: global_average_pool}}
  - {{layer: fc, op: linear, channels: 3}}
labels: [red, green, blue]
preprocess: {{resize: 8, crop: 8, mean: [0.5], std: [0.25]}}
"
    )
}

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    workshop.write("plain.yaml", table("plain", "none"));
    workshop.write("residual.yaml", table("residual", "projection"));
    workshop
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn what_reaches_the_layers_is_printed_drawn_and_the_same_again() {
    let workshop = workshop();
    let done = workshop.resnet("gradients plain.yaml --batch 2 --steps 0");
    assert!(done.err.contains("note: images and classes are drawn (`--seed 1`)"), "{}", done.err);
    assert!(!done.out.contains("after"), "{}", done.out);
    let command = "gradients plain.yaml residual.yaml --batch 9 --steps 2 -q";
    let text = workshop.resnet(&format!("{command} --svg g.svg")).succeeds();
    for word in ["9 drawn images, seed 1", "plain", "residual", "after 2 steps", "first : last"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("conv2_x ")).collect();
    let bars = rows[0].chars().filter(|c| ('▁'..='█').contains(c)).count();
    assert_eq!((rows.len(), bars), (1, 4 * 8), "{text}");
    let layers = workshop.resnet(&format!("{command} --layers")).succeeds();
    assert!(layers.contains("\nconv2_x.4.conv2 "), "{layers}");
    let svg = std::fs::read_to_string(workshop.path("g.svg")).unwrap();
    assert_eq!(svg.matches("<polyline").count(), 4, "{svg}");

    let json_of =
        |more: &str| json(&workshop.resnet(&format!("{command} --format json {more}")).succeeds());
    let found = json_of("--threads 1");
    assert_eq!(found["images"], Value::Null);
    for network in found["networks"].as_array().unwrap() {
        let measured = network["measured"].as_array().unwrap();
        assert_eq!((measured.len(), &measured[1]["steps"]), (2, &2.into()));
        let layers = measured[0]["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 12, "{network}");
        for layer in layers {
            let number = |key: &str| layer[key].as_f64().unwrap();
            let output = layer["output"].as_array().unwrap().iter();
            let elements: f64 = output.map(|n| n.as_f64().unwrap()).product();
            assert!((number("rms") * elements.sqrt() / number("norm") - 1.0).abs() < 1e-9);
            assert!(number("weight") > 0.0 && number("weight_gradient") > 0.0, "{layer}");
        }
        assert_ne!(measured[0]["loss"], measured[1]["loss"], "it descends");
    }
    let near = json_of("--moved 1e-4");
    for network in near["networks"].as_array().unwrap() {
        for layer in network["measured"][0]["layers"].as_array().unwrap() {
            let cosine = layer["agreement"].as_f64().unwrap();
            assert!((0.9..1.000_001).contains(&cosine), "{layer}");
        }
    }
    let text = workshop.resnet(&format!("{command} --moved 0.5")).succeeds();
    assert!(text.contains("images moved by 50 %"), "{text}");
    workshop.resnet(&format!("{command} --moved 0")).fails("such as 0.01");
    assert!(json_of("--threads 3") == found, "the same bits on other threads");
    assert!(json_of("--threads 1 --seed 2") != found, "another seed");
}

#[test]
fn images_are_taken_as_training_takes_them() {
    let workshop = workshop();
    for shade in 0..4 {
        let [dark, bright] = [shade * 7, 255 - shade * 9];
        workshop.picture(&format!("set/red/{shade}.png"), [bright, dark, dark]);
        workshop.picture(&format!("set/green/{shade}.png"), [dark, bright, dark]);
        workshop.picture(&format!("set/blue/{shade}.png"), [dark, dark, bright]);
    }
    let command = "gradients residual.yaml --images set --format json";
    let found = json(&workshop.resnet(&format!("{command} --batch 5 --steps 30")).succeeds());
    assert_eq!(found["images"], "set");
    let loss = |at: usize| found["networks"][0]["measured"][at]["loss"].as_f64().unwrap();
    assert!(loss(1) < 0.9 * loss(0), "{} and {}: nothing is learned", loss(0), loss(1));
    workshop
        .resnet(&format!("{command} --batch 13"))
        .fails("there are 12 images, fewer than a batch of 13");
    workshop.resnet("gradients plain.yaml --steps 3 --rate 1e30").fails("try a lower rate");
}
