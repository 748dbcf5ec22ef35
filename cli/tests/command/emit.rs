use crate::Workshop;

#[test]
fn every_form_that_there_is() {
    let workshop = Workshop::new();
    let emit = |form: &str| workshop.resnet(&format!("emit colours.yaml --as {form}")).succeeds();
    assert!(emit("graph").starts_with("colours: 3x"));
    assert!(emit("fused").contains(" = conv 1x1"));
    assert!(emit("schedule").starts_with("schedule (batch 1): arena "));
    assert!(emit("nest").starts_with("program colours"));
    assert!(emit("clif").contains("function u0:0"));
    assert!(emit("asm").contains("; infer: colours"));
    let dot = emit("dot");
    assert!(dot.starts_with("digraph \"colours\" {\n"), "{dot}");
    assert!(dot.contains("  n1 -> n2;\n") && dot.ends_with("}\n"), "{dot}");
}

#[test]
fn an_onnx_model_holds_the_weights() {
    let workshop = Workshop::new();
    let options = "emit colours.yaml --as onnx --weights colours.safetensors -o colours.onnx";
    assert_eq!(workshop.resnet(options).succeeds(), "");
    let model = std::fs::read(workshop.path("colours.onnx")).unwrap();
    let holds = |bytes: &[u8]| model.windows(bytes.len()).any(|window| window == bytes);
    let identity = [1.0_f32, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    assert!(holds(&identity.map(f32::to_le_bytes).concat()));
    assert!(holds(b"fc.weight") && holds(b"GlobalAveragePool") && holds(b"Gemm"));

    let random = |seed| {
        let options = format!("emit colours.yaml --as onnx --random-weights {seed} -o r.onnx");
        assert_eq!(workshop.resnet(&options).succeeds(), "");
        std::fs::read(workshop.path("r.onnx")).unwrap()
    };
    assert_eq!(random(1), random(1));
    assert_ne!(random(1), random(2));
}

#[test]
fn an_object_has_its_header_beside_it() {
    let workshop = Workshop::new();
    let options = "emit colours.yaml --as object --weights colours.safetensors -o my-net.o";
    assert_eq!(workshop.resnet(options).succeeds(), "");
    let object = std::fs::read(workshop.path("my-net.o")).unwrap();
    assert!(object.windows(10).any(|name| name == b"my_net_run"));
    let header = std::fs::read_to_string(workshop.path("my-net.h")).unwrap();
    assert!(
        header.contains("int my_net_run(const float *input, float *output, void *arena);"),
        "{header}"
    );
    assert!(header.contains("#define MY_NET_OUTPUT_LEN 3\n"), "{header}");
    // Both are replaced by their like, and the header not over what somebody wrote.
    assert_eq!(workshop.resnet(options).succeeds(), "");
    std::fs::write(workshop.path("my-net.h"), "mine").unwrap();
    workshop.resnet(options).fails("`my-net.h` exists already");
    assert_eq!(std::fs::read(workshop.path("my-net.o")).unwrap(), object);
}

#[test]
fn options_that_do_not_go_with_the_form_are_refused() {
    let workshop = Workshop::new();
    workshop.resnet("emit colours.yaml --as onnx").fails("give `--weights W.safetensors`");
    workshop.resnet("emit colours.yaml --as dot --weights w").fails("leave `--weights` out");
    workshop
        .resnet("emit colours.yaml --as nest --random-weights 1")
        .fails("`--as nest` has no weights in it: leave `--random-weights` out");
    workshop.resnet("emit colours.yaml --as dot --batch 2").fails("`--batch` is for `--as onnx`");
    let object = "emit colours.yaml --as object --random-weights 1";
    workshop.resnet("emit colours.yaml --as object -o x.o").fails("an object holds its weights");
    workshop.resnet(object).fails("name the object with `-o NET.o`");
    workshop.resnet(&format!("{object} -o x.h")).fails("name the object with `-o NET.o`");
    workshop.resnet(&format!("{object} -o x.o --isa portable")).fails("leave `--isa` out");
    workshop.resnet(&format!("{object} -o x.o --target z80-none")).fails("z80-none");
    workshop.resnet("emit colours.yaml --as dot --target x").fails("`--target` is for");
    let weights = "--weights colours.safetensors";
    let over = format!("emit colours.yaml --as onnx {weights} -o colours.safetensors");
    workshop.resnet(&over).fails("over the input");
    workshop.resnet(&format!("emit cifar-resnet20 --as onnx {weights} -o x.onnx")).fails("missing");
    assert_eq!(workshop.files(), ["colours.safetensors", "colours.yaml"]);
}

#[test]
fn a_file_is_written_whole_and_never_over_the_table() {
    let workshop = Workshop::new();
    assert_eq!(workshop.resnet("emit colours.yaml --as nest -o colours.nest").succeeds(), "");
    let expected = workshop.resnet("emit colours.yaml --as nest").succeeds();
    assert_eq!(std::fs::read_to_string(workshop.path("colours.nest")).unwrap(), expected);
    workshop.resnet("emit colours.yaml --as nest -o colours.yaml").fails("over the input");
    assert_eq!(std::fs::read_to_string(workshop.path("colours.yaml")).unwrap(), crate::COLOURS);
    assert_eq!(workshop.files(), ["colours.nest", "colours.safetensors", "colours.yaml"]);
}

#[test]
fn rust_is_what_the_macro_makes() {
    let out = Workshop::new().resnet("emit colours.yaml --as rust").succeeds();
    assert!(out.contains("pub struct Colours"), "{out}");
    assert!(out.contains("pub const CLASSES: usize = 3;"), "{out}");
}
