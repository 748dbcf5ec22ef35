use resnet_runtime::kernels::{
    BLOCK, Call, Constant, CrossEntropyParams, Decay, FetchParams, GatherParams, NOWHERE, SgdParams,
};

use super::super::{Guarded, Random, assert_close, invoke, tables};

#[test]
fn gather() {
    for (len, of, parts) in [(1, 1, 1), (20, 7, 1), (33, 40, 3)] {
        let distance = of + 3;
        let x = Random(0x5eed).vec((parts - 1) * distance + of);
        let t: Vec<u32> =
            (0..len as u32).map(|i| if i % 5 == 4 { NOWHERE } else { i * 7 % of as u32 }).collect();
        let expected: Vec<f64> = t
            .iter()
            .map(|&index| match index {
                NOWHERE => 0.0,
                _ => (0..parts).map(|part| f64::from(x[part * distance + index as usize])).sum(),
            })
            .collect();
        let params = GatherParams { len, of, parts, distance };
        for (isa, table) in tables() {
            let mut y = Guarded::new(len);
            let operands = [x.as_ptr(), t.as_ptr().cast(), y.pointer()];
            invoke(&Call::Gather(params), table, &operands);
            assert_close(y.full(), &expected, 1e-6, &format!("{isa} {params:?}"));
        }
    }
}

/// Not even what is no memory.
#[test]
fn fetching_reads_nothing() {
    for (_, table) in tables() {
        for at in [std::ptr::null(), std::ptr::without_provenance::<f32>(usize::MAX - 128)] {
            invoke(&Call::Fetch(FetchParams { lines: 9 }), table, &[at]);
        }
    }
}

#[test]
fn an_index_past_the_end_reads_nothing() {
    let params = GatherParams { len: 1, of: 4, parts: 1, distance: 0 };
    for (isa, table) in tables() {
        let mut y = Guarded::new(1);
        let operands = [[1.0f32; 4].as_ptr(), [4u32].as_ptr().cast(), y.pointer()];
        invoke(&Call::Gather(params), table, &operands);
        assert_eq!(y.full(), [0.0], "{isa}");
    }
}

#[test]
fn cross_entropy() {
    for (channels, large) in [(1, 1.0), (2, 80.0), (16, 1.0), (21, 3e4)] {
        let mut random = Random(0x5eed);
        let x: Vec<f32> = random.vec(channels).iter().map(|x| x * large).collect();
        // Some classes are impossible, and the probabilities add up to something.
        let t: Vec<f32> = random.vec(channels).iter().map(|t| t.max(0.0)).collect();
        let scale = 0.25;
        let largest = x.iter().copied().map(f64::from).fold(f64::MIN, f64::max);
        let log_sum = x.iter().map(|&x| (f64::from(x) - largest).exp()).sum::<f64>().ln() + largest;
        let total: f64 = t.iter().copied().map(f64::from).sum();
        let pairs = || x.iter().zip(&t).map(|(&x, &t)| (f64::from(x), f64::from(t)));
        let loss: f64 = pairs().map(|(x, t)| t * (log_sum - x)).sum();
        let mut expected: Vec<f64> =
            pairs().map(|(x, t)| scale * ((x - log_sum).exp() * total - t)).collect();
        expected.resize(channels.next_multiple_of(BLOCK), 0.0);
        let params = CrossEntropyParams { channels, scale: Constant::new(scale as f32) };
        for (isa, table) in tables() {
            let (mut l, mut y) = (Guarded::new(1), Guarded::new(expected.len()));
            let operands = [x.as_ptr(), t.as_ptr(), l.pointer(), y.pointer()];
            invoke(&Call::CrossEntropy(params), table, &operands);
            let what = format!("{isa} {params:?}");
            assert_close(l.full(), &[loss], 1e-6 * loss.max(1.0), &what);
            assert_close(y.full(), &expected, 1e-6, &what);
        }
    }
}

#[test]
fn sgd() {
    const RATE: f64 = 0.25;
    const MOMENTUM: f64 = 0.875;
    const DECAY: f64 = 0.0625;
    for len in [16, 48] {
        for decay in [Decay::None, Decay::Classic, Decay::Decoupled] {
            for nesterov in [false, true] {
                let mut random = Random(0x5eed);
                let [g, v, w] = [(); 3].map(|()| random.vec(len));
                let mut h = [0.0; 16];
                h[..3].copy_from_slice(&[RATE, MOMENTUM, DECAY].map(|number| number as f32));
                let step = |at: usize| {
                    let [mut g, v, mut w] = [&g, &v, &w].map(|values| f64::from(values[at]));
                    match decay {
                        Decay::None => {}
                        Decay::Classic => g += DECAY * w,
                        Decay::Decoupled => w -= RATE * DECAY * w,
                    }
                    let v = MOMENTUM * v + g;
                    (v, w - RATE * if nesterov { g + MOMENTUM * v } else { v })
                };
                let (velocities, weights): (Vec<f64>, Vec<f64>) = (0..len).map(step).unzip();
                let params = SgdParams { len, decay, nesterov };
                for (isa, table) in tables() {
                    let (mut of_v, mut of_w) = (Guarded::from(&v), Guarded::from(&w));
                    let operands = [g.as_ptr(), h.as_ptr(), of_v.pointer(), of_w.pointer()];
                    invoke(&Call::Sgd(params), table, &operands);
                    let what = format!("{isa} {params:?}");
                    assert_close(of_v.values(), &velocities, 1e-6, &what);
                    assert_close(of_w.values(), &weights, 1e-6, &what);
                }
            }
        }
    }
}
