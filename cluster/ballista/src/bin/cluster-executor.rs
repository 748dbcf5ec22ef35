//! An executor of a cluster that classifies pictures.

use clap::Parser;

fn main() -> std::process::ExitCode {
    resnet_cluster::main(resnet_cluster::run_executor(resnet_cluster::Executor::parse()))
}
