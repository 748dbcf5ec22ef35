//! A Ballista cluster whose executors carry a network.
//!
//! `cluster-scheduler` divides queries into tasks, `cluster-executor` computes them, and `cluster-classify` sends
//! one. A plan carries a function as its name and the description of the network that is meant; an executor that
//! has another network refuses the task. The scheduler has no network: it plans with the description.

mod classify;
mod codec;
mod executor;
mod output;
mod pictures;
mod scheduler;

pub use classify::{Classify, Summary, classify};
pub use codec::Codec;
pub use executor::{Executor, run_executor};
pub use scheduler::{Scheduler, run_scheduler};

/// Runs a program of the cluster: logs to standard error (`RUST_LOG` says how much; by default what goes wrong), and
/// an error is the last line.
pub fn main(run: impl Future<Output = anyhow::Result<()>>) -> std::process::ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("error")).init();
    // Plans are trees that are walked by recursion, deeper than a thread's usual stack.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(32 << 20)
        .build();
    let done = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run));
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
