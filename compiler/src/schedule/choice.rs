//! Which algorithm computes a convolution: the choices there are, and the cost model that takes one
//! where nobody measured.

use std::fmt;
use std::str::FromStr;

use resnet_runtime::kernels::{BLOCK, Element, PAIR, PANEL, QUAD, Transform};

use super::conv::{packed_element, weight_element};
use super::{Layout, winograd};
use crate::fuse::{Conv, FusedId};
use crate::graph::{Extent, Shape, Window};
use crate::words::{UnknownWord, find, words};

/// A way to compute a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Choice {
    /// What computes the sums.
    pub algorithm: Algorithm,
    /// What stays in cache meanwhile.
    pub order: Order,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm, self.order)
    }
}

words! {
    /// What computes a convolution's sums.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum Algorithm {
        /// The definition.
        Direct = "direct",
        /// Winograd with tiles of 2x2 outputs. Of a 3x3 kernel it has 4/9 of the multiplications, with
        /// stride 2 25/36, and 16/9 of the weights.
        Winograd2 = "winograd2",
        /// Winograd with tiles of 4x4 outputs. Of a 3x3 kernel it has 1/4 of the multiplications, with
        /// stride 2 9/16, and 4 times the weights (of bytes, with stride 1 alone, 8 times, or as many where words are made as
        /// they come up). Of a picture that stays planar and a 7x7 kernel with
        /// stride 2, tiles of 4 rows have 13/28 of the multiplications.
        Winograd4 = "winograd4",
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        find(word, Self::ALL, Self::word)
    }
}

/// The form that it takes for a kernel, a stride and a layout says which it is.
impl From<Transform> for Algorithm {
    fn from(transform: Transform) -> Self {
        match transform {
            Transform::None => Self::Direct,
            Transform::Winograd2x2 | Transform::Winograd2x2Stride2 => Self::Winograd2,
            Transform::Winograd4x4
            | Transform::Winograd4x4Stride2
            | Transform::Winograd4x1Stride2 => Self::Winograd4,
        }
    }
}

words! {
    /// Which loop of a convolution is the outer one.
    #[derive(Hash)]
    pub enum Order {
        /// A band of rows stays in cache while all panels pass over it.
        RowsOuter = "rows",
        /// A panel of weights stays in cache while it passes over all rows of all pictures.
        PanelsOuter = "panels",
        /// The same, one picture (or band of a Winograd convolution) after another, so that it stays in
        /// cache while the panels pass over it.
        PicturesOuter = "pictures",
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Order {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        find(word, Self::ALL, Self::word)
    }
}

/// A convolution that waits for a choice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'a> {
    pub(super) id: FusedId,
    /// Its name, by which measured choices know it.
    pub(super) name: &'a str,
    pub(super) conv: &'a Conv,
    /// A zero-padding shortcut is added.
    pub(super) zero_pads: bool,
    pub(super) input: Shape,
    pub(super) output: Shape,
    /// How the input lies.
    pub(super) layout: Layout,
}

