//! `config.json` and `preprocessor_config.json` of Hugging Face's `transformers`.
//!
//! `transformers/models/resnet/configuration_resnet.py` has the fields and their defaults,
//! `transformers/models/convnext/image_processing_convnext.py` what the usual image processor does.

use resnet_compiler::spec::StrideOn;
use serde_json::Value;

use super::keys::Keys;
use super::{Facts, Padding, Stages};
use crate::Activation;
use crate::error::{Fault, unknown};

/// Fields of every configuration that have no influence on answers.
const GENERAL: &[&str] = &[
    "transformers_version",
    "torch_dtype",
    "dtype",
    "label2id",
    "out_indices",
    "stage_names",
    "_name_or_path",
    "problem_type",
    "num_labels",
    "return_dict",
    "output_hidden_states",
    "initializer_range",
];

/// What class the network is of, and where the facts are from.
fn facts(config: &mut Keys, usual: &str) -> Result<(String, Facts), Fault> {
    let kind = config.texts("architectures")?.and_then(|kinds| kinds.into_iter().next());
    let kind = kind.unwrap_or_else(|| usual.to_owned());
    let source = format!("transformers' `{kind}`");
    Ok((kind, Facts { source, settled: true, ..Facts::default() }))
}

/// Depths and widths of the stages.
fn stages(config: &mut Keys) -> Result<[Vec<usize>; 2], Fault> {
    let widths = config.counts("hidden_sizes")?.unwrap_or_else(|| vec![256, 512, 1024, 2048]);
    let depths = config.counts("depths")?.unwrap_or_else(|| vec![3, 4, 6, 3]);
    if depths.len() != widths.len() {
        return unknown(format!(
            "`config.json` has {} `depths` and {} `hidden_sizes`; both are of one length",
            depths.len(),
            widths.len()
        ));
    }
    Ok([depths, widths])
}

/// The fields of `ResNetConfig`.
pub(super) fn resnet(mut config: Keys) -> Result<Facts, Fault> {
    let (kind, mut facts) = facts(&mut config, "ResNetForImageClassification")?;
    let bottleneck = match config.text("layer_type")?.as_deref() {
        None | Some("bottleneck") => true,
        Some("basic") => false,
        Some(other) => return config.wrong("layer_type", &other, "`basic` or `bottleneck`"),
    };
    let [depths, widths] = stages(&mut config)?;
    let first = if config.flag("downsample_in_first_stage")? == Some(true) { 2 } else { 1 };
    facts.options.strides =
        (0..depths.len()).map(|stage| if stage == 0 { first } else { 2 }).collect();
    facts.options.pool = Some(crate::StemPool::Max);
    let on_first = config.flag("downsample_in_bottleneck")? == Some(true);
    facts.options.stride_on = Some(if on_first { StrideOn::First } else { StrideOn::Second });
    // It follows the stem and each addition; inside blocks there is ReLU.
    if let Some(name) = config.text("hidden_act")? {
        match super::activation(&name) {
            Some(Activation::Relu) => {}
            Some(outer) => facts.outer_activation = Some(outer),
            None => return config.wrong("hidden_act", &name, "an activation that tables have"),
        }
    }
    facts.expected.channels = Some(config.count("num_channels")?.unwrap_or(3));
    facts.expected.stem = Some(config.count("embedding_size")?.unwrap_or(64));
    facts.expected.stages = Some(Stages { bottleneck, depths, widths });
    facts.expected.pre_activation = Some(false);
    let outputs = config.texts("out_features")?;
    take_outputs(&mut config, &kind, outputs, &mut facts)?;
    config.ignore(GENERAL);
    config.ignore(&["model_type"]);
    facts.notes.extend(config.rest());
    Ok(facts)
}

