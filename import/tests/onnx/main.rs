//! ONNX files: those that `resnet emit --as onnx` writes, those of others, and those that nobody should
//! trust.

#[path = "../common/mod.rs"]
mod common;
mod refused;

use std::path::{Path, PathBuf};

use common::{array, contains, run};
use prost::Message;
use resnet_compiler::graph::Graph;
use resnet_compiler::network::{Backend, Compiler, Options as NetworkOptions};
use resnet_compiler::onnx;
use resnet_compiler::onnx::proto::{
    AttributeProto, AttributeType, GraphProto, ModelProto, NodeProto,
};
use resnet_compiler::spec::Spec;
use resnet_compiler::zoo::ZOO;
use resnet_import::{Imported, Options, import, import_bytes};
use resnet_runtime::weights::Weights;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name)
}

/// Imports a file, runs it, and compares with what ONNX Runtime computed; returns the table.
fn check(name: &str) -> String {
    let file = golden("import").join(name);
    let imported = import(&file, &Options::default()).unwrap_or_else(|error| panic!("{error}"));
    run(&imported, &array(&file, "input.npy"), &array(&file, "output.npy"));
    imported.table
}

#[test]
fn files_of_pytorch() {
    let table = check("folded.onnx");
    contains(&table, &["input: 3x37x33", "batch norms were folded", "repeat: 2,", "stride: 2,"]);
    assert!(!table.contains("norm: none") && !table.contains("assumed"), "{table}");
    contains(&check("dynamo.onnx"), &["op: bottleneck,", "groups: 2,", "width: 6,"]);
    let table = check("kept.onnx");
    contains(&table, &["squeeze_excitation: {channels: 8},"]);
    assert!(!table.contains("folded"), "{table}");
    contains(&check("option-a.onnx"), &["shortcut: zero_pad,", "input: 3x32x32"]);
    contains(&check("any-batch.onnx"), &["shortcut: pool_projection,", "eca: 3,"]);
    contains(&check("pre-activated.onnx"), &["pre_activation: true", "op: norm", "op: linear"]);
}

#[test]
fn files_of_others() {
    let said = ["norm_epsilon: 0.000011", "stride_on: 1x1,", "bias: true,"];
    contains(&check("old.onnx"), &said);
    let table = check("old-pre-activation.onnx");
    contains(&table, &["{layer: norm,    op: norm,", "activation: none", "op: basic,"]);
    contains(&check("padded.onnx"), &["stride_on: 1x1,", "op: softmax", "interleaved"]);
}

/// Norms and the picture's preparation that are arithmetic, and classifiers of two layers.
#[test]
fn files_with_arithmetic_in_the_place_of_norms() {
    let said = [
        "{layer: norm,    op: norm,",
        "values from 0 to 255",
        "std: [0.00392156862745098, 0.00392156862745098, 0.00392156862745098]",
        "batch norms are multiplications and additions",
        "`fc2` has no bias in the file",
        "activation: relu",
    ];
    contains(&check("keras.onnx"), &said);
}

#[test]
fn files_with_group_norm_and_averages() {
    contains(&check("grouped.onnx"), &["norm: {groups: 4},", "op: bottleneck,"]);
    contains(&check("averaged.onnx"), &["anti_alias: average,", "squeeze_excitation:"]);
}

/// A network with random weights, as `resnet emit --as onnx` writes it.
fn emitted(table: &str) -> (Graph, Weights, Vec<u8>) {
    let graph = Graph::build(&Spec::from_yaml(table).unwrap()).unwrap();
    let weights = Weights::random(&graph.tensors, 1);
    let mut file = Vec::new();
    onnx::write(&graph, &weights, None, &mut file).unwrap();
    (graph, weights, file)
}

/// What a table computes is what the table of its ONNX file says, operator by operator.
fn comes_back(name: &str, graph: &Graph, file: Vec<u8>) -> Imported {
    let imported = import_bytes(file, "x.onnx", &Options::default());
    let imported = imported.unwrap_or_else(|error| panic!("{name}: {error}"));
    let again = Graph::build(&Spec::from_yaml(&imported.table).unwrap()).unwrap();
    assert_eq!(graph.fingerprint(), again.fingerprint(), "{name}\n{}", imported.table);
    assert_eq!((graph.params, graph.macs), (again.params, again.macs), "{name}");
    imported
}

/// Activations as PyTorch's exporters put them together, and blocks of RegNet Z.
#[test]
fn activations_of_other_exporters() {
    let top = |name: &str, word: &str| {
        let table = check(name);
        contains(&table, &[&format!("\nactivation: {word}\n")]);
        table
    };
    top("silu.onnx", "silu");
    top("gelu.onnx", "gelu");
    top("gelu-old.onnx", "gelu");
    top("hard-swish.onnx", "hard_swish");
    top("hard-swish-old.onnx", "hard_swish");
    top("relu6.onnx", "relu6");
    contains(&check("leaky.onnx"), &["activation: leaky_relu"]);
    contains(
        &top("regnet-linear.onnx", "silu"),
        &["attention_on: 3x3,", "output_activation: none"],
    );
}

