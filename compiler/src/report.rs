//! What `check` prints: a line for every layer, and the totals.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

pub use crate::counts::{grouped, scaled};
use crate::geometry::Shape;
use crate::graph::{Graph, NodeId, Op};
use crate::warnings::{Line, Warnings};

/// Counts of a network and of each of its layers. Serialises to the JSON of `check`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The network's name.
    pub name: String,
    /// Channels, height and width of the picture.
    pub input: [usize; 3],
    /// Channels, height and width of the answer.
    pub output: [usize; 3],
    /// Names and shapes of the features that the answer consists of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<(String, [usize; 3])>,
    /// Weighted layers, projections not counted.
    pub depth: usize,
    /// Weights, biases and batch norm's scales and shifts.
    pub params: u64,
    /// Multiply-adds of convolutions and linear layers, for one picture.
    pub macs: u64,
    /// Floating-point operations: two for each multiply-add.
    pub flops: u64,
    /// Bytes of the memory that activations need while the network runs on one thread: the arena
    /// and a scratch, of which each further thread has one more. `None` if it was not planned.
    pub arena_bytes: Option<u64>,
    /// Of the weights that were given, if some were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PackedWeights>,
    /// Of a training step, if one was planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingMemory>,
    /// What the table is warned of.
    pub warnings: Vec<Line>,
    /// Convolutions, pools, shortcuts with work to do, linear layers and softmax, in order.
    pub layers: Vec<Layer>,
}

/// Weights in the form that a run reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PackedWeights {
    /// Bytes of all of them.
    pub bytes: u64,
    /// Convolutions and linear layers whose weights are 8-bit integers.
    pub quantised_layers: usize,
}

/// The bytes of a training step, by its plan; images, and what is made of them beside the step, are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TrainingMemory {
    /// Images of a step.
    pub batch: u64,
    /// All tensors, running statistics too.
    #[serde(rename = "weights_bytes")]
    pub weights: u64,
    /// What descent remembers of each tensor that is learned.
    #[serde(rename = "momentum_bytes")]
    pub momentum: u64,
    /// The tables by which weights are packed in each step.
    #[serde(rename = "tables_bytes")]
    pub tables: u64,
    /// Convolutions that are computed once more on the way back, so that nobody keeps what came of them.
    #[serde(rename = "recomputed_convolutions")]
    pub recomputed: u64,
    /// The part of the arena that is kept of the way forward when the way back begins: mostly activations.
    #[serde(rename = "kept_bytes")]
    pub kept: u64,
    /// All that is forgotten after a step: activations, their gradients, packed weights and theirs.
    #[serde(rename = "arena_bytes")]
    pub arena: u64,
    /// The scratch of each thread.
    #[serde(rename = "scratch_bytes")]
    pub scratch: u64,
}

impl TrainingMemory {
    /// What a step takes on so many threads.
    pub fn total(&self, threads: u64) -> u64 {
        self.weights + self.momentum + self.tables + self.arena + threads * self.scratch
    }
}

/// A line of a [`Report`]. A convolution's norm is counted with it; what only follows it
/// (ReLU, a gate, the addition) has no line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// Such as `conv2_x.0.conv1`.
    pub name: String,
    /// The node of the graph that it begins with.
    #[serde(skip)]
    pub node: NodeId,
    /// The table's word for it, such as `conv`.
    pub op: &'static str,
    /// The word with its constants, such as `conv 7x7/2`.
    #[serde(skip)]
    pub operation: String,
    /// Channels, height and width of what it reads.
    pub input: [usize; 3],
    /// Channels, height and width of what it makes.
    pub output: [usize; 3],
    /// Weights, biases, scales and shifts.
    pub params: u64,
    /// Multiply-adds.
    pub macs: u64,
}

impl Report {
    /// Counts a network. `arena_bytes` is the schedule's, if there is one.
    pub fn new(graph: &Graph, arena_bytes: Option<u64>) -> Self {
        Self {
            name: graph.name.clone(),
            input: dimensions(graph.input_shape()),
            output: dimensions(graph.output_shape()),
            features: graph
                .features
                .iter()
                .map(|feature| (feature.name.clone(), dimensions(graph.node(feature.node).shape)))
                .collect(),
            depth: graph.depth,
            params: graph.params,
            macs: graph.macs,
            flops: graph.macs.saturating_mul(2),
            arena_bytes,
            weights: None,
            training: None,
            warnings: Vec::new(),
            layers: layers(graph),
        }
    }

    /// The same with the warnings of the table.
    #[must_use]
    pub fn with_warnings(self, warnings: &Warnings) -> Self {
        Self { warnings: warnings.lines(), ..self }
    }

    /// The JSON of `check`, indented, without a newline at its end.
    pub fn json(&self) -> String {
        // Strings, numbers and lists of them always serialise.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

fn layers(graph: &Graph) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::new();
    let mut lines: HashMap<NodeId, usize> = HashMap::new();
    for (id, node) in (0..).map(NodeId).zip(&graph.nodes) {
        let cost = graph.cost(id);
        // The graph's own totals are u64, so each part fits.
        let (params, macs) = (cost.params as u64, cost.macs as u64);
        let input = node.inputs.first().copied();
        match &node.op {
            Op::Input | Op::Activation(_) | Op::Add | Op::Gate | Op::Slice(_) | Op::Concat => {}
            Op::BatchNorm(_) | Op::GroupNorm(_) if input.is_some_and(|id| is_conv(graph, id)) => {
                if let Some(&line) = input.and_then(|input| lines.get(&input)) {
                    layers[line].params += params;
                }
            }
            op => {
                lines.insert(id, layers.len());
                layers.push(Layer {
                    name: node.name.clone(),
                    node: id,
                    op: op.kind(),
                    operation: op.to_string(),
                    input: dimensions(input.map_or(node.shape, |input| graph.node(input).shape)),
                    output: dimensions(node.shape),
                    params,
                    macs,
                });
            }
        }
    }
    layers
}

fn is_conv(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.node(id).op, Op::Conv { .. })
}

