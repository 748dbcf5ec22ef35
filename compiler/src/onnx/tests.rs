use std::collections::HashSet;
use std::fmt::Write as _;

use super::proto::{AttributeProto, AttributeType, GraphProto, Size, ValueInfoProto};
use super::*;
use crate::spec::Spec;
use crate::zoo::ZOO;

/// Every operator of the schema; names that collide with one another, with tensors, and with the
/// input's and the output's.
const EVERYTHING: &str = "
name: everything
input: 3x19x33
norm_epsilon: 1e-3
table:
  - {layer: output, op: conv, kernel: 3x5, stride: 2x1, padding: 0x2, channels: 8, bias: true}
  - {layer: input, op: conv, kernel: 1, channels: 8, groups: 4, norm: none, activation: none}
  - {layer: pool, op: max_pool, kernel: 3, stride: 1, count_padding: true}
  - {layer: conv3_x, op: basic, repeat: 2, channels: 11, stride: 2, shortcut: zero_pad}
  - {layer: conv4_x, op: basic, channels: 13, shortcut: zero_pad}
  - {layer: conv5_x, op: basic, channels: 13, stride: 1x2, shortcut: zero_pad}
  - {layer: zeros, op: basic, channels: 14, stride: 1x2, shortcut: pool_zero_pad, zero_channels: after}
  - {layer: conv6_x, op: bottleneck, channels: 16, width: 4, groups: 2, projection_kernel: 3}
  - {layer: conv7_x, op: basic, channels: 16, stride: 2, shortcut: pool_projection, dilation: 2, bias: true}
  - {layer: conv8_x, op: basic, channels: 16, squeeze_excitation: {channels: 3}}
  - {layer: conv9_x, op: basic, channels: 16, eca: 5}
  - {layer: aa, op: basic, channels: 16, stride: 2x1, anti_alias: blur, norm: {groups: 4}}
  - {layer: blur, op: blur, kernel: 2x3, padding: {left: 1}}
  - {layer: scale, op: norm}
  - {layer: sides, op: conv, kernel: 3, channels: 6, padding: {top: 2, right: 1}}
  - {layer: up, op: average_pool, kernel: 3, stride: 1x2, rounding: up}
  - {layer: mean, op: average_pool, kernel: 2, stride: 2}
  - {layer: fc.weight, op: linear, channels: 6, activation: relu}
  - {layer: fc2, op: linear, channels: 5}
  - {layer: answer, op: softmax}
";

fn graph(table: &str) -> Graph {
    Graph::build(&Spec::from_yaml(table).unwrap()).unwrap()
}

fn written(graph: &Graph, weights: &Weights, batch: Option<NonZeroU32>) -> GraphProto {
    let mut bytes = Vec::new();
    write(graph, weights, batch, &mut bytes).unwrap();
    let model = ModelProto::decode(&bytes[..]).unwrap();
    assert_eq!((model.ir_version, model.opset_import[0].version), (8, 17));
    model.graph.unwrap()
}

fn random(graph: &Graph) -> Weights {
    Weights::random(&graph.tensors, 3)
}

/// One line a node, as people read it.
fn listing(proto: &GraphProto) -> String {
    let mut text = String::new();
    for value in proto.input.iter().chain(&proto.output) {
        writeln!(text, "{}", typed(value)).unwrap();
    }
    for node in &proto.node {
        let attributes: Vec<String> = node.attribute.iter().map(shown).collect();
        let inputs = node.input.join(", ");
        let output = node.output.join(", ");
        let line = format!("{output} = {}({inputs}) {}", node.op_type, attributes.join(" "));
        writeln!(text, "{}", line.trim_end()).unwrap();
    }
    text
}

fn typed(value: &ValueInfoProto) -> String {
    let tensor = value.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
    let sizes: Vec<String> = tensor
        .shape
        .as_ref()
        .unwrap()
        .dim
        .iter()
        .map(|dimension| match dimension.value.as_ref().unwrap() {
            Size::DimValue(size) => size.to_string(),
            Size::DimParam(name) => name.clone(),
        })
        .collect();
    format!("{}: {}", value.name, sizes.join("x"))
}

fn shown(attribute: &AttributeProto) -> String {
    let value = match attribute.r#type() {
        AttributeType::Float => format!("{}", attribute.f.unwrap()),
        AttributeType::Int => format!("{}", attribute.i.unwrap()),
        AttributeType::Ints => format!("{:?}", attribute.ints),
        AttributeType::String => {
            String::from_utf8_lossy(attribute.s.as_ref().unwrap()).into_owned()
        }
        AttributeType::Tensor => {
            let tensor = attribute.t.as_ref().unwrap();
            let bytes = &tensor.raw_data;
            if tensor.data_type == proto::FLOAT {
                let values = bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b));
                // One channel's is as any other's.
                let values: Vec<f32> = values.take(9).collect();
                format!("{:?} of {:?}", values, tensor.dims)
            } else {
                let values = bytes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b));
                format!("{:?}", values.collect::<Vec<_>>())
            }
        }
        AttributeType::Undefined | AttributeType::Floats => panic!("{attribute:?}"),
    };
    format!("{}={value}", attribute.name)
}

