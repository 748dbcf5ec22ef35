//! `resnet train`.

mod log;

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use resnet::train::{Augment, Crop, Dataset, Decay, Epoch, Options, Prepared, Progress, Trainer};
use resnet::{Backend, Compiler, Model, Weights, feed, top_k};
use resnet_compiler::graph::Graph;

use self::log::{Line, Log};
use crate::Outcome;
use crate::args::Train;
use crate::dataset::{Labelled, read};
use crate::interrupt::{self, Interrupted};
use crate::model::{labels, note_preprocess, open_model, open_weights};
use crate::output::{Kind, Output};

pub(crate) fn train(options: &Train, out: &mut dyn Write) -> Result<Outcome> {
    let model = open_model(&options.model.model)?;
    let graph = Graph::build(&model.spec)?;
    let classes = graph.output_shape().channels;
    let labels = labels(&model, options.labels.labels.as_deref(), classes)?;
    let read = |path: &Path, option: &str| read(path, option, labels.clone(), Some(classes));
    let Labelled { images, names } = read(&options.images, "`--images`")?;
    let validate = options.validate.as_deref();
    let validate = validate.map(|path| read(path, "`--validate`")).transpose()?;
    note_preprocess(&model);

    ensure!(
        options.freeze.is_empty() || options.initialise.is_some() || options.resume.is_some(),
        "layers are frozen that have random weights: give weights to begin with, `--initialise W.safetensors`"
    );
    let input = graph.input_shape();
    let how = how(options, &*images, (input.height, input.width))?;
    let mut trainer = match &options.initialise {
        Some(path) => {
            let weights = open_weights(Some(path), false)?.context("no weights are named")?;
            Trainer::fine_tune(&model.spec, &*images, how, &weights, |tensor| {
                crate::voice::note!("`{tensor}` has another shape there: it is drawn anew");
            })?
        }
        None => Trainer::new(&model.spec, &*images, how)?,
    };
    let table = model.spec.with_classes(classes, names.as_deref())?;
    let mut files = Written::new(options, &model, table)?;
    if let Some(path) = &options.resume {
        let shown = path.display();
        let bytes =
            fs::read(path).with_context(|| format!("cannot read the checkpoint `{shown}`"))?;
        trainer.resume(&bytes).with_context(|| format!("cannot go on from `{shown}`"))?;
        files.log.rewind(trainer.epochs());
    }
    crate::voice::note!(
        "{} images, {} steps of {} an epoch, {} MB for a step",
        images.len(),
        trainer.steps(),
        trainer.options().batch,
        trainer.bytes().div_ceil(1_000_000)
    );
    interrupt::stops();
    let mut last = None;
    while !trainer.is_done() {
        let start = Instant::now();
        let epoch = run(&mut trainer, &*images)?;
        let seconds = start.elapsed().as_secs_f64();
        if !epoch.is_done {
            files.checkpoint(&trainer)?;
            crate::voice::note!("stopped; `--resume {}` goes on", files.checkpoint.display());
            return Err(Interrupted.into());
        }
        let accuracy =
            validate.as_ref().map(|data| measure(&model, &trainer, &*data.images)).transpose()?;
        let line = Line::new(&epoch, accuracy, seconds, trainer.steps() * trainer.options().batch);
        line.text(out, trainer.options().epochs)?;
        files.log(line)?;
        files.checkpoint(&trainer)?;
        last = accuracy;
    }
    files.weights(&trainer)?;
    let accuracy = last.map(|part| format!(", {:.2} % right", 100.0 * part)).unwrap_or_default();
    writeln!(
        out,
        "{}: the weights after {} epochs{accuracy}",
        options.output.display(),
        trainer.epochs()
    )?;
    if let Some((path, _)) = &files.table {
        writeln!(out, "{}: their table", path.display())?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}

/// The library's options, of the command's.
fn how(options: &Train, images: &dyn Dataset, size: (usize, usize)) -> Result<Options> {
    let flip = !options.no_flip;
    let crop = match options.crop {
        Some(crop) => crop,
        None => {
            ensure!(!images.is_empty(), "there are no images in `{}`", options.images.display());
            let first = images.image(0).map_err(anyhow::Error::msg)?;
            let crop = Crop::usual((first.height(), first.width()), size);
            let mirrored = if flip { ", and every second one mirrored" } else { "" };
            match crop {
                Crop::Padded(pixels) => crate::voice::note!(
                    "images are cut out of what is {pixels} pixels larger on each side{mirrored} (`--crop`)"
                ),
                _ => crate::voice::note!(
                    "parts of 8 to 100 % of the images are resized{mirrored} (`--crop`)"
                ),
            }
            crop
        }
    };
    Ok(Options {
        epochs: options.epochs.get(),
        batch: options.batch.get(),
        rate: options.rate,
        schedule: options.schedule.into(),
        warm_up: options.warm_up,
        momentum: options.momentum,
        nesterov: !options.no_nesterov,
        decay: options.decay,
        decay_kind: if options.decoupled { Decay::Decoupled } else { Decay::Classic },
        smoothing: options.smoothing,
        augment: Augment { crop, flip, cutout: options.cutout, mixup: options.mixup },
        average: options.average,
        freeze: options.freeze.clone(),
        memory: options.memory,
        seed: options.seed.seed,
        threads: Some(options.threads.get()),
        isa: options.isa.get(),
    })
}

/// An epoch, with a bar.
fn run(trainer: &mut Trainer, images: &dyn Dataset) -> Result<Epoch> {
    let bar = bar(trainer);
    let batch = trainer.options().batch as f64;
    let (start, mut first) = (Instant::now(), None);
    let epoch = trainer.epoch(images, |progress: &Progress| {
        let first = *first.get_or_insert(progress.step - 1);
        let rate = (progress.step - first) as f64 * batch / start.elapsed().as_secs_f64();
        bar.set_position(progress.step as u64);
        bar.set_message(format!(
            "loss {:.3}, {:.1} % right, {rate:.0} images/s",
            progress.loss,
            100.0 * progress.accuracy
        ));
        match interrupt::check() {
            Ok(()) => ControlFlow::Continue(()),
            Err(Interrupted) => ControlFlow::Break(()),
        }
    });
    bar.finish_and_clear();
    Ok(epoch?)
}

fn bar(trainer: &Trainer) -> ProgressBar {
    let bar = crate::progress::progress(trainer.steps(), false);
    let style =
        ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} steps, {msg}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(format!("epoch {}", trainer.epochs() + 1));
    bar
}

