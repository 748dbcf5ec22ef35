//! The tensors of a network some of whose layers are quantised, as a file of quantised weights has them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use resnet_compiler::fuse::quantisable::{Kept, quantisable};
use resnet_compiler::fuse::{Conv, Fused, FusedId, FusedOp, fuse};
use resnet_compiler::graph::Graph;
use resnet_runtime::weights::quantised::{Names, module};
use safetensors::tensor::Dtype;

use crate::checkpoint::{Bytes, Elements, Quantised, Stored};
use crate::error::{Fault, unknown};
use crate::fit;
use crate::onnx::files::Files;

/// Lists the tensors of a network, with those of quantised layers, and the files that they are in. Weights that
/// are bytes where the network cannot compute with bytes become the numbers that they stand for.
pub(crate) fn settle(
    graph: &Graph,
    mut found: BTreeMap<String, Stored>,
    mut files: Files,
    notes: &mut Vec<String>,
) -> Result<(Vec<(String, Stored)>, Files), Fault> {
    if !found.values().any(|stored| stored.quantised.is_some()) {
        return Ok((fit(graph, found)?, files));
    }
    let fused = match fuse(graph) {
        Ok(fused) => fused,
        Err(error) => return unknown(error.to_string()),
    };
    find_inputs(&fused, &mut found);
    let (mut layers, mut folded) = (BTreeMap::new(), BTreeSet::new());
    // By what scale an activation is read, which all that read it share.
    let mut scales: BTreeMap<FusedId, Bytes> = BTreeMap::new();
    let (mut all, mut kept) = (0, Vec::new());
    for (id, verdict) in quantisable(&fused) {
        let FusedOp::Conv(conv) = &fused.node(id).op else { continue };
        all += 1;
        let Some(stored) = found.get(&conv.weight) else { continue };
        let Some(layer) = stored.quantised.clone() else { continue };
        let made = match (verdict, layer.input) {
            (Err(reason), _) if reason != Kept::Gate => Err(reason.to_string()),
            (_, None) => Err("its input are no bytes".to_owned()),
            (_, Some(bytes)) if *scales.entry(source(&fused, id)).or_insert(bytes) != bytes => {
                Err("another layer reads its input by another scale".to_owned())
            }
            (_, Some(bytes)) => tensors(conv, &layer, bytes, &found, &mut files),
        };
        match made {
            Ok(tensors) => {
                layers.insert(conv.weight.clone(), tensors);
                folded.extend(conv.folded().map(str::to_owned));
            }
            Err(reason) => kept.push(format!("`{}` is f32: {reason}", module(&conv.weight))),
        }
    }
    // What is left are weights that the network reads as numbers.
    for (name, stored) in &mut found {
        if stored.quantised.is_some() && !layers.contains_key(name) {
            *stored = files.real(stored);
        }
    }
    notes.push(format!(
        "{} of {all} layers are quantised; what is between them is computed in f32, and rounded to bytes where a \
         quantised layer reads it",
        layers.len()
    ));
    notes.extend(kept);
    let mut list = Vec::new();
    for (name, stored) in fit(graph, found)? {
        if folded.contains(&name) {
            continue;
        }
        let own = layers.remove(&name);
        list.push((name, stored));
        list.extend(own.into_iter().flatten());
    }
    Ok((list, files))
}

/// The activation that a node reads, through max pools, which pass bytes on.
fn source(fused: &Fused, id: FusedId) -> FusedId {
    let mut input = fused.node(id).source();
    while let FusedOp::Pool(pool) = &fused.node(input).op
        && pool.selects()
    {
        input = fused.node(input).source();
    }
    input
}

/// Where a file says what layers write, follows from the network what they read. Norms that the file does not have change
/// nothing, whatever their epsilon is.
fn find_inputs(fused: &Fused, found: &mut BTreeMap<String, Stored>) {
    let mut inputs = Vec::new();
    for (id, node) in fused.iter() {
        let FusedOp::Conv(conv) = &node.op else { continue };
        let layer = found.get(&conv.weight).and_then(|stored| stored.quantised.as_ref());
        let Some(own) = layer.and_then(|layer| layer.writes) else { continue };
        if let Some(norm) = &conv.norm
            && let Some(variance) = found.get_mut(&*norm.variance)
            && let Elements::Same(value) = &mut variance.elements
        {
            *value = (1.0 - norm.epsilon) as f32;
        }
        let mut source = fused.node(id).source();
        let input = loop {
            let node = fused.node(source);
            match &node.op {
                FusedOp::Input => break own.picture,
                FusedOp::Conv(conv) => {
                    let layer = found.get(&conv.weight).and_then(|s| s.quantised.as_ref());
                    let writes = layer.and_then(|layer| layer.writes);
                    let is_sum = node.epilogue.residual.is_some();
                    break writes.and_then(|w| if is_sum { w.sum } else { w.layer });
                }
                // They write by the scale that they read.
                FusedOp::Pool(_) | FusedOp::GlobalAveragePool => source = node.source(),
                _ => break None,
            }
        };
        inputs.push((conv.weight.clone(), input));
    }
    for (weight, input) in inputs {
        if let Some(layer) = found.get_mut(&weight).and_then(|stored| stored.quantised.as_mut()) {
            Arc::make_mut(layer).input = input;
        }
    }
}

/// The tensors of a quantised layer beside its weight, with bias and norm folded in, or why it has none.
fn tensors(
    conv: &Conv,
    layer: &Quantised,
    input: Bytes,
    found: &BTreeMap<String, Stored>,
    files: &mut Files,
) -> Result<[(String, Stored); 4], String> {
    let outputs = found[&conv.weight].shape[0];
    let values = |name: &str| {
        let values = found.get(name).and_then(|stored| files.values(stored));
        values.filter(|values| values.len() == outputs).ok_or(format!("`{name}` is not there"))
    };
    let mut scales: Vec<f64> = match *layer.scale {
        [scale] => vec![scale.into(); outputs],
        _ if layer.axis == 0 => layer.scale.iter().copied().map(f64::from).collect(),
        _ => return Err("its scales are not those of output channels".to_owned()),
    };
    let mut bias = match &conv.bias {
        Some(name) => values(name)?,
        None => vec![0.0; outputs],
    };
    if let Some(norm) = &conv.norm {
        let [weight, shift, mean, variance] =
            [&norm.weight, &norm.bias, &norm.mean, &norm.variance].map(|name| values(name));
        let (weight, shift, mean, variance) = (weight?, shift?, mean?, variance?);
        for channel in 0..outputs {
            let factor = weight[channel] / (variance[channel] + norm.epsilon).sqrt();
            // Scales are positive, and what is one but for its epsilon is one.
            if factor <= 0.0 || factor.is_nan() {
                return Err("its batch norm turns signs".to_owned());
            }
            let factor = if (factor - 1.0).abs() < 1e-6 { 1.0 } else { factor };
            scales[channel] *= factor;
            bias[channel] = (bias[channel] - mean[channel]) * factor + shift[channel];
        }
    }
    let Names { weight_scale, bias: bias_name, input_scale, input_zero_point } =
        Names::of(module(&conv.weight));
    let [scales, bias, scale] = [scales, bias, vec![input.scale.into()]]
        .map(|values| files.floats_of(vec![values.len()], values.into_iter()));
    let zero = files.own(vec![input.zero]);
    let zero = Stored { dtype: Dtype::U8, shape: vec![1], elements: zero, quantised: None };
    Ok([(weight_scale, scales), (bias_name, bias), (input_scale, scale), (input_zero_point, zero)])
}
