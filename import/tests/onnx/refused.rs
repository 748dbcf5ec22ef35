//! What an ONNX file may not say, and what it may in other words: a small one, changed.

use prost::Message;
use resnet_compiler::onnx::proto::{
    self, AttributeProto, FunctionProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto,
};
use resnet_import::{ImportError, Options, import, import_bytes};

use crate::common::contains;
use crate::{TINY, changed, emitted, graph, node};

/// Puts a node, `odd`, before another one, which then reads it alone.
fn before(model: &mut ModelProto, name: &str, op: &str, input: Vec<String>) {
    node(model, name).input[0] = "odd".to_owned();
    let nodes = &mut graph(model).node;
    let place = nodes.iter().position(|node| node.name == name).unwrap();
    let odd = NodeProto {
        op_type: op.to_owned(),
        name: "odd".to_owned(),
        input,
        output: vec!["odd".to_owned()],
        ..NodeProto::default()
    };
    nodes.insert(place, odd);
}

fn attribute<'a>(node: &'a mut NodeProto, name: &str) -> &'a mut AttributeProto {
    node.attribute.iter_mut().find(|attribute| attribute.name == name).unwrap()
}

fn refused(file: Vec<u8>, options: &Options) -> String {
    import_bytes(file, "tiny.onnx", options).unwrap_err().to_string()
}

#[track_caller]
fn refuses(change: impl FnOnce(&mut ModelProto), expected: &[&str]) {
    contains(&refused(changed(change), &Options::default()), expected);
}

#[test]
fn what_a_table_cannot_say_is_refused_by_the_node_s_name() {
    refuses(
        |model| node(model, "conv2_x.0.relu1").op_type = "Elu".to_owned(),
        &["node `conv2_x.0.relu1` (Elu): no operator of a residual network", "model.eval()"],
    );
    refuses(
        |model| {
            let node = node(model, "conv2_x.0.relu1");
            node.name.clear();
            node.op_type = "Selu".to_owned();
        },
        &["the node that makes `conv2_x.0.relu1` (Selu)"],
    );
    refuses(
        |model| node(model, "conv1").domain = "com.microsoft".to_owned(),
        &[
            "node `conv1` (Conv): an operator of `com.microsoft`",
            "without a runtime's optimisations",
        ],
    );
    refuses(
        |model| {
            let node = node(model, "conv1");
            node.domain = "org.openvinotoolkit".to_owned();
            node.op_type = "FakeQuantize".to_owned();
        },
        &["export what `nncf.strip` makes"],
    );
    refuses(
        |model| attribute(node(model, "conv2_x.0.conv2"), "strides").ints = vec![2, 2],
        &["node `conv2_x.0.add` (Add): it adds 4x4x4 and 4x8x8"],
    );
    refuses(
        |model| attribute(node(model, "conv2_x.0.conv1"), "pads").ints = vec![2, 2, 0, 0],
        &[
            "node `conv2_x.0.conv1` (Conv): a padding of 2x2 before, 0x0 after",
            "in a block it is 1",
        ],
    );
    refuses(
        |model| node(model, "conv2_x.0.conv1").input[1] = "missing".to_owned(),
        &["node `conv2_x.0.conv1` (Conv): it reads `missing`, which nothing before it makes"],
    );
    refuses(
        |model| node(model, "conv2_x.0.bn1").op_type = "InstanceNormalization".to_owned(),
        &["node `conv2_x.0.bn1` (InstanceNormalization)"],
    );
    refuses(
        |model| attribute(node(model, "conv2_x.0.bn2"), "epsilon").f = Some(1e-3),
        &["node `conv2_x.0.bn2` (BatchNormalization): an epsilon of 0.001, and 0.00001"],
    );
    refuses(
        |model| {
            let inputs = ["conv2_x.0.bn2", "conv2_x.0.relu"].map(str::to_owned).to_vec();
            before(model, "avgpool", "Add", inputs);
        },
        &["node `conv2_x.0.bn2` (BatchNormalization): what it makes is read by 2 nodes"],
    );
    refuses(
        |model| graph(model).node.retain(|node| node.name != "conv2_x.0.relu"),
        &["which nothing before it makes"],
    );
    refuses(
        |model| graph(model).input.clear(),
        &["the graph has the inputs none; a table has one, the picture"],
    );
    refuses(|model| graph(model).output.clear(), &["the graph has no output"]);
    refuses(
        |model| {
            let node = node(model, "avgpool");
            node.op_type = "Cast".to_owned();
            let to = AttributeProto { name: "to".to_owned(), i: Some(7), ..Default::default() };
            node.attribute = vec![to];
        },
        &["node `avgpool` (Cast): it makes something other than floating-point numbers"],
    );
    refuses(
        |model| {
            let node = node(model, "avgpool");
            node.op_type = "MaxPool".to_owned();
            let list = |name: &str, ints: &[i64]| AttributeProto {
                name: name.to_owned(),
                ints: ints.to_vec(),
                ..Default::default()
            };
            node.attribute = vec![list("kernel_shape", &[2, 2]), list("dilations", &[2, 2])];
        },
        &["node `avgpool` (MaxPool): a pool with a dilation"],
    );
    refuses(
        |model| {
            before(model, "avgpool", "Softmax", vec!["conv2_x.0.relu".to_owned()]);
        },
        &["node `odd` (Softmax): a table has softmax over the classes alone"],
    );
    refuses(
        |model| model.opset_import[0].version = 6,
        &["its operator set is 6; 7 and later ones are read"],
    );
    refuses(
        |model| {
            node(model, "conv2_x.0.bn1").input[0] = "conv1.relu".to_owned();
            graph(model).node.retain(|node| node.name != "conv2_x.0.conv1");
            node(model, "conv2_x.0.relu1").op_type = "Identity".to_owned();
            let norm = node(model, "conv2_x.0.bn1");
            norm.op_type = "Identity".to_owned();
            norm.input.truncate(1);
            norm.attribute.clear();
        },
        &[
            "node `conv2_x.0.add` (Add): the block that ends here has on its main path 1 convolution;",
        ],
    );
    refuses(|model| model.graph = None, &["there is no graph in it"]);
    let options = Options { strides: vec![1], ..Options::default() };
    contains(&refused(changed(|_| ()), &options), &["says what `--strides` would; leave it out"]);
}

