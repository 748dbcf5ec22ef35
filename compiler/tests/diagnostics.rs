//! The errors that people see, each beside the table that has the mistake.

use resnet_compiler::diagnostics::Diagnostics;
use resnet_compiler::graph::Graph;
use resnet_compiler::spec::Spec;

fn build(text: &str) -> Result<(), Diagnostics> {
    Graph::build(&Spec::from_yaml_named(text, "net.yaml")?).map(drop)
}

/// Draws the errors of a table; the snapshot has the table in its head.
macro_rules! refused {
    ($($name:ident: $text:expr;)+) => {$(
        #[test]
        fn $name() {
            let text: &str = &$text;
            let errors = build(text).expect_err("a mistake").to_string();
            insta::with_settings!({
                description => text.replace('\u{feff}', "<BOM>"),
                omit_expression => true,
                prepend_module_to_snapshot => false,
            }, { insta::assert_snapshot!(stringify!($name), errors) });
        }
    )+};
}

/// A table of these rows that reads 64x56x56.
fn rows(rows: &[&str]) -> String {
    let rows: Vec<String> = rows.iter().map(|row| format!("  - {{{row}}}\n")).collect();
    format!("name: net\ninput: 64x56x56\ntable:\n{}", rows.concat())
}

/// A correct table and more fields at its top.
fn top(fields: &str) -> String {
    format!("{}{fields}\n", rows(&["layer: conv1, op: conv, kernel: 3, channels: 8"]))
}

// What YAML refuses.
refused! {
    yaml_unclosed_bracket: "name: net\ninput: 3x8x8\ntable: [\n  {layer: a, op: conv\n";
    yaml_tab: "name: net\ntable:\n\t- {layer: a}\n";
    yaml_nul: "name: net\0\n";
    yaml_two_documents: "name: net\n---\nname: other\n";
    yaml_unknown_alias: "name: *net\n";
    yaml_deep: format!("name: {}", "[".repeat(100));
    yaml_alias_bomb: alias_bomb();
    yaml_recursive_alias: "name: &a [*a]\n";
    yaml_latin1_like: "name: na\u{ef}ve: x\n";
    yaml_too_long: " ".repeat((1 << 20) + 1);
}

