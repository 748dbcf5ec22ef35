//! What stands beside the weights: `config.json` of timm or transformers, and how pictures are prepared.
//!
//! Neither strides nor activations, nor blurs, nor what a weight is divided by leave a tensor behind. A
//! configuration says them by a name or one by one; where it contradicts the tensors, one of the two belongs
//! to another network, and that is an error.

mod keys;
mod place;
mod rules;
mod timm;
mod transformers;

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use resnet_runtime::picture::Filter;
use serde_json::{Map, Value};

use self::keys::Keys;
pub(crate) use self::place::Place;
use crate::draft::Draft;
use crate::error::{Fault, unknown};
use crate::names::{Network, Stage};
use crate::{Activation, Options, normalise};

/// A configuration is shorter, also one with 21,000 labels.
const LONGEST: u64 = 16 << 20;

/// What is known beside the tensors.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Whose network it is, for messages: "timm's `resnet50d`"; empty if nobody says.
    source: String,
    /// The architecture's name.
    name: Option<String>,
    /// What holds where the caller's options do not say otherwise.
    options: Options,
    /// Whether the architecture is known, so that what `options` leaves out is as usual.
    settled: bool,
    /// What follows the stem and the sums of blocks, if that differs from what is inside blocks.
    outer_activation: Option<Activation>,
    /// How convolutions and the stem's pool are padded.
    padding: Padding,
    /// What it has that no table can express.
    refused: Option<&'static str>,
    expected: Expected,
    /// The stages whose outputs are the answer, from 1; the stem's pool is 0.
    features: Vec<usize>,
    /// The part of the scaled picture's side that is cut.
    crop: Option<f64>,
    /// With what pictures are scaled.
    filter: Option<Filter>,
    /// Whether pictures are scaled to one shape, whatever theirs is.
    squashes: bool,
    /// Whether the network reads blue before green and red.
    blue_first: bool,
    /// Names of the classes.
    labels: Vec<String>,
    pub(crate) notes: Vec<String>,
    /// The files that were read.
    pub(crate) files: Vec<PathBuf>,
}

/// What the tensors have to agree with.
#[derive(Debug, Default)]
struct Expected {
    channels: Option<usize>,
    classes: Option<usize>,
    /// Channels of the stem.
    stem: Option<usize>,
    stages: Option<Stages>,
    /// Two, and the convolutions of blocks.
    depth: Option<usize>,
    pre_activation: Option<bool>,
}

#[derive(Debug)]
struct Stages {
    bottleneck: bool,
    depths: Vec<usize>,
    widths: Vec<usize>,
}

/// How borders are padded.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Padding {
    /// By half of kernels.
    #[default]
    Half,
    /// As TensorFlow's `SAME`, and the stem's pool likewise with zeros, or not at all.
    Same { pool: bool },
}

/// What a table is derived with beside the tensors.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) options: Options,
    /// Whether what `options` leaves out is known to be as usual, and not assumed.
    pub(crate) settled: bool,
    /// As in [`Facts`].
    pub(crate) features: Vec<usize>,
    /// As in [`Facts`].
    pub(crate) outer_activation: Option<Activation>,
    /// As in [`Facts`].
    pub(crate) padding: Padding,
}

impl Facts {
    /// Reads the files of a folder, if they are there, and takes the architecture that `options` names.
    pub(crate) fn read(folder: Option<&Path>, options: &Options) -> Result<Self, Fault> {
        let mut facts = match folder {
            Some(folder) => Self::of_folder(folder)?,
            None => Self::default(),
        };
        let Some(name) = &options.architecture else { return Ok(facts) };
        let Options { input, resize, mean, std, .. } = std::mem::take(&mut facts.options);
        let named = rules::named(name)?;
        let options = Options { input, resize, mean, std, ..named.options };
        Ok(Self {
            crop: facts.crop,
            filter: facts.filter,
            squashes: facts.squashes,
            blue_first: facts.blue_first,
            labels: facts.labels,
            notes: facts.notes,
            files: facts.files,
            options,
            ..named
        })
    }

