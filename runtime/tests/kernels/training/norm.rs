use resnet_runtime::kernels::{
    Activation, BLOCK, BatchParams, Call, Constant, GradientParams, GroupNormParams, PAIR_LEN,
    TRIPLE_LEN,
};

use super::super::{Guarded, Random, assert_close, invoke, tables};
use super::{Plane, SIZES, around_edges, slope};

const EPSILON: f32 = 1e-3;
const MOMENTUM: f32 = 0.25;

/// Images and pixels of each.
const BATCHES: [(usize, usize); 4] = [(1, 2), (2, 1), (3, 7), (5, 49)];

fn batch_params((images, pixels): (usize, usize)) -> BatchParams {
    BatchParams {
        images,
        distance: PAIR_LEN + 5,
        second: BLOCK + 2,
        pixels,
        epsilon: Constant::new(EPSILON),
        momentum: Constant::new(MOMENTUM),
    }
}

/// Two numbers a lane of each image, the second ones positive.
fn pairs(p: &BatchParams, random: &mut Random) -> Vec<f32> {
    let mut all = random.vec((p.images - 1) * p.distance + p.second + BLOCK);
    all.chunks_mut(p.distance).flat_map(|image| &mut image[p.second..]).for_each(|v| *v = v.abs());
    all
}

/// One of an image's numbers.
fn of(p: &BatchParams, all: &[f32], image: usize, second: bool, lane: usize) -> f64 {
    f64::from(all[image * p.distance + if second { p.second } else { 0 } + lane])
}

fn concat(parts: &[&dyn Fn(usize) -> f64]) -> Vec<f64> {
    parts.iter().flat_map(|part| (0..BLOCK).map(part)).collect()
}

#[test]
fn batch_moments() {
    for batch in BATCHES {
        let params = batch_params(batch);
        let mut random = Random(0x2545_f491);
        let p = pairs(&params, &mut random);
        let (g, v) = (random.vec(BLOCK), random.vec(PAIR_LEN));
        let images = batch.0 as f64;
        let mean =
            |lane| (0..batch.0).map(|i| of(&params, &p, i, false, lane)).sum::<f64>() / images;
        // The mean of squares, less the square of the mean.
        let variance = |lane| {
            let square =
                |i| of(&params, &p, i, true, lane) + of(&params, &p, i, false, lane).powi(2);
            (0..batch.0).map(square).sum::<f64>() / images - mean(lane).powi(2)
        };
        let inverse = |lane| 1.0 / (variance(lane) + f64::from(EPSILON)).sqrt();
        let scale = |lane: usize| f64::from(g[lane]) * inverse(lane);
        let sample = (batch.0 * batch.1) as f64;
        let moved = |old: f32, to: f64| f64::from(old) * 0.75 + to * f64::from(MOMENTUM);
        let running_mean = |lane: usize| moved(v[lane], mean(lane));
        let running_variance =
            |lane: usize| moved(v[BLOCK + lane], variance(lane) * sample / (sample - 1.0));
        for (isa, table) in tables() {
            let (mut running, mut y) = (Guarded::from(&v), Guarded::new(TRIPLE_LEN));
            let operands = [p.as_ptr(), g.as_ptr(), running.pointer(), y.pointer()];
            invoke(&Call::BatchMoments(params), table, &operands);
            let what = format!("{isa} {params:?}");
            assert_close(y.full(), &concat(&[&mean, &scale, &inverse]), 1e-5, &what);
            let expected = concat(&[&running_mean, &running_variance]);
            assert_close(running.values(), &expected, 1e-6, &what);
        }
    }
}

#[test]
fn batch_gradient() {
    for batch in BATCHES {
        let params = batch_params(batch);
        let mut random = Random(0x2545_f491);
        let (p, m) = (pairs(&params, &mut random), random.vec(TRIPLE_LEN));
        let sum =
            |second, lane| (0..batch.0).map(|i| of(&params, &p, i, second, lane)).sum::<f64>();
        let sample = (batch.0 * batch.1) as f64;
        let [scale, inverse] = [1, 2].map(|k| {
            let m = &m;
            move |lane: usize| f64::from(m[k * BLOCK + lane])
        });
        let of_scale = |lane| sum(true, lane) * inverse(lane);
        let of_shift = |lane| sum(false, lane);
        let b = |lane| -scale(lane) * inverse(lane) * of_scale(lane) / sample;
        let c = |lane| -scale(lane) * of_shift(lane) / sample;
        for (isa, table) in tables() {
            let [mut w, mut shifts] = [(); 2].map(|()| Guarded::new(BLOCK));
            let mut y = Guarded::new(TRIPLE_LEN);
            let operands = [p.as_ptr(), m.as_ptr(), w.pointer(), shifts.pointer(), y.pointer()];
            invoke(&Call::BatchGradient(params), table, &operands);
            let what = format!("{isa} {params:?}");
            assert_close(w.full(), &concat(&[&of_scale]), 1e-6, &what);
            assert_close(shifts.full(), &concat(&[&of_shift]), 1e-6, &what);
            assert_close(y.full(), &concat(&[&scale, &b, &c]), 1e-6, &what);
        }
    }
}

