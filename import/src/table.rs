//! Writes the layer table of a network whose parts were found, and says which tensor is which.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use resnet_compiler::graph::{Graph, NodeId};
use resnet_compiler::spec::{Shortcut, Spec, StrideOn};

use crate::Options;
use crate::error::Fault;
use crate::names::{Attention, Block, Network, Stage};

/// What ImageNet's networks are trained with.
const IMAGENET: ([f64; 3], [f64; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// The order of the cells of a row.
const COLUMNS: [&str; 19] = [
    "layer",
    "op",
    "kernel",
    "repeat",
    "channels",
    "stride",
    "width",
    "groups",
    "stride_on",
    "shortcut",
    "projection_norm",
    "squeeze_excitation",
    "eca",
    "norm",
    "bias",
    "activation",
    "weights",
    "norm_weights",
    "output",
];

type Row = BTreeMap<&'static str, String>;

/// A table and what follows from it.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) yaml: String,
    pub(crate) notes: Vec<String>,
    /// Every tensor of the network: its name in the table's weights, its shape, and its name in the
    /// checkpoint.
    pub(crate) tensors: Vec<(String, Vec<usize>, String)>,
}

/// Modules by their names in the table's weights; the values are their names in the checkpoint.
type Renamed = BTreeMap<String, String>;

struct Writer<'a> {
    network: &'a Network,
    options: &'a Options,
    /// Whether tensors keep their names, but for what all of them begin with.
    keeps_names: bool,
    rows: Vec<Row>,
    modules: Renamed,
    notes: Vec<String>,
}

/// Derives the table. `source` is the checkpoint, for the comment at its head.
pub(crate) fn derive(
    network: &Network,
    options: &Options,
    name: &str,
    source: &str,
) -> Result<Table, Fault> {
    let mut writer = Writer {
        network,
        options,
        keeps_names: true,
        rows: Vec::new(),
        modules: Renamed::new(),
        notes: Vec::new(),
    };
    writer.rows()?;
    if writer.modules.iter().any(|(name, old)| name != old) {
        // Prefixes alone cannot express the names, so all become the ones that tables default to.
        writer = Writer { keeps_names: false, ..writer };
        (writer.rows, writer.modules, writer.notes) = Default::default();
        writer.rows()?;
        writer.notes.push("tensors are renamed to what tables expect by default".to_owned());
    }
    let head = writer.head(name);
    let graph = build(&writer.text(&head))?;
    writer.claim(&graph);
    let mut yaml = format!("# Made by `resnet import` from {source}.\n");
    for note in &writer.notes {
        let _ = writeln!(yaml, "# {note}");
    }
    let macs = digits(graph.macs);
    yaml += &writer.text(&head);
    let _ = writeln!(
        yaml,
        "expect: {{depth: {}, params: {}, macs: {macs}}}",
        graph.depth, graph.params
    );
    yaml += &writer.preprocess(&graph);
    let graph = build(&yaml)?;
    let tensors = writer.tensors(&graph)?;
    Ok(Table { yaml, notes: writer.notes, tensors })
}

/// The network of a table that was derived. A checkpoint that contradicts itself has a wrong one.
fn build(yaml: &str) -> Result<Graph, Fault> {
    let diagnose = |error| Fault::Unknown(format!("the derived table is wrong:\n{error}"));
    let spec = Spec::from_yaml_named(yaml, "derived.yaml").map_err(diagnose)?;
    Graph::build(&spec).map_err(diagnose)
}

/// Four digits of a large number, as `expect` takes them.
fn digits(count: u64) -> String {
    if count < 10_000 { count.to_string() } else { format!("{count:.3e}", count = count as f64) }
}

