//! A table for the classes that its network was trained on: the author's text, but for what follows from them.

use resnet_runtime::kernels::Activation;

use crate::diagnostics::{Diagnostics, Span, Spanned};
use crate::graph::Graph;
use crate::network::Options;
use crate::plan::{Plan, PlanError, arena_bytes};
use crate::spec::cell::{self, Refused};
use crate::spec::edit::{Edit, list};
use crate::spec::{Claim, Expect, Expected, Labels, RowOp, Spec};

/// Why a table could not be made one of other classes.
#[derive(Debug, thiserror::Error)]
pub enum ClassesError {
    /// The table does not end in a classifier.
    #[error(
        "`{network}` ends in {found}; a classifier is a row `linear` without an activation, and what may follow it is \
         `softmax` alone"
    )]
    Classifier {
        /// The network.
        network: String,
        /// Its last row, or the one before `softmax`.
        found: String,
    },
    /// A name that no class can have.
    #[error("the label `{}` {reason}", label.escape_debug())]
    Label {
        /// The name.
        label: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A mistake in the table.
    #[error(transparent)]
    Table(#[from] Diagnostics),
    /// The network cannot be planned, which an expected `arena_bytes` needs.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The text says something else after the change: a cell is used in several places.
    #[error(
        "the table `{origin}` cannot be changed for {classes} classes where it stands: write its cells out where there \
         are anchors (`&`) and aliases (`*`)"
    )]
    Text {
        /// What messages call the table.
        origin: String,
        /// The classes.
        classes: usize,
    },
}

impl Spec {
    /// The row of the classifier: the last one but for `softmax`.
    ///
    /// # Errors
    ///
    /// A table that ends in something else, or answers with features.
    pub fn classifier(&self) -> Result<usize, ClassesError> {
        let wrong = |found| ClassesError::Classifier { network: self.name.value.clone(), found };
        if let Some(feature) = self.features.first() {
            return Err(wrong(format!("the features of `{}`", feature.value)));
        }
        let at = self.table.iter().rposition(|row| !matches!(row.op.value, RowOp::Softmax));
        let Some(at) = at else { return Err(wrong("`softmax` alone".to_owned())) };
        let row = &self.table[at];
        match &row.op.value {
            RowOp::Linear { activation: Activation::None, .. } => Ok(at),
            RowOp::Linear { activation, .. } => {
                Err(wrong(format!("`{}`, a linear layer with {activation}", row.layer.value)))
            }
            op => Err(wrong(format!("`{}`, a row `{}`", row.layer.value, op.operation().word()))),
        }
    }

    /// The table with another answer: what goes into its classifier, in place of the classes. It takes the weights of
    /// the whole network; those that are packed have to be packed for such a table.
    ///
    /// # Errors
    ///
    /// A table without a classifier, or with nothing before it.
    pub fn embedding(&self) -> Result<Self, ClassesError> {
        let at = self.classifier()?;
        let Some(row) = at.checked_sub(1).map(|before| &self.table[before]) else {
            return Err(ClassesError::Classifier {
                network: self.name.value.clone(),
                found: format!("`{}`, with nothing before it", self.table[at].layer.value),
            });
        };
        let (features, expect) = (vec![row.layer.clone()], Expect::default());
        Ok(Self { features, expect, labels: None, ..self.clone() })
    }

