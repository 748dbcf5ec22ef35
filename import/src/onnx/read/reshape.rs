//! Nodes that give activations and constants other dimensions, and those that make or read such.

use std::sync::Arc;

use resnet_compiler::graph::Shape;

use super::{Known, Reader};
use crate::checkpoint::{Elements, Quantised, Stored};
use crate::error::Fault;
use crate::onnx::files::product;
use crate::onnx::form::{Form, View, places, squeezed, unsqueezed};
use crate::onnx::node::Node;
use crate::onnx::numbers::Numbers;

impl Reader<'_> {
    /// The dimensions of an activation's tensor, with that of the pictures.
    fn dimensions(&self, View { value, form }: View) -> Vec<Option<i64>> {
        let rest = form.dimensions(self.shape(value)).into_iter();
        std::iter::once(self.batch).chain(rest.map(|size| i64::try_from(size).ok())).collect()
    }

    pub(super) fn shape_of(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let sizes: Vec<Option<i64>> = match self.known(node, 0)? {
            Known::Activation(view) => self.dimensions(view),
            Known::Floats(stored) => stored.shape.iter().map(|&size| Some(size as i64)).collect(),
            _ => {
                node.int("start")?;
                node.int("end")?;
                self.alias(node, Known::Numbers(None));
                return Ok(());
            }
        };
        let count = sizes.len() as i64;
        let clamp = |at: i64| (if at < 0 { at.saturating_add(count) } else { at }).clamp(0, count);
        let start = clamp(node.int("start")?.unwrap_or(0));
        let end = clamp(node.int("end")?.unwrap_or(count)).max(start);
        let sizes = sizes[start as usize..end as usize].to_vec();
        self.alias(node, Known::Numbers(Numbers::list(sizes)));
        Ok(())
    }

    /// Weights in other dimensions, and matrices with rows for columns.
    pub(super) fn reshaped_constant(
        &self,
        node: &Node<'_>,
        inputs: &[Option<Known>],
    ) -> Result<Option<Known>, Fault> {
        let Some(Some(Known::Floats(stored))) = inputs.first() else { return Ok(None) };
        let stored = stored.clone();
        let shape = match node.op() {
            "Transpose" => {
                let swaps =
                    stored.shape.len() == 2 && matches!(node.ints("perm")?, None | Some([1, 0]));
                node.input(0);
                return Ok(swaps.then(|| Known::Floats(stored.transposed())));
            }
            "Reshape" => {
                let from: Vec<_> = stored.shape.iter().map(|&size| Some(size as i64)).collect();
                self.target(node, &from, stored.count())?
            }
            "Squeeze" => {
                let axes = self.list(node, "axes", 1)?;
                squeezed(&stored.shape, axes.as_deref(), |&size| size == 1)
            }
            "Unsqueeze" => {
                let axes = self.list(node, "axes", 1)?.unwrap_or_default();
                unsqueezed(&stored.shape, &axes, 1)
            }
            "Flatten" => match node.int("axis")? {
                None | Some(1) if !stored.shape.is_empty() => {
                    Some(vec![stored.shape[0], stored.shape[1..].iter().product()])
                }
                _ => None,
            },
            _ => return Ok(None),
        };
        node.input(0);
        // Elements that are not in the order of their dimensions would change places.
        let moved = matches!(stored.elements, Elements::At { strides: Some(_), .. });
        let keeps_axis = |shape: &[usize]| {
            stored.quantised.as_ref().is_none_or(|layer| {
                let inner = |sizes: &[usize]| sizes.iter().skip(layer.axis + 1).product::<usize>();
                layer.scale.len() == 1
                    || shape.get(layer.axis) == stored.shape.get(layer.axis)
                        && inner(shape) == inner(&stored.shape)
            })
        };
        match shape {
            Some(shape)
                if !moved && keeps_axis(&shape) && product(&shape) == Some(stored.count()) =>
            {
                Ok(Some(Known::Floats(Stored { shape, ..stored })))
            }
            _ => node.refuse("it reshapes a constant; export with constants folded"),
        }
    }

    /// What `Reshape` asks for; `None` if it does not fit.
    fn target(
        &self,
        node: &Node<'_>,
        from: &[Option<i64>],
        elements: usize,
    ) -> Result<Option<Vec<usize>>, Fault> {
        let target = match self.names.get(node.input(1)) {
            Some(Known::Numbers(Some(numbers))) => numbers.values.clone(),
            _ => return node.refuse("its target is not known before the network runs"),
        };
        let zeros_stay = node.flag("allowzero")?;
        let sizes = target.iter().enumerate().map(|(index, &size)| match size {
            Some(0) if !zeros_stay => from.get(index).copied().flatten(),
            size => size,
        });
        let Some(sizes) = sizes.collect::<Option<Vec<i64>>>() else { return Ok(None) };
        Ok(filled(&sizes, elements))
    }

    /// Another view of an activation: no element changes its place.
    pub(super) fn reshape(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let view = self.view(node, 0)?;
        let shape = self.shape(view.value);
        let from = self.dimensions(view);
        let rest = match node.op() {
            "Transpose" => return self.transpose(node, view),
            "Expand" => return self.expand(node, view),
            "Flatten" => {
                let axis = node.int("axis")?.unwrap_or(1);
                match axis == 1 || axis == 1 - from.len() as i64 {
                    true => Some(vec![shape.elements()]),
                    false => None,
                }
            }
            "Squeeze" => {
                let axes = self.list(node, "axes", 1)?;
                self.squeeze(view, axes.as_deref())
            }
            "Unsqueeze" => {
                let axes = self.list(node, "axes", 1)?.unwrap_or_default();
                let sizes = unsqueezed(&from, &axes, Some(1));
                let before = places(&axes, from.len() + axes.len());
                sizes.filter(|_| before.is_some_and(|axes| !axes.contains(&0))).and_then(known)
            }
            _ => self.reshaped(node, &from, shape)?,
        };
        let form = rest.as_deref().and_then(|rest| Form::of(rest, shape));
        match form.filter(|_| view.form.in_order(shape)) {
            Some(form) => {
                self.alias(node, Known::Activation(View { form, ..view }));
                Ok(())
            }
            None => node.refuse(format!(
                "it gives {shape} {} another shape; a table flattens before a linear layer, weighs \
                 channels and norms groups of them, and nothing else",
                view.form
            )),
        }
    }

    fn squeeze(&self, view: View, axes: Option<&[i64]>) -> Option<Vec<usize>> {
        let rest = view.form.dimensions(self.shape(view.value));
        let Some(axes) = axes else {
            // The pictures' dimension stays, even of a single one: it has no place in a table.
            let rest = squeezed(&rest, None, |&size| size == 1)?;
            return Some(if rest.is_empty() { vec![1] } else { rest });
        };
        let single = self.batch.is_none_or(|batch| batch == 1);
        let axes = places(axes, rest.len() + 1)?.into_iter();
        let axes: Vec<i64> =
            axes.map(|axis| axis as i64 - 1).filter(|&axis| axis >= 0 || !single).collect();
        if axes.contains(&-1) {
            return None;
        }
        squeezed(&rest, Some(&axes), |&size| size == 1)
    }

    /// Dimensions of `Reshape` after that of the pictures, which has to stay.
    fn reshaped(
        &self,
        node: &Node<'_>,
        from: &[Option<i64>],
        shape: Shape,
    ) -> Result<Option<Vec<usize>>, Fault> {
        let target = match (node.ints("shape")?, self.names.get(node.input(1))) {
            (Some(target), _) => target.iter().copied().map(Some).collect(),
            (_, Some(Known::Numbers(Some(numbers)))) => numbers.values.clone(),
            _ => {
                return node.refuse(
                    "its target is not known before the network runs; export with constants folded and a \
                     fixed size of pictures",
                );
            }
        };
        let zeros_stay = node.flag("allowzero")?;
        let Some((&pictures, rest)) = target.split_first() else { return Ok(None) };
        let rest: Option<Vec<i64>> = rest
            .iter()
            .enumerate()
            .map(|(index, &size)| match size {
                Some(0) if !zeros_stay => from.get(index + 1).copied().flatten(),
                size => size,
            })
            .collect();
        let keeps = match pictures {
            // Computed from the number of pictures, as nothing else is unknown.
            None => true,
            Some(0) => !zeros_stay,
            Some(-1) => rest.as_ref().is_some_and(|rest| !rest.contains(&-1)),
            // Traced with one picture, where the number is open.
            pictures => pictures == self.batch || (pictures == Some(1) && self.batch.is_none()),
        };
        Ok(rest.filter(|_| keeps).and_then(|rest| filled(&rest, shape.elements())))
    }

    fn transpose(&mut self, node: &Node<'_>, view: View) -> Result<(), Fault> {
        let shape = self.shape(view.value);
        let perm = node.ints("perm")?.unwrap_or_default();
        let form = match (view.form, perm) {
            (Form::Planar, [0, 2, 3, 1]) => Some(Form::Interleaved),
            (Form::Interleaved, [0, 3, 1, 2]) => Some(Form::Planar),
            (Form::Parts(_), [0, 2, 1]) if shape.pixels() == 1 => {
                let mut sizes = view.form.dimensions(shape);
                sizes.reverse();
                Form::of(&sizes, shape).filter(|_| sizes.contains(&1))
            }
            (form, perm) if perm.iter().copied().eq(0..perm.len() as i64) && !perm.is_empty() => {
                Some(form)
            }
            _ => None,
        };
        match form {
            Some(form) => {
                self.alias(node, Known::Activation(View { form, ..view }));
                Ok(())
            }
            None => node.refuse(format!(
                "it moves the axes of {shape} {} by {perm:?}; only channels are moved, to the end or back. \
                 Export with channels first (tf2onnx: `--inputs-as-nchw`)",
                view.form
            )),
        }
    }

    /// A pixel for every one of another activation, whose channels it weighs.
    fn expand(&mut self, node: &Node<'_>, view: View) -> Result<(), Fault> {
        let shape = self.shape(view.value);
        let target = match self.names.get(node.input(1)) {
            Some(Known::Numbers(Some(numbers))) => numbers.values.clone(),
            _ => Vec::new(),
        };
        let one = |size: Option<i64>| size == Some(1);
        let channels = i64::try_from(shape.channels).ok();
        match (view.form, &*target) {
            (Form::Planar, &[pictures, own, height, width])
                if shape.pixels() == 1
                    && (pictures.is_none() || one(pictures) || pictures == self.batch)
                    && (own == channels || one(own)) =>
            {
                let size = |size: Option<i64>| size.and_then(|size| usize::try_from(size).ok());
                let (Some(height), Some(width)) = (size(height), size(width)) else {
                    return node.refuse("its target is not known before the network runs");
                };
                let form = Form::Spread([height, width]);
                self.alias(node, Known::Activation(View { form, ..view }));
                Ok(())
            }
            _ => node.refuse(format!(
                "it repeats {shape} {}; a table repeats a pixel, to weigh channels, and nothing else",
                view.form
            )),
        }
    }
}

