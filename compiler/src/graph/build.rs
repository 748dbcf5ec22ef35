//! From a table to a graph: shapes, checks, names, counts.
//!
//! A row that is wrong is reported once. What follows goes on from the row's own claim about its
//! output if it makes one, and else is not checked for shapes, so that one mistake is one error.

use std::collections::HashMap;

use resnet_runtime::kernels::Activation;
use resnet_runtime::weights::{Init, Stored, TensorSpec};

use crate::counts::grouped;
use crate::diagnostics::{Diagnostic, Diagnostics, Span, Spanned};
use crate::graph::{Cost, Extent, Feature, Graph, Node, NodeId, Op, Shape, cost};
use crate::limits::{Limits, power};
use crate::spec::cell::closest;
use crate::spec::{Labels, Row, RowOp, Spec, expect};

/// Most operators of a network.
const MOST_NODES: usize = 100_000;

/// Most elements of an activation or a weight tensor.
pub(super) const MOST_ELEMENTS: u128 = Limits::HERE.elements;

/// Most elements of an activation with its padding, so that addresses stay far from overflowing.
pub(super) const MOST_PADDED: u128 = Limits::HERE.padded;

impl Graph {
    /// Infers every shape of a table and checks all that can be checked without a schedule.
    ///
    /// # Errors
    ///
    /// Every mistake found: windows that do not fit, channels that groups do not divide, claims
    /// (`input`, `output`, `expect`) that do not hold, tensors that share a name, and sizes past
    /// the limits (100,000 operators, 2^31 elements in a tensor, or 2^28 where addresses have 32 bits).
    pub fn build(spec: &Spec) -> Result<Self, Diagnostics> {
        let mut builder = Builder::new(spec);
        builder.check_features();
        let output = builder.table();
        builder.check_network(output);
        let Builder { nodes, rest, tensors, errors, depth, cost, features, .. } = builder;
        let graph = Self {
            name: spec.name.value.clone(),
            nodes,
            output: output.unwrap_or(NodeId(0)),
            features,
            rest,
            depth,
            // Without errors both are below the limit that `push` keeps.
            params: u64::try_from(cost.params).unwrap_or(u64::MAX),
            macs: u64::try_from(cost.macs).unwrap_or(u64::MAX),
            tensors,
        };
        Diagnostics::or(&spec.source, errors, graph)
    }
}

/// The graph so far. Methods that add to it answer `None` after they have pushed an error.
pub(super) struct Builder<'a> {
    pub(super) spec: &'a Spec,
    pub(super) nodes: Vec<Node>,
    /// What follows the last feature.
    rest: Vec<Node>,
    tensors: Vec<TensorSpec>,
    /// The row that owns each tensor name.
    owners: HashMap<String, usize>,
    pub(super) errors: Vec<Diagnostic>,
    pub(super) depth: usize,
    cost: Cost,
    /// The row at work.
    pub(super) row: usize,
    /// The block of it at work, if it has any.
    pub(super) block: Option<usize>,
    /// How the sizes of the row at work came about.
    pub(super) arithmetic: Vec<String>,
    /// The first `linear` or `softmax` row.
    head: Option<usize>,
    /// Set when a limit is passed: nothing after it is worth checking.
    full: bool,
    pub(super) conv_rows: usize,
    stages: usize,
    linear_rows: usize,
    norm_rows: usize,
    features: Vec<Feature>,
    /// Dilation of the last row of blocks.
    pub(super) dilation: Extent,
}

impl<'a> Builder<'a> {
    fn new(spec: &'a Spec) -> Self {
        Self {
            spec,
            nodes: Vec::new(),
            tensors: Vec::new(),
            owners: HashMap::new(),
            errors: Vec::new(),
            depth: 0,
            cost: Cost::default(),
            row: 0,
            block: None,
            arithmetic: Vec::new(),
            head: None,
            full: false,
            conv_rows: 0,
            stages: 0,
            linear_rows: 0,
            norm_rows: 0,
            rest: Vec::new(),
            features: Vec::new(),
            dilation: Extent::square(1),
        }
    }

