//! Receptive fields: which pixels of the picture an element depends on.
//!
//! The arithmetic is that of Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks"
//! (Distill, 2019): where two paths meet, the field spans both.

use crate::graph::{Axis, Extent, Graph, NodeId, Op};

/// The pixels of the picture that an element of an activation depends on through windows, padding included: past
/// the picture's edges too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceptiveField {
    /// Vertical.
    pub rows: Reach,
    /// Horizontal.
    pub columns: Reach,
    /// Whether it depends on every pixel through means over the whole picture as well: those of a pool, a gate or a
    /// group norm.
    pub whole: bool,
}

/// The receptive field along one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The first pixel that the first element depends on; negative in the padding.
    pub first: i64,
    /// Pixels from the first to the last one, both included.
    pub size: i64,
    /// Pixels of the picture between neighbouring elements.
    pub stride: i64,
}

impl Reach {
    /// That of the picture itself.
    const PIXEL: Self = Self { first: 0, size: 1, stride: 1 };

    /// That of what a window makes.
    fn through(self, window: Axis) -> Self {
        let pixels = |elements: usize| number(elements).saturating_mul(self.stride);
        let reach = window.kernel.saturating_sub(1).saturating_mul(window.dilation);
        Self {
            first: self.first.saturating_sub(pixels(window.before)),
            size: self.size.saturating_add(pixels(reach)),
            stride: pixels(window.stride),
        }
    }

    /// That of what depends on both.
    fn and(self, other: Self) -> Self {
        let end = |reach: Self| reach.first.saturating_add(reach.size);
        let first = self.first.min(other.first);
        Self {
            first,
            size: end(self).max(end(other)).saturating_sub(first),
            stride: self.stride.max(other.stride),
        }
    }
}

impl ReceptiveField {
    fn through(self, [rows, columns]: [Axis; 2]) -> Self {
        Self { rows: self.rows.through(rows), columns: self.columns.through(columns), ..self }
    }

    fn and(self, other: Self) -> Self {
        Self {
            rows: self.rows.and(other.rows),
            columns: self.columns.and(other.columns),
            whole: self.whole || other.whole,
        }
    }
}

impl Graph {
    /// The receptive field of every node's elements. The two paths of a block have the same strides, so that
    /// the field of each element is that of the first one, so many strides further.
    pub fn receptive_fields(&self) -> Vec<ReceptiveField> {
        let mut fields: Vec<ReceptiveField> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let of = |id: &NodeId| fields[id.index()];
            let field = match (&node.op, &node.inputs[..]) {
                (_, []) => {
                    ReceptiveField { rows: Reach::PIXEL, columns: Reach::PIXEL, whole: false }
                }
                (Op::Gate, [input, gates @ ..]) => {
                    let gated = gates.iter().any(|gate| of(gate).whole);
                    let field = of(input);
                    ReceptiveField { whole: field.whole || gated, ..field }
                }
                (op, [input, others @ ..]) => {
                    let shape = self.node(*input).shape;
                    let all = Extent::new(shape.height, shape.width);
                    let field = others.iter().map(of).fold(of(input), ReceptiveField::and);
                    let field = field.through(axes(op, all));
                    let whole = matches!(op, Op::GroupNorm(_)) || takes_all(op);
                    ReceptiveField { whole: field.whole || whole, ..field }
                }
            };
            fields.push(field);
        }
        fields
    }
}

/// Whether each of an operator's elements depends on all pixels of its input.
fn takes_all(op: &Op) -> bool {
    matches!(op, Op::GlobalAveragePool | Op::Linear { .. })
}