    fn of_folder(folder: &Path) -> Result<Self, Fault> {
        let path = folder.join("config.json");
        let config = object(&path)?;
        let is_there = config.is_some();
        let mut facts = match config {
            Some(map) => of_config(Keys::new("`config.json`".to_owned(), map))?,
            None => Self::default(),
        };
        if is_there {
            facts.files.push(path);
        }
        let path = folder.join("preprocessor_config.json");
        // timm's own configuration says how pictures are prepared.
        if facts.name.is_none()
            && let Some(map) = object(&path)?
        {
            transformers::preprocessor(
                Keys::new("`preprocessor_config.json`".to_owned(), map),
                &mut facts,
            )?;
            facts.files.push(path);
        }
        facts.normalise()?;
        let read = facts.files.iter().filter_map(|path| path.file_name());
        let read: Vec<String> = read.map(|name| format!("`{}`", name.to_string_lossy())).collect();
        if !facts.source.is_empty() {
            facts.notes.insert(
                0,
                format!("read beside the weights: {} ({})", read.join(", "), facts.source),
            );
        }
        Ok(facts)
    }

    /// Brings means and deviations to values from 0 to 1.
    fn normalise(&mut self) -> Result<(), Fault> {
        let Options { mean, std, .. } = &mut self.options;
        let wrong = std.iter().find(|&&std| std <= 0.0);
        if let Some(wrong) = wrong {
            return unknown(format!(
                "what stands beside the weights divides pictures by a deviation of {wrong}; one above zero is \
                 expected"
            ));
        }
        if normalise::to_fractions(mean, std)? {
            self.notes.push(format!(
                "the configuration's means and deviations are of values from 0 to 255; divided by 255: {mean:?}, \
                 {std:?}"
            ));
        }
        Ok(())
    }

    /// What a file's name says, where nothing else says it.
    pub(crate) fn hint(&self, stem: &str, options: &Options) -> Option<String> {
        // timm's names of weights have a tag behind a dot.
        let name = stem.split('.').next().unwrap_or(stem);
        let said =
            self.source.is_empty() && options.anti_alias.is_none() && options.stride_on.is_none();
        let hint = rules::hint(name).filter(|_| said)?;
        Some(format!(
            "the file's name is that of timm's `{name}`, which {hint}; no tensor shows it, and it is not \
             assumed (`--architecture {name}`, if it is that network)"
        ))
    }

    /// Refuses what no table can express.
    pub(crate) fn refuse(&self) -> Result<(), Fault> {
        match self.refused {
            Some(what) => unknown(format!("{} has {what}, which tables do not have", self.source)),
            None => Ok(()),
        }
    }

    /// What pictures are prepared with, where `options` do not say it.
    pub(crate) fn pictures(&self, options: &Options) -> Options {
        let facts = &self.options;
        let own = options.mean.is_empty() && options.std.is_empty();
        let [mean, std] = match own {
            true => [facts.mean.clone(), facts.std.clone()],
            false => [options.mean.clone(), options.std.clone()],
        };
        let resize = facts.resize.filter(|_| options.input.is_none());
        Options { mean, std, resize: options.resize.or(resize), ..options.clone() }
    }

