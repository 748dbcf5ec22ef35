//! What may come from strangers, a function for each kind: it must neither panic nor take memory or
//! time without a bound, whatever the bytes are. An error is a fine answer.
//!
//! libFuzzer drives them through `fuzz_targets/` (`cargo +nightly fuzz run table --features libfuzzer`); on any
//! toolchain `tests/corpus.rs` replays the seeds of `corpus/` with some mutations of each.

use std::sync::LazyLock;

use proc_macro2::TokenStream;
use resnet_compiler::graph::Graph;
use resnet_compiler::network::{Backend, Compiled, Compiler};
use resnet_compiler::schedule::Choices;
use resnet_compiler::spec::Spec;
use resnet_runtime::picture::{Image, Preprocess, Resize};
use resnet_runtime::weights::Weights;

/// A function that bytes are given to.
pub type Target = fn(&[u8]);

/// Every target, under the name of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("table", table),
    ("inline", inline),
    ("checkpoint", checkpoint),
    ("weights", weights),
    ("schedule", schedule),
    ("image", image),
];

/// A table of a network that is compiled in no time: files of weights and schedules are tried on it.
const SMALL: &str = "
name: small
input: 3x16x16
table:
  - {layer: conv1, op: conv, kernel: 3, channels: 16}
  - {layer: conv2_x, op: basic, channels: 16}
  - {layer: avgpool, op: global_average_pool}
  - {layer: fc, op: linear, channels: 4}
";

static SMALL_NETWORK: LazyLock<Compiled> = LazyLock::new(|| {
    let spec = Spec::from_yaml(SMALL).expect("the table is fine");
    interpreted(&spec).compile().expect("the table is fine")
});

fn interpreted(spec: &Spec) -> Compiler<'_> {
    Compiler::new(spec).backend(Backend::Interpret)
}

/// A layer table in YAML; what it makes is planned and verified if it is small.
pub fn table(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let spec = match Spec::from_yaml(text) {
        Ok(spec) => spec,
        Err(error) => return drop(error.to_string()),
    };
    match Graph::build(&spec) {
        Ok(graph) if is_small(&graph) => drop(interpreted(&spec).compile()),
        Ok(_) => {}
        Err(error) => drop(error.to_string()),
    }
}

/// Small enough for a fuzzer's patience; large ones are legal, and take their time.
fn is_small(graph: &Graph) -> bool {
    let elements = |sum: usize, node: usize| sum.saturating_add(node);
    graph.nodes.len() < 200
        && graph.nodes.iter().map(|node| node.shape.elements()).fold(0, elements) < 1 << 22
        && graph.tensors.iter().map(|t| t.shape.iter().product()).fold(0, elements) < 1 << 22
}

/// The tokens of a call of `resnet!`. They may name files, so that only calls whose table stands in
/// the code are tried.
pub fn inline(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if text.contains(['"', '/']) {
        return;
    }
    if let Ok(tokens) = text.parse::<TokenStream>() {
        let krate: TokenStream = "[resnet]".parse().expect("these are tokens");
        let call = krate.into_iter().chain(tokens).collect();
        drop(resnet_compiler::expand::expand(call, &std::env::temp_dir()));
    }
}

/// A checkpoint of any format, or an ONNX file.
pub fn checkpoint(bytes: &[u8]) {
    let options = resnet_import::Options::default();
    match resnet_import::import_bytes(bytes.to_vec(), "file", &options) {
        Ok(imported) => drop(imported.write_weights(&mut std::io::sink())),
        Err(error) => drop(error.to_string()),
    }
}

/// A safetensors file or a file of packed weights.
pub fn weights(bytes: &[u8]) {
    match Weights::from_bytes(bytes.to_vec()) {
        Ok(weights) => drop(SMALL_NETWORK.load(&weights)),
        Err(error) => drop(error.to_string()),
    }
}

/// A schedule that `resnet tune` has written.
pub fn schedule(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<Choices>() {
        Ok(choices) => {
            let plan = SMALL_NETWORK.plan();
            let checked =
                choices.check(&plan.info.name, plan.weights.table, SMALL_NETWORK.wishes());
            drop(checked.map_err(|error| error.to_string()));
        }
        Err(error) => drop(error.to_string()),
    }
}

/// An image of any format that is decoded.
pub fn image(bytes: &[u8]) {
    if let Ok(picture) = Image::decode(bytes) {
        let (resize, crop) = (Some(Resize::Exact(5, 7)), Some((4, 4)));
        let preprocess = Preprocess { resize, crop, ..Preprocess::default() };
        drop(preprocess.apply(&picture, [3, 4, 4]));
    }
    drop(Image::salvage(bytes));
}