// What the schema refuses.
refused! {
    empty: "";
    only_a_comment: "# nothing here\n";
    not_a_mapping: "- conv\n- relu\n";
    just_text: "hello";
    missing_fields: "labels: [cat]\n";
    byte_order_mark_and_crlf: "\u{feff}name: net\r\ninput: 3x8\r\ntable: []\r\n";
    unknown_top_field: top("tabel: []");
    repeated_field: top("name: again");
    allow_of_unknown_names: top("allow: [skiped_pixels, everything, unused_stride, unused_stride]");
    allow_is_no_list: top("allow: skipped_pixels");
    empty_table: "name: net\ninput: 3x8x8\ntable: []\n";
    table_is_no_list: "name: net\ninput: 3x8x8\ntable: {layer: conv1}\n";
    row_is_no_mapping: "name: net\ninput: 3x8x8\ntable:\n  - conv1\n  - [a]\n";
    row_without_op: rows(&["layer: conv1, kernel: 3"]);
    row_without_kernel_and_channels: rows(&["layer: conv1, op: conv"]);
    block_row_over_many_lines: "name: net\ninput: 3x8x8\ntable:\n  - layer: conv1\n    op: conv\n    kernel: 3\n";
    unknown_op: rows(&["layer: pool1, op: maxpool, kernel: 3"]);
    unknown_field: rows(&["layer: conv1, op: conv, kernal: 3, channels: 8"]);
    field_of_another_op: rows(&["layer: pool1, op: max_pool, kernel: 3, channels: 64"]);
    duplicate_field: rows(&["layer: conv1, op: conv, kernel: 3, kernel: 5, channels: 8"]);
    duplicate_layer: rows(&[
        "layer: conv1, op: conv, kernel: 3, channels: 8",
        "layer: conv1, op: conv, kernel: 3, channels: 8",
    ]);
    bad_numbers: rows(&[
        "layer: zero, op: conv, kernel: 0, channels: 8",
        "layer: negative, op: conv, kernel: 3, channels: -8",
        "layer: word, op: conv, kernel: 3, channels: many",
        "layer: fraction, op: conv, kernel: 3, channels: 8.5",
        "layer: huge, op: conv, kernel: 3, channels: 99999999999999999999999",
        "layer: repeated, op: basic, repeat: 99999999999, channels: 64",
        "layer: hex, op: basic, channels: 0x40",
        "layer: list, op: basic, channels: [64]",
        "layer: nothing, op: basic, channels: ",
        "layer: padding, op: conv, kernel: 3, padding: -1, channels: 8",
    ]);
    bad_extents: rows(&[
        "layer: three, op: conv, kernel: 3x3x3, channels: 8",
        "layer: comma, op: conv, kernel: '3,3', channels: 8",
        "layer: zero, op: conv, kernel: 3, stride: 2x0, channels: 8",
    ]);
    bad_claims: rows(&[
        "layer: one, op: softmax, output: 7",
        "layer: word, op: softmax, output: same",
        "layer: zero, op: softmax, output: 0x7",
    ]);
    bad_input: "name: net\ninput: 224\ntable:\n  - {layer: softmax, op: softmax}\n";
    bad_words: rows(&[
        "layer: a, op: conv, kernel: 1, channels: 8, norm: bach",
        "layer: b, op: conv, kernel: 1, channels: 8, bias: maybe",
        "layer: c, op: conv, kernel: 1, channels: 8, activation: gelo",
        "layer: d, op: basic, channels: 8, shortcut: project",
        "layer: e, op: bottleneck, channels: 8, stride_on: 1",
    ]);
    fields_of_other_shortcuts: rows(&[
        "layer: a, op: basic, channels: 8, shortcut: zero_pad, projection_kernel: 3, projection_norm: none",
        "layer: b, op: basic, channels: 8, zero_channels: after",
        "layer: c, op: basic, channels: 8, shortcut: none, shortcut_from: input",
        "layer: d, op: basic, channels: 8, projection_kernel: 3x2",
        "layer: e, op: basic, channels: 8, stride: 2, stride_on: second, anti_alias: blur",
        "layer: f, op: basic, channels: 8, stride_on: 3x3",
        "layer: g, op: basic, channels: 8, upsample: 0",
    ]);
    bad_blocks: rows(&[
        "layer: a, op: basic, channels: 8, attention_on: first",
        "layer: b, op: basic, channels: 8, eca: 3, attention_on: 3x3",
        "layer: c, op: bottleneck, channels: 8, width: [4, 4, 4]",
        "layer: d, op: bottleneck, channels: 8, width: [4, 0]",
        "layer: e, op: bottleneck, channels: 8, squeeze_excitation: {channels: 2, activation: gelo}",
        "layer: f, op: basic, channels: 8, shortcut: identity, projection_kernel: 3",
        "layer: h, op: basic, channels: 8, squeeze_excitation: {after: activation}, attention_on: first",
        "layer: g, op: basic, channels: 8, output_activation: last",
    ]);
    norm_weights_without_norm:
        rows(&["layer: a, op: conv, kernel: 1, channels: 8, norm: none, norm_weights: bn1"]);
    weights_without_norm_weights:
        rows(&["layer: a, op: conv, kernel: 1, channels: 8, weights: stem.0"]);
    empty_name: rows(&["layer: '', op: softmax"]);
    control_characters: rows(&["layer: \"a\\e[31m\", op: softmax"]);
    bad_expect: top("expect: {params: 11.7M, macs: [], layers: 3, depth: -18}");
    expect_is_no_mapping: top("expect: 18");
    bad_epsilon: top("norm_epsilon: 0");
    epsilon_not_finite: top("norm_epsilon: .inf");
    bad_preprocess: top("preprocess: {resize: 40, crop: 56, mean: [0.5, 0.5], std: [0], centre: 1}");
    bad_crop: top("preprocess: {crop: 48}");
    bad_resizing: top("preprocess: {resize: 40x60, filter: cubic, antialias: maybe, channels: bgra}");
    bad_combinations: top("preprocess: {resize: none, crop_pct: 0.9, filter: lanczos, antialias: false}");
    crop_larger_than_the_part: top("preprocess: {crop_pct: 1.1}");
    bad_labels: top("labels: [cat, '', {dog: 1}]");
    all_rows_are_read: rows(&[
        "layer: a, op: conv, channels: 8",
        "layer: b, op: convolution, kernel: 3, channels: 8",
        "layer: c, op: linear",
    ]);
}

