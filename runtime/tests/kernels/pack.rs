use resnet_runtime::kernels::{
    BLOCK, Call, ConvParams, ConvShape, Element, Epilogue, Isa, PanelFormat, Panels, Transform,
};
use resnet_runtime::weights::pack::{Norm, PackError, pack_conv};

use super::winograd::Form;
use super::{Guarded, Random, assert_close, invoke};

fn panels(out_channels: usize, in_channels: usize, kernel: (usize, usize)) -> Panels {
    let (kernel_rows, kernel_columns) = kernel;
    Panels {
        shape: ConvShape { out_channels, in_channels, groups: 1, kernel_rows, kernel_columns },
        format: PanelFormat {
            planar: false,
            panel_blocks: 2,
            in_blocks: in_channels.div_ceil(BLOCK),
            in_block_step: 0,
            transform: Transform::None,
            element: Element::F32,
        },
    }
}

fn planar(out_channels: usize, in_channels: usize, kernel: (usize, usize)) -> Panels {
    let panels = panels(out_channels, in_channels, kernel);
    panels.with(|format| (format.planar, format.in_blocks) = (true, in_channels))
}

/// One panel a block of 16, each reading the `in_blocks` blocks from `in_block_step * g` on.
fn grouped(channels: (usize, usize), groups: usize, in_blocks: usize, step: usize) -> Panels {
    let Panels { shape, format } = panels(channels.0, channels.1, (3, 3));
    let format = PanelFormat { panel_blocks: 1, in_blocks, in_block_step: step, ..format };
    Panels { shape: ConvShape { groups, ..shape }, format }
}

trait Variants {
    /// The same shape in another format.
    fn with(self, change: impl FnOnce(&mut PanelFormat)) -> Self;
}

impl Variants for Panels {
    fn with(mut self, change: impl FnOnce(&mut PanelFormat)) -> Self {
        change(&mut self.format);
        self
    }
}

struct Values {
    weight: Vec<f32>,
    bias: Vec<f32>,
    norm: [Vec<f32>; 4],
}

impl Values {
    fn new(panels: &Panels) -> Self {
        let mut random = Random(0x0dd_ba11);
        let n = panels.shape.out_channels;
        let weight = random.vec(n * panels.shape.channel_len());
        let bias = random.vec(n);
        let mut norm = [random.vec(n), random.vec(n), random.vec(n), random.vec(n)];
        norm[3].iter_mut().for_each(|variance| *variance = variance.abs() + 0.1);
        Self { weight, bias, norm }
    }

    fn norm(&self) -> Norm<'_> {
        let [weight, bias, mean, variance] = &self.norm;
        Norm { weight, bias, mean, variance, epsilon: 1e-5 }
    }

    fn scale(&self, channel: usize) -> f64 {
        f64::from(self.norm[0][channel]) / (f64::from(self.norm[3][channel]) + 1e-5).sqrt()
    }
}