    /// The table's text with a classifier of `classes`, these `labels` if they are known, and a `preprocess` if it
    /// has none. Everything else stays as its author wrote it; what is expected of counts is counted anew where
    /// it does not hold any more.
    ///
    /// # Errors
    ///
    /// A table without a classifier, if the number of classes changes; one whose text cannot be changed.
    pub fn with_classes(
        &self,
        classes: usize,
        labels: Option<&[String]>,
    ) -> Result<String, ClassesError> {
        let mut edit = Edit::new(self)?;
        let mut meant = self.clone();
        if Graph::build(self)?.output_shape().channels != classes {
            self.retarget(self.classifier()?, classes, &mut edit, &mut meant)?;
        }
        for label in labels.unwrap_or_default() {
            cell::name(label).map_err(|Refused { reason, .. }| {
                let label = label.clone();
                ClassesError::Label { label, reason }
            })?;
        }
        meant.labels =
            labels.map(|names| Spanned::new(Labels::Names(names.to_vec()), Span::default()));
        match labels {
            Some(names) if !self.is_labelled(names) => edit.set("labels", &list(names)),
            Some(_) => {}
            None => edit.remove("labels"),
        }
        if !edit.has("preprocess") {
            edit.set("preprocess", &self.own_preprocess());
            (meant.preprocess.mean, meant.preprocess.std) = (vec![0.0], vec![1.0]);
        }
        let text = edit.finish();
        let wrong = || ClassesError::Text { origin: self.source.name().to_owned(), classes };
        let found = Spec::from_yaml_named(&text, self.source.name()).map_err(|_| wrong())?;
        let is_as_meant = Graph::build(&found)? == Graph::build(&meant)?
            && found.labels.map(|labels| labels.value) == meant.labels.map(|labels| labels.value)
            && found.preprocess == meant.preprocess;
        if is_as_meant { Ok(text) } else { Err(wrong()) }
    }

    /// Changes the classifier in row `at`, what is claimed of it and what follows, and what is expected of counts.
    fn retarget(
        &self,
        at: usize,
        classes: usize,
        edit: &mut Edit<'_>,
        meant: &mut Spec,
    ) -> Result<(), ClassesError> {
        let mut claims = |claim: &mut Option<Spanned<Claim>>| {
            if let Some(Spanned { value: Claim { channels: Some(channels), .. }, .. }) = claim {
                *channels = classes;
            }
            if let Some(claim) = claim.filter(|claim| claim.value.channels.is_some()) {
                edit.replace(claim.span, claim.value.to_string());
            }
        };
        claims(&mut meant.table[at].output);
        for row in &mut meant.table[at + 1..] {
            claims(&mut row.input);
            claims(&mut row.output);
        }
        let row = &mut meant.table[at];
        if let RowOp::Linear { channels, .. } = &mut row.op.value {
            edit.replace(channels.span, classes.to_string());
            if let Some(claim) = &mut row.upsample {
                claim.value *= classes as f64 / channels.value as f64;
                edit.replace(claim.span, claim.value.to_string());
            }
            channels.value = classes;
        }
        (meant.expect, meant.labels) = (Expect::default(), None);
        let graph = Graph::build(meant)?;
        let Expect { depth, params, macs, flops, arena_bytes: arena } = &self.expect;
        let arena_bytes = match arena {
            Some(_) => {
                let plan = Plan::new(&graph, &Options::default().wishes())?;
                arena_bytes(&plan.programs[plan.programs.len() - 1..]) as u64
            }
            None => 0,
        };
        for (expected, count) in [
            (depth, graph.depth as u64),
            (params, graph.params),
            (macs, graph.macs),
            (flops, 2 * graph.macs),
            (arena, arena_bytes),
        ] {
            let of = |expected: &Spanned<Expected>| !expected.value.matches(count);
            if let Some(expected) = expected.as_ref().filter(|expected| of(expected)) {
                edit.replace(expected.span, count.to_string());
            }
        }
        Ok(())
    }

    /// Whether the table itself has these labels.
    fn is_labelled(&self, names: &[String]) -> bool {
        let labels = self.labels.as_ref().map(|labels| &labels.value);
        matches!(labels, Some(Labels::Names(own)) if own == names)
    }

    /// What is done to pictures where a table has no `preprocess`, in its words.
    fn own_preprocess(&self) -> String {
        let shape = self.input.value;
        let (height, width) = (shape.height, shape.width);
        let crop = if height == width { height.to_string() } else { format!("{height}x{width}") };
        format!("{{resize: {}, crop: {crop}, mean: [0], std: [1]}}", height.max(width))
    }
}
