//! The client of a cluster that classifies pictures.

use clap::Parser;
use resnet_cluster::{Classify, Summary, classify};

fn main() -> std::process::ExitCode {
    let options = Classify::parse();
    resnet_cluster::main(async move {
        let Summary { rows, null, failed, time } = classify(&options).await?;
        let seconds = time.as_secs_f64();
        let speed = rows as f64 / seconds.max(1e-9);
        println!("{rows} pictures in {seconds:.1} s, {speed:.0} a second");
        if null + failed > 0 {
            println!("{failed} cannot be used (`answer.error` says why), {null} are NULL");
        }
        Ok(())
    })
}
