//! Arithmetic on the elements of small tensors: what exporters leave of batch norms that they do not
//! fold, and of scales and shifts.

use half::{bf16, f16};
use resnet_compiler::graph::binomial;
use safetensors::tensor::Dtype;

use super::files::{Files, product};
use super::graph::{Affine, Norm};
use super::node::Node;
use crate::checkpoint::{Elements, Quantised, Stored};
use crate::error::Fault;

/// No network has more channels.
const MOST_VALUES: usize = 1 << 16;

/// No filter of a blur has more elements.
const MOST_FILTER: usize = 1 << 22;

impl Files {
    /// The elements, in row-major order; `None` if there are too many.
    pub(crate) fn values(&self, stored: &Stored) -> Option<Vec<f64>> {
        (stored.count() <= MOST_VALUES).then(|| self.elements(stored).collect())
    }

    /// The elements, in row-major order; those of quantised weights as what their bytes stand for.
    pub(super) fn elements<'a>(&'a self, stored: &Stored) -> Box<dyn Iterator<Item = f64> + 'a> {
        let Some(layer) = stored.quantised.clone() else { return self.raw(stored) };
        let own = Quantised::places(&stored.shape, layer.axis, layer.scale.len());
        Box::new(
            self.raw(stored)
                .enumerate()
                .map(move |(index, value)| value * f64::from(layer.scale[own(index)])),
        )
    }

    /// Whole numbers, in row-major order.
    pub(super) fn whole<'a>(&'a self, stored: &Stored) -> impl Iterator<Item = i64> + 'a {
        self.raw(stored).map(|number| number as i64)
    }

    /// Weights whose bytes are made the numbers that they stand for.
    pub(crate) fn real(&mut self, stored: &Stored) -> Stored {
        let values: Vec<f64> = self.elements(stored).collect();
        self.floats_of(stored.shape.clone(), values.into_iter())
    }

    /// A tensor of f32 with these elements, of which there are no more than a tensor of the file has.
    pub(crate) fn floats_of(
        &mut self,
        shape: Vec<usize>,
        values: impl Iterator<Item = f64>,
    ) -> Stored {
        let bytes = values.flat_map(|value| (value as f32).to_le_bytes()).collect();
        Stored { dtype: Dtype::F32, shape, elements: self.own(bytes), quantised: None }
    }

    fn raw<'a>(&'a self, stored: &Stored) -> Box<dyn Iterator<Item = f64> + 'a> {
        let (file, start, strides) = match &stored.elements {
            Elements::Same(value) => {
                return Box::new(std::iter::repeat_n(f64::from(*value), stored.count()));
            }
            Elements::At { file, start, strides } => (*file, *start, strides.clone()),
        };
        let (shape, dtype) = (stored.shape.clone(), stored.dtype);
        let size = dtype.bitsize() / 8;
        let bytes = &self.bytes[file][start..];
        Box::new((0..stored.count()).map(move |index| {
            let place = match &strides {
                None => index,
                Some(strides) => {
                    let mut rest = index;
                    let axes = shape.iter().zip(strides).rev();
                    axes.map(|(&size, stride)| {
                        let at = rest % size;
                        rest /= size;
                        at * stride
                    })
                    .sum()
                }
            };
            value(dtype, &bytes[place * size..][..size])
        }))
    }

    /// The number of a tensor that has one.
    pub(super) fn number(&self, stored: &Stored) -> Option<f64> {
        (stored.count() == 1).then(|| self.values(stored)?.first().copied())?
    }

    /// Whether every element is this one.
    pub(super) fn all_are(&self, stored: &Stored, number: f64) -> bool {
        self.elements(stored).all(|element| element == number)
    }

    /// A tensor of f32 with these elements.
    pub(super) fn computed(&mut self, shape: Vec<usize>, values: &[f64]) -> Result<Stored, Fault> {
        self.spend(size_of_val(values) / 2)?;
        Ok(self.floats_of(shape, values.iter().copied()))
    }

    /// Whether a tensor `[channels, 1, rows, columns]` is a blur's filter, binomial coefficients over their
    /// sum for every channel.
    pub(super) fn is_binomial(&self, stored: &Stored, [rows, columns]: [usize; 2]) -> bool {
        let [rows, columns] = [rows, columns].map(binomial);
        let plane: Vec<f64> =
            rows.iter().flat_map(|row| columns.iter().map(move |column| row * column)).collect();
        // Coefficients of a half are less exact.
        let bound = if stored.dtype.bitsize() < 32 { 1e-3 } else { 1e-6 };
        let is = |(index, found): (usize, f64)| (found - plane[index % plane.len()]).abs() < bound;
        stored.count() <= MOST_FILTER && self.elements(stored).enumerate().all(is)
    }

    /// What a node makes of small tensors; `None` for an operator that is not understood.
    pub(super) fn evaluate(
        &mut self,
        node: &Node<'_>,
        inputs: &[(Vec<usize>, Vec<f64>)],
    ) -> Result<Option<Stored>, Fault> {
        let one: Option<fn(f64) -> f64> = match node.op() {
            "Sqrt" => Some(f64::sqrt),
            "Reciprocal" => Some(f64::recip),
            "Neg" => Some(|a| -a),
            "Exp" => Some(f64::exp),
            _ => None,
        };
        let two: Option<fn(f64, f64) -> f64> = match node.op() {
            "Add" => Some(|a, b| a + b),
            "Sub" => Some(|a, b| a - b),
            "Mul" => Some(|a, b| a * b),
            "Div" => Some(|a, b| a / b),
            "Pow" => Some(f64::powf),
            _ => None,
        };
        let (shape, values) = match (one, two, inputs) {
            (Some(one), _, [(shape, values)]) => {
                (shape.clone(), values.iter().copied().map(one).collect())
            }
            (_, Some(two), [a, b]) => match broadcast(&a.0, &b.0) {
                Some(shape) if product(&shape).is_some_and(|count| count <= MOST_VALUES) => {
                    let pairs = spread(a, &shape).zip(spread(b, &shape));
                    let values: Vec<f64> = pairs.map(|(a, b)| two(a, b)).collect();
                    (shape, values)
                }
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        self.computed(shape, &values).map(Some)
    }

    /// The negative, or the reciprocals.
    pub(super) fn inverse(
        &mut self,
        stored: &Stored,
        invert: fn(f64) -> f64,
    ) -> Result<Option<Stored>, Fault> {
        let Some(values) = self.values(stored) else { return Ok(None) };
        let values: Vec<f64> = values.into_iter().map(invert).collect();
        self.computed(stored.shape.clone(), &values).map(Some)
    }

    /// What a norm followed by a scale and a shift comes to.
    pub(super) fn compose(&mut self, norm: &mut Norm, after: &Affine) -> Result<bool, Fault> {
        if let Some(scale) = &after.scale {
            let (Some(weight), Some(bias)) =
                (self.times(&norm.weight, scale)?, self.times(&norm.bias, scale)?)
            else {
                return Ok(false);
            };
            (norm.weight, norm.bias) = (weight, bias);
        }
        if let Some(shift) = &after.shift {
            let Some(bias) = self.plus(&norm.bias, shift)? else { return Ok(false) };
            norm.bias = bias;
        }
        Ok(true)
    }

    fn times(&mut self, a: &Stored, b: &Stored) -> Result<Option<Stored>, Fault> {
        match (&a.elements, &b.elements) {
            (Elements::Same(1.0), _) => Ok(Some(b.clone())),
            (Elements::Same(0.0), _) | (_, Elements::Same(1.0)) => Ok(Some(a.clone())),
            _ => self.pairs(a, b, |a, b| a * b),
        }
    }

    pub(super) fn plus(&mut self, a: &Stored, b: &Stored) -> Result<Option<Stored>, Fault> {
        match (&a.elements, &b.elements) {
            (Elements::Same(0.0), _) => Ok(Some(b.clone())),
            (_, Elements::Same(0.0)) => Ok(Some(a.clone())),
            _ => self.pairs(a, b, |a, b| a + b),
        }
    }

    /// Element by element, of two vectors of one length.
    fn pairs(
        &mut self,
        a: &Stored,
        b: &Stored,
        combine: fn(f64, f64) -> f64,
    ) -> Result<Option<Stored>, Fault> {
        let (Some(first), Some(second)) = (self.values(a), self.values(b)) else { return Ok(None) };
        let values: Vec<f64> = first.into_iter().zip(second).map(|(a, b)| combine(a, b)).collect();
        self.computed(a.shape.clone(), &values).map(Some)
    }
}

/// The shape that two tensors are brought to, as NumPy does.
fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], axis: usize| match (axis + shape.len()).checked_sub(rank) {
        Some(own) => shape[own],
        None => 1,
    };
    (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (a, b) if a == b || b == 1 => Some(a),
            (1, b) => Some(b),
            _ => None,
        })
        .collect()
}

