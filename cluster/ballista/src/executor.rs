//! An executor.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::serde::{BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use resnet_arrow::ArrowNetwork;

use crate::codec::Codec;

/// Computes tasks with a network.
#[derive(clap::Parser, Debug)]
#[command(name = "cluster-executor", version)]
pub struct Executor {
    /// A table's file, or the name of a network of the zoo
    #[arg(long)]
    pub model: PathBuf,
    /// Its weights, in a safetensors file or one of `resnet pack`, which all executors of a machine share
    #[arg(long)]
    pub weights: PathBuf,
    /// Where the scheduler is
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:50050")]
    pub scheduler: String,
    /// The address to listen on, for clients and other executors
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub host: IpAddr,
    /// What others call this machine, if it is not the address that it listens on
    #[arg(long)]
    pub external_host: Option<String>,
    /// The port to listen on; 0: any that is free
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Tasks at a time, each on one thread; by default as many as the process has processors
    #[arg(long)]
    pub slots: Option<NonZeroUsize>,
    /// The folder of results that wait to be fetched; by default a temporary one
    #[arg(long)]
    pub work_dir: Option<PathBuf>,
}

/// Runs an executor until it is told to stop; says on standard output which network it has.
///
/// # Errors
///
/// A network that cannot be opened, a scheduler that is not there, a port that is taken.
pub async fn run_executor(options: Executor) -> Result<()> {
    let network = Arc::new(ArrowNetwork::open(&options.model, &options.weights)?);
    let (scheduler_host, scheduler_port) = host_and_port(&options.scheduler)?;
    let temporary = tempfile::Builder::new().prefix("resnet-executor-").tempdir()?;
    let work_dir = options.work_dir.as_deref().unwrap_or(temporary.path());
    let slots = options.slots.map_or_else(available_parallelism, Ok)?;
    println!("{}", network.description());
    let config = ExecutorProcessConfig {
        bind_host: options.host.to_string(),
        external_host: Some(options.external_host.unwrap_or_else(|| options.host.to_string())),
        port: free_port(options.host, options.port)?,
        scheduler_host,
        scheduler_port,
        scheduler_connect_timeout_seconds: 20,
        vcores: slots.get(),
        task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
        work_dir: Some(work_dir.to_str().context("the work folder's name is no UTF-8")?.to_owned()),
        // What tasks need beside a few rows is the network's own; there is nothing that could be spilled.
        memory_pool_size: Some(0),
        override_logical_codec: Some(Codec::<BallistaLogicalExtensionCodec>::new(None)),
        override_physical_codec: Some(Codec::<BallistaPhysicalExtensionCodec>::new(Some(network))),
        ..ExecutorProcessConfig::default()
    };
    Ok(start_executor_process(Arc::new(config)).await?)
}

fn host_and_port(address: &str) -> Result<(String, u16)> {
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) =
        parts.with_context(|| format!("`{address}` is no address; expected is HOST:PORT"))?;
    Ok((host.to_owned(), port))
}

/// The port, or one that is free at the moment: executors tell theirs before they listen.
fn free_port(host: IpAddr, port: u16) -> Result<u16> {
    let listener = std::net::TcpListener::bind((host, port))
        .with_context(|| format!("cannot listen on {host}:{port}"))?;
    Ok(listener.local_addr()?.port())
}