/// Sizes of which one may be -1, the rest of the elements.
fn filled(sizes: &[i64], elements: usize) -> Option<Vec<usize>> {
    let known = sizes
        .iter()
        .filter(|&&size| size != -1)
        .try_fold(1_usize, |product, &size| product.checked_mul(usize::try_from(size).ok()?))?;
    if sizes.iter().filter(|&&size| size == -1).count() > 1 {
        return None;
    }
    let rest = elements.checked_div(known)?;
    sizes
        .iter()
        .map(|&size| if size == -1 { Some(rest) } else { usize::try_from(size).ok() })
        .collect()
}

/// Dimensions after that of the pictures, which have to be known.
fn known(sizes: Vec<Option<i64>>) -> Option<Vec<usize>> {
    sizes.into_iter().skip(1).map(|size| usize::try_from(size?).ok()).collect()
}

impl Stored {
    /// A matrix with rows for columns.
    pub(super) fn transposed(self) -> Self {
        let (Elements::At { file, start, strides }, &[rows, columns]) =
            (self.elements.clone(), &*self.shape)
        else {
            let shape = self.shape.into_iter().rev().collect();
            return Self { shape, ..self };
        };
        let [row, column] = match strides.as_deref() {
            Some(&[row, column]) => [row, column],
            _ => [columns, 1],
        };
        let strides = Some(vec![column, row]);
        let elements = Elements::At { file, start, strides };
        let quantised = self.quantised.map(|layer| {
            let axis = if layer.scale.len() == 1 { 0 } else { 1 - layer.axis.min(1) };
            Arc::new(Quantised { axis, ..(*layer).clone() })
        });
        Self { dtype: self.dtype, shape: vec![columns, rows], elements, quantised }
    }
}
