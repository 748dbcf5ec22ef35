//! Which algorithm computes a convolution: the choices there are, and the cost model that takes one
//! where nobody measured.

use std::fmt;

use resnet_runtime::kernels::BLOCK;
use resnet_runtime::tensors::Transform;

use super::Order;
use crate::fuse::Conv;
use crate::graph::{Extent, Shape};

/// A way to compute a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Choice {
    /// What computes the sums.
    pub method: Method,
    /// What stays in cache meanwhile.
    pub order: Order,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.order)
    }
}

/// What computes a convolution's sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// The definition.
    Direct,
    /// Winograd's F(2x2, 3x3): 4/9 of the multiplications, 16/9 of the weights.
    Winograd2,
    /// Winograd's F(4x4, 3x3): 1/4 of the multiplications, 4 times the weights.
    Winograd4,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 3] = [Self::Direct, Self::Winograd2, Self::Winograd4];

    /// Output pixels of a Winograd tile's side.
    pub fn side(self) -> Option<usize> {
        match self {
            Self::Direct => None,
            Self::Winograd2 => Some(2),
            Self::Winograd4 => Some(4),
        }
    }

    /// What becomes of the weights.
    pub fn transform(self) -> Transform {
        match self {
            Self::Direct => Transform::None,
            Self::Winograd2 => Transform::Winograd2x2,
            Self::Winograd4 => Transform::Winograd4x4,
        }
    }

    /// The tiles that cover a picture's output.
    pub(super) fn tiles(self, output: Shape) -> Option<Extent> {
        let cover = |side| Extent::new(output.height.div_ceil(side), output.width.div_ceil(side));
        self.side().map(cover)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Winograd2 => "winograd2",
            Self::Winograd4 => "winograd4",
        })
    }
}

/// A convolution that waits for a choice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'a> {
    pub(super) conv: &'a Conv,
    pub(super) input: Shape,
    pub(super) output: Shape,
    /// The input is a planar picture.
    pub(super) planar: bool,
}