/// Nothing of a node is passed over: a change of any attribute or input is refused, and never read as what was
/// there before.
#[test]
fn every_attribute_and_input_is_read_or_refused() {
    let numbers = |name: &str, ints: &[i64]| AttributeProto {
        name: name.to_owned(),
        ints: ints.to_vec(),
        r#type: 7,
        ..AttributeProto::default()
    };
    let number = |name: &str, i: i64| AttributeProto {
        name: name.to_owned(),
        i: Some(i),
        r#type: 2,
        ..AttributeProto::default()
    };
    let float = |name: &str, f: f32| AttributeProto {
        name: name.to_owned(),
        f: Some(f),
        r#type: 1,
        ..AttributeProto::default()
    };
    let word = |name: &str, text: &str| AttributeProto {
        name: name.to_owned(),
        s: Some(text.as_bytes().to_vec().into()),
        r#type: 3,
        ..AttributeProto::default()
    };
    let graph_attribute = AttributeProto { r#type: 5, ..number("body", 0) };
    let (conv, norm) = ("conv2_x.0.conv1", "conv2_x.0.bn1");
    for (at, changed, expected) in [
        (conv, word("auto_pad", "SAME_UPPER"), "it has both `pads` and `auto_pad`, SAME_UPPER"),
        (conv, word("auto_pad", "NO_PAD"), "it has both `pads` and `auto_pad`, NO_PAD"),
        (conv, numbers("strides", &[0, 1]), "two positive numbers are expected"),
        (conv, numbers("strides", &[2]), "two positive numbers are expected"),
        (conv, numbers("pads", &[1, 1]), "four numbers are expected"),
        (conv, numbers("pads", &[-1, 1, 1, 1]), "no negative numbers are expected"),
        (conv, numbers("kernel_shape", &[1, 1]), "its weights are not of its `kernel_shape`"),
        (conv, number("strides", 2), "its `strides` is an attribute of type 2; 7 is expected"),
        (conv, number("group", 2), "in 2 groups"),
        (conv, number("group", 0), "in 0 groups"),
        (conv, number("ceil_mode", 1), "its attribute `ceil_mode` is not known here"),
        (conv, graph_attribute, "its attribute `body` is not known here"),
        (norm, number("training_mode", 1), "it is for training"),
        (norm, number("spatial", 0), "it normalises every pixel by itself"),
        (norm, float("epsilon", 0.5), "an epsilon of"),
        (norm, number("epsilon", 1), "its `epsilon` is an attribute of type 2; 1 is expected"),
        ("conv2_x.0.relu1", float("alpha", 0.1), "its attribute `alpha` is not known here"),
        ("conv2_x.0.add", number("broadcast", 1), "its attribute `broadcast` is not known here"),
        ("fc.flatten", number("axis", 2), "another shape; a table flattens before a linear layer"),
        ("fc.flatten", number("axis", 0), "another shape; a table flattens before a linear layer"),
        ("output", float("alpha", 2.0), "neither `alpha`, `beta` nor `transA`"),
        ("output", float("beta", 0.5), "neither `alpha`, `beta` nor `transA`"),
        ("output", number("transA", 1), "neither `alpha`, `beta` nor `transA`"),
        ("output", number("transB", 0), "it reads 2 numbers"),
    ] {
        refuses(
            |model| {
                let node = node(model, at);
                node.attribute.retain(|attribute| attribute.name != changed.name);
                node.attribute.push(changed);
            },
            &[&format!("node `{at}`"), expected],
        );
    }
    refuses(
        |model| {
            let node = node(model, conv);
            node.attribute.push(numbers("strides", &[2, 2]));
        },
        &["it has the attribute `strides` 2 times"],
    );
    for at in [conv, norm, "conv2_x.0.relu1", "avgpool", "output"] {
        refuses(
            |model| {
                let node = node(model, at);
                node.input.resize(5, String::new());
                node.input.push("fc.bias".to_owned());
            },
            &[&format!("node `{at}`"), "its input 5, `fc.bias`, is not known here"],
        );
    }
}

/// A part of the file that no node is.
#[test]
fn what_stands_beside_the_nodes_is_read_or_refused() {
    refuses(
        |model| graph(model).sparse_initializer.push(vec![1].into()),
        &["the graph has a sparse tensor"],
    );
    refuses(
        |model| graph(model).quantization_annotation.push(vec![1].into()),
        &["the graph says how it is quantised"],
    );
    refuses(
        |model| {
            let function = FunctionProto { name: "Relu".to_owned(), domain: String::new() };
            model.functions.push(function);
        },
        &["(Relu): it calls a function of the file; inline it"],
    );
    refuses(|model| model.opset_import.clear(), &["it does not say which version of operators"]);
    refuses(
        |model| model.opset_import.push(model.opset_import[0].clone()),
        &["it has two versions of ONNX's operators"],
    );
    refuses(
        |model| {
            let again = graph(model).initializer[0].clone();
            graph(model).initializer.push(again);
        },
        &["the tensor `conv1.weight` is there twice"],
    );
    refuses(
        |model| {
            let again = graph(model).output[0].clone();
            graph(model).output.push(again);
        },
        &["the graph's output `output` is another output too"],
    );
    refuses(
        |model| {
            let mut other = graph(model).input[0].clone();
            other.name = "mask".to_owned();
            graph(model).input.push(other);
        },
        &["the graph has the inputs `input`, `mask`; a table has one, the picture"],
    );
    refuses(
        |model| elements(model, 7),
        &["the graph's input `input` has elements of ONNX's type 7; pictures are floats, or bytes"],
    );
    refuses(
        |model| graph(model).initializer[0].segment = Some(vec![1].into()),
        &["tensor `conv1.weight` is one part of a larger one"],
    );
    refuses(
        |model| graph(model).initializer[0].float_data = vec![0; 8].into(),
        &["tensor `conv1.weight` has its elements twice"],
    );
    let said = |change: &dyn Fn(&mut ModelProto)| {
        let imported = import_bytes(changed(change), "tiny.onnx", &Options::default()).unwrap();
        imported.table
    };
    let unused = TensorProto { name: "unused".to_owned(), ..TensorProto::default() };
    let table = said(&|model| graph(model).initializer.push(unused.clone()));
    contains(&table, &["left out: the tensor `unused`, which no answer depends on"]);
    contains(&said(&|model| model.opset_import[0].version = 99), &["assumed: the operator set 99"]);
    contains(&said(&|model| elements(model, 2)), &["values from 0 to 255", "std: [0.0039215"]);
}

/// Says of what type the picture's elements are.
fn elements(model: &mut ModelProto, kind: i32) {
    let r#type = graph(model).input[0].r#type.as_mut().unwrap();
    r#type.tensor_type.as_mut().unwrap().elem_type = kind;
}

/// The same numbers, whatever way the file has them.
#[test]
fn halves_may_be_a_list_of_their_bits() {
    let halves = |listed: bool| {
        changed(|model| {
            let tensor = &mut graph(model).initializer[0];
            let bits: Vec<u16> = (0..108).map(|number| 0x3800 + 13 * number).collect();
            tensor.data_type = proto::FLOAT16;
            tensor.raw_data = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
            if listed {
                tensor.raw_data = Default::default();
                let mut list = Vec::new();
                for &bits in &bits {
                    prost::encoding::encode_varint(bits.into(), &mut list);
                }
                tensor.int32_data = list.into();
            }
        })
    };
    let written = |file| {
        let mut bytes = Vec::new();
        let imported = import_bytes(file, "tiny.onnx", &Options::default()).unwrap();
        imported.write_weights(&mut bytes).unwrap();
        bytes
    };
    assert_eq!(written(halves(true)), written(halves(false)));
}

/// A blur is told by its mirrored padding and its filter.
#[test]
fn mirrored_pixels_are_read_by_blurs_alone() {
    let table = TINY
        .replace("op: basic, channels: 4", "op: basic, channels: 4, stride: 2, anti_alias: blur");
    let file = emitted(&table).2;
    let imported = import_bytes(file.clone(), "x.onnx", &Options::default()).unwrap();
    contains(&imported.table, &["anti_alias: blur"]);
    let refuses = |change: &dyn Fn(&mut ModelProto), expected: &str| {
        let mut model = ModelProto::decode(&*file).unwrap();
        change(&mut model);
        contains(&refused(model.encode_to_vec(), &Options::default()), &[expected]);
    };
    refuses(
        &|model| node(model, "conv2_x.0.aa").input[1] = "layer1.0.conv2.weight".to_owned(),
        "node `conv2_x.0.aa` (Conv): it reads mirrored pixels and is no blur",
    );
    refuses(
        &|model| attribute(node(model, "conv2_x.0.aa"), "group").i = Some(1),
        "node `conv2_x.0.aa` (Conv): it reads mirrored pixels and is no blur",
    );
    refuses(
        &|model| node(model, "conv2_x.0.conv2").input[0] = "conv2_x.0.aa.mirrored".to_owned(),
        "node `conv2_x.0.conv2` (Conv): it reads mirrored pixels and is no blur",
    );
    refuses(
        &|model| node(model, "avgpool").input[0] = "conv2_x.0.aa.mirrored".to_owned(),
        "node `avgpool` (GlobalAveragePool): it reads `conv2_x.0.aa.mirrored`, padded by mirroring",
    );
}

#[test]
fn the_size_of_pictures_can_be_chosen() {
    let options = Options { input: Some((16, 12)), ..Options::default() };
    let imported = import_bytes(changed(|_| ()), "tiny.onnx", &options).unwrap();
    contains(&imported.table, &["input: 3x16x12", "output: 16x12"]);
}

/// The first tensor, said to be in another file.
fn outside(location: &str, entries: &[(&str, &str)]) -> Vec<u8> {
    changed(|model| {
        let tensor = &mut graph(model).initializer[0];
        tensor.raw_data = Default::default();
        tensor.data_location = proto::EXTERNAL;
        let entry = |&(key, value): &(&str, &str)| StringStringEntryProto {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        tensor.external_data = [("location", location)].iter().chain(entries).map(entry).collect();
    })
}

#[test]
fn tensors_in_other_files_are_read_from_the_same_folder_alone() {
    let folder = std::env::temp_dir().join(format!("resnet-import-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("inner")).unwrap();
    std::fs::write(folder.join("inner/weights.bin"), [0; 500]).unwrap();
    let at = |location: &str, entries: &[(&str, &str)]| {
        let file = folder.join("inner/tiny.onnx");
        std::fs::write(&file, outside(location, entries)).unwrap();
        import(&file, &Options::default())
    };
    // 4 x 3 x 3 x 3 floats are 432 bytes.
    let good = [("offset", "68"), ("length", "432")];
    assert!(at("weights.bin", &good).is_ok() && at("./weights.bin", &good).is_ok());
    for (location, entries, expected) in [
        ("../inner/weights.bin", &good[..], "outside the ONNX file's folder; refused"),
        ("/etc/hostname", &good, "outside the ONNX file's folder; refused"),
        ("other.bin", &good, "has to lie beside the ONNX file"),
        (".", &good, "it is a folder"),
        ("weights.bin", &[("offset", "69"), ("length", "432")], "which has 500 bytes"),
        ("weights.bin", &[("offset", "501")], "which has 500 bytes"),
        ("weights.bin", &[("offset", "18446744073709551615"), ("length", "9")], "which has 500"),
        ("weights.bin", &[("offset", "-1")], "the `offset` of tensor"),
        ("weights.bin", &[("length", "400")], "has 400 bytes of elements"),
    ] {
        let error = at(location, entries).unwrap_err().to_string();
        contains(&error, &[expected]);
    }
    std::fs::remove_dir_all(&folder).unwrap();
    let error = refused(outside("weights.bin", &good), &Options::default());
    contains(&error, &["the ONNX file was given as bytes"]);
}

#[test]
fn claims_that_do_not_hold_are_errors() {
    let wrong = |change: &dyn Fn(&mut TensorProto)| {
        let file = changed(|model| change(&mut graph(model).initializer[0]));
        import_bytes(file, "tiny.onnx", &Options::default()).unwrap_err()
    };
    for dims in [vec![-4, 3, 3, 3], vec![i64::MAX, i64::MAX], vec![4, 3, 3, 4], vec![]] {
        let error = wrong(&|tensor| tensor.dims.clone_from(&dims));
        assert!(matches!(error, ImportError::Corrupt { .. }), "{error}");
    }
    let error = wrong(&|tensor| tensor.data_type = 5);
    contains(&error.to_string(), &["has elements of ONNX's type 5"]);
    // Two bytes a node, which would become a hundred times as much.
    let mut many = vec![0x08, 8, 0x12, 0];
    let nodes = [0x0a, 0].repeat(1 << 20);
    many.push(0x3a);
    prost::encoding::encode_varint(nodes.len() as u64, &mut many);
    many.extend(nodes);
    contains(&refused(many, &Options::default()), &["more nodes and names than any network has"]);
    let short = [0x08, 8, 0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f].to_vec();
    contains(&refused(short, &Options::default()), &["a field reaches past the end"]);
}
