//! Points that a loop can run over.

use resnet_runtime::kernels::Filter;

use crate::nest::Var;

/// Neighbouring points, in one dimension, that a loop can run over.
#[derive(Clone, Copy)]
pub(super) struct Run {
    /// The first point.
    pub(super) first: usize,
    pub(super) len: usize,
    /// The first point's weight.
    pub(super) weight: usize,
    /// All points have it; else each has its own.
    pub(super) shared: bool,
    /// Whether the last tile needs them, of which fewer outputs exist.
    pub(super) needed: bool,
}

impl Run {
    /// Whether these are all points of the filter, each with a weight.
    pub(super) fn is_all(&self, filter: Filter) -> bool {
        self.len == filter.points() && !self.shared
    }
}

/// The points of a filter, and whether the last tile needs them.
pub(super) fn runs(filter: Filter, is_needed: impl Fn(usize) -> bool) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for point in 0..filter.points() {
        let weight = filter.weight(point);
        let needed = is_needed(point);
        match runs.last_mut() {
            Some(run) if run.needed == needed && !run.shared && run.weight + run.len == weight => {
                run.len += 1;
            }
            // The second of those that share a weight shows that they do.
            Some(run)
                if run.needed == needed && run.weight == weight && (run.shared || run.len == 1) =>
            {
                (run.shared, run.len) = (true, run.len + 1);
            }
            _ => runs.push(Run { first: point, len: 1, weight, shared: false, needed }),
        }
    }
    runs
}

/// How far the points that share weights move on in what follows these, to fetch it ahead: `next`
/// bytes each.
pub(super) fn shares(row: &Run, column: &Run, next: usize) -> Vec<(Var, usize)> {
    let of_row = if column.shared { column.len * next } else { next };
    let moves = [(row, (Var::PointRow, of_row)), (column, (Var::Point, next))];
    moves.into_iter().filter(|(run, _)| run.shared).map(|(_, term)| term).collect()
}
