//! `resnet tune`: the fastest algorithms on this machine, saved as a text.

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use resnet_compiler::graph::Graph;
use resnet_compiler::network::{Compiler, Options};
use resnet_compiler::tune::{Tuned, tune as measure};
use resnet_report::profile::threads_text;
use resnet_runtime::kernels::Isa;
use resnet_runtime::weights::Weights;

use crate::Outcome;
use crate::args::Tune;
use crate::model::{open_model, open_weights, weights};
use crate::output::{Kind, Output};
use crate::timing::pool;
use crate::voice::is_quiet;

pub(crate) fn tune(options: &Tune, out: &mut dyn Write) -> Result<Outcome> {
    let start = Instant::now();
    let model = open_model(&options.model.model)?;
    let graph = Graph::build(&model.spec)?;
    let opened = open_weights(options.weights.as_deref(), false)?;
    let weights = match opened {
        // Times do not depend on what the weights are.
        None => Weights::random(&graph.tensors, 0),
        Some(packed) if packed.packed().is_some() => bail!(
            "`{}` holds packed weights, whose algorithms are chosen; tune with the weights that they were packed from",
            packed.origin()
        ),
        Some(opened) => {
            let plan = Compiler::new(&model.spec).weights(&opened).plan()?;
            weights(Some(opened), None, &plan.weights.tensors)?
        }
    };
    let files = model.files();
    let inputs = files.iter().chain(&options.weights);
    let mut file = Output::create(&options.output, Kind::Schedule, options.force.force, inputs)?;
    let threads = options.threads.get();
    let pool = pool(threads)?;
    let isa = options.isa.get().unwrap_or_else(Isa::detect);
    let bar = bar();
    let compiled = Options {
        isa: Some(isa),
        batch: options.batch.get(),
        precision: options.precision.get(),
        ..Options::default()
    };
    let tuned = measure(&model.spec, &compiled, &weights, pool.as_ref(), |done, rounds| {
        bar.set_length(rounds as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let Tuned { mut choices, model: by_model, tuned } = tuned?;
    let ms = |time: std::time::Duration| 1e3 * time.as_secs_f64();
    let summary = format!(
        "{isa}, {}: {:.3} ms, with the cost model's choices {:.3} ms",
        threads_text(threads.get()),
        ms(tuned),
        ms(by_model)
    );
    choices.comment.clone_from(&summary);
    write!(file, "{choices}")?;
    let alone = file.is_stdout();
    file.finish()?;
    if alone {
        return Ok(Outcome::Done);
    }
    let (shown, seconds) = (options.output.display(), start.elapsed().as_secs_f64());
    writeln!(out, "{summary}\n{shown}: saved after {seconds:.1} s")
        .and_then(|()| out.flush())
        .context("cannot say what was saved")?;
    Ok(Outcome::Done)
}

/// A progress bar on stderr, if that is a terminal.
fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() || is_quiet() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} rounds, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(1).with_style(style)
}
