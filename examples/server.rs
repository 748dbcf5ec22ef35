//! A thread per core, each with a session of its own, sharing one network: how a server runs it.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

resnet::resnet! {
    Cifar = "models/cifar10/resnet20.yaml", weights = "models/cifar10/resnet20.safetensors";
}

/// A picture, and where its answer goes.
struct Request {
    picture: Box<[f32; Cifar::INPUT_LEN]>,
    answer: mpsc::Sender<usize>,
}

fn serve(network: &Cifar, requests: &Mutex<mpsc::Receiver<Request>>) {
    let mut session = network.session();
    loop {
        let request = requests.lock().expect("no thread panics while it receives").recv();
        let Ok(Request { picture, answer }) = request else { return };
        let logits = session.run(&picture);
        let best = (0..Cifar::CLASSES).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        // A client that has gone away does not need its answer.
        let _ = answer.send(best.unwrap_or(0));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Cifar::embedded();
    let threads = std::thread::available_parallelism()?.get();
    let (sender, receiver) = mpsc::channel();
    let receiver = Arc::new(Mutex::new(receiver));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (network, receiver) = (network.clone(), Arc::clone(&receiver));
            scope.spawn(move || serve(&network, &receiver));
        }
        let start = std::time::Instant::now();
        let (answer, answers) = mpsc::channel();
        for shade in 0..1000 {
            let picture = Box::new([shade as f32 / 500.0 - 1.0; Cifar::INPUT_LEN]);
            let request = Request { picture, answer: answer.clone() };
            sender.send(request).expect("the threads are waiting for requests");
        }
        drop((answer, sender));
        let mut counts = [0; Cifar::CLASSES];
        answers.iter().for_each(|class| counts[class] += 1);
        println!("1000 grey pictures on {threads} threads in {:.1?}", start.elapsed());
        for (label, count) in Cifar::LABELS.iter().zip(counts).filter(|(_, count)| *count > 0) {
            println!("{count:>5} {label}");
        }
    });
    Ok(())
}
