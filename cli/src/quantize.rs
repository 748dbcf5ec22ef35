//! `resnet quantize`: weights in 8-bit integers, and the scales of activations.

mod plot;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use resnet::quantize::{
    Input, Layer, Options, PASSES, Precision, Quantized, Report, Seen, check_unquantised,
};
use resnet::{ImageFile, Images, Model, Source, quantize as run};
use resnet_compiler::graph::Graph;
use serde::Serialize;

use crate::Outcome;
use crate::args::{Format, Quantize};
use crate::model::{note_preprocess, open_model, open_weights, weights};
use crate::output::{self, Kind, Output};
use crate::pictures::{Array, Inputs, gather};
use crate::progress::progress;
use crate::stdin::check_folder;

pub(crate) fn quantize(options: &Quantize, out: &mut dyn Write) -> Result<Outcome> {
    let model = open_model(&options.model.model)?;
    let graph = Graph::build(&model.spec)?;
    let opened = open_weights(options.weights.weights.as_deref(), false)?;
    if let Some(weights) = &opened {
        check_unquantised(weights)?;
    }
    let weights = weights(opened, options.weights.random_weights, &graph.tensors)?;
    let shape = graph.input_shape();
    let (inputs, mut files) = inputs(options, &model, [shape.channels, shape.height, shape.width])?;
    files.extend(options.weights.weights.clone());
    let force = options.force.force;
    let mut file = Output::create(&options.output, Kind::Safetensors, force, &files)?;
    files.push(options.output.clone());
    let svg = options.svg.as_ref();
    let svg = svg.map(|path| Output::create(path, Kind::Svg, force, &files)).transpose()?;

    let source = Spread { wanted: options.pictures.get().min(inputs.len()), inputs };
    if source.wanted < options.pictures.get() {
        crate::voice::note!("there are {} pictures, not {}", source.wanted, options.pictures);
    }
    let how = Options {
        method: options.method,
        keep: options.keep.clone(),
        keep_worst: options.keep_worst,
        threads: options.threads.get(),
        isa: options.isa.0,
    };
    let bar = progress(PASSES * source.wanted, false);
    let mut failed = 0;
    let quantized = run(&model.spec, &weights, &source, &how, |_, seen| {
        match seen {
            Seen::Taken(Some(doubt)) => bar.suspend(|| crate::voice::warning!("{doubt}")),
            Seen::Failed(error) => {
                failed += 1;
                bar.suspend(|| crate::voice::error!("{error:#}"));
            }
            Seen::Taken(None) | Seen::Again => {}
        }
        bar.inc(1);
    });
    bar.finish_and_clear();
    let quantized = quantized?;
    quantized.write(&mut file)?;
    let alone = file.is_stdout();
    file.finish()?;
    if let Some(mut svg) = svg {
        svg.write_all(plot::svg(&quantized.report).as_bytes())?;
        svg.finish()?;
    }
    if !alone {
        report(options, &quantized, out).context("cannot say what was written")?;
    }
    if failed > 0 {
        crate::voice::error!("{failed} of {} pictures were left out", source.wanted);
    }
    Ok(if failed == 0 { Outcome::Done } else { Outcome::SomeFailed })
}

/// The pictures or the array to calibrate on, and the files that are read.
fn inputs(options: &Quantize, model: &Model, shape: [usize; 3]) -> Result<(Inputs, Vec<PathBuf>)> {
    let mut files = model.files();
    if let Some(path) = &options.input {
        files.push(path.clone());
        return Ok((Inputs::Array(Array::open(path, shape)?), files));
    }
    let mut paths = Vec::new();
    if let Some(folder) = &options.images {
        check_folder(folder, "`--images`")?;
        paths = gather(std::slice::from_ref(folder))?;
    }
    files.extend_from_slice(&paths);
    note_preprocess(model);
    let pictures = paths.into_iter().map(ImageFile::Path).collect();
    let pictures = Images::new(pictures, model.spec.preprocess.clone(), shape)?;
    Ok((Inputs::Images(pictures.allow_damaged(options.reading.allow_damaged)), files))
}

/// Some of the inputs, as many before as behind each of them.
struct Spread {
    inputs: Inputs,
    wanted: usize,
}

impl Source for Spread {
    type Error = anyhow::Error;

    fn len(&self) -> usize {
        self.wanted
    }

    fn load(&self, index: usize, input: &mut [f32]) -> Result<Option<String>> {
        self.inputs.load(index * self.inputs.len() / self.wanted, input)
    }
}

#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    report: &'a Report,
    bytes: usize,
}

fn report(options: &Quantize, quantized: &Quantized, out: &mut dyn Write) -> Result<()> {
    let Quantized { report, .. } = quantized;
    let bytes = quantized.as_bytes().len();
    if options.format.format == Format::Json {
        output::json(out, &Json { report, bytes })?;
        return Ok(out.flush()?);
    }
    let int8 = report.layers.iter().filter(|layer| layer.precision == Precision::Int8).count();
    let (network, layers) = (&report.network, report.layers.len());
    writeln!(
        out,
        "{network}: {int8} of {layers} layers in 8 bits, ranges by {} of {} pictures",
        report.method, report.pictures
    )?;
    table(report, out)?;
    writeln!(
        out,
        "signal to noise in dB: of the values read, the weights, and the layer's results if it alone is in 8 bits"
    )?;
    writeln!(out, "{}: {:.1} MB", options.output.display(), bytes as f64 / 1e6)?;
    Ok(out.flush()?)
}

fn table(report: &Report, out: &mut dyn Write) -> Result<()> {
    let width =
        report.layers.iter().map(|layer| layer.name.chars().count()).max().unwrap_or(0).max(5);
    writeln!(
        out,
        "{:width$}  {:>9} {:>9}  {:>10} {:>4}  {:>8}  {:>6} {:>7} {:>7}",
        "layer", "low", "high", "scale", "zero", "clipped", "input", "weights", "results"
    )?;
    for layer in &report.layers {
        let Layer { name, input, reason, weight_snr_db, output_snr_db, .. } = layer;
        write!(out, "{name:width$}")?;
        if let Some(Input { low, high, scale, zero_point, clipped, snr_db }) = input {
            let [input, weights, results] =
                [Some(*snr_db), *weight_snr_db, *output_snr_db].map(decibels);
            write!(
                out,
                "  {low:>9.3} {high:>9.3}  {scale:>10.3e} {zero_point:>4}  {:>7.3}%  {input:>6} {weights:>7} {results:>7}",
                100.0 * clipped
            )?;
        }
        if let Some(reason) = reason {
            write!(out, "  f32: {reason}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn decibels(snr: Option<f64>) -> String {
    match snr {
        Some(snr) if snr.is_finite() => format!("{snr:.1}"),
        Some(_) => "exact".to_owned(),
        None => String::new(),
    }
}
