//! What is known of a network: the data of all views, and of the JSON.

use std::collections::HashMap;

use resnet_compiler::fuse::Fused;
use resnet_compiler::geometry::Shape;
use resnet_compiler::graph::{Graph, NodeId, ReceptiveField};
use resnet_compiler::plan::{Levels, Plan};
use resnet_compiler::profile::Work;
use resnet_compiler::report::{Layer as Counts, Report as Counted};
use resnet_compiler::schedule::Schedule;
use resnet_compiler::spec::{RowOp, Spec};
use resnet_compiler::warnings::Line;
use resnet_runtime::kernels::Element;
use serde::Serialize;

use crate::profile::Profile;

/// Channels, rows and columns.
pub type Dimensions = [usize; 3];

/// A network. What it has in common with [`Counted`], the JSON of `check`, has the same names and figures there.
#[derive(Clone, Debug, Serialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Shape of the picture.
    pub input: Dimensions,
    /// Shape of the answer.
    pub output: Dimensions,
    /// Names and shapes of the features that the answer consists of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<(String, Dimensions)>,
    /// Weighted layers, projections not counted.
    pub depth: usize,
    /// Weights, biases and norms' scales and shifts.
    pub params: u64,
    /// Multiply-adds for one picture.
    pub macs: u64,
    /// Two for each multiply-add.
    pub flops: u64,
    /// Pictures that memory, bytes and times are of.
    pub batch: usize,
    /// Bytes of activations and of one thread's scratch.
    pub arena_bytes: u64,
    /// Bytes of all weights as they are packed.
    pub weight_bytes: u64,
    /// Convolutions and linear layers whose weights are 8-bit integers.
    pub quantised_layers: usize,
    /// What the table is warned of.
    pub warnings: Vec<Line>,
    /// The table.
    pub table: Table,
    /// The rows of the table.
    pub stages: Vec<Stage>,
    /// The layers, as `check` has them.
    pub layers: Vec<Layer>,
    /// The operators of the graph, each after those that it reads.
    pub nodes: Vec<Node>,
    /// Where activations lie, from step to step.
    pub memory: Memory,
    /// What was measured, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
}

/// The text that the network was written as.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// The name of its file, or of the network in the zoo.
    pub file: String,
    /// The text.
    pub text: String,
}

/// A row of the table, with all its blocks.
#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    /// The row's name.
    pub name: String,
    /// Its operation, in the table's word.
    pub op: &'static str,
    /// The line of the table that it begins in, from 1.
    pub line: usize,
    /// How many blocks it has, if it consists of blocks.
    pub blocks: Option<usize>,
    /// The table's word for what stands beside the blocks' main path.
    pub shortcut: Option<&'static str>,
    /// What it reads.
    pub input: Dimensions,
    /// What it makes.
    pub output: Dimensions,
    /// Of all its layers.
    pub params: u64,
    /// Multiply-adds of all its layers, for one picture.
    pub macs: u64,
    /// Bytes of its weights as they are packed.
    pub weight_bytes: u64,
    /// Bytes of activations that its steps read and write at least.
    pub activation_bytes: u64,
    /// Time of its steps, if it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<f64>,
}

/// A layer, with what computes it.
#[derive(Clone, Debug, Serialize)]
pub struct Layer {
    /// What `check` says of it.
    #[serde(flatten)]
    pub counts: Counts,
    /// Its operator, by its place among [`Network::nodes`].
    pub node: usize,
    /// Its row, by its place among [`Network::stages`].
    pub stage: usize,
    /// Its block of the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<usize>,
    /// What computes a convolution's sums.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<&'static str>,
    /// Whether they are sums of products of bytes.
    pub quantised: bool,
    /// Whether they are sums of products of `bf16`.
    pub bf16: bool,
    /// Bytes of its weights as they are packed.
    pub weight_bytes: u64,
    /// Bytes of activations that it reads and writes at least; none where it is a part of another layer's step.
    pub activation_bytes: u64,
    /// What one of its elements depends on.
    pub receptive_field: Field,
    /// Time of its steps, if it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<f64>,
}