#[test]
fn sum_images() {
    for batch in BATCHES {
        let params = batch_params(batch);
        let p = pairs(&params, &mut Random(0x2545_f491));
        let sum = |lane| {
            (0..batch.0).map(|i| of(&params, &p, i, false, lane)).sum::<f64>() * batch.1 as f64
        };
        for (isa, table) in tables() {
            let mut y = Guarded::new(BLOCK);
            invoke(&Call::SumImages(params), table, &[p.as_ptr(), y.pointer()]);
            assert_close(y.full(), &concat(&[&sum]), 1e-4, &format!("{isa} {params:?}"));
        }
    }
}

fn gradient_params([x, z, g, r, y]: [&Plane; 5]) -> GradientParams {
    GradientParams {
        rows: x.rows,
        columns: x.columns,
        x_row: x.row,
        z_row: z.row,
        g_row: g.row,
        r_row: r.row,
        y_row: y.row,
        activation: Activation::None,
        residual: false,
    }
}

#[test]
fn norm_sums() {
    for size in SIZES {
        for &activation in Activation::ALL {
            let [of_x, of_z, of_g, of_y] = [2, 4, 8, 6].map(|gap| Plane::new(size, gap));
            let mut random = Random(0x2545_f491);
            let [x, mut z, g] = [of_x, of_z, of_g].map(|plane| plane.random(&mut random));
            around_edges(&mut z);
            let m = random.vec(BLOCK);
            let params = gradient_params([&of_x, &of_z, &of_g, &of_g, &of_y]);
            let params = GradientParams { activation, ..params };
            let masked = |at| of_g.get(&g, at) * slope(activation, of_z.get(&z, at));
            let shift = |lane| of_x.pixels().map(|(r, c)| masked((r, c, lane))).sum::<f64>();
            let product = |lane: usize| {
                let over = |at| of_x.get(&x, at) - f64::from(m[lane]);
                let of = |(r, c)| masked((r, c, lane)) * over((r, c, lane));
                of_x.pixels().map(of).sum::<f64>()
            };
            for (isa, table) in tables() {
                let (mut s, mut y) = (Guarded::new(PAIR_LEN), of_y.output());
                let operands =
                    [x.as_ptr(), m.as_ptr(), z.as_ptr(), g.as_ptr(), s.pointer(), y.pointer()];
                invoke(&Call::NormSums(params), table, &operands);
                let what = format!("{isa} {params:?}");
                of_y.check(&y, masked, 2e-6, &what);
                assert_close(s.full(), &concat(&[&shift, &product]), 1e-5, &what);
            }
        }
    }
}

#[test]
fn norm_input() {
    for size in SIZES {
        for residual in [false, true] {
            let [of_x, of_g, of_r, of_y] = [2, 4, 8, 6].map(|gap| Plane::new(size, gap));
            let mut random = Random(0x2545_f491);
            let [x, g, r] = [of_x, of_g, of_r].map(|plane| plane.random(&mut random));
            let (m, c) = (random.vec(BLOCK), random.vec(TRIPLE_LEN));
            let params = gradient_params([&of_x, &of_x, &of_g, &of_r, &of_y]);
            let params = GradientParams { residual, ..params };
            let expected = |at: (usize, usize, usize)| {
                let lane = at.2;
                let [a, b, c] = [0, 1, 2].map(|k| f64::from(c[k * BLOCK + lane]));
                let over = of_x.get(&x, at) - f64::from(m[lane]);
                let r = if residual { of_r.get(&r, at) } else { 0.0 };
                a * of_g.get(&g, at) + b * over + c + r
            };
            for (isa, table) in tables() {
                let mut y = of_y.output();
                let inputs = [&x, &m, &g, &c, &r].map(|values| values.as_ptr());
                let operands = [&inputs[..], &[y.pointer()]].concat();
                invoke(&Call::NormInput(params), table, &operands);
                of_y.check(&y, expected, 2e-6, &format!("{isa} {params:?}"));
            }
        }
    }
}

