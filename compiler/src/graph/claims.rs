//! What the author says a row reads and makes, against what it does.

use crate::diagnostics::{Diagnostic, Spanned};
use crate::geometry;
use crate::graph::build::{Builder, MOST_ELEMENTS, elements};
use crate::graph::{Extent, NodeId, Padding, Shape, Window};
use crate::spec::{Claim, PoolRow, Row, RowOp, WindowCells};

/// How many lines of arithmetic an error shows.
const MOST_ARITHMETIC: usize = 3;

impl Builder<'_> {
    /// Compares a row's input with its claim; from here on the claim counts.
    pub(super) fn check_input(&mut self, row: &Row, input: Option<NodeId>) -> Option<NodeId> {
        let Some(claim) = row.input else { return input };
        let Some(id) = input else { return self.assume_claim(claim.value, None) };
        let shape = self.shape(id);
        if claim.value.matches(shape) {
            return input;
        }
        let found = as_claimed(claim.value, shape);
        let before = match self.row.checked_sub(1) {
            Some(before) => format!("`{}` makes {shape}", self.spec.table[before].layer.value),
            None => format!("the picture is {shape}"),
        };
        self.errors.push(
            Diagnostic::new(
                claim.span,
                format!("{before}, but `input` of `{}` says {}", row.layer.value, claim.value),
            )
            .label(format!("it is {found}"))
            .help(format!("write `input: {found}`, or change the rows before"))
            .fix(claim.span, "input", found),
        );
        self.assume_claim(claim.value, Some(shape.channels))
    }

    /// Compares a row's output with its claim; from here on the claim counts.
    pub(super) fn check_output(
        &mut self,
        row: &Row,
        input: Option<NodeId>,
        output: Option<NodeId>,
    ) -> Option<NodeId> {
        let Some(claim) = row.output else { return output };
        let Some(id) = output else {
            let channels =
                row.op.value.channels().or(input.map(|input| self.shape(input).channels));
            return self.assume_claim(claim.value, channels);
        };
        let shape = self.shape(id);
        if claim.value.matches(shape) {
            return output;
        }
        let found = as_claimed(claim.value, shape);
        let mut diagnostic = Diagnostic::new(
            claim.span,
            format!("`{}` makes {shape}, but `output` says {}", row.layer.value, claim.value),
        )
        .label(format!("it is {found}"));
        let lines = self.arithmetic.iter().take(MOST_ARITHMETIC);
        let input = input.map(|input| self.shape(input));
        if let Some(input) = input {
            let lines: Vec<&str> = lines.map(String::as_str).collect();
            let from = format!("the input is {input}");
            diagnostic = diagnostic.note([&[from.as_str()], &lines[..]].concat().join("\n"));
        }
        let wrong_size = (shape.height, shape.width) != (claim.value.height, claim.value.width);
        let stride = input
            .filter(|_| wrong_size && claim.value.channels.is_none_or(|c| c == shape.channels))
            .and_then(|input| stride_for(row, input, claim.value));
        let help = match stride {
            Some(stride) => format!("write `output: {found}`, or `stride: {stride}`"),
            None => format!("write `output: {found}`, or change the row"),
        };
        diagnostic = diagnostic.help(help).fix(claim.span, "output", found);
        if let (Some(stride), Some(cell)) = (stride, row.op.value.stride())
            // A default has no cell of its own.
            && cell.span != row.span
        {
            diagnostic = diagnostic.fix(cell.span, "stride", stride);
        }
        self.errors.push(diagnostic);
        self.assume_claim(claim.value, Some(shape.channels))
    }

    /// Compares the factor between a row's input and output channels with its claim.
    pub(super) fn check_upsample(
        &mut self,
        row: &Row,
        input: Option<NodeId>,
        output: Option<NodeId>,
    ) {
        let (Some(claim), Some(input), Some(output)) = (row.upsample, input, output) else {
            return;
        };
        let [from, to] = [input, output].map(|id| self.shape(id).channels);
        let claimed = claim.value * from as f64;
        // Both are whole numbers far below 2^53.
        if claimed == to as f64 {
            return;
        }
        let name = &row.layer.value;
        let found = to as f64 / from as f64;
        let exact = found * from as f64 == to as f64 && (found * 1024.0).fract() == 0.0;
        let message = format!(
            "`{name}` makes {to} channels of {from}, but `upsample` says {} times as many",
            claim.value
        );
        let label = if exact { format!("it is {found}") } else { format!("it is {to} / {from}") };
        let mut ways = Vec::new();
        let mut diagnostic = Diagnostic::new(claim.span, message).label(label);
        if exact {
            ways.push(format!("write `upsample: {found}`"));
            diagnostic = diagnostic.fix(claim.span, "upsample", found);
        }
        if row.op.value.channels().is_some() && claimed.fract() == 0.0 {
            ways.push(format!("write `channels: {claimed}`"));
        }
        if ways.is_empty() {
            ways.push("leave `upsample` out".to_owned());
        }
        let note = format!("{} * {from} = {claimed}", claim.value);
        self.errors.push(diagnostic.note(note).help(ways.join(", or ")));
    }

    fn assume_claim(&mut self, claim: Claim, channels: Option<usize>) -> Option<NodeId> {
        let channels = claim.channels.or(channels)?;
        let shape = Shape::new(channels, claim.height, claim.width);
        (elements(shape) <= MOST_ELEMENTS).then(|| self.assume(shape))
    }
}

/// A shape with as many numbers as the claim about it.
fn as_claimed(claim: Claim, shape: Shape) -> String {
    match claim.channels {
        Some(_) => shape.to_string(),
        None => format!("{}x{}", shape.height, shape.width),
    }
}

/// The stride with which a row would make what it claims.
fn stride_for(row: &Row, input: Shape, claim: Claim) -> Option<usize> {
    let window = |stride| {
        let stride = Spanned::new(Extent::square(stride), row.span);
        match &row.op.value {
            // All paddings and dilations of a block divide the size by its stride, rounding up.
            RowOp::Block(_) => {
                let kernel = Extent::square(3);
                Some(Window::new(kernel, stride.value, Padding::half(kernel, Extent::square(1))))
            }
            op => {
                let window = WindowCells { stride, ..*op.window()? }.window(input);
                let up = matches!(op, RowOp::Pool(PoolRow { round_up: true, .. }));
                if up { window.rounded_up(input) } else { Some(window) }
            }
        }
    };
    (1..=16).find(|&stride| {
        let output = window(stride).and_then(|window| geometry::output(input, &window));
        output == Some((claim.height, claim.width))
    })
}