/// A receptive field in pixels of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// From the first to the last row, both included.
    pub rows: i64,
    /// From the first to the last column.
    pub columns: i64,
    /// Rows and columns between neighbouring elements.
    pub stride: [i64; 2],
    /// Whether every pixel counts, through means over the whole picture.
    pub whole: bool,
}

/// An operator of the graph.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it computes, in one word.
    pub op: &'static str,
    /// The word with its constants, such as `conv 7x7/2`.
    pub operation: String,
    /// What it reads, by places among the nodes.
    pub inputs: Vec<usize>,
    /// What it makes.
    pub output: Dimensions,
    /// Its row; the picture has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<usize>,
    /// Its block of the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<usize>,
    /// The layer it is, if it is one by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
}

/// The arena, as a map of bytes and steps.
#[derive(Clone, Debug, Serialize)]
pub struct Memory {
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// Bytes of a thread's scratch.
    pub scratch_bytes: usize,
    /// What runs, one after the other; the copy of the answer comes last.
    pub steps: Vec<Step>,
    /// What lies where, and when.
    pub spaces: Vec<Space>,
}

/// An operator with all that is fused into it.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// Its operator, by its place among [`Network::nodes`].
    pub node: usize,
    /// Its row; the picture has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<usize>,
    /// The layer that it computes, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
}

/// A part of the arena that holds one value for some steps.
#[derive(Clone, Debug, Serialize)]
pub struct Space {
    /// The step that writes it.
    pub step: usize,
    /// Whether it holds points of a Winograd convolution's input, not an activation.
    pub points: bool,
    /// The activation's shape.
    pub shape: Dimensions,
    /// First byte.
    pub offset: usize,
    /// Bytes of all pictures.
    pub bytes: usize,
    /// The first and the last step that need it.
    pub steps: [usize; 2],
}

impl Network {
    /// Collects what the levels of a planned network say. `counted` is of the same table.
    pub fn new(
        spec: &Spec,
        counted: Counted,
        graph: &Graph,
        plan: &Plan,
        levels: &Levels,
        profile: Option<Profile>,
    ) -> Self {
        let (fused, schedule) = (&levels.fused, &levels.schedules[0]);
        let layers = layers(counted.layers, graph, fused, schedule, profile.as_ref());
        let places: HashMap<usize, usize> =
            layers.iter().enumerate().map(|(place, layer)| (layer.node, place)).collect();
        Self {
            name: counted.name,
            input: counted.input,
            output: counted.output,
            features: counted.features,
            depth: counted.depth,
            params: counted.params,
            macs: counted.macs,
            flops: counted.flops,
            batch: schedule.batch,
            arena_bytes: plan.info.arena_bytes as u64,
            weight_bytes: plan.weights.bytes as u64,
            quantised_layers: layers.iter().filter(|layer| layer.quantised).count(),
            warnings: counted.warnings,
            table: Table {
                file: spec.source.name().to_owned(),
                text: spec.source.text().to_owned(),
            },
            stages: stages(spec, graph, fused, schedule, &layers, profile.as_ref()),
            nodes: nodes(graph, &places),
            memory: memory(graph, fused, schedule, &places),
            layers,
            profile,
        }
    }

    /// Whether times were measured.
    pub fn is_timed(&self) -> bool {
        self.profile.is_some()
    }
}

impl Layer {
    /// What its products are of, behind the word of its algorithm, if it is not `f32`.
    pub(crate) fn format(&self) -> &'static str {
        match (self.quantised, self.bf16) {
            (true, _) => ", 8 bits",
            (_, true) => ", bf16",
            _ => "",
        }
    }
}

fn layers(
    counts: Vec<Counts>,
    graph: &Graph,
    fused: &Fused,
    schedule: &Schedule,
    profile: Option<&Profile>,
) -> Vec<Layer> {
    let fields = graph.receptive_fields();
    let layer = |counts: Counts| {
        let id = counts.node;
        let node = graph.node(id);
        let steps = fused.iter().filter(|(_, step)| step.node == id);
        let works: Vec<Work> = steps.map(|(step, _)| Work::new(fused, schedule, step)).collect();
        Layer {
            node: id.index(),
            stage: node.row.unwrap_or(0),
            block: node.block,
            algorithm: works.iter().find_map(|work| work.algorithm).map(|chosen| chosen.word()),
            quantised: works.iter().any(|work| work.element.is_quantised()),
            bf16: works.iter().any(|work| work.element == Element::Bf16),
            weight_bytes: works.iter().map(|work| work.weights).sum(),
            activation_bytes: works.iter().map(|work| work.activations).sum(),
            receptive_field: field(&fields[id.index()]),
            ms: profile.map(|profile| profile.ms(|other| other == id)),
            counts,
        }
    };
    counts.into_iter().map(layer).collect()
}