    /// The options, and below them what is known of a network with these tensors.
    pub(crate) fn under(&self, options: &Options, network: &Network) -> Result<Known, Fault> {
        self.check(network)?;
        let facts = &self.options;
        let blocks = || network.stages.iter().flat_map(|stage| &stage.blocks);
        let stride_on = facts.stride_on.filter(|_| blocks().any(|block| block.convs.len() == 3));
        let (strides, dilations) = match options.strides.is_empty() {
            true => (facts.strides.clone(), facts.dilations.clone()),
            false => (options.strides.clone(), Vec::new()),
        };
        let options = Options {
            input: options.input.or(facts.input),
            strides,
            dilations: if options.dilations.is_empty() {
                dilations
            } else {
                options.dilations.clone()
            },
            stride_on: options.stride_on.or(stride_on),
            anti_alias: options.anti_alias.or(facts.anti_alias),
            shortcut: options.shortcut.or(facts.shortcut),
            pool: options.pool.or(facts.pool),
            global_pool: options.global_pool.or(facts.global_pool),
            activation: options.activation.or(facts.activation),
            norm_groups: options
                .norm_groups
                .or(facts.norm_groups.filter(|_| options.norm_group_size.is_none())),
            norm_group_size: options
                .norm_group_size
                .or(facts.norm_group_size.filter(|_| options.norm_groups.is_none())),
            weight_standardization: options.weight_standardization.or(facts.weight_standardization),
            ..self.pictures(options)
        };
        Ok(Known {
            options,
            settled: self.settled,
            features: self.features.clone(),
            outer_activation: self.outer_activation,
            padding: self.padding,
        })
    }

    /// Compares with the tensors.
    fn check(&self, network: &Network) -> Result<(), Fault> {
        let expected = &self.expected;
        let source = &self.source;
        let differs = |what: &str, said: String, found: String| {
            unknown(format!(
                "{source} has {what} {said}, and the tensors have {found}: the configuration and the weights \
                 belong to different networks"
            ))
        };
        let first = network.stem.first().map(|unit| &unit.conv);
        let inputs = first.unwrap_or(&network.stages[0].blocks[0].convs[0]).inputs;
        if let Some(channels) = expected.channels.filter(|&channels| channels != inputs) {
            return differs("pictures of channels:", channels.to_string(), inputs.to_string());
        }
        for (what, numbers) in [("means", &self.options.mean), ("deviations", &self.options.std)] {
            if ![0, 1, inputs].contains(&numbers.len()) {
                return unknown(format!(
                    "what stands beside the weights has {} {what} for pictures of {inputs} channels",
                    numbers.len()
                ));
            }
        }
        let classes = network.linear.last().map(|linear| linear.classes);
        if let (Some(said), Some(found)) = (expected.classes, classes)
            && said != found
        {
            return differs("classes:", said.to_string(), found.to_string());
        }
        let stem = network.stem.last().map(|unit| unit.conv.channels);
        if let (Some(said), Some(found)) = (expected.stem, stem)
            && said != found
        {
            return differs("channels of the stem:", said.to_string(), found.to_string());
        }
        if let Some(said) = expected.pre_activation.filter(|&said| said != network.pre_activation) {
            let word = |before| if before { "before" } else { "after" };
            let (said, found) = (word(said), word(network.pre_activation));
            return differs("norms", format!("{said} convolutions"), format!("them {found}"));
        }
        let stages = network.stages.len();
        if ![0, stages].contains(&self.options.strides.len()) {
            return differs("stages:", self.options.strides.len().to_string(), stages.to_string());
        }
        let counts: Vec<usize> = network.stages.iter().map(|stage| stage.blocks.len()).collect();
        let blocks = network.stages.iter().flat_map(|stage| &stage.blocks);
        let depth = 2
            + blocks.map(|block| block.convs.len()).sum::<usize>()
            + usize::from(network.final_conv.is_some());
        if let Some(said) = expected.depth.filter(|&said| said != depth) {
            return differs("layers:", said.to_string(), depth.to_string());
        }
        let Some(Stages { bottleneck, depths, widths }) = &expected.stages else { return Ok(()) };
        if *depths != counts {
            return differs("blocks in its stages:", format!("{depths:?}"), format!("{counts:?}"));
        }
        let found: Vec<usize> = network.stages.iter().map(Stage::outputs).collect();
        if *widths != found {
            return differs("channels of its stages:", format!("{widths:?}"), format!("{found:?}"));
        }
        let found = network.stages[0].blocks[0].convs.len() == 3;
        let word = |bottleneck| if bottleneck { "bottleneck" } else { "basic" }.to_owned();
        if *bottleneck != found {
            return differs("blocks of the kind", word(*bottleneck), word(found));
        }
        Ok(())
    }