// What does not fit together.
refused! {
    output_after_a_stride: "\
name: net
input: 512x7x7
table:
  - {layer: conv5_2, op: basic, stride: 2, channels: 512, input: 7x7, output: 7x7}
";
    output_of_a_convolution:
        rows(&["layer: conv1, op: conv, kernel: 7, stride: 2, channels: 64, output: 64x56x56"]);
    output_channels: rows(&["layer: pool1, op: max_pool, kernel: 3, stride: 2, output: 128x28x28"]);
    oblong_output:
        rows(&["layer: conv1, op: conv, kernel: 3x5, stride: 2x1, channels: 8, output: 28x28"]);
    wrong_input: rows(&[
        "layer: conv1, op: conv, kernel: 3, stride: 2, channels: 8",
        "layer: conv2_x, op: basic, channels: 8, input: 56x56",
    ]);
    wrong_first_input: rows(&["layer: conv1, op: conv, kernel: 3, channels: 8, input: 3x56x56"]);
    one_mistake_is_one_error: rows(&[
        "layer: conv2_x, op: basic, channels: 64, stride: 2, output: 56x56",
        "layer: conv3_x, op: basic, channels: 128, stride: 2, output: 28x28",
        "layer: conv4_x, op: basic, channels: 256, stride: 2, output: 14x14",
        "layer: fc, op: linear, channels: 10",
    ]);
    kernel_larger_than_input: rows(&[
        "layer: avgpool, op: global_average_pool",
        "layer: conv1, op: conv, kernel: 5, padding: 1, channels: 8",
    ]);
    groups_of_the_input: rows(&["layer: conv1, op: conv, kernel: 3, channels: 48, groups: 48"]);
    groups_of_the_output: rows(&["layer: conv1, op: conv, kernel: 3, channels: 48, groups: 32"]);
    groups_of_a_bottleneck: rows(&["layer: a, op: bottleneck, channels: 256, width: 72, groups: 32"]);
    scale_without_its_width: rows(&[
        "layer: a, op: bottleneck, channels: 256, scale: 4",
        "layer: b, op: bottleneck, channels: 256, width: [26, 52], scale: 4",
        "layer: c, op: bottleneck, channels: 256, width: 26, scale: 1",
        "layer: d, op: basic, channels: 64, scale: 4",
    ]);
    scale_beside_what_it_has_not: rows(&[
        "layer: a, op: bottleneck, channels: 64, width: 9, scale: 4, stride: 2, stride_on: 1x1",
        "layer: b, op: bottleneck, channels: 64, width: 8, scale: 4, norm: {groups: 8}, padding: same",
        "layer: c, op: bottleneck, channels: 64, width: 9, scale: 4, weight_standardization: true",
        "layer: d, op: bottleneck, channels: 64, width: 9, scale: 4, anti_alias: blur, eca: 3, attention_on: 3x3",
        "layer: e, op: bottleneck, channels: 64, width: 9, scale: 4, groups: 2",
    ]);
    width_is_no_quarter: rows(&["layer: a, op: bottleneck, channels: 66"]);
    pool_padding: rows(&["layer: pool1, op: max_pool, kernel: 3, padding: 2"]);
    upsample_is_wrong: rows(&[
        "layer: pool1, op: max_pool, kernel: 3, stride: 2, upsample: 2",
        "layer: conv2_x, op: basic, channels: 128, upsample: 4",
        "layer: conv3_x, op: basic, channels: 300, upsample: 2",
        "layer: conv4_x, op: basic, channels: 150, upsample: 0.5",
    ]);
    shortcut_from_norm_without_one: rows(&["layer: a, op: basic, channels: 8, shortcut_from: norm"]);
    zero_pad_cannot_shrink: rows(&[
        "layer: conv3_x, op: basic, channels: 32, stride: 2, shortcut: zero_pad",
    ]);
    after_the_head: rows(&[
        "layer: avgpool, op: global_average_pool",
        "layer: fc, op: linear, channels: 10",
        "layer: conv1, op: conv, kernel: 1, channels: 8",
    ]);
    softmax_of_a_picture: rows(&["layer: softmax, op: softmax"]);
    same_tensors: rows(&[
        "layer: conv1, op: conv, kernel: 1, channels: 8, norm: none",
        "layer: again, op: conv, kernel: 1, channels: 8, norm: none, weights: conv1",
    ]);
    same_tensors_in_a_row:
        rows(&["layer: a, op: conv, kernel: 1, channels: 8, bias: true, weights: x, norm_weights: x"]);
    too_many_operators: rows(&["layer: a, op: basic, repeat: 2147483648, channels: 64"]);
    too_many_elements: rows(&["layer: a, op: conv, kernel: 1, channels: 2147483648"]);
    too_much_dilation: rows(&["layer: a, op: conv, kernel: 3, channels: 8, dilation: 2147483648"]);
    padding_of_unknown_kind: rows(&["layer: a, op: conv, kernel: 3, channels: 8, padding: sane"]);
    padding_of_unknown_sides: rows(&["layer: a, op: conv, kernel: 3, channels: 8, padding: {top: 1, botom: 2}"]);
    dilated_kernel_larger_than_input: rows(&[
        "layer: a, op: conv, kernel: 3, channels: 8, dilation: 40, padding: {left: 8, top: 30}",
    ]);
    too_many_elements_by_padding:
        rows(&["layer: a, op: conv, kernel: 1, channels: 8, padding: 2147483648"]);
    too_many_weights: rows(&[
        "layer: avgpool, op: global_average_pool",
        "layer: a, op: conv, kernel: 1, channels: 2147483648, norm: none",
    ]);
    too_many_weights_of_a_linear_layer: rows(&["layer: a, op: linear, channels: 2147483648"]);
    too_large_an_input: "\
name: net
input: 2147483648x2147483648x2147483648
table:
  - {layer: conv1, op: conv, kernel: 1, channels: 8}
";
    too_many_macs: "\
name: net
input: 1x46340x46340
table:
  - {layer: a, op: conv, kernel: 46339, channels: 1}
  - {layer: b, op: conv, kernel: 46339, channels: 1}
  - {layer: c, op: conv, kernel: 46339, channels: 1}
";
    expected_counts: top("expect: {depth: 2, params: 4625, macs: 1.45e7, flops: 2.88e7}");
    eca_of_an_even_kernel: rows(&["layer: a, op: basic, channels: 64, eca: 4"]);
    two_kinds_of_attention:
        rows(&["layer: a, op: basic, channels: 64, eca: 3, squeeze_excitation: {reduction: 16}"]);
    squeeze_given_twice:
        rows(&["layer: a, op: basic, channels: 64, squeeze_excitation: {reduction: 16, channels: 4}"]);
    groups_of_a_norm: rows(&["layer: a, op: conv, kernel: 1, channels: 48, norm: group"]);
    groups_of_norms_in_a_block:
        rows(&["layer: a, op: bottleneck, channels: 64, norm: {groups: 3}"]);
    bad_norms: rows(&[
        "layer: a, op: conv, kernel: 1, channels: 8, norm: {group: 8}",
        "layer: b, op: conv, kernel: 1, channels: 8, norm: [8]",
        "layer: c, op: basic, channels: 8, norm: none",
        "layer: d, op: basic, channels: 8, projection_norm: layer",
        "layer: e, op: norm, norm: {groups: 0}",
    ]);
    blur_that_mirrors_too_much: rows(&[
        "layer: a, op: max_pool, kernel: 28, stride: 28, padding: 0",
        "layer: b, op: blur, stride: 2",
        "layer: c, op: blur, kernel: 5, padding: {left: 1}",
    ]);
    blur_of_a_large_kernel: rows(&["layer: a, op: blur, kernel: 3x8"]);
    anti_alias_of_a_pixel: rows(&[
        "layer: a, op: global_average_pool",
        "layer: b, op: basic, channels: 64, stride: 2, anti_alias: blur",
    ]);
    anti_alias_of_unknown_kind: rows(&["layer: a, op: basic, channels: 64, anti_alias: blurred"]);
    features_of_unknown_layers: top("features: [conv2]");
    features_out_of_order: rows(&[
        "layer: conv1, op: conv, kernel: 3, channels: 8",
        "layer: conv2, op: conv, kernel: 3, channels: 8",
    ]) + "features: [conv2, conv1]\n";
    features_are_a_list: top("features: conv1");
    features_have_no_labels: top("features: [conv1]\nlabels: [cat]");
    labels_and_classes: rows(&["layer: fc, op: linear, channels: 10"]) + "labels: [cat, dog]\n";
}

