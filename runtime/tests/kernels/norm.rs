use resnet_runtime::kernels::{BLOCK, Call, Constant, GroupParams, MeanParams, PlaneParams};

use super::{Guarded, Random, assert_close, epilogues, finished, invoke, tables};

#[test]
fn variance() {
    for (rows, columns) in [(1, 1), (7, 7), (3, 10), (14, 1), (2, 4)] {
        let x_row = columns * BLOCK + 4;
        let mut random = Random(0x2545_f491);
        let x = random.vec((rows - 1) * x_row + columns * BLOCK);
        let m = random.vec(BLOCK);
        let expected: Vec<f64> = (0..BLOCK)
            .map(|lane| {
                let row = |row: usize| (0..columns).map(move |c| row * x_row + c * BLOCK + lane);
                let square = |at: usize| (f64::from(x[at]) - f64::from(m[lane])).powi(2);
                (0..rows).flat_map(row).map(square).sum::<f64>() / (rows * columns) as f64
            })
            .collect();
        for (isa, table) in tables() {
            let mut y = Guarded::new(BLOCK);
            let call = Call::Variance(MeanParams { rows, columns, x_row });
            invoke(&call, table, &[x.as_ptr(), m.as_ptr(), y.pointer()]);
            assert_close(y.full(), &expected, 1e-6, &format!("{isa} {rows}x{columns}"));
        }
    }
}

/// Channels and channels of a group.
const GROUPS: [(usize, usize); 7] =
    [(1, 1), (16, 1), (16, 16), (20, 5), (21, 7), (48, 3), (64, 32)];

/// For each channel the mean over its group, zeros up to whole blocks.
fn means(values: &[f32], group: usize) -> Vec<f64> {
    let mean =
        |group: &[f32]| group.iter().copied().map(f64::from).sum::<f64>() / group.len() as f64;
    let groups = values.chunks(group);
    let mut means: Vec<f64> = groups.flat_map(|group| vec![mean(group); group.len()]).collect();
    means.resize(means.len().next_multiple_of(BLOCK), 0.0);
    means
}

#[test]
fn group_mean() {
    for (channels, group) in GROUPS {
        let x = Random(0x9e37_79b9).vec(channels);
        let params = GroupParams { channels, group, epsilon: Constant::new(0.0) };
        for (isa, table) in tables() {
            let what = format!("{isa} {channels} by {group}");
            let mut y = Guarded::new(channels.next_multiple_of(BLOCK));
            invoke(&Call::GroupMean(params), table, &[x.as_ptr(), y.pointer()]);
            assert_close(y.full(), &means(&x, group), 1e-7, &what);
            let mut padded = x.clone();
            padded.resize(channels.next_multiple_of(BLOCK), 3.0);
            let mut in_place = Guarded::from(&padded);
            let pointer = in_place.pointer();
            invoke(&Call::GroupMean(params), table, &[pointer, pointer]);
            assert_close(in_place.values(), &means(&x, group), 1e-7, &format!("{what} in place"));
        }
    }
}

#[test]
fn group_scale() {
    for (channels, group) in GROUPS {
        let mut random = Random(0x1234_5678);
        let v: Vec<f32> = random.vec(channels).iter().map(|v| v.abs()).collect();
        let w = random.vec(channels);
        let epsilon = 1e-3_f32;
        let params = GroupParams { channels, group, epsilon: Constant::new(epsilon) };
        let mut expected = means(&v, group);
        for (scale, w) in expected.iter_mut().zip(&w) {
            *scale = f64::from(*w) / (*scale + f64::from(epsilon)).sqrt();
        }
        for (isa, table) in tables() {
            let what = format!("{isa} {channels} by {group}");
            let mut y = Guarded::new(channels.next_multiple_of(BLOCK));
            invoke(&Call::GroupScale(params), table, &[v.as_ptr(), w.as_ptr(), y.pointer()]);
            assert_close(y.full(), &expected, 1e-5, &what);
        }
    }
}

#[test]
fn normalise() {
    for (rows, columns) in [(1, 1), (7, 7), (3, 10), (14, 1)] {
        for epilogue in epilogues() {
            let [x_row, r_row, y_row] = [4, 8, 6].map(|gap| columns * BLOCK + gap);
            let mut random = Random(0x1234_5678);
            let len = |row: usize| (rows - 1) * row + columns * BLOCK;
            let (x, r) = (random.vec(len(x_row)), random.vec(len(r_row)));
            let constants = [(); 3].map(|()| random.vec(BLOCK));
            let params = PlaneParams { rows, columns, x_row, r_row, y_row, epilogue };
            for (isa, table) in tables() {
                let mut y = Guarded::new(len(y_row));
                let [m, s, b] = constants.each_ref().map(|numbers| numbers.as_ptr());
                let operands = [x.as_ptr(), m, s, b, r.as_ptr(), y.pointer()];
                invoke(&Call::Normalise(params), table, &operands);
                for (row, y) in y.values().chunks(y_row).enumerate() {
                    let (y, gap) = y.split_at(columns * BLOCK);
                    assert!(gap.iter().all(|value| value.to_bits() == Guarded::MARKER));
                    let value = |at: usize| {
                        let of = |numbers: &Vec<f32>| f64::from(numbers[at % BLOCK]);
                        let [m, s, b] = constants.each_ref().map(of);
                        let value = (f64::from(x[row * x_row + at]) - m) * s + b;
                        finished(epilogue, value, r[row * r_row + at])
                    };
                    let expected: Vec<f64> = (0..y.len()).map(value).collect();
                    assert_close(y, &expected, 1e-6, &format!("{isa} row {row} of {params:?}"));
                }
            }
        }
    }
}
