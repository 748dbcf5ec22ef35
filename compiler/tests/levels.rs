//! What the compiler makes of some networks, level by level, as texts: a change of a decision, of a
//! loop's bound or of an address is seen where it is made. `INSTA_UPDATE=always` writes them anew.

use std::sync::Arc;

use resnet_compiler::graph::Graph;
use resnet_compiler::plan::{Levels, Plan};
use resnet_compiler::schedule::Wishes;
use resnet_compiler::spec::Spec;
use resnet_compiler::zoo::zoo;
use resnet_runtime::kernels::Precision;

/// Fails unless each level of the network looks as it did.
fn check(name: &str, table: &str, wishes: &Wishes) {
    let spec = Spec::from_yaml_named(table, name).unwrap_or_else(|error| panic!("{error}"));
    let graph = Graph::build(&spec).unwrap_or_else(|error| panic!("{error}"));
    let planned = Plan::with_levels(&graph, wishes).unwrap_or_else(|error| panic!("{error}"));
    let (plan, Levels { fused, schedules }) = planned;
    let levels = [
        ("graph", graph.to_string()),
        ("fused", fused.to_string()),
        ("schedule", schedules[0].to_string()),
        ("nest", plan.programs[0].to_string()),
    ];
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("levels");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for (level, text) in levels {
            insta::assert_snapshot!(format!("{name}.{level}"), text);
        }
    });
}

fn of_the_zoo(name: &str) {
    check(name, zoo(name).unwrap(), &Wishes::default());
}

/// One of `tests/golden`, small networks that have what the zoo's have.
macro_rules! golden {
    ($name:literal) => {
        check(
            $name,
            include_str!(concat!("../../tests/golden/", $name, ".yaml")),
            &Wishes::default(),
        )
    };
}

#[test]
fn resnet18() {
    of_the_zoo("resnet18");
}

#[test]
fn resnet50() {
    of_the_zoo("resnet50");
}

/// In two bytes, but for the picture, what is made of the mean, and Winograd's points.
#[test]
fn resnet50_in_bf16() {
    let wishes = Wishes { precision: Precision::Bf16, ..Wishes::default() };
    check("resnet50-bf16", zoo("resnet50").unwrap(), &wishes);
}

/// All of it in bytes, and of its Winograd convolutions some with packed words, others with words that are made of bytes.
#[test]
fn resnet18_in_int8() {
    let table = zoo("resnet18").unwrap();
    let graph = Graph::build(&Spec::from_yaml(table).unwrap()).unwrap();
    let matrices = graph.tensors.iter().filter(|tensor| matches!(tensor.shape.len(), 2 | 4));
    let quantised = matrices.map(|tensor| tensor.name.to_string()).collect();
    check("resnet18-int8", table, &Wishes { quantised: Arc::new(quantised), ..Wishes::default() });
}

/// Shortcuts of option A.
#[test]
fn cifar_resnet20() {
    of_the_zoo("cifar-resnet20");
}

/// Slices and concatenations, made of weights that are cut.
#[test]
fn res2net() {
    golden!("res2net");
}

#[test]
fn pre_activation() {
    golden!("pre-activation");
}

#[test]
fn group_norm() {
    golden!("group-norm");
}

#[test]
fn blur() {
    golden!("blur");
}

#[test]
fn squeeze_excitation() {
    golden!("squeeze-excitation");
}

#[test]
fn channel_attention() {
    golden!("eca");
}

/// Also a softmax, pools, an input without a stem.
#[test]
fn pools() {
    golden!("pools");
}

#[test]
fn dilation_with_features() {
    let table = "
name: dilated
input: 3x65x65
features: [conv3_x, conv5_x]
table:
  - {layer: conv1, op: conv, kernel: 7, channels: 16, stride: 2}
  - {layer: pool1, op: max_pool, kernel: 3, stride: 2}
  - {layer: conv2_x, op: bottleneck, channels: 64}
  - {layer: conv3_x, op: bottleneck, channels: 128, stride: 2}
  - {layer: conv4_x, op: bottleneck, repeat: 2, channels: 128, dilation: 2}
  - {layer: conv5_x, op: basic, channels: 128, dilation: 4}
";
    check("dilated", table, &Wishes::default());
}

/// No Winograd, several pictures at a time, groups.
#[test]
fn exact_batches_of_groups() {
    let table = "
name: grouped
input: 3x56x56
table:
  - {layer: conv1, op: conv, kernel: 3, channels: 64, stride: 2}
  - {layer: conv2_x, op: bottleneck, channels: 256, width: 128, groups: 32}
  - {layer: conv3_x, op: bottleneck, repeat: 2, channels: 512, width: 256, groups: 32, stride: 2}
  - {layer: avgpool, op: global_average_pool}
  - {layer: fc, op: linear, channels: 10}
  - {layer: prob, op: softmax}
";
    check("grouped", table, &Wishes { batch: 4, exact: true, ..Wishes::default() });
}

/// Winograd for several pictures at a time.
#[test]
fn batches() {
    let table = "
name: wide
input: 3x64x64
table:
  - {layer: conv1, op: conv, kernel: 7, channels: 64, stride: 2}
  - {layer: conv2_x, op: basic, channels: 128, stride: 2}
  - {layer: conv3_x, op: basic, channels: 256, stride: 2}
  - {layer: conv4_x, op: basic, channels: 512, stride: 2}
";
    check("wide", table, &Wishes { batch: 8, ..Wishes::default() });
}
