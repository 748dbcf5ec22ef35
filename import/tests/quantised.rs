//! ONNX files of quantised networks, as others and as `resnet emit --as onnx` write them.

mod common;

use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use common::{array, contains, weights};
use prost::Message;
use resnet_compiler::graph::Graph;
use resnet_compiler::network::{Backend, Compiler};
use resnet_compiler::onnx;
use resnet_compiler::onnx::proto::{self, ModelProto, TensorProto};
use resnet_compiler::spec::Spec;
use resnet_import::{Imported, Options, import, import_bytes};
use resnet_runtime::weights::Weights;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/int8").join(name)
}

/// No tensor of a state dict tells the size of its pictures.
fn options(name: &str) -> Options {
    Options { input: name.ends_with(".pth").then_some((33, 29)), ..Options::default() }
}

fn imported(name: &str) -> Imported {
    import(file(name), &options(name)).unwrap_or_else(|error| panic!("{error}"))
}

/// What the network answers, by the definition of its quantised layers.
fn answers(spec: &Spec, weights: &Weights, input: &[f32], count: usize) -> Vec<f32> {
    let compiler = Compiler::new(spec).weights(weights).backend(Backend::Reference);
    let network = compiler.compile().unwrap().load(weights).unwrap();
    let mut output = vec![f32::NAN; count];
    network.session().run_batch(input, &mut output).unwrap();
    output
}

/// Imports a file and compares with what ONNX Runtime or PyTorch computed, which rounds sums, means and the answers to bytes
/// too: `bound` is for the root of the mean square, in units of the outputs' own.
fn check(name: &str, bound: f32) -> (Imported, Vec<f32>) {
    let imported = imported(name);
    let path = file(name);
    let expected = array(&path, "output.npy");
    let spec = Spec::from_yaml(&imported.table).unwrap();
    let input = array(&path, "input.npy");
    let found = answers(&spec, &weights(&imported), &input, expected.len());
    let power = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>().sqrt();
    let off = power(&mut found.iter().zip(&expected).map(|(a, b)| a - b));
    let whole = power(&mut expected.iter().copied());
    assert!(off <= bound * whole, "{name}: {off} of {whole}");
    let first = |values: &[f32]| values.iter().position(|v| values.iter().all(|w| w <= v));
    for (found, expected) in found.chunks(5).zip(expected.chunks(5)) {
        assert_eq!(first(found), first(expected), "{name}: {found:?}, {expected:?}");
    }
    (imported, found)
}

#[test]
fn files_of_onnx_runtime() {
    let (quantised, answers) = check("qdq.onnx", 0.07);
    contains(&quantised.notes.join("\n"), &["15 of 15 layers are quantised"]);
    contains(&quantised.table, &["input: 3x33x29", "op: basic", "repeat: 2"]);
    assert_eq!(weights(&quantised).quantised().len(), 15);
    // The same network with operators on bytes, and with weights that the graph rounds.
    for name in ["operators.onnx", "rounded.onnx"] {
        assert_eq!(check(name, 0.07).1, answers, "{name}");
    }
    let (signed, _) = check("signed.onnx", 0.15);
    contains(&signed.notes.join("\n"), &["21 of 21 layers are quantised"]);
}

#[test]
fn files_of_other_quantisers() {
    for (name, bound) in [("nncf.onnx", 0.07), ("pt2e-x86.onnx", 0.07), ("pt2e-xnnpack.onnx", 0.07)]
    {
        let (quantised, _) = check(name, bound);
        contains(&quantised.notes.join("\n"), &["15 of 15 layers are quantised"]);
    }
}

#[test]
fn state_dicts_that_pytorch_quantised() {
    let (quantised, _) = check("torch-channels.pth", 0.15);
    let notes = quantised.notes.join("\n");
    contains(&notes, &["15 of 15 layers are quantised", "14 batch norms were folded"]);
    contains(&quantised.table, &["op: basic", "repeat: 2"]);
    let (quantised, _) = check("torch-tensor.pth", 0.15);
    contains(&quantised.notes.join("\n"), &["21 of 21 layers are quantised"]);
    // What a norm that is not there adds to its variance does not matter.
    let epsilon = Options { norm_epsilon: Some(0.5), ..options("torch-tensor.pth") };
    let other = import(file("torch-tensor.pth"), &epsilon).unwrap();
    let scale =
        |imported: &Imported| weights(imported).tensor("conv1.weight_scale").unwrap().values;
    assert_eq!(scale(&other), scale(&quantised));
}

