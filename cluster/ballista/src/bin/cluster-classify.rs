//! The client of a cluster that classifies pictures.

use clap::Parser;
use resnet_cluster::{Classify, Summary, classify};

fn main() -> std::process::ExitCode {
    let options = Classify::parse();
    resnet_cluster::main(async move {
        // What is on its way is removed when it is dropped.
        let done = tokio::select! {
            done = classify(&options) => done,
            _ = stopped() => Err(anyhow::anyhow!("interrupted; nothing is written")),
        };
        let Summary { rows, null, failed, time } = done?;
        let seconds = time.as_secs_f64();
        let speed = rows as f64 / seconds.max(1e-9);
        println!("{rows} pictures in {seconds:.1} s, {speed:.0} a second");
        if null + failed > 0 {
            println!("{failed} cannot be used (`answer.error` says why), {null} are NULL");
        }
        Ok(())
    })
}

/// Waits for Ctrl-C, or to be told to end.
async fn stopped() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
