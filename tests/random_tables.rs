//! Random tables: those that are accepted run alike in every back end, the others get an error.

mod quantised;

use std::num::NonZeroUsize;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use resnet::{
    Backend, Choices, Compiler, Diagnostics, Isa, Network, Options, Pool, Precision, Spec, Weights,
};
use resnet_compiler::graph::Graph;
use resnet_runtime::kernels::Activation;

use self::quantised::{Random, is_defined_to_the_bit, partly_quantised, some_choices};

/// Of the largest output of each picture.
const TOLERANCE: f64 = 1e-4;

/// Above this the naive reference would take too long for a test.
const MOST_MACS: u64 = 12_000_000;

static POOLS: LazyLock<[Pool; 2]> =
    LazyLock::new(|| [2, 4].map(|n| Pool::new(NonZeroUsize::new(n).unwrap()).unwrap()));

/// A row without its name.
fn row() -> impl Strategy<Value = String> {
    let kernel = prop_oneof![
        4 => Just("3".to_owned()),
        2 => Just("1".to_owned()),
        1 => (1usize..6, 1usize..6).prop_map(|(r, c)| format!("{r}x{c}")),
    ];
    let stride = prop_oneof![
        3 => Just("1".to_owned()),
        1 => Just("2".to_owned()),
        1 => (1usize..4, 1usize..4).prop_map(|(r, c)| format!("{r}x{c}")),
    ];
    let channels = prop_oneof![Just(8usize), Just(16), Just(32), 1usize..40];
    let padding = prop_oneof![
        6 => Just(String::new()),
        2 => (0usize..4).prop_map(|p| format!(", padding: {p}")),
        1 => Just(", padding: same".to_owned()),
        1 => prop::array::uniform4(0usize..4).prop_map(|[top, bottom, left, right]| format!(
            ", padding: {{top: {top}, bottom: {bottom}, left: {left}, right: {right}}}"
        )),
    ];
    let dilation = prop_oneof![
        5 => Just(String::new()),
        1 => (1usize..5).prop_map(|d| format!(", dilation: {d}")),
        1 => (1usize..4, 1usize..4).prop_map(|(r, c)| format!(", dilation: {r}x{c}")),
    ];
    let norm = prop_oneof![
        4 => Just(String::new()),
        1 => (1usize..6).prop_map(|groups| format!(", norm: {{groups: {groups}}}")),
    ];
    let activation = prop_oneof![
        4 => Just(String::new()),
        1 => Just(", activation: none".to_owned()),
        2 => (0..Activation::ALL.len())
            .prop_map(|index| format!(", activation: {}", Activation::ALL[index])),
    ];
    let conv_norm = prop_oneof![1 => norm.clone(), 1 => Just(", norm: none".to_owned())];
    let conv = (kernel.clone(), stride.clone(), padding.clone(), dilation.clone(), channels.clone(), conv_norm, activation.clone(), 0usize..4)
        .prop_map(|(kernel, stride, padding, dilation, channels, norm, activation, groups)| {
            let groups = if groups > 0 { format!(", groups: {groups}") } else { String::new() };
            format!("op: conv, kernel: {kernel}, stride: {stride}, channels: {channels}{padding}{dilation}{norm}{activation}{groups}")
        });
    // With what each of them takes.
    let projection = (0..3usize, prop_oneof![3 => Just(""), 1 => Just(", projection_norm: none")], prop_oneof![3 => Just(""), 1 => Just(", projection_kernel: 3"), 1 => Just(", projection_kernel: 1x5")])
        .prop_map(|(kind, norm, kernel)| format!(", shortcut: {}{norm}{kernel}", ["projection", "project_all", "pool_projection"][kind]));
    let zeros = any::<[bool; 2]>().prop_map(|[pool, after]| {
        let kind = if pool { "pool_zero_pad" } else { "zero_pad" };
        format!(", shortcut: {kind}{}", if after { ", zero_channels: after" } else { "" })
    });
    let from = prop_oneof![3 => Just(""), 1 => Just(", shortcut_from: input"), 1 => Just(", shortcut_from: norm_always")];
    let shortcut = prop_oneof![
        4 => Just(String::new()),
        4 => (prop_oneof![projection, zeros], from).prop_map(|(kind, from)| kind + from),
        1 => Just(", shortcut: none".to_owned()),
        1 => Just(", shortcut: identity".to_owned()),
    ];
    let attention = prop_oneof![
        5 => Just(String::new()),
        1 => (1usize..40).prop_map(|n| format!(", squeeze_excitation: {{reduction: {n}}}")),
        1 => (1usize..9).prop_map(|n| format!(", squeeze_excitation: {{channels: {n}, activation: silu}}")),
        1 => (0usize..9).prop_map(|n| format!(", eca: {}", 2 * n + 1)),
        1 => (1usize..9).prop_map(|n| format!(", squeeze_excitation: {{channels: {n}, after: activation}}")),
    ];
    // With the convolution that it weighs, in a basic block or a bottleneck.
    let attention = (attention, any::<bool>()).prop_map(|(attention, middle)| {
        let on = if middle && !attention.is_empty() { ", attention_on: MIDDLE" } else { "" };
        attention + on
    });
    let output_activation = prop_oneof![5 => Just(""), 1 => Just(", output_activation: none"), 1 => Just(", output_activation: gelu")];
    // What both kinds of blocks take.
    let anti_alias = prop_oneof![4 => Just(""), 1 => Just(", anti_alias: blur"), 1 => Just(", anti_alias: average")];
    let more = (
        shortcut,
        dilation,
        attention,
        norm.clone(),
        anti_alias,
        any::<[bool; 2]>(),
        0usize..4,
        (activation.clone(), output_activation),
    )
        .prop_map(
            |(
                shortcut,
                dilation,
                attention,
                norm,
                anti_alias,
                [same, bias],
                first,
                (activation, last),
            )| {
                let mut text =
                    format!("{shortcut}{dilation}{attention}{norm}{anti_alias}{activation}{last}");
                text += if same { ", padding: same" } else { "" };
                text += if bias { ", bias: true" } else { "" };
                text + &if first > 0 { format!(", first_dilation: {first}") } else { String::new() }
            },
        );
    let on_second = prop_oneof![4 => Just(""), 1 => Just(", stride_on: second")];
    let basic = (1usize..9, stride.clone(), channels.clone(), more.clone(), on_second).prop_map(
        |(repeat, stride, channels, more, on)| {
            let more = more.replace("MIDDLE", "first");
            format!("op: basic, repeat: {repeat}, stride: {stride}, channels: {channels}{more}{on}")
        },
    );
    let bottleneck =
        (1usize..6, stride.clone(), channels, 1usize..24, 1usize..5, any::<bool>(), more).prop_map(
            |(repeat, stride, channels, width, groups, on_first, more)| {
                // Those with a scale take fewer fields.
                if width % 4 == 3 && !on_first {
                    let more: Vec<&str> = more
                        .split_inclusive(", ")
                        .filter(|cell| {
                            !["norm:", "anti_alias", "attention_on", "padding"]
                                .iter()
                                .any(|word| cell.starts_with(word))
                        })
                        .collect();
                    let more = more.concat();
                    let scale = 2 + width / 4;
                    return format!(
                        "op: bottleneck, repeat: {repeat}, stride: {stride}, channels: {channels}, \
                         width: {}, groups: {groups}, scale: {scale}{}",
                        width * groups,
                        more.strip_suffix(", ").unwrap_or(&more)
                    );
                }
                let stride_on = if on_first { ", stride_on: 1x1" } else { "" };
                let more = more.replace("MIDDLE", "3x3");
                let width = match width {
                    odd if odd % 2 == 1 => (odd * groups).to_string(),
                    even => format!("[{}, {}]", even * groups, even / 2 * groups),
                };
                format!(
                    "op: bottleneck, repeat: {repeat}, stride: {stride}, channels: {channels}, \
                 width: {width}, groups: {groups}{stride_on}{more}"
                )
            },
        );
    let pool = (0..5usize, 1usize..5, stride, padding.clone(), any::<bool>()).prop_map(
        |(kind, kernel, stride, padding, up)| {
            let op = [
                "blur",
                "max_pool",
                "max_pool, count_padding: true",
                "average_pool",
                "average_pool, count_padding: false",
            ][kind];
            let rounding = if up && kind > 0 { ", rounding: up" } else { "" };
            format!("op: {op}, kernel: {kernel}, stride: {stride}{padding}{rounding}")
        },
    );
    let norm =
        (norm, activation).prop_map(|(norm, activation)| format!("op: norm{norm}{activation}"));
    let stem = (padding, 1usize..40).prop_map(|(padding, channels)| {
        format!("op: conv, kernel: 7, stride: 2, channels: {channels}{padding}")
    });
    prop_oneof![3 => conv, 4 => basic, 3 => bottleneck, 1 => pool, 1 => norm, 1 => stem]
}

