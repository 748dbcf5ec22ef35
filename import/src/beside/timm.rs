//! timm's `config.json`: an architecture by its name, and how its pictures are prepared.
//!
//! `timm/models/_hub.py` writes it. The older form has the entries of `pretrained_cfg` at its top.

use resnet_compiler::spec::{AntiAlias, Shortcut};

use super::keys::Keys;
use super::{Facts, rules};
use crate::GlobalPool;
use crate::error::{Fault, unknown};
use crate::normalise::IMAGENET;

/// Entries of `pretrained_cfg` that say where weights come from, or for which layers training begins.
const ORIGIN: &[&str] = &[
    "url",
    "file",
    "hf_hub_id",
    "hf_hub_filename",
    "source",
    "tag",
    "custom_load",
    "license",
    "description",
    "origin_url",
    "paper_name",
    "paper_ids",
    "notes",
    "first_conv",
    "classifier",
    "pool_size",
    "test_pool_size",
    "min_input_size",
    "fixed_input_size",
    "num_features",
    "global_pool",
];

/// Arguments that tensors show, or that matter in training alone.
const SHOWN: &[&str] = &[
    "layers",
    "channels",
    "cardinality",
    "base_width",
    "stem_width",
    "stem_type",
    "avg_down",
    "down_kernel_size",
    "block_reduce_first",
    "zero_init_last",
    "drop_rate",
    "drop_path_rate",
    "drop_block_rate",
];

pub(super) fn read(mut config: Keys) -> Result<Facts, Fault> {
    let Some(architecture) = config.text("architecture")? else { return Ok(Facts::default()) };
    let known = rules::facts(&architecture);
    let unknown_name = known.is_none();
    let mut facts = known.unwrap_or_default();
    facts.source = format!("timm's `{architecture}`");
    facts.name = Some(architecture.clone());
    if unknown_name {
        facts.notes.push(format!(
            "`config.json` says `{architecture}`, which is none of timm's networks that are known: what its \
             tensors do not show is assumed"
        ));
    }
    arguments(&mut config, &mut facts)?;
    let pool = config.text("global_pool")?;
    global_pool(&mut facts, pool);
    let classes = config.count("num_classes")?;
    let names = config.classes("label_names")?;
    let descriptions = config.dictionary("label_descriptions")?;
    // What transformers' wrapper of timm's networks adds.
    config.ignore(&["model_type", "architectures", "do_pooling", "initializer_range"]);
    config.ignore(&["transformers_version", "torch_dtype", "dtype", "num_features"]);
    let mut cfg = match config.object("pretrained_cfg")? {
        Some(cfg) => cfg,
        None => config.split_off(),
    };
    if cfg.text("architecture")?.is_some_and(|inner| inner != architecture) {
        return unknown("`config.json` names two architectures, one under `pretrained_cfg`");
    }
    let inner = cfg.count("num_classes")?;
    if facts.expected.classes.is_none() {
        facts.expected.classes = classes.or(inner);
    }
    // `labels` is the older name.
    let older = cfg.classes("labels")?;
    let names = names.or(cfg.classes("label_names")?).or(older).unwrap_or_default();
    let described = cfg.dictionary("label_descriptions")?;
    let descriptions = if descriptions.is_empty() { described } else { descriptions };
    let describe = |name: String| {
        descriptions.get(&name).and_then(|text| text.as_str()).map_or(name, str::to_owned)
    };
    facts.labels = names.into_iter().map(describe).collect();
    pictures(&mut cfg, &mut facts)?;
    cfg.ignore(ORIGIN);
    facts.notes.extend(config.rest());
    facts.notes.extend(cfg.rest());
    Ok(facts)
}

