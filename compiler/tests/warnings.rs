//! The warnings that people see, each beside the table that deserves it; and tables that deserve none.

use resnet_compiler::family::{Block, Form, Member};
use resnet_compiler::graph::Graph;
use resnet_compiler::spec::{Lint, Spec};
use resnet_compiler::warnings::Warnings;
use resnet_compiler::zoo::ZOO;

fn warnings(text: &str) -> Warnings {
    Spec::from_yaml_named(text, "net.yaml").expect("a legal table").warnings()
}

fn names(text: &str) -> Vec<&'static str> {
    warnings(text).list().iter().map(|warning| warning.lint.word()).collect()
}

/// Draws the warnings of a legal table; the snapshot has the table in its head.
macro_rules! warned {
    ($($name:ident: $text:expr;)+) => {$(
        #[test]
        fn $name() {
            let text: &str = &$text;
            let spec = Spec::from_yaml_named(text, "net.yaml").unwrap();
            Graph::build(&spec).unwrap();
            insta::with_settings!({
                description => text,
                omit_expression => true,
                prepend_module_to_snapshot => false,
                snapshot_path => "snapshots/warnings",
            }, { insta::assert_snapshot!(stringify!($name), spec.warnings()) });
        }
    )+};
}

/// A table of these rows that reads pictures of this shape.
fn table(input: &str, rows: &[&str]) -> String {
    let rows: Vec<String> = rows.iter().map(|row| format!("  - {{{row}}}\n")).collect();
    format!("name: net\ninput: {input}\ntable:\n{}", rows.concat())
}

const CONV: &str = "layer: conv1, op: conv, kernel: 3, channels: 8";

warned! {
    channels_last_input: table("224x224x3", &["layer: conv1, op: conv, kernel: 7, stride: 2, channels: 64"]);
    skipped_pixels: table("64x56x56", &["layer: pool1, op: max_pool, kernel: 2, stride: 3, padding: 0"]);
    skipped_pixels_by_dilation:
        table("64x56x56", &["layer: conv1, op: conv, kernel: 3x1, stride: 2x1, dilation: 2x1, channels: 8"]);
    skipped_pixels_in_a_block: table("8x56x56", &["layer: conv2_x, op: basic, channels: 16, stride: 4"]);
    windows_in_padding:
        table("64x56x56", &["layer: conv1, op: conv, kernel: 1, padding: 1, channels: 8"]);
    unused_stride: table("8x2x2", &[
        "layer: conv2_x, op: basic, channels: 8, stride: 2",
        "layer: conv3_x, op: basic, channels: 8, stride: 2",
    ]);
    unused_dilation: table("8x8x8", &["layer: conv1, op: conv, kernel: 1, dilation: 2, channels: 8"]);
    wide_bottleneck:
        table("8x8x8", &["layer: conv2_x, op: bottleneck, channels: 64, width: 256, repeat: 3"]);
    narrow_bottleneck: table("3x32x32", &[
        "layer: conv1, op: conv, kernel: 7, stride: 2, channels: 64",
        "layer: conv2_x, op: bottleneck, channels: 64, repeat: 3",
    ]);
    flattened_pixels: table("3x8x8", &[CONV, "layer: fc, op: linear, channels: 10"]);
    stacked_linear: table("3x8x8", &[
        CONV,
        "layer: avgpool, op: global_average_pool",
        "layer: hidden, op: linear, channels: 32",
        "layer: fc, op: linear, channels: 10",
    ]);
    softmax_before_end: table("3x8x8", &[
        CONV,
        "layer: avgpool, op: global_average_pool",
        "layer: prob, op: softmax",
        "layer: fc, op: linear, channels: 10",
    ]);
    missing_norm: format!("{}pre_activation: true\n", table("8x8x8", &[
        "layer: conv2_x, op: basic, channels: 8",
        "layer: avgpool, op: global_average_pool",
        "layer: fc, op: linear, channels: 10",
    ]));
    unused_allow: format!("allow: [skipped_pixels]\n{}", table("3x8x8", &[CONV]));
    several: table("3x9x9", &[
        "layer: conv1, op: conv, kernel: 1, stride: 3, padding: 1, dilation: 2, channels: 8",
        "layer: fc, op: linear, channels: 10",
    ]);
}

