use resnet_runtime::kernels::{BLOCK, Call, CopyParams, RingParams, SoftmaxParams, ZeroPadParams};

use super::{Guarded, Random, assert_close, invoke, tables};

#[test]
fn ring() {
    let rings = [[0; 4], [1; 4], [3; 4], [2, 2, 0, 0], [0, 0, 2, 2], [1, 4, 3, 2], [0, 3, 1, 0]];
    for (rows, columns) in [(1, 1), (1, 5), (4, 1), (7, 3)] {
        for [top, bottom, left, right] in rings {
            for lanes in [1, BLOCK] {
                let p = RingParams { rows, columns, top, bottom, left, right, lanes };
                let y_row = (left + columns + right) * lanes;
                let len = (top + rows + bottom) * y_row;
                for (isa, table) in tables() {
                    let mut y = Guarded::from(&vec![1.0; len]);
                    invoke(&Call::Ring(p), table, &[y.pointer()]);
                    for (at, &value) in y.full().iter().enumerate() {
                        let (row, column) = (at / y_row, at % y_row / lanes);
                        let inside = (top..top + rows).contains(&row)
                            && (left..left + columns).contains(&column);
                        assert_eq!(value, f32::from(inside), "{isa} {row}, {column} of {p:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn zero_pad() {
    let channels = [
        (16, 32, 8),
        (16, 48, 16),
        (64, 128, 32),
        (5, 11, 3),
        (20, 40, 10),
        (33, 66, 16),
        (7, 7, 0),
    ];
    for (in_channels, out_channels, before) in channels {
        for (pixels, stride) in [(1, 1), (9, 2), (4, 3)] {
            let x_block = ((pixels - 1) * stride + 1) * BLOCK + 2;
            let y_block = pixels * BLOCK + 3;
            let p = ZeroPadParams {
                pixels,
                x_step: stride * BLOCK,
                x_block,
                y_block,
                in_channels,
                out_channels,
                before,
            };
            let x = Random(0x1234_5678).vec(in_channels.div_ceil(BLOCK) * x_block - 2);
            let out_blocks = out_channels.div_ceil(BLOCK);
            for (isa, table) in tables() {
                let mut y = Guarded::new(out_blocks * y_block - 3);
                invoke(&Call::ZeroPad(p), table, &[x.as_ptr(), y.pointer()]);
                for (at, &value) in y.values().iter().enumerate() {
                    let (pixel, lane) = (at % y_block / BLOCK, at % y_block % BLOCK);
                    if pixel == pixels {
                        assert_eq!(value.to_bits(), Guarded::MARKER, "written between blocks");
                        continue;
                    }
                    let channel = (at / y_block * BLOCK + lane).checked_sub(before);
                    let expected =
                        channel.filter(|&channel| channel < in_channels).map(|channel| {
                            x[channel / BLOCK * x_block + pixel * p.x_step + channel % BLOCK]
                        });
                    assert_eq!(value, expected.unwrap_or(0.0), "{isa} element {at} of {p:?}");
                }
            }
        }
    }
}

fn copies() -> impl Iterator<Item = CopyParams> {
    [1, 3, 15, 16].into_iter().flat_map(|channels| {
        [(1, 1), (2, 7), (5, 16), (3, 33)].into_iter().map(move |(rows, columns)| CopyParams {
            channels,
            rows,
            columns,
            x_row: 0,
            y_row: 0,
            plane: rows * (columns + 2) + 1,
        })
    })
}

#[test]
fn copy_planar() {
    for p in copies() {
        let p = CopyParams { x_row: p.columns + 1, y_row: p.columns + 4, ..p };
        let x = Random(0xfeed).vec((p.rows - 1) * p.x_row + p.columns);
        for (isa, table) in tables() {
            let mut y = Guarded::new((p.rows - 1) * p.y_row + p.columns);
            invoke(&Call::CopyPlanar(p), table, &[x.as_ptr(), y.pointer()]);
            for (row, y) in y.values().chunks(p.y_row).enumerate() {
                let (y, gap) = y.split_at(p.columns);
                assert_eq!(y, &x[row * p.x_row..][..p.columns], "{isa} {p:?}");
                assert!(gap.iter().all(|value| value.to_bits() == Guarded::MARKER));
            }
        }
    }
}

#[test]
fn to_blocked() {
    for p in copies() {
        let p = CopyParams { x_row: p.columns + 2, y_row: p.columns * BLOCK + 5, ..p };
        let x = Random(0xbeef).vec((p.channels - 1) * p.plane + (p.rows - 1) * p.x_row + p.columns);
        for (isa, table) in tables() {
            let mut y = Guarded::new((p.rows - 1) * p.y_row + p.columns * BLOCK);
            invoke(&Call::ToBlocked(p), table, &[x.as_ptr(), y.pointer()]);
            for (row, y) in y.values().chunks(p.y_row).enumerate() {
                let (y, gap) = y.split_at(p.columns * BLOCK);
                assert!(gap.iter().all(|value| value.to_bits() == Guarded::MARKER));
                for (at, &value) in y.iter().enumerate() {
                    let (column, channel) = (at / BLOCK, at % BLOCK);
                    let source = channel * p.plane + row * p.x_row + column;
                    let expected = if channel < p.channels { x[source] } else { 0.0 };
                    assert_eq!(value, expected, "{isa} {row}, {column}, {channel} of {p:?}");
                }
            }
        }
    }
}

#[test]
fn to_planar() {
    for p in copies() {
        let p = CopyParams { x_row: p.columns * BLOCK + 3, y_row: p.columns + 2, ..p };
        let x = Random(0xcafe).vec((p.rows - 1) * p.x_row + p.columns * BLOCK);
        for (isa, table) in tables() {
            let len = (p.channels - 1) * p.plane + (p.rows - 1) * p.y_row + p.columns;
            let mut y = Guarded::new(len);
            invoke(&Call::ToPlanar(p), table, &[x.as_ptr(), y.pointer()]);
            for (at, &value) in y.values().iter().enumerate() {
                let (channel, row, column) =
                    (at / p.plane, at % p.plane / p.y_row, at % p.plane % p.y_row);
                if row < p.rows && column < p.columns {
                    let expected = x[row * p.x_row + column * BLOCK + channel];
                    assert_eq!(value, expected, "{isa} {channel}, {row}, {column} of {p:?}");
                } else {
                    assert_eq!(value.to_bits(), Guarded::MARKER, "written between the rows");
                }
            }
        }
    }
}

#[test]
fn softmax() {
    for channels in [1, 2, 10, 1000] {
        // Far beyond what `exp` can take in f32, and low enough that some results are denormal.
        let x: Vec<f32> = Random(0xabcd).vec(channels).iter().map(|v| 500.0 + 60.0 * v).collect();
        let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exp: Vec<f64> = x.iter().map(|v| f64::from(v - largest).exp()).collect();
        let sum: f64 = exp.iter().sum();
        let expected: Vec<f64> = exp.iter().map(|v| v / sum).collect();
        let call = Call::Softmax(SoftmaxParams { channels });
        for (isa, table) in tables() {
            let mut y = Guarded::new(channels);
            invoke(&call, table, &[x.as_ptr(), y.pointer()]);
            assert_close(y.full(), &expected, 1e-6, &format!("{isa} {channels}"));

            let mut in_place = Guarded::from(&x);
            let pointer = in_place.pointer();
            invoke(&call, table, &[pointer, pointer]);
            assert_eq!(in_place.full(), y.full(), "{isa} in place");
        }
    }
}
