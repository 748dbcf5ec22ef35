//! Whole numbers that a graph computes from constants: shapes, axes, pads.
//!
//! Exporters write them as chains of nodes where a program computed them. What depends on an
//! activation's shape is not evaluated: the operators that read it are understood without.

use super::node::Node;

/// No shape, and no list of pads, has more.
pub(crate) const MOST_NUMBERS: usize = 16;

/// A small tensor of whole numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Numbers {
    shape: Vec<usize>,
    pub(crate) values: Vec<i64>,
}

impl Numbers {
    /// `None` if there are too many, or not as many as the shape says.
    pub(crate) fn new(shape: Vec<usize>, values: Vec<i64>) -> Option<Self> {
        let count = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))?;
        (count == values.len() && count <= MOST_NUMBERS && shape.len() <= 8)
            .then_some(Self { shape, values })
    }

    fn list(values: Vec<i64>) -> Option<Self> {
        Self::new(vec![values.len()], values)
    }

    /// What a node makes of numbers that are all known; `None` for an operator that is not, and
    /// for what contradicts itself.
    pub(crate) fn evaluate(node: &Node<'_>, inputs: &[Option<&Self>]) -> Option<Self> {
        let input = |index: usize| inputs.get(index).copied().flatten();
        let first = input(0)?;
        match node.op() {
            "Identity" | "Cast" => Some(first.clone()),
            "ConstantOfShape" => {
                let count = first.values.iter().try_fold(1_usize, |product, &size| {
                    product.checked_mul(usize::try_from(size).ok()?)
                })?;
                let value = node.tensor("value").map_or(Some(0), whole)?;
                let shape = first.values.iter().map(|&size| size as usize).collect();
                (count <= MOST_NUMBERS).then(|| Self::new(shape, vec![value; count]))?
            }
            "Concat" => {
                let parts: Option<Vec<&Self>> = inputs.iter().copied().collect();
                Self::list(parts?.iter().flat_map(|part| part.values.iter().copied()).collect())
            }
            "Reshape" => first.reshape(&input(1)?.values),
            "Slice" => {
                // Along the first axis: numbers have no other that is cut.
                let one = |index: usize| match input(index) {
                    Some(numbers) => numbers.values.first().copied(),
                    None => Some(1),
                };
                if input(3).is_some_and(|axes| axes.values != [0]) {
                    return None;
                }
                first.slice(one(1)?, one(2)?, one(4)?)
            }
            "Transpose" => first.transpose(),
            "Gather" => {
                let index = input(1)?;
                let chosen: Option<Vec<i64>> = index
                    .values
                    .iter()
                    .map(|&at| {
                        let count = i64::try_from(first.values.len()).ok()?;
                        let at = if at < 0 { at + count } else { at };
                        first.values.get(usize::try_from(at).ok()?).copied()
                    })
                    .collect();
                (first.shape.len() == 1).then(|| Self::new(index.shape.clone(), chosen?))?
            }
            "Squeeze" | "Unsqueeze" if first.values.len() == 1 => Self::list(first.values.clone()),
            _ => None,
        }
    }

    fn reshape(&self, target: &[i64]) -> Option<Self> {
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
}

/// The value of a tensor of one whole number.
fn whole(tensor: &resnet_compiler::onnx::proto::TensorProto) -> Option<i64> {
    if tensor.data_type != resnet_compiler::onnx::proto::INT64 {
        return None;
    }
    match tensor.raw_data.as_ref().try_into() {
        Ok(bytes) => Some(i64::from_le_bytes(bytes)),
        Err(_) => tensor.int64_data.first().copied(),
    }
}