impl Site<'_> {
    /// Whether `choice` can compute it.
    pub(super) fn allows(&self, choice: Choice) -> bool {
        let zero_pads = self.conv.zero_pads();
        let winograd = self.conv.window.kernel == Extent::square(3)
            && self.conv.window.stride == Extent::square(1)
            && self.conv.window.dilation == Extent::square(1)
            && self.conv.groups == 1
            && !self.planar
            && !zero_pads;
        match choice.method {
            Method::Direct => !zero_pads || choice.order == Order::RowsOuter,
            Method::Winograd2 | Method::Winograd4 => {
                winograd && choice.order != Order::PicturesOuter
            }
        }
    }

    /// The choice that the model below expects to be the fastest for `costs.batch` pictures.
    pub(super) fn choose(&self, costs: &Costs, exact: bool) -> Choice {
        Method::ALL
            .into_iter()
            .filter(|&method| !exact || method == Method::Direct)
            .map(|method| Choice { method, order: self.order(method, costs.batch) })
            .filter(|&choice| self.allows(choice))
            .min_by(|a, b| self.cycles(costs, a.method).total_cmp(&self.cycles(costs, b.method)))
            .expect("the definition is always allowed")
    }

    /// All choices that are allowed and differ; first that of [`Site::choose`].
    pub(super) fn candidates(&self, costs: &Costs, exact: bool) -> Vec<Choice> {
        let chosen = self.choose(costs, exact);
        let methods = Method::ALL.into_iter().filter(|&m| !exact || m == Method::Direct);
        let all = methods.flat_map(|method| Order::ALL.map(|order| Choice { method, order }));
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
        let (bytes, cycles) = (self.weight_bytes(than.method), self.cycles(costs, than.method));
        Method::ALL
            .into_iter()
            .map(|method| Choice { method, order: self.order(method, costs.batch) })
            .filter(|&choice| self.allows(choice) && self.weight_bytes(choice.method) < bytes)
            .map(|choice| {
                let saved = bytes - self.weight_bytes(choice.method);
                ((self.cycles(costs, choice.method) - cycles) / saved, choice)
            })
            .min_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// Small weights stay in cache while the rows pass, so that each row is read once; large ones
    /// are read once, panel by panel, while the rows stay. A batch whose pictures do not stay is
    /// computed picture by picture if reading its weights anew costs less than reading its pictures
    /// for every panel.
    fn order(&self, method: Method, batch: usize) -> Order {
        let zero_pads = self.conv.zero_pads();
        let weights = self.weight_bytes(method);
        let Some(side) = method.side() else {
            let inputs = padded(self.input.channels) * self.input.pixels();
            let picture = (inputs * size_of::<f32>()) as f64;
            let panels = self.output.channels.div_ceil(2 * BLOCK) as f64;
            return if zero_pads || weights <= RESIDENT_WEIGHTS {
                Order::RowsOuter
            } else if batch > 1
                && batch as f64 * picture > RESIDENT_PICTURES
                && weights < panels * picture
            {
                Order::PicturesOuter
            } else {
                Order::PanelsOuter
            };
        };
        // A picture whose last row of tiles is a partial one is a single band, which no threads
        // could divide.
        if self.output.height.is_multiple_of(side) && weights <= RESIDENT_POINTS {
            Order::RowsOuter
        } else {
            Order::PanelsOuter
        }
    }

    /// Bytes of the packed weights, near enough.
    fn weight_bytes(&self, method: Method) -> f64 {
        let kernel = &self.conv.window.kernel;
        let points = match method.side() {
            None => kernel.rows * kernel.columns,
            Some(side) => (side + 2) * (side + 2),
        };
        let inputs = if self.planar { self.input.channels } else { padded(self.input.channels) };
        let pairs = inputs * padded(self.output.channels) / self.conv.groups;
        (points * pairs * size_of::<f32>()) as f64
    }

    /// What the model expects, in cycles of one core.
    ///
    /// Weights arrive from memory while the core computes, so that the longer of both counts. A
    /// Winograd convolution's points are written and read once more, which takes its own time.
    fn cycles(&self, costs: &Costs, method: Method) -> f64 {
        let batch = costs.batch as f64;
        let weights = self.weight_bytes(method);
        let per_point = weights / size_of::<f32>() as f64;
        let arrival = weights / costs.weight_bytes;
        let Some(tiles) = method.tiles(self.output) else {
            let sums = self.output.pixels() as f64 * per_point;
            return f64::max(batch * sums / FMAS, arrival);
        };
        let side = method.side().expect("it has tiles") + 2;
        let count = (tiles.rows * tiles.columns) as f64;
        let channels = padded(self.input.channels) + padded(self.output.channels);
        let points = count * (side * side * channels * size_of::<f32>()) as f64;
        f64::max(batch * (count * per_point / FMAS + points / POINT_BYTES), arrival)
    }
}

fn padded(channels: usize) -> usize {
    channels.next_multiple_of(BLOCK)
}

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

/// What the model has to know about the whole network.
///
/// It looks at one core and one instruction set whatever the machine, because the packed weights
/// and the bits of the results are to be the same for any. With half the multiply-adds a cycle the
/// choices for the networks at hand are the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Costs {
    /// Pictures that share a reading of the weights.
    batch: usize,
    /// Bytes of weights that arrive in a cycle while a core computes.
    weight_bytes: f64,
}

impl Costs {
    /// For a network of these convolutions.
    pub(super) fn new<'a>(batch: usize, sites: impl Iterator<Item = &'a Site<'a>>) -> Self {
        let bytes: f64 = sites.map(|site| site.weight_bytes(Method::Direct)).sum();
        // What a last-level cache keeps from one run to the next arrives faster.
        let weight_bytes = if bytes <= CACHED_WEIGHTS { 24.0 } else { 9.0 };
        Self { batch, weight_bytes }
    }
}

/// Bytes of untransformed weights that a share of the last-level cache keeps, transformed.
const CACHED_WEIGHTS: f64 = (4 << 20) as f64;
