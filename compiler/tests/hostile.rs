//! Text from outside: whatever it says, the answer is a graph or an error, soon.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use resnet_compiler::graph::Graph;
use resnet_compiler::report::Report;
use resnet_compiler::spec::Spec;
use resnet_compiler::zoo::ZOO;

/// Runs the whole front end on a text and returns the errors, if any, drawn both ways.
fn run(text: &str) -> Option<String> {
    match Spec::from_yaml(text).and_then(|spec| Graph::build(&spec)) {
        Ok(graph) => {
            Report::new(&graph, None).to_string();
            None
        }
        Err(errors) => {
            assert!(!errors.list().is_empty());
            errors.render(true);
            Some(errors.to_string())
        }
    }
}

/// What a mutation puts in: pieces of the schema and of trouble.
const TOKENS: &[&str] = &[
    "0",
    "-1",
    "1",
    "2",
    "3x3",
    "0x0",
    "99999999999",
    "2147483648",
    "1e999",
    ".nan",
    "~",
    "null",
    "true",
    "\u{0}",
    "\u{feff}",
    "\u{2028}",
    "\r\n",
    "\r",
    "\t",
    "\n",
    " ",
    "é",
    "🦀",
    "'",
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    ": ",
    "- ",
    "#",
    "&a ",
    "*a",
    "<<: *a",
    "!!int ",
    "!x ",
    "|",
    ">",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "? ",
    "conv",
    "basic",
    "bottleneck",
    "max_pool",
    "average_pool",
    "softmax",
    "linear",
    "op: softmax",
    "layer: ",
    "repeat: ",
    "stride: ",
    "kernel: ",
    "padding: ",
    "padding: same",
    "padding: {top: ",
    "dilation: ",
    "channels: ",
    "width: ",
    "groups: ",
    "shortcut: none",
    "shortcut: zero_pad",
    "weights: x",
    "norm: none",
    "bias: true",
    "input: 1x1",
    "output: 7x7",
    "expect: ",
    "labels: ",
    "preprocess: ",
];

/// One change of a text: where (in thousandths), how much to take away, and what to put there.
#[derive(Clone, Debug)]
enum Mutation {
    Replace { at: usize, length: usize, token: usize },
    Duplicate { at: usize, length: usize, to: usize },
    Truncate { at: usize },
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        6 => (0..1000_usize, 0..12_usize, 0..TOKENS.len())
            .prop_map(|(at, length, token)| Mutation::Replace { at, length, token }),
        2 => (0..1000_usize, 1..200_usize, 0..1000_usize)
            .prop_map(|(at, length, to)| Mutation::Duplicate { at, length, to }),
        1 => (500..1000_usize).prop_map(|at| Mutation::Truncate { at }),
    ]
}