/// The fields of `BitConfig`, `transformers/models/bit/{configuration,modeling}_bit.py`.
pub(super) fn bit(mut config: Keys) -> Result<Facts, Fault> {
    let (kind, mut facts) = facts(&mut config, "BitForImageClassification")?;
    let pre_activation = match config.text("layer_type")?.as_deref() {
        None | Some("preactivation") => true,
        Some("bottleneck") => false,
        Some(other) => {
            return config.wrong("layer_type", &other, "`preactivation` or `bottleneck`");
        }
    };
    let pool = config.flag("embedding_dynamic_padding")? == Some(true);
    match config.text("global_padding")?.as_deref() {
        Some("SAME" | "same") => facts.padding = Padding::Same { pool },
        Some(other) => return config.wrong("global_padding", &other, "`SAME` or none"),
        None if pool => facts.refused = Some("a pool that is padded twice"),
        // The ring of zeros stands before the norm, which takes it for pixels.
        None if !pre_activation => facts.refused = Some("a norm over padding"),
        None => {}
    }
    let [depths, widths] = stages(&mut config)?;
    let output_stride = config.count("output_stride")?.unwrap_or(32);
    let (mut reached, mut dilation) = (4, 1);
    let (mut strides, mut dilations) = (Vec::new(), Vec::new());
    for stage in 0..depths.len() {
        let stride = if stage == 0 { 1 } else { 2 };
        let given_up = reached >= output_stride;
        dilation *= if given_up { stride } else { 1 };
        strides.push(if given_up { 1 } else { stride });
        // Blocks of pre-activation are given none.
        dilations.push(if pre_activation { 1 } else { dilation });
        reached *= strides[stage];
    }
    if let Some(name) = config.text("hidden_act")? {
        match super::activation(&name) {
            Some(Activation::Relu) => {}
            Some(known) => facts.options.activation = Some(known),
            None => return config.wrong("hidden_act", &name, "an activation that tables have"),
        }
    }
    let factor = config.count("width_factor")?.unwrap_or(1);
    facts.options.strides = strides;
    facts.options.dilations = dilations;
    facts.options.pool = Some(crate::StemPool::Zeros);
    facts.options.stride_on = Some(StrideOn::Second);
    facts.options.weight_standardization = Some(1e-8);
    facts.options.norm_groups = Some(config.count("num_groups")?.unwrap_or(32));
    facts.expected.channels = Some(config.count("num_channels")?.unwrap_or(3));
    facts.expected.stem = Some(config.count("embedding_size")?.unwrap_or(64));
    let widths = widths.into_iter().map(|width| width.saturating_mul(factor)).collect();
    facts.expected.stages = Some(Stages { bottleneck: true, depths, widths });
    facts.expected.pre_activation = Some(pre_activation);
    let outputs = config.texts("out_features")?;
    take_outputs(&mut config, &kind, outputs, &mut facts)?;
    config.ignore(GENERAL);
    config.ignore(&["model_type", "drop_path_rate"]);
    facts.notes.extend(config.rest());
    Ok(facts)
}

/// What is the answer: features or classes.
fn take_outputs(
    config: &mut Keys,
    kind: &str,
    outputs: Option<Vec<String>>,
    facts: &mut Facts,
) -> Result<(), Fault> {
    let labels = config.classes("id2label")?;
    if kind.ends_with("Backbone") {
        facts.features = features(outputs.unwrap_or_default(), facts)?;
    } else if kind.ends_with("ForImageClassification") {
        facts.expected.classes = labels.as_ref().map(Vec::len);
        let named = |labels: &Vec<String>| labels.iter().any(|label| !label.starts_with("LABEL_"));
        facts.labels = labels.filter(named).unwrap_or_default();
    }
    Ok(())
}

/// The numbers of the stages whose outputs are the answer; that of the stem is 0.
fn features(names: Vec<String>, facts: &Facts) -> Result<Vec<usize>, Fault> {
    let stages = facts.options.strides.len();
    if names.is_empty() {
        return Ok(vec![stages]);
    }
    let number = |name: &String| match name.strip_prefix("stage") {
        Some(number) => number.parse().ok().filter(|number| (1..=stages).contains(number)),
        None => (name == "stem").then_some(0),
    };
    match names.iter().map(number).collect::<Option<Vec<_>>>() {
        Some(mut numbers) => {
            numbers.sort_unstable();
            numbers.dedup();
            Ok(numbers)
        }
        None => unknown(format!(
            "`config.json` has the `out_features` {}; a network of {stages} stages has `stem` and `stage1` to \
             `stage{stages}`",
            names.join(", ")
        )),
    }
}

