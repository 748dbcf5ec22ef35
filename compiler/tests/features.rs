//! What operators in the middle of a network make, asked for as its answer.

use resnet_compiler::network::{Backend, CompileError, Compiler};
use resnet_compiler::spec::Spec;
use resnet_runtime::weights::Weights;

/// Blocks with a shortcut that is padded and with one that is projected, and a head.
const TABLE: &str = "
name: small
input: 3x12x12
table:
  - {layer: conv1, op: conv, kernel: 3, channels: 16}
  - {layer: conv2_x, op: basic, channels: 24, stride: 2, shortcut: zero_pad}
  - {layer: conv3_x, op: bottleneck, channels: 32}
  - {layer: avgpool, op: global_average_pool}
  - {layer: fc, op: linear, channels: 4}
";

#[test]
fn every_operator_with_an_output_can_be_asked_for() {
    let spec = Spec::from_yaml(TABLE).unwrap();
    let whole = Compiler::new(&spec).compile().unwrap();
    let weights = Weights::random(whole.tensors(), 1);
    let picture: Vec<f32> = (0..3 * 12 * 12).map(|i| (i % 17) as f32 / 17.0 - 0.5).collect();
    let run = |compiler: Compiler<'_>| {
        let compiled = compiler.compile().unwrap();
        let network = compiled.load(&weights).unwrap();
        (network.session().run(&picture).unwrap().to_vec(), compiled.info().clone())
    };
    let (answer, _) = run(Compiler::new(&spec));
    let mut asked = 0;
    for (_, node) in whole.graph().operators() {
        let of = |backend| run(Compiler::new(&spec).features_of(&node.name).backend(backend));
        let ((found, info), (expected, _)) = (of(Backend::Interpret), of(Backend::Reference));
        let feature = &info.features[0];
        assert_eq!((&*feature.name, feature.len()), (&*node.name, node.shape.elements()));
        for (found, expected) in feature.of(&found).iter().zip(feature.of(&expected)) {
            assert!((found - expected).abs() < 1e-4, "{}: {found} {expected}", node.name);
        }
        // Behind it is the network's answer; what is computed together may be less, and the last digits others.
        for (found, answer) in found.iter().rev().zip(answer.iter().rev()) {
            assert!((found - answer).abs() < 1e-4, "{}: {found} {answer}", node.name);
        }
        asked += 1;
    }
    assert!(asked > 10, "{asked}");
    for none in ["conv9", "conv1.bn", "input"] {
        let error = Compiler::new(&spec).features_of(none).compile().err();
        assert!(matches!(error, Some(CompileError::Operator { .. })), "{none}");
    }
}