#[test]
fn every_operator_is_written_with_its_numbers() {
    let graph = graph(EVERYTHING);
    insta::assert_snapshot!(listing(&written(&graph, &random(&graph), None)));
}

#[test]
fn initialisers_are_the_state_dict() {
    let graph = graph(EVERYTHING);
    let weights = random(&graph);
    let proto = written(&graph, &weights, None);
    assert_eq!(proto.initializer.len(), graph.tensors.len());
    for (found, spec) in proto.initializer.iter().zip(&graph.tensors) {
        assert_eq!(found.name, spec.name);
        let dims: Vec<usize> = found.dims.iter().map(|&size| size as usize).collect();
        assert_eq!((dims, found.data_type), (spec.shape.to_vec(), proto::FLOAT), "{}", spec.name);
        let values = weights.tensor(&spec.name).unwrap().values;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(found.raw_data, bytes, "{}", spec.name);
    }
}

#[test]
fn what_nodes_read_was_made_once_and_before() {
    let tables = ZOO.iter().map(|(_, table)| *table).chain([EVERYTHING]);
    for graph in tables.map(graph) {
        let proto =
            translate::translate(&graph, &graph.tensors, vec![None; graph.nodes.len()], None);
        let tensors = graph.tensors.iter().map(|tensor| &*tensor.name);
        let mut known: HashSet<&str> = tensors.chain(["input"]).collect();
        let mut read = HashSet::new();
        for node in &proto.node {
            for input in &node.input {
                assert!(known.contains(&**input), "{}: {} reads {input}", graph.name, node.name);
                read.insert(&**input);
            }
            assert!(known.insert(&node.output[0]), "{}: two {:?}", graph.name, node.output);
        }
        known.retain(|name| !read.contains(name));
        if graph.features.is_empty() {
            assert_eq!(known, ["output"].into(), "{}: nobody reads these", graph.name);
        } else {
            // What is left over: features, and tensors of rows that are not computed.
            let tensor = |name: &str| graph.tensors.iter().any(|tensor| tensor.name == name);
            known.retain(|name| !tensor(name) && !graph.features.iter().any(|f| f.name == *name));
            assert!(known.is_empty(), "{}: nobody reads {known:?}", graph.name);
            assert_eq!(proto.output.len(), graph.features.len());
        }
        let typed = proto.value_info.iter().chain(&proto.output);
        let made = typed.filter(|value| proto.node.iter().any(|n| n.output[0] == value.name));
        assert_eq!(made.count(), graph.nodes.len() - 1, "{}", graph.name);
    }
}

#[test]
fn answers_with_pixels_keep_their_shape_and_batches_can_be_fixed() {
    let graph = graph(
        "
name: headless
input: 3x8x8
table:
  - {layer: conv1, op: conv, kernel: 3, stride: 2, channels: 5}
",
    );
    let weights = random(&graph);
    let sizes = |batch| {
        let proto = written(&graph, &weights, batch);
        [typed(&proto.input[0]), typed(&proto.output[0])]
    };
    assert_eq!(sizes(None), ["input: Nx3x8x8", "output: Nx5x4x4"]);
    assert_eq!(sizes(NonZeroU32::new(7)), ["input: 7x3x8x8", "output: 7x5x4x4"]);
}

#[test]
fn nothing_is_written_of_a_network_that_is_too_large_or_of_other_weights() {
    let large = graph(
        "
name: large
input: 1x1024x1024
table: [{layer: fc, op: linear, channels: 512}]
",
    );
    let mut sink = Vec::new();
    let error = write(&large, &random(&large), None, &mut sink).unwrap_err();
    assert!(matches!(error, OnnxError::TooLarge { bytes: 2_147_485_000.., .. }), "{error}");
    assert!(error.to_string().contains("the format allows 2147483647 (2 GiB)"), "{error}");
    let other = graph(
        "
name: other
input: 1x1x1
table: [{layer: fc, op: linear, channels: 2}]
",
    );
    let error = write(&other, &random(&large), None, &mut sink).unwrap_err();
    assert!(error.to_string().contains("does not fit the network"), "{error}");
    assert!(sink.is_empty());
}