#[test]
fn a_table_that_is_refused_may_deserve_a_warning_too() {
    let claim = "layer: conv1, op: conv, kernel: 7, stride: 2, channels: 64, output: 112x112";
    let text = format!("allow: [skipped_pixels]\n{}", table("224x224x3", &[claim]));
    let spec = Spec::from_yaml(&text).unwrap();
    assert!(Graph::build(&spec).is_err());
    // Whether `allow` is of use cannot be told.
    assert_eq!(names(&text), ["channels_last_input"]);
}

#[test]
fn what_is_allowed_is_not_warned_of() {
    let rows =
        ["layer: conv1, op: conv, kernel: 1, stride: 3, padding: 1, dilation: 2, channels: 8"];
    let text = table("3x9x9", &rows);
    let all = ["skipped_pixels", "windows_in_padding", "unused_dilation"];
    let mut found = names(&text);
    found.sort();
    assert_eq!(found, ["skipped_pixels", "unused_dilation", "windows_in_padding"]);
    for name in all {
        let found = names(&format!("{text}allow: [{name}]\n"));
        assert_eq!(found.len(), 2);
        assert!(!found.contains(&name));
    }
    assert!(warnings(&format!("{text}allow: [{}]\n", all.join(", "))).is_empty());
    assert_eq!(
        names(&format!("{text}allow: [unused_stride, {}]\n", all.join(", "))),
        ["unused_allow"]
    );
    let quiet = format!("{text}allow: [unused_allow, unused_stride, {}]\n", all.join(", "));
    assert!(warnings(&quiet).is_empty());
}

#[test]
fn what_networks_do_is_not_warned_of() {
    for (name, text) in ZOO {
        assert!(warnings(text).is_empty(), "{name}:\n{}", warnings(text));
    }
    let quiet = [
        // A signal of twelve channels.
        table("12x1000x1", &["layer: conv1, op: conv, kernel: 7x1, stride: 2x1, channels: 64"]),
        // The whole picture is one window.
        table("8x7x7", &["layer: pool, op: average_pool, kernel: 7, stride: 8, padding: 0"]),
        // A ResNeXt of wide groups.
        table("64x8x8", &["layer: a, op: bottleneck, channels: 256, width: 1536, groups: 32"]),
        // A perceptron has no pool.
        table(
            "1x28x28",
            &[
                "layer: hidden, op: linear, channels: 32, activation: relu",
                "layer: fc, op: linear, channels: 10",
            ],
        ),
        // An embedding is read by somebody.
        format!(
            "features: [embedding, fc]\n{}",
            table(
                "8x1x1",
                &[
                    "layer: embedding, op: linear, channels: 32",
                    "layer: fc, op: linear, channels: 10",
                ]
            )
        ),
        // Strides of one direction.
        table("8x1x64", &["layer: a, op: basic, channels: 8, stride: 1x2"]),
        // The paper's bottlenecks, and the ones of small pictures.
        table("16x32x32", &["layer: a, op: bottleneck, channels: 64, stride: 2, stride_on: 1x1"]),
        // A backbone of pre-activation, whose stages are read elsewhere.
        format!("pre_activation: true\n{}", table("8x8x8", &["layer: a, op: basic, channels: 8"])),
    ];
    for text in quiet {
        assert!(warnings(&text).is_empty(), "{text}\n{}", warnings(&text));
    }
}

#[test]
fn no_family_is_warned_of() {
    let mut members = Vec::new();
    for depth in [10, 14, 18, 26, 34, 50, 101, 152, 200] {
        members.push(Member::of_depth(Form::ImageNet, depth, None).unwrap());
    }
    for (block, n) in [(Block::Basic, 1), (Block::Basic, 18), (Block::Bottleneck, 2)] {
        members.push(Member::of_repeats(Form::Cifar, block, [n; 3]));
    }
    let fifty = Member::of_repeats(Form::ImageNet, Block::Bottleneck, [3, 4, 6, 3]);
    for (groups, width) in [(1, 128), (32, 4), (32, 48), (64, 4)] {
        members.push(Member { groups, width_per_group: Some(width), ..fifty.clone() });
    }
    for width in [0.25, 0.5, 2.0, 10.0] {
        members.push(Member { width, ..fifty.clone() });
        members.push(Member { width, ..Member::of_repeats(Form::Cifar, Block::Basic, [3; 3]) });
    }
    for member in members {
        let text = member.table().unwrap();
        assert!(warnings(&text).is_empty(), "{text}\n{}", warnings(&text));
    }
}

#[test]
fn every_warning_is_documented() {
    let docs = include_str!("../../docs/table.md");
    for lint in Lint::ALL {
        assert!(docs.contains(&format!("| `{}` |", lint.word())), "{}", lint.word());
    }
}
