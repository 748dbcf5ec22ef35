use resnet_runtime::kernels::{
    Activation, BLOCK, Call, DilateParams, GradientParams, ShiftParams, SpreadParams,
};

use super::super::{Random, invoke, tables};
use super::{Plane, SIZES, around_edges, slope};

#[test]
fn mask() {
    for size in SIZES {
        for &activation in Activation::ALL {
            let [of_z, of_g, of_y] = [4, 8, 6].map(|gap| Plane::new(size, gap));
            let mut random = Random(0x2545_f491);
            let (mut z, g) = (of_z.random(&mut random), of_g.random(&mut random));
            around_edges(&mut z);
            let params = GradientParams {
                rows: size.0,
                columns: size.1,
                x_row: 0,
                z_row: of_z.row,
                g_row: of_g.row,
                r_row: 0,
                y_row: of_y.row,
                activation,
                residual: false,
            };
            for (isa, table) in tables() {
                let mut y = of_y.output();
                invoke(&Call::Mask(params), table, &[z.as_ptr(), g.as_ptr(), y.pointer()]);
                let expected = |at| of_g.get(&g, at) * slope(activation, of_z.get(&z, at));
                of_y.check(&y, expected, 2e-6, &format!("{isa} {params:?}"));
            }
        }
    }
}

#[test]
fn spread() {
    for size in SIZES {
        for residual in [false, true] {
            let [of_r, of_y] = [8, 6].map(|gap| Plane::new(size, gap));
            let mut random = Random(0x2545_f491);
            let (x, r) = (random.vec(BLOCK), of_r.random(&mut random));
            let (rows, columns) = size;
            let params = SpreadParams { rows, columns, y_row: of_y.row, r_row: of_r.row, residual };
            for (isa, table) in tables() {
                let mut y = of_y.output();
                invoke(&Call::Spread(params), table, &[x.as_ptr(), r.as_ptr(), y.pointer()]);
                let expected = |at: (usize, usize, usize)| {
                    let share = f64::from(x[at.2]) / (rows * columns) as f64;
                    share + if residual { of_r.get(&r, at) } else { 0.0 }
                };
                of_y.check(&y, expected, 1e-6, &format!("{isa} {params:?}"));
            }
        }
    }
}

/// Sizes of `x`, strides, rows and columns that are skipped, sizes of `y`.
type Dilation = ((usize, usize), (usize, usize), (usize, usize), (usize, usize));

const DILATIONS: [Dilation; 6] = [
    ((1, 1), (1, 1), (0, 0), (1, 1)),
    ((3, 4), (2, 3), (0, 0), (6, 10)),
    ((3, 4), (2, 2), (0, 0), (9, 7)),
    ((5, 3), (1, 1), (1, 0), (3, 3)),
    ((4, 4), (2, 2), (1, 2), (4, 3)),
    ((2, 5), (1, 2), (0, 1), (2, 12)),
];

fn dilate_params([x, r, y]: [Plane; 3], of: Dilation, residual: bool) -> DilateParams {
    let (size, stride, skipped, y_size) = of;
    DilateParams {
        rows: size.0,
        columns: size.1,
        skipped_rows: skipped.0,
        skipped_columns: skipped.1,
        stride_rows: stride.0,
        stride_columns: stride.1,
        x_row: x.row,
        y_rows: y_size.0,
        y_columns: y_size.1,
        y_row: y.row,
        r_row: r.row,
        residual,
    }
}

/// The pixel of `x` that becomes one of `y`, found by trying all.
fn source(x: &Plane, of: Dilation, (row, column): (usize, usize)) -> Option<(usize, usize)> {
    let (_, stride, skipped, _) = of;
    let is = |&(r, c): &(usize, usize)| {
        (r * stride.0, c * stride.1) == (row + skipped.0, column + skipped.1)
    };
    x.pixels().find(is)
}

#[test]
fn dilate() {
    for of in DILATIONS {
        for residual in [false, true] {
            let planes = [Plane::new(of.0, 4), Plane::new(of.3, 8), Plane::new(of.3, 6)];
            let [of_x, of_r, of_y] = planes;
            let mut random = Random(0x2545_f491);
            let (x, r) = (of_x.random(&mut random), of_r.random(&mut random));
            let params = dilate_params(planes, of, residual);
            for (isa, table) in tables() {
                let mut y = of_y.output();
                invoke(&Call::Dilate(params), table, &[x.as_ptr(), r.as_ptr(), y.pointer()]);
                let expected = |(row, column, lane)| {
                    let from = source(&of_x, of, (row, column));
                    let value = from.map_or(0.0, |(r, c)| of_x.get(&x, (r, c, lane)));
                    value + if residual { of_r.get(&r, (row, column, lane)) } else { 0.0 }
                };
                of_y.check(&y, expected, 1e-6, &format!("{isa} {params:?}"));
            }
        }
    }
}

#[test]
fn shift() {
    // Channels of `x` and of `y`, channels before and skipped, the block.
    let cases = [
        (5, 5, 0, 0, 0),
        (20, 40, 10, 0, 0),
        (20, 40, 10, 0, 1),
        (20, 40, 10, 0, 2),
        (40, 7, 0, 19, 0),
        (33, 18, 3, 5, 1),
        (48, 16, 0, 32, 0),
    ];
    for (x_channels, y_channels, before, skipped, block) in cases {
        for of in DILATIONS {
            let planes = [Plane::new(of.0, 4), Plane::new(of.3, 8), Plane::new(of.3, 6)];
            let [of_x, of_r, of_y] = planes;
            let mut random = Random(0x2545_f491);
            let x_block = of_x.len() + 12;
            let x = random.vec((x_channels - 1) / BLOCK * x_block + of_x.len());
            let r = of_r.random(&mut random);
            let params = ShiftParams {
                dilate: dilate_params(planes, of, true),
                first: block * BLOCK,
                y_channels,
                x_channels,
                before,
                skipped,
                x_block,
            };
            for (isa, table) in tables() {
                let mut y = of_y.output();
                invoke(&Call::Shift(params), table, &[x.as_ptr(), r.as_ptr(), y.pointer()]);
                let expected = |(row, column, lane): (usize, usize, usize)| {
                    let of_y = block * BLOCK + lane;
                    let channel = (of_y + skipped).checked_sub(before);
                    let channel = channel.filter(|&c| c < x_channels && of_y < y_channels);
                    let from = channel.zip(source(&of_x, of, (row, column)));
                    let value = from.map_or(0.0, |(c, (row, column))| {
                        of_x.get(&x[c / BLOCK * x_block..], (row, column, c % BLOCK))
                    });
                    value + of_r.get(&r, (row, column, lane))
                };
                of_y.check(&y, expected, 1e-6, &format!("{isa} {params:?}"));
            }
        }
    }
}
