//! A server's heart: one network that all threads share, a session for each of them, no lock
//! around either.
//!
//!     cargo run --release --example server

use std::sync::mpsc;
use std::thread;
use std::time::Instant;

resnet::resnet! {
    Cifar10 = "models/cifar10/resnet20.yaml", weights = "models/cifar10/resnet20.safetensors";
}

type Picture = Box<[f32; Cifar10::INPUT_LEN]>;

const REQUESTS: usize = 2000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Cifar10::embedded();
    let threads = thread::available_parallelism()?.get();
    let start = Instant::now();
    let counts = thread::scope(|scope| {
        let (answers, results) = mpsc::channel();
        let mut queues = Vec::new();
        for _ in 0..threads {
            let (queue, requests) = mpsc::channel::<Picture>();
            let (network, answers) = (&network, answers.clone());
            scope.spawn(move || {
                let mut session = network.session();
                for picture in requests {
                    let logits = session.run(&picture);
                    let best =
                        (0..Cifar10::CLASSES).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
                    // Nobody listens any more only if the program ends.
                    let _ = answers.send(best.unwrap_or(0));
                }
            });
            queues.push(queue);
        }
        drop(answers);
        for request in 0..REQUESTS {
            // A queue closes only if its thread has panicked, which ends the scope with a panic.
            let _ = queues[request % threads].send(picture(request));
        }
        drop(queues);
        let mut counts = [0; Cifar10::CLASSES];
        results.iter().for_each(|class| counts[class] += 1);
        counts
    });
    let seconds = start.elapsed().as_secs_f64();
    println!("{REQUESTS} pictures on {threads} threads: {:.0} a second", REQUESTS as f64 / seconds);
    for (label, count) in Cifar10::LABELS.iter().zip(counts) {
        println!("{count:6} {label}");
    }
    Ok(())
}

/// What a client might have sent: noise, another for every request.
fn picture(request: usize) -> Picture {
    let mut state = request as u32 + 1;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    Box::new(std::array::from_fn(|_| noise()))
}
