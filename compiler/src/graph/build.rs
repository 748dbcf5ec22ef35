//! From a table to a graph: shapes, checks, names, counts.
//!
//! A row that is wrong is reported once. What follows goes on from the row's own claim about its
//! output if it makes one, and else is not checked for shapes, so that one mistake is one error.

use std::collections::HashMap;

use resnet_runtime::tensors::{Init, NormTensors, TensorSpec};

use crate::diagnostics::{Diagnostic, Diagnostics, Span, Spanned};
use crate::graph::{
    Axis, Cost, Extent, Feature, Graph, Node, NodeId, Op, Padding, Shape, Window, cost, window,
};
use crate::report::grouped;
use crate::spec::cell::closest;
use crate::spec::{ConvRow, Labels, PaddingCell, Row, RowOp, Spec, WindowCells, expect};

/// Most operators of a network.
const MOST_NODES: usize = 100_000;

/// Most elements of an activation or a weight tensor.
pub(super) const MOST_ELEMENTS: u128 = 1 << 31;

/// Most elements of an activation with its padding, so that addresses stay far from overflowing.
const MOST_PADDED: u128 = 1 << 34;

impl Graph {
    /// Infers every shape of a table and checks all that can be checked without a schedule.
    ///
    /// # Errors
    ///
    /// Every mistake found: windows that do not fit, channels that groups do not divide, claims
    /// (`input`, `output`, `expect`) that do not hold, tensors that share a name, and sizes past
    /// the limits (100,000 operators, 2^31 elements in a tensor).
    pub fn build(spec: &Spec) -> Result<Self, Diagnostics> {
        let mut builder = Builder::new(spec);
        builder.check_features();
        let output = builder.table();
        builder.check_network(output);
        let Builder { nodes, tensors, errors, depth, cost, features, .. } = builder;
        let graph = Self {
            name: spec.name.value.clone(),
            nodes,
            output: output.unwrap_or(NodeId(0)),
            features,
            depth,
            // Without errors both are below the limit that `push` keeps.
            params: u64::try_from(cost.params).unwrap_or(u64::MAX),
            macs: u64::try_from(cost.macs).unwrap_or(u64::MAX),
            tensors,
        };
        Diagnostics::or(&spec.source, errors, graph)
    }
}

impl WindowCells {
    /// The window that slides over `input`.
    pub(super) fn window(&self, input: Shape) -> Window {
        let open = Window {
            kernel: self.kernel.value,
            stride: self.stride.value,
            dilation: self.dilation.value,
            padding: Padding::NONE,
        };
        match self.padding.value {
            PaddingCell::Sides(padding) => Window { padding, ..open },
            PaddingCell::Same => open.padded_to_same(input),
        }
    }
}

/// The graph so far. Methods that add to it answer `None` after they have pushed an error.
pub(super) struct Builder<'a> {
    pub(super) spec: &'a Spec,
    pub(super) nodes: Vec<Node>,
    tensors: Vec<TensorSpec>,
    /// The row that owns each tensor name.
    owners: HashMap<String, usize>,
    pub(super) errors: Vec<Diagnostic>,
    depth: usize,
    cost: Cost,
    /// The row at work.
    pub(super) row: usize,
    /// How the sizes of the row at work came about.
    pub(super) arithmetic: Vec<String>,
    /// The first `linear` or `softmax` row.
    head: Option<usize>,
    /// Set when a limit is passed: nothing after it is worth checking.
    full: bool,
    conv_rows: usize,
    stages: usize,
    linear_rows: usize,
    norm_rows: usize,
    features: Vec<Feature>,
    /// Dilation of the last row of blocks.
    pub(super) dilation: Extent,
}

/// A convolution to be added.
pub(super) struct Conv<'n> {
    pub(super) name: String,
    pub(super) window: Window,
    pub(super) groups: usize,
    pub(super) channels: usize,
    /// Prefix of its tensors.
    pub(super) weights: &'n str,
    pub(super) bias: bool,
    /// Whether it counts as a layer of the depth.
    pub(super) counts: bool,
    pub(super) places: Places,
}

