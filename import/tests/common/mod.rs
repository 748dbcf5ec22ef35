//! What the tests of all formats share.
#![allow(dead_code, reason = "not every test takes all of it")]

use std::path::Path;

use resnet_compiler::network::{Backend, Compiler, Options};
use resnet_compiler::spec::Spec;
use resnet_import::Imported;
use resnet_runtime::weights::Weights;

/// Of the largest output: what `f32` arithmetic in another order may differ by.
const TOLERANCE: f32 = 1e-4;

/// The weights as `resnet import` writes them.
pub(crate) fn weights(imported: &Imported) -> Weights {
    let mut bytes = Vec::new();
    imported.write_weights(&mut bytes).unwrap();
    Weights::from_bytes(bytes).unwrap()
}

/// The values of a `.npy` file of f32 beside another file.
pub(crate) fn array(beside: &Path, kind: &str) -> Vec<f32> {
    let bytes = std::fs::read(beside.with_extension(kind)).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"));
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[start..].as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect()
}

/// Runs a network and compares.
pub(crate) fn run(imported: &Imported, input: &[f32], expected: &[f32]) {
    let Imported { name, table, .. } = imported;
    let spec = Spec::from_yaml(table).unwrap_or_else(|error| panic!("{name}: {error}"));
    let options = Options { backend: Backend::Interpret, ..Default::default() };
    let compiled = Compiler::new(&spec)
        .options(options)
        .compile()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let network = compiled.load(&weights(imported)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut output = vec![f32::NAN; expected.len()];
    network.session().run_batch(input, &mut output).unwrap();
    let largest = expected.iter().fold(0.0, |max: f32, value| max.max(value.abs()));
    for (found, expected) in output.iter().zip(expected) {
        let difference = (found - expected).abs();
        assert!(difference <= TOLERANCE * largest, "{name}: {found}, expected {expected}\n{table}");
    }
}

#[track_caller]
pub(crate) fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}
