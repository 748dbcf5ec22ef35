//! Tables for other classes.

use resnet_compiler::graph::Graph;
use resnet_compiler::spec::{Labels, Spec};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn changed(text: &str, classes: usize, labels: Option<&[&str]>) -> String {
    let labels = labels.map(names);
    Spec::from_yaml(text).unwrap().with_classes(classes, labels.as_deref()).unwrap()
}

#[test]
fn everything_else_stays_as_it_was_written() {
    let before = "\
# Mine.
name: mine   # a name
input: 3x8x8
table:
  - {layer: pool, op: global_average_pool,               output: 3x1x1} # 3 numbers
  - {layer: fc,   op: linear, channels: 10, input: 3x1x1, output: 10x1x1, upsample: 3.3333333333333335}
  - layer: softmax
    op: softmax
    input: 10x1x1
expect: {depth: 1, params: 40, macs: 30, flops: 6e1, arena_bytes: 4160}
labels:   # ten
- a
- b
- c
- d
- e
- f
- g
- h
- i
- j
# The end.
";
    let after = "\
# Mine.
name: mine   # a name
input: 3x8x8
table:
  - {layer: pool, op: global_average_pool,               output: 3x1x1} # 3 numbers
  - {layer: fc,   op: linear, channels: 6, input: 3x1x1, output: 6x1x1, upsample: 2}
  - layer: softmax
    op: softmax
    input: 6x1x1
expect: {depth: 1, params: 24, macs: 18, flops: 36, arena_bytes: 4160}
labels: [cat, \"a dog\", \"no\", \"1\", tab, \"q\\\"\"]
preprocess: {resize: 8, crop: 8, mean: [0], std: [1]}
# The end.
";
    let labels = ["cat", "a dog", "no", "1", "tab", "q\""];
    assert_eq!(changed(before, 6, Some(&labels)), after);
    // Once more, there is nothing to do.
    let again = changed(before, 6, Some(&labels));
    assert_eq!(changed(&again, 6, Some(&labels)), again);
}

#[test]
fn fields_in_braces_are_changed_too() {
    let text =
        "{name: n, labels: [a, b], input: 3x1x2, table: [{layer: fc, op: linear, channels: 2}]}";
    assert_eq!(
        changed(text, 3, None),
        "{name: n, input: 3x1x2, table: [{layer: fc, op: linear, channels: 3}], preprocess: {resize: 2, crop: \
         1x2, mean: [0], std: [1]}}"
    );
    let last =
        "{name: n, input: 3x1x2, table: [{layer: fc, op: linear, channels: 2}], labels: [a, b]}";
    let expected = "{name: n, input: 3x1x2, table: [{layer: fc, op: linear, channels: 2}], preprocess: {resize: \
                    2, crop: 1x2, mean: [0], std: [1]}}";
    assert_eq!(changed(last, 2, None), expected);
}

#[test]
fn long_lists_are_wrapped_and_read_again() {
    let text = "name: n\ninput: 3x1x1\ntable: [{layer: fc, op: linear, channels: 2}]";
    let labels: Vec<String> = (0..500).map(|class| format!("class number {class}")).collect();
    let found = Spec::from_yaml(text).unwrap().with_classes(500, Some(&labels)).unwrap();
    assert!(found.lines().all(|line| line.len() < 130), "{found}");
    assert_eq!(Spec::from_yaml(&found).unwrap().labels.unwrap().value, Labels::Names(labels));
}

#[test]
fn what_cannot_be_changed_is_an_error() {
    let fails = |text: &str, expected: &str| {
        let error = Spec::from_yaml(text).unwrap().with_classes(7, None).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    let table = |rows: &str| format!("name: n\ninput: 3x1x1\ntable: [{rows}]\n");
    fails(&table("{layer: s, op: softmax}"), "`softmax` alone");
    fails(&table("{layer: fc, op: linear, channels: 2, activation: relu}"), "with relu");
    fails(&table("{layer: c, op: conv, kernel: 1, channels: 2}"), "`c`, a row `conv`");
    let spec = Spec::from_yaml(&table("{layer: fc, op: linear, channels: 2}")).unwrap();
    let error = spec.with_classes(2, Some(&names(&["a", "tab\t"]))).unwrap_err();
    assert_eq!(error.to_string(), "the label `tab\\t` contains control characters");
    let both = "{layer: a, op: linear, channels: &c 4}, {layer: b, op: linear, channels: *c}";
    assert!(changed(&table(both), 7, None).contains("&c 4}, {layer: b, op: linear, channels: 7}"));
    let both = "{layer: a, op: linear, channels: 4}, {layer: b, op: linear, channels: &c 2}";
    assert!(changed(&table(both), 7, None).contains("channels: &c 7"));
    let shared =
        "name: n\ninput: &s 2x1x1\ntable: [{layer: b, op: linear, channels: 2, output: *s}]\n";
    assert!(Spec::from_yaml(shared).unwrap().with_classes(7, None).is_ok(), "an alias is replaced");
}

#[test]
fn an_embedding_is_what_the_classifier_reads() {
    let rows = "  - {layer: conv, op: conv, kernel: 3, channels: 4}\n  - {layer: pool, op: global_average_pool}\n";
    let table = |end: &str| format!("name: n\ninput: 3x8x8\ntable:\n{rows}{end}");
    let classes = "  - {layer: fc, op: linear, channels: 2}\n  - {layer: p, op: softmax}\nexpect: {depth: 2}\nlabels: [a, b]\n";
    let embedding = |text: &str| Spec::from_yaml(text).unwrap().embedding();
    let graph = Graph::build(&embedding(&table(classes)).unwrap()).unwrap();
    assert_eq!(graph.output_len(), 4);
    // All weights are taken, those of the classifier too.
    assert!(graph.tensors.iter().any(|tensor| tensor.name == "fc.weight"));
    let error = embedding(&table("")).unwrap_err().to_string();
    assert!(error.starts_with("`n` ends in `pool`"), "{error}");
    let alone = "{name: n, input: 3x1x1, table: [{layer: fc, op: linear, channels: 2}]}";
    let error = embedding(alone).unwrap_err().to_string();
    assert!(error.contains("`fc`, with nothing before it"), "{error}");
}