/// The windows through which an operator looks at an input of so many pixels.
fn axes(op: &Op, all: Extent) -> [Axis; 2] {
    let axis =
        |kernel: usize, stride: usize| Axis { kernel, stride, dilation: 1, before: 0, after: 0 };
    match (op.window(), op) {
        (Some(window), _) => [window.rows(), window.columns()],
        (None, Op::ZeroPad { stride, .. }) => [axis(1, stride.rows), axis(1, stride.columns)],
        (None, op) if takes_all(op) => [axis(all.rows, all.rows), axis(all.columns, all.columns)],
        (None, _) => [axis(1, 1); 2],
    }
}

fn number(elements: usize) -> i64 {
    i64::try_from(elements).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;
    use crate::zoo::zoo;

    fn fields(table: &str) -> (Graph, Vec<ReceptiveField>) {
        let graph = Graph::build(&Spec::from_yaml(table).unwrap()).unwrap();
        let fields = graph.receptive_fields();
        (graph, fields)
    }

    /// That of the last node that still has pixels.
    fn last(table: &str) -> Reach {
        let (graph, fields) = fields(table);
        let last = graph.nodes.iter().rposition(|node| node.shape.pixels() > 1).unwrap();
        assert_eq!(fields[last].rows, fields[last].columns);
        assert!(!fields[last].whole);
        fields[last].rows
    }

    /// Araujo et al. have 483, 1027 and 1507 pixels for ResNets in which no 3x3 convolution comes before the stride of
    /// its block, as in the paper of 2015.
    #[test]
    fn resnets_have_the_published_fields() {
        for (depth, size) in [(50, 483), (101, 1027), (152, 1507)] {
            let reach = last(zoo(&format!("resnet{depth}-paper")).unwrap());
            assert_eq!((reach.size, reach.stride), (size, 32), "{depth}");
        }
        // torchvision has the strides on 3x3 convolutions, of which three then look at a finer grid.
        assert_eq!(last(zoo("resnet50").unwrap()).size, 483 - 8 - 16 - 32);
        assert_eq!(last(zoo("resnet18").unwrap()).size, 435);
    }

    #[test]
    fn a_field_spans_both_paths_and_dilation() {
        let table = "
name: spans
input: 3x32x40
table:
  - {layer: stem, op: conv, kernel: 3, dilation: 4, stride: 2, channels: 8}
  - {layer: stage, op: basic, channels: 8, stride: 2, shortcut: projection}
  - {layer: mean, op: global_average_pool}
  - {layer: fc, op: linear, channels: 4}
";
        let (graph, fields) = fields(table);
        let of = |name: &str| fields[graph.nodes.iter().position(|n| n.name == name).unwrap()];
        assert_eq!(of("stem").rows, Reach { first: -4, size: 9, stride: 2 });
        assert_eq!(of("stage.0.conv1").rows, Reach { first: -6, size: 13, stride: 4 });
        assert_eq!(of("stage.0.conv2").rows, Reach { first: -10, size: 21, stride: 4 });
        assert_eq!(of("stage.0.downsample").rows, Reach { first: -4, size: 9, stride: 4 });
        assert_eq!(of("stage.0.add").rows, of("stage.0.conv2").rows);
        // 8 rows and 10 columns.
        let mean = of("mean");
        assert_eq!((mean.rows.size, mean.columns.size), (21 + 7 * 4, 21 + 9 * 4));
        assert!(mean.whole && of("fc").whole && !of("stage.0.add").whole);
    }

    #[test]
    fn gates_and_group_norms_see_the_whole_picture() {
        let table = "
name: global
input: 3x16x16
table:
  - {layer: stage, op: basic, channels: 16, shortcut: projection, eca: 3}
  - {layer: norm, op: norm, norm: {groups: 4}}
";
        let (graph, fields) = fields(table);
        let gate = graph.nodes.iter().position(|node| node.op == Op::Gate).unwrap();
        assert_eq!((fields[gate].rows.size, fields[gate].whole), (5, true));
        assert_eq!(graph.nodes[gate - 3].name, "stage.0.bn2");
        assert!(!fields[gate - 3].whole);
        assert!(fields.last().unwrap().whole);
    }
}
