//! `resnet emit --as object`: an object file, and its header beside it.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use resnet::{Model, Options};
use resnet_compiler::emit::object::{Prefix, Target, header, object};
use resnet_runtime::weights::{all_threads, load};

use crate::args::Emit;
use crate::model::{choices, open_weights, weights};
use crate::output::{Kind, Output};
use crate::stdin::is_stdin;

pub(super) fn check(options: &Emit) -> Result<()> {
    if options.weights.is_none() && options.random_weights.is_none() {
        bail!(
            "an object holds its weights: give `--weights W.safetensors`, or `--random-weights SEED`"
        );
    }
    if options.isa.0.is_some() {
        bail!("an object takes the best kernels of the CPU that it runs on: leave `--isa` out");
    }
    match &options.output {
        Some(path) if !is_stdin(path) && path.extension().is_some_and(|end| end != "h") => Ok(()),
        _ => bail!(
            "an object and its header are two files: name the object with `-o NET.o`, and the header is `NET.h`, \
             its function `NET_run`"
        ),
    }
}

pub(super) fn write(options: &Emit, model: &Model) -> Result<()> {
    let path = options.output.as_deref().unwrap_or(Path::new(""));
    let target = match &options.target {
        Some(triple) => triple.parse().with_context(|| format!("`--target {triple}`"))?,
        None => Target::host()?,
    };
    let files = model.files();
    let inputs = || files.iter().chain(&options.weights).chain(&options.schedule);
    let mut file = Output::create(path, Kind::Object, options.force.force, inputs())?;
    let beside = path.with_extension("h");
    let mut header_file = Output::create(&beside, Kind::Header, options.force.force, inputs())?;

    let opened = open_weights(options.weights.as_deref(), false)?;
    let mut compiler = model.compiler().options(Options {
        batch: options.batch.map_or(1, |batch| batch.get() as usize),
        exact: options.exact,
        choices: choices(options.schedule.as_deref())?,
        precision: options.precision.get(),
        ..Options::default()
    });
    if let Some(opened) = &opened {
        compiler = compiler.weights(opened);
    }
    let plan = compiler.plan()?;
    let weights = weights(opened, options.random_weights, &plan.weights.tensors)?;
    let packed = load(&plan.weights, &weights, all_threads())?;
    let prefix = Prefix::of(&path.file_stem().unwrap_or_default().to_string_lossy());
    file.write_all(&object(&plan, packed.as_bytes(), &prefix, &target)?)?;
    header_file.write_all(header(&plan, &prefix).as_bytes())?;
    file.finish()?;
    header_file.finish()
}
