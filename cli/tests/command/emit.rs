use crate::Workshop;

#[test]
fn every_form_that_there_is() {
    let workshop = Workshop::new();
    let emit = |form: &str| workshop.resnet(&format!("emit colours.yaml --as {form}")).succeeds();
    assert!(emit("nest").starts_with("program colours"));
    assert!(emit("clif").contains("function u0:0"));
    assert!(emit("asm").contains("; infer: colours"));
    let dot = emit("dot");
    assert!(dot.starts_with("digraph \"colours\" {\n"), "{dot}");
    assert!(dot.contains("  n1 -> n2;\n") && dot.ends_with("}\n"), "{dot}");
}

#[test]
fn forms_that_are_not_there_yet_are_refused() {
    let workshop = Workshop::new();
    workshop.resnet("emit colours.yaml --as onnx").fails("not available yet");
    workshop.resnet("emit colours.yaml --as dot --weights w").fails("leave `--weights` out");
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
