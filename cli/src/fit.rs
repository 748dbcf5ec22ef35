//! `resnet fit`: the classifier alone.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use resnet::train::{Backbone, Classifier, Dataset, Features, FitOptions, fit as run};
use resnet::{Labels, Model, ModelError};
use serde::Serialize;

use crate::Outcome;
use crate::args::{Fit, Format};
use crate::dataset::{Labelled, read};
use crate::model::{note_preprocess, open_model, open_weights, read_labels};
use crate::output::{self, Kind, Output};
use crate::progress::progress;
use crate::stdin::{check_folder, is_stdin};

pub(crate) fn fit(options: &Fit, out: &mut dyn Write) -> Result<Outcome> {
    let start = Instant::now();
    let model = open_model(&options.model.model)?;
    model.spec.classifier()?;
    let Images { train, validate, classes } = images(options, &model)?;
    let table = model.spec.with_classes(classes, train.names.as_deref())?;
    let weights = open_weights(Some(&options.weights), false)?.context("no weights are named")?;
    let how = FitOptions { threads: Some(options.threads.get()), isa: options.isa.get(), c: 1.0 };
    let backbone = Backbone::new(&model.spec, &weights, &how)?;
    let files = Written::new(options, &model, table)?;
    note_preprocess(&model);

    let features = features(&backbone, &*train.images)?;
    let validated = validate.map(|data| self::features(&backbone, &*data)).transpose()?;
    let feature_seconds = start.elapsed().as_secs_f64();
    let best = best(&options.costs, &features, validated.as_ref(), classes, &how)?;
    if !best.found.converged {
        crate::voice::warning!(
            "after {} iterations the gradient is not zero yet: try a smaller `-C`",
            best.found.iterations
        );
    }
    let fitted = Fitted {
        network: &model.spec.name.value,
        classes,
        features: features.width,
        images: features.classes.len(),
        accuracy: best.found.accuracy(&features)?,
        validation_images: validated.map(|features| features.classes.len()),
        validation_accuracy: best.validation,
        c: best.c,
        loss: best.found.loss,
        objective: best.found.objective,
        iterations: best.found.iterations,
        converged: best.found.converged,
        feature_seconds,
        seconds: start.elapsed().as_secs_f64(),
        table: files.table.clone(),
        weights: files.weights.clone(),
    };
    files.write(&backbone.weights(&best.found)?)?;
    match options.format.format {
        Format::Text => fitted.text(out)?,
        Format::Json => output::json(out, &fitted)?,
    }
    out.flush()?;
    Ok(Outcome::Done)
}

struct Images {
    train: Labelled,
    validate: Option<Box<dyn Dataset>>,
    classes: usize,
}

/// The images, whose classes are those of the labels that are given, else the folders, else the numbers up to the
/// largest one.
fn images(options: &Fit, model: &Model) -> Result<Images> {
    let labels = options.labels.as_deref().map(read_labels).transpose()?;
    let mut train = read(&options.images, "`--images`", labels, None)?;
    let images = &*train.images;
    ensure!(!images.is_empty(), "there are no images in `{}`", options.images.display());
    let seen: BTreeSet<usize> = (0..images.len()).map(|index| images.class(index)).collect();
    let highest = seen.last().map_or(0, |class| class + 1);
    let classes = train.names.as_ref().map_or(highest, Vec::len);
    if train.names.is_none() {
        train.names = match model.labels(classes) {
            Ok(labels) => labels.map(|labels| labels.names().to_vec()),
            Err(ModelError::Labels(_)) => None,
            Err(error) => return Err(error.into()),
        };
    }
    let called = |class: usize| match train.names.as_ref().and_then(|names| names.get(class)) {
        Some(name) => format!("`{name}`"),
        None => class.to_string(),
    };
    let missing: Vec<String> =
        (0..classes).filter(|class| !seen.contains(class)).take(10).map(called).collect();
    ensure!(
        missing.is_empty(),
        "there are no images of the classes {}, of which nothing can be learned: leave them out of the labels, or \
         number the classes without gaps",
        missing.join(", ")
    );
    let labels = train.names.clone().map(Labels::new);
    let path = options.validate.as_deref();
    let validate =
        path.map(|path| read(path, "`--validate`", labels, Some(classes))).transpose()?;
    if validate.is_none() {
        crate::voice::note!(
            "without `--validate` it is not known how many images are right that it was not fitted to"
        );
    }
    Ok(Images { train, validate: validate.map(|labelled| labelled.images), classes })
}