/// Rows after which the network may end.
fn head() -> impl Strategy<Value = Vec<String>> {
    let mean = "op: global_average_pool".to_owned();
    let linear = |n: usize| format!("op: linear, channels: {n}");
    let softmax = "op: softmax".to_owned();
    prop_oneof![
        1 => Just(vec![]),
        1 => Just(vec![mean.clone()]),
        1 => (1usize..20).prop_map(move |n| vec![linear(n)]),
        3 => (1usize..40).prop_map({
            let mean = mean.clone();
            move |n| vec![mean.clone(), linear(n)]
        }),
        2 => (1usize..40, 1usize..20).prop_map(move |(n, m)| {
            vec![mean.clone(), linear(n) + ", activation: relu", linear(m), softmax.clone()]
        }),
    ]
}

fn table() -> impl Strategy<Value = String> {
    let input = (prop_oneof![Just(1usize), Just(3), Just(4), 1usize..40], 1usize..20, 1usize..20);
    let rows = prop::collection::vec(row(), 0..9);
    (input, rows, head(), 0..4usize, 0..64usize).prop_map(|((c, h, w), rows, head, pre, wanted)| {
        let mut text = format!("name: random\ninput: {c}x{h}x{w}\n");
        text += if pre == 0 { "pre_activation: true\n" } else { "" };
        let features: Vec<String> = (0..rows.len().min(3))
            .filter(|row| wanted & 0b11 == 0 && wanted & (4 << row) != 0)
            .map(|row| format!("row{row}"))
            .collect();
        if !features.is_empty() {
            text += &format!("features: [{}]\n", features.join(", "));
        }
        text += "table:\n";
        for (i, row) in rows.iter().chain(&head).enumerate() {
            text += &format!("  - {{layer: row{i}, {row}}}\n");
        }
        text
    })
}

