//! The command `resnet`.
//!
//! Results go to stdout, progress and diagnostics to stderr. The exit status is 0 if everything
//! was done, 1 if something is wrong, 2 if the command line is.

/// Prints a line on stderr. Where nobody reads it any more, that is no reason to stop.
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($argument)*);
    }};
}
use say;

mod args;
mod bench;
mod check;
mod emit;
mod eval;
mod family;
mod hints;
mod import;
mod interrupt;
mod model;
mod new;
mod npy;
mod output;
mod pack;
mod pictures;
mod plot;
mod profile;
mod progress;
mod roofline;
mod run;
mod scatter;
mod sweep;
mod timing;
mod tune;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;
use resnet::{CompileError, ModelError};
use resnet_compiler::diagnostics::Diagnostics;
use resnet_compiler::family::FamilyError;

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
    interrupt::handle();
    let mut out = io::stdout().lock();
    let outcome = match arguments.command {
        Command::Check(check) => check::check(&check, &mut out),
        Command::Run(run) => run::run(&run, &mut out),
        Command::Eval(eval) => eval::eval(&eval, &mut out),
        Command::Bench(bench) => bench::bench(&bench, &mut out),
        Command::Tune(tune) => tune::tune(&tune, &mut out),
        Command::Pack(pack) => pack::pack(&pack, &mut out),
        Command::Emit(emit) => emit::emit(&emit, &mut out),
        Command::New(new) => new::new(&new, &mut out),
        Command::Sweep(sweep) => sweep::sweep(&sweep, &mut out),
        Command::Import(import) => import::import(&import, &mut out),
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::SomeFailed) => ExitCode::FAILURE,
        // Whoever read our output has seen enough (`| head`).
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<Interrupted>() => ExitCode::from(interrupt::STATUS),
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// Whether stderr shows colours.
fn has_colors() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
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

/// Mistakes in a table are drawn with the text that they point at; everything else is a line.
fn report(error: &anyhow::Error) {
    let of_compile = || match error.downcast_ref() {
        Some(CompileError::Table(diagnostics)) => Some(diagnostics),
        _ => None,
    };
    let of_family = || match error.downcast_ref() {
        Some(FamilyError::Table(diagnostics)) => Some(diagnostics),
        _ => None,
    };
    let of_model = || match error.downcast_ref() {
        Some(ModelError::Table(diagnostics)) => Some(diagnostics),
        _ => None,
    };
    let diagnostics = error.downcast_ref();
    let diagnostics = diagnostics.or_else(of_compile).or_else(of_family).or_else(of_model);
    match diagnostics {
        Some(diagnostics) => {
            let diagnostics: &Diagnostics = diagnostics;
            say!("{}", diagnostics.render(has_colors()));
        }
        None => say!("error: {error:#}"),
    }
    if let Some(hint) = hints::hint(error) {
        say!("help: {hint}");
    }
}
