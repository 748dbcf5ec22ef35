//! What `eval` has counted, and how it is told.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use resnet::top_k;
use resnet_compiler::report::grouped;
use serde::Serialize;

use crate::voice::escaped;

/// A matrix of more classes than this does not fit a screen; the commonest confusions do.
const WIDEST_MATRIX: usize = 25;

/// How many confusions are listed instead.
const LISTED_CONFUSIONS: usize = 20;

/// What other weights make of the same pictures.
#[derive(Serialize)]
pub(super) struct Against {
    weights: String,
    top1: f64,
    top5: f64,
    /// The part of the pictures, of 1, to which both answer alike.
    agreement: f64,
    /// `confusion[class][answer]` of the other weights.
    confusion: Vec<Vec<usize>>,
}

impl Against {
    pub(super) fn new(path: &Path, score: Score, agree: usize) -> Self {
        let share = |count: usize| count as f64 / score.pictures as f64;
        Self {
            weights: path.display().to_string(),
            top1: share(score.top1),
            top5: share(score.top5),
            agreement: share(agree),
            confusion: score.confusion,
        }
    }
}

/// What was counted.
pub(super) struct Score {
    pub(super) names: Vec<String>,
    pub(super) pictures: usize,
    pub(super) failed: usize,
    /// Of the pictures, those that were taken although they are damaged.
    pub(super) damaged: usize,
    /// Files in the folders that were skipped.
    pub(super) skipped: usize,
    pub(super) top1: usize,
    pub(super) top5: usize,
    /// `confusion[class][answer]`.
    pub(super) confusion: Vec<Vec<usize>>,
}

#[derive(Serialize)]
struct Json<'a> {
    name: &'a str,
    pictures: usize,
    failed: usize,
    damaged: usize,
    skipped: usize,
    top1: f64,
    top5: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Against>,
    seconds: f64,
    pictures_per_second: f64,
    classes: &'a [String],
    confusion: &'a [Vec<usize>],
}

impl Score {
    pub(super) fn new(names: Vec<String>) -> Self {
        let confusion = vec![vec![0; names.len()]; names.len()];
        let (pictures, failed, damaged, skipped) = (0, 0, 0, 0);
        Self { names, pictures, failed, damaged, skipped, top1: 0, top5: 0, confusion }
    }

    /// Counts an answer, and says which class it is.
    pub(super) fn count(&mut self, class: usize, values: &[f32]) -> usize {
        let answers = top_k(values, 5);
        self.pictures += 1;
        // An answer that is not a number is wrong, even where `top` has nothing better to name.
        let right = |answer: &usize| *answer == class && !values[class].is_nan();
        self.top1 += usize::from(answers.first().is_some_and(right));
        self.top5 += usize::from(answers.iter().any(right));
        self.confusion[class][answers[0]] += 1;
        answers[0]
    }

    pub(super) fn text(
        &self,
        out: &mut dyn Write,
        name: &str,
        seconds: f64,
        against: Option<&Against>,
    ) -> Result<()> {
        let pictures = self.pictures;
        let percent = |count: usize| 100.0 * count as f64 / pictures as f64;
        let counted = |count: usize| grouped(count as u64);
        writeln!(out, "{name}: {} pictures of {} classes", counted(pictures), self.names.len())?;
        writeln!(out, "top-1   {:6.2}%  ({})", percent(self.top1), counted(self.top1))?;
        writeln!(out, "top-5   {:6.2}%  ({})", percent(self.top5), counted(self.top5))?;
        if let Some(Against { weights, top1, top5, agreement, .. }) = against {
            let [top1, top5, agreement] = [top1, top5, agreement].map(|share| 100.0 * share);
            writeln!(
                out,
                "against {top1:.2}% top-1, {top5:.2}% top-5 of `{weights}`; {agreement:.2}% of the answers are the same"
            )?;
        }
        if self.failed > 0 {
            writeln!(out, "failed  {} (not counted)", counted(self.failed))?;
        }
        if self.damaged > 0 {
            writeln!(out, "damaged {} (counted)", counted(self.damaged))?;
        }
        if self.skipped > 0 {
            writeln!(out, "skipped {} files", counted(self.skipped))?;
        }
        let rate = pictures as f64 / seconds;
        writeln!(out, "time    {seconds:.2} s, {rate:.1} pictures/s, decoding included")?;
        writeln!(out)?;
        self.answers(out)?;
        if let Some(Against { weights, confusion, .. }) = against {
            writeln!(out, "\nof `{weights}`:")?;
            let names = self.names.clone();
            Self { confusion: confusion.clone(), ..Self::new(names) }.answers(out)?;
        }
        Ok(())
    }

    /// Which classes are taken for which.
    fn answers(&self, out: &mut dyn Write) -> Result<()> {
        if self.names.len() <= WIDEST_MATRIX { self.matrix(out) } else { self.confusions(out) }
    }

    /// Rows are the classes, columns the answers.
    fn matrix(&self, out: &mut dyn Write) -> Result<()> {
        writeln!(out, "confusion (a row: the pictures of a class; a column: an answer)")?;
        let width = |text: &str| text.chars().count();
        let names: Vec<_> = self.names.iter().map(|name| escaped(name, "")).collect();
        let first = names.iter().map(|name| width(name)).max().unwrap_or(0);
        let columns: Vec<usize> = (0..names.len())
            .map(|column| {
                let cells = self.confusion.iter().map(|row| row[column].to_string().len());
                cells.max().unwrap_or(0).max(width(&names[column]))
            })
            .collect();
        write!(out, "{:first$}", "")?;
        for (name, width) in names.iter().zip(&columns) {
            write!(out, "  {name:>width$}")?;
        }
        writeln!(out)?;
        for (name, row) in names.iter().zip(&self.confusion) {
            write!(out, "{name:first$}")?;
            for (cell, width) in row.iter().zip(&columns) {
                write!(out, "  {cell:>width$}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    /// The commonest wrong answers.
    fn confusions(&self, out: &mut dyn Write) -> Result<()> {
        let mut wrong: Vec<(usize, usize, usize)> = Vec::new();
        for (class, row) in self.confusion.iter().enumerate() {
            let cells = row.iter().enumerate().filter(|(answer, n)| *answer != class && **n > 0);
            wrong.extend(cells.map(|(answer, &n)| (n, class, answer)));
        }
        wrong.sort_by_key(|&(n, class, answer)| (std::cmp::Reverse(n), class, answer));
        writeln!(out, "commonest wrong answers (`--format json` has the whole matrix)")?;
        for (n, class, answer) in wrong.iter().take(LISTED_CONFUSIONS) {
            let [class, answer] = [class, answer].map(|&class| escaped(&self.names[class], ""));
            writeln!(out, "  {n:>6}  {class} taken for {answer}")?;
        }
        Ok(())
    }

    pub(super) fn json(
        &self,
        out: &mut dyn Write,
        name: &str,
        seconds: f64,
        against: Option<Against>,
    ) -> Result<()> {
        let share = |count: usize| count as f64 / self.pictures as f64;
        let json = Json {
            name,
            pictures: self.pictures,
            failed: self.failed,
            damaged: self.damaged,
            skipped: self.skipped,
            top1: share(self.top1),
            top5: share(self.top5),
            against,
            seconds,
            pictures_per_second: self.pictures as f64 / seconds,
            classes: &self.names,
            confusion: &self.confusion,
        };
        serde_json::to_writer(&mut *out, &json)?;
        writeln!(out)?;
        Ok(())
    }
}