/// What the network was made with, beside its name.
fn arguments(config: &mut Keys, facts: &mut Facts) -> Result<(), Fault> {
    let Some(mut arguments) = config.object("model_args")? else { return Ok(()) };
    facts.expected.channels = arguments.count("in_chans")?;
    facts.expected.classes = arguments.count("num_classes")?;
    let pool = arguments.text("global_pool")?;
    global_pool(facts, pool);
    match arguments.numbers("img_size")?.as_deref() {
        None => {}
        Some([side]) => facts.options.input = Some((*side as usize, *side as usize)),
        Some([height, width]) => facts.options.input = Some((*height as usize, *width as usize)),
        Some(other) => {
            return arguments.wrong(
                "img_size",
                &format!("{other:?}"),
                "a side, or height and width",
            );
        }
    }
    if let Some(stride) = arguments.count("output_stride")? {
        if ![8, 16, 32].contains(&stride) {
            return arguments.wrong("output_stride", &stride, "8, 16 or 32");
        }
        dilate(facts, stride);
    }
    if let Some(name) = arguments.text("act_layer")? {
        match super::activation(&name) {
            Some(activation) => facts.options.activation = Some(activation),
            None => return arguments.wrong("act_layer", &name, "an activation that tables have"),
        }
    }
    let aa_layer = arguments.text("aa_layer")?.unwrap_or_default();
    match &*aa_layer {
        "" => {}
        "avg" | "avgpool" => facts.options.anti_alias = Some(AntiAlias::Average),
        "blur" => facts.options.anti_alias = Some(AntiAlias::Blur),
        other => return arguments.wrong("aa_layer", &other, "`avg` or `blur`"),
    }
    // Those of `byobnet.py`, whose projections then have it in the place of their strides too.
    let (shortcut, before) = (facts.options.shortcut, facts.expected.pre_activation);
    if !aa_layer.is_empty() && (shortcut, before) == (Some(Shortcut::Projection), Some(false)) {
        facts.refused = Some("anti-aliasing in its shortcuts (`aa_layer`)");
    }
    if arguments.flag("replace_stem_pool")? == Some(true) {
        facts.options.pool = Some(crate::StemPool::None);
    }
    arguments.ignore(SHOWN);
    facts.notes.extend(arguments.rest());
    Ok(())
}

/// What becomes of all pixels; refuses what is neither their mean nor their maximum.
fn global_pool(facts: &mut Facts, pool: Option<String>) {
    match pool.as_deref() {
        None | Some("avg" | "fast" | "fastavg") => {}
        Some("max" | "fastmax") => facts.options.global_pool = Some(GlobalPool::Max),
        Some(_) => {
            facts.refused = Some(
                "a pool before its classifier that is neither average nor maximum (`global_pool`)",
            );
        }
    }
}

/// Takes dilation in the place of the last strides, until the pixels of the last stage stand for so many
/// of the picture.
fn dilate(facts: &mut Facts, output_stride: usize) {
    let mut stride = 32 / facts.options.strides.iter().product::<usize>().max(1);
    let mut dilation = 1;
    for own in &mut facts.options.strides {
        if stride >= output_stride {
            dilation *= std::mem::replace(own, 1);
        } else {
            stride *= *own;
        }
        facts.options.dilations.push(dilation);
    }
}

/// How pictures are prepared, as `timm/data/transforms_factory.py` reads it.
fn pictures(cfg: &mut Keys, facts: &mut Facts) -> Result<(), Fault> {
    let size = cfg.counts("input_size")?.unwrap_or_else(|| vec![3, 224, 224]);
    let [channels, height, width] = *size else {
        return cfg.wrong("input_size", &format!("{size:?}"), "channels, height and width");
    };
    facts.expected.channels.get_or_insert(channels);
    let input = *facts.options.input.get_or_insert((height, width));
    facts.crop = Some(cfg.positive("crop_pct")?.unwrap_or(0.875));
    let mean = cfg.numbers("mean")?;
    let std = cfg.numbers("std")?;
    facts.options.mean = mean.unwrap_or_else(|| IMAGENET.0.to_vec());
    facts.options.std = std.unwrap_or_else(|| IMAGENET.1.to_vec());
    facts.scale_with(cfg.text("interpolation")?.as_deref().unwrap_or("bicubic"));
    let mode = cfg.text("crop_mode")?.unwrap_or_else(|| "center".to_owned());
    facts.squashes = mode == "squash";
    if mode != "center" && !facts.squashes {
        facts.notes.push(format!(
            "`config.json` prepares pictures by `crop_mode: {mode}`, which tables do not have: the table cuts \
             their middle"
        ));
    }
    let test = cfg.counts("test_input_size")?;
    let test_crop = cfg.positive("test_crop_pct")?;
    if let Some([_, height, width]) = test.as_deref()
        && (*height, *width) != input
    {
        let share = test_crop.map_or(String::new(), |share| format!(", of which {share} are cut"));
        facts.notes.push(format!(
            "`config.json` says that the network is best with larger pictures, `--input {height}x{width}`{share}"
        ));
    }
    if let Some(offset) = cfg.value("label_offset")
        && offset != 0
    {
        facts.notes.push(format!(
            "`config.json` says `label_offset: {offset}`: the data that the network was trained with number \
             their classes from there"
        ));
    }
    Ok(())
}
