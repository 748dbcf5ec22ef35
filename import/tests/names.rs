//! One network under the names that different repositories give to its parts.

mod common;

use std::path::{Path, PathBuf};

use common::{array, contains, run};
use resnet_import::{
    Activation, AntiAlias, Imported, Options, Shortcut, ShortcutFrom, StemPool, StrideOn,
    ZeroChannels, import, import_bytes,
};
use safetensors::{Dtype, SafeTensors, serialize, tensor::TensorView};

/// Names, in which numbers stand for a `{stage}`, a `{block}` and a convolution or norm in it (`{layer}`): `0`
/// and `1` say where they begin. `{conv}` and `{norm}` number both in one list with a ReLU after each pair.
struct Names {
    stem: [&'static str; 2],
    block: &'static str,
    conv: &'static str,
    norm: &'static str,
    shortcut: [&'static str; 2],
    linear: &'static str,
}

/// torchvision's, of which the others differ.
const COMMON: Names = Names {
    stem: ["conv1", "bn1"],
    block: "layer{stage1}.{block0}",
    conv: "conv{layer1}",
    norm: "bn{layer1}",
    shortcut: ["downsample.0", "downsample.1"],
    linear: "fc",
};

const ALL: &[Names] = &[
    COMMON,
    // `Sequential(*list(model.children()))`, and the same in a larger network.
    Names { stem: ["0", "1"], block: "{stage4}.{block0}", linear: "9", ..COMMON },
    Names { stem: ["features.0", "features.1"], block: "features.{stage4}.{block0}", ..COMMON },
    // fastai's XResNet, behind a body.
    Names {
        stem: ["0.0.0", "0.0.1"],
        block: "0.{stage4}.{block0}",
        conv: "convpath.{layer0}.0",
        norm: "convpath.{layer0}.1",
        shortcut: ["idpath.0.0", "idpath.0.1"],
        linear: "1.8",
    },
    // weiaicunzai/pytorch-cifar100.
    Names {
        stem: ["conv1.0", "conv1.1"],
        block: "conv{stage2}_x.{block0}",
        conv: "residual_function.{conv}",
        norm: "residual_function.{norm}",
        shortcut: ["shortcut.0", "shortcut.1"],
        linear: "fc",
    },
    // hysts/pytorch_image_classification.
    Names {
        stem: ["feature_extractor.conv", "feature_extractor.bn"],
        block: "feature_extractor.stage{stage1}.block{block1}",
        shortcut: ["shortcut.conv", "shortcut.bn"],
        ..COMMON
    },
    // detectron2.
    Names {
        stem: ["backbone.stem.conv1", "backbone.stem.conv1.norm"],
        block: "backbone.res{stage2}.{block0}",
        conv: "conv{layer1}",
        norm: "conv{layer1}.norm",
        shortcut: ["shortcut", "shortcut.norm"],
        linear: "backbone.linear",
    },
    // mmpretrain.
    Names {
        stem: ["backbone.conv1", "backbone.bn1"],
        block: "backbone.layer{stage1}.{block0}",
        linear: "head.fc",
        ..COMMON
    },
    // pytorchcv.
    Names {
        stem: ["features.init_block.conv.conv", "features.init_block.conv.bn"],
        block: "features.stage{stage1}.unit{block1}",
        conv: "body.conv{layer1}.conv",
        norm: "body.conv{layer1}.bn",
        shortcut: ["identity_conv.conv", "identity_conv.bn"],
        linear: "output",
    },
    // Courses: lists of lists, `left` and `right`, letters, words.
    Names {
        stem: ["conv.0", "conv.1"],
        block: "stages.{stage0}.{block0}",
        conv: "left.{conv}",
        norm: "left.{norm}",
        shortcut: ["right.0", "right.1"],
        linear: "classifier",
    },
    Names {
        stem: ["conv", "batch_norm"],
        block: "layers.{stage0}.blocks.{block0}",
        conv: "conv_{layer1}",
        norm: "batch_norm{layer1}",
        shortcut: ["i_downsample.0", "i_downsample.1"],
        linear: "head",
    },
    Names {
        block: "group{stage0}.block{block0}",
        conv: "conv{layer0}",
        norm: "bn{layer0}",
        shortcut: ["identity_downsample.0", "identity_downsample.1"],
        ..COMMON
    },
    // Blocks that are numbered through.
    Names { block: "blocks.{flat}", ..COMMON },
    Names { block: "res_block{flat}", shortcut: ["skip.0", "skip.1"], ..COMMON },
];

fn fill(template: &str, numbers: [usize; 4]) -> String {
    let [stage, block, flat, layer] = numbers;
    let mut name = template.replace("{flat}", &flat.to_string());
    name = name.replace("{conv}", &(3 * layer).to_string());
    name = name.replace("{norm}", &(3 * layer + 1).to_string());
    for (word, number) in [("stage", stage), ("block", block), ("layer", layer)] {
        for begin in 0..5 {
            name = name.replace(&format!("{{{word}{begin}}}"), &(number + begin).to_string());
        }
    }
    name
}

impl Names {
    /// The new name of a module of the golden network `cifar-b`, whose stages have two blocks each.
    fn of(&self, module: &str) -> String {
        let parts: Vec<&str> = module.split('.').collect();
        let number = |part: &str| part[part.len() - 1..].parse::<usize>().unwrap();
        match *parts {
            ["conv1"] => self.stem[0].to_owned(),
            ["bn1"] => self.stem[1].to_owned(),
            ["linear"] => self.linear.to_owned(),
            [stage, block, ref inner @ ..] => {
                let (stage, block) = (number(stage) - 1, number(block));
                let template = match *inner {
                    ["shortcut", index] => self.shortcut[number(index)],
                    [conv] if conv.starts_with("conv") => self.conv,
                    [_] => self.norm,
                    _ => panic!("{module}"),
                };
                let layer = if inner.len() == 1 { number(inner[0]) - 1 } else { 0 };
                let numbers = [stage, block, 2 * stage + block, layer];
                format!("{}.{}", fill(self.block, numbers), fill(template, numbers))
            }
            _ => panic!("{module}"),
        }
    }
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/import").join(name)
}

/// The file `cifar-b`, with names that `rename` makes of its modules'.
fn renamed(rename: impl Fn(&str) -> String) -> Vec<u8> {
    renamed_of("cifar-b.safetensors", rename)
}

fn renamed_of(name: &str, rename: impl Fn(&str) -> String) -> Vec<u8> {
    let bytes = std::fs::read(file(name)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let tensors = tensors.into_iter().map(|(name, view)| {
        let (module, part) = name.rsplit_once('.').unwrap();
        (format!("{}.{part}", rename(module)), view)
    });
    serialize(tensors, None).unwrap()
}

#[test]
fn every_dialect_answers_alike() {
    let golden = file("cifar-b.safetensors");
    let (input, output) = (array(&golden, "input.npy"), array(&golden, "output.npy"));
    for names in ALL {
        let bytes = renamed(|module| names.of(module));
        let imported = import_bytes(bytes, "renamed", &Options::default());
        let imported = imported.unwrap_or_else(|error| panic!("{}: {error}", names.block));
        run(&imported, &input, &output);
        let said = imported.said().join("\n");
        contains(
            &said,
            &[
                "the stem's stride is 1, its padding 1 (`--stem-stride`)",
                "the mean over all pixels",
            ],
        );
    }
}

/// A file of f32 tensors of one value.
fn constant(tensors: &[(String, Vec<usize>)]) -> Vec<u8> {
    let bytes = 0.5_f32.to_le_bytes().repeat(1 << 14);
    let views = tensors.iter().map(|(name, shape)| {
        let length = shape.iter().product::<usize>() * 4;
        let view = TensorView::new(Dtype::F32, shape.clone(), &bytes[..length]);
        (name.clone(), view.unwrap())
    });
    serialize(views, None).unwrap()
}

fn norm(tensors: &mut Vec<(String, Vec<usize>)>, module: &str, channels: usize) {
    for part in ["weight", "bias", "running_mean", "running_var"] {
        tensors.push((format!("{module}.{part}"), vec![channels]));
    }
}

/// A stem, and a stage of one bottleneck of four channels under a block's name.
fn bottleneck(
    stem: [&str; 2],
    kernel: usize,
    block: &str,
    suffixes: [&str; 2],
) -> Vec<(String, Vec<usize>)> {
    let mut tensors = vec![(format!("{}.weight", stem[0]), vec![4, 3, kernel, kernel])];
    norm(&mut tensors, stem[1], 4);
    for (number, kernel) in [(1, 1), (2, 3), (3, 1)] {
        let [conv, bn] = suffixes;
        tensors.push((format!("{block}.conv{number}{conv}.weight"), vec![4, 4, kernel, kernel]));
        let inner = if bn.is_empty() { format!("bn{number}") } else { format!("conv{number}{bn}") };
        norm(&mut tensors, &format!("{block}.{inner}"), 4);
    }
    tensors
}

fn read(tensors: &[(String, Vec<usize>)], options: &Options) -> Result<Imported, String> {
    import_bytes(constant(tensors), "x", options).map_err(|error| error.to_string())
}

/// timm's network by the names of torchvision's class.
#[test]
fn regnets_of_torchvision() {
    let of = |module: &str| -> String {
        let inner = |inner: &str| -> String {
            let words = [
                ("conv1.conv", "f.a.0"),
                ("conv1.bn", "f.a.1"),
                ("conv2.conv", "f.b.0"),
                ("conv2.bn", "f.b.1"),
                ("se.fc1", "f.se.fc1"),
                ("se.fc2", "f.se.fc2"),
                ("conv3.conv", "f.c.0"),
                ("conv3.bn", "f.c.1"),
                ("downsample.conv", "proj.0"),
                ("downsample.bn", "proj.1"),
            ];
            words.iter().find(|(timm, _)| *timm == inner).unwrap().1.to_owned()
        };
        match module {
            "stem.conv" => "stem.0".to_owned(),
            "stem.bn" => "stem.1".to_owned(),
            "head.fc" => "fc".to_owned(),
            module => {
                let (stage, rest) = module[1..].split_once(".b").unwrap();
                let (block, rest) = rest.split_once('.').unwrap();
                let block = block.parse::<usize>().unwrap() - 1;
                format!("trunk_output.block{stage}.block{stage}-{block}.{}", inner(rest))
            }
        }
    };
    let options = Options { input: Some((37, 33)), ..Options::default() };
    let golden = file("regnet-y.safetensors");
    let imported = import_bytes(renamed_of("regnet-y.safetensors", of), "x", &options).unwrap();
    run(&imported, &array(&golden, "input.npy"), &array(&golden, "output.npy"));
}

#[test]
fn names_tell_whose_network_it_is() {
    let mut regnet = bottleneck(["stem.conv", "stem.bn"], 3, "s1.b1", [".conv", ".bn"]);
    regnet.push(("s1.b1.downsample.conv.weight".to_owned(), vec![4, 4, 1, 1]));
    norm(&mut regnet, "s1.b1.downsample.bn", 4);
    let imported = read(&regnet, &Options::default()).unwrap();
    contains(&imported.table, &["input: 3x224x224", "kernel: 3, ", "width: 4"]);
    assert_eq!(imported.table.matches("stride: 2").count(), 2, "{}", imported.table);
    assert!(!imported.table.contains("op: max_pool"), "{}", imported.table);

    let mut senet = bottleneck(["layer0.conv1", "layer0.bn1"], 7, "layer1.0", ["", ""]);
    for layer in ["fc1", "fc2"] {
        senet.push((format!("layer1.0.se_module.{layer}.weight"), vec![4, 4, 1, 1]));
        senet.push((format!("layer1.0.se_module.{layer}.bias"), vec![4]));
    }
    let options = Options { strides: vec![2], ..Options::default() };
    let imported = read(&senet, &options).unwrap();
    contains(&imported.table, &["padding: {bottom: 1, right: 1}", "stride_on: 1x1"]);
    contains(&imported.table, &["squeeze_excitation: {channels: 4}", "--stride-on 3x3"]);
    let options = Options { pool: Some(StemPool::Max), ..Options::default() };
    assert!(!read(&senet, &options).unwrap().table.contains("bottom"));
}

/// Of the chunks of Res2Net's blocks, tensors show all but where dilation has the place of a stride.
#[test]
fn chunks_are_read_and_counted() {
    let golden = file("../res2net.safetensors");
    let options = Options {
        input: Some((49, 43)),
        strides: vec![1, 2, 2, 1],
        dilations: vec![1, 1, 1, 2],
        ..Options::default()
    };
    let imported = import(&golden, &options).unwrap();
    contains(&imported.table, &["width: 6,", "width: 9,", "scale: 3"]);
    assert!(!imported.said().join("\n").contains("--stride-on"), "{:?}", imported.said());
    run(&imported, &array(&golden, "input.npy"), &array(&golden, "output.npy"));

    let bytes = std::fs::read(&golden).unwrap();
    let without = |parts: &[&str]| {
        let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
        let kept = tensors.into_iter();
        let kept = kept.filter(|(name, _)| !parts.iter().any(|part| name.starts_with(part)));
        import_bytes(serialize(kept, None).unwrap(), "x", &options).unwrap_err().to_string()
    };
    contains(
        &without(&["layer1.1.convs.1.", "layer1.1.bns.1."]),
        &["`layer1.1.conv1` makes 18 channels", "1 chunks of 6 channels with convolutions"],
    );
    contains(&without(&["layer2.0.bns.1."]), &["`layer2.0.convs` and `layer2.0.bns` are not"]);
    contains(&without(&["layer2.0.conv1.", "layer2.0.bn1."]), &["between 1 others"]);
}

#[test]
fn what_is_not_understood_is_shown() {
    let odd = bottleneck(["conv1", "bn1"], 3, "tower.floor1.room", ["", ""]);
    let error = read(&odd, &Options::default()).unwrap_err();
    contains(&error, &["no residual blocks", "found `tower.floor1.room.conv1`"]);
    let common = || bottleneck(["conv1", "bn1"], 3, "layer1.0", ["", ""]);
    for (name, shape, expected) in [
        ("attnpool.q_proj.bias", vec![4], "no place for `attnpool.q_proj.bias`: CLIP's pool"),
        ("token", vec![1, 4], "no place for `token` in a network"),
        ("layer1.0.bns.0.scale", vec![4], "`layer1.0.bns.0` is no part of a basic or bottleneck"),
        ("other.layer1.0.conv1.weight", vec![4, 4, 1, 1], "several networks"),
        ("layer1.0.downsample.0.weight", vec![4, 4, 2, 2], "is a projection of 2x2"),
    ] {
        let mut tensors = common();
        tensors.push((name.to_owned(), shape));
        let error = read(&tensors, &Options::default()).unwrap_err();
        contains(&error, &[expected]);
        assert!(!error.contains("0 more") && !error.contains("``"), "{error}");
    }
    let volume = vec![("conv1.weight".to_owned(), vec![4, 1, 3, 3, 3])];
    contains(&read(&volume, &Options::default()).unwrap_err(), &["`conv1` has five dimensions"]);
    let mut chain = common();
    chain.push(("fc.0.weight".to_owned(), vec![8, 4]));
    chain.push(("fc.1.weight".to_owned(), vec![2, 8]));
    let error = read(&chain, &Options::default()).unwrap_err();
    contains(&error, &["`fc.0` and `fc.1` are both linear layers"]);
}

/// What tables have and names tell, or what an option says.
#[test]
fn rows_have_what_tensors_and_options_say() {
    let mut tensors = bottleneck(["conv1", "bn1"], 3, "layer1.0", ["", ""]);
    tensors.push(("layer1.0.downsample.0.weight".to_owned(), vec![4, 4, 3, 3]));
    norm(&mut tensors, "layer1.0.downsample.1", 4);
    tensors.push(("fc.0.weight".to_owned(), vec![8, 4]));
    tensors.push(("fc.3.weight".to_owned(), vec![2, 8]));
    let imported = read(&tensors, &Options::default()).unwrap();
    contains(&imported.table, &["projection_kernel: 3", "activation: relu, weights: fc.0"]);
    contains(&imported.table, &["assumed: a ReLU stands between `fc.0` and `fc.3`"]);

    let options = Options {
        shortcut: Some(Shortcut::PoolZeroPad),
        zero_channels: Some(ZeroChannels::After),
        stride_on: Some(StrideOn::Second),
        ..Options::default()
    };
    let table = import(file("cifar-a.pth"), &options).unwrap().table;
    contains(&table, &["shortcut: pool_zero_pad", "zero_channels: after", "stride_on: second"]);
    let options = Options { shortcut_from: Some(ShortcutFrom::Input), ..Options::default() };
    contains(&import(file("cifar-wide.pth"), &options).unwrap().table, &["shortcut_from: input"]);
    let error = import(file("cifar-a.pth"), &options).unwrap_err().to_string();
    contains(&error, &["`--shortcut-from` is for projections"]);
    let options = Options { zero_channels: Some(ZeroChannels::After), ..Options::default() };
    let error = import(file("cifar-b.safetensors"), &options).unwrap_err().to_string();
    contains(&error, &["`--zero-channels` is for shortcuts that add channels of zeros"]);
}

/// Eight bytes with the length of a header begin a safetensors file, and two with a protocol a pickle.
#[test]
fn a_header_may_have_any_length() {
    let bytes = std::fs::read(file("cifar-b.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let longer = (length & !0xffff) + 0x1_0380;
    let mut padded = (longer as u64).to_le_bytes().to_vec();
    padded.extend(&bytes[8..8 + length]);
    padded.resize(8 + longer, b' ');
    padded.extend(&bytes[8 + length..]);
    assert_eq!(padded[..2], [0x80, 3]);
    let table = |bytes| import_bytes(bytes, "x", &Options::default()).unwrap().table;
    assert_eq!(table(padded), table(bytes));
}

#[test]
fn weights_that_are_made_of_others_are_refused_with_the_remedy() {
    let common = bottleneck(["conv1", "bn1"], 4, "layer1.0", ["", ""]);
    let instead = |parts: &[&str]| {
        let mut tensors = common.clone();
        let at = tensors.iter().position(|(name, _)| name == "layer1.0.conv2.weight").unwrap();
        let (_, shape) = tensors.remove(at);
        tensors.extend(parts.iter().map(|part| (format!("layer1.0.conv2.{part}"), shape.clone())));
        read(&tensors, &Options::default()).unwrap_err()
    };
    for (parts, what, remedy) in [
        (["weight_orig", "weight_mask"], "pruned by a mask", "prune.remove("),
        (["weight_g", "weight_v"], "normalised", "remove_weight_norm("),
        (["weight_orig", "weight_u"], "divided by its spectral norm", "remove_spectral_norm("),
        (
            ["parametrizations.weight.original0", "parametrizations.weight.original1"],
            "parametrised",
            "remove_parametrizations(",
        ),
    ] {
        contains(&instead(&parts), &["weight of `layer1.0.conv2` is", what, remedy]);
    }
    let groups = Options { norm_groups: Some(3), ..Options::default() };
    let statistics = |name: &str| name.ends_with("running_mean") || name.ends_with("running_var");
    let grouped: Vec<_> = common.into_iter().filter(|(name, _)| !statistics(name)).collect();
    let error = read(&grouped, &groups).unwrap_err();
    contains(&error, &["3 groups do not divide 4 channels", "`--norm-group-size C`"]);
}

#[test]
fn a_stem_that_is_missing_shows_in_the_channels() {
    let mut tensors = bottleneck(["conv1", "bn1"], 3, "layer1.0", ["", ""]);
    let said = |tensors: &[_]| read(tensors, &Options::default()).unwrap().said().join("\n");
    assert!(!said(&tensors).contains("pictures have"));
    tensors.retain(|(name, _)| !name.starts_with("conv1.") && !name.starts_with("bn1."));
    contains(&said(&tensors), &["pictures have 4 channels, as `layer1.0.conv1` reads them"]);
}

#[test]
fn options_that_cannot_be_are_named() {
    let common = bottleneck(["conv1", "bn1"], 3, "layer1.0", ["", ""]);
    let default = Options::default;
    for (options, expected) in [
        (
            Options { norm_groups: Some(4), ..default() },
            "`--norm-groups` and `--norm-group-size` are for",
        ),
        (
            Options { mean: vec![0.5; 2], ..default() },
            "`--mean` has 2 numbers, and pictures have 3 channels",
        ),
        (Options { resize: Some(10), ..default() }, "no table can have `preprocess: {resize: 10,"),
        (
            Options { input: Some((1 << 20, 1 << 20)), ..default() },
            "no table can have `input: 3x1048576x",
        ),
        (
            Options { prefix: Some("x".to_owned()), ..default() },
            "no tensor's name begins with `x.`:\n  without `--prefix`: 20 tensors",
        ),
    ] {
        contains(&read(&common, &options).unwrap_err(), &[expected]);
    }
}

#[test]
fn a_convolution_in_the_place_of_the_stem_s_pool_has_no_filter_beside_it() {
    let mut tensors = bottleneck(["conv1", "bn1"], 7, "layer1.0", ["", ""]);
    tensors.push(("maxpool.0.weight".to_owned(), vec![4, 4, 3, 3]));
    norm(&mut tensors, "maxpool.1", 4);
    let table = read(&tensors, &Options::default()).unwrap().table;
    contains(&table, &["weights: maxpool.0, norm_weights: maxpool.1"]);
    let blurred = Options { anti_alias: Some(AntiAlias::Blur), ..Options::default() };
    contains(
        &read(&tensors, &blurred).unwrap_err(),
        &["`maxpool.0` is a convolution in the place"],
    );
}

#[test]
fn assumptions_have_options() {
    let common = bottleneck(["conv1", "bn1"], 4, "layer1.0", ["", ""]);
    let patches = read(&common, &Options::default()).unwrap();
    contains(&patches.table, &["kernel: 4, channels: 4, stride: 4, padding: 0"]);
    contains(
        &patches.said().join("\n"),
        &["assumed: the stem's stride is 4, its padding 0 (else `--stem-stride 1`)"],
    );
    let options = Options {
        stem_stride: Some(2),
        dilations: vec![3],
        global_pool: Some(resnet_import::GlobalPool::Max),
        input: Some((8, 10)),
        ..Options::default()
    };
    let imported = read(&common, &options).unwrap();
    let said = imported.said().join("\n");
    contains(&said, &["where dilation grows the first 3x3 convolution has the one before"]);
    let table = imported.table;
    contains(&table, &["stride: 2", "dilation: 3", "op: max_pool"]);
    contains(&table, &["kernel: 5x6"]);
    let options = Options {
        activation: Some(Activation::Silu),
        weight_standardization: Some(1e-8),
        pool: Some(StemPool::Zeros),
        input: Some((8, 10)),
        ..Options::default()
    };
    let imported = read(&common, &options).unwrap();
    contains(&imported.table, &["activation: silu", "weight_standardization: {epsilon: 1e-8}"]);
    contains(&imported.table, &["count_padding: true"]);
    assert!(!imported.said().join("\n").contains("ReLU"), "{:?}", imported.said());
    let options = Options { dilations: vec![1, 2], ..Options::default() };
    contains(&read(&common, &options).unwrap_err(), &["2 dilations were given for 1 stages"]);
    // A dilated backbone's strides say that something else has to be known.
    let options = Options { strides: vec![1, 2, 1], ..Options::default() };
    let said = import(file("cifar-b.safetensors"), &options).unwrap().said().join("\n");
    contains(&said, &["assumed: no dilation (else `--dilations 1,1,2`)"]);
}

#[test]
fn a_normalising_layer_is_how_pictures_are_prepared() {
    let bytes = renamed(|module| format!("model.{module}"));
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let [mean, std] = [[123.675_f32, 116.28, 103.53], [58.395, 57.12, 57.375]]
        .map(|numbers| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>());
    let view = |bytes| TensorView::new(Dtype::F32, vec![1, 3, 1, 1], bytes).unwrap();
    let buffers = [("mean".to_owned(), view(&mean)), ("std".to_owned(), view(&std))];
    let bytes = serialize(tensors.into_iter().chain(buffers), None).unwrap();
    let imported = import_bytes(bytes, "x", &Options::default()).unwrap();
    contains(&imported.table, &["mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]"]);
    contains(
        &imported.said().join("\n"),
        &["`mean` and `std` are how the table prepares pictures"],
    );
}

#[test]
fn means_of_bytes_are_divided() {
    let options = Options {
        mean: vec![123.675, 116.28, 103.53],
        std: vec![58.395, 57.12, 57.375],
        ..Options::default()
    };
    let imported = import(file("cifar-b.safetensors"), &options).unwrap();
    contains(&imported.table, &["mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]"]);
    contains(&imported.said().join("\n"), &["divided by 255"]);
    for (mean, std, expected) in [
        (0.5, 127.5, "(`--std`) of values from 0 to 255"),
        (123.7, 0.229, "(`--std`) of values from 0 to 1"),
    ] {
        let options = Options { mean: vec![mean], std: vec![std], ..Options::default() };
        let error = import(file("cifar-b.safetensors"), &options).unwrap_err().to_string();
        contains(&error, &[expected]);
    }
}
