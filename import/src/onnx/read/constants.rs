//! Constants, and what is computed from them.

use super::{FLOATS, Known, Reader};
use crate::checkpoint::Stored;
use crate::error::Fault;
use crate::onnx::files::product;
use crate::onnx::node::Node;
use crate::onnx::numbers::{MOST_NUMBERS, Numbers};

/// Of a constant that is one number over and over: as many as the largest convolution of a network has.
const MOST_SAME: usize = 1 << 24;

impl Reader<'_> {
    /// A constant of a node's own.
    pub(super) fn constant(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let whole = |values: &[i64]| values.iter().copied().map(Some).collect::<Vec<_>>();
        let known = if let Some(tensor) = node.tensor("value")? {
            self.files.constant(tensor)?.into()
        } else if let Some(number) = node.int("value_int")? {
            Known::Numbers(Numbers::new(vec![], whole(&[number])))
        } else if let Some(list) = node.ints("value_ints")? {
            Known::Numbers(Numbers::list(whole(list)))
        } else if let Some(value) = node.float("value_float")? {
            Known::Floats(Stored::same(vec![], value))
        } else if let Some(list) = node.floats("value_floats")? {
            let values: Vec<f64> = list.iter().copied().map(f64::from).collect();
            Known::Floats(self.files.computed(vec![values.len()], &values)?)
        } else {
            return node.refuse("it has neither a dense tensor nor numbers");
        };
        self.alias(node, known);
        Ok(())
    }

    /// Constants of other constants.
    pub(super) fn evaluated(&mut self, node: &Node<'_>) -> Result<Option<Known>, Fault> {
        let mut inputs = Vec::new();
        for name in &node.proto.input {
            let known = match self.names.get(name) {
                Some(Known::Activation(_)) => return Ok(None),
                known => known.cloned(),
            };
            if known.is_none() && !name.is_empty() {
                return Ok(None);
            }
            inputs.push(known);
        }
        let is_number = |known: &Option<Known>| matches!(known, None | Some(Known::Numbers(_)));
        if inputs.iter().all(Option::is_none) {
            return Ok(None);
        }
        if !inputs.iter().all(is_number) {
            return self.evaluated_floats(node, &inputs);
        }
        let numbers: Vec<Option<&Numbers>> = inputs
            .iter()
            .map(|input| match input {
                Some(Known::Numbers(numbers)) => numbers.as_ref(),
                _ => None,
            })
            .collect();
        if let (&[Some(numbers)], "Cast") = (&*numbers, node.op())
            && let to = node.int("to")?.unwrap_or_default()
            && FLOATS.iter().any(|&float| to == i64::from(float))
            && let Some((shape, values)) = numbers.floats()
        {
            node.input(0);
            return Ok(Some(Known::Floats(self.files.computed(shape, &values)?)));
        }
        Ok(Some(Known::Numbers(Numbers::evaluate(node, &numbers)?)))
    }

    fn evaluated_floats(
        &mut self,
        node: &Node<'_>,
        inputs: &[Option<Known>],
    ) -> Result<Option<Known>, Fault> {
        if let Some(known) = self.reshaped_constant(node, inputs)? {
            return Ok(Some(known));
        }
        let mut values = Vec::new();
        for (index, input) in inputs.iter().enumerate() {
            let Some(Known::Floats(stored)) = input else { return Ok(None) };
            let Some(numbers) = self.files.values(stored) else { return Ok(None) };
            node.input(index);
            values.push((stored.shape.clone(), numbers));
        }
        Ok(self.files.evaluate(node, &values)?.map(Known::Floats))
    }

    pub(super) fn constant_of_shape(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let value: Known = match node.tensor("value")? {
            Some(tensor) => self.files.constant(tensor)?.into(),
            None => Known::Floats(Stored::same(vec![1], 0.0)),
        };
        let shape = match self.known(node, 0)? {
            Known::Numbers(numbers) => numbers.and_then(|numbers| numbers.known()),
            _ => None,
        };
        let shape: Option<Vec<usize>> =
            shape.and_then(|shape| shape.iter().map(|&size| usize::try_from(size).ok()).collect());
        let count = shape.as_deref().and_then(product).filter(|&count| count <= MOST_SAME);
        let known = match (value, shape, count) {
            (Known::Floats(value), Some(shape), Some(_)) => match self.files.number(&value) {
                Some(number) => Known::Floats(Stored::same(shape, number as f32)),
                None => return node.refuse("its `value` is not one number"),
            },
            (Known::Numbers(Some(value)), Some(shape), Some(count)) => {
                let value = value.values.first().copied().flatten();
                Known::Numbers(match count <= MOST_NUMBERS {
                    true => Numbers::new(shape, vec![value; count]),
                    false => None,
                })
            }
            _ => Known::Numbers(None),
        };
        self.alias(node, known);
        Ok(())
    }
}