    fn table(&mut self) -> Option<NodeId> {
        let shape = self.spec.input.value;
        if elements(shape) > MOST_ELEMENTS {
            self.errors.push(too_many_elements(self.spec.input.span, "the input", shape));
            return None;
        }
        let mut cursor = Some(self.assume(shape));
        let mut wanted = None;
        for (index, row) in self.spec.table.iter().enumerate() {
            self.row = index;
            self.arithmetic.clear();
            let prefix = self.prefix(row);
            let input = self.check_input(row, cursor);
            let output = input.and_then(|input| self.operation(row, input, &prefix));
            if self.full {
                return None;
            }
            self.check_upsample(row, input, output);
            cursor = self.check_output(row, input, output);
            if let Some(node) = cursor
                && self.spec.features.iter().any(|feature| feature.value == row.layer.value)
            {
                self.features.push(Feature { name: row.layer.value.clone(), node });
                wanted = Some((node, self.nodes.len(), self.depth, self.cost));
            }
        }
        // What comes after the last feature is checked, and its tensors may be in the weights, but
        // nothing of it is computed.
        if let Some((node, nodes, depth, cost)) = wanted
            && self.errors.is_empty()
        {
            self.rest = self.nodes.split_off(nodes);
            (self.depth, self.cost) = (depth, cost);
            cursor = Some(node);
        }
        cursor
    }

    /// Features are rows of the table, each named once, in the table's order.
    fn check_features(&mut self) {
        let table = &self.spec.table;
        let mut before: Option<(usize, &Spanned<String>)> = None;
        for feature in &self.spec.features {
            let name = &feature.value;
            let Some(row) = table.iter().position(|row| row.layer.value == *name) else {
                let names: Vec<&str> = table.iter().map(|row| row.layer.value.as_str()).collect();
                let message = format!("there is no layer `{name}`");
                let diagnostic = Diagnostic::new(feature.span, message);
                self.errors.push(match closest(name, &names) {
                    Some(near) => diagnostic
                        .help(format!("did you mean `{near}`?"))
                        .fix_word(feature.span, near),
                    None => diagnostic.help("write the name of a row, its `layer`"),
                });
                continue;
            };
            match before {
                Some((earlier, other)) if earlier >= row => self.errors.push(
                    Diagnostic::new(feature.span, format!("`{name}` after `{}`", other.value))
                        .help("name each row once, in the table's order"),
                ),
                _ => before = Some((row, feature)),
            }
        }
        if let (Some(labels), Some(feature)) = (&self.spec.labels, self.spec.features.first()) {
            self.errors.push(
                Diagnostic::new(labels.span, "`labels` of features, which are no classes")
                    .related(feature.span, "the network answers with these")
                    .help("remove one of them"),
            );
        }
    }

    /// A node that stands for a shape that is only claimed; also the input.
    pub(super) fn assume(&mut self, shape: Shape) -> NodeId {
        let name = "input".to_string();
        self.nodes.push(Node {
            name,
            row: None,
            block: None,
            op: Op::Input,
            inputs: Vec::new(),
            shape,
        });
        NodeId::at(self.nodes.len() - 1)
    }

    pub(super) fn shape(&self, id: NodeId) -> Shape {
        self.nodes[id.index()].shape
    }

    /// The state-dict prefix of a row: its own, or torchvision's name for it.
    fn prefix(&mut self, row: &Row) -> String {
        let default = match row.op.value {
            RowOp::Conv(_) => {
                self.conv_rows += 1;
                format!("conv{}", self.conv_rows)
            }
            RowOp::Block(_) => {
                self.stages += 1;
                format!("layer{}", self.stages)
            }
            RowOp::Norm { .. } => {
                self.norm_rows += 1;
                if self.norm_rows == 1 { "norm".into() } else { format!("norm{}", self.norm_rows) }
            }
            RowOp::Linear { .. } => {
                self.linear_rows += 1;
                if self.linear_rows == 1 { "fc".into() } else { format!("fc{}", self.linear_rows) }
            }
            RowOp::Pool(_) | RowOp::Blur(_) | RowOp::GlobalAveragePool | RowOp::Softmax => {
                String::new()
            }
        };
        row.weights.as_ref().map_or(default, |weights| weights.value.clone())
    }

