use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::*;
use crate::graph::Graph;
use crate::zoo::ZOO;

/// Reads `Name: shape => { body }`.
fn inline(text: &str) -> Inline {
    let tokens: Vec<TokenTree> = text.parse::<TokenStream>().unwrap().into_iter().collect();
    let [TokenTree::Ident(name), _colon, input @ .., _equals, _greater, TokenTree::Group(body)] =
        &tokens[..]
    else {
        panic!("{text}")
    };
    assert_eq!(body.delimiter(), Delimiter::Brace);
    Inline::read(name, input.iter().cloned().collect(), body.stream())
}

fn spec(text: &str) -> Spec {
    inline(text).spec.unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// The messages, and the text that each is at.
fn errors(rows: &str) -> Vec<(String, String)> {
    let text = format!("Tiny: 3x8x8 => {{ {rows} }}");
    let inline = inline(&text);
    let error = match &inline.spec {
        Ok(spec) => Graph::build(spec).err(),
        Err(error) => Some(error.clone()),
    };
    let Some(error) = error else { return Vec::new() };
    let located = error.list().iter().map(|diagnostic| {
        assert!(inline.tokens(diagnostic.span).is_some(), "{diagnostic:?}");
        let at = error.source().slice(diagnostic.span).to_owned();
        (diagnostic.message.clone(), at)
    });
    located.collect()
}

/// Fails unless there is one error, with this message and at this text.
fn check_error(rows: &str, message: &str, at: &str) {
    assert_eq!(errors(rows), [(message.to_owned(), at.to_owned())], "{rows}");
}

/// Converts a table to tokens and back.
fn check_round_trip(yaml: &str) {
    let before = Spec::from_yaml(yaml).unwrap_or_else(|error| panic!("{error}"));
    let text = print("Network", &before);
    let after = spec(&text);
    assert_eq!(Graph::build(&before), Graph::build(&after), "{text}");
    assert_eq!(before.preprocess, after.preprocess, "{text}");
    let labels = |spec: &Spec| spec.labels.as_ref().map(|labels| labels.value.clone());
    assert_eq!(labels(&before), labels(&after), "{text}");
    let counts = |spec: &Spec| {
        let expect = &spec.expect;
        [&expect.depth, &expect.params, &expect.macs, &expect.flops, &expect.arena_bytes]
            .map(|count| count.as_ref().map(|count| count.value.clone()))
    };
    assert_eq!(counts(&before), counts(&after), "{text}");
    let claims = |spec: &Spec| -> Vec<_> {
        let claims = spec.table.iter().map(|row| (row.input, row.output));
        claims.map(|(i, o)| (i.map(|i| i.value), o.map(|o| o.value))).collect()
    };
    assert_eq!(claims(&before), claims(&after), "{text}");
}

#[test]
fn every_table_of_the_zoo_means_the_same_in_tokens() {
    for (_, table) in ZOO {
        check_round_trip(table);
    }
}

#[test]
fn every_golden_table_means_the_same_in_tokens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let mut seen = 0;
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            check_round_trip(&std::fs::read_to_string(path).unwrap());
            seen += 1;
        }
    }
    assert!(seen >= 18, "{seen}");
}

#[test]
fn whatever_yaml_can_say_can_be_said() {
    check_round_trip(
        r#"
name: "with a quote \" and a \\"
input: 3x32x40
norm_epsilon: 0.002
table:
  - {layer: a b, op: conv, kernel: 3x5, stride: 1x2, padding: 0x2, channels: 16, norm: none, input: 3x32x40}
  - {layer: "7", op: conv, kernel: 1, channels: 16, bias: true, activation: none, weights: f.0, norm_weights: f.1}
  - {layer: fn, op: max_pool, kernel: 2, stride: 2, padding: 0}
  - {layer: p, op: average_pool, kernel: 3x2, stride: 1x2}
  - {layer: b, op: bottleneck, channels: 32, width: 16, groups: 4, stride: 2, stride_on: 1x1, repeat: 3, shortcut: project_all, weights: x}
  - {layer: b2, op: bottleneck, channels: 32, width: [16, 12], eca: 3, attention_on: 3x3, output_activation: none, shortcut: identity}
  - {layer: r, op: bottleneck, channels: 32, width: 6, scale: 4, groups: 2}
  - {layer: b3, op: basic, channels: 32, squeeze_excitation: {channels: 4, activation: silu}, attention_on: first}
  - {layer: b4, op: basic, channels: 32, squeeze_excitation: {reduction: 8, after: activation}}
  - {layer: c, op: basic, channels: 48, shortcut: none}
  - {layer: g, op: global_average_pool, output: 48x1x1}
  - {layer: l, op: linear, channels: 3, weights: "1.2"}
  - {layer: s, op: softmax}
expect: {depth: 24, arena_bytes: 1e5}
preprocess: {resize: 48x50, filter: bicubic, antialias: false, crop: 32x40, mean: [-0.5, 0.25, 1e-3], std: [2], channels: bgr}
labels: [cat, "big dog", "it's"]
"#,
    );
    check_round_trip(
        "{name: n, input: 1x1x1, table: [{layer: s, op: softmax}], labels: \"a b.txt\"}",
    );
}