/// The packed form, element by element, as the documentation of `Panels` has it.
fn expected(panels: &Panels, values: &Values) -> Vec<f64> {
    let (lanes, kernel) = (panels.format.lanes(), panels.shape.kernel_len());
    let (group_in, group_out) = (
        panels.shape.in_channels / panels.shape.groups,
        panels.shape.out_channels / panels.shape.groups,
    );
    let mut packed = vec![];
    for panel in 0..panels.shape.out_blocks().div_ceil(panels.format.panel_blocks) {
        let first = panel * panels.format.panel_blocks;
        let width = (panels.shape.out_blocks() - first).min(panels.format.panel_blocks) * BLOCK;
        for (k, block) in order(panels) {
            for (lane, o) in (0..lanes).flat_map(|lane| (0..width).map(move |o| (lane, o))) {
                let input = (panel * panels.format.in_block_step + block) * lanes + lane;
                let output = first * BLOCK + o;
                let exists = output < panels.shape.out_channels
                    && input < panels.shape.in_channels
                    && input / group_in == output / group_out;
                packed.push(if exists {
                    let at = output * group_in + input % group_in;
                    let kernel = &values.weight[at * kernel..][..kernel];
                    let scale = values.scale(output);
                    let folded: Vec<f64> = kernel.iter().map(|&w| f64::from(w) * scale).collect();
                    match panels.format.transform {
                        Transform::None => folded[k],
                        transform => Form::of(transform).weight(k, &folded),
                    }
                } else {
                    0.0
                });
            }
        }
    }
    for channel in 0..panels.shape.out_blocks() * BLOCK {
        packed.push(if channel < panels.shape.out_channels {
            let mean = f64::from(values.norm[2][channel]);
            let shift = f64::from(values.norm[1][channel]);
            (f64::from(values.bias[channel]) - mean) * values.scale(channel) + shift
        } else {
            0.0
        });
    }
    if panels.format.transform != Transform::None {
        assert_eq!(packed.len(), panels.zeros_offset() / 4);
        packed.extend([0.0; 2 * BLOCK]);
    }
    packed
}

/// The kernel's points and the input blocks, in the order in which a panel has them: for each
/// convolution that it is for, those of a block together.
fn order(panels: &Panels) -> Vec<(usize, usize)> {
    let (points, blocks) = (panels.kernel_points(), panels.format.in_blocks);
    let together = match panels.format.transform {
        Transform::None => points,
        Transform::Winograd4x1Stride2 => panels.shape.kernel_columns,
        _ => 1,
    };
    let firsts = (0..points).step_by(together);
    let blocks = firsts.flat_map(|first| (0..blocks).map(move |block| (first, block)));
    blocks.flat_map(|(first, b)| (first..first + together).map(move |k| (k, b))).collect()
}

fn all() -> Vec<Panels> {
    let single = |panels: Panels| panels.with(|format| format.panel_blocks = 1);
    let double = |panels: Panels| panels.with(|format| format.panel_blocks = 2);
    let mut all = vec![
        panels(16, 16, (1, 1)),
        panels(32, 16, (3, 3)),
        panels(48, 32, (3, 3)),
        panels(1000, 24, (1, 1)),
        panels(5, 3, (2, 3)),
        panels(40, 17, (1, 3)),
        single(panels(48, 32, (3, 3))),
        planar(64, 3, (7, 7)),
        planar(10, 1, (3, 3)),
        planar(33, 4, (1, 5)),
        // Groups of 4 channels, as in ResNeXt; depthwise; groups of more than a block; of 24
        // channels, where a panel needs parts of two groups.
        grouped((64, 64), 16, 1, 1),
        grouped((32, 32), 32, 1, 1),
        grouped((64, 64), 2, 4, 0),
        grouped((48, 48), 2, 3, 0),
        double(grouped((64, 64), 2, 2, 2)),
        double(grouped((128, 64), 32, 1, 1)),
    ];
    for transform in [
        Transform::Winograd2x2,
        Transform::Winograd4x4,
        Transform::Winograd2x2Stride2,
        Transform::Winograd4x4Stride2,
    ] {
        let of_3x3 = [
            panels(32, 16, (3, 3)),
            panels(48, 32, (3, 3)),
            panels(5, 3, (3, 3)),
            panels(40, 17, (3, 3)),
            single(panels(48, 32, (3, 3))),
            grouped((64, 64), 16, 1, 1),
            grouped((48, 48), 2, 3, 0),
            double(grouped((64, 64), 2, 2, 2)),
        ];
        all.extend(of_3x3.map(|panels| panels.with(|format| format.transform = transform)));
    }
    let of_7x7 = [
        planar(64, 3, (7, 7)),
        planar(10, 1, (7, 7)),
        planar(33, 4, (7, 7)),
        single(planar(48, 3, (7, 7))),
    ];
    let transform = Transform::Winograd4x1Stride2;
    all.extend(of_7x7.map(|panels| panels.with(|format| format.transform = transform)));
    all
}