/// The archive of a state dict, with some of its bytes changed.
fn changed(change: impl Fn(&str, &mut Vec<u8>)) -> Result<Imported, String> {
    let whole = std::fs::read(file("torch-channels.pth")).unwrap();
    let mut from = zip::ZipArchive::new(Cursor::new(whole)).unwrap();
    let mut to = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for index in 0..from.len() {
        let mut entry = from.by_index(index).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let name = entry.name().unwrap().into_owned();
        change(&name, &mut bytes);
        to.start_file(name, stored).unwrap();
        to.write_all(&bytes).unwrap();
    }
    let bytes = to.finish().unwrap().into_inner();
    import_bytes(bytes, "x.pth", &options("x.pth")).map_err(|error| error.to_string())
}

/// The same with another name for some tensors, of the same length.
fn renamed(old: &str, new: &str) -> Result<Imported, String> {
    assert_eq!(old.len(), new.len());
    changed(|entry, bytes| {
        if entry.ends_with("data.pkl") {
            let places: Vec<usize> =
                (0..bytes.len()).filter(|&at| bytes[at..].starts_with(old.as_bytes())).collect();
            assert!(!places.is_empty(), "{old}");
            places.iter().for_each(|&at| bytes[at..][..new.len()].copy_from_slice(new.as_bytes()));
        }
    })
}

#[test]
fn state_dicts_whose_scales_are_not_known_are_errors() {
    assert_eq!(weights(&changed(|_, _| {}).unwrap()).quantised().len(), 15);
    let error = renamed("layer1.0.add_relu.scale", "conv1_1_1_input_scale_0").unwrap_err();
    contains(&error, &["`conv1_1_1_input_scale_0` is a scale as PyTorch's FX graph mode names"]);
    let error = renamed("layer1.1.add_relu.", "layer1.0.bn_relu1.").unwrap_err();
    contains(
        &error,
        &["`layer1.0.add_relu` and `layer1.0.bn_relu1` both write bytes", "fuse_modules"],
    );
    let error = renamed("quant.scale", "quant.scalf").unwrap_err();
    contains(&error, &["quant.scalf"]);
    // The zero points of eight channels, in 64 bits each.
    let error = changed(|entry, bytes| {
        if entry.contains("/data/") && bytes.len() == 64 && bytes.iter().all(|&byte| byte == 0) {
            bytes[0] = 1;
        }
    });
    contains(&error.unwrap_err(), &["is quantised (and", "of zero point 0 and one scale"]);
    // Scales of activations, of channels.
    let error = changed(|entry, bytes| {
        if entry.contains("/data/") && bytes.len() == 4 {
            bytes.fill(0);
        }
    });
    contains(
        &error.unwrap_err(),
        &["writes bytes by a scale that is not known", ".scale` has to be"],
    );
    let error = changed(|entry, bytes| {
        if entry.ends_with("/data/1") {
            bytes.fill(0xff);
        }
    });
    contains(&error.unwrap_err(), &["`conv1.weight` is quantised"]);
    let error = import(file("torch-module.pth"), &Options::default()).unwrap_err().to_string();
    contains(&error, &["a whole module", "save `model.state_dict()`"]);
}

#[test]
fn weights_that_no_byte_holds_become_numbers() {
    let (imported, _) = check("one-scale.onnx", 0.15);
    let notes = imported.notes.join("\n");
    assert!(notes.contains("of 21 layers are quantised") && !notes.contains("21 of 21"), "{notes}");
    let some = weights(&imported).quantised().len();
    assert!(some < 21 && notes.contains(&format!("{some} of 21")), "{some}: {notes}");
}

/// What `emit --as onnx` writes comes back, byte for byte.
#[test]
fn our_own_files() {
    for name in ["basic", "option-a", "bottleneck"] {
        let table = std::fs::read_to_string(file(name).with_extension("yaml")).unwrap();
        let spec = Spec::from_yaml(&table).unwrap();
        let graph = Graph::build(&spec).unwrap();
        let own = Weights::open(file(name).with_extension("safetensors")).unwrap();
        let mut bytes = Vec::new();
        onnx::write(&graph, &own, None, &mut bytes).unwrap();
        let imported = import_bytes(bytes, "own.onnx", &Options::default())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let spec_back = Spec::from_yaml(&imported.table).unwrap();
        let path = file(name).with_extension("onnx");
        let (input, expected) = (array(&path, "input.npy"), array(&path, "output.npy"));
        let found = answers(&spec_back, &weights(&imported), &input, expected.len());
        assert_eq!(found, expected, "{name}\n{}", imported.table);
    }
}