#[test]
fn short_forms_mean_the_long_ones() {
    let short = spec("Tiny: 3x8x8 => { conv(3, 16); basic(16) * 2; softmax; }");
    assert_eq!(short.name.value, "Tiny");
    let layers: Vec<&str> = short.table.iter().map(|row| row.layer.value.as_str()).collect();
    assert_eq!(layers, ["conv", "basic", "softmax"]);
    let long = spec(
        "Other: 3x8x8 => { name = Tiny; conv: conv(channels = 16, kernel = 3x3,);
         basic: basic(16, repeat = 2); softmax: softmax() }",
    );
    let (short, long) = (Graph::build(&short), Graph::build(&long));
    // Softmax of a picture is refused, in both.
    let messages = |graph: Result<Graph, Diagnostics>| -> Vec<String> {
        graph.unwrap_err().list().iter().map(|d| d.message.clone()).collect()
    };
    assert_eq!(messages(short), messages(long));
}

#[test]
fn mistakes_of_notation_are_at_their_tokens() {
    let row = "a row such as `conv1: conv(3x3, 16);` or a setting such as `name = \"tiny\";`";
    check_error("7;", &format!("expected {row}, found `7`"), "7");
    check_error("a: ;", "expected an operation such as `conv` or `basic`, found `;`", ";");
    check_error("a: conv(3 16);", "expected `,` or `)`, found `16`", "16");
    check_error(
        "a: conv(3, 16) b: softmax;",
        "expected `;`, `* repeat` or `-> output`, found `b`",
        "b",
    );
    check_error("a: conv(3, 16) -> ;", "expected a size such as 56x56, found `;`", ";");
    check_error(
        "a: 8x8 conv(3, 16);",
        "expected `->` between the row's input and its operation, found `conv`",
        "conv",
    );
    check_error("a: basic(16) * ;", "expected how many blocks, found `;`", ";");
    check_error("a: basic(16, 2);", "`basic` takes no further value without a name", "2");
    check_error("a: softmax(2);", "`softmax` takes no value without a name", "2");
    check_error("a: conv(3, 16); table = 3;", "`table` is no setting", "table");
    check_error("a: conv(3, 16); expect = { depth 1 };", "expected `=`, found `1`", "1");
    check_error("a: conv(3, - x);", "expected a number, found `x`", "x");
    check_error("a: conv(3, 16); labels = [a b];", "expected `,` or `]`, found `b`", "b");
    check_error("a: conv(3, 16); name =", "expected a value after this", "=");
}

#[test]
fn mistakes_of_meaning_are_at_their_tokens() {
    check_error("", "the table has no rows", "Tiny");
    check_error("a: conv(3, 0);", "`channels` is 0; it must be at least 1", "0");
    check_error("a: conv(3, -16);", "`channels` is -16, which is negative", "- 16");
    check_error("a: conv(3x, 16);", "`kernel` is `3x`, which cannot be read", "3x");
    check_error("a: cnov(3, 16);", "`op` is `cnov`, which is unknown", "cnov");
    check_error("a: conv(3, 16, strid = 2);", "unknown field `strid` in a `conv` row", "strid");
    check_error("a: conv(3, 16, kernel = 3);", "`kernel` is given twice in a row", "kernel");
    check_error("a: conv(3, 16, repeat = 2);", "a `conv` row takes no `repeat`", "repeat");
    check_error("a: conv(3);", "a `conv` row needs `channels`", "a : conv ( 3 )");
    check_error("a: conv(3, 16) -> 4x4;", "`a` makes 16x8x8, but `output` says 4x4", "4x4");
    check_error("a: conv(3, 16); a: conv(3, 16);", "there are two layers `a`", "a");
    check_error("a: conv(3, 16); nmae = n;", "unknown field `nmae` in the table", "nmae");
    check_error(
        "a: conv(3, 16); expect = { depth = 2 };",
        "`expect.depth` is 2, but the network has 1",
        "2",
    );
}

#[test]
fn several_mistakes_are_several_errors() {
    let found = errors("a: cnov(3, 16); b: conv(3, 0); c: conv(3, 16, x = 1);");
    assert_eq!(found.len(), 3, "{found:?}");
    let found = errors("a: conv(3 16); b: ; c: conv(3, 16);");
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn a_shape_is_one_token() {
    let error = inline("Tiny: 3 x 8 => { softmax; }").spec.unwrap_err();
    let messages: Vec<_> = error.list().iter().map(|d| d.message.as_str()).collect();
    assert_eq!(messages, ["expected the end of the shape, found `x`"]);
}