#[test]
fn every_element_is_where_the_format_says() {
    for panels in all() {
        let values = Values::new(&panels);
        let expected = expected(&panels, &values);
        assert_eq!(expected.len(), panels.bytes() / 4);
        let mut packed = vec![f32::NAN; panels.bytes() / 4];
        pack_conv(&panels, &values.weight, Some(&values.bias), Some(values.norm()), &mut packed)
            .unwrap();
        // Sums of nine, in another order, may fall on the other side of a rounding to `f32`.
        let tolerance = match panels.format.transform {
            Transform::None => 0.0,
            _ => f64::from(f32::EPSILON),
        };
        for (at, (&found, &expected)) in packed.iter().zip(&expected).enumerate() {
            let error = f64::from((found - expected as f32).abs());
            assert!(
                error <= tolerance * expected.abs(),
                "element {at} is {found}, expected {expected}, in {panels:?}"
            );
        }
    }
}

#[test]
fn without_norm_the_weights_and_biases_are_as_they_are() {
    let panels = panels(16, 16, (1, 1));
    let values = Values::new(&panels);
    let mut packed = vec![f32::NAN; panels.bytes() / 4];
    pack_conv(&panels, &values.weight, None, None, &mut packed).unwrap();
    assert_eq!(packed[3 * 16 + 5], values.weight[5 * 16 + 3]);
    assert_eq!(packed[16 * 16..], [0.0; 16]);
    pack_conv(&panels, &values.weight, Some(&values.bias), None, &mut packed).unwrap();
    assert_eq!(packed[16 * 16..], values.bias);
}

#[test]
fn denormals_become_zero() {
    let panels = panels(16, 16, (1, 1));
    let mut values = Values::new(&panels);
    values.weight.fill(1e-30);
    values.weight[1] = -1e-45;
    values.norm[0].fill(1e-9);
    values.norm[0][0] = 1.0;
    values.norm[1].fill(-1e-40);
    values.norm[2].fill(0.0);
    let mut packed = vec![f32::NAN; panels.bytes() / 4];
    pack_conv(&panels, &values.weight, None, Some(values.norm()), &mut packed).unwrap();
    let normal = |value: &&f32| value.to_bits() != 0;
    // Output channel 0 keeps its 15 normal weights; nothing else is large enough.
    assert_eq!(packed.iter().filter(normal).count(), 15);
    assert!(packed.iter().all(|value| !value.is_subnormal()));
}