/// Each reader of an activation may round it for itself.
#[test]
fn readers_with_bytes_of_their_own() {
    let good = std::fs::read(file("qdq.onnx")).unwrap();
    let read = |scale: usize| {
        let mut model = ModelProto::decode(&good[..]).unwrap();
        let nodes = &mut model.graph.as_mut().unwrap().node;
        // The first projection reads what the convolution before it reads.
        let place = nodes.iter().position(|n| n.name.contains("downsample.0/Conv")).unwrap();
        let rounded = nodes[place].input[0].clone();
        let of = |name: &str| nodes.iter().position(|n| n.output[0] == name).unwrap();
        let (back, scales) = (of(&rounded), of(&nodes[of(&rounded)].input[0]));
        let other = nodes.iter().filter(|n| n.op_type == "QuantizeLinear").nth(scale);
        let other = if scale == 0 {
            nodes[scales].input[1].clone()
        } else {
            other.unwrap().input[1].clone()
        };
        let (mut own, mut own_back) = (nodes[scales].clone(), nodes[back].clone());
        own.output = vec!["own".into()];
        own.input[1] = other.clone();
        own_back.input[0] = "own".into();
        own_back.input[1] = other;
        own_back.output = vec!["own back".into()];
        nodes[place].input[0] = "own back".into();
        nodes.insert(place, own_back);
        nodes.insert(place, own);
        let imported = import_bytes(model.encode_to_vec(), "x.onnx", &Options::default());
        imported.unwrap_or_else(|error| panic!("{error}"))
    };
    assert!(read(0).notes.join("\n").contains("15 of 15 layers are quantised"));
    // Bytes of two scales are not one activation's: one of the layers computes in f32.
    let notes = read(1).notes.join("\n");
    contains(&notes, &["14 of 15 layers", "another layer reads its input by another scale"]);
    assert_eq!(weights(&read(1)).quantised().len(), 14);
}

/// Damage to scales, zero points and types is an error or another network, never a panic.
#[test]
fn damaged_files_are_errors_or_networks() {
    let good = std::fs::read(file("qdq.onnx")).unwrap();
    let model = ModelProto::decode(&good[..]).unwrap();
    let mut refused = 0;
    for index in 0..200 {
        let mut damaged = model.clone();
        let graph = damaged.graph.as_mut().unwrap();
        let place = index * 7919;
        let node = graph.node.len();
        match index % 5 {
            0 => drop(graph.node[place % node].input.pop()),
            1 => graph.node[place % node].input.reverse(),
            2 => {
                let count = graph.initializer.len();
                let TensorProto { data_type, .. } = &mut graph.initializer[place % count];
                *data_type = (*data_type + 1) % 17;
            }
            3 => {
                let count = graph.initializer.len();
                graph.initializer[place % count].dims.push(2);
            }
            _ => {
                let count = graph.initializer.len();
                graph.initializer.remove(place % count);
            }
        }
        let imported = import_bytes(damaged.encode_to_vec(), "x.onnx", &Options::default());
        refused += usize::from(imported.is_err());
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn bytes_that_mean_two_things_are_errors() {
    let good = std::fs::read(file("qdq.onnx")).unwrap();
    let change = |change: fn(&mut ModelProto)| {
        let mut model = ModelProto::decode(&good[..]).unwrap();
        change(&mut model);
        let imported = import_bytes(model.encode_to_vec(), "x.onnx", &Options::default());
        imported.unwrap_err().to_string()
    };
    let error = change(|model| {
        let nodes = &mut model.graph.as_mut().unwrap().node;
        let other =
            nodes.iter().rev().find(|n| n.op_type == "QuantizeLinear").unwrap().input[1].clone();
        let first = nodes.iter_mut().find(|n| n.op_type == "QuantizeLinear").unwrap();
        first.input[1] = other;
    });
    contains(&error, &["bytes are read by another scale than they were made by"]);
    let error = change(|model| {
        let nodes = &mut model.graph.as_mut().unwrap().node;
        let first = nodes.iter_mut().find(|n| n.op_type == "QuantizeLinear").unwrap();
        first.input[2] = "nowhere".into();
    });
    contains(&error, &["activations are bytes with a zero point of their type"]);
    let error = change(|model| {
        let tensors = &mut model.graph.as_mut().unwrap().initializer;
        let zero = tensors.iter_mut().find(|tensor| tensor.data_type == proto::UINT8).unwrap();
        // 300, as a list has it.
        zero.raw_data = Default::default();
        zero.int32_data = vec![0xac, 0x02].into();
    });
    contains(&error, &["lists a number that U8 does not hold"]);
    let error = change(|model| {
        let tensors = &mut model.graph.as_mut().unwrap().initializer;
        let scale = tensors.iter_mut().find(|tensor| tensor.name == "input_scale").unwrap();
        scale.raw_data = Default::default();
        scale.float_data = 0f32.to_le_bytes().to_vec().into();
    });
    contains(&error, &["one scale for all channels, a positive number"]);
}
