//! Winograd's transforms and packing, with the products between them, against the definition.

use resnet_runtime::kernels::{BLOCK, Call, ConvParams, WinogradInputParams, WinogradOutputParams};
use resnet_runtime::pack::pack_conv;
use resnet_runtime::tensors::{ConvRecipe, Transform};

use super::{Guarded, Random, assert_close, bits, invoke, tables};

const POINTS: usize = 36;

/// Of the largest output: four times what the choice of points leaves of `f32` at 48 channels.
const TOLERANCE: f64 = 8e-6;

/// A convolution of one picture with padding 1.
#[derive(Clone, Copy, Debug)]
struct Case {
    rows: usize,
    columns: usize,
    inputs: usize,
    outputs: usize,
    residual: bool,
    relu: bool,
}

impl Case {
    fn tiles(&self) -> (usize, usize) {
        (self.rows.div_ceil(4), self.columns.div_ceil(4))
    }

    /// Elements of an input row: padding left, whole tiles right.
    fn x_row(&self) -> usize {
        (4 * self.tiles().1 + 2) * BLOCK
    }

    fn x_block(&self) -> usize {
        (4 * self.tiles().0 + 2) * self.x_row()
    }

    fn recipe(&self) -> ConvRecipe {
        ConvRecipe {
            weight: "conv.weight".into(),
            bias: Some("conv.bias".into()),
            norm: None,
            out_channels: self.outputs,
            in_channels: self.inputs,
            groups: 1,
            kernel_rows: 3,
            kernel_columns: 3,
            planar: false,
            panel_blocks: self.outputs.div_ceil(BLOCK).min(2),
            in_blocks: self.inputs.div_ceil(BLOCK),
            in_block_step: 0,
            transform: Transform::Winograd4x4,
            offset: 0,
        }
    }
}

/// Planar input, `[out][in][3][3]` weights, bias, and a residual as the output lies.
struct Data {
    input: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    residual: Vec<f32>,
}

impl Data {
    fn new(case: &Case) -> Self {
        let mut random = Random(0x5eed_1234);
        let plane = case.rows * case.columns;
        Self {
            input: random.vec(case.inputs * plane),
            weight: random.vec(case.outputs * case.inputs * 9),
            bias: random.vec(case.outputs),
            residual: random.vec(case.outputs.next_multiple_of(BLOCK) * plane),
        }
    }

    /// The blocked input with its ring and margin.
    fn blocked(&self, case: &Case) -> Vec<f32> {
        let mut x = vec![0.0; case.inputs.div_ceil(BLOCK) * case.x_block()];
        for (i, &value) in self.input.iter().enumerate() {
            let (channel, pixel) = (i / (case.rows * case.columns), i % (case.rows * case.columns));
            let (row, column) = (pixel / case.columns, pixel % case.columns);
            let place = channel / BLOCK * case.x_block() + (row + 1) * case.x_row();
            x[place + (column + 1) * BLOCK + channel % BLOCK] = value;
        }
        x
    }

    /// The output by definition, `[block][row][column][16]`.
    fn expected(&self, case: &Case) -> Vec<f64> {
        let (rows, columns) = (case.rows as isize, case.columns as isize);
        let mut y = vec![0.0; self.residual.len()];
        for (place, value) in y.iter_mut().enumerate() {
            let (block, pixel, lane) = (
                place / (BLOCK * case.rows * case.columns),
                place / BLOCK % (case.rows * case.columns),
                place % BLOCK,
            );
            let channel = block * BLOCK + lane;
            if channel < case.outputs {
                *value = f64::from(self.bias[channel]);
                for tap in 0..case.inputs * 9 {
                    let (input, kr, kc) = (tap / 9, tap % 9 / 3, tap % 3);
                    let row = (pixel / case.columns + kr) as isize - 1;
                    let column = (pixel % case.columns + kc) as isize - 1;
                    if (0..rows).contains(&row) && (0..columns).contains(&column) {
                        let x = (input as isize * rows + row) * columns + column;
                        *value += f64::from(self.weight[channel * case.inputs * 9 + tap])
                            * f64::from(self.input[x as usize]);
                    }
                }
            }
            if case.residual {
                *value += f64::from(self.residual[place]);
            }
            if case.relu {
                *value = value.max(0.0);
            }
        }
        y
    }
}