/// The elements of a tensor that is brought to a shape.
fn spread<'a>(
    (own, values): &'a (Vec<usize>, Vec<f64>),
    shape: &'a [usize],
) -> impl Iterator<Item = f64> + 'a {
    (0..shape.iter().product()).map(move |index| {
        let (mut rest, mut place, mut step) = (index, 0, 1);
        for (axis, &size) in shape.iter().rev().enumerate() {
            let at = rest % size;
            rest /= size;
            let own = own.iter().rev().nth(axis).copied().unwrap_or(1);
            place += if own == 1 { 0 } else { at * step };
            step *= own;
        }
        values[place]
    })
}

/// A number of a file.
fn value(dtype: Dtype, bytes: &[u8]) -> f64 {
    match (dtype, bytes) {
        (Dtype::F64, &[a, b, c, d, e, f, g, h]) => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
        (Dtype::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]).into(),
        (Dtype::BF16, &[a, b]) => bf16::from_le_bytes([a, b]).into(),
        (Dtype::F16, &[a, b]) => f16::from_le_bytes([a, b]).into(),
        (Dtype::I8, &[a]) => a.cast_signed().into(),
        (Dtype::U8, &[a]) => a.into(),
        (Dtype::I32, &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]).into(),
        _ => f64::NAN,
    }
}
