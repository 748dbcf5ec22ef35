//! Networks that `resnet!` compiles with this test, against those that are compiled at run time.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use resnet::{
    Backend, Compiler, Isa, LoadError, LoadOptions, Network, Options, Pool, Precision, Spec,
    Weights,
};

type Load = fn(&Weights, &LoadOptions) -> Result<Box<dyn Network>, LoadError>;

/// Compiles tables and lists them: the file, and how its network is loaded.
macro_rules! networks {
    ($list:ident: $($(#[$option:meta])* $name:ident = $table:literal,)+) => {
        resnet::resnet! { $( $(#[$option])* $name = $table; )+ }

        const $list: &[(&str, Load)] = &[$(
            ($table, |weights, options| Ok(Box::new($name::load_with(weights, options)?))),
        )+];
    };
}

networks! { GOLDENS:
    Activation = "tests/golden/activation.yaml",
    ActivationPreActivation = "tests/golden/activation-pre-activation.yaml",
    ActivationVariants = "tests/golden/activation-variants.yaml",
    Aligned = "tests/golden/aligned.yaml",
    AntiAliasAverage = "tests/golden/anti-alias-average.yaml",
    AntiAliasPreActivation = "tests/golden/anti-alias-pre-activation.yaml",
    Blur = "tests/golden/blur.yaml",
    BlurDilation = "tests/golden/blur-dilation.yaml",
    BlurVariants = "tests/golden/blur-variants.yaml",
    GroupNorm = "tests/golden/group-norm.yaml",
    GroupNormPreActivation = "tests/golden/group-norm-pre-activation.yaml",
    GroupNormVariants = "tests/golden/group-norm-variants.yaml",
    AttentionOn = "tests/golden/attention-on.yaml",
    AttentionOnPreActivation = "tests/golden/attention-on-pre-activation.yaml",
    AttentionPreActivation = "tests/golden/attention-pre-activation.yaml",
    AttentionVariants = "tests/golden/attention-variants.yaml",
    Basic = "tests/golden/basic.yaml",
    BottleneckGroups = "tests/golden/bottleneck-groups.yaml",
    BottleneckStride = "tests/golden/bottleneck-stride-1x1.yaml",
    BottleneckWidths = "tests/golden/bottleneck-widths.yaml",
    Bottleneck = "tests/golden/bottleneck.yaml",
    ConvGroups = "tests/golden/conv-groups.yaml",
    ConvRows = "tests/golden/conv-rows.yaml",
    Dilation = "tests/golden/dilation.yaml",
    DilationBasic = "tests/golden/dilation-basic.yaml",
    DilationPoolProjection = "tests/golden/dilation-pool-projection.yaml",
    DilationRows = "tests/golden/dilation-rows.yaml",
    Features = "tests/golden/features.yaml",
    FeaturesVariants = "tests/golden/features-variants.yaml",
    Flatten = "tests/golden/flatten.yaml",
    LinearOnly = "tests/golden/linear-only.yaml",
    Named = "tests/golden/named.yaml",
    NoStem = "tests/golden/no-stem.yaml",
    OnePixel = "tests/golden/one-pixel.yaml",
    Plain = "tests/golden/plain.yaml",
    PoolEdges = "tests/golden/pool-edges.yaml",
    ProjectionKernel = "tests/golden/projection-kernel.yaml",
    ShortcutFromInput = "tests/golden/shortcut-from-input.yaml",
    Pools = "tests/golden/pools.yaml",
    PreActivation = "tests/golden/pre-activation.yaml",
    PreActivationBasic = "tests/golden/pre-activation-basic.yaml",
    PreActivationVariants = "tests/golden/pre-activation-variants.yaml",
    Padding = "tests/golden/padding.yaml",
    PaddingSame = "tests/golden/padding-same.yaml",
    PoolProjection = "tests/golden/pool-projection.yaml",
    PoolProjectionVariants = "tests/golden/pool-projection-variants.yaml",
    ProjectAll = "tests/golden/project-all.yaml",
    Eca = "tests/golden/eca.yaml",
    Res2Net = "tests/golden/res2net.yaml",
    Res2NetVariants = "tests/golden/res2net-variants.yaml",
    SqueezeExcitation = "tests/golden/squeeze-excitation.yaml",
    WeightStandardization = "tests/golden/weight-standardization.yaml",
    WeightStandardizationVariants = "tests/golden/weight-standardization-variants.yaml",
    ZeroChannels = "tests/golden/zero-channels.yaml",
    ZeroPadVariants = "tests/golden/zero-pad-variants.yaml",
    ZeroPad = "tests/golden/zero-pad.yaml",
}

networks! { BATCHES_OF_2:
    #[resnet(batch = 2)] AlignedTwice = "tests/golden/aligned.yaml",
    #[resnet(batch = 2)] PoolsTwice = "tests/golden/pools.yaml",
}

networks! { EXACT:
    #[resnet(exact = true)] AlignedExact = "tests/golden/aligned.yaml",
}

networks! { EXACT_BATCHES_OF_3:
    #[resnet(exact = true, batch = 3)] BasicExact = "tests/golden/basic.yaml",
}

networks! { HALVES:
    #[resnet(precision = "bf16")] AlignedHalves = "tests/golden/aligned.yaml",
    #[resnet(precision = "bf16")] GroupNormHalves = "tests/golden/group-norm.yaml",
    #[resnet(precision = "bf16")] ZeroPadHalves = "tests/golden/zero-pad.yaml",
}

networks! { SCHEDULED:
    #[resnet(schedule = "tests/golden/basic.schedule")] BasicScheduled = "tests/golden/basic.yaml",
}

networks! { LEAN:
    #[resnet(memory = 400_000)] AlignedLean = "tests/golden/aligned.yaml",
}

networks! { BUDGET:
    Budget = "tests/budget.yaml",
}

networks! { ZOO:
    CifarResNet20 = "models/cifar-resnet20.yaml",
    CifarResNet56 = "models/cifar-resnet56.yaml",
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn spec(table: &str) -> Spec {
    let text = std::fs::read_to_string(root().join(table)).unwrap();
    Spec::from_yaml(&text).unwrap_or_else(|error| panic!("{error}"))
}

fn bits(network: &dyn Network, pool: Option<&Pool>, pictures: &[f32]) -> Vec<u32> {
    let info = network.info();
    let mut answers = vec![f32::NAN; pictures.len() / info.input_len() * info.outputs];
    network.session_in(pool).unwrap().run_batch(pictures, &mut answers).unwrap();
    answers.iter().map(|answer| answer.to_bits()).collect()
}

/// Fails unless the macro's networks and the interpreter's give the same bits, on each instruction
/// set of this machine, on one thread and on two, whatever number of pictures goes together.
fn check(networks: &[(&str, Load)], options: &Options) {
    let pool = Pool::new(NonZeroUsize::new(4).unwrap()).unwrap();
    for (table, load) in networks {
        let spec = spec(table);
        for isa in Isa::available() {
            let backend = Backend::Interpret;
            let options = Options { backend, isa: Some(isa), ..options.clone() };
            let compiled = Compiler::new(&spec).options(options).compile().unwrap();
            let weights = Weights::random(compiled.tensors(), 7);
            let interpreted = compiled.load(&weights).unwrap();
            let network =
                load(&weights, &LoadOptions { isa: Some(isa), ..LoadOptions::default() }).unwrap();
            assert_eq!(network.info(), interpreted.info(), "{table}");
            // Three pictures that differ, so that a batch of two leaves one over.
            let pictures: Vec<f32> = (0..3 * network.info().input_len())
                .map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0)
                .collect();
            let expected = bits(&*interpreted, None, &pictures);
            assert_eq!(bits(&*network, None, &pictures), expected, "{table}, {isa}");
            assert_eq!(bits(&*network, Some(&pool), &pictures), expected, "{table}, {isa}, pool");
        }
    }
}

#[test]
fn goldens_have_the_interpreters_bits() {
    check(GOLDENS, &Options::default());
}

#[test]
fn every_golden_is_compiled_here() {
    let tables = root().join("tests/golden").read_dir().unwrap();
    let tables = tables.map(|entry| entry.unwrap().path());
    let tables = tables.filter(|path| path.extension().is_some_and(|e| e == "yaml")).count();
    assert_eq!(tables, GOLDENS.len(), "a table of tests/golden is missing above");
}

#[test]
fn options_have_the_interpreters_bits() {
    check(BATCHES_OF_2, &Options { batch: 2, ..Options::default() });
    check(EXACT, &Options { exact: true, ..Options::default() });
    check(EXACT_BATCHES_OF_3, &Options { exact: true, batch: 3, ..Options::default() });
    check(HALVES, &Options { precision: Some(Precision::Bf16), ..Options::default() });
    const { assert!(AlignedHalves::ARENA_BYTES < Aligned::ARENA_BYTES) };
    assert_eq!((Aligned::BATCH, AlignedTwice::BATCH), (1, 2));
    const { assert!(AlignedTwice::ARENA_BYTES > Aligned::ARENA_BYTES) };
}

#[test]
fn a_saved_schedule_has_the_interpreters_bits() {
    let text = std::fs::read_to_string(root().join("tests/golden/basic.schedule")).unwrap();
    let choices = Some(Arc::new(text.parse().unwrap()));
    check(SCHEDULED, &Options { choices, ..Options::default() });
}

#[test]
fn lean_networks_have_the_interpreters_bits_in_less_memory() {
    check(LEAN, &Options { memory: Some(400_000), ..Options::default() });
    const { assert!(AlignedLean::ARENA_BYTES < Aligned::ARENA_BYTES) };
}

#[test]
fn a_budget_of_memory_counts_the_scratch() {
    check(BUDGET, &Options::default());
    let text = std::fs::read_to_string(root().join("tests/budget.yaml")).unwrap();
    let less = text.replace("430848", "205056");
    let error = Compiler::new(&Spec::from_yaml(&less).unwrap()).compile();
    assert!(error.err().unwrap().to_string().contains("430848"), "the arena alone is no answer");
    assert_eq!(Budget::ARENA_BYTES, 430_848);
}

#[test]
fn networks_of_the_zoo_have_the_interpreters_bits() {
    check(ZOO, &Options::default());
}

resnet::resnet! {
    Trained = "models/cifar10/resnet20.yaml", weights = "models/cifar10/resnet20.safetensors";
}

#[test]
fn embedded_weights_are_the_files() {
    let weights = Weights::open(root().join("models/cifar10/resnet20.safetensors")).unwrap();
    let pictures: Vec<f32> =
        (0..2 * Trained::INPUT_LEN).map(|i| (i % 255) as f32 / 255.0).collect();
    for isa in Isa::available() {
        let options = LoadOptions { isa: Some(isa), ..LoadOptions::default() };
        let embedded = Trained::embedded_with(&options).unwrap();
        let loaded = Trained::load_with(&weights, &options).unwrap();
        assert_eq!(bits(&embedded, None, &pictures), bits(&loaded, None, &pictures), "{isa}");
    }
    assert_eq!(bits(&Trained::embedded(), None, &pictures).len(), 20);
}

resnet::resnet! {
    QuantisedBasic = "tests/int8/basic.yaml", weights = "tests/int8/basic.safetensors";
    QuantisedOptionA = "tests/int8/option-a.yaml", weights = "tests/int8/option-a.safetensors";
    QuantisedBottleneck = "tests/int8/bottleneck.yaml", weights = "tests/int8/bottleneck.safetensors";
    #[resnet(exact = true)]
    TrainedInt8 = "models/cifar10/resnet20.yaml", weights = "models/cifar10/resnet20-int8.safetensors";
}

#[test]
fn embedded_weights_in_8_bits_have_the_bits_of_every_back_end() {
    type Embedded = fn(&LoadOptions) -> Result<Box<dyn Network>, LoadError>;
    let networks: [(&str, &str, bool, Embedded); 4] = [
        ("tests/int8/basic", "", false, |o| Ok(Box::new(QuantisedBasic::embedded_with(o)?))),
        ("tests/int8/option-a", "", false, |o| Ok(Box::new(QuantisedOptionA::embedded_with(o)?))),
        ("tests/int8/bottleneck", "", false, |o| {
            Ok(Box::new(QuantisedBottleneck::embedded_with(o)?))
        }),
        ("models/cifar10/resnet20", "-int8", true, |o| {
            Ok(Box::new(TrainedInt8::embedded_with(o)?))
        }),
    ];
    for (name, suffix, exact, embedded) in networks {
        let spec = spec(&format!("{name}.yaml"));
        let weights = Weights::open(root().join(format!("{name}{suffix}.safetensors"))).unwrap();
        let mut all = Vec::new();
        for isa in Isa::available() {
            let options = LoadOptions { isa: Some(isa), ..LoadOptions::default() };
            let network = embedded(&options).unwrap();
            let pictures: Vec<f32> = (0..3 * network.info().input_len())
                .map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0)
                .collect();
            all.push(bits(&*network, None, &pictures));
            for backend in [Backend::Interpret, Backend::BEST, Backend::Reference] {
                let compiler = Compiler::new(&spec).weights(&weights).exact(exact).isa(isa);
                let network = compiler.backend(backend).compile().unwrap().load(&weights).unwrap();
                all.push(bits(&*network, None, &pictures));
            }
        }
        assert!(all.iter().all(|bits| *bits == all[0]), "{name}");
    }
}

/// What becomes a part of a program.
#[test]
fn a_trained_resnet20_in_8_bits_takes_280_kilobytes() {
    let spec = spec("models/cifar10/resnet20.yaml");
    let file = root().join("models/cifar10/resnet20-int8.safetensors");
    let weights = Weights::open(file).unwrap();
    let plan = Compiler::new(&spec).weights(&weights).exact(true).plan().unwrap();
    assert_eq!(plan.weights.bytes, 278_336);
    assert_eq!(weights.quantised().len(), 20);
    assert_eq!(TrainedInt8::tensors(), plan.weights.tensors.to_vec());
}

/// Packed weights that one kind of network wrote serve every kind.
#[test]
fn packed_weights_have_the_bits_of_those_they_were_packed_from() {
    let options = Options { backend: Backend::Reference, ..Options::default() };
    let compile = |options: &Options| {
        Compiler::new(&spec("tests/golden/aligned.yaml"))
            .options(options.clone())
            .compile()
            .unwrap()
    };
    let compiled = compile(&options);
    let weights = Weights::random(compiled.tensors(), 3);
    let mut file = Vec::new();
    compiled.plan().pack(&weights, NonZeroUsize::MIN, "", &mut file).unwrap();
    let packed = Weights::from_bytes(file).unwrap();
    let pictures: Vec<f32> =
        (0..3 * Aligned::INPUT_LEN).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
    let expected = bits(&Aligned::load(&weights).unwrap(), None, &pictures);
    assert_eq!(bits(&Aligned::load(&packed).unwrap(), None, &pictures), expected);
    assert_eq!(bits(&AlignedTwice::load(&packed).unwrap(), None, &pictures), expected);
    for backend in [Backend::Interpret, Backend::BEST] {
        let network = compile(&Options { backend, ..Options::default() }).load(&packed).unwrap();
        assert_eq!(bits(&*network, None, &pictures), expected, "{backend}");
    }
    // They have no tensors, and one order of sums.
    let error = compiled.load(&packed).err().unwrap().to_string();
    assert!(error.contains("which have no tensors any more"), "{error}");
    let error = AlignedExact::load(&packed).unwrap_err().to_string();
    assert!(error.contains("transform is \"Winograd4x4\" in the file"), "{error}");
    let error = Basic::load(&packed).unwrap_err().to_string();
    assert!(error.contains("packed for another table"), "{error}");
}

/// A network that is compiled for packed weights computes what they were packed for.
#[test]
fn packed_weights_say_how_they_were_packed() {
    let text = std::fs::read_to_string(root().join("tests/golden/aligned.yaml")).unwrap();
    let spec = Spec::from_yaml(&text).unwrap();
    let exact = Options { backend: Backend::Interpret, exact: true, ..Options::default() };
    let compiled = Compiler::new(&spec).options(exact).compile().unwrap();
    let weights = Weights::random(compiled.tensors(), 3);
    let pictures: Vec<f32> =
        (0..3 * Aligned::INPUT_LEN).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
    let expected = bits(&*compiled.load(&weights).unwrap(), None, &pictures);
    let mut file = Vec::new();
    compiled.plan().pack(&weights, NonZeroUsize::MIN, "--exact", &mut file).unwrap();
    let packed = Weights::from_bytes(file).unwrap();

    let compile_for = |spec: &Spec, options: &Options, weights: &Weights| {
        Compiler::new(spec).options(options.clone()).weights(weights).compile().unwrap()
    };
    for batch in [1, 2] {
        let options = Options { batch, ..Options::default() };
        let network = compile_for(&spec, &options, &packed).load(&packed).unwrap();
        assert_eq!(bits(&*network, None, &pictures), expected, "batches of {batch}");
    }
    // Other weights leave it to the cost model.
    let other = compile_for(&spec, &Options::default(), &weights);
    assert_eq!(other.wishes().choices, None);
    // A wish of one's own comes first, and so does another table.
    let memory = Options { memory: Some(usize::MAX), ..Options::default() };
    let error = compile_for(&spec, &memory, &packed).load(&packed).err().unwrap().to_string();
    assert!(error.contains("it was packed with the options `--exact`"), "{error}");
    let basic = self::spec("tests/golden/basic.yaml");
    let compiled = compile_for(&basic, &Options::default(), &packed);
    let error = compiled.load(&packed).err().unwrap().to_string();
    assert!(error.contains("packed for another table"), "{error}");
}

#[test]
fn constants_are_the_tables() {
    assert_eq!(Trained::NAME, "cifar10-resnet20");
    assert_eq!(Trained::INPUT, [3, 32, 32]);
    assert_eq!((Trained::INPUT_LEN, Trained::CLASSES), (3072, 10));
    assert_eq!((Trained::DEPTH, Trained::PARAMS, Trained::MACS), (20, 269_722, 40_551_040));
    assert_eq!((Trained::LABELS[0], Trained::LABELS[9]), ("airplane", "truck"));
    let spec = spec("models/cifar10/resnet20.yaml");
    assert_eq!(Trained::preprocess(), spec.preprocess);
    let compiled = Compiler::new(&spec).compile().unwrap();
    assert_eq!(Trained::tensors(), compiled.tensors());
    assert_eq!(Trained::ARENA_BYTES, compiled.info().arena_bytes);
}

#[test]
fn typed_sessions_take_arrays() {
    let network = Trained::embedded();
    let picture = [0.25; Trained::INPUT_LEN];
    let mut session = network.session();
    let one: [f32; 10] = *session.run(&picture);
    let mut many = [[0.0; Trained::CLASSES]; 3];
    session.run_batch([picture; 3].as_flattened(), many.as_flattened_mut()).unwrap();
    assert_eq!(many, [one; 3]);
    assert_eq!(session.try_run(&vec![0.25; Trained::INPUT_LEN]).unwrap(), &one);
    let error = session.try_run(&[0.25; 7]).unwrap_err().to_string();
    assert!(error.contains("the input has 7 numbers; `cifar10-resnet20` takes 3072"), "{error}");
    let error =
        session.run_batch(&[0.25; 2 * Trained::INPUT_LEN], many.as_flattened_mut()).unwrap_err();
    assert_eq!(error.to_string(), "there is room for 30 numbers of output; 2 pictures need 20");
}

#[test]
fn weights_of_another_network_are_refused() {
    let weights = Weights::random(&Basic::tensors(), 1);
    let error = Trained::load(&weights).unwrap_err().to_string();
    assert!(error.contains("conv1.weight: the network has [16, 3, 3, 3]"), "{error}");
}

/// Tables in tokens, in a function and in a module, with attributes and visibilities.
#[test]
fn inline_tables_are_items() {
    mod inner {
        resnet::resnet! {
            /// Documented.
            #[allow(dead_code)]
            pub(super) Pooled: 3x16x16 => {
                name = "pooled";
                conv1:   conv(3x3, 16, weights = "stem.0", norm_weights = "stem.1");
                pool1:   max_pool(3, stride = 2)                  -> 8x8;
                conv2_x: basic(32, stride = 2) * 2                -> 32x4x4;
                avgpool: global_average_pool;
                fc:      linear(5);
                softmax;
                labels = [a, b, c, d, "e f"];
            }
            Short: 1x4x4 => { conv(1, 3); }
        }
        pub(super) const SECOND: (usize, &str) = (Short::CLASSES, Short::NAME);
    }
    resnet::resnet!(Local: 2x4x4 => { allow = [skipped_pixels]; conv(1, 3, stride = 2x1); });
    assert_eq!((Local::INPUT_LEN, Local::CLASSES), (32, 24));
    assert_eq!(inner::SECOND, (48, "Short"));
    assert_eq!(inner::Pooled::LABELS[4], "e f");
    let names: Vec<String> =
        inner::Pooled::tensors().into_iter().map(|t| t.name.into_owned()).collect();
    assert!(names.contains(&"stem.0.weight".to_owned()), "{names:?}");
    let network = inner::Pooled::load(&Weights::random(&inner::Pooled::tensors(), 1)).unwrap();
    let sum: f32 = network.session().run(&[0.5; 768]).iter().sum();
    assert!((sum - 1.0).abs() < 1e-5, "{sum}");
}