fn features(backbone: &Backbone, images: &dyn Dataset) -> Result<Features> {
    let bar = progress(images.len(), false);
    let found = backbone.features(images, |_| bar.inc(1));
    bar.finish_and_clear();
    Ok(found?)
}

/// A classifier, and what it was fitted with.
struct Best {
    c: f64,
    found: Classifier,
    validation: Option<f64>,
}

/// The classifier that is best on other images, of several, and the one with the smaller weights of equal ones.
fn best(
    costs: &[f64],
    features: &Features,
    validated: Option<&Features>,
    classes: usize,
    how: &FitOptions,
) -> Result<Best> {
    ensure!(
        costs.len() == 1 || validated.is_some(),
        "of several `-C` the best is chosen on images that it is not fitted to: give `--validate`"
    );
    let mut costs = costs.to_vec();
    costs.sort_by(f64::total_cmp);
    let mut best: Option<Best> = None;
    for &c in &costs {
        let found = run(features, classes, &FitOptions { c, ..how.clone() })?;
        let validation = validated.map(|features| found.accuracy(features)).transpose()?;
        if let Some(validation) = validation.filter(|_| costs.len() > 1) {
            crate::voice::note!(
                "-C {c}: {:.2} % right, validated {:.2} %",
                100.0 * found.accuracy(features)?,
                100.0 * validation
            );
        }
        if best.as_ref().is_none_or(|best| validation > best.validation) {
            best = Some(Best { c, found, validation });
        }
    }
    best.context("`-C` needs a number")
}

/// The files that are written, called as the table is.
struct Written {
    table: PathBuf,
    weights: PathBuf,
    text: String,
    files: [Output; 2],
}

impl Written {
    /// Finds out before features are made whether they can be.
    fn new(options: &Fit, model: &Model, text: String) -> Result<Self> {
        let folder = &options.output;
        check_folder(folder, "`--output`")?;
        let name = match options.model.model.file_stem() {
            Some(stem) if !is_stdin(&options.model.model) => stem.to_string_lossy().into_owned(),
            _ => model.spec.name.value.replace(['/', '\\'], "-"),
        };
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        let mut inputs = model.files();
        inputs.push(options.weights.clone());
        let [table, weights] =
            ["yaml", "safetensors"].map(|ending| folder.join(format!("{name}.{ending}")));
        let force = options.force.force;
        let files = [
            Output::create(&weights, Kind::Safetensors, force, &inputs)?,
            Output::create_text(&table, &text, force, &inputs)?,
        ];
        Ok(Self { table, weights, text, files })
    }

    /// The weights are complete before the table appears.
    fn write(self, weights: &[u8]) -> Result<()> {
        for (mut file, bytes) in self.files.into_iter().zip([weights, self.text.as_bytes()]) {
            file.write_all(bytes)?;
            file.finish()?;
        }
        Ok(())
    }
}

/// What has come of it; the JSON has these names.
#[derive(Serialize)]
struct Fitted<'a> {
    network: &'a str,
    classes: usize,
    features: usize,
    images: usize,
    accuracy: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_images: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_accuracy: Option<f64>,
    c: f64,
    loss: f64,
    objective: f64,
    iterations: usize,
    converged: bool,
    feature_seconds: f64,
    seconds: f64,
    table: PathBuf,
    weights: PathBuf,
}

impl Fitted<'_> {
    fn text(&self, out: &mut dyn Write) -> Result<()> {
        let Self { network, classes, features, images, accuracy, c, loss, iterations, .. } = self;
        writeln!(
            out,
            "{network}: {images} images of {classes} classes, {features} features each, in {:.1} s",
            self.feature_seconds
        )?;
        writeln!(
            out,
            "loss {loss:.4} after {iterations} iterations with C = {c}, in {:.1} s",
            self.seconds - self.feature_seconds
        )?;
        writeln!(out, "{:.2} % right", 100.0 * accuracy)?;
        if let (Some(images), Some(accuracy)) = (self.validation_images, self.validation_accuracy) {
            writeln!(out, "validated {:.2} % of {images} images", 100.0 * accuracy)?;
        }
        writeln!(out, "{}: the table", self.table.display())?;
        writeln!(out, "{}: the weights", self.weights.display())?;
        Ok(())
    }
}