#[test]
fn a_maximum_over_all_pixels_may_be_a_reduction() {
    let reduce = |axes: Vec<i64>| {
        changed(|model| {
            let nodes = &mut model.graph.as_mut().unwrap().node;
            let pool = nodes.iter_mut().find(|node| node.op_type == "GlobalAveragePool").unwrap();
            pool.op_type = "ReduceMax".to_owned();
            let kind = AttributeType::Ints.into();
            pool.attribute = vec![AttributeProto {
                name: "axes".to_owned(),
                r#type: kind,
                ints: axes,
                ..AttributeProto::default()
            }];
        })
    };
    let read = |axes| import_bytes(reduce(axes), "x.onnx", &Options::default());
    contains(&read(vec![2, 3]).unwrap().table, &["op: max_pool,", "kernel: 8,"]);
    contains(&read(vec![1]).unwrap_err().to_string(), &["a maximum over the axes [1] of 4x8x8"]);
}

/// Chunks of channels that a Res2Net's block convolves.
#[test]
fn chunks_of_channels_are_a_scale() {
    for name in ["chunks.onnx", "chunks-old.onnx"] {
        contains(&check(name), &["op: bottleneck,", "scale: 4,", "op: max_pool,"]);
    }
}

/// Every network whose outputs PyTorch computed goes through an ONNX file and back, and every number of it.
#[test]
fn what_is_emitted_comes_back() {
    let mut count = 0;
    let folder = std::fs::read_dir(golden("")).unwrap();
    for table in folder.map(|entry| entry.unwrap().path()) {
        if table.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let name = table.file_stem().unwrap().to_str().unwrap();
        let spec = Spec::from_yaml(&std::fs::read_to_string(&table).unwrap()).unwrap();
        let graph = Graph::build(&spec).unwrap();
        let weights = Weights::open(table.with_extension("safetensors")).unwrap();
        let mut file = Vec::new();
        onnx::write(&graph, &weights, None, &mut file).unwrap();
        // The file has the standardized weights, and what comes back is the network that has them.
        if name.starts_with("weight-standardization") {
            let imported = import_bytes(file, "standardized.onnx", &Options::default()).unwrap();
            run(&imported, &array(&golden(name), "input.npy"), &array(&golden(name), "output.npy"));
            continue;
        }
        let imported = comes_back(name, &graph, file);
        let input = array(&golden(name), "input.npy");
        let picture = &input[..graph.input_shape().elements()];
        let answers = |spec: &Spec, weights: &Weights| {
            let options = NetworkOptions { backend: Backend::Interpret, ..Default::default() };
            let compiled = Compiler::new(spec).options(options).compile().unwrap();
            let network = compiled.load(weights).unwrap();
            network.session().run(picture).unwrap().to_vec()
        };
        let again = Spec::from_yaml(&imported.table).unwrap();
        assert!(again.warnings().is_empty(), "{name}\n{}", again.warnings());
        let found = answers(&again, &common::weights(&imported));
        assert_eq!(answers(&spec, &weights), found, "{name}\n{}", imported.table);
        count += 1;
    }
    assert!(count > 30, "only {count} networks");
}

#[test]
fn networks_of_the_zoo_come_back_as_they_were() {
    for &(name, table) in ZOO {
        // The rest are the same rows, repeated, and take minutes without optimisation.
        if ["1202", "1001", "152", "101", "wrn"].iter().any(|large| name.contains(large)) {
            continue;
        }
        let (graph, _, file) = emitted(table);
        let imported = comes_back(name, &graph, file);
        let rows = |table: &str| table.lines().filter(|line| line.starts_with("  - ")).count();
        if graph.features.is_empty() && !name.starts_with("plain") {
            assert_eq!(rows(table), rows(&imported.table), "{}", imported.table);
        }
    }
}

const TINY: &str = "
name: tiny
input: 3x8x8
table:
  - {layer: conv1, op: conv, kernel: 3, channels: 4}
  - {layer: conv2_x, op: basic, channels: 4}
  - {layer: avgpool, op: global_average_pool}
  - {layer: fc, op: linear, channels: 2}
";

/// A small file, changed.
fn changed(change: impl FnOnce(&mut ModelProto)) -> Vec<u8> {
    let mut model = ModelProto::decode(&*emitted(TINY).2).unwrap();
    change(&mut model);
    model.encode_to_vec()
}

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

fn node<'a>(model: &'a mut ModelProto, name: &str) -> &'a mut NodeProto {
    graph(model).node.iter_mut().find(|node| node.name == name).unwrap()
}