impl Site<'_> {
    /// What becomes of the weights, if `algorithm` can compute it.
    pub(super) fn transform(&self, algorithm: Algorithm) -> Option<Transform> {
        if algorithm == Algorithm::Direct {
            return Some(Transform::None);
        }
        let Window { kernel, stride, dilation, .. } = self.conv.window;
        let plain = dilation == Extent::square(1) && self.conv.groups == 1 && !self.zero_pads;
        Transform::WINOGRAD.into_iter().find(|&transform| {
            let [filter, _] = transform.filters();
            plain
                // Of bytes there is this one, for blocks.
                && (!self.conv.quantised()
                    || transform == Transform::Winograd4x4 && self.input.channels <= WORD_CHANNELS)
                && self.layout != Layout::Interleaved
                && Algorithm::from(transform) == algorithm
                && Extent::square(filter.stride()) == stride
                && transform.suits(self.planar(), (kernel.rows, kernel.columns))
        })
    }

    /// Whether `choice` can compute it.
    pub(super) fn allows(&self, Choice { algorithm, order }: Choice) -> bool {
        match self.transform(algorithm) {
            None => false,
            Some(Transform::None) => !self.zero_pads || order == Order::RowsOuter,
            Some(_) => !self.planar() || order == Order::RowsOuter,
        }
    }

    /// The choice that the model below expects to be the fastest for `costs.batch` pictures.
    pub(super) fn choose(&self, costs: &Costs, exact: bool) -> Choice {
        self.algorithms(exact)
            .min_by(|a, b| self.cycles(costs, a.1).total_cmp(&self.cycles(costs, b.1)))
            .map(|(algorithm, transform)| self.ordered(algorithm, transform, costs))
            .expect("the definition is always allowed")
    }

    /// What the model expects of [`Site::choose`].
    pub(super) fn least_cycles(&self, costs: &Costs, exact: bool) -> f64 {
        let cycles = self.algorithms(exact).map(|(_, transform)| self.cycles(costs, transform));
        cycles.min_by(f64::total_cmp).expect("the definition is always allowed")
    }

    /// All choices that are allowed and differ; first that of [`Site::choose`].
    pub(super) fn candidates(&self, costs: &Costs, exact: bool) -> Vec<Choice> {
        let chosen = self.choose(costs, exact);
        let all = self.algorithms(exact).flat_map(|(algorithm, _)| {
            Order::ALL.iter().map(move |&order| Choice { algorithm, order })
        });
        let others = all.filter(|&choice| {
            // Of a single picture, pictures outer is panels outer.
            let differs = costs.batch > 1 || choice.order != Order::PicturesOuter;
            choice != chosen && differs && self.allows(choice)
        });
        std::iter::once(chosen).chain(others).collect()
    }

    /// The algorithm of fewer bytes of weights that costs the least for them, and its price: more
    /// cycles for each byte less.
    pub(super) fn leaner(&self, costs: &Costs, than: Choice) -> Option<(f64, Choice)> {
        let transform = self.transform(than.algorithm)?;
        let bytes = self.packed_bytes(transform, than.order);
        let cycles = self.cycles(costs, transform);
        self.algorithms(false)
            .filter_map(|(algorithm, transform)| {
                let choice = self.ordered(algorithm, transform, costs);
                let saved = bytes - self.packed_bytes(transform, choice.order);
                let price = (self.cycles(costs, transform) - cycles) / saved;
                (saved > 0.0).then_some((price, choice))
            })
            .min_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// The algorithms that can compute it; of `exact` ones the definition alone.
    fn algorithms(&self, exact: bool) -> impl Iterator<Item = (Algorithm, Transform)> {
        let known = Algorithm::ALL
            .iter()
            .filter_map(|&algorithm| Some((algorithm, self.transform(algorithm)?)));
        known.filter(move |(algorithm, _)| !exact || *algorithm == Algorithm::Direct)
    }

    /// An algorithm with the order that suits it.
    fn ordered(&self, algorithm: Algorithm, transform: Transform, costs: &Costs) -> Choice {
        Choice { algorithm, order: self.order(transform, costs.batch) }
    }

    /// Small weights stay in cache while the rows pass, so that each row is read once; large ones
    /// are read once, panel by panel, while the rows stay. A batch whose pictures do not stay is
    /// computed picture by picture if reading its weights anew costs less than reading its pictures
    /// for every panel.
    fn order(&self, transform: Transform, batch: usize) -> Order {
        let weights = self.weight_bytes(transform);
        let direct = transform == Transform::None;
        let resident = if direct { RESIDENT_WEIGHTS } else { RESIDENT_POINTS };
        if self.zero_pads || (self.planar() && !direct) || weights <= resident {
            return Order::RowsOuter;
        }
        let picture = if direct {
            let elements = padded(self.input.channels) * self.input.pixels();
            elements * self.conv.element.bytes()
        } else {
            let element = weight_element(self.conv, transform);
            self.points(transform) * self.inputs() * element.bytes()
        };
        let picture = picture as f64;
        let panels = self.output.channels.div_ceil(PANEL) as f64;
        if batch > 1 && batch as f64 * picture > RESIDENT_PICTURES && weights < panels * picture {
            Order::PicturesOuter
        } else {
            Order::PanelsOuter
        }
    }

    /// Points of a Winograd convolution's tiles, of one channel of one picture.
    fn points(&self, transform: Transform) -> usize {
        let tiles = winograd::tiles(transform, self.output);
        let edges =
            winograd::Edges::of(transform, weight_element(self.conv, transform), self.output);
        let Extent { rows, columns } = edges.points(transform, tiles);
        rows * columns
    }

    /// The input is a planar picture.
    fn planar(&self) -> bool {
        self.layout == Layout::Planar
    }

    /// Input channels that are computed with.
    fn inputs(&self) -> usize {
        if self.planar() { self.input.channels } else { padded(self.input.channels) }
    }

    /// Pairs of an input and an output channel that are computed with.
    fn pairs(&self) -> usize {
        self.inputs() * padded(self.output.channels) / self.conv.groups
    }

    /// Bytes of the packed weights, near enough.
    fn packed_bytes(&self, transform: Transform, order: Order) -> f64 {
        let (packed, element) =
            (packed_element(self.conv, transform, order), weight_element(self.conv, transform));
        if packed != element {
            let Extent { rows, columns } = self.conv.window.kernel;
            // The factors of words take as much as another input block.
            let pairs = self.pairs() + BLOCK * padded(self.output.channels);
            return (rows * columns * pairs * packed.bytes()) as f64;
        }
        self.weight_bytes(transform)
    }

    /// Bytes of what inputs are multiplied with, near enough.
    fn weight_bytes(&self, transform: Transform) -> f64 {
        let kernel = &self.conv.window.kernel;
        let [rows, columns] = transform.filters();
        let points = rows.weights(kernel.rows) * columns.weights(kernel.columns);
        (points * self.pairs() * weight_element(self.conv, transform).bytes()) as f64
    }

    /// What the model expects, in cycles of one core.
    ///
    /// Weights arrive from memory while the core computes, so that the longer of both counts. A
    /// Winograd convolution's points are written and read once more, which takes its own time.
    fn cycles(&self, costs: &Costs, transform: Transform) -> f64 {
        let batch = costs.batch as f64;
        let order = self.order(transform, costs.batch);
        let packed = packed_element(self.conv, transform, order);
        let arrival = self.packed_bytes(transform, order) / costs.weight_bytes(packed);
        let pairs = self.pairs() as f64;
        let Extent { rows, columns } = self.conv.window.kernel;
        let fmas = FMAS * self.together(transform);
        if transform == Transform::None {
            let sums = self.output.pixels() as f64 * rows as f64 * columns as f64 * pairs;
            return f64::max(batch * sums / fmas, arrival);
        }
        let points = self.points(transform) as f64;
        // Where only the rows are filtered, a product is a sum over the kernel's columns.
        let sums = if self.planar() { columns as f64 } else { 1.0 };
        let input = self.inputs() * weight_element(self.conv, transform).bytes();
        let bytes = input + padded(self.output.channels) * Element::F32.bytes();
        let bytes = points * bytes as f64;
        let made = packed != weight_element(self.conv, transform);
        let words = if made { pairs * PAIR_CYCLES } else { 0.0 };
        let products = points * sums * pairs / fmas + bytes / POINT_BYTES;
        f64::max(batch * (words + products), arrival)
    }

    /// Multiply-adds in the place of one of `f32`.
    fn together(&self, transform: Transform) -> f64 {
        match weight_element(self.conv, transform) {
            Element::I8 | Element::U8 => QUAD as f64,
            Element::I16 | Element::Bf16 => PAIR as f64,
            Element::F32 | Element::U32 => 1.0,
        }
    }
}

