//! Means and deviations of pictures: the scale that they are given on, and layers that have them.

use prost::bytes::Bytes;

use crate::Options;
use crate::checkpoint::Checkpoint;
use crate::error::{Fault, unknown};
use crate::names::Network;
use crate::write;

/// What ImageNet's networks are trained with.
pub(crate) const IMAGENET: ([f64; 3], [f64; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// What Caffe's networks of ImageNet are, and Keras's, blue first: 103.939, 116.779, 123.68 and 1 of values from 0 to
/// 255.
pub(crate) const CAFFE: ([f64; 3], [f64; 3]) =
    ([0.407604, 0.457957, 0.48502], [1.0 / 255.0, 1.0 / 255.0, 1.0 / 255.0]);

/// The options with means and deviations of values from 0 to 1, and what was done to that end.
pub(crate) fn of_0_to_1(options: &Options) -> Result<(Options, Vec<String>), Fault> {
    let mut options = options.clone();
    let mut notes = Vec::new();
    if to_fractions(&mut options.mean, &mut options.std)? {
        notes.push(format!(
            "`--mean` and `--std` are of values from 0 to 255; divided by 255: {:?}, {:?}",
            options.mean, options.std
        ));
    }
    Ok((options, notes))
}

/// The options with what the file's own normalising layer has, unless they say it themselves.
pub(crate) fn by_layer(
    network: &Network,
    checkpoint: &Checkpoint,
    files: &[Bytes],
    mut options: Options,
    notes: &mut Vec<String>,
) -> Result<Options, Fault> {
    let Some([mean, std]) = network.normalisation_tensors() else { return Ok(options) };
    if !options.mean.is_empty() || !options.std.is_empty() {
        notes.push(format!("left out: `{mean}` and `{std}`, as `--mean` or `--std` says them"));
        return Ok(options);
    }
    let numbers = |name: &str| {
        let stored =
            checkpoint.tensors.get(name).filter(|stored| stored.count() <= MOST_CHANNELS)?;
        write::numbers(stored, files)
    };
    let (Some(means), Some(deviations)) = (numbers(&mean), numbers(&std)) else {
        return unknown(format!(
            "`{mean}` and `{std}` are not the means and deviations of a picture's channels, in f32 or f64; leave \
             them out of the file, and give `--mean` and `--std`"
        ));
    };
    (options.mean, options.std) = (means, deviations);
    if is_of_bytes(&options.mean, &options.std) {
        scale(&mut options.mean, &mut options.std);
    }
    notes.push(format!(
        "`{mean}` and `{std}` are how the table prepares pictures (else `--mean`, `--std`); what is given as an \
         array is the network's input after them"
    ));
    Ok(options)
}

/// Divides means and deviations of values from 0 to 255 by 255. Whether they were such.
pub(crate) fn to_fractions(mean: &mut [f64], std: &mut Vec<f64>) -> Result<bool, Fault> {
    if !is_of_bytes(mean, std) {
        return Ok(false);
    }
    let fraction = |number: &f64| *number > 0.0 && *number < 1.0;
    if std.iter().any(fraction) {
        return unknown(
            "the means of pictures (`--mean`) are of values from 0 to 255 and their deviations (`--std`) of values from \
             0 to 1; divide what is too large by 255",
        );
    }
    if mean.iter().any(fraction) {
        return unknown(
            "the means of pictures (`--mean`) are of values from 0 to 1 and their deviations (`--std`) of values from \
             0 to 255; divide what is too large by 255",
        );
    }
    scale(mean, std);
    Ok(true)
}

/// More channels than any picture has.
const MOST_CHANNELS: usize = 64;

fn is_of_bytes(mean: &[f64], std: &[f64]) -> bool {
    mean.iter().any(|&mean| mean > 1.0) || std.iter().any(|&std| std > 10.0)
}

fn scale(mean: &mut [f64], std: &mut Vec<f64>) {
    if std.is_empty() {
        std.push(1.0);
    }
    for number in mean.iter_mut().chain(std) {
        // Six digits, which are more than anyone has measured.
        *number = (*number / 255.0 * 1e6).round() / 1e6;
    }
}
