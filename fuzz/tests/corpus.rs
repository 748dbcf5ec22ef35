//! Replays the corpus of every target, and mutations of each seed that are the same in every run.

use std::fs;
use std::path::Path;

use resnet_fuzz::TARGETS;

/// Of each seed: enough to meet what a careless length or index does, in seconds for all.
const MUTATIONS: u64 = 400;

/// A sequence of numbers that looks like chance (xorshift64*).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }

    /// Some bytes changed, cut out, doubled or cut off: what libFuzzer begins with.
    fn mutate(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..1 + self.below(4) {
            let at = self.below(bytes.len());
            let end = (at + self.below(16)).min(bytes.len());
            match self.below(6) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..end)),
                2 => drop(bytes.splice(at..at, seed[..seed.len().min(9)].to_vec())),
                3 => bytes[at..end].fill(0xff),
                _ if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                _ => bytes.push(b'0'),
            }
        }
        bytes
    }
}

#[test]
fn no_seed_and_no_mutation_of_one_panics() {
    for (name, target) in TARGETS {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut folders = vec![here.join("corpus").join(name)];
        if *name == "table" {
            folders.push(here.join("../tests/golden"));
        }
        let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
        let mut seeds: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
        seeds.retain(|seed| *name != "table" || seed.extension().is_some_and(|e| e == "yaml"));
        assert!(!seeds.is_empty(), "{name} has no seeds");
        seeds.sort();
        for seed in seeds {
            let bytes = fs::read(&seed).unwrap();
            target(&bytes);
            let mut chance = Chance(0x9e37_79b9_7f4a_7c15 ^ bytes.len() as u64);
            for _ in 0..MUTATIONS {
                target(&chance.mutate(&bytes));
            }
        }
    }
}