/// Packing and kernel together are a grouped convolution.
#[test]
fn packed_panels_feed_the_kernel() {
    let panels = grouped((32, 32), 8, 1, 1);
    let values = Values::new(&panels);
    let mut packed = vec![0.0; panels.bytes() / 4];
    pack_conv(&panels, &values.weight, Some(&values.bias), None, &mut packed).unwrap();

    let (pixels, x_row) = (6, 8 * BLOCK);
    let x_block = 3 * x_row;
    let x = Random(0x5eed).vec(2 * x_block);
    let params = ConvParams {
        pixels,
        x_step: BLOCK,
        blocks: 1,
        x_block,
        kernel_rows: 3,
        kernel_columns: 3,
        x_row,
        x_column: BLOCK,
        out_blocks: 1,
        y_block: 0,
        r_block: 0,
        epilogue: Epilogue::NONE,
        next: 0,
    };
    for panel in 0..2 {
        let mut expected = vec![];
        for (pixel, lane) in (0..pixels).flat_map(|p| (0..BLOCK).map(move |lane| (p, lane))) {
            let output = panel * BLOCK + lane;
            let mut sum = f64::from(values.bias[output]);
            for (at, weight) in values.weight[output * 36..][..36].iter().enumerate() {
                let (input, row, column) = (output / 4 * 4 + at / 9, at % 9 / 3, at % 3);
                let x_at = input / BLOCK * x_block + row * x_row + (pixel + column) * BLOCK;
                sum += f64::from(*weight) * f64::from(x[x_at + input % BLOCK]);
            }
            expected.push(sum);
        }
        let mut y = Guarded::new(pixels * BLOCK);
        let x = x[panel * x_block..].as_ptr();
        let w = packed[panel * panels.panel_len()..].as_ptr();
        let b = packed[panels.weights_len() + panel * BLOCK..].as_ptr();
        let table = Isa::detect().table().unwrap();
        invoke(
            &Call::Conv(params),
            table,
            &[x, w, b, std::ptr::null(), std::ptr::null(), y.pointer()],
        );
        assert_close(y.full(), &expected, 1e-5, "grouped");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let panels = panels(16, 16, (3, 3));
    let values = Values::new(&panels);
    let mut packed = vec![0.0; panels.bytes() / 4];
    let mut pack = |panels: &Panels, weight: &[f32], bias: &[f32], norm: Norm<'_>| {
        pack_conv(panels, weight, Some(bias), Some(norm), &mut packed).unwrap_err().to_string()
    };
    let (weight, bias, norm) = (&values.weight[..], &values.bias[..], values.norm());
    assert_eq!(
        pack(&panels, &weight[1..], bias, norm),
        "the weight has 2303 elements where the network needs 2304"
    );
    assert_eq!(
        pack(&panels, weight, &bias[..3], norm),
        "the bias has 3 elements where the network needs 16"
    );
    assert_eq!(
        pack(&panels, weight, bias, Norm { mean: &[], ..norm }),
        "the norm's running mean has 0 elements where the network needs 16"
    );
    let mut variance = norm.variance.to_vec();
    for bad in [-1.0, f32::NAN, f32::INFINITY] {
        variance[7] = bad;
        let found = pack(&panels, weight, bias, Norm { variance: &variance, ..norm });
        let expected = format!(
            "the running variance of channel 7 is {bad}; with the epsilon 0.00001 it has to be a \
             positive number"
        );
        assert_eq!(found, expected);
    }
    let shape = |change: fn(&mut ConvShape)| {
        let mut panels = panels;
        change(&mut panels.shape);
        panels
    };
    assert_eq!(
        pack(&shape(|shape| shape.groups = 3), weight, bias, norm),
        "the packing recipe is inconsistent: the groups do not divide the channels"
    );
    let seven = shape(|shape| (shape.kernel_rows, shape.kernel_columns) = (7, 7));
    for (transform, wrong) in [
        (Transform::Winograd4x4, shape(|shape| shape.kernel_rows = 1)),
        (Transform::Winograd2x2Stride2, panels.with(|format| format.planar = true)),
        (Transform::Winograd4x4Stride2, seven),
        (Transform::Winograd4x1Stride2, panels.with(|format| format.planar = true)),
        (Transform::Winograd4x1Stride2, seven),
    ] {
        assert_eq!(
            pack(&wrong.with(|format| format.transform = transform), weight, bias, norm),
            "the packing recipe is inconsistent: the transform is for another kernel or layout"
        );
    }
    let short = pack_conv(&panels, weight, None, None, &mut [0.0; 8]).unwrap_err();
    let expected = panels.bytes() / 4;
    assert_eq!(short, PackError::Length { tensor: "packed form", found: 8, expected });
}

#[test]
fn a_panel_that_misses_inputs_of_its_groups_is_refused() {
    for panels in [grouped((48, 48), 2, 1, 1), grouped((64, 64), 2, 2, 1)] {
        let values = Values::new(&panels);
        let mut packed = vec![0.0; panels.bytes() / 4];
        let error = pack_conv(&panels, &values.weight, None, None, &mut packed).unwrap_err();
        assert!(matches!(error, PackError::Recipe(_)), "{error}");
    }
}