fn padded(channels: usize) -> usize {
    channels.next_multiple_of(BLOCK)
}

/// Input channels of a Winograd convolution of bytes, at most: of more, words of ordinary weights would be rounded so that the sums
/// fit, to less than what quantising left of them.
const WORD_CHANNELS: usize = 1024;

/// Bytes of a direct convolution's weights that may stay in a second-level cache beside a band of
/// activations.
const RESIDENT_WEIGHTS: f64 = 256.0 * 1024.0;

/// The same for Winograd: its calls are longer, so that more of the cache may be theirs.
const RESIDENT_POINTS: f64 = 640.0 * 1024.0;

/// Bytes of the pictures that may stay in a second-level cache beside a panel of weights.
const RESIDENT_PICTURES: f64 = 512.0 * 1024.0;

/// Multiply-adds a cycle, at best: two 16-lane units.
const FMAS: f64 = 32.0;

/// Bytes of a Winograd convolution's points that are made and read again in a cycle.
const POINT_BYTES: f64 = 10.0;

/// Cycles in which words are made of the bytes of a pair of channels, for each picture at worst.
const PAIR_CYCLES: f64 = 1.5;

/// What the model has to know about the whole network.
///
/// It looks at one core and one instruction set whatever the machine, because the packed weights
/// and the bits of the results are to be the same for any. With half the multiply-adds a cycle the
/// choices for the networks at hand are the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Costs {
    /// Pictures that share a reading of the weights.
    batch: usize,
    /// Whether a last-level cache keeps all weights from one run to the next.
    cached: bool,
}

impl Costs {
    /// For a network of these convolutions.
    pub(super) fn new(batch: usize, sites: &[Site<'_>]) -> Self {
        let bytes: f64 = sites.iter().map(|site| site.weight_bytes(Transform::None)).sum();
        Self { batch, cached: bytes <= CACHED_WEIGHTS }
    }

    /// Bytes of weights that arrive in a cycle while a core computes.
    fn weight_bytes(&self, element: Element) -> f64 {
        match (self.cached, element) {
            (true, _) => 24.0,
            (false, Element::F32) => 9.0,
            // Of words, 4.5 to 5.8 were measured: their multiply-adds leave less time than those of `f32`.
            (false, _) => 5.0,
        }
    }
}

/// Bytes of untransformed weights that a share of the last-level cache keeps, transformed.
const CACHED_WEIGHTS: f64 = (4 << 20) as f64;
