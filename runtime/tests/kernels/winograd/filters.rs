//! The filters as their theory has them: `B^T`, `G` and `A^T` from the points that polynomials are
//! evaluated at, in `f64`.

use resnet_runtime::kernels::{Filter, Transform};

use crate::Random;

/// A convolution that has a [`Transform`].
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) transform: Transform,
    /// Down the columns of a tile.
    pub(super) rows: &'static Line,
    /// Along its rows.
    pub(super) columns: &'static Line,
}

pub(super) const FORMS: &[Form] = &[
    Form { transform: Transform::Winograd2x2, rows: &F2, columns: &F2 },
    Form { transform: Transform::Winograd4x4, rows: &F4, columns: &F4 },
    Form { transform: Transform::Winograd2x2Stride2, rows: &F2S2, columns: &F2S2 },
    Form { transform: Transform::Winograd4x4Stride2, rows: &F4S2, columns: &F4S2 },
    Form { transform: Transform::Winograd4x1Stride2, rows: &F4X7S2, columns: &IDENTITY },
];

/// One dimension of a form.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) filter: Filter,
    pub(super) outputs: usize,
    pub(super) taps: usize,
    pub(super) stride: usize,
    /// The pixels of each remainder by the stride, which meet the taps of that remainder alone: a
    /// convolution with stride 1.
    phases: &'static [Phase],
}

/// What multiplies the pixels of one remainder with their taps.
#[derive(Debug)]
enum Phase {
    /// Each pixel is a point, each tap a weight.
    Direct,
    /// The values of two polynomials.
    At(&'static [Point]),
}

#[derive(Debug)]
struct Point {
    at: f64,
    /// What the implementation multiplies its row of `B^T` by, and divides its row of `G` by.
    input: f64,
    /// What it multiplies its column of `A^T` by, and divides its row of `G` by.
    output: f64,
}

const fn at(at: f64) -> Point {
    Point { at, input: 1.0, output: 1.0 }
}

impl Point {
    const fn output(self, output: f64) -> Self {
        Self { output, ..self }
    }

    const fn input(self, input: f64) -> Self {
        Self { input, ..self }
    }
}

const F2: Line = Line {
    filter: Filter::F2,
    outputs: 2,
    taps: 3,
    stride: 1,
    phases: &[Phase::At(&[at(0.0), at(1.0), at(-1.0), at(f64::INFINITY)])],
};

const F4_POINTS: Phase = Phase::At(&[
    at(0.0),
    at(0.625).output(1.6),
    at(-0.625).output(1.6),
    at(1.5).output(1.0 / 2.25),
    at(-1.5).output(1.0 / 2.25),
    at(f64::INFINITY),
]);

const F4: Line = Line { filter: Filter::F4, outputs: 4, taps: 3, stride: 1, phases: &[F4_POINTS] };

const F2S2: Line = Line {
    filter: Filter::F2s2,
    outputs: 2,
    taps: 3,
    stride: 2,
    // With this sign the weight at 0 is the tap itself.
    phases: &[Phase::At(&[at(0.0).input(-1.0), at(1.0), at(f64::INFINITY)]), Phase::Direct],
};

const F4S2: Line = Line {
    filter: Filter::F4s2,
    outputs: 4,
    taps: 3,
    stride: 2,
    phases: &[
        Phase::At(&[at(0.0), at(0.5).output(2.0), at(-1.0), at(1.5), at(f64::INFINITY)]),
        Phase::Direct,
    ],
};

const F4X7S2: Line = Line {
    filter: Filter::F4x7s2,
    outputs: 4,
    taps: 7,
    stride: 2,
    phases: &[
        Phase::At(&[at(0.0), at(0.5), at(-0.5), at(1.0), at(-1.0), at(2.0), at(f64::INFINITY)]),
        F4_POINTS,
    ],
};

/// The kernel's columns stay as they are, for a convolution along the rows.
const IDENTITY: Line =
    Line { filter: Filter::Identity, outputs: 1, taps: 7, stride: 1, phases: &[Phase::Direct] };

impl Line {
    fn phase_taps(&self, phase: usize) -> usize {
        (self.taps - phase).div_ceil(self.stride)
    }

    fn phase_points(&self, phase: usize) -> usize {
        match self.phases[phase] {
            Phase::Direct => self.outputs,
            Phase::At(points) => points.len(),
        }
    }

    fn phase_weights(&self, phase: usize) -> usize {
        match self.phases[phase] {
            Phase::Direct => self.phase_taps(phase),
            Phase::At(points) => points.len(),
        }
    }

    pub(super) fn points(&self) -> usize {
        (0..self.stride).map(|phase| self.phase_points(phase)).sum()
    }

    pub(super) fn weights(&self) -> usize {
        (0..self.stride).map(|phase| self.phase_weights(phase)).sum()
    }

    /// Distance between the pixels of neighbouring tiles.
    pub(super) fn step(&self) -> usize {
        self.stride * self.outputs
    }

    /// The phase of element `index`, and its index there, if they have so many elements.
    fn place(&self, mut index: usize, elements: impl Fn(usize) -> usize) -> (usize, usize) {
        let mut phase = 0;
        while index >= elements(phase) {
            index -= elements(phase);
            phase += 1;
        }
        (phase, index)
    }

