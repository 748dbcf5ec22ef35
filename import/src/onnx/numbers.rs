//! Whole numbers that a graph computes from constants and from the shapes of activations: shapes, axes,
//! pads.
//!
//! Exporters write them as chains of nodes where a program computed them. The number of pictures may be
//! open; what is computed from it is not known, and no operator that is understood asks for it.

use super::form::{squeezed, unsqueezed};
use super::node::Node;
use crate::error::Fault;

/// No shape, and no list of pads, has more.
pub(crate) const MOST_NUMBERS: usize = 16;

/// A small tensor of whole numbers. One that is not known is the number of pictures.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Numbers {
    shape: Vec<usize>,
    pub(crate) values: Vec<Option<i64>>,
}

impl Numbers {
    /// `None` if there are too many, or not as many as the shape says.
    pub(crate) fn new(shape: Vec<usize>, values: Vec<Option<i64>>) -> Option<Self> {
        let count = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))?;
        (count == values.len() && count <= MOST_NUMBERS && shape.len() <= 8)
            .then_some(Self { shape, values })
    }

    pub(crate) fn list(values: Vec<Option<i64>>) -> Option<Self> {
        Self::new(vec![values.len()], values)
    }

    /// The values, if all are known.
    pub(crate) fn known(&self) -> Option<Vec<i64>> {
        self.values.iter().copied().collect()
    }

    /// As `f64`, with the shape.
    pub(crate) fn floats(&self) -> Option<(Vec<usize>, Vec<f64>)> {
        Some((self.shape.clone(), self.known()?.into_iter().map(|value| value as f64).collect()))
    }

    /// What a node makes of numbers; `None` for an operator that is not understood, and for what
    /// contradicts itself.
    pub(crate) fn evaluate(
        node: &Node<'_>,
        inputs: &[Option<&Self>],
    ) -> Result<Option<Self>, Fault> {
        let input = |index: usize| {
            node.input(index);
            inputs.get(index).copied().flatten()
        };
        let Some(first) = input(0) else { return Ok(None) };
        let axes = || -> Result<Option<Vec<i64>>, Fault> {
            Ok(match node.ints("axes")? {
                Some(axes) => Some(axes.to_vec()),
                None => input(1).and_then(Self::known),
            })
        };
        Ok(match node.op() {
            "Identity" => Some(first.clone()),
            "Cast" => {
                node.int("to")?;
                Some(first.clone())
            }
            "Concat" => {
                let along_first = matches!(node.int("axis")?, Some(0 | -1));
                let parts: Option<Vec<&Self>> = (0..node.inputs()).map(input).collect();
                match parts {
                    Some(parts) if along_first && parts.iter().all(|p| p.shape.len() == 1) => {
                        Self::list(parts.iter().flat_map(|part| part.values.clone()).collect())
                    }
                    _ => None,
                }
            }
            "Reshape" => {
                let keeps = !node.flag("allowzero")?;
                let target = input(1).and_then(Self::known).filter(|_| keeps);
                target.and_then(|target| first.reshape(&target))
            }
            "Slice" => first.slice_by(input(1), input(2), input(3), input(4), node)?,
            "Transpose" => match node.ints("perm")? {
                None | Some([1, 0]) => first.transpose(),
                _ => None,
            },
            "Gather" => match node.int("axis")? {
                None | Some(0) => input(1).and_then(|index| first.gather(index)),
                _ => None,
            },
            "Squeeze" => {
                let shape = squeezed(&first.shape, axes()?.as_deref(), |&size| size == 1);
                shape.and_then(|shape| Self::new(shape, first.values.clone()))
            }
            "Unsqueeze" => {
                let shape = axes()?.and_then(|axes| unsqueezed(&first.shape, &axes, 1));
                shape.and_then(|shape| Self::new(shape, first.values.clone()))
            }
            "Add" => first.with(input(1), i64::checked_add),
            "Sub" => first.with(input(1), i64::checked_sub),
            "Mul" => first.with(input(1), i64::checked_mul),
            "Div" => first.with(input(1), i64::checked_div),
            "Equal" => input(1).and_then(|other| first.equals(other)),
            "Where" => match (input(1), input(2)) {
                (Some(yes), Some(no)) => first.choose(yes, no),
                _ => None,
            },
            _ => None,
        })
    }

    fn reshape(&self, target: &[i64]) -> Option<Self> {
        let size = |(index, &size): (usize, &i64)| match size {
            0 => self.shape.get(index).map(|&size| size as i64),
            size => Some(size),
        };
        let target: Vec<i64> = target.iter().enumerate().map(size).collect::<Option<_>>()?;
        let known: i64 = target
            .iter()
            .filter(|&&size| size != -1)
            .try_fold(1, |product: i64, &size| product.checked_mul(size))?;
        let missing = (self.values.len() as i64).checked_div(known)?;
        let shape: Option<Vec<usize>> = target
            .iter()
            .map(|&size| usize::try_from(if size == -1 { missing } else { size }).ok())
            .collect();
        Self::new(shape?, self.values.clone())
    }

    /// Along the first axis: numbers have no other that is cut.
    fn slice_by(
        &self,
        starts: Option<&Self>,
        ends: Option<&Self>,
        axes: Option<&Self>,
        steps: Option<&Self>,
        node: &Node<'_>,
    ) -> Result<Option<Self>, Fault> {
        let one = |numbers: &[i64]| match *numbers {
            [number] => Some(number),
            _ => None,
        };
        let either = |name: &str, input: Option<&Self>| -> Result<Option<i64>, Fault> {
            Ok(match node.ints(name)? {
                Some(list) => one(list),
                None => input.and_then(|input| one(&input.known()?)),
            })
        };
        let (start, end) = (either("starts", starts)?, either("ends", ends)?);
        let axis = either("axes", axes)?.unwrap_or(0);
        let step = if steps.is_some() { steps.and_then(|s| one(&s.known()?)) } else { Some(1) };
        Ok(match (start, end, step, axis) {
            (Some(start), Some(end), Some(step), 0) => self.slice(start, end, step),
            _ => None,
        })
    }

    /// Rows from `start` to before `end`, forwards or backwards.
    fn slice(&self, start: i64, end: i64, step: i64) -> Option<Self> {
        let &rows = self.shape.first()?;
        let length = self.values.len().checked_div(rows)?;
        let count = rows as i64;
        let clamp = |at: i64, low: i64, high: i64| {
            (if at < 0 { at.saturating_add(count) } else { at }).clamp(low, high)
        };
        let chosen: Vec<i64> = match step {
            1 => (clamp(start, 0, count)..clamp(end, 0, count)).collect(),
            -1 => (clamp(end, -1, count - 1) + 1..clamp(start, -1, count - 1) + 1).rev().collect(),
            _ => return None,
        };
        let mut shape = self.shape.clone();
        shape[0] = chosen.len();
        let row = |&at: &i64| self.values[at as usize * length..][..length].iter().copied();
        Self::new(shape, chosen.iter().flat_map(row).collect())
    }

    fn transpose(&self) -> Option<Self> {
        let &[rows, columns] = &*self.shape else { return None };
        let at = |index: usize| self.values[index % rows * columns + index / rows];
        Self::new(vec![columns, rows], (0..self.values.len()).map(at).collect())
    }

    fn gather(&self, index: &Self) -> Option<Self> {
        let &[count] = &*self.shape else { return None };
        let count = count as i64;
        let chosen = index.values.iter().map(|&at| {
            let at = at?;
            self.values.get(usize::try_from(if at < 0 { at + count } else { at }).ok()?).copied()
        });
        Self::new(index.shape.clone(), chosen.collect::<Option<_>>()?)
    }

    /// Number by number; one of the two may be a single one, and all have to be known.
    fn with(&self, other: Option<&Self>, combine: fn(i64, i64) -> Option<i64>) -> Option<Self> {
        let other = other?;
        let larger = if self.values.len() >= other.values.len() { self } else { other };
        let values = (0..larger.values.len())
            .map(|index| combine(self.at(index, larger)??, other.at(index, larger)??).map(Some));
        Self::new(larger.shape.clone(), values.collect::<Option<_>>()?)
    }

    /// Which numbers are another's; what is not known may be.
    fn equals(&self, other: &Self) -> Option<Self> {
        let larger = if self.values.len() >= other.values.len() { self } else { other };
        let values = (0..larger.values.len()).map(|index| {
            let (a, b) = (self.at(index, larger)?, other.at(index, larger)?);
            Some(a.zip(b).map(|(a, b)| i64::from(a == b)))
        });
        Self::new(larger.shape.clone(), values.collect::<Option<_>>()?)
    }

    /// `yes` where this is not zero.
    fn choose(&self, yes: &Self, no: &Self) -> Option<Self> {
        let all = [self, yes, no];
        let larger = all.into_iter().max_by_key(|numbers| numbers.values.len())?;
        let values = (0..larger.values.len()).map(|index| {
            let [choice, yes, no] = all.map(|numbers| numbers.at(index, larger));
            let (yes, no) = (yes?, no?);
            Some(match choice? {
                Some(0) => no,
                Some(_) => yes,
                None => yes.filter(|_| yes == no),
            })
        });
        Self::new(larger.shape.clone(), values.collect::<Option<_>>()?)
    }

    /// The number beside the one at `index` of a tensor that this is broadcast to; `None` if their shapes do
    /// not go together.
    fn at(&self, index: usize, larger: &Self) -> Option<Option<i64>> {
        match *self.values {
            [value] if self.shape.len() <= larger.shape.len() => Some(value),
            _ if self.shape == larger.shape => Some(self.values[index]),
            _ => None,
        }
    }
}