    /// What a network is called that was found in a place.
    pub(crate) fn call<'a>(&'a self, place: &'a Place) -> &'a str {
        match &self.name {
            Some(architecture) if place.nameless && !place.name.starts_with(&**architecture) => {
                architecture
            }
            _ => &place.name,
        }
    }

    /// Takes the filter that a configuration names, or says that tables do not have it.
    fn scale_with(&mut self, name: &str) {
        self.filter = Filter::ALL.into_iter().find(|filter| filter.name() == name);
        if self.filter.is_none() {
            self.notes.push(format!(
                "pictures are to be scaled with the filter `{name}`, which tables do not have; the table's is \
                 bilinear"
            ));
        }
    }

    /// Adds to a table how pictures are scaled and cut and the names of the classes.
    pub(crate) fn finish(&mut self, draft: &mut Draft) {
        draft.crop = self.crop;
        draft.filter = self.filter.unwrap_or_default();
        draft.squashes = self.squashes;
        draft.blue_first = self.blue_first;
        let labels = std::mem::take(&mut self.labels);
        if !labels.is_empty() && draft.classes != Some(labels.len()) {
            let classes = draft.classes.unwrap_or(0);
            self.notes.push(format!("left out: {} labels, for {classes} classes", labels.len()));
            return;
        }
        // A label is a line of a file.
        let line = |(class, label): (usize, String)| {
            let words: Vec<&str> = label.split_whitespace().collect();
            if words.is_empty() { class.to_string() } else { words.join(" ") }
        };
        draft.labels = labels.into_iter().enumerate().map(line).collect();
    }
}

fn of_config(mut config: Keys) -> Result<Facts, Fault> {
    if config.has("architecture") {
        return timm::read(config);
    }
    let kind = config.text("model_type")?;
    match kind.as_deref() {
        Some("resnet") => transformers::resnet(config),
        Some("bit") => transformers::bit(config),
        other => {
            let kind =
                other.map_or(String::new(), |kind| format!(" (its `model_type` is `{kind}`)"));
            let note = format!(
                "nothing is taken from `config.json`: it is neither timm's nor that of transformers' ResNet{kind}"
            );
            Ok(Facts { notes: vec![note], ..Facts::default() })
        }
    }
}

/// The object in a JSON file, if the file is there.
fn object(path: &Path) -> Result<Option<Map<String, Value>>, Fault> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let damaged = |reason: String| {
        unknown(format!(
            "`{name}` beside the weights is damaged, or not theirs: {reason}; mend it, or move the weights away \
             from it"
        ))
    };
    let file = match resnet_runtime::file::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return damaged(error.to_string()),
    };
    let mut bytes = Vec::new();
    if let Err(error) = file.take(LONGEST + 1).read_to_end(&mut bytes) {
        return damaged(error.to_string());
    }
    if bytes.len() as u64 > LONGEST {
        return damaged(format!("it is longer than {} MiB", LONGEST >> 20));
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(map)) => Ok(Some(map)),
        Ok(_) => damaged("it is no JSON object".to_owned()),
        Err(error) => damaged(error.to_string()),
    }
}

/// An activation by the name that PyTorch's libraries have for it.
fn activation(name: &str) -> Option<Activation> {
    Some(match name {
        "silu" | "swish" => Activation::Silu,
        "hardswish" | "hard_swish" => Activation::HardSwish,
        "relu" | "relu6" | "gelu" | "leaky_relu" => {
            *Activation::ALL.iter().find(|known| known.name() == name)?
        }
        _ => return None,
    })
}
