//! A table before it is written: what both ways to derive one come to.

use std::fmt::Write as _;

use resnet_compiler::graph::{Graph, NodeId, Shape};
use resnet_compiler::spec::Spec;
use resnet_compiler::spec::rows::{Row, aligned};
use resnet_runtime::picture::Filter;

use crate::error::{Fault, unknown};
use crate::normalise::{CAFFE, IMAGENET};
use crate::{Activation, Assumption, Options};

/// A table, but for its name and for how pictures are prepared.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) input: Shape,
    /// Where it is not the one that tables have if none is written.
    pub(crate) norm_epsilon: Option<f64>,
    pub(crate) pre_activation: bool,
    /// Where it is not ReLU.
    pub(crate) activation: Option<Activation>,
    /// The epsilon with which weights are standardized.
    pub(crate) weight_standardization: Option<f64>,
    /// Rows that are the answer; none if it is the last one.
    pub(crate) features: Vec<String>,
    pub(crate) rows: Vec<Row>,
    /// What each row comes from in the file, to be blamed if no table can have it; may be left empty.
    pub(crate) origins: Vec<String>,
    /// What pictures' values are read by a network that prepares them itself.
    pub(crate) prepared: Option<Prepared>,
    /// Whether pictures of ImageNet are prepared as for Caffe's networks, and Keras's.
    pub(crate) is_caffe: bool,
    /// Of the classifier.
    pub(crate) classes: Option<usize>,
    /// Names of the classes.
    pub(crate) labels: Vec<String>,
    /// The part of a scaled picture's side that is cut, where it is known.
    pub(crate) crop: Option<f64>,
    /// What pictures are scaled with.
    pub(crate) filter: Filter,
    /// Whether they are scaled to one shape, whatever theirs is.
    pub(crate) squashes: bool,
    /// Whether the network reads blue before green and red, as a configuration says.
    pub(crate) blue_first: bool,
    /// The row of a max pool over all pixels, whose kernel follows from what the others make.
    pub(crate) global_max_pool: Option<usize>,
    /// What has to be said.
    pub(crate) notes: Vec<String>,
    /// What the file does not tell.
    pub(crate) assumed: Vec<Assumption>,
}

/// The values of a picture that its network scales and shifts itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Prepared {
    /// From 0 to 255.
    Bytes,
    /// From 0 to 1.
    Fractions,
    Unknown,
}

impl Prepared {
    /// What scales and shifts of the channels tell: those of bytes are small, or take away means of more than
    /// 1.
    pub(crate) fn guess(scale: &[f64], shift: &[f64]) -> Self {
        let mut channels = scale.iter().zip(shift).map(|(scale, shift)| (scale, -shift / scale));
        if channels.clone().any(|(_, mean)| !mean.is_finite()) {
            Self::Unknown
        } else if channels.any(|(scale, mean)| scale.abs() < 0.05 || mean > 1.0) {
            Self::Bytes
        } else {
            Self::Fractions
        }
    }

    fn note(self) -> &'static str {
        match self {
            Self::Bytes => {
                "assumed: the network prepares pictures itself, of values from 0 to 255 (else `--mean`, `--std`)"
            }
            Self::Fractions => {
                "assumed: the network prepares pictures itself, of values from 0 to 1 (else `--mean`, `--std`)"
            }
            Self::Unknown => {
                "unknown: the network prepares pictures itself, of which values (`--mean`, `--std`)"
            }
        }
    }
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            input: Shape::new(0, 0, 0),
            norm_epsilon: None,
            pre_activation: false,
            activation: None,
            weight_standardization: None,
            features: Vec::new(),
            rows: Vec::new(),
            origins: Vec::new(),
            prepared: None,
            is_caffe: false,
            classes: None,
            labels: Vec::new(),
            crop: None,
            filter: Filter::default(),
            squashes: false,
            blue_first: false,
            global_max_pool: None,
            notes: Vec::new(),
            assumed: Vec::new(),
        }
    }
}

/// The line that silences what a table would be warned of: its network is as it is.
fn allow(table: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    if let Ok(spec) = Spec::from_yaml(table) {
        names.extend(spec.warnings().list().iter().map(|warning| warning.lint.word()));
    }
    names.sort_unstable();
    names.dedup();
    if names.is_empty() { String::new() } else { format!("allow: [{}]\n", names.join(", ")) }
}