fn stages(
    spec: &Spec,
    graph: &Graph,
    fused: &Fused,
    schedule: &Schedule,
    layers: &[Layer],
    profile: Option<&Profile>,
) -> Vec<Stage> {
    let mut input = graph.input_shape();
    let stage = |(index, row): (usize, &resnet_compiler::spec::Row)| {
        let of_row = |node: NodeId| graph.node(node).row == Some(index);
        let own = layers.iter().filter(|layer| layer.stage == index);
        let count = |of: fn(&Counts) -> u64| own.clone().map(|layer| of(&layer.counts)).sum();
        let steps = fused.iter().filter(|(_, step)| of_row(step.node));
        let works: Vec<Work> = steps.map(|(id, _)| Work::new(fused, schedule, id)).collect();
        let last = graph.nodes.iter().rfind(|node| node.row == Some(index));
        let output = last.map_or(input, |node| node.shape);
        let block = match &row.op.value {
            RowOp::Block(block) => Some(block),
            _ => None,
        };
        Stage {
            name: row.layer.value.clone(),
            op: row.op.value.operation().word(),
            line: spec.source.line_column(row.span).0,
            blocks: block.map(|block| block.repeat.value),
            shortcut: block.map(|block| block.shortcut.value.word()),
            input: dimensions(std::mem::replace(&mut input, output)),
            output: dimensions(output),
            params: count(|counts| counts.params),
            macs: count(|counts| counts.macs),
            weight_bytes: works.iter().map(|work| work.weights).sum(),
            activation_bytes: works.iter().map(|work| work.activations).sum(),
            ms: profile.map(|profile| profile.ms(of_row)),
        }
    };
    spec.table.iter().enumerate().map(stage).collect()
}

fn nodes(graph: &Graph, layers: &HashMap<usize, usize>) -> Vec<Node> {
    let nodes = graph.nodes.iter().enumerate().map(|(place, node)| Node {
        name: node.name.clone(),
        op: node.op.kind(),
        operation: node.op.to_string(),
        inputs: node.inputs.iter().map(|id| id.index()).collect(),
        output: dimensions(node.shape),
        stage: node.row,
        block: node.block,
        layer: layers.get(&place).copied(),
    });
    nodes.collect()
}

fn memory(
    graph: &Graph,
    fused: &Fused,
    schedule: &Schedule,
    layers: &HashMap<usize, usize>,
) -> Memory {
    let step = |name: String, node: NodeId| Step {
        name,
        node: node.index(),
        stage: graph.node(node).row,
        layer: layers.get(&node.index()).copied(),
    };
    let mut steps: Vec<Step> =
        fused.nodes.iter().map(|node| step(node.name.clone(), node.node)).collect();
    steps.push(Step { layer: None, ..step("answer".to_owned(), graph.output) });
    let spaces = schedule.spaces(fused).into_iter().map(|space| Space {
        step: space.node.index(),
        points: space.points,
        shape: dimensions(fused.node(space.node).shape),
        offset: space.offset,
        bytes: space.bytes,
        steps: [*space.steps.start(), *space.steps.end()],
    });
    Memory {
        arena_bytes: schedule.arena_bytes,
        scratch_bytes: schedule.scratch_bytes,
        steps,
        spaces: spaces.collect(),
    }
}

fn field(field: &ReceptiveField) -> Field {
    Field {
        rows: field.rows.size,
        columns: field.columns.size,
        stride: [field.rows.stride, field.columns.stride],
        whole: field.whole,
    }
}

fn dimensions(shape: Shape) -> Dimensions {
    [shape.channels, shape.height, shape.width]
}
