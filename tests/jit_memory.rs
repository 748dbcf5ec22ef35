//! Machine code in memory: freed with its network, never writable and executable at once.
#![cfg(target_os = "linux")]

use resnet::{Backend, Compiler, Options, Spec, Weights};

fn maps() -> Vec<String> {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn code_is_freed_and_never_writable_and_executable() {
    let spec = Spec::from_yaml(resnet::zoo("cifar-resnet20").unwrap()).unwrap();
    let compile = || Compiler::new(&spec).backend(Backend::Jit).compile().unwrap();
    let weights = Weights::random(compile().tensors(), 1);
    let mut session = compile().load(&weights).unwrap().session();
    // The network and the compiler's result are gone; the session keeps the code alive.
    assert!(session.run(&vec![0.5; 3 * 32 * 32]).unwrap().iter().all(|v| v.is_finite()));
    let before = maps().len();
    let many: Vec<_> = (0..50).map(|_| compile()).collect();
    let during = maps();
    assert!(during.len() >= before + 50, "each compiled network has pages of its own");
    let both = |line: &&String| line.split(' ').nth(1).is_some_and(|p| p.starts_with("rwx"));
    assert_eq!(during.iter().find(both), None);
    drop(many);
    let after = maps().len();
    assert!(after < before + 10, "{before} mappings before, {after} after");
}

#[test]
fn a_missing_instruction_set_or_batch_is_an_error() {
    let spec = Spec::from_yaml(resnet::zoo("cifar-resnet20").unwrap()).unwrap();
    let error = |options: &Options| {
        Compiler::new(&spec).options(options.clone()).compile().err().map(|e| e.to_string())
    };
    let empty = Options { batch: 0, ..Options::default() };
    assert!(error(&empty).unwrap().contains("at least 1"));
    let huge = Options { batch: usize::MAX, ..Options::default() };
    assert!(error(&huge).unwrap().contains("memory"));
    for &isa in resnet::Isa::ALL {
        let options = Options { isa: Some(isa), ..Options::default() };
        assert_eq!(error(&options).is_none(), isa.is_available(), "{isa}");
    }
}
