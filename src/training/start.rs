//! Before the first step: weights to begin with, and what cannot be meant.

use std::collections::BTreeMap;

use resnet_compiler::graph::{Graph, Op};
use resnet_compiler::train::StepError;
use resnet_runtime::weights::Weights;

use super::trainer::safetensors_of;
use super::{Dataset, Options, TrainError};

/// Weights that were trained before, and who hears of those that do not fit.
type Given<'a> = (&'a Weights, &'a mut dyn FnMut(&str));

/// Weights to begin with: those that are given where they fit, else random ones, where norms do nothing.
pub(super) fn initial(
    graph: &Graph,
    given: Option<Given<'_>>,
    seed: u64,
) -> Result<Weights, TrainError> {
    let mut fixed: BTreeMap<&str, f32> = BTreeMap::new();
    for node in &graph.nodes {
        match &node.op {
            Op::BatchNorm(norm) => {
                fixed.extend(norm.names().into_iter().zip([1.0, 0.0, 0.0, 1.0]));
            }
            Op::GroupNorm(norm) => fixed.extend([(&*norm.weight, 1.0), (&*norm.bias, 0.0)]),
            _ => {}
        }
    }
    let random = Weights::random(&graph.tensors, seed);
    let mut given = given;
    let mut values = Vec::new();
    for spec in &graph.tensors {
        let found = match &mut given {
            Some((weights, replaced)) => match weights.tensor(&spec.name) {
                Ok(tensor) if tensor.shape == &*spec.shape => Some(tensor.values),
                Ok(_) => {
                    replaced(&spec.name);
                    None
                }
                Err(error) => return Err(StepError::from(error).into()),
            },
            None => None,
        };
        let len: usize = spec.shape.iter().product();
        values.push(match (found, fixed.get(&*spec.name)) {
            (Some(values), _) => values,
            (None, Some(&value)) => vec![value; len],
            (None, None) => random.tensor(&spec.name).map_err(StepError::from)?.values,
        });
    }
    let named = graph.tensors.iter().zip(&values);
    let named = named.map(|(spec, own)| (spec.name.to_string(), spec.shape.to_vec(), &own[..]));
    let bytes = safetensors_of(named, None).map_err(TrainError::Write)?;
    Ok(Weights::from_bytes(bytes).map_err(StepError::from)?)
}

/// Refuses what cannot be meant, of images too if there are any.
pub(super) fn check<D: Dataset + ?Sized>(
    graph: &Graph,
    data: Option<&D>,
    options: &Options,
) -> Result<(), TrainError> {
    let wrong = |what: String| Err(TrainError::Options(what));
    let Options { epochs, batch, rate, momentum, decay, smoothing, average, .. } = *options;
    if epochs == 0 || batch == 0 {
        return wrong(
            "there has to be at least one epoch, and a batch of at least one image".into(),
        );
    }
    let warm_up = options.warm_up();
    if !(0.0..epochs as f64).contains(&warm_up) {
        return wrong(format!(
            "{warm_up} epochs to warm up of {epochs}: it has to be less, and from 0 on"
        ));
    }
    for (name, value, most) in [
        ("rate", rate, f64::MAX),
        ("momentum", momentum, 0.999_999),
        ("decay", decay, f64::MAX),
        ("smoothing", f64::from(smoothing), 0.999_999),
        ("average", average.unwrap_or(0.0), 0.999_999_999),
        ("mixup", f64::from(options.augment.mixup), f64::MAX),
    ] {
        if !(0.0..=most).contains(&value) {
            return wrong(format!("{name} is {value}; it has to be from 0 to less than {most:.0}"));
        }
    }
    data.map_or(Ok(()), |data| check_data(graph, data, batch))
}

/// Refuses images that are too few, or of which nothing can be learned.
fn check_data<D: Dataset + ?Sized>(
    graph: &Graph,
    data: &D,
    batch: usize,
) -> Result<(), TrainError> {
    let wrong = |what: String| Err(TrainError::Data(what));
    if data.len() < batch {
        return wrong(format!(
            "there are {} images, fewer than a batch of {batch}: choose a smaller batch",
            data.len()
        ));
    }
    let classes = graph.output_shape().channels;
    if let Some(index) = (0..data.len()).find(|&index| data.class(index) >= classes) {
        return wrong(format!(
            "image {index} is of class {}, and `{}` has {classes}: 0 to {}",
            data.class(index),
            graph.name,
            classes - 1
        ));
    }
    let first = data.class(0);
    if (0..data.len()).all(|index| data.class(index) == first) {
        return wrong(format!(
            "all {} images are of class {first}: there is nothing to learn",
            data.len()
        ));
    }
    Ok(())
}
