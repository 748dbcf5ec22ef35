//! `cargo xtask check`: what a change has to pass before it goes up, here and in CI.

use std::env;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// A step: what it is for, and the arguments of `cargo`.
type Step = (&'static str, &'static str);

/// No tests, and no builds with other features.
const QUICK: &[Step] = &[
    ("format", "fmt --all --check"),
    ("lints", "clippy --workspace --all-targets -- -D warnings"),
];

const REST: &[Step] = &[
    ("tests", "test --workspace"),
    ("the macro alone", "check --package resnet --no-default-features"),
    ("the interpreter alone", "check --package resnet --no-default-features --features interpret"),
    ("the JIT without pictures", "check --package resnet --no-default-features --features jit"),
    ("pictures without the JIT", "check --package resnet --no-default-features --features image"),
    ("every feature", "check --package resnet --all-features"),
    ("documentation", "doc --workspace --no-deps"),
    // Builds nothing: the tests have. It tells what would be missing in a published crate.
    ("packages", "package --workspace --no-verify --allow-dirty --quiet"),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let steps = match *arguments {
        ["check"] => [QUICK, REST].concat(),
        ["check", "--quick"] => QUICK.to_vec(),
        _ => {
            eprintln!("usage: cargo xtask check [--quick]");
            return ExitCode::from(2);
        }
    };
    for (purpose, command) in steps {
        eprintln!("== {purpose}: cargo {command}");
        let start = Instant::now();
        if !run(command) {
            eprintln!("== {purpose} failed; once more: cargo {command}");
            return ExitCode::FAILURE;
        }
        eprintln!("== {purpose}: {:.0} s", start.elapsed().as_secs_f64());
    }
    ExitCode::SUCCESS
}

fn run(command: &str) -> bool {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(command.split(' ')).env("RUSTDOCFLAGS", "-D warnings");
    match cargo.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("cargo cannot be started: {error}");
            false
        }
    }
}