impl Draft {
    /// The table with what it counts, and its network. `source` is the file that it comes from, for the
    /// comment at its head.
    pub(crate) fn finish(
        &mut self,
        options: &Options,
        name: &str,
        source: &str,
    ) -> Result<(String, Graph), Fault> {
        if self.unknown_normalisation(options) {
            match self.prepared {
                Some(prepared) => self.notes.push(prepared.note().to_owned()),
                None if self.is_imagenet() && self.is_caffe => {
                    let what = "pictures are prepared as for Caffe's networks of ImageNet, blue first, less a mean \
                                of values from 0 to 255";
                    self.assume(false, what, "--mean M,M,M` and `--std S,S,S");
                }
                None if self.is_imagenet() => {
                    let what = "pictures are normalised as for ImageNet";
                    self.assume(true, what, "--mean M,M,M` and `--std S,S,S");
                }
                None => {
                    let note = "unknown: how pictures are normalised (`--mean`, `--std`)";
                    self.notes.push(note.to_owned());
                }
            }
        }
        for (option, numbers) in [("--mean", &options.mean), ("--std", &options.std)] {
            if ![0, 1, self.input.channels].contains(&numbers.len()) {
                return unknown(format!(
                    "`{option}` has {} numbers, and pictures have {} channels",
                    numbers.len(),
                    self.input.channels
                ));
            }
        }
        let head = self.head(name);
        let graph = self.build(&format!("{head}table:\n{}", aligned(&self.rows)))?;
        let graph = if self.spread_global_max_pool(&graph) {
            self.build(&format!("{head}table:\n{}", aligned(&self.rows)))?
        } else {
            graph
        };
        self.claim(&graph);
        let head = head.clone() + &allow(&format!("{head}table:\n{}", aligned(&self.rows)));
        let mut yaml = format!("# Made by `resnet import` from {source}.\n");
        for note in self.notes.iter().cloned().chain(self.assumed.iter().map(Assumption::to_string))
        {
            let _ = writeln!(yaml, "# {note}");
        }
        let _ = write!(yaml, "{head}table:\n{}", aligned(&self.rows));
        let Graph { depth, params, macs, .. } = graph;
        let macs = digits(macs);
        let _ = writeln!(yaml, "expect: {{depth: {depth}, params: {params}, macs: {macs}}}");
        yaml += &self.preprocess(options);
        if !self.labels.is_empty() {
            let _ = writeln!(yaml, "labels: {}", labels_file(name));
        }
        let graph = self.build(&yaml)?;
        Ok((yaml, graph))
    }

    /// Adds an assumption, once. `option` changes it; empty if none does.
    pub(crate) fn assume(
        &mut self,
        usual: bool,
        what: impl Into<String>,
        option: impl Into<String>,
    ) {
        let option = Some(option.into()).filter(|option| !option.is_empty());
        let assumption = Assumption { what: what.into(), option, usual };
        if !self.assumed.contains(&assumption) {
            self.assumed.push(assumption);
        }
    }

    /// Makes the kernel of the global max pool all that it reads. Whether there is one.
    fn spread_global_max_pool(&mut self, graph: &Graph) -> bool {
        let Some(at) = self.global_max_pool else { return false };
        let mut nodes = (0..graph.nodes.len() as u32).map(|id| graph.node(NodeId(id)));
        let before = nodes.rfind(|node| node.row.is_some_and(|row| row < at));
        let Shape { height, width, .. } = before.map_or(self.input, |node| node.shape);
        self.rows[at].set("kernel", format_args!("{height}x{width}"));
        true
    }

    /// The network of a table that was derived. Where it is none, the file has what no table can, at the place that
    /// the row was derived from; or its shapes contradict each other or what was assumed, which users can look
    /// at. The table they have never seen.
    fn build(&self, yaml: &str) -> Result<Graph, Fault> {
        let built =
            Spec::from_yaml_named(yaml, "derived.yaml").and_then(|spec| Graph::build(&spec));
        built.or_else(|error| {
            let mistake = &error.list()[0];
            let before = &yaml[..mistake.span.range().start.min(yaml.len())];
            let rows = before.lines().filter(|line| line.starts_with("  - ")).count();
            if let Some(origin) = rows.checked_sub(1).and_then(|row| self.origins.get(row)) {
                let said =
                    [std::slice::from_ref(&mistake.message), &*mistake.notes].concat().join("; ");
                return unknown(format!("{origin}: no layer table can have it: {said}"));
            }
            let line = before.rfind('\n').map_or(0, |newline| newline + 1);
            let line = yaml[line..].lines().next().unwrap_or_default();
            if ["input: ", "preprocess: "].iter().any(|given| line.starts_with(given)) {
                return unknown(format!("no table can have `{line}`: {}", mistake.message));
            }
            let mut said = String::new();
            for diagnostic in error.list().iter().take(3) {
                let line = diagnostic.span.range().start;
                let start = yaml[..line].rfind('\n').map_or(0, |newline| newline + 1);
                let row = yaml[start..].lines().next().unwrap_or_default().trim();
                let _ = write!(said, "\n  {}\n    in `{row}`", diagnostic.message);
            }
            for assumption in &self.assumed {
                let _ = write!(said, "\n  {assumption}");
            }
            unknown(format!(
                "no network follows from its tensors and what was assumed; if an option below does not mend it, \
                 `resnet import` has misunderstood the file, and the fault is its own:{said}"
            ))
        })
    }

