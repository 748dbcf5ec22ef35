//! The tables of `tests/golden/` against the weights that PyTorch wrote for them.

use std::path::PathBuf;

use resnet_compiler::graph::Graph;
use resnet_compiler::spec::Spec;
use resnet_compiler::zoo::ZOO;
use resnet_runtime::weights::Weights;

/// What torchvision and timm say of their networks, in `zoo.json`: the zoo's tables of the same name
/// have the same parameters, multiply-adds, and tensors.
#[test]
fn the_zoo_is_torchvisions_and_timms() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let facts = std::fs::read_to_string(folder.join("zoo.json")).unwrap();
    let facts: serde_json::Value = serde_json::from_str(&facts).unwrap();
    let mut checked = 0;
    for (name, text) in ZOO {
        let Some(theirs) = facts["networks"].get(name) else { continue };
        let spec = Spec::from_yaml_named(text, name).unwrap_or_else(|error| panic!("{error}"));
        let graph = Graph::build(&spec).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(Some(graph.params), theirs["params"].as_u64(), "{name}");
        assert_eq!(Some(graph.macs), theirs["macs"].as_u64(), "{name}");
        let tensors = theirs["tensors"].as_object().unwrap();
        assert_eq!(graph.tensors.len(), tensors.len(), "{name}");
        for tensor in &graph.tensors {
            let theirs = tensors[&*tensor.name].as_array().unwrap();
            let mut theirs: Vec<_> = theirs.iter().map(|n| n.as_u64().unwrap() as usize).collect();
            // A classifier may be a 1x1 convolution there.
            while theirs.len() > tensor.shape.len() && theirs.last() == Some(&1) {
                theirs.pop();
            }
            assert_eq!(theirs, tensor.shape.to_vec(), "{name}: {}", tensor.name);
        }
        checked += 1;
    }
    assert!(checked >= 8, "only {checked} networks of the zoo are in zoo.json");
}

/// Each table builds, its counts are those its author expects, and it asks for exactly the tensors
/// (names and shapes) that are in the state dict of the PyTorch module it describes.
#[test]
fn tensors_are_those_of_the_state_dict() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        let spec = Spec::from_yaml_named(&text, &name).unwrap_or_else(|error| panic!("{error}"));
        let graph = Graph::build(&spec).unwrap_or_else(|error| panic!("{error}"));
        let weights = Weights::open(path.with_extension("safetensors"));
        let weights = weights.unwrap_or_else(|error| panic!("{name}: {error}"));
        weights.check(&graph.tensors).unwrap_or_else(|error| panic!("{name}: {error}"));
        checked += 1;
    }
    assert!(checked >= 10, "only {checked} golden tables were found");
}