/// Channels and channels of a group.
const GROUPS: [(usize, usize); 6] = [(1, 1), (16, 4), (20, 5), (21, 7), (48, 3), (64, 32)];

fn group_params((channels, group): (usize, usize)) -> GroupNormParams {
    let (second, pixels) = (channels + 3, 6);
    GroupNormParams { channels, group, second, pixels, epsilon: Constant::new(EPSILON) }
}

/// Numbers of channels, so many a block, zeros where there are no channels.
fn blocked(channels: usize, parts: &[&dyn Fn(usize) -> f64]) -> Vec<f64> {
    let block = |block: usize| {
        let number = move |part: &&dyn Fn(usize) -> f64, lane: usize| {
            let channel = block * BLOCK + lane;
            if channel < channels { part(channel) } else { 0.0 }
        };
        parts.iter().flat_map(move |part| (0..BLOCK).map(move |lane| number(part, lane)))
    };
    (0..channels.div_ceil(BLOCK)).flat_map(block).collect()
}

/// The mean over a channel's group.
fn group_mean(group: usize, channel: usize, of: impl Fn(usize) -> f64) -> f64 {
    let first = channel / group * group;
    (first..first + group).map(of).sum::<f64>() / group as f64
}

#[test]
fn group_moments() {
    for case in GROUPS {
        let params = group_params(case);
        let (channels, group) = case;
        let mut random = Random(0x9e37_79b9);
        let mut p = random.vec(params.second + channels);
        p[params.second..].iter_mut().for_each(|variance| *variance = variance.abs());
        let w = random.vec(channels);
        let [mean, variance] = [0, params.second].map(|from| {
            let p = &p;
            move |c: usize| f64::from(p[from + c])
        });
        let means = |c| group_mean(group, c, mean);
        let inverse = |c| {
            let squares = group_mean(group, c, |c| variance(c) + mean(c).powi(2));
            1.0 / (squares - means(c).powi(2) + f64::from(EPSILON)).sqrt()
        };
        let scale = |c: usize| f64::from(w[c]) * inverse(c);
        let expected = blocked(channels, &[&means, &scale, &inverse]);
        for (isa, table) in tables() {
            let mut y = Guarded::new(expected.len());
            invoke(&Call::GroupMoments(params), table, &[p.as_ptr(), w.as_ptr(), y.pointer()]);
            assert_close(y.full(), &expected, 1e-5, &format!("{isa} {params:?}"));
        }
    }
}

#[test]
fn group_gradient() {
    for case in GROUPS {
        let params = group_params(case);
        let (channels, group) = case;
        let blocks = channels.div_ceil(BLOCK);
        let mut random = Random(0x9e37_79b9);
        let (p, m) = (random.vec(blocks * PAIR_LEN), random.vec(blocks * TRIPLE_LEN));
        let number = |values: &[f32], each: usize, k: usize, c: usize| {
            f64::from(values[c / BLOCK * each + k * BLOCK + c % BLOCK])
        };
        let [sum, product] = [0, 1].map(|k| {
            let p = &p;
            move |c| number(p, PAIR_LEN, k, c)
        });
        let [scale, inverse] = [1, 2].map(|k| {
            let m = &m;
            move |c| number(m, TRIPLE_LEN, k, c)
        });
        let pixels = params.pixels as f64;
        let of_scale = |c| product(c) * inverse(c);
        let b = |c| -group_mean(group, c, |c| scale(c) * product(c) * inverse(c).powi(2)) / pixels;
        let c = |c| -group_mean(group, c, |c| scale(c) * sum(c)) / pixels;
        for (isa, table) in tables() {
            let [mut w, mut shifts] = [(); 2].map(|()| Guarded::new(blocks * BLOCK));
            let mut y = Guarded::new(blocks * TRIPLE_LEN);
            let operands = [p.as_ptr(), m.as_ptr(), w.pointer(), shifts.pointer(), y.pointer()];
            invoke(&Call::GroupGradient(params), table, &operands);
            let what = format!("{isa} {params:?}");
            assert_close(w.full(), &blocked(channels, &[&of_scale]), 1e-6, &what);
            assert_close(shifts.full(), &blocked(channels, &[&sum]), 1e-6, &what);
            assert_close(y.full(), &blocked(channels, &[&scale, &b, &c]), 1e-6, &what);
        }
    }
}