/// The table and the totals, for a person; ends with a newline.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [input, output] = [self.input, self.output].map(shape);
        writeln!(f, "{}: {input} -> {output}\n", self.name)?;
        let mut rows =
            vec![["layer", "operation", "output", "params", "MACs", "share"].map(String::from)];
        rows.extend(self.layers.iter().map(|layer| {
            let share = 100.0 * layer.macs as f64 / self.macs.max(1) as f64;
            let counted = |count: u64, text: String| if count == 0 { String::new() } else { text };
            [
                layer.name.clone(),
                layer.operation.clone(),
                shape(layer.output),
                counted(layer.params, grouped(layer.params)),
                counted(layer.macs, scaled(layer.macs)),
                counted(layer.macs, format!("{share:.1}%")),
            ]
        }));
        let total =
            ["total", "", "", &grouped(self.params), &scaled(self.macs), ""].map(String::from);
        rows.push(total);
        let widths: [usize; 6] = std::array::from_fn(|column| {
            rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
        });
        let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1));
        for (index, [name, operation, output, params, macs, share]) in rows.iter().enumerate() {
            let [a, b, c, d, e, g] = widths;
            let line = format!(
                "{name:a$}  {operation:b$}  {output:>c$}  {params:>d$}  {macs:>e$}  {share:>g$}"
            );
            if index == 1 || index == rows.len() - 1 {
                writeln!(f, "{rule}")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        self.totals(f)
    }
}

impl Report {
    fn totals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        writeln!(
            f,
            "depth   {} (convolutions and linear layers, projections not counted)",
            self.depth
        )?;
        if !self.features.is_empty() {
            let features = self.features.iter().map(|(name, s)| format!("{name} {}", shape(*s)));
            writeln!(f, "answer  {}", features.collect::<Vec<_>>().join(", "))?;
        }
        writeln!(f, "params  {}", grouped(self.params))?;
        writeln!(f, "MACs    {} ({})", scaled(self.macs), grouped(self.macs))?;
        writeln!(f, "FLOPs   {} (two for each multiply-add)", scaled(self.flops))?;
        if let Some(bytes) = self.arena_bytes {
            writeln!(f, "arena   {}", memory(bytes))?;
        }
        if let Some(PackedWeights { bytes, quantised_layers }) = self.weights {
            write!(f, "weights {} as a run reads them", memory(bytes))?;
            match quantised_layers {
                0 => writeln!(f)?,
                1 => writeln!(f, ", 1 layer in 8 bits")?,
                many => writeln!(f, ", {many} layers in 8 bits")?,
            }
        }
        self.training.iter().try_for_each(|training| write!(f, "\n{training}"))
    }
}

impl fmt::Display for TrainingMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batch, weights, momentum, tables, recomputed, kept, arena, scratch } = *self;
        writeln!(f, "training, {batch} image{} a step", if batch == 1 { "" } else { "s" })?;
        for (what, bytes, note) in [
            ("weights", weights, ""),
            ("momentum", momentum, ""),
            ("tables", tables, ", by which weights are packed"),
            ("arena", arena, ""),
            ("  kept", kept, " of it for the way back"),
            ("scratch", scratch, ", each thread"),
            ("total", self.total(1), " on one thread"),
        ] {
            writeln!(f, "  {what:8}  {}{note}", memory(bytes))?;
        }
        if recomputed > 0 {
            writeln!(f, "  {recomputed} convolutions are computed again on the way back")?;
        }
        Ok(())
    }
}

fn memory(bytes: u64) -> String {
    format!("{:.2} MiB ({} bytes)", bytes as f64 / f64::from(1 << 20), grouped(bytes))
}

fn dimensions(shape: Shape) -> [usize; 3] {
    [shape.channels, shape.height, shape.width]
}

fn shape([channels, height, width]: [usize; 3]) -> String {
    Shape::new(channels, height, width).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;
    use crate::zoo;

    fn report(name: &str, arena_bytes: Option<u64>) -> Report {
        let spec = Spec::from_yaml(zoo::zoo(name).unwrap()).unwrap();
        Report::new(&Graph::build(&spec).unwrap(), arena_bytes)
    }

    #[test]
    fn layers_add_up_to_the_totals() {
        for (name, _) in zoo::ZOO {
            let report = report(name, None);
            let params: u64 = report.layers.iter().map(|layer| layer.params).sum();
            let macs: u64 = report.layers.iter().map(|layer| layer.macs).sum();
            assert_eq!((params, macs), (report.params, report.macs), "{name}");
        }
    }

    #[test]
    fn text_of_resnet18() {
        insta::assert_snapshot!(report("resnet18", Some(6_422_528)));
    }

    #[test]
    fn json_of_cifar_resnet20() {
        insta::assert_snapshot!(report("cifar-resnet20", None).json());
    }

    #[test]
    fn graph_of_cifar_resnet20() {
        let spec = Spec::from_yaml(zoo::zoo("cifar-resnet20").unwrap()).unwrap();
        insta::assert_snapshot!(Graph::build(&spec).unwrap());
    }
}