/// The graph, if the table is one that the test can afford to run.
fn accept(table: &str) -> Result<Option<(Spec, Graph)>, Diagnostics> {
    let spec = Spec::from_yaml(table)?;
    let graph = Graph::build(&spec)?;
    Ok((graph.macs <= MOST_MACS && graph.depth <= 64).then_some((spec, graph)))
}

fn answers(network: &dyn Network, pictures: &[f32], pool: Option<&Pool>) -> Vec<f32> {
    let info = network.info();
    let mut answers = vec![f32::NAN; pictures.len() / info.input_len() * info.outputs];
    network.session_in(pool).unwrap().run_batch(pictures, &mut answers).unwrap();
    answers
}

fn picture(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn accepted_tables_run_alike_everywhere(table in table(), seed: u64) {
        let (spec, graph) = match accept(&table) {
            Ok(Some(accepted)) => accepted,
            Ok(None) => return Ok(()),
            Err(diagnostics) => {
                prop_assert!(diagnostics.to_string().contains("the table:"), "{diagnostics}");
                return Ok(());
            }
        };
        let weights = Weights::random(&graph.tensors, seed);
        let pictures = picture(2 * graph.input_shape().elements(), seed);
        let load = |backend, isa| {
            let batch = 1 + (seed % 2) as usize;
            let exact = seed & 4 != 0;
            let options = Options { backend, isa: Some(isa), batch, exact, ..Options::default() };
            let compiled = Compiler::new(&spec).options(options).compile().map_err(|e| format!("{e}\n{table}"));
            compiled.unwrap().load(&weights).unwrap()
        };
        let reference = load(Backend::Reference, Isa::Portable);
        let expected = answers(&*reference, &pictures, None);
        for isa in Isa::available() {
            let interpreted = answers(&*load(Backend::Interpret, isa), &pictures, None);
            let half = expected.len() / 2;
            for (found, expected) in [(&interpreted[..half], &expected[..half]), (&interpreted[half..], &expected[half..])] {
                let largest = expected.iter().fold(1e-30, |max, v| f64::from(v.abs()).max(max));
                for (&a, &b) in found.iter().zip(expected) {
                    let error = (f64::from(a) - f64::from(b)).abs();
                    prop_assert!(error <= TOLERANCE * largest, "{isa}: {a} for {b}, largest {largest}\n{table}");
                }
            }
            let compiled = load(Backend::Jit, isa);
            for pool in [None, Some(&POOLS[0]), Some(&POOLS[1])] {
                let found = answers(&*compiled, &pictures, pool);
                let same = found.iter().zip(&interpreted).all(|(a, b)| a.to_bits() == b.to_bits());
                prop_assert!(same, "{isa}: the JIT has other bits\n{table}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn quantised_parts_run_alike_everywhere(table in table(), seed: u64, all: bool) {
        let Ok(Some((spec, graph))) = accept(&table) else { return Ok(()) };
        let weights = Weights::random(&graph.tensors, seed);
        let weights = partly_quantised(&spec, &weights, &mut Random(seed), all);
        let defined = is_defined_to_the_bit(&spec, &weights);
        let pictures = picture(3 * graph.input_shape().elements(), seed);
        let load = |backend, isa, batch| {
            // By itself a batch may have other algorithms.
            let choices = some_choices(&spec, &weights, Random(seed), batch);
            let compiler = Compiler::new(&spec).weights(&weights).choices(choices);
            let compiled = compiler.backend(backend).isa(isa).batch(batch).compile();
            compiled.unwrap().load(&weights).unwrap_or_else(|error| panic!("{error}\n{table}"))
        };
        let mut expected = defined.then(|| {
            answers(&*load(Backend::Reference, Isa::Portable, 1), &pictures, None)
        });
        // Where operators on real numbers remain, portable code rounds them in another way.
        for isa in Isa::available().filter(|isa| defined || *isa != Isa::Portable) {
            for (backend, batch, pool) in [
                (Backend::Interpret, 1, None),
                (Backend::Jit, 1, Some(&POOLS[0])),
                (Backend::Jit, 3, Some(&POOLS[1])),
            ] {
                let found = answers(&*load(backend, isa, batch), &pictures, pool);
                let expected = expected.get_or_insert_with(|| found.clone());
                let same = found.iter().zip(&*expected).all(|(a, b)| a.to_bits() == b.to_bits());
                prop_assert!(same, "{isa}, {backend}, batches of {batch} differ\n{table}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tables_in_bf16_run_alike_everywhere(table in table(), seed: u64) {
        let Ok(Some((spec, graph))) = accept(&table) else { return Ok(()) };
        let weights = Weights::random(&graph.tensors, seed);
        let pictures = picture(3 * graph.input_shape().elements(), seed);
        let load = |backend, isa, batch| {
            // By itself a batch may have other algorithms.
            let choices = some_choices(&spec, &weights, Random(seed), batch);
            let choices = Choices { precision: Precision::Bf16, ..(*choices).clone() }.into();
            let compiler = Compiler::new(&spec).choices(choices).precision(Precision::Bf16);
            let compiled = compiler.backend(backend).isa(isa).batch(batch).compile();
            compiled.unwrap_or_else(|e| panic!("{e}\n{table}")).load(&weights).unwrap()
        };
        let mut expected = None;
        // Portable code rounds what is left of `f32` in another way.
        for isa in Isa::available().filter(|isa| *isa != Isa::Portable) {
            for (backend, batch, pool) in [
                (Backend::Interpret, 1, None),
                (Backend::Jit, 1, Some(&POOLS[0])),
                (Backend::Jit, 3, Some(&POOLS[1])),
            ] {
                let found = answers(&*load(backend, isa, batch), &pictures, pool);
                prop_assert!(found.iter().all(|v| v.is_finite()), "{isa}: not a number\n{table}");
                let expected = expected.get_or_insert_with(|| found.clone());
                let same = found.iter().zip(&*expected).all(|(a, b)| a.to_bits() == b.to_bits());
                prop_assert!(same, "{isa}, {backend}, batches of {batch} differ\n{table}");
            }
        }
        let portable = answers(&*load(Backend::Jit, Isa::Portable, 1), &pictures, None);
        let again = answers(&*load(Backend::Interpret, Isa::Portable, 3), &pictures, None);
        let same = portable.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits());
        prop_assert!(same, "portable back ends differ\n{table}");
    }
}

#[test]
fn the_generator_makes_both_kinds_of_tables() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut accepted, mut rejected) = (0, 0);
    for _ in 0..200 {
        let table = table().new_tree(&mut runner).unwrap().current();
        match accept(&table) {
            Ok(Some(_)) => accepted += 1,
            Ok(None) => {}
            Err(_) => rejected += 1,
        }
    }
    assert!(accepted > 40 && rejected > 20, "{accepted} accepted, {rejected} rejected of 200");
}
