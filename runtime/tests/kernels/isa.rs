use resnet_runtime::kernels::Isa;

#[test]
fn names_parse_back() {
    for &isa in Isa::ALL {
        assert_eq!(isa.to_string().parse(), Ok(isa));
    }
    let error = "sse9".parse::<Isa>().unwrap_err().to_string();
    assert!(
        error.starts_with("unknown instruction set `sse9`; expected one of avx512bf16, "),
        "{error}"
    );
    assert!(Isa::ALL.iter().all(|isa| error.contains(isa.name())), "{error}");
}

#[test]
fn the_best_one_is_detected_and_the_portable_one_is_always_there() {
    let available: Vec<_> = Isa::available().collect();
    assert_eq!(available.first(), Some(&Isa::detect()));
    assert_eq!(available.last(), Some(&Isa::Portable));
    for &isa in Isa::ALL {
        assert_eq!(isa.is_available(), available.contains(&isa));
        assert_eq!(isa.table().is_ok(), isa.is_available());
    }
}
