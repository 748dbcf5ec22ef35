//! The scheduler.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::{Context, Result};
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::serde::{BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use ballista_core::utils::default_session_builder;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionConfig;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use resnet_datafusion::OnceEach;
use tokio::net::TcpListener;

use crate::codec::Codec;

/// Divides queries into tasks and hands them to executors.
#[derive(clap::Parser, Debug)]
#[command(name = "cluster-scheduler", version)]
pub struct Scheduler {
    /// The address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub host: IpAddr,
    /// The port to listen on; 0: any that is free
    #[arg(long, default_value_t = 50050)]
    pub port: u16,
    /// An executor that is silent for so long is taken for lost, and its tasks begin anew elsewhere
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub executor_timeout: u64,
}

/// Runs a scheduler until the process ends; says on standard output where it listens.
///
/// # Errors
///
/// A port that is taken.
pub async fn run_scheduler(options: Scheduler) -> Result<()> {
    let Scheduler { host, port, executor_timeout } = options;
    let listener = TcpListener::bind((host, port))
        .await
        .with_context(|| format!("cannot listen on {host}:{port}"))?;
    let address = listener.local_addr()?;
    let mut config = SchedulerConfig {
        external_host: host.to_string(),
        bind_host: host.to_string(),
        bind_port: address.port(),
        // Executors ask for tasks, which says that they are alive: even one that computes asks every few seconds.
        scheduling_policy: TaskSchedulingPolicy::PullStaged,
        executor_timeout_seconds: executor_timeout,
        expire_dead_executor_interval_seconds: executor_timeout.div_ceil(4),
        no_executors_grace_period_seconds: executor_timeout,
        override_logical_codec: Some(Codec::<BallistaLogicalExtensionCodec>::new(None)),
        override_physical_codec: Some(Codec::<BallistaPhysicalExtensionCodec>::new(None)),
        ..SchedulerConfig::default()
    };
    config.override_session_builder = Some(Arc::new(|config: SessionConfig| {
        let state = default_session_builder(config)?;
        let builder = SessionStateBuilder::new_from_existing(state);
        Ok(builder.with_optimizer_rule(Arc::new(OnceEach)).build())
    }));
    let cluster = BallistaCluster::new_from_config(&config).await?;
    let scheduler =
        create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, Arc::new(config)).await?;
    println!("listening on {address}");
    Ok(start_grpc_service_with_listener(listener, scheduler).await?)
}
