// What `resnet!` makes of the table of `residual`.
//
// SAFETY, for every unsafe block: the compiler has verified, over all values of the loops'
// variables, that no kernel call leaves the memory that the run was given, whose lengths stand
// in `MODEL`, and that only the arena and the output are written.

/// The network `residual`: pictures of 3x32x32 in, 10 numbers out; depth 4, 15,322 parameters, 1,360,192 multiply-adds.
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
pub struct Residual(::resnet::runtime::compiled::Loaded);
const _: () = {
    use ::resnet::runtime::compiled as rt;
    use ::core::{
        default::Default, option::Option::{self, None, Some},
        result::Result,
    };
    impl Residual {
        /// The network's name.
        pub const NAME: &'static str = "residual";
        /// Channels, height and width of a picture.
        pub const INPUT: [usize; 3] = [3, 32, 32];
        /// Numbers in a picture.
        pub const INPUT_LEN: usize = 3072;
        /// Numbers in an answer.
        pub const CLASSES: usize = 10;
        /// Names of the classes; empty if the table has none.
        pub const LABELS: &'static [&'static str] = &[];
        /// Weighted layers, projections not counted.
        pub const DEPTH: usize = 4;
        /// Weights, biases and batch norm's scales and shifts.
        pub const PARAMS: usize = 15322;
        /// Multiply-adds for one picture.
        pub const MACS: u64 = 1360192;
        /// Bytes of a session's memory for activations.
        pub const ARENA_BYTES: usize = 86272;
        /// Pictures that are computed together when a session is given several.
        pub const BATCH: usize = 1;
        /// How a picture becomes the network's input.
        pub fn preprocess() -> rt::Preprocess {
            rt::Preprocess {
                resize: Some(32),
                crop: Some((32, 32)),
                mean: ::std::vec![- 0.5],
                std: ::std::vec![0.25],
            }
        }
        /// The tensors that a weights file has to hold.
        pub fn tensors() -> ::std::vec::Vec<rt::TensorSpec> {
            MODEL.tensors()
        }
        /// Folds batch norms into the convolutions, packs the weights, and picks the best
        /// instruction set that this CPU has.
        ///
        /// # Errors
        ///
        /// Weights that do not fit the network, or no memory.
        pub fn load(weights: &rt::Weights) -> Result<Self, rt::LoadError> {
            Self::load_with(weights, &Default::default())
        }
        /// The same with options.
        ///
        /// # Errors
        ///
        /// An instruction set that this CPU lacks, too.
        pub fn load_with(
            weights: &rt::Weights,
            options: &rt::LoadOptions,
        ) -> Result<Self, rt::LoadError> {
            MODEL.load(weights, options).map(Self)
        }
        /// What runs the network on the thread that calls it: one per thread of the caller's.
        ///
        /// # Panics
        ///
        /// If the operating system does not give the memory, as a `Vec` would.
        pub fn session(
            &self,
        ) -> rt::Session<{ Residual::INPUT_LEN }, { Residual::CLASSES }> {
            self.session_in(None).expect("out of memory for a session")
        }
        /// The same, with a pool to divide each layer among its threads.
        ///
        /// # Errors
        ///
        /// If the operating system does not give the memory.
        pub fn session_in(
            &self,
            pool: Option<&rt::Pool>,
        ) -> ::std::io::Result<
            rt::Session<{ Residual::INPUT_LEN }, { Residual::CLASSES }>,
        > {
            rt::Session::new(&self.0, pool)
        }
    }
    impl rt::Network for Residual {
        fn info(&self) -> &rt::Info {
            self.0.info()
        }
        fn session_in(
            &self,
            pool: Option<&rt::Pool>,
        ) -> ::std::io::Result<::std::boxed::Box<dyn rt::DynSession>> {
            rt::Network::session_in(&self.0, pool)
        }
    }
    static MODEL: rt::Model = unsafe {
        rt::Model::new(rt::Emitted {
            name: Residual::NAME,
            input: Residual::INPUT,
            outputs: Residual::CLASSES,
            depth: Residual::DEPTH,
            params: Residual::PARAMS as u64,
            macs: Residual::MACS,
            tensors: &[
                rt::TensorSpec {
                    name: "conv1.weight",
                    shape: &[16, 3, 3, 3],
                    init: rt::Init::Normal(0.27216554),
                },
                rt::TensorSpec {
                    name: "bn1.weight",
                    shape: &[16],
                    init: rt::Init::Uniform(0.8, 1.2),
                },
                rt::TensorSpec {
                    name: "bn1.bias",
                    shape: &[16],
                    init: rt::Init::Uniform(-0.2, 0.2),
                },
                rt::TensorSpec {
                    name: "bn1.running_mean",
                    shape: &[16],
                    init: rt::Init::Uniform(-0.2, 0.2),
                },
                rt::TensorSpec {
                    name: "bn1.running_var",
                    shape: &[16],
                    init: rt::Init::Uniform(0.5, 1.5),
                },
                rt::TensorSpec {
                    name: "layer1.0.conv1.weight",
                    shape: &[32, 16, 3, 3],
                    init: rt::Init::Normal(0.11785113),
                },
                rt::TensorSpec {
                    name: "layer1.0.bn1.weight",
                    shape: &[32],
                    init: rt::Init::Uniform(0.8, 1.2),
                },
                rt::TensorSpec {
                    name: "layer1.0.bn1.bias",
                    shape: &[32],
                    init: rt::Init::Uniform(-0.2, 0.2),
                },
                rt::TensorSpec {
                    name: "layer1.0.bn1.running_mean",
                    shape: &[32],
                    init: rt::Init::Uniform(-0.2, 0.2),
                },
                rt::TensorSpec {
                    name: "layer1.0.bn1.running_var",
                    shape: &[32],
                    init: rt::Init::Uniform(0.5, 1.5),
                },
                rt::TensorSpec {
                    name: "layer1.0.conv2.weight",
                    shape: &[32, 32, 3, 3],
                    init: rt::Init::Normal(0.083333336),
                },
                rt::TensorSpec {
                    name: "layer1.0.bn2.weight",
                    shape: &[32],
                    init: rt::Init::Uniform(0.1, 0.3),
                },
                rt::TensorSpec {
                    name: "layer1.0.bn2.bias",
                    shape: &[32],
                    init: rt::Init::Uniform(-0.2, 0.2),
                },
                rt::TensorSpec {
                    name: "layer1.0.bn2.running_mean",
                    shape: &[32],
                    init: rt::Init::Uniform(-0.2, 0.2),
                },
                rt::TensorSpec {
                    name: "layer1.0.bn2.running_var",
                    shape: &[32],
                    init: rt::Init::Uniform(0.5, 1.5),
                },
                rt::TensorSpec {
                    name: "layer1.0.downsample.0.weight",
                    shape: &[32, 16, 1, 1],
                    init: rt::Init::Normal(0.35355338),
                },
                rt::TensorSpec {
                    name: "layer1.0.downsample.1.weight",
                    shape: &[32],
                    init: rt::Init::Uniform(0.8, 1.2),
                },
                rt::TensorSpec {
                    name: "layer1.0.downsample.1.bias",
                    shape: &[32],
                    init: rt::Init::Uniform(-0.2, 0.2),
                },
                rt::TensorSpec {
                    name: "layer1.0.downsample.1.running_mean",
                    shape: &[32],
                    init: rt::Init::Uniform(-0.2, 0.2),
                },
                rt::TensorSpec {
                    name: "layer1.0.downsample.1.running_var",
                    shape: &[32],
                    init: rt::Init::Uniform(0.5, 1.5),
                },
                rt::TensorSpec {
                    name: "fc.weight",
                    shape: &[10, 32],
                    init: rt::Init::Normal(0.17677669),
                },
                rt::TensorSpec {
                    name: "fc.bias",
                    shape: &[10],
                    init: rt::Init::Uniform(-0.1, 0.1),
                },
            ],
            recipes: &[
                rt::ConvRecipe {
                    weight: "conv1.weight",
                    bias: None,
                    norm: Some(rt::NormTensors {
                        weight: "bn1.weight",
                        bias: "bn1.bias",
                        mean: "bn1.running_mean",
                        variance: "bn1.running_var",
                        epsilon: 0.00001,
                    }),
                    out_channels: 16,
                    in_channels: 3,
                    groups: 1,
                    kernel_rows: 3,
                    kernel_columns: 3,
                    planar: true,
                    panel_blocks: 1,
                    in_blocks: 3,
                    in_block_step: 0,
                    transform: rt::Transform::None,
                    offset: 0,
                },
                rt::ConvRecipe {
                    weight: "layer1.0.conv1.weight",
                    bias: None,
                    norm: Some(rt::NormTensors {
                        weight: "layer1.0.bn1.weight",
                        bias: "layer1.0.bn1.bias",
                        mean: "layer1.0.bn1.running_mean",
                        variance: "layer1.0.bn1.running_var",
                        epsilon: 0.00001,
                    }),
                    out_channels: 32,
                    in_channels: 16,
                    groups: 1,
                    kernel_rows: 3,
                    kernel_columns: 3,
                    planar: false,
                    panel_blocks: 2,
                    in_blocks: 1,
                    in_block_step: 0,
                    transform: rt::Transform::None,
                    offset: 448,
                },
                rt::ConvRecipe {
                    weight: "layer1.0.downsample.0.weight",
                    bias: None,
                    norm: Some(rt::NormTensors {
                        weight: "layer1.0.downsample.1.weight",
                        bias: "layer1.0.downsample.1.bias",
                        mean: "layer1.0.downsample.1.running_mean",
                        variance: "layer1.0.downsample.1.running_var",
                        epsilon: 0.00001,
                    }),
                    out_channels: 32,
                    in_channels: 16,
                    groups: 1,
                    kernel_rows: 1,
                    kernel_columns: 1,
                    planar: false,
                    panel_blocks: 2,
                    in_blocks: 1,
                    in_block_step: 0,
                    transform: rt::Transform::None,
                    offset: 5088,
                },
                rt::ConvRecipe {
                    weight: "layer1.0.conv2.weight",
                    bias: None,
                    norm: Some(rt::NormTensors {
                        weight: "layer1.0.bn2.weight",
                        bias: "layer1.0.bn2.bias",
                        mean: "layer1.0.bn2.running_mean",
                        variance: "layer1.0.bn2.running_var",
                        epsilon: 0.00001,
                    }),
                    out_channels: 32,
                    in_channels: 32,
                    groups: 1,
                    kernel_rows: 3,
                    kernel_columns: 3,
                    planar: false,
                    panel_blocks: 2,
                    in_blocks: 2,
                    in_block_step: 0,
                    transform: rt::Transform::None,
                    offset: 5632,
                },
                rt::ConvRecipe {
                    weight: "fc.weight",
                    bias: Some("fc.bias"),
                    norm: None,
                    out_channels: 10,
                    in_channels: 32,
                    groups: 1,
                    kernel_rows: 1,
                    kernel_columns: 1,
                    planar: false,
                    panel_blocks: 1,
                    in_blocks: 2,
                    in_block_step: 0,
                    transform: rt::Transform::None,
                    offset: 14880,
                },
            ],
            weights_len: 15408,
            variants: &[
                rt::EmittedVariant {
                    batch: 1,
                    arena_len: 21568,
                    infer: batch1::infer,
                },
            ],
        })
    };
    mod batch1 {
        use ::core::ops::Range;
        use ::resnet::runtime::compiled::*;
        /// zeros around 3x32x32, 1 a side
        unsafe fn fn0(
            kernels: &Kernels,
            operands: [*mut f32; 1],
            iterations: Range<usize>,
        ) {
            const RING: RingParams = RingParams {
                rows: 32,
                columns: 32,
                top: 1,
                bottom: 1,
                left: 1,
                right: 1,
                lanes: 1,
            };
            let [y] = operands;
            for _ in iterations {
                unsafe {
                    for block in 0..3 {
                        kernels.ring(&RING, y.add(1156 * block));
                    }
                }
            }
        }
        /// picture 3x32x32 to planar
        unsafe fn fn1(
            kernels: &Kernels,
            operands: [*mut f32; 2],
            iterations: Range<usize>,
        ) {
            const COPY_PLANAR: CopyParams = CopyParams {
                channels: 1,
                rows: 32,
                columns: 32,
                x_row: 32,
                y_row: 34,
                plane: 1024,
            };
            let [x, y] = operands;
            for block in iterations {
                unsafe {
                    kernels
                        .copy_planar(
                            &COPY_PLANAR,
                            x.add(1024 * block),
                            y.add(1156 * block),
                        );
                }
            }
        }
        /// conv 3/1, 3x32x32 -> 16x32x32, relu; direct, planar input, rows outer
        unsafe fn fn2(
            kernels: &Kernels,
            operands: [*mut f32; 4],
            iterations: Range<usize>,
        ) {
            const CONV_PLANAR: ConvParams = ConvParams {
                pixels: 32,
                x_step: 1,
                blocks: 3,
                x_block: 1156,
                kernel_rows: 3,
                kernel_columns: 3,
                x_row: 34,
                x_column: 1,
                out_blocks: 1,
                y_block: 16384,
                r_block: 0,
                residual: 0,
                relu: 1,
            };
            let [x, w, b, y] = operands;
            for row in iterations {
                unsafe {
                    kernels
                        .conv_planar(
                            &CONV_PLANAR,
                            x.add(34 * row),
                            w,
                            b,
                            y.add(512 * row),
                            y.add(512 * row),
                        );
                }
            }
        }
        /// zeros around 16x16x16, 1 a side
        unsafe fn fn3(
            kernels: &Kernels,
            operands: [*mut f32; 1],
            iterations: Range<usize>,
        ) {
            const RING: RingParams = RingParams {
                rows: 16,
                columns: 16,
                top: 1,
                bottom: 1,
                left: 1,
                right: 1,
                lanes: 16,
            };
            let [y] = operands;
            for _ in iterations {
                unsafe {
                    kernels.ring(&RING, y);
                }
            }
        }
        /// max_pool 3/2 16x32x32 -> 16x16x16
        unsafe fn fn4(
            kernels: &Kernels,
            operands: [*mut f32; 2],
            iterations: Range<usize>,
        ) {
            const MAX_POOL: PoolParams = PoolParams {
                in_rows: 32,
                in_columns: 32,
                x_row: 512,
                out_rows: 16,
                out_columns: 16,
                y_row: 288,
                kernel_rows: 3,
                kernel_columns: 3,
                stride_rows: 2,
                stride_columns: 2,
                padding_rows: 1,
                padding_columns: 1,
            };
            let [x, y] = operands;
            for _ in iterations {
                unsafe {
                    kernels.max_pool(&MAX_POOL, x, y);
                }
            }
        }
        /// zeros around 32x8x8, 1 a side
        unsafe fn fn5(
            kernels: &Kernels,
            operands: [*mut f32; 1],
            iterations: Range<usize>,
        ) {
            const RING: RingParams = RingParams {
                rows: 8,
                columns: 8,
                top: 1,
                bottom: 1,
                left: 1,
                right: 1,
                lanes: 16,
            };
            let [y] = operands;
            for _ in iterations {
                unsafe {
                    for block in 0..2 {
                        kernels.ring(&RING, y.add(1600 * block));
                    }
                }
            }
        }
        /// conv 3/2, 16x16x16 -> 32x8x8, relu; direct, rows outer
        unsafe fn fn6(
            kernels: &Kernels,
            operands: [*mut f32; 4],
            iterations: Range<usize>,
        ) {
            const CONV: ConvParams = ConvParams {
                pixels: 8,
                x_step: 32,
                blocks: 1,
                x_block: 5184,
                kernel_rows: 3,
                kernel_columns: 3,
                x_row: 288,
                x_column: 16,
                out_blocks: 2,
                y_block: 1600,
                r_block: 0,
                residual: 0,
                relu: 1,
            };
            let [x, w, b, y] = operands;
            for row in iterations {
                unsafe {
                    kernels
                        .conv(
                            &CONV,
                            x.add(576 * row),
                            w,
                            b,
                            y.add(160 * row),
                            y.add(160 * row),
                        );
                }
            }
        }
        /// conv 1/2, 16x16x16 -> 32x8x8; direct, rows outer
        unsafe fn fn7(
            kernels: &Kernels,
            operands: [*mut f32; 4],
            iterations: Range<usize>,
        ) {
            const CONV: ConvParams = ConvParams {
                pixels: 8,
                x_step: 32,
                blocks: 1,
                x_block: 5184,
                kernel_rows: 1,
                kernel_columns: 1,
                x_row: 288,
                x_column: 16,
                out_blocks: 2,
                y_block: 1024,
                r_block: 0,
                residual: 0,
                relu: 0,
            };
            let [x, w, b, y] = operands;
            for row in iterations {
                unsafe {
                    kernels
                        .conv(
                            &CONV,
                            x.add(576 * row),
                            w,
                            b,
                            y.add(128 * row),
                            y.add(128 * row),
                        );
                }
            }
        }
        /// conv 3/1, 32x8x8 -> 32x8x8, + residual, relu; direct, rows outer
        unsafe fn fn8(
            kernels: &Kernels,
            operands: [*mut f32; 5],
            iterations: Range<usize>,
        ) {
            const CONV: ConvParams = ConvParams {
                pixels: 8,
                x_step: 16,
                blocks: 2,
                x_block: 1600,
                kernel_rows: 3,
                kernel_columns: 3,
                x_row: 160,
                x_column: 16,
                out_blocks: 2,
                y_block: 1024,
                r_block: 1024,
                residual: 1,
                relu: 1,
            };
            let [x, w, b, y, r] = operands;
            for row in iterations {
                unsafe {
                    kernels
                        .conv(
                            &CONV,
                            x.add(160 * row),
                            w,
                            b,
                            r.add(128 * row),
                            y.add(128 * row),
                        );
                }
            }
        }
        /// mean 32x8x8 -> 32x1x1
        unsafe fn fn9(
            kernels: &Kernels,
            operands: [*mut f32; 2],
            iterations: Range<usize>,
        ) {
            const MEAN: MeanParams = MeanParams {
                rows: 8,
                columns: 8,
                x_row: 128,
            };
            let [x, y] = operands;
            for block in iterations {
                unsafe {
                    kernels.mean(&MEAN, x.add(1024 * block), y.add(16 * block));
                }
            }
        }
        /// conv 1/1, 32x1x1 -> 10x1x1; direct, rows outer
        unsafe fn fn10(
            kernels: &Kernels,
            operands: [*mut f32; 4],
            iterations: Range<usize>,
        ) {
            const CONV: ConvParams = ConvParams {
                pixels: 1,
                x_step: 16,
                blocks: 2,
                x_block: 16,
                kernel_rows: 1,
                kernel_columns: 1,
                x_row: 16,
                x_column: 16,
                out_blocks: 1,
                y_block: 16,
                r_block: 0,
                residual: 0,
                relu: 0,
            };
            let [x, w, b, y] = operands;
            for _ in iterations {
                unsafe {
                    kernels.conv(&CONV, x, w, b, y, y);
                }
            }
        }
        /// answer 10x1x1, last 10 channels
        unsafe fn fn11(
            kernels: &Kernels,
            operands: [*mut f32; 2],
            iterations: Range<usize>,
        ) {
            const TO_PLANAR: CopyParams = CopyParams {
                channels: 10,
                rows: 1,
                columns: 1,
                x_row: 16,
                y_row: 1,
                plane: 1,
            };
            let [x, y] = operands;
            for _ in iterations {
                unsafe {
                    kernels.to_planar(&TO_PLANAR, x, y);
                }
            }
        }
        /// The whole network, layer by layer.
        pub(super) unsafe fn infer(run: &Run<'_>) {
            let (input, output) = (run.input(), run.output());
            let (arena, weights) = (run.arena(), run.weights());
            unsafe {
                // input.ring
                run.parallel(1, fn0, [arena.add(16384)]);
                // input
                run.parallel(3, fn1, [input, arena.add(16419)]);
                // conv1
                run.parallel(
                    32,
                    fn2,
                    [arena.add(16384), weights, weights.add(432), arena],
                );
                // pool1.ring
                run.parallel(1, fn3, [arena.add(16384)]);
                // pool1
                run.parallel(1, fn4, [arena, arena.add(16688)]);
                // conv2_x.0.conv1.ring
                run.parallel(1, fn5, [arena]);
                // conv2_x.0.conv1
                run.parallel(
                    8,
                    fn6,
                    [
                        arena.add(16384),
                        weights.add(448),
                        weights.add(5056),
                        arena.add(176),
                    ],
                );
                // conv2_x.0.downsample
                run.parallel(
                    8,
                    fn7,
                    [
                        arena.add(16688),
                        weights.add(5088),
                        weights.add(5600),
                        arena.add(3200),
                    ],
                );
                // conv2_x.0.conv2
                run.parallel(
                    8,
                    fn8,
                    [
                        arena,
                        weights.add(5632),
                        weights.add(14848),
                        arena.add(5248),
                        arena.add(3200),
                    ],
                );
                // avgpool
                run.parallel(2, fn9, [arena.add(5248), arena]);
                // fc
                run.parallel(
                    1,
                    fn10,
                    [arena, weights.add(14880), weights.add(15392), arena.add(32)],
                );
                // output
                run.parallel(1, fn11, [arena.add(32), output]);
            }
        }
    }
};
