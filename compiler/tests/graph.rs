//! What tables become.

use resnet_compiler::graph::{Graph, Op};
use resnet_compiler::spec::Spec;
use resnet_runtime::picture::Resize;

fn build(text: &str) -> Graph {
    let spec = Spec::from_yaml(text).unwrap_or_else(|error| panic!("{error}"));
    Graph::build(&spec).unwrap_or_else(|error| panic!("{error}"))
}

/// A graph and the tensors it asks for, one a line.
fn print(graph: &Graph) -> String {
    let mut text = graph.to_string();
    for tensor in &graph.tensors {
        text += &format!("{} {:?} {:?}\n", tensor.name, tensor.shape, tensor.init);
    }
    text
}

#[test]
fn every_operation() {
    let graph = build(
        "
name: everything
input: 3x33x17
norm_epsilon: 1e-3
table:
  - {layer: stem, op: conv, kernel: 7x5, stride: 2x1, channels: 16, bias: true}
  - {layer: pool, op: max_pool, kernel: 3, stride: 2}
  - {layer: depthwise, op: conv, kernel: 3, padding: 0, channels: 16, groups: 16, norm: none, activation: none}
  - {layer: stage1, op: basic, repeat: 2, channels: 21, stride: 2, shortcut: zero_pad}
  - {layer: stage2, op: bottleneck, channels: 24, stride: 2x1, stride_on: 1x1}
  - {layer: stage3, op: bottleneck, channels: 24, width: 8, groups: 4, shortcut: project_all}
  - {layer: stage4, op: basic, channels: 8, shortcut: none, weights: plain}
  - {layer: smaller, op: average_pool, kernel: 2, padding: 0}
  - {layer: hidden, op: linear, channels: 12}
  - {layer: classes, op: linear, channels: 10}
  - {layer: answer, op: softmax}
",
    );
    insta::assert_snapshot!(print(&graph));
    for node in &graph.nodes {
        if let Op::BatchNorm(norm) = &node.op {
            assert_eq!(norm.epsilon, 1e-3);
        }
    }
}

#[test]
fn inputs_come_before_their_readers_and_rows_are_known() {
    for (name, text) in resnet_compiler::zoo::ZOO {
        let graph = build(text);
        for (index, node) in graph.nodes.iter().enumerate() {
            assert!(node.inputs.iter().all(|input| input.index() < index), "{name}: {}", node.name);
            assert_eq!(node.row.is_none(), node.op == Op::Input, "{name}: {}", node.name);
        }
        assert_eq!(graph.output.index(), graph.nodes.len() - 1);
    }
}

/// Pictures are numbers from 0 to 1; what is meant for 0 to 255 would make all of them the same.
#[test]
fn means_of_bytes_are_refused() {
    let table = "name: n\ninput: 3x20x30\ntable: [{layer: p, op: global_average_pool}]\n";
    for (numbers, expected) in [
        ("mean: [123.675, 116.28, 103.53]", "mean: [0.4850, 0.4560, 0.4060], std: [0.0039]"),
        ("mean: [0], std: [255]", "mean: [0.0000], std: [1.0000]"),
    ] {
        let error = Spec::from_yaml(&format!("{table}preprocess: {{{numbers}}}")).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("is one from 0 to 255") && error.contains(expected), "{error}");
    }
    assert!(Spec::from_yaml(&format!("{table}preprocess: {{mean: [-0.5], std: [2]}}")).is_ok());
}

/// What `preprocess` leaves out is filled in from the network's input.
#[test]
fn preprocessing_has_defaults() {
    let table = "name: n\ninput: 3x20x30\ntable: [{layer: a, op: global_average_pool}]\n";
    let preprocess = |more: &str| Spec::from_yaml(&format!("{table}{more}")).unwrap().preprocess;
    let all = preprocess("");
    assert_eq!((all.resize, all.crop), (Some(Resize::Shorter(30)), Some((20, 30))));
    assert_eq!((all.mean, all.std), (vec![], vec![]));
    let some = preprocess("preprocess: {resize: 40, std: [0.5], mean: [0.1, 0.2, 0.3]}");
    assert_eq!((some.resize, some.crop), (Some(Resize::Shorter(40)), Some((20, 30))));
    assert_eq!((some.mean, some.std), (vec![0.1, 0.2, 0.3], vec![0.5]));
}