    fn operation(&mut self, row: &Row, input: NodeId, prefix: &str) -> Option<NodeId> {
        let head = matches!(row.op.value, RowOp::Linear { .. } | RowOp::Softmax);
        match self.head {
            Some(first) if !head => {
                let first = &self.spec.table[first];
                let after = &first.layer.value;
                self.errors.push(
                    Diagnostic::new(
                        row.op.span,
                        format!("`{}` comes after `{after}`", row.layer.value),
                    )
                    .related(first.op.span, "the network's head begins here")
                    .help("after `linear` or `softmax` only `linear` and `softmax` may come"),
                );
                return None;
            }
            None if head => self.head = Some(self.row),
            _ => {}
        }
        let name = row.layer.value.clone();
        match &row.op.value {
            RowOp::Conv(conv) => self.conv_row(row, conv, input, prefix),
            RowOp::Pool(pool) => self.pool(row, pool, input),
            RowOp::Blur(window) => self.blur_row(row, window, input),
            RowOp::Block(block) => self.blocks(row, block, input, prefix),
            RowOp::Norm { norm, activation } => {
                let (row, activation) = (name.clone(), activation.unwrap_or(self.spec.activation));
                let node = self.norm(*norm, name, input, prefix, false)?;
                self.activate(&row, None, activation, node)
            }
            RowOp::GlobalAveragePool => {
                let shape = Shape::new(self.shape(input).channels, 1, 1);
                self.push(name, Op::GlobalAveragePool, vec![input], shape)
            }
            RowOp::Linear { channels, activation } => {
                let node = self.linear(row, *channels, input, prefix)?;
                self.activate(&name, None, *activation, node)
            }
            RowOp::Softmax => {
                let shape = self.shape(input);
                if shape.pixels() != 1 {
                    self.errors.push(
                        Diagnostic::new(row.op.span, format!("softmax of {shape}"))
                            .label("needs a height and width of 1x1")
                            .help("put `global_average_pool` or `linear` before it"),
                    );
                    return None;
                }
                self.push(name, Op::Softmax, vec![input], shape)
            }
        }
    }

    fn linear(
        &mut self,
        row: &Row,
        channels: Spanned<usize>,
        input: NodeId,
        prefix: &str,
    ) -> Option<NodeId> {
        let shape = self.shape(input);
        let fan_in = elements(shape);
        if fan_in * channels.value as u128 > MOST_ELEMENTS {
            self.errors.push(
                too_many_weights(channels.span, &row.layer.value)
                    .note(format!("{} x {shape}", channels.value))
                    .help("put `global_average_pool` before it"),
            );
            return None;
        }
        let (weight, bias) = (format!("{prefix}.weight"), format!("{prefix}.bias"));
        let init = Init::Normal((1.0 / fan_in as f64).sqrt() as f32);
        self.tensor(&weight, vec![channels.value, fan_in as usize], init)?;
        self.tensor(&bias, vec![channels.value], Init::Uniform(-0.1, 0.1))?;
        self.depth += 1;
        let output = Shape::new(channels.value, 1, 1);
        let name = row.layer.value.clone();
        self.push(name, Op::Linear { weight, bias }, vec![input], output)
    }

    /// An activation of the row or block `of`, the `number`th if it has several; `input` itself if it
    /// is none.
    pub(super) fn activate(
        &mut self,
        of: &str,
        number: Option<usize>,
        activation: Activation,
        input: NodeId,
    ) -> Option<NodeId> {
        if activation == Activation::None {
            return Some(input);
        }
        let number = number.map_or(String::new(), |number| number.to_string());
        let name = format!("{of}.{activation}{number}");
        self.push(name, Op::Activation(activation), vec![input], self.shape(input))
    }

