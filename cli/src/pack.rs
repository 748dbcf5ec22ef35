//! `resnet pack`: weights as a run reads them, in a file.

use std::io::Write;

use anyhow::{Context, Result};
use resnet_compiler::network::Compiler;
use resnet_compiler::plan::{Plan, WritePackedError};
use resnet_runtime::kernels::Precision;

use crate::Outcome;
use crate::args::{Algorithms, Pack};
use crate::model::{self, for_process, open_model, open_weights, weights};
use crate::output::{Kind, Output};

pub(crate) fn pack(options: &Pack, out: &mut dyn Write) -> Result<Outcome> {
    let model = open_model(&options.model.model)?;
    let wishes = model::options(&options.algorithms, options.batch.get())?;
    let opened = open_weights(options.weights.weights.as_deref(), false)?;
    let mut compiler = Compiler::new(&model.spec).options(wishes);
    if let Some(weights) = &opened {
        compiler = compiler.weights(weights);
    }
    let plan = compiler.plan().map_err(for_process)?;
    let weights = weights(opened, options.weights.random_weights, &plan.weights.tensors)?;
    let files = model.files();
    let schedule = &options.algorithms.schedule;
    let inputs = files.iter().chain(&options.weights.weights).chain(schedule);
    let mut file = Output::create(&options.output, Kind::Packed, options.force.force, inputs)?;
    let packed = plan.pack(&weights, options.threads.get(), &words(options, &plan), &mut file);
    let bytes = packed.map_err(|error| match error {
        // It names the file itself.
        WritePackedError::Write(error) => anyhow::Error::from(error),
        error => error.into(),
    })?;
    let alone = file.is_stdout();
    file.finish()?;
    if alone {
        return Ok(Outcome::Done);
    }
    let shown = options.output.display();
    writeln!(out, "{shown}: {} packed for {}", megabytes(bytes), plan.info.name)
        .and_then(|()| out.flush())
        .context("cannot say what was written")?;
    Ok(Outcome::Done)
}

/// The options that matter to how weights are packed, as a user would repeat them.
fn words(options: &Pack, plan: &Plan) -> String {
    let mut words = Vec::new();
    if options.batch.get() != 1 {
        words.push(format!("--batch {}", options.batch));
    }
    let Algorithms { exact, memory, schedule, precision: _ } = &options.algorithms;
    if *exact {
        words.push("--exact".to_owned());
    }
    if let Some(schedule) = schedule {
        words.push(format!("--schedule {}", schedule.display()));
    }
    if let Some(memory) = memory {
        words.push(format!("--memory {memory}"));
    }
    // Weights that are packed already keep theirs.
    if plan.choices.precision != Precision::F32 {
        words.push(format!("--precision {}", plan.choices.precision));
    }
    words.join(" ")
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
