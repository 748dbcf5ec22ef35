//! Quantised networks: where activations become bytes and bytes numbers again, and weights that are bytes.
//!
//! Activations stay what they are here, and it is kept by what scale a layer reads them as bytes. Quantisers leave out a
//! ReLU before bytes that begin at zero, as they are no less: it is put back.

use std::sync::Arc;

use safetensors::tensor::Dtype;

use super::{Known, Reader};
use crate::checkpoint::{Bytes, Quantised, Stored};
use crate::error::Fault;
use crate::onnx::form::View;
use crate::onnx::graph::{Function, Op};
use crate::onnx::node::Node;

/// Operators that make bytes of bytes, of the same scale.
const PASS: [&str; 8] =
    ["MaxPool", "Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose"];

impl Reader<'_> {
    pub(super) fn quantise_linear(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        node.ignore(&["saturate", "precision"]);
        match self.known(node, 0)? {
            Known::Activation(view) => {
                let bytes = self.bytes(node)?;
                self.scales.insert(node.output().to_owned(), bytes);
                let positive = self.network.values[view.value].positive;
                let maker = self.network.steps.iter().rfind(|step| step.output == view.value);
                // Anything else is cut off where its bytes end, whatever the network is.
                let has_activation = maker.is_some_and(|step| {
                    matches!(
                        step.op,
                        Op::Conv(_) | Op::Norm(_) | Op::Affine(_) | Op::Add | Op::Linear(_)
                    )
                });
                if bytes.zero == 0 && !positive && has_activation {
                    // Each of several readers may have bytes of its own.
                    if let Some(&known) = self.put_back.get(&view.value) {
                        self.alias(node, Known::Activation(known));
                        return Ok(());
                    }
                    self.keep(node, Op::Apply(Function::Relu), view)?;
                    let known = View { value: self.network.values.len() - 1, ..view };
                    self.put_back.insert(view.value, known);
                    return Ok(());
                }
                self.alias(node, Known::Activation(view));
                Ok(())
            }
            Known::Floats(stored) => {
                let known = self.bytes_of_weights(node, &stored)?;
                self.alias(node, known);
                Ok(())
            }
            _ => node.refuse("it makes bytes of whole numbers"),
        }
    }

    pub(super) fn dequantise_linear(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        node.ignore(&["output_dtype"]);
        match self.known(node, 0)? {
            known @ Known::Activation(_) => {
                let bytes = self.bytes(node)?;
                if self.scales.get(node.input(0)) != Some(&bytes) {
                    return node.refuse("bytes are read by another scale than they were made by");
                }
                self.scales.insert(node.output().to_owned(), bytes);
                self.alias(node, known);
                Ok(())
            }
            Known::Whole(stored) => {
                let known = self.weights_of_bytes(node, stored)?;
                self.alias(node, known);
                Ok(())
            }
            Known::Numbers(Some(numbers)) => {
                let Some((shape, values)) = numbers.floats() else {
                    return node.refuse("its whole numbers are not known before the network runs");
                };
                let known = self.floats_of(node, shape, &values)?;
                self.alias(node, known);
                Ok(())
            }
            _ => node.refuse("it reads numbers that are no bytes"),
        }
    }

    /// What bytes of an activation stand for by a node that makes or reads them.
    fn bytes(&mut self, node: &Node<'_>) -> Result<Bytes, Fault> {
        // Of a single scale there is no axis.
        node.ignore(&["axis", "block_size"]);
        let scale = self.floats(node, 1)?;
        let scale = self.files.number(&scale).map(|scale| scale as f32);
        let Some(scale) = scale.filter(|scale| scale.is_normal() && *scale > 0.0) else {
            return node.refuse("an activation has one scale for all channels, a positive number");
        };
        let zero = match self.names.get(node.input(2)) {
            None if node.input(2).is_empty() => Some(0),
            Some(Known::Whole(stored)) if stored.count() == 1 => {
                let zero = self.files.whole(stored).next();
                match stored.dtype {
                    Dtype::U8 => zero,
                    // Bytes without a sign stand for the same.
                    Dtype::I8 => zero.map(|zero| zero + 128),
                    _ => None,
                }
            }
            _ => None,
        };
        match zero.and_then(|zero| u8::try_from(zero).ok()) {
            Some(zero) => Ok(Bytes { scale, zero }),
            None => node.refuse("activations are bytes with a zero point of their type"),
        }
    }

    /// The scales of a constant, and for each its zero point; the axis along which there are several.
    fn scales_of(
        &mut self,
        node: &Node<'_>,
        shape: &[usize],
    ) -> Result<(Vec<f64>, Vec<i64>, usize), Fault> {
        if node.int("block_size")?.unwrap_or(0) != 0 {
            return node.refuse("it has scales for blocks; one for each channel is known");
        }
        let scale = self.floats(node, 1)?;
        let Some(scales) = self.files.values(&scale) else {
            return node.refuse("it has more scales than a network has channels");
        };
        let zeros: Vec<i64> = match self.names.get(node.input(2)) {
            None if node.input(2).is_empty() => vec![0; scales.len()],
            Some(Known::Whole(stored)) => self.files.whole(stored).collect(),
            Some(Known::Numbers(Some(numbers))) => numbers.known().unwrap_or_default(),
            _ => vec![],
        };
        let axis = node.int("axis")?.unwrap_or(1);
        let axis = if axis < 0 { axis + shape.len() as i64 } else { axis };
        let axis = if scales.len() == 1 { 0 } else { usize::try_from(axis).unwrap_or(usize::MAX) };
        let fits = scales.len() == 1 || shape.get(axis) == Some(&scales.len());
        if zeros.len() != scales.len() || !fits || !scales.iter().all(|scale| *scale > 0.0) {
            return node.refuse(format!(
                "it has {} scales and {} zero points for {shape:?}; positive ones for all or for each channel are \
                 expected",
                scales.len(),
                zeros.len()
            ));
        }
        Ok((scales, zeros, axis))
    }

    /// Weights whose bytes are in the file. Those of a kernel are kept; what else there is become numbers.
    fn weights_of_bytes(&mut self, node: &Node<'_>, stored: Stored) -> Result<Known, Fault> {
        let few = stored.shape.len() < 2 || stored.dtype == Dtype::I32;
        if few {
            let values: Vec<f64> = self.files.whole(&stored).map(|whole| whole as f64).collect();
            return self.floats_of(node, stored.shape, &values);
        }
        let (scales, zeros, axis) = self.scales_of(node, &stored.shape)?;
        let scale = scales.iter().map(|&scale| scale as f32).collect();
        let layer = Arc::new(Quantised { scale, axis, input: None, writes: None });
        if stored.dtype == Dtype::I8 && zeros.iter().all(|&zero| zero == 0) {
            return Ok(Known::Floats(Stored { quantised: Some(layer), ..stored }));
        }
        let own = Quantised::places(&stored.shape, axis, zeros.len());
        let over = self.files.whole(&stored).enumerate().map(|(at, whole)| whole - zeros[own(at)]);
        let bytes: Option<Vec<u8>> =
            over.map(|over| i8::try_from(over).ok().map(|byte| byte as u8)).collect();
        // Further from their zero points than bytes reach, they are numbers.
        let Some(bytes) = bytes else {
            let values: Vec<f64> = self.files.whole(&stored).map(|whole| whole as f64).collect();
            return self.floats_of(node, stored.shape, &values);
        };
        let elements = self.files.own(bytes);
        Ok(Known::Floats(Stored { dtype: Dtype::I8, elements, quantised: Some(layer), ..stored }))
    }

    /// Weights that the graph rounds itself.
    fn bytes_of_weights(&mut self, node: &Node<'_>, stored: &Stored) -> Result<Known, Fault> {
        let (scales, zeros, axis) = self.scales_of(node, &stored.shape)?;
        let dtype = match self.names.get(node.input(2)) {
            Some(Known::Whole(zero)) if zero.dtype == Dtype::I8 => Dtype::I8,
            None => Dtype::U8,
            Some(Known::Whole(zero)) if zero.dtype == Dtype::U8 => Dtype::U8,
            _ => return node.refuse("it makes something other than bytes of weights"),
        };
        let [least, most] = if dtype == Dtype::I8 { [-128.0, 127.0] } else { [0.0, 255.0] };
        let own = Quantised::places(&stored.shape, axis, scales.len());
        let byte = |(at, value): (usize, f64)| {
            let step = ((value as f32) / (scales[own(at)] as f32)).round_ties_even();
            (f64::from(step) + zeros[own(at)] as f64).clamp(least, most) as i16 as u8
        };
        let bytes = self.files.elements(stored).enumerate().map(byte).collect();
        let shape = stored.shape.clone();
        let elements = self.files.own(bytes);
        Ok(Known::Whole(Stored { dtype, shape, elements, quantised: None }))
    }

    /// The numbers for which whole ones stand.
    fn floats_of(
        &mut self,
        node: &Node<'_>,
        shape: Vec<usize>,
        whole: &[f64],
    ) -> Result<Known, Fault> {
        let (scales, zeros, axis) = self.scales_of(node, &shape)?;
        let own = Quantised::places(&shape, axis, scales.len());
        let value = |(at, whole): (usize, &f64)| (whole - zeros[own(at)] as f64) * scales[own(at)];
        let values = whole.iter().enumerate().map(value);
        Ok(Known::Floats(self.files.floats_of(shape, values)))
    }

    /// What an operator makes of bytes without looking at them are bytes of the same scale.
    pub(super) fn pass_scale(&mut self, node: &Node<'_>) {
        if PASS.contains(&node.op())
            && let Some(&bytes) = self.scales.get(node.input(0))
        {
            self.scales.insert(node.output().to_owned(), bytes);
        }
    }

    /// The weights of a layer, which know by what scale it reads bytes, if it does.
    pub(super) fn of_layer(&self, node: &Node<'_>, weight: Stored) -> Stored {
        match (&weight.quantised, self.scales.get(node.input(0))) {
            (Some(layer), Some(&bytes)) => {
                let layer = Quantised { input: Some(bytes), ..(**layer).clone() };
                Stored { quantised: Some(Arc::new(layer)), ..weight }
            }
            _ => weight,
        }
    }
}
