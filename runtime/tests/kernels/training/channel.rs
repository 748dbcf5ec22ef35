use resnet_runtime::kernels::{
    BLOCK, Call, ChannelConvGradientParams, Constant, GateGradientParams, StandardiseParams,
};

use super::super::{Guarded, Random, assert_close, invoke, tables};
use super::{Plane, SIZES};

#[test]
fn gate_gradient() {
    for size in SIZES {
        let [of_x, of_g] = [4, 8].map(|gap| Plane::new(size, gap));
        let mut random = Random(0x1234_5678);
        let (x, g) = (of_x.random(&mut random), of_g.random(&mut random));
        let s: Vec<f32> = random.vec(BLOCK).iter().map(|s| s * 8.0).collect();
        let params =
            GateGradientParams { rows: size.0, columns: size.1, x_row: of_x.row, g_row: of_g.row };
        let expected: Vec<f64> = (0..BLOCK)
            .map(|lane| {
                let product = |(r, c)| of_x.get(&x, (r, c, lane)) * of_g.get(&g, (r, c, lane));
                let sigmoid = 1.0 / (1.0 + (-f64::from(s[lane])).exp());
                of_x.pixels().map(product).sum::<f64>() * sigmoid * (1.0 - sigmoid)
            })
            .collect();
        for (isa, table) in tables() {
            let mut y = Guarded::new(BLOCK);
            let operands = [x.as_ptr(), s.as_ptr(), g.as_ptr(), y.pointer()];
            invoke(&Call::GateGradient(params), table, &operands);
            assert_close(y.full(), &expected, 2e-6, &format!("{isa} {params:?}"));
        }
    }
}

#[test]
fn channel_conv_gradient() {
    for (images, channels, kernel) in [(1, 1, 1), (2, 1, 3), (3, 16, 3), (2, 21, 5), (4, 7, 17)] {
        let mut random = Random(0x9e37_79b9);
        let (x_image, g_image) = (channels + 3, channels + 5);
        let (x, g) = (random.vec(images * x_image), random.vec(images * g_image));
        let mut expected: Vec<f64> = (0..kernel)
            .map(|k| {
                let product = |image: usize, channel: usize| {
                    let from = (channel + k).checked_sub(kernel / 2).filter(|&c| c < channels);
                    let x = from.map_or(0.0, |from| f64::from(x[image * x_image + from]));
                    x * f64::from(g[image * g_image + channel])
                };
                let channels = |image| (0..channels).map(move |channel| (image, channel));
                (0..images).flat_map(channels).map(|(i, c)| product(i, c)).sum()
            })
            .collect();
        expected.resize(kernel.next_multiple_of(BLOCK), 0.0);
        let params = ChannelConvGradientParams { images, channels, kernel, x_image, g_image };
        for (isa, table) in tables() {
            let mut y = Guarded::new(expected.len());
            let call = Call::ChannelConvGradient(params);
            invoke(&call, table, &[x.as_ptr(), g.as_ptr(), y.pointer()]);
            assert_close(y.full(), &expected, 1e-6, &format!("{isa} {params:?}"));
        }
    }
}

/// The lengths of a channel's weights, and zeros behind.
const FILTERS: [(usize, usize); 4] = [(2, 0), (27, 5), (64, 0), (147, 13)];

const EPSILON: f32 = 1e-3;

fn in_f64(x: &[f32]) -> Vec<f64> {
    x.iter().copied().map(f64::from).collect()
}

fn standardised(x: &[f64]) -> Vec<f64> {
    let len = x.len() as f64;
    let mean = x.iter().sum::<f64>() / len;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / len;
    x.iter().map(|x| (x - mean) / (variance + f64::from(EPSILON)).sqrt()).collect()
}

#[test]
fn standardise() {
    for (len, padding) in FILTERS {
        let x = Random(0x0bad_5eed).vec(len);
        let mut expected = standardised(&in_f64(&x));
        expected.resize(len + padding, 0.0);
        let params = StandardiseParams { len, padding, epsilon: Constant::new(EPSILON) };
        for (isa, table) in tables() {
            let mut y = Guarded::new(len + padding);
            invoke(&Call::Standardise(params), table, &[x.as_ptr(), y.pointer()]);
            assert_close(y.full(), &expected, 1e-6, &format!("{isa} {params:?}"));
        }
    }
}

#[test]
fn standardise_gradient() {
    for (len, padding) in FILTERS {
        let mut random = Random(0x0bad_5eed);
        let (x, g) = (random.vec(len), random.vec(len));
        let loss = |x: &[f64]| -> f64 {
            standardised(x).iter().zip(&g).map(|(y, &g)| y * f64::from(g)).sum()
        };
        let mut expected: Vec<f64> = (0..len)
            .map(|at| {
                let mut moved = [in_f64(&x), in_f64(&x)];
                moved[0][at] += 1e-5;
                moved[1][at] -= 1e-5;
                (loss(&moved[0]) - loss(&moved[1])) / 2e-5
            })
            .collect();
        expected.resize(len + padding, 0.0);
        let params = StandardiseParams { len, padding, epsilon: Constant::new(EPSILON) };
        for (isa, table) in tables() {
            let mut y = Guarded::new(len + padding);
            let operands = [x.as_ptr(), g.as_ptr(), y.pointer()];
            invoke(&Call::StandardiseGradient(params), table, &operands);
            assert_close(y.full(), &expected, 1e-5, &format!("{isa} {params:?}"));
        }
    }
}