/// The part of images that the network, compiled as for inference, classifies rightly.
fn measure(model: &Model, trainer: &Trainer, images: &dyn Dataset) -> Result<f64> {
    let weights = Weights::from_bytes(trainer.weights()?)?;
    let options = trainer.options();
    let mut compiler = Compiler::new(&model.spec).backend(Backend::BEST);
    if let Some(isa) = options.isa {
        compiler = compiler.isa(isa);
    }
    let threads = options.threads.context("the command says how many threads there are")?;
    let compiled = compiler.compile()?;
    let network = compiled.load_on(&weights, threads)?;
    let source = Prepared::new(images, &model.spec.preprocess, compiled.info().input);
    let mut right = 0;
    feed(&*network, &source, threads, |index, fed| {
        let answer = fed.map_err(anyhow::Error::msg)?.answer;
        right += usize::from(top_k(&answer, 1) == [images.class(index)]);
        anyhow::Ok(())
    })?;
    Ok(right as f64 / images.len() as f64)
}

/// The table's place beside the weights, unless the one that was given stands there.
fn beside(weights: &Path, model: &Model, text: String) -> Result<Option<(PathBuf, String)>> {
    let path = weights.with_extension("yaml");
    let shown = path.display();
    ensure!(path != weights, "the table goes to `{shown}`: give the weights another name");
    let same = |given: &Path| {
        let [given, own] = [given, &path].map(|path| path.canonicalize().ok());
        given.is_some() && given == own
    };
    if !model.path().is_some_and(same) {
        return Ok(Some((path, text)));
    }
    if model.spec.source.text() != text {
        crate::voice::note!(
            "`{shown}` is the table that was given, and stays as it is: the `labels` or the `preprocess` that are \
             assumed are written if the weights have another name"
        );
    }
    Ok(None)
}

/// The files that are written.
struct Written<'a> {
    options: &'a Train,
    checkpoint: PathBuf,
    /// The table beside the weights, and what stands in it.
    table: Option<(PathBuf, String)>,
    inputs: Vec<PathBuf>,
    /// Of the network.
    name: &'a str,
    log: Log,
}

impl<'a> Written<'a> {
    /// Finds out before anything is trained whether they can be.
    fn new(options: &'a Train, model: &'a Model, table: String) -> Result<Self> {
        let mut inputs = model.files();
        inputs.push(options.images.clone());
        inputs.extend(options.validate.clone());
        inputs.extend(options.initialise.clone());
        let mut checkpoint = options.output.clone().into_os_string();
        checkpoint.push(".checkpoint");
        let checkpoint = PathBuf::from(checkpoint);
        ensure!(
            options.output != Path::new("-"),
            "the weights go to a file, beside which the checkpoints are"
        );
        let force = options.force.force;
        Output::create(&options.output, Kind::Safetensors, force, &inputs)?;
        Output::create(&checkpoint, Kind::Safetensors, force, &inputs)?;
        let table = beside(&options.output, model, table)?;
        if let Some((path, text)) = &table {
            Output::create_text(path, text, force, &inputs)?;
        }
        let mut log = Log::default();
        if let Some(path) = &options.log {
            if options.resume.is_some() && path.is_file() {
                let text = fs::read_to_string(path).map_err(anyhow::Error::from);
                log = text
                    .and_then(|text| Log::read(&text))
                    .with_context(|| format!("cannot read the log `{}`", path.display()))?;
            } else {
                Output::create(path, Kind::Text, force, &inputs)?;
            }
        }
        if let Some(path) = &options.svg {
            ensure!(path != Path::new("-"), "the curves go to a file, which each epoch replaces");
            Output::create(path, Kind::Svg, force, &inputs)?;
        }
        Ok(Self { options, checkpoint, table, inputs, name: &model.spec.name.value, log })
    }

    fn write(&self, path: &Path, kind: Kind, bytes: &[u8]) -> Result<()> {
        let mut file = Output::create(path, kind, true, &self.inputs)?;
        file.write_all(bytes).with_context(|| format!("cannot write `{}`", path.display()))?;
        file.finish()
    }

    fn checkpoint(&self, trainer: &Trainer) -> Result<()> {
        self.write(&self.checkpoint, Kind::Safetensors, &trainer.checkpoint()?)
    }

    /// The weights are complete before their table appears.
    fn weights(&self, trainer: &Trainer) -> Result<()> {
        self.write(&self.options.output, Kind::Safetensors, &trainer.weights()?)?;
        match &self.table {
            Some((path, text)) => self.write(path, Kind::Text, text.as_bytes()),
            None => Ok(()),
        }
    }

    /// Writes what is known after an epoch, and draws it.
    fn log(&mut self, line: Line) -> Result<()> {
        self.log.push(line)?;
        if let Some(path) = &self.options.log {
            self.write(path, Kind::Text, self.log.text().as_bytes())?;
        }
        if let Some(path) = &self.options.svg {
            self.write(path, Kind::Svg, self.log.curves(self.name).svg().as_bytes())?;
        }
        Ok(())
    }
}
