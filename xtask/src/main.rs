//! `cargo xtask check`: what a change has to pass before it goes up, here and in CI.

mod sizes;

use std::env;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// A step: what it is for, and its command, in the folder of the workspace.
type Step = (&'static str, &'static str);

/// No tests, and no builds with other features.
const QUICK: &[Step] = &[
    ("format", "cargo fmt --all --check"),
    // Workspaces of their own.
    ("Python's format", "cargo fmt --manifest-path python/Cargo.toml --check"),
    ("the page's format", "cargo fmt --manifest-path web/Cargo.toml --check"),
    ("the cluster's format", "cargo fmt --all --manifest-path cluster/Cargo.toml --check"),
    ("sizes of files and functions", "cargo xtask sizes"),
    ("lints", "cargo clippy --workspace --all-targets -- -D warnings"),
];

const REST: &[Step] = &[
    ("tests", "cargo test --workspace"),
    ("the macro alone", "cargo check --package resnet --no-default-features"),
    (
        "the interpreter alone",
        "cargo check --package resnet --no-default-features --features interpret",
    ),
    (
        "the JIT without pictures",
        "cargo check --package resnet --no-default-features --features jit",
    ),
    (
        "pictures without the JIT",
        "cargo check --package resnet --no-default-features --features image",
    ),
    ("every feature", "cargo check --package resnet --all-features"),
    ("documentation", "cargo doc --workspace --no-deps"),
    // Builds nothing: the tests have. It tells what would be missing in a published crate, which the C library is not.
    (
        "packages",
        "cargo package --workspace --exclude resnet-capi --exclude resnet-kernels --no-verify --allow-dirty --quiet",
    ),
    // Installs what the tests have built.
    ("C", "capi/test"),
    #[cfg(target_os = "linux")]
    ("threads", "cli/threads"),
    // Says what is missing where it cannot run.
    ("AArch64, emulated", "tests/aarch64"),
    ("Python's lints", "cargo clippy --release --manifest-path python/Cargo.toml -- -D warnings"),
    ("Python", "python/test"),
    ("the page's lints", "cargo clippy --manifest-path web/Cargo.toml -- -D warnings"),
    // Says what is missing where it cannot run.
    ("the page, in Chromium", "web/test"),
    // What lints that workspace, builds the cluster itself and runs its processes is `cluster/test`: lints would compile the
    // engine a second time.
    (
        "functions for engines",
        "cargo test --manifest-path cluster/Cargo.toml -p resnet-arrow -p resnet-datafusion",
    ),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let steps = match *arguments {
        ["sizes"] if sizes::check(Path::new(workspace)) => return ExitCode::SUCCESS,
        ["sizes"] => return ExitCode::FAILURE,
        ["check"] => [QUICK, REST].concat(),
        ["check", "--quick"] => QUICK.to_vec(),
        _ => {
            eprintln!("usage: cargo xtask check [--quick], or cargo xtask sizes");
            return ExitCode::from(2);
        }
    };
    for (purpose, command) in steps {
        eprintln!("== {purpose}: {command}");
        let start = Instant::now();
        if !run(command) {
            eprintln!("== {purpose} failed; once more: {command}");
            return ExitCode::FAILURE;
        }
        eprintln!("== {purpose}: {:.0} s", start.elapsed().as_secs_f64());
    }
    ExitCode::SUCCESS
}

fn run(command: &str) -> bool {
    let mut words = command.split(' ');
    let program = words.next().unwrap_or_default();
    // The cargo that runs this, of several that there may be.
    let cargo = env::var_os("CARGO").filter(|_| program == "cargo");
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut command = Command::new(cargo.unwrap_or_else(|| program.into()));
    command.args(words).env("RUSTDOCFLAGS", "-D warnings").current_dir(workspace);
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("{program} cannot be started: {error}");
            false
        }
    }
}
