//! Networks in `bf16`: what they are stored as, where that is kept, and what is refused.

use std::num::NonZeroUsize;
use std::sync::Arc;

use resnet::{Choices, CompileError, Compiler, PlanError, Precision, Spec, Weights};
use resnet_compiler::plan::Levels;
use resnet_runtime::kernels::Element;

const TABLE: &str = "
name: net
input: 3x32x32
table:
  - {layer: conv1, op: conv, kernel: 3, channels: 16}
  - {layer: conv2_x, op: bottleneck, repeat: 2, channels: 64, squeeze_excitation: {reduction: 4}}
  - {layer: conv3_x, op: basic, repeat: 2, channels: 48, stride: 2}
  - {layer: avgpool, op: global_average_pool}
  - {layer: fc, op: linear, channels: 10}
";

fn answer(spec: &Spec, weights: &Weights, precision: Option<Precision>) -> Vec<f32> {
    let mut compiler = Compiler::new(spec).weights(weights);
    if let Some(precision) = precision {
        compiler = compiler.precision(precision);
    }
    let network = compiler.compile().unwrap().load(weights).unwrap();
    let picture: Vec<f32> =
        (0..3 * 32 * 32).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
    network.session().run(&picture).unwrap().to_vec()
}

fn random(spec: &Spec) -> Weights {
    Weights::random(Compiler::new(spec).compile().unwrap().tensors(), 7)
}

#[test]
fn activations_between_picture_and_mean_take_two_bytes() {
    let spec = Spec::from_yaml(TABLE).unwrap();
    let compiler = Compiler::new(&spec).precision(Precision::Bf16);
    let (_, plan, Levels { fused, schedules }) = compiler.levels().unwrap();
    let element = |name: &str| {
        let (id, _) = fused.iter().find(|(_, node)| node.name == name).unwrap();
        schedules[0].buffer(id).element
    };
    for name in ["conv1", "conv2_x.0.conv1", "conv2_x.0.conv2", "conv3_x.1.conv2"] {
        assert_eq!(element(name), Element::Bf16, "{name}");
    }
    for name in ["input", "avgpool", "fc"] {
        assert_eq!(element(name), Element::F32, "{name}");
    }
    assert!(fused.iter().all(|(_, node)| !node.name.ends_with("narrow")), "a pass of its own");
    let single = Compiler::new(&spec).plan().unwrap();
    assert!(plan.info.arena_bytes * 10 < single.info.arena_bytes * 9);
    assert!(plan.weights.bytes < single.weights.bytes);
}

#[test]
fn packed_weights_and_saved_choices_keep_their_precision() {
    let spec = Spec::from_yaml(TABLE).unwrap();
    let weights = random(&spec);
    let [single, half] =
        [Precision::F32, Precision::Bf16].map(|precision| answer(&spec, &weights, Some(precision)));
    assert_ne!(single, half);
    assert_eq!(answer(&spec, &weights, None), single, "f32, where nobody says anything");

    let plan = Compiler::new(&spec).precision(Precision::Bf16).plan().unwrap();
    let mut file = Vec::new();
    plan.pack(&weights, NonZeroUsize::MIN, "--precision bf16", &mut file).unwrap();
    let packed = Weights::from_bytes(file).unwrap();
    assert_eq!(answer(&spec, &packed, None), half);
    assert_eq!(answer(&spec, &packed, Some(Precision::Bf16)), half);
    let single = Compiler::new(&spec).precision(Precision::F32).weights(&packed).compile().unwrap();
    let error = single.load(&packed).err().unwrap().to_string();
    assert!(error.contains("bf16"), "{error}");

    let text = plan.choices.to_string();
    assert!(text.contains("\nprecision bf16\n"), "{text}");
    let choices: Arc<Choices> = Arc::new(text.parse().unwrap());
    assert_eq!(*choices, plan.choices);
    let compiled = Compiler::new(&spec).choices(choices.clone()).compile().unwrap();
    assert_eq!(compiled.wishes().precision, Precision::Bf16);
    let error = Compiler::new(&spec).choices(choices).precision(Precision::F32).compile().err();
    assert!(error.unwrap().to_string().contains("the schedule is for bf16, and f32 is asked for"));
}

#[test]
fn quantised_weights_are_not_computed_in_bf16() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("tests/int8/basic.yaml")).unwrap();
    let weights = Weights::open(root.join("tests/int8/basic.safetensors")).unwrap();
    let spec = Spec::from_yaml(&table).unwrap();
    let compiler = Compiler::new(&spec).weights(&weights).precision(Precision::Bf16);
    let error = compiler.compile().err().unwrap();
    assert!(matches!(error, CompileError::Plan(PlanError::Precision { layers }) if layers > 1));
}