    /// `B^T[point][pixel]`: the coefficients of the product of `x - root` over the other finite
    /// points.
    pub(super) fn input(&self, point: usize, pixel: usize) -> f64 {
        let (phase, point) = self.place(point, |phase| self.phase_points(phase));
        if pixel % self.stride != phase {
            return 0.0;
        }
        let pixel = pixel / self.stride;
        let Phase::At(points) = self.phases[phase] else { return f64::from(point == pixel) };
        let mut polynomial = vec![0.0; points.len()];
        polynomial[0] = 1.0;
        for root in others(points, point) {
            for power in (0..polynomial.len()).rev() {
                let raised = if power == 0 { 0.0 } else { polynomial[power - 1] };
                polynomial[power] = raised - root * polynomial[power];
            }
        }
        polynomial[pixel] * points[point].input
    }

    /// `A^T[output][point]`.
    pub(super) fn output(&self, output: usize, point: usize) -> f64 {
        let (phase, point) = self.place(point, |phase| self.phase_points(phase));
        match self.phases[phase] {
            Phase::Direct => f64::from(output == point),
            Phase::At(points) => power(&points[point], output, self.outputs) * points[point].output,
        }
    }

    /// `G[weight][tap]`.
    fn weight(&self, weight: usize, tap: usize) -> f64 {
        let (phase, weight) = self.place(weight, |phase| self.phase_weights(phase));
        if tap % self.stride != phase {
            return 0.0;
        }
        let tap = tap / self.stride;
        let Phase::At(points) = self.phases[phase] else { return f64::from(weight == tap) };
        let point = &points[weight];
        let distances = others(points, weight).map(|other| point.at - other);
        let product: f64 = if point.at.is_finite() { distances.product() } else { 1.0 };
        power(point, tap, self.phase_taps(phase)) / product / point.input / point.output
    }
}

/// The finite points but one.
fn others(points: &[Point], but: usize) -> impl Iterator<Item = f64> {
    let others = points.iter().enumerate().filter(move |&(other, _)| other != but);
    others.map(|(_, point)| point.at).filter(|point| point.is_finite())
}

/// A power of a point, of so many that there are: at infinity the highest alone counts.
fn power(point: &Point, power: usize, powers: usize) -> f64 {
    if point.at.is_finite() { point.at.powi(power as i32) } else { f64::from(power + 1 == powers) }
}

impl Form {
    /// The one with this transform.
    pub(crate) fn of(transform: Transform) -> &'static Self {
        FORMS.iter().find(|form| form.transform == transform).expect("a Winograd transform")
    }

    /// Whether columns are left to a convolution of planar rows.
    pub(super) fn planar(&self) -> bool {
        self.columns.filter == Filter::Identity
    }

    /// Rows and columns of the kernel.
    pub(super) fn kernel(&self) -> usize {
        self.rows.taps
    }

    pub(super) fn stride(&self) -> usize {
        self.rows.stride
    }

    pub(super) fn points(&self) -> usize {
        self.rows.points() * self.columns.points()
    }

    /// Row and column of a point.
    pub(super) fn point(&self, point: usize) -> (usize, usize) {
        (point / self.columns.points(), point % self.columns.points())
    }

    /// Element `index` of `G g G^T`, which the tests of packing ask for too.
    pub(crate) fn weight(&self, index: usize, kernel: &[f64]) -> f64 {
        let (i, j) = (index / self.columns.weights(), index % self.columns.weights());
        let taps = kernel.iter().enumerate();
        taps.map(|(tap, weight)| {
            self.rows.weight(i, tap / self.kernel())
                * self.columns.weight(j, tap % self.kernel())
                * weight
        })
        .sum()
    }
}

const LINES: [&Line; 6] = [&IDENTITY, &F2, &F4, &F2S2, &F4S2, &F4X7S2];

#[test]
fn counts() {
    for line in LINES {
        let filter = line.filter;
        assert_eq!(filter.outputs(), line.outputs, "{filter:?}");
        assert_eq!(filter.points(), line.points(), "{filter:?}");
        assert_eq!(filter.weights(line.taps), line.weights(), "{filter:?}");
        assert_eq!(filter.step(), line.step(), "{filter:?}");
    }
    for form in FORMS {
        assert_eq!(form.transform.filters(), [form.rows.filter, form.columns.filter]);
    }
}

/// With the weights of [`Filter::weight`], the matrices are a convolution.
#[test]
fn products() {
    for line in LINES {
        // What is not filtered has the sum over the taps elsewhere.
        let taps = if line.filter == Filter::Identity { 1 } else { line.taps };
        let mut random = Random(0x070_0c0);
        let [pixels, kernel] = [line.points(), taps].map(|len| random.vec(len));
        let products: Vec<f64> = (0..line.points())
            .map(|point| {
                let weight = line.filter.weight(point);
                let pixels = pixels.iter().enumerate();
                let kernel = kernel.iter().enumerate();
                pixels.map(|(r, &x)| line.input(point, r) * f64::from(x)).sum::<f64>()
                    * kernel.map(|(t, &g)| line.weight(weight, t) * f64::from(g)).sum::<f64>()
            })
            .collect();
        for output in 0..line.outputs {
            let products = products.iter().enumerate();
            let found: f64 = products.map(|(p, product)| line.output(output, p) * product).sum();
            let window = &pixels[output * line.stride..][..taps];
            let terms = window.iter().zip(&kernel).map(|(&x, &g)| f64::from(x) * f64::from(g));
            let error = (found - terms.sum::<f64>()).abs();
            assert!(error < 1e-13, "{:?}: {error} at output {output}", line.filter);
        }
    }
}

#[test]
fn needs() {
    for line in LINES {
        for outputs in 1..=line.outputs {
            for point in 0..line.points() {
                let needs = (0..outputs).any(|output| line.output(output, point) != 0.0);
                let found = line.filter.needs(point, outputs);
                assert_eq!(found, needs, "{:?}, {point}, {outputs}", line.filter);
            }
        }
    }
}