    pub(super) fn tensor(&mut self, name: &str, shape: Vec<usize>, init: Init) -> Option<()> {
        if let Some(owner) = self.owners.insert(name.into(), self.row) {
            let cell = |row: &Row| row.weights.as_ref().map_or(row.layer.span, |cell| cell.span);
            let place = cell(&self.spec.table[self.row]);
            let diagnostic =
                Diagnostic::new(place, format!("the tensor `{name}` would be used twice"));
            let diagnostic = if owner == self.row {
                diagnostic
            } else {
                diagnostic.related(cell(&self.spec.table[owner]), "first here")
            };
            self.errors.push(
                diagnostic.help("give each row its own `weights` (and `norm_weights`) prefix"),
            );
            return None;
        }
        self.tensors.push(TensorSpec {
            name: name.to_owned().into(),
            shape: shape.into(),
            stored: Stored::Float,
            init,
        });
        Some(())
    }

    /// Adds a node of the row at work.
    pub(super) fn push(
        &mut self,
        name: String,
        op: Op,
        inputs: Vec<NodeId>,
        shape: Shape,
    ) -> Option<NodeId> {
        self.cost += cost::cost(&op, inputs.first().map_or(shape, |&id| self.shape(id)), shape);
        let complaint = if self.nodes.len() >= MOST_NODES {
            Some("the network has more than 100,000 operators")
        } else if self.cost.macs > u128::from(u64::MAX / 2) {
            Some("the network has more than 2^63 multiply-adds")
        } else {
            None
        };
        if let Some(complaint) = complaint {
            self.full = true;
            let row = &self.spec.table[self.row];
            let (place, help) = match &row.op.value {
                RowOp::Block(block) => (block.repeat.span, "repeat fewer blocks, or narrower ones"),
                _ => (row.op.span, "use fewer or smaller rows"),
            };
            self.errors.push(Diagnostic::new(place, complaint).help(help));
            return None;
        }
        self.nodes.push(Node { name, row: Some(self.row), block: self.block, op, inputs, shape });
        Some(NodeId::at(self.nodes.len() - 1))
    }

    /// The checks that need the whole network to be right.
    fn check_network(&mut self, output: Option<NodeId>) {
        let (true, Some(output)) = (self.errors.is_empty(), output) else { return };
        let shape = self.shape(output);
        if let Some(Spanned { value: Labels::Names(names), span }) = &self.spec.labels
            && names.len() != shape.elements()
        {
            let message = format!("{} labels for an output of {shape}", names.len());
            self.errors.push(
                Diagnostic::new(*span, message)
                    .help(format!("write {} names, one a class", grouped(shape.elements() as u64))),
            );
        }
        let expect = &self.spec.expect;
        let clamp = |count: u128| u64::try_from(count).unwrap_or(u64::MAX);
        let counts = [
            ("depth", &expect.depth, self.depth as u128),
            ("params", &expect.params, self.cost.params),
            ("macs", &expect.macs, self.cost.macs),
            ("flops", &expect.flops, 2 * self.cost.macs),
        ];
        for (field, expected, count) in counts {
            self.errors.extend(expect::check(field, expected.as_ref(), clamp(count)));
        }
    }
}

/// Elements of a shape, without overflow.
pub(super) fn elements(shape: Shape) -> u128 {
    shape.channels as u128 * shape.height as u128 * shape.width as u128
}

pub(super) fn too_many_weights(place: Span, layer: &str) -> Diagnostic {
    let most = power(MOST_ELEMENTS);
    Diagnostic::new(place, format!("the weights of {layer} have more than {most} elements"))
}

pub(super) fn too_many_elements(place: Span, what: &str, shape: Shape) -> Diagnostic {
    Diagnostic::new(place, format!("{what} has more than {} elements", power(MOST_ELEMENTS)))
        .note(format!(
            "{} x {} x {} = {}",
            shape.channels,
            shape.height,
            shape.width,
            elements(shape)
        ))
        .help("use smaller pictures, fewer channels, or more stride")
}