fn alias_bomb() -> String {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    text
}

#[test]
fn colour_is_only_on_request() {
    let errors = build("").unwrap_err();
    assert!(!errors.to_string().contains('\u{1b}'));
    assert!(errors.render(true).contains('\u{1b}'));
}

#[test]
fn a_table_of_mistakes_is_cut_short() {
    let many = vec!["layer: a"; 1000];
    let text = build(&rows(&many)).unwrap_err().to_string();
    assert!(text.ends_with("errors"), "{text}");
    assert!(text.len() < 50_000);
}

/// What a fix says can be done to the text, and mends what it is for.
#[test]
fn each_fix_mends_its_mistake() {
    let conv = "layer: a, op: conv, kernel: 3, channels: 8";
    for (table, labels) in [
        (rows(&[&conv.replace("kernel", "kernal")]), &["write kernel"][..]),
        (rows(&[&conv.replace("conv", "cnov")]), &["write op: conv"]),
        (rows(&[&format!("{conv}, input: 56x5")]), &["write input: 56x56"]),
        (
            rows(&[&format!("{conv}, stride: 2, output: 56x56")]),
            &["write output: 28x28", "write stride: 1"],
        ),
        // Nobody wrote a stride that could be replaced.
        (rows(&[&format!("{conv}, output: 28x28")]), &["write output: 56x56"]),
        (top("features: [conv2]"), &["write conv1"]),
        (top("expect: {depth: 2}"), &["write depth: 1"]),
        (rows(&[&format!("{conv}, upsample: 2")]), &["write upsample: 0.125"]),
    ] {
        let errors = build(&table).unwrap_err();
        let [mistake] = errors.list() else { panic!("{errors}") };
        let found: Vec<&str> = mistake.fixes.iter().map(|fix| &*fix.label).collect();
        assert_eq!(found, labels, "{errors}");
        for fix in &mistake.fixes {
            let mut mended = table.clone();
            mended.replace_range(fix.span.range(), &fix.text);
            build(&mended).unwrap_or_else(|errors| panic!("{}\n{errors}", fix.label));
        }
    }
}
