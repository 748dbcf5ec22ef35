//! A budget for memory takes leaner algorithms, and no more of them than it needs.

use resnet::{Backend, Compiler, Options, PlanError, Spec, Weights};
use resnet_compiler::graph::Graph;
use resnet_compiler::plan::Plan;
use resnet_compiler::schedule::Wishes;

const TABLE: &str = "
name: net
input: 3x32x32
table:
  - {layer: conv1, op: conv, kernel: 3, channels: 16}
  - {layer: conv2_x, op: basic, repeat: 2, channels: 64}
  - {layer: avgpool, op: global_average_pool}
  - {layer: fc, op: linear, channels: 10}
";

/// Bytes that the plan for a budget needs.
fn needs(graph: &Graph, memory: Option<usize>, batch: usize) -> Result<usize, PlanError> {
    let wishes = Wishes { batch, memory, ..Wishes::default() };
    let (_, levels) = Plan::with_levels(graph, &wishes)?;
    Ok(levels.schedules[0].run_bytes(&levels.fused))
}

#[test]
fn plans_keep_to_their_budget_down_to_the_leanest() {
    let graph = Graph::build(&Spec::from_yaml(TABLE).unwrap()).unwrap();
    for batch in [1, 3] {
        let fastest = needs(&graph, None, batch).unwrap();
        assert_eq!(needs(&graph, Some(fastest), batch).unwrap(), fastest);
        let mut found = Vec::new();
        let mut budget = fastest - 1;
        let least = loop {
            match needs(&graph, Some(budget), batch) {
                Ok(bytes) => {
                    assert!(bytes <= budget, "{bytes} of {budget}");
                    found.push(bytes);
                    budget = bytes - 1;
                }
                Err(PlanError::Memory { memory, least }) => {
                    assert_eq!(memory, budget);
                    break least;
                }
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(found.last(), Some(&least));
        assert!(found.len() > 2, "one layer after the other: {found:?}");
    }
}

#[test]
fn a_lean_network_answers_as_the_reference_does() {
    let spec = Spec::from_yaml(TABLE).unwrap();
    let graph = Graph::build(&spec).unwrap();
    let least = match needs(&graph, Some(0), 2).unwrap_err() {
        PlanError::Memory { least, .. } => least,
        error => panic!("{error}"),
    };
    let fastest = needs(&graph, None, 2).unwrap();
    let weights = Weights::random(&graph.tensors, 4);
    let pictures: Vec<f32> =
        (0..3 * 3072).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
    let answers = |options: Options| {
        let network =
            Compiler::new(&spec).options(options).compile().unwrap().load(&weights).unwrap();
        let mut answers = vec![0.0; 30];
        network.session().run_batch(&pictures, &mut answers).unwrap();
        answers
    };
    let expected = answers(Options { backend: Backend::Reference, ..Options::default() });
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for memory in [least, (least + fastest) / 2, fastest] {
        let found = answers(Options { batch: 2, memory: Some(memory), ..Options::default() });
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-5 * largest, "{found} {expected} in {memory}");
        }
    }
    let short = Options { batch: 2, memory: Some(least - 1), ..Options::default() };
    let message = Compiler::new(&spec).options(short).compile().err().unwrap().to_string();
    assert!(message.contains(&format!("needs at least {least} bytes")), "{message}");
}
