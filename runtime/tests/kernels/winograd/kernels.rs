//! The two transforms of Winograd convolutions, each by itself.

use resnet_runtime::kernels::*;

use super::filters::{FORMS, Form};
use crate::{
    Guarded, RESIDUAL_RELU, Random, assert_close, bits, epilogues, finished, invoke, tables,
};

/// Of the sum of the terms' magnitudes: a term passes at most 14 roundings on its way, each of at
/// most this part of a partial sum.
const TOLERANCE: f64 = 14.0 * f32::EPSILON as f64 / 2.0;

/// Sum of `left(r) * right(c) * value(r, c)` over all rows and columns, and of the magnitudes.
fn bilinear(
    (rows, columns): (usize, usize),
    left: impl Fn(usize) -> f64,
    right: impl Fn(usize) -> f64,
    value: impl Fn(usize, usize) -> f32,
) -> (f64, f64) {
    let pairs = (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c)));
    let terms = pairs.map(|(r, c)| left(r) * right(c) * f64::from(value(r, c)));
    terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
}

fn input_params(form: &Form, tiles: usize, x_row: usize, y_point: usize) -> WinogradInputParams {
    WinogradInputParams { form: form.transform, tiles, x_row, y_point }
}

/// Elements of an input row that `tiles` tiles read.
fn input_row(form: &Form, tiles: usize) -> usize {
    (form.columns.step() * (tiles - 1) + form.columns.points()) * BLOCK
}

#[test]
fn input() {
    for form in FORMS {
        for tiles in [1, 2, 3, 5, 14] {
            check_input(form, tiles);
        }
    }
}

fn check_input(form: &Form, tiles: usize) {
    let width = input_row(form, tiles);
    let p = input_params(form, tiles, width + 3, tiles * BLOCK + 5);
    // It ends where the kernel's reading must end.
    let x = Random(0x1_7ea5).vec((form.rows.points() - 1) * p.x_row + width);
    for (isa, table) in tables() {
        let mut y = Guarded::new((form.points() - 1) * p.y_point + tiles * BLOCK);
        invoke(&Call::WinogradInput(p), table, &[x.as_ptr(), y.pointer()]);
        for (at, &value) in y.values().iter().enumerate() {
            let (point, at) = (at / p.y_point, at % p.y_point);
            let (tile, lane) = (at / BLOCK, at % BLOCK);
            if tile == tiles {
                assert_eq!(value.to_bits(), Guarded::MARKER, "written between points");
                continue;
            }
            let (i, j) = form.point(point);
            let (expected, size) = bilinear(
                (form.rows.points(), form.columns.points()),
                |r| form.rows.input(i, r),
                |c| form.columns.input(j, c),
                |r, c| x[r * p.x_row + (form.columns.step() * tile + c) * BLOCK + lane],
            );
            let what = format!("{isa}, {:?}, point {i}, {j} of tile {tile}", form.transform);
            assert_close(&[value], &[expected], TOLERANCE * size, &what);
        }
    }
}

struct Output {
    form: &'static Form,
    params: WinogradOutputParams,
    x: Vec<f32>,
    b: Vec<f32>,
    r: Vec<f32>,
}

impl Output {
    fn new(form: &'static Form, rows: usize, columns: usize) -> Self {
        let tiles = columns.div_ceil(form.columns.outputs);
        let params = WinogradOutputParams {
            form: form.transform,
            tiles,
            rows,
            columns,
            x_point: tiles * BLOCK + 5,
            y_row: columns * BLOCK + 3,
            r_row: columns * BLOCK + 7,
            epilogue: Epilogue::NONE,
        };
        let mut random = Random(0x0a7_9a7);
        let x = random.vec((form.points() - 1) * params.x_point + tiles * BLOCK);
        let r = random.vec((rows - 1) * params.r_row + columns * BLOCK);
        Self { form, params, x, b: random.vec(BLOCK), r }
    }

    fn len(&self) -> usize {
        (self.params.rows - 1) * self.params.y_row + self.params.columns * BLOCK
    }

    /// The rows of the output, without the gaps between them.
    fn rows(&self, y: &[f32]) -> Vec<f32> {
        let mut found = vec![];
        for row in y.chunks(self.params.y_row) {
            let (row, gap) = row.split_at(self.params.columns * BLOCK);
            let untouched = gap.iter().all(|value| value.to_bits() == Guarded::MARKER);
            assert!(untouched, "written between the rows");
            found.extend_from_slice(row);
        }
        found
    }

    fn run(&self, table: &Table) -> Vec<f32> {
        let mut y = Guarded::new(self.len());
        let operands = [self.x.as_ptr(), self.b.as_ptr(), self.r.as_ptr(), y.pointer()];
        invoke(&Call::WinogradOutput(self.params), table, &operands);
        self.rows(y.values())
    }

    /// The output, and how far a kernel's may be from it.
    fn expected(&self) -> (Vec<f64>, f64) {
        let (p, Form { rows, columns, .. }) = (&self.params, self.form);
        let (mut expected, mut largest) = (vec![], 0.0f64);
        for (row, column) in (0..p.rows).flat_map(|r| (0..p.columns).map(move |c| (r, c))) {
            let (tile, in_tile) = (column / columns.outputs, column % columns.outputs);
            for lane in 0..BLOCK {
                let (mut sum, size) = bilinear(
                    (rows.points(), columns.points()),
                    |i| rows.output(row, i),
                    |j| columns.output(in_tile, j),
                    |i, j| self.x[(columns.points() * i + j) * p.x_point + tile * BLOCK + lane],
                );
                sum += f64::from(self.b[lane]);
                let residual = self.r[row * p.r_row + column * BLOCK + lane];
                expected.push(finished(p.epilogue, sum, residual));
                // The bias and the residual are below 1.
                largest = largest.max(size + 2.0);
            }
        }
        (expected, TOLERANCE * largest)
    }
}

