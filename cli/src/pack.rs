//! `resnet pack`: weights as a run reads them, in a file.

use std::io::Write;

use anyhow::{Context, Result};
use resnet::compiler::network::{Backend, Options, compile};
use resnet::runtime::load::all_threads;

use crate::Outcome;
use crate::args::Pack;
use crate::model::{Model, budget, choices, for_process, weights};
use crate::output::Output;

pub(crate) fn pack(options: &Pack, out: &mut dyn Write) -> Result<Outcome> {
    let model = Model::open(&options.model.model)?;
    // Nothing is run, so there is no code to make.
    let compiled = compile(
        &model.spec,
        &Options {
            backend: Backend::Reference,
            batch: options.batch.get(),
            exact: options.exact,
            memory: budget(options.memory),
            choices: choices(options.schedule.as_deref())?,
            ..Options::default()
        },
    )
    .map_err(for_process)?;
    let path = options.weights.weights.as_deref();
    let weights = weights(path, options.weights.random_weights, compiled.graph())?;
    let inputs = options.weights.weights.iter().chain(&model.path);
    let mut file = Output::create(&options.output, inputs)?;
    let threads = options.threads.unwrap_or_else(all_threads);
    let bytes = compiled.pack(&weights, threads, &words(options), &mut file)?;
    file.finish()?;
    let shown = options.output.display();
    writeln!(out, "{shown}: {} packed for {}", megabytes(bytes), compiled.info().name)
        .and_then(|()| out.flush())
        .context("cannot say what was written")?;
    Ok(Outcome::Done)
}

/// The options that matter to how weights are packed, as a user would repeat them.
fn words(options: &Pack) -> String {
    let mut words = Vec::new();
    if options.batch.get() != 1 {
        words.push(format!("--batch {}", options.batch));
    }
    if options.exact {
        words.push("--exact".to_owned());
    }
    if let Some(schedule) = &options.schedule {
        words.push(format!("--schedule {}", schedule.display()));
    }
    if let Some(memory) = options.memory {
        words.push(format!("--memory {memory}"));
    }
    words.join(" ")
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
