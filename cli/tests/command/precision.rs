use crate::{Workshop, read_npy};

const NET: &str = "name: net\ninput: 3x32x32\ntable:\n  \
    - {layer: conv1, op: conv, kernel: 3, channels: 16}\n  \
    - {layer: conv2_x, op: basic, channels: 32, stride: 2}\n  \
    - {layer: avgpool, op: global_average_pool}\n  \
    - {layer: fc, op: linear, channels: 10}\n";

/// The answer to a picture with these options.
fn answer(workshop: &Workshop, options: &str) -> Vec<f32> {
    // A CPU without such products says so.
    let run = format!("run net.yaml --quiet --output answer.npy {options} red.png");
    workshop.resnet(&run).succeeds();
    read_npy(&workshop.path("answer.npy")).1
}

#[test]
fn two_bytes_answer_nearly_the_same() {
    let workshop = Workshop::new();
    workshop.picture("red.png", [250, 103, 17]);
    workshop.write("net.yaml", NET);
    let weights = "--random-weights 1";
    let single = answer(&workshop, &format!("{weights} --precision f32"));
    assert_eq!(answer(&workshop, weights), single);
    let half = answer(&workshop, &format!("{weights} --precision bf16"));
    assert_ne!(half, single);
    let largest = single.iter().fold(0.0, |max: f32, value| max.max(value.abs()));
    for (half, single) in half.iter().zip(&single) {
        assert!((half - single).abs() < 0.02 * largest, "{half} for {single}");
    }
    // Packed weights and schedules keep it.
    workshop.resnet("pack net.yaml --random-weights 1 --precision bf16 -o packed").succeeds();
    assert_eq!(answer(&workshop, "--weights packed"), half);
    workshop.resnet("pack net.yaml --weights packed -o again").succeeds();
    let bytes = |name: &str| std::fs::read(workshop.path(name)).unwrap();
    assert!(bytes("again") == bytes("packed"), "packing what is packed changes nothing");
    workshop
        .resnet("run net.yaml --weights packed --precision f32 red.png")
        .fails("--precision bf16");
    let schedule = workshop.resnet("emit net.yaml --as schedule --precision bf16").succeeds();
    assert!(schedule.contains(" bf16 "), "{schedule}");
    workshop.resnet("tune net.yaml --precision bf16 --threads 1 -o saved").succeeds();
    let saved = std::fs::read_to_string(workshop.path("saved")).unwrap();
    assert!(saved.contains("\nprecision bf16\n"), "{saved}");
    answer(&workshop, &format!("{weights} --schedule saved"));
    workshop
        .resnet("run net.yaml --random-weights 1 --schedule saved --precision f32 red.png")
        .fails("run `resnet tune --precision f32`");
}

#[test]
fn what_it_does_not_go_with_is_refused() {
    let workshop = Workshop::new();
    workshop.resnet("run resnet18 --random-weights 1 --precision f16 x.png").must_be_misuse("bf16");
    workshop
        .resnet("emit resnet18 --as graph --precision bf16")
        .fails("`--precision` says how a network is computed");
    workshop.resnet("check resnet18 --train --precision bf16").must_be_misuse("--precision");
}