/// What an image processor does with pictures.
pub(super) fn preprocessor(mut config: Keys, facts: &mut Facts) -> Result<(), Fault> {
    let kind = config.text("image_processor_type")?;
    let older = config.text("feature_extractor_type")?;
    let kind = kind.or(older).unwrap_or_default();
    let fast = kind.strip_suffix("Fast").unwrap_or(&kind);
    let convnext = ["ConvNextImageProcessor", "ConvNextFeatureExtractor"].contains(&fast);
    let size = match config.value("size") {
        None => None,
        Some(value) => match scaled(&value) {
            Some(size) => Some(size),
            None => {
                return config.wrong("size", &value, "`shortest_edge`, or `height` and `width`");
            }
        },
    };
    let crop = match config.value("crop_size") {
        None => None,
        Some(value) => match sides(&value) {
            Some(sides) => Some(sides),
            None => return config.wrong("crop_size", &value, "a size, `height` and `width`"),
        },
    };
    let share = config.positive("crop_pct")?;
    let resizes = config.flag("do_resize")?.unwrap_or(true);
    let crops = config.flag("do_center_crop")?;
    let edge = match size {
        Some(Scaled::Shorter(side)) => Some(side),
        Some(Scaled::Both([height, width])) => (height == width).then_some(height),
        None => None,
    };
    match (size, crop.filter(|_| crops != Some(false))) {
        // Larger ones are squashed to their size, whatever their shape is.
        _ if convnext
            && resizes
            && let Some(side) = edge =>
        {
            facts.options.input = Some((side, side));
            facts.crop = Some(if side < 384 { share.unwrap_or(224.0 / 256.0) } else { 1.0 });
            facts.squashes = side >= 384;
        }
        (Some(Scaled::Shorter(side)), Some([height, width])) if resizes => {
            facts.options.input = Some((height, width));
            facts.options.resize = Some(side);
        }
        (Some(Scaled::Both(sides)), Some(cut)) if resizes => {
            // A table has one share for both sides.
            if sides[0] * cut[1] != sides[1] * cut[0] || cut[0] == 0 || sides[0] < cut[0] {
                return config.wrong(
                    "crop_size",
                    &format!("{cut:?}"),
                    "the shape of `size`, or a part of it",
                );
            }
            facts.options.input = Some(cut.into());
            facts.crop = Some(cut[0] as f64 / sides[0] as f64);
            facts.squashes = true;
        }
        (Some(Scaled::Both(sides)), None) if resizes => {
            facts.options.input = Some(sides.into());
            facts.crop = Some(1.0);
            facts.squashes = true;
        }
        (Some(Scaled::Shorter(side)), None) if resizes => {
            facts.options.input = Some((side, side));
            facts.crop = Some(1.0);
            facts.squashes = true;
        }
        _ => facts.notes.push(
            "`preprocessor_config.json` does not scale and cut pictures; the table does".to_owned(),
        ),
    }
    facts.blue_first = config.flag("do_flip_channel_order")?.unwrap_or(false);
    normalisation(&mut config, facts)?;
    let resample = config.count("resample")?;
    if let Some(code) = resample {
        // Pillow's codes.
        let names = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"];
        let name = names.get(code).map_or_else(|| format!("resample {code}"), |&n| n.to_owned());
        facts.scale_with(&name);
    }
    config.ignore(&["do_convert_rgb", "processor_class", "data_format"]);
    facts.notes.extend(config.rest());
    Ok(())
}

/// To what pictures are scaled.
enum Scaled {
    Shorter(usize),
    /// Height and width.
    Both([usize; 2]),
}

fn scaled(value: &Value) -> Option<Scaled> {
    if let Some(side) = value.as_u64().or_else(|| value.get("shortest_edge")?.as_u64()) {
        let other = ["height", "width", "longest_edge"].iter().any(|key| value.get(key).is_some());
        return usize::try_from(side).ok().filter(|_| !other).map(Scaled::Shorter);
    }
    sides(value).map(Scaled::Both)
}

/// Height and width; one number is both.
fn sides(value: &Value) -> Option<[usize; 2]> {
    let [height, width] = match value.as_u64() {
        Some(side) => [side; 2],
        None => [value.get("height")?.as_u64()?, value.get("width")?.as_u64()?],
    };
    Some([usize::try_from(height).ok()?, usize::try_from(width).ok()?])
}

/// Mean and deviation of values from 0 to 1, whatever the processor's own range is.
fn normalisation(config: &mut Keys, facts: &mut Facts) -> Result<(), Fault> {
    let normalises = config.flag("do_normalize")?.unwrap_or(true);
    let rescales = config.flag("do_rescale")?.unwrap_or(true);
    let factor = config.positive("rescale_factor")?.unwrap_or(1.0 / 255.0);
    let range = 255.0 * if rescales { factor } else { 1.0 };
    let range = if (range - 1.0).abs() < 1e-6 { 1.0 } else { range };
    let mean = config.numbers("image_mean")?;
    let std = config.numbers("image_std")?;
    let (mean, std) = match (mean, std) {
        _ if !normalises => (vec![0.0], vec![1.0]),
        (Some(mean), Some(std)) => (mean, std),
        // The defaults differ from processor to processor.
        _ => return Ok(()),
    };
    facts.options.mean = mean.into_iter().map(|mean| mean / range).collect();
    facts.options.std = std.into_iter().map(|std| std / range).collect();
    Ok(())
}
