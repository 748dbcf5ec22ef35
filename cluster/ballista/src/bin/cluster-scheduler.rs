//! The scheduler of a cluster that classifies pictures.

use clap::Parser;

fn main() -> std::process::ExitCode {
    resnet_cluster::main(resnet_cluster::run_scheduler(resnet_cluster::Scheduler::parse()))
}
