use resnet_runtime::kernels::{
    Activation, BLOCK, Call, ChannelConvParams, Epilogue, PlaneParams, Precision,
};

use super::{Guarded, Random, assert_close, bits, epilogues, finished, invoke, tables};

#[test]
fn affine() {
    for (rows, columns) in [(1, 1), (7, 7), (3, 10), (14, 1)] {
        for epilogue in epilogues().filter(|epilogue| !epilogue.residual) {
            let (x_row, y_row) = (columns * BLOCK + 4, columns * BLOCK + 6);
            let mut random = Random(0x2545_f491);
            let x = random.vec((rows - 1) * x_row + columns * BLOCK);
            let (w, b) = (random.vec(BLOCK), random.vec(BLOCK));
            let params = PlaneParams { rows, columns, x_row, r_row: 0, y_row, epilogue };
            for (isa, table) in tables() {
                let mut y = Guarded::new((rows - 1) * y_row + columns * BLOCK);
                let operands = [x.as_ptr(), w.as_ptr(), b.as_ptr(), y.pointer()];
                invoke(&Call::Affine(params), table, &operands);
                for (row, y) in y.values().chunks(y_row).enumerate() {
                    let (y, gap) = y.split_at(columns * BLOCK);
                    assert!(gap.iter().all(|value| value.to_bits() == Guarded::MARKER));
                    let expected: Vec<f64> = (0..y.len())
                        .map(|at| {
                            let [x, w, b] =
                                [x[row * x_row + at], w[at % BLOCK], b[at % BLOCK]].map(f64::from);
                            finished(epilogue, x * w + b, 0.0)
                        })
                        .collect();
                    assert_close(y, &expected, 1e-6, &format!("{isa} row {row} of {params:?}"));
                }
            }
        }
    }
}

#[test]
fn affine_keeps_nan() {
    let x = [f32::NAN; BLOCK];
    let w = [1.0; BLOCK];
    let params = PlaneParams {
        rows: 1,
        columns: 1,
        x_row: BLOCK,
        r_row: 0,
        y_row: BLOCK,
        epilogue: Epilogue {
            residual: false,
            activation: Activation::Relu,
            stored: Precision::F32,
        },
    };
    for (isa, table) in tables() {
        let mut y = Guarded::new(BLOCK);
        let operands = [x.as_ptr(), w.as_ptr(), w.as_ptr(), y.pointer()];
        invoke(&Call::Affine(params), table, &operands);
        let written = bits(y.values());
        assert!(written.iter().all(|&value| f32::from_bits(value).is_nan()), "{isa}");
        assert!(!written.contains(&Guarded::MARKER), "{isa}");
    }
}

#[test]
fn gate() {
    for (rows, columns) in [(1, 1), (7, 7), (3, 10), (14, 1)] {
        for epilogue in epilogues() {
            let [x_row, r_row, y_row] = [4, 8, 6].map(|gap| columns * BLOCK + gap);
            let mut random = Random(0x1234_5678);
            let len = |row: usize| (rows - 1) * row + columns * BLOCK;
            let (x, r) = (random.vec(len(x_row)), random.vec(len(r_row)));
            let g: Vec<f32> = random.vec(BLOCK).iter().map(|g| g * 8.0).collect();
            let params = PlaneParams { rows, columns, x_row, r_row, y_row, epilogue };
            for (isa, table) in tables() {
                let mut y = Guarded::new(len(y_row));
                let operands = [x.as_ptr(), g.as_ptr(), r.as_ptr(), y.pointer()];
                invoke(&Call::Gate(params), table, &operands);
                for (row, y) in y.values().chunks(y_row).enumerate() {
                    let (y, gap) = y.split_at(columns * BLOCK);
                    assert!(gap.iter().all(|value| value.to_bits() == Guarded::MARKER));
                    let expected: Vec<f64> = (0..y.len())
                        .map(|at| {
                            let gate = 1.0 / (1.0 + (-f64::from(g[at % BLOCK])).exp());
                            let x = f64::from(x[row * x_row + at]);
                            finished(epilogue, x * gate, r[row * r_row + at])
                        })
                        .collect();
                    assert_close(y, &expected, 1e-6, &format!("{isa} row {row} of {params:?}"));
                }
            }
        }
    }
}

#[test]
fn add() {
    for (rows, columns) in [(1, 1), (3, 10)] {
        for epilogue in epilogues() {
            let [x_row, r_row, y_row] = [4, 8, 6].map(|gap| columns * BLOCK + gap);
            let mut random = Random(0x0bad_5eed);
            let len = |row: usize| (rows - 1) * row + columns * BLOCK;
            let (x, r) = (random.vec(len(x_row)), random.vec(len(r_row)));
            let params = PlaneParams { rows, columns, x_row, r_row, y_row, epilogue };
            for (isa, table) in tables() {
                let mut y = Guarded::new(len(y_row));
                invoke(&Call::Add(params), table, &[x.as_ptr(), r.as_ptr(), y.pointer()]);
                for (row, y) in y.values().chunks(y_row).enumerate() {
                    let (y, gap) = y.split_at(columns * BLOCK);
                    assert!(gap.iter().all(|value| value.to_bits() == Guarded::MARKER));
                    let sum = |at: usize| {
                        finished(epilogue, f64::from(x[row * x_row + at]), r[row * r_row + at])
                    };
                    let expected: Vec<f64> = (0..y.len()).map(sum).collect();
                    assert_close(y, &expected, 1e-6, &format!("{isa} row {row} of {params:?}"));
                }
            }
        }
    }
}

#[test]
fn gates_as_large_as_can_be_are_open_or_shut() {
    let x = [2.0; BLOCK];
    let mut g = [f32::MAX; BLOCK];
    g[8..].fill(f32::MIN);
    let (rows, columns, row) = (1, 1, BLOCK);
    let params =
        PlaneParams { rows, columns, x_row: row, r_row: row, y_row: row, epilogue: Epilogue::NONE };
    for (isa, table) in tables() {
        let mut y = Guarded::new(BLOCK);
        let operands = [x.as_ptr(), g.as_ptr(), x.as_ptr(), y.pointer()];
        invoke(&Call::Gate(params), table, &operands);
        let expected: Vec<f64> = (0..BLOCK).map(|lane| if lane < 8 { 2.0 } else { 0.0 }).collect();
        assert_close(y.full(), &expected, 0.0, &isa.to_string());
    }
}

#[test]
fn channel_conv() {
    for (channels, kernel) in [(1, 1), (1, 3), (16, 3), (21, 5), (7, 15), (40, 1)] {
        let mut random = Random(0x9e37_79b9);
        let (x, w) = (random.vec(channels), random.vec(kernel));
        let mut expected: Vec<f64> = (0..channels as isize)
            .map(|channel| {
                let tap = |k: usize| {
                    let from = channel + k as isize - kernel as isize / 2;
                    let inside = usize::try_from(from).ok().and_then(|from| x.get(from));
                    inside.map_or(0.0, |&x| f64::from(x) * f64::from(w[k]))
                };
                (0..kernel).map(tap).sum()
            })
            .collect();
        expected.resize(channels.next_multiple_of(BLOCK), 0.0);
        for (isa, table) in tables() {
            let mut y = Guarded::new(expected.len());
            let call = Call::ChannelConv(ChannelConvParams { channels, kernel });
            invoke(&call, table, &[x.as_ptr(), w.as_ptr(), y.pointer()]);
            assert_close(y.full(), &expected, 1e-6, &format!("{isa} {channels} by {kernel}"));
        }
    }
}
