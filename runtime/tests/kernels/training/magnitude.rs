use resnet_runtime::kernels::{BLOCK, Call, MeanParams};

use super::super::{Guarded, Random, assert_close, invoke, tables};
use super::{Plane, SIZES};

/// Of any size: squares of the smallest and the largest are no `f32`.
#[test]
fn magnitude() {
    for size in SIZES {
        for scale in [1e-30, 1.0, 1e30] {
            let plane = Plane::new(size, 4);
            let x: Vec<f32> =
                plane.random(&mut Random(0x2545_f491)).iter().map(|x| x * scale).collect();
            let (rows, columns) = size;
            let of = |lane| {
                let squares = plane.pixels().map(|(r, c)| plane.get(&x, (r, c, lane)).powi(2));
                (squares.sum::<f64>() / (rows * columns) as f64).sqrt() / f64::from(scale)
            };
            let expected: Vec<f64> = (0..BLOCK).map(of).collect();
            let params = MeanParams { rows, columns, x_row: plane.row };
            for (isa, table) in tables() {
                let mut y = Guarded::new(BLOCK);
                invoke(&Call::Magnitude(params), table, &[x.as_ptr(), y.pointer()]);
                let found: Vec<f32> = y.full().iter().map(|y| y / scale).collect();
                assert_close(&found, &expected, 1e-6, &format!("{isa} {params:?} {scale}"));
            }
        }
    }
}