/// The cells to blame.
#[derive(Clone, Copy)]
pub(super) struct Places {
    pub(super) kernel: Span,
    pub(super) channels: Span,
    pub(super) groups: Span,
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
            arithmetic: Vec::new(),
            head: None,
            full: false,
            conv_rows: 0,
            stages: 0,
            linear_rows: 0,
            norm_rows: 0,
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
            self.nodes.truncate(nodes);
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
                let help = match closest(name, &names) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "write the name of a row, its `layer`".to_owned(),
                };
                let message = format!("there is no layer `{name}`");
                self.errors.push(Diagnostic::new(feature.span, message).help(help));
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
        self.nodes.push(Node { name, row: None, op: Op::Input, inputs: Vec::new(), shape });
        NodeId(self.nodes.len() as u32 - 1)
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
            _ => String::new(),
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
            RowOp::MaxPool(cells) => self.pool(row, cells, Op::MaxPool, input),
            RowOp::AveragePool { window, count_padding } => {
                let count_padding = *count_padding;
                self.pool(row, window, |window| Op::AveragePool { window, count_padding }, input)
            }
            RowOp::Block(block) => self.blocks(row, block, input, prefix),
            RowOp::Norm { relu } => {
                let relu_name = format!("{name}.relu");
                let node = self.batch_norm(name, input, prefix, false)?;
                if *relu { self.relu(relu_name, node) } else { Some(node) }
            }
            RowOp::GlobalAveragePool => {
                let shape = Shape::new(self.shape(input).channels, 1, 1);
                self.push(name, Op::GlobalAveragePool, vec![input], shape)
            }
            RowOp::Linear { channels } => self.linear(row, *channels, input, prefix),
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

    fn conv_row(
        &mut self,
        row: &Row,
        conv: &ConvRow,
        input: NodeId,
        prefix: &str,
    ) -> Option<NodeId> {
        let name = &row.layer.value;
        let cells = &conv.window;
        let convolution = Conv {
            name: name.clone(),
            window: cells.window(self.shape(input)),
            groups: conv.groups.value,
            channels: conv.channels.value,
            weights: prefix,
            bias: conv.bias,
            counts: true,
            places: Places {
                kernel: cells.kernel.span,
                channels: conv.channels.span,
                groups: conv.groups.span,
            },
        };
        let mut node = self.conv(convolution, input)?;
        if conv.norm {
            let default = format!("bn{}", self.conv_rows);
            let prefix = conv.norm_weights.as_ref().map_or(default, |prefix| prefix.value.clone());
            node = self.batch_norm(format!("{name}.bn"), node, &prefix, false)?;
        }
        if conv.relu {
            node = self.relu(format!("{name}.relu"), node)?;
        }
        Some(node)
    }

    pub(super) fn conv(&mut self, conv: Conv<'_>, input: NodeId) -> Option<NodeId> {
        self.scaled_conv(conv, input, 1.0)
    }

    /// `scale`: of random weights, where no norm follows that could keep what is added in a long
    /// chain of blocks small.
    pub(super) fn scaled_conv(
        &mut self,
        conv: Conv<'_>,
        input: NodeId,
        scale: f64,
    ) -> Option<NodeId> {
        let Conv { name, window, groups, channels, weights, bias, counts, places } = conv;
        let shape = self.shape(input);
        for (count, what) in [(shape.channels, "input"), (channels, "output")] {
            if count % groups != 0 {
                let message =
                    format!("{name}: {groups} groups do not divide {count} {what} channels");
                self.errors.push(
                    Diagnostic::new(places.groups, message)
                        .note(format!("{count} / {groups} leaves {}", count % groups))
                        .help("choose groups that divide the channels on both sides"),
                );
                return None;
            }
        }
        let output = self.slide(&name, shape, &window, channels, places)?;
        if counts {
            self.explain(&name, shape, &window, output);
        }
        let fan_in = (shape.channels / groups) as u128
            * window.kernel.rows as u128
            * window.kernel.columns as u128;
        if fan_in * channels as u128 > MOST_ELEMENTS {
            let message = format!("the weights of {name} have more than 2^31 elements");
            let factors = format!("{channels} x {} x {}", shape.channels / groups, window);
            self.errors.push(Diagnostic::new(places.channels, message).note(factors));
            return None;
        }
        let weight = format!("{weights}.weight");
        let kernel = window.kernel;
        let dimensions = vec![channels, shape.channels / groups, kernel.rows, kernel.columns];
        // He et al., "Delving Deep into Rectifiers" (2015), keeps the variance through ReLU.
        let init = Init::Normal((scale * (2.0 / fan_in as f64).sqrt()) as f32);
        self.tensor(&weight, dimensions, init)?;
        let bias = bias.then(|| format!("{weights}.bias"));
        if let Some(bias) = &bias {
            self.tensor(bias, vec![channels], Init::Uniform(-0.1, 0.1))?;
        }
        self.depth += usize::from(counts);
        let op = Op::Conv { window, groups, weight, bias };
        self.push(name, op, vec![input], output)
    }

    /// The shape that a window makes, with `channels`.
    fn slide(
        &mut self,
        name: &str,
        input: Shape,
        window: &Window,
        channels: usize,
        places: Places,
    ) -> Option<Shape> {
        let Some((height, width)) = window::output(input, window) else {
            let kernel = window.kernel;
            let padded = |size: usize, axis: Axis| match window::padded(size, axis) {
                text if axis.before + axis.after == 0 => text,
                text => format!("{text} = {}", size + axis.before + axis.after),
            };
            let dilated = if window.dilation == Extent::square(1) {
                String::new()
            } else {
                format!(" of dilation {}", window.dilation)
            };
            self.errors.push(
                Diagnostic::new(
                    places.kernel,
                    format!("{name}: the kernel is larger than its input"),
                )
                .label(format!("{}x{}{dilated}", kernel.rows, kernel.columns))
                .note(format!(
                    "the input is {input}, padded: height {}, width {}",
                    padded(input.height, window.rows()),
                    padded(input.width, window.columns())
                ))
                .help("use a smaller kernel, or fewer strides before this row"),
            );
            return None;
        };
        let output = Shape::new(channels, height, width);
        if elements(output) > MOST_ELEMENTS {
            self.errors.push(too_many_elements(
                places.channels,
                &format!("the output of {name}"),
                output,
            ));
            return None;
        }
        let padded = Shape::new(
            input.channels,
            input.height + window.padding.before.rows + window.padding.after.rows,
            input.width + window.padding.before.columns + window.padding.after.columns,
        );
        if elements(padded) > MOST_PADDED {
            let message = format!("the padded input of {name} has more than 2^34 elements");
            self.errors.push(
                Diagnostic::new(places.kernel, message)
                    .note(format!("it is {padded}"))
                    .help("use less padding, or less dilation"),
            );
            return None;
        }
        Some(output)
    }

    /// Keeps the arithmetic of a window that changes the size, for a claim that turns out wrong.
    fn explain(&mut self, name: &str, input: Shape, window: &Window, output: Shape) {
        let changes = (input.height, input.width) != (output.height, output.width);
        if let Some(line) = window::arithmetic(input, window).filter(|_| changes) {
            self.arithmetic.push(format!("{name}: {line}"));
        }
    }

    fn pool(
        &mut self,
        row: &Row,
        cells: &WindowCells,
        op: impl FnOnce(Window) -> Op,
        input: NodeId,
    ) -> Option<NodeId> {
        let shape = self.shape(input);
        let window = cells.window(shape);
        let half = (window.kernel.rows / 2, window.kernel.columns / 2);
        let most = window.padding.most();
        if most.rows > half.0 || most.columns > half.1 {
            self.errors.push(
                Diagnostic::new(
                    cells.padding.span,
                    format!("a pool's padding of {} is over half its kernel", window.padding),
                )
                .note(format!("half of the kernel {} is {}x{}", window.kernel, half.0, half.1))
                .help("some windows would lie outside the picture; use less padding"),
            );
            return None;
        }
        let kernel = cells.kernel.span;
        let places = Places { kernel, channels: kernel, groups: kernel };
        let name = row.layer.value.clone();
        let output = self.slide(&name, shape, &window, shape.channels, places)?;
        self.explain(&name, shape, &window, output);
        self.push(name, op(window), vec![input], output)
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
            let message =
                format!("the weights of {} have more than 2^31 elements", row.layer.value);
            self.errors.push(
                Diagnostic::new(channels.span, message)
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

    /// `ends_residual`: random scales are small at the end of a main path, so that activations stay
    /// finite through hundreds of additions.
    pub(super) fn batch_norm(
        &mut self,
        name: String,
        input: NodeId,
        prefix: &str,
        ends_residual: bool,
    ) -> Option<NodeId> {
        let shape = self.shape(input);
        let names = NormTensors {
            weight: format!("{prefix}.weight"),
            bias: format!("{prefix}.bias"),
            mean: format!("{prefix}.running_mean"),
            variance: format!("{prefix}.running_var"),
            epsilon: self.spec.norm_epsilon,
        };
        let scale = if ends_residual { Init::Uniform(0.1, 0.3) } else { Init::Uniform(0.8, 1.2) };
        for (name, init) in [
            (&names.weight, scale),
            (&names.bias, Init::Uniform(-0.2, 0.2)),
            (&names.mean, Init::Uniform(-0.2, 0.2)),
            (&names.variance, Init::Uniform(0.5, 1.5)),
        ] {
            self.tensor(name, vec![shape.channels], init)?;
        }
        self.push(name, Op::BatchNorm(names), vec![input], shape)
    }

    pub(super) fn relu(&mut self, name: String, input: NodeId) -> Option<NodeId> {
        self.push(name, Op::Relu, vec![input], self.shape(input))
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
        self.tensors.push(TensorSpec { name: name.into(), shape, init });
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
        self.nodes.push(Node { name, row: Some(self.row), op, inputs, shape });
        Some(NodeId(self.nodes.len() as u32 - 1))
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

fn too_many_elements(place: Span, what: &str, shape: Shape) -> Diagnostic {
    Diagnostic::new(place, format!("{what} has more than 2^31 elements"))
        .note(format!(
            "{} x {} x {} = {}",
            shape.channels,
            shape.height,
            shape.width,
            elements(shape)
        ))
        .help("use smaller pictures, fewer channels, or more stride")
}