    fn head(&self, name: &str) -> String {
        let mut head = format!("name: {name}\ninput: {}\n", self.input);
        if let Some(epsilon) = self.norm_epsilon {
            let _ = writeln!(head, "norm_epsilon: {epsilon}");
        }
        if self.pre_activation {
            head += "pre_activation: true\n";
        }
        if let Some(activation) = self.activation {
            let _ = writeln!(head, "activation: {activation}");
        }
        if let Some(epsilon) = self.weight_standardization {
            let _ = writeln!(head, "weight_standardization: {{epsilon: {epsilon:e}}}");
        }
        if !self.features.is_empty() {
            let _ = writeln!(head, "features: [{}]", self.features.join(", "));
        }
        head
    }

    fn unknown_normalisation(&self, options: &Options) -> bool {
        options.mean.is_empty() && options.std.is_empty()
    }

    fn is_imagenet(&self) -> bool {
        self.classes == Some(1000) && self.input.channels == 3
    }

    /// Writes what every row makes.
    fn claim(&mut self, graph: &Graph) {
        let mut outputs = vec![None; self.rows.len()];
        for id in (0..graph.nodes.len() as u32).map(NodeId) {
            let node = graph.node(id);
            if let Some(output) = node.row.and_then(|row| outputs.get_mut(row)) {
                *output = Some(node.shape);
            }
        }
        for (row, output) in self.rows.iter_mut().zip(outputs) {
            let says = !matches!(row.get("op"), Some("linear" | "norm" | "softmax"));
            if let Some(Shape { height, width, .. }) = output.filter(|_| says) {
                row.set("output", format_args!("{height}x{width}"));
            }
        }
    }

    fn preprocess(&self, options: &Options) -> String {
        let Shape { height, width, .. } = self.input;
        let imagenet = self.unknown_normalisation(options) && self.is_imagenet();
        let caffe = imagenet && self.is_caffe;
        let bytes = vec![1.0 / 255.0; self.input.channels];
        let (mean, std) = match self.prepared {
            Some(Prepared::Bytes) if self.unknown_normalisation(options) => (&[][..], &bytes[..]),
            None if caffe => (&CAFFE.0[..], &CAFFE.1[..]),
            None if imagenet => (&IMAGENET.0[..], &IMAGENET.1[..]),
            _ => (&options.mean[..], &options.std[..]),
        };
        let longer = height.max(width);
        // What is cut out is a share of what was scaled.
        let scaled = |size: usize| match self.crop {
            Some(share) => ((size as f64 / share).floor() as usize).max(size),
            None if imagenet => size * 8 / 7,
            None => size,
        };
        let resize = match options.resize {
            Some(shorter) => shorter.to_string(),
            None if self.squashes => format!("{}x{}", scaled(height), scaled(width)),
            None => scaled(longer).to_string(),
        };
        let crop = if height == width { height.to_string() } else { format!("{height}x{width}") };
        let mut text = format!("preprocess: {{resize: {resize}, crop: {crop}");
        if self.filter != Filter::default() {
            let _ = write!(text, ", filter: {}", self.filter);
        }
        for (word, numbers) in [("mean", mean), ("std", std)] {
            if !numbers.is_empty() {
                let _ = write!(text, ", {word}: {numbers:?}");
            }
        }
        if caffe || self.blue_first {
            text += ", channels: bgr";
        }
        text + "}\n"
    }
}

/// The file of a network's labels.
pub(crate) fn labels_file(name: &str) -> String {
    format!("{name}.labels.txt")
}

/// Four digits of a large number, as `expect` takes them.
fn digits(count: u64) -> String {
    if count < 10_000 { count.to_string() } else { format!("{count:.3e}", count = count as f64) }
}