#[test]
fn output() {
    for form in FORMS {
        for rows in 1..=form.rows.outputs {
            for columns in [1, 2, 3, 4, 5, 8, 11, 14, 56] {
                for epilogue in epilogues() {
                    let mut case = Output::new(form, rows, columns);
                    case.params.epilogue = epilogue;
                    let (expected, tolerance) = case.expected();
                    for (isa, table) in tables() {
                        let what = format!("{isa} {:?}", case.params);
                        assert_close(&case.run(table), &expected, tolerance, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn output_with_residual_in_place() {
    for form in FORMS {
        for (rows, columns) in [(form.rows.outputs, 8), (form.rows.outputs - 1, 7), (1, 1)] {
            let mut case = Output::new(form, rows, columns);
            case.params.epilogue = RESIDUAL_RELU;
            case.params.r_row = case.params.y_row;
            for (isa, table) in tables() {
                let mut y = Guarded::new(case.len());
                for row in 0..rows {
                    let at = Guarded::GUARD + row * case.params.y_row;
                    y.memory[at..][..columns * BLOCK]
                        .copy_from_slice(&case.r[row * case.params.r_row..][..columns * BLOCK]);
                }
                let pointer = y.pointer();
                let operands = [case.x.as_ptr(), case.b.as_ptr(), pointer, pointer];
                invoke(&Call::WinogradOutput(case.params), table, &operands);
                assert_eq!(bits(&case.rows(y.values())), bits(&case.run(table)), "{isa}");
            }
        }
    }
}

#[test]
fn output_keeps_nan() {
    for form in FORMS {
        let mut case = Output::new(form, form.rows.outputs - 1, 6);
        case.params.epilogue.activation = Activation::Relu;
        case.x.fill(0.0);
        case.b.fill(f32::NAN);
        case.b[3] = f32::NEG_INFINITY;
        for (isa, table) in tables() {
            for pixel in case.run(table).chunks(BLOCK) {
                assert!(pixel[0].is_nan() && pixel[15].is_nan(), "{isa}");
                assert_eq!(pixel[3], 0.0, "{isa}");
            }
        }
    }
}

/// Products that [`Filter::needs`] does not name change nothing.
#[test]
fn output_without_what_it_does_not_need() {
    for form in FORMS {
        let Form { rows: by_row, columns: by_column, .. } = form;
        let tile = by_column.outputs;
        for (rows, width) in (1..=by_row.outputs).flat_map(|r| (1..=tile).map(move |w| (r, w))) {
            let mut case = Output::new(form, rows, tile + width);
            let expected: Vec<_> = tables().map(|(_, table)| bits(&case.run(table))).collect();
            for point in 0..form.points() {
                let (i, j) = form.point(point);
                for (tile, outputs) in [tile, width].into_iter().enumerate() {
                    if !by_row.filter.needs(i, rows) || !by_column.filter.needs(j, outputs) {
                        let at = point * case.params.x_point + tile * BLOCK;
                        case.x[at..][..BLOCK].fill(f32::NAN);
                    }
                }
            }
            for ((isa, table), expected) in tables().zip(expected) {
                assert_eq!(bits(&case.run(table)), expected, "{isa} {:?}", case.params);
            }
        }
    }
}

/// A tile's bits depend on what it reads alone, not on the number of tiles beside it.
#[test]
fn bits_do_not_depend_on_the_number_of_tiles() {
    FORMS.iter().for_each(check_bits_of_tiles);
}

fn check_bits_of_tiles(form: &'static Form) {
    let (height, width) = (form.rows.outputs, form.columns.outputs);
    let x_row = input_row(form, 7);
    let x = Random(0x7e57).vec(form.rows.points() * x_row);
    let case = Output::new(form, height, 7 * width);
    for (isa, table) in tables() {
        let run = |first: usize, tiles: usize| {
            let params = input_params(form, tiles, x_row, tiles * BLOCK);
            let mut y = Guarded::new(form.points() * tiles * BLOCK);
            let x = x[first * form.columns.step() * BLOCK..].as_ptr();
            invoke(&Call::WinogradInput(params), table, &[x, y.pointer()]);
            let mut out = Guarded::new(height * width * tiles * BLOCK);
            let params = WinogradOutputParams {
                tiles,
                columns: width * tiles,
                y_row: width * tiles * BLOCK,
                ..case.params
            };
            let x = case.x[first * BLOCK..].as_ptr();
            let operands = [x, case.b.as_ptr(), std::ptr::null(), out.pointer()];
            invoke(&Call::WinogradOutput(params), table, &operands);
            (bits(y.full()), bits(out.full()))
        };
        let (points, pixels) = run(0, 7);
        for (first, tiles) in [(0, 1), (3, 1), (6, 1), (2, 4), (5, 2)] {
            let (part_points, part_pixels) = run(first, tiles);
            for (part, whole) in part_points.chunks(tiles * BLOCK).zip(points.chunks(7 * BLOCK)) {
                assert_eq!(part, &whole[first * BLOCK..][..tiles * BLOCK], "{isa}");
            }
            let row = width * BLOCK;
            for (part, whole) in part_pixels.chunks(tiles * row).zip(pixels.chunks(7 * row)) {
                assert_eq!(part, &whole[first * row..][..tiles * row], "{isa}");
            }
        }
    }
}
