//! The command `resnet`.
//!
//! Results go to stdout, progress and diagnostics to stderr. The exit status is 0 if everything
//! was done, 1 if something is wrong, 2 if the command line is.

mod args;
mod bench;
mod check;
mod classified;
mod dataset;
mod emit;
mod eval;
mod family;
mod fit;
mod gradients;
mod hints;
mod import;
mod interrupt;
mod manual;
mod model;
mod models;
mod new;
mod npy;
mod output;
mod pack;
mod pictures;
mod profile;
mod progress;
mod quantize;
mod report;
mod run;
mod stdin;
mod sweep;
mod timing;
mod train;
mod tune;
mod voice;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};
use interrupt::Interrupted;

/// Whether everything was done, or some inputs failed (each was reported already).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    SomeFailed,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    voice::set(&arguments);
    interrupt::handle();
    let mut out = output::Results(io::stdout().lock());
    let outcome = match arguments.command {
        Command::Check(check) => check::check(&check, &mut out),
        Command::Report(report) => report::report(&report, &mut out),
        Command::Run(run) => run::run(&run, &mut out),
        Command::Eval(eval) => eval::eval(&eval, &mut out),
        Command::Bench(bench) => bench::bench(&bench, &mut out),
        Command::Tune(tune) => tune::tune(&tune, &mut out),
        Command::Pack(pack) => pack::pack(&pack, &mut out),
        Command::Quantize(quantize) => quantize::quantize(&quantize, &mut out),
        Command::Train(train) => train::train(&train, &mut out),
        Command::Fit(fit) => fit::fit(&fit, &mut out),
        Command::Gradients(gradients) => gradients::gradients(&gradients, &mut out),
        Command::Emit(emit) => emit::emit(&emit, &mut out),
        Command::New(new) => new::new(&new, &mut out),
        Command::Sweep(sweep) => sweep::sweep(&sweep, &mut out),
        Command::Import(import) => import::import(&import, &mut out),
        Command::Models(models) => models::models(&models, &mut out),
        Command::Completions(shell) => manual::completions(&shell, &mut out),
        Command::Man(man) => manual::pages(&man, &mut out),
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::SomeFailed) => ExitCode::FAILURE,
        // Whoever read our output has seen enough (`| head`).
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<Interrupted>() => ExitCode::from(interrupt::STATUS),
        Err(error) => {
            voice::report(&error);
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is = |e: &(dyn std::error::Error + 'static)| {
        let kind = e.downcast_ref::<io::Error>().map(io::Error::kind).or_else(|| {
            e.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind)
        });
        kind == Some(io::ErrorKind::BrokenPipe)
    };
    error.chain().any(is)
}