fn mutate(text: &mut String, mutation: &Mutation) {
    let place = |text: &str, at: usize| text.floor_char_boundary(text.len() * at / 1000);
    match *mutation {
        Mutation::Replace { at, length, token } => {
            let start = place(text, at);
            let end = text.ceil_char_boundary((start + length).min(text.len()));
            text.replace_range(start..end, TOKENS[token]);
        }
        Mutation::Duplicate { at, length, to } => {
            let start = place(text, at);
            let end = text.ceil_char_boundary((start + length).min(text.len()));
            let copy = text[start..end].to_string();
            text.insert_str(place(text, to), &copy);
        }
        Mutation::Truncate { at } => text.truncate(place(text, at)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn mutated_tables_never_panic(
        network in 0..ZOO.len(),
        mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        let mut text = ZOO[network].1.to_string();
        for mutation in &mutations {
            mutate(&mut text, mutation);
        }
        run(&text);
    }

    #[test]
    fn arbitrary_text_never_panics(text in "(\\PC|[\\s\\x00-\\x1f{}\\[\\]:,&*#|>-]){0,200}") {
        run(&text);
    }

    /// Every number of the schema at once, each small, huge or nonsense.
    #[test]
    fn arbitrary_numbers_never_panic(
        input in prop::array::uniform3(number()),
        conv in prop::array::uniform7(number()),
        pool in prop::array::uniform4(number()),
        block in prop::array::uniform7(number()),
        linear in number(),
        zero_pad in any::<bool>(),
    ) {
        let [c, h, w] = input;
        let [kernel, kernel_columns, stride, dilation, padding, channels, groups] = conv;
        let [pool_kernel, pool_rows, pool_columns, pool_padding] = pool;
        let [repeat, width, out, block_stride, block_groups, spread, first_spread] = block;
        let shortcut = if zero_pad { "zero_pad" } else { "projection" };
        run(&format!(
            "name: n\ninput: {c}x{h}x{w}\ntable:\n\
             - {{layer: a, op: conv, kernel: {kernel}x{kernel_columns}, stride: {stride}, \
                dilation: {dilation}, padding: {padding}, channels: {channels}, groups: {groups}}}\n\
             - {{layer: b, op: average_pool, kernel: {pool_kernel}, padding: {pool_padding}, \
                stride: {pool_rows}x{pool_columns}}}\n\
             - {{layer: c, op: bottleneck, repeat: {repeat}, width: {width}, channels: {out}, \
                stride: {block_stride}, groups: {block_groups}, dilation: {spread}, \
                first_dilation: {first_spread}, shortcut: {shortcut}}}\n\
             - {{layer: d, op: linear, channels: {linear}}}\n"
        ));
    }
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 1..9_u64, 2 => 1..3000_u64, 1 => 0..(1_u64 << 31) + 2, 1 => any::<u64>()]
}

#[test]
fn hostile_texts_are_refused_soon() {
    let nested_mappings: String =
        (0..2000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let row = "- {layer: a, op: conv, kernel: 3, channels: 64}\n";
    let quadratic = format!("name: n\ninput: 3x8x8\ntable:\n{}", row.repeat(15_000));
    let cases = [
        ("an open list", "[".repeat(500_000)),
        ("an open mapping", "{a: ".repeat(200_000)),
        ("indentation", nested_mappings),
        ("keys", (0..50_000).map(|key| format!("k{key}: 1\n")).collect()),
        ("one key", "a: 1\n".repeat(100_000)),
        ("repeated rows", quadratic),
        ("anchors", (0..20_000).map(|anchor| format!("- &a{anchor} x\n")).collect()),
        ("aliases", format!("a: &a x\nb: [{}]", "*a, ".repeat(200_000))),
        ("merge keys", format!("a: &a {{b: 1}}\nc: {{{}}}", "<<: *a, ".repeat(50_000))),
        ("a long line", format!("name: {}", "x".repeat(1_000_000))),
        ("a long number", format!("name: n\ninput: {}x1x1\ntable: []", "9".repeat(900_000))),
        ("documents", "---\na: 1\n".repeat(50_000)),
        ("quotes", "\"".repeat(500_000)),
        ("question marks", "? ".repeat(300_000)),
        ("dashes", "- ".repeat(300_000)),
        ("colons", ": ".repeat(300_000)),
        ("nothing but newlines", "\n".repeat(900_000)),
        ("carriage returns", "\r".repeat(900_000)),
        (
            "huge repeats",
            "name: n\ninput: 3x8x8\ntable:\n".to_string()
                + &(0..50)
                    .map(|row| {
                        format!("- {{layer: r{row}, op: basic, repeat: 2147483648, channels: 4}}\n")
                    })
                    .collect::<String>(),
        ),
    ];
    for (name, text) in cases {
        let start = Instant::now();
        assert!(run(&text).is_some(), "{name} was accepted");
        let elapsed = start.elapsed();
        println!("{name}: {elapsed:?}");
        // A debug build on a busy machine needs under a second for the slowest.
        assert!(elapsed < Duration::from_secs(20), "{name} took {elapsed:?}");
    }
}

#[test]
fn a_byte_order_mark_and_crlf_are_fine() {
    for (name, text) in ZOO {
        let windows = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        assert_eq!(run(&windows), None, "{name}");
    }
}

#[test]
fn anchors_and_merge_keys_work() {
    let text = "
name: merged
input: 3x32x32
table:
  - &block {layer: conv1_x, op: basic, channels: 16, repeat: 2}
  - {<<: *block, layer: conv2_x, channels: 32, stride: 2}
";
    let graph = Graph::build(&Spec::from_yaml(text).unwrap()).unwrap();
    assert_eq!((graph.depth, graph.output_shape().to_string()), (8, "32x16x16".to_string()));
}