impl Writer<'_> {
    fn rows(&mut self) -> Result<(), Fault> {
        self.stem();
        let strides = self.strides()?;
        for (index, (stage, stride)) in self.network.stages.iter().zip(strides).enumerate() {
            self.stage(index, stage, stride)?;
        }
        if let Some(norm) = &self.network.norm {
            let mut row = row("norm", "norm");
            let weights = self.named(norm, "norm");
            self.weights(&mut row, "weights", &weights, "norm");
            self.rows.push(row);
        }
        self.rows.push(row("avgpool", "global_average_pool"));
        match &self.network.linear {
            Some(linear) => {
                let mut row = row("fc", "linear");
                row.insert("channels", linear.classes.to_string());
                let weights = self.named(&linear.module, "fc");
                self.weights(&mut row, "weights", &weights, "fc");
                self.rows.push(row);
            }
            None => self.notes.push("there is no classifier; the answers are features".to_owned()),
        }
        Ok(())
    }

    fn stem(&mut self) {
        let stem = &self.network.stem;
        let deep = stem.len() > 1;
        for (index, unit) in (1..).zip(stem) {
            let conv = &unit.conv;
            let layer = if deep { format!("stem{index}") } else { "conv1".to_owned() };
            let mut row = row(&layer, "conv");
            let [rows, columns] = conv.kernel;
            let kernel =
                if rows == columns { rows.to_string() } else { format!("{rows}x{columns}") };
            row.insert("kernel", kernel);
            row.insert("channels", conv.channels.to_string());
            if index == 1 && (deep || conv.kernel[0] > 3) {
                row.insert("stride", "2".to_owned());
            }
            let (default, default_norm) = (format!("conv{index}"), format!("bn{index}"));
            let weights = self.named(&conv.module, &default);
            if conv.bias == unit.norm.is_none() {
                // What is left out means this.
            } else {
                row.insert("bias", conv.bias.to_string());
            }
            match &unit.norm {
                Some(norm) => {
                    let norm = self.named(norm, &default_norm);
                    if weights != default || norm != default_norm {
                        row.insert("weights", weights);
                        row.insert("norm_weights", norm);
                    }
                }
                None => {
                    row.insert("norm", "none".to_owned());
                    self.weights(&mut row, "weights", &weights, &default);
                }
            }
            if self.network.pre_activation && index == stem.len() {
                row.insert("activation", "none".to_owned());
            }
            self.rows.push(row);
        }
        let large = deep || stem.first().is_some_and(|unit| unit.conv.kernel[0] > 3);
        if self.options.pool.unwrap_or(large) {
            let mut row = row("pool1", "max_pool");
            row.insert("kernel", "3".to_owned());
            row.insert("stride", "2".to_owned());
            self.rows.push(row);
        }
        if let (None, false) = (self.options.pool, stem.is_empty()) {
            let (what, flag) = if large { ("a", "false") } else { ("no", "true") };
            self.notes
                .push(format!("assumed: {what} max pool after the stem (else `--pool {flag}`)"));
        }
    }

    /// The stride of each stage.
    fn strides(&mut self) -> Result<Vec<usize>, Fault> {
        let stages = &self.network.stages;
        if !self.options.strides.is_empty() {
            if self.options.strides.len() != stages.len() {
                return Err(Fault::Unknown(format!(
                    "{} strides were given for {} stages",
                    self.options.strides.len(),
                    stages.len()
                )));
            }
            return Ok(self.options.strides.clone());
        }
        let projects = |stage: &Stage| stage.blocks.iter().all(|block| block.shortcut.is_some());
        let mut channels = self.network.stem.last().map_or(0, |unit| unit.conv.channels);
        let mut strides = Vec::new();
        for (index, stage) in stages.iter().enumerate() {
            let before = std::mem::replace(&mut channels, outputs(stage));
            let changes = before != channels;
            let first = &stage.blocks[0];
            // A projection where channels stay must be there for a stride, and none means that there is
            // no stride; unless every block has one.
            let stride = match (first.shortcut.is_some(), changes) {
                (true, false) if stage.blocks.len() == 1 || !projects(stage) => 2,
                (false, false) => 1,
                _ if index == 0 => 1,
                _ => 2,
            };
            strides.push(stride);
        }
        let shown: Vec<String> = strides.iter().map(usize::to_string).collect();
        self.notes.push(format!(
            "assumed: the stages' strides are {shown} (else `--strides {shown}`)",
            shown = shown.join(",")
        ));
        Ok(strides)
    }

    fn stage(&mut self, index: usize, stage: &Stage, stride: usize) -> Result<(), Fault> {
        let first = &stage.blocks[0];
        let bottleneck = first.convs.len() == 3;
        let op = if bottleneck { "bottleneck" } else { "basic" };
        let mut row = row(&format!("conv{}_x", index + 2), op);
        let channels = outputs(stage);
        row.insert("repeat", stage.blocks.len().to_string());
        row.insert("channels", channels.to_string());
        if stride != 1 {
            row.insert("stride", stride.to_string());
        }
        let default = format!("layer{}", index + 1);
        let prefix = self.named_prefix(&stage.prefix, &default);
        self.weights(&mut row, "weights", &prefix, &default);
        if bottleneck {
            self.bottleneck(&mut row, first, channels, stride);
        }
        if first.convs[0].bias {
            row.insert("bias", "true".to_owned());
        }
        match &first.attention {
            Some(Attention::SqueezeExcitation(_, middle)) => {
                row.insert("squeeze_excitation", format!("{{channels: {middle}}}"));
            }
            Some(Attention::Efficient(_, kernel)) => drop(row.insert("eca", kernel.to_string())),
            None => {}
        }
        let shortcut = self.shortcut(index, stage);
        if let Some(word) = word(shortcut) {
            row.insert("shortcut", word.to_owned());
        }
        let projection = stage.blocks.iter().find_map(|block| block.shortcut.as_ref());
        if let Some(projection) = projection
            && projection.norm.is_some() == self.network.pre_activation
        {
            let norm = if projection.norm.is_some() { "batch" } else { "none" };
            row.insert("projection_norm", norm.to_owned());
        }
        for (number, block) in stage.blocks.iter().enumerate() {
            if block.convs.len() != first.convs.len() {
                return Err(Fault::Unknown(format!(
                    "`{}` has both basic blocks and bottlenecks",
                    stage.prefix
                )));
            }
            self.block(&format!("{prefix}.{number}"), block, shortcut);
        }
        self.rows.push(row);
        Ok(())
    }

    fn bottleneck(&mut self, row: &mut Row, block: &Block, channels: usize, stride: usize) {
        let [first, middle] = [&block.convs[0], &block.convs[1]];
        let width = first.channels;
        if width.checked_mul(4) != Some(channels) {
            row.insert("width", width.to_string());
        }
        // What does not divide has another shape than the table's, and is found out by that.
        let groups = width / middle.inputs;
        if groups != 1 {
            row.insert("groups", groups.to_string());
        }
        if self.options.stride_on == Some(StrideOn::First) {
            row.insert("stride_on", "1x1".to_owned());
        } else if self.options.stride_on.is_none() && stride != 1 {
            let note = "assumed: bottlenecks have their stride on the 3x3 convolution (else \
                        `--stride-on 1x1`)";
            if !self.notes.iter().any(|found| found == note) {
                self.notes.push(note.to_owned());
            }
        }
    }

    /// What the blocks of a stage have beside their main path.
    fn shortcut(&mut self, index: usize, stage: &Stage) -> Shortcut {
        if let Some(shortcut) = self.options.shortcut {
            return shortcut;
        }
        let stages = &self.network.stages;
        let blocks = || stages.iter().flat_map(|stage| &stage.blocks);
        let Some(projection) = blocks().find_map(|block| block.shortcut.as_ref()) else {
            if index == 0 {
                self.notes.push(
                    "assumed: shortcuts without weights are strided identities with zeros for new \
                     channels (else `--shortcut none`, a plain network)"
                        .to_owned(),
                );
            }
            return Shortcut::ZeroPad;
        };
        let all = stage.blocks.iter().all(|block| block.shortcut.is_some());
        if all && stage.blocks.len() > 1 {
            return Shortcut::ProjectAll;
        }
        if projection.second {
            return Shortcut::PoolProjection;
        }
        // The names of timm's pre-activation networks do not tell; those with a deep stem are D.
        if self.network.pre_activation && self.network.stem.len() > 1 {
            if index == 0 {
                let note = "assumed: shortcuts pool before they project, as the stem is deep (else \
                            `--shortcut projection`)";
                self.notes.push(note.to_owned());
            }
            return Shortcut::PoolProjection;
        }
        Shortcut::Projection
    }

    fn block(&mut self, prefix: &str, block: &Block, shortcut: Shortcut) {
        let pre_activation = self.network.pre_activation;
        let norm_word = if pre_activation { "norm" } else { "bn" };
        let mut modules = Vec::new();
        for (number, (conv, norm)) in (1..).zip(block.convs.iter().zip(&block.norms)) {
            modules.push((format!("conv{number}"), &conv.module));
            modules.push((format!("{norm_word}{number}"), &norm.module));
        }
        if let Some(projection) = &block.shortcut {
            let index = usize::from(shortcut == Shortcut::PoolProjection);
            let [conv, norm] = match pre_activation {
                true => ["conv", "norm"].map(str::to_owned),
                false => [index, index + 1].map(|index| index.to_string()),
            };
            modules.push((format!("downsample.{conv}"), &projection.conv.module));
            if let Some(module) = &projection.norm {
                modules.push((format!("downsample.{norm}"), module));
            }
        }
        for (inner, module) in modules {
            self.modules.insert(format!("{prefix}.{inner}"), module.clone());
        }
        let parts: &[&str] = match &block.attention {
            Some(Attention::SqueezeExcitation(..)) => &["fc1", "fc2"],
            Some(Attention::Efficient(..)) => &["conv"],
            None => &[],
        };
        if let Some(Attention::SqueezeExcitation(module, _) | Attention::Efficient(module, _)) =
            &block.attention
        {
            for part in parts {
                self.modules.insert(format!("{prefix}.se.{part}"), format!("{module}.{part}"));
            }
        }
    }

    /// The name of a module in the table's weights.
    fn named(&mut self, module: &str, default: &str) -> String {
        let name = self.named_prefix(module, default);
        self.modules.insert(name.clone(), module.to_owned());
        name
    }

    fn named_prefix(&self, prefix: &str, default: &str) -> String {
        if self.keeps_names { prefix } else { default }.to_owned()
    }

    /// Writes a name where it is not what the table expects by default.
    fn weights(&self, row: &mut Row, field: &'static str, name: &str, default: &str) {
        if name != default {
            row.insert(field, name.to_owned());
        }
    }

    /// What stands before the rows.
    fn head(&mut self, name: &str) -> String {
        let stem = self.network.stem.first().map(|unit| &unit.conv);
        let first = stem.unwrap_or(&self.network.stages[0].blocks[0].convs[0]);
        let large = first.kernel[0] > 3 || self.network.stem.len() > 1;
        let (height, width) = self.options.input.unwrap_or_else(|| {
            let size = if large { 224 } else { 32 };
            self.notes.push(format!("assumed: pictures of {size}x{size} (else `--input HxW`)"));
            (size, size)
        });
        let mut head = format!("name: {name}\ninput: {}x{height}x{width}\n", first.inputs);
        if let Some(epsilon) = self.options.norm_epsilon {
            let _ = writeln!(head, "norm_epsilon: {epsilon}");
        } else {
            let note = "assumed: batch norm's epsilon is 1e-5 (else `--norm-epsilon`)";
            self.notes.push(note.to_owned());
        }
        if self.network.pre_activation {
            head += "pre_activation: true\n";
        }
        let classes = self.network.linear.as_ref().map(|linear| linear.classes);
        if self.options.mean.is_empty() && self.options.std.is_empty() {
            self.notes.push(if classes == Some(1000) && first.inputs == 3 {
                "assumed: pictures are normalised as for ImageNet (else `--mean`, `--std`)"
                    .to_owned()
            } else {
                "unknown: how pictures are normalised (`--mean`, `--std`)".to_owned()
            });
        }
        head
    }

    /// The table with aligned columns.
    fn text(&self, head: &str) -> String {
        let widths = COLUMNS.map(|column| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.len() + column.len() + 4).max().unwrap_or(0)
        });
        let mut text = format!("{head}table:\n");
        for row in &self.rows {
            let mut line = String::new();
            for (column, width) in COLUMNS.iter().zip(widths) {
                let cell = row.get(column).map(|cell| format!("{column}: {cell}, "));
                let _ = write!(line, "{:width$}", cell.unwrap_or_default());
            }
            let line = line.trim_end().trim_end_matches(',');
            let _ = writeln!(text, "  - {{{line}}}");
        }
        text
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
            if let Some(shape) = output.filter(|_| row["op"] != "linear" && row["op"] != "norm") {
                row.insert("output", format!("{}x{}", shape.height, shape.width));
            }
        }
    }

    fn preprocess(&self, graph: &Graph) -> String {
        let shape = graph.input_shape();
        let (mean, std) = (&self.options.mean, &self.options.std);
        let imagenet = mean.is_empty()
            && std.is_empty()
            && self.network.linear.as_ref().is_some_and(|linear| linear.classes == 1000)
            && shape.channels == 3;
        let (mean, std) =
            if imagenet { (&IMAGENET.0[..], &IMAGENET.1[..]) } else { (&mean[..], &std[..]) };
        let longer = shape.height.max(shape.width);
        let resize = self.options.resize.unwrap_or(if imagenet { longer * 8 / 7 } else { longer });
        let crop = match (shape.height, shape.width) {
            (height, width) if height == width => height.to_string(),
            (height, width) => format!("{height}x{width}"),
        };
        let mut text = format!("preprocess: {{resize: {resize}, crop: {crop}");
        for (word, numbers) in [("mean", mean), ("std", std)] {
            if !numbers.is_empty() {
                let _ = write!(text, ", {word}: {numbers:?}");
            }
        }
        text + "}\n"
    }

    /// Pairs the tensors of the table's network with those of the checkpoint.
    fn tensors(&self, graph: &Graph) -> Result<Vec<(String, Vec<usize>, String)>, Fault> {
        let mut unused = self.modules.clone();
        let pairs = graph.tensors.iter().map(|tensor| {
            let (module, part) = tensor.name.rsplit_once('.').unwrap_or(("", &tensor.name));
            unused.remove(module);
            match self.modules.get(module) {
                Some(old) => {
                    let old = format!("{}{old}.{part}", self.network.wrapper);
                    Ok((tensor.name.clone(), tensor.shape.clone(), old))
                }
                None => Err(Fault::Unknown(format!(
                    "the derived network needs `{module}`, which the checkpoint does not have; stages \
                     whose blocks differ are not known"
                ))),
            }
        });
        let pairs = pairs.collect::<Result<_, _>>()?;
        match unused.values().next() {
            Some(module) => Err(Fault::Unknown(format!(
                "`{module}` has no place in the derived network; stages whose blocks differ are not \
                 known"
            ))),
            None => Ok(pairs),
        }
    }
}

fn row(layer: &str, op: &str) -> Row {
    Row::from([("layer", layer.to_owned()), ("op", op.to_owned())])
}

/// Output channels of a stage.
fn outputs(stage: &Stage) -> usize {
    stage.blocks[0].convs.last().map_or(0, |conv| conv.channels)
}

/// The table's word, or nothing for what it means if it is left out.
fn word(shortcut: Shortcut) -> Option<&'static str> {
    Some(match shortcut {
        Shortcut::Projection => return None,
        Shortcut::PoolProjection => "pool_projection",
        Shortcut::ZeroPad => "zero_pad",
        Shortcut::ProjectAll => "project_all",
        Shortcut::None => "none",
    })
}
