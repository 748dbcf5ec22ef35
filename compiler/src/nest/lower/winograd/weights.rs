//! Where a Winograd convolution's products find their weights.

use resnet_runtime::kernels::{BLOCK, Call, WinogradWeightsI8Params};

use super::runs::{Run, shares};
use super::{Bands, M, W};
use crate::nest::{Address, Loop, Statement, Var};
use crate::schedule::Fetch;

impl Bands<'_> {
    /// The call that makes words of a panel that is packed as bytes.
    pub(super) fn words(
        &self,
        out_blocks: usize,
        skipped: usize,
        loops: &[Loop],
    ) -> Option<Statement> {
        let (u, distance) = self.sides.u.as_ref()?;
        let params = WinogradWeightsI8Params {
            blocks: self.layer.plan.panels.format.in_blocks,
            out_blocks,
            y_point: *distance,
        };
        let w = self.sides.w.past(W, loops, Var::Panel, skipped);
        Some(Statement::Call(Call::WinogradWeightsI8(params), vec![w, u.address(M, loops)]))
    }

    /// The packed weights of a point, and what is fetched ahead meanwhile: how many elements, and where.
    pub(super) fn packed(
        &self,
        out_blocks: usize,
        skipped: usize,
        [row, column]: [&Run; 2],
        loops: &[Loop],
    ) -> (Address, usize, Address) {
        let [rows, columns] = self.plan.transform.filters();
        // Of one point.
        let points = rows.weights(1) * columns.weights(1);
        let len = self.layer.plan.panels.panel_len() * out_blocks
            / (points * self.layer.plan.panels.format.panel_blocks);
        // The points of a run that share weights fetch a share of the following ones each.
        let shared: usize =
            [row, column].iter().filter(|run| run.shared).map(|run| run.len).product();
        let per_row = columns.weights(1);
        let moves = |run: &Run, len: usize| if run.shared { 0 } else { len };
        let w = self
            .sides
            .w
            .clone()
            .with(Var::PointRow, moves(row, per_row * len))
            .with(Var::Point, moves(column, len));
        let mut w = w.past(W, loops, Var::Panel, skipped);
        w.offset += self.sides.w.bytes((row.weight * per_row + column.weight) * len);
        match self.layer.plan.fetch {
            Fetch::Next => {
                let next = self.layer.lines(len / shared);
                let mut n = w.clone();
                n.terms.extend(shares(row, column, self.sides.w.bytes(next)));
                (w, next, n)
            }
            Fetch::After(after) if row.is_all(rows) && column.is_all(columns) && !self.last => {
                let (next, n) = self.layer.fetch_after(after, len, &w, loops);
                (w, next, n)
            }
            Fetch::After(_) => (w.clone(), 0, w),
        }
    }

    /// What the products of a point fetch ahead where words are made of the weights: its share of the next panel's bytes.
    pub(super) fn next_kernels(
        &self,
        out_blocks: usize,
        skipped: usize,
        first: usize,
        loops: &[Loop],
    ) -> (usize, Address) {
        let [rows, columns] = self.plan.transform.filters();
        let format = &self.layer.plan.panels.format;
        let len = self.layer.plan.panels.panel_len() / format.panel_blocks * out_blocks;
        let share = self.layer.lines(len / (rows.points() * columns.points()));
        let side = self.sides.w.clone();
        if self.layer.plan.fetch != Fetch::Next {
            return (0, side.past(W, loops, Var::Panel, skipped));
        }
        let side = side.with(Var::PointRow, columns.points() * share).with(Var::Point, share);
        let mut n = side.past(W, loops, Var::Panel, skipped);
        // A call fetches what lies behind by as much as its own weights, words, take.
        let word = format.factor().bytes();
        n.offset += len + first * share - format.in_blocks * BLOCK * out_blocks * BLOCK * word;
        (share / word, n)
    }
}