/// The convolution as compiled networks do it; the residual lies in the output itself.
fn run(case: &Case, data: &Data, table: &resnet_runtime::kernels::Table) -> Vec<f32> {
    let recipe = case.recipe();
    // Packed weights start on a cache line.
    let mut memory = resnet_runtime::memory::Buffer::zeroed(recipe.len()).unwrap();
    memory.as_mut_slice().fill(f32::NAN);
    pack_conv(&recipe, &data.weight, Some(&data.bias), None, memory.as_mut_slice()).unwrap();
    let packed = memory.as_slice();
    let (tile_rows, tile_columns) = case.tiles();
    let tiles = tile_rows * tile_columns;
    let x = data.blocked(case);

    let y_point = recipe.in_blocks * tiles * BLOCK;
    let mut v = Guarded::new(POINTS * y_point);
    let input = Call::WinogradInput(WinogradInputParams {
        tiles: tile_columns,
        x_row: case.x_row(),
        y_point,
    });
    for (block, row) in (0..recipe.in_blocks).flat_map(|b| (0..tile_rows).map(move |r| (b, r))) {
        let from = &x[block * case.x_block() + 4 * row * case.x_row()..];
        let place = (block * tiles + row * tile_columns) * BLOCK;
        invoke(&input, table, &[from.as_ptr(), v.pointer().wrapping_add(place)]);
    }

    let mut y = Guarded::from(&data.residual);
    let plane = case.rows * case.columns * BLOCK;
    for first in (0..recipe.out_blocks()).step_by(recipe.panel_blocks) {
        let out_blocks = (recipe.out_blocks() - first).min(recipe.panel_blocks);
        let x_point = out_blocks * tiles * BLOCK;
        let mut m = Guarded::new(POINTS * x_point);
        let product = Call::Conv(ConvParams {
            pixels: tiles,
            x_step: BLOCK,
            blocks: recipe.in_blocks,
            x_block: tiles * BLOCK,
            kernel_rows: 1,
            kernel_columns: 1,
            x_row: BLOCK,
            x_column: BLOCK,
            out_blocks,
            y_block: tiles * BLOCK,
            r_block: 0,
            residual: 0,
            relu: 0,
        });
        let panel = &packed[first / recipe.panel_blocks * recipe.panel_len()..];
        let zeros = &packed[recipe.zeros_offset()..][..2 * BLOCK];
        assert!(zeros.iter().all(|&zero| zero == 0.0));
        for point in 0..POINTS {
            let w = &panel[point * recipe.in_blocks * BLOCK * out_blocks * BLOCK..];
            let from = v.full()[point * y_point..].as_ptr();
            let to = m.pointer().wrapping_add(point * x_point);
            invoke(&product, table, &[from, w.as_ptr(), zeros.as_ptr(), to, to]);
        }
        for (block, row) in (0..out_blocks).flat_map(|b| (0..tile_rows).map(move |r| (b, r))) {
            let output = Call::WinogradOutput(WinogradOutputParams {
                tiles: tile_columns,
                rows: (case.rows - 4 * row).min(4),
                columns: case.columns,
                x_point,
                y_row: case.columns * BLOCK,
                r_row: case.columns * BLOCK,
                residual: usize::from(case.residual),
                relu: usize::from(case.relu),
            });
            let from = m.full()[(block * tiles + row * tile_columns) * BLOCK..].as_ptr();
            let bias = packed[recipe.bias_offset() + (first + block) * BLOCK..].as_ptr();
            let place = (first + block) * plane + 4 * row * case.columns * BLOCK;
            let to = y.pointer().wrapping_add(place);
            invoke(&output, table, &[from, bias, to, to]);
        }
    }
    y.values().to_vec()
}

fn cases() -> impl Iterator<Item = Case> {
    let sizes = [(1, 1), (3, 5), (4, 4), (5, 8), (7, 7), (9, 20), (14, 14), (6, 59)];
    let channels = [(3, 16), (16, 40), (33, 32), (48, 17)];
    sizes.into_iter().enumerate().flat_map(move |(i, (rows, columns))| {
        channels.into_iter().map(move |(inputs, outputs)| Case {
            rows,
            columns,
            inputs,
            outputs,
            residual: i % 2 == 0,
            relu: i % 3 == 0,
        })
    })
}

#[test]
fn winograd_convolutions_are_convolutions() {
    for case in cases() {
        let data = Data::new(&case);
        let expected = data.expected(&case);
        let largest = expected.iter().fold(0.0_f64, |max, v| max.max(v.abs()));
        let mut fused = Vec::new();
        for (isa, table) in tables() {
            let found = run(&case, &data, table);
            assert_close(&found, &expected, TOLERANCE * largest, &format!("{isa}, {case:?}"));
            if isa != resnet_runtime::kernels::Isa::Portable {
                fused.push(bits(&found));
            }
        }
        assert!(fused.windows(2).all(|pair| pair[0] == pair[1]), "{case:?}: other bits");
    }
}

#[test]
fn winograd_needs_a_3x3_kernel() {
    let case = Case { rows: 4, columns: 4, inputs: 16, outputs: 16, residual: false, relu: false };
    let recipe = ConvRecipe { kernel_rows: 1, kernel_columns: 1, ..case.recipe() };
    let mut out = vec![0.0; recipe.len()];
    let error = pack_conv(&recipe, &[0.0; 256], None, None, &mut out).unwrap_err();
    assert!(error.to_string().contains("3x3"), "{error}");
}
