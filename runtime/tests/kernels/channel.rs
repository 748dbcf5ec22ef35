use resnet_runtime::kernels::{AffineParams, BLOCK, Call};

use super::{Guarded, Random, assert_close, bits, invoke, tables};

#[test]
fn affine() {
    for (rows, columns) in [(1, 1), (7, 7), (3, 10), (14, 1)] {
        for relu in [0, 1] {
            let (x_row, y_row) = (columns * BLOCK + 4, columns * BLOCK + 6);
            let mut random = Random(0x2545_f491);
            let x = random.vec((rows - 1) * x_row + columns * BLOCK);
            let (w, b) = (random.vec(BLOCK), random.vec(BLOCK));
            let params = AffineParams { rows, columns, x_row, y_row, relu };
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
                            let value = x * w + b;
                            if relu == 1 { value.max(0.0) } else { value }
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
    let params = AffineParams { rows: 1, columns: 1, x_row: BLOCK, y_row: BLOCK, relu: 1 };
    for (isa, table) in tables() {
        let mut y = Guarded::new(BLOCK);
        let operands = [x.as_ptr(), w.as_ptr(), w.as_ptr(), y.pointer()];
        invoke(&Call::Affine(params), table, &operands);
        let written = bits(y.values());
        assert!(written.iter().all(|&value| f32::from_bits(value).is_nan()), "{isa}");
        assert!(!written.contains(&Guarded::MARKER), "{isa}");
    }
}
