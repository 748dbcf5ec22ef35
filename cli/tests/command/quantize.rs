use crate::Workshop;

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    workshop.picture("set/a.png", [200, 10, 10]);
    workshop.picture("set/sub/b.png", [10, 200, 10]);
    workshop.picture("set/sub/c.png", [10, 10, 200]);
    workshop
}

const QUANTIZE: &str = "quantize colours.yaml --weights colours.safetensors --images set --pictures 3 \
    -o int8.safetensors";

#[test]
fn a_file_and_a_report_of_each_layer() {
    let workshop = workshop();
    let said = workshop.resnet(QUANTIZE).succeeds();
    assert!(said.contains("colours: 1 of 1 layers in 8 bits"), "{said}");
    assert!(said.contains("of 3 pictures") && said.contains("\nfc "), "{said}");
    let file = std::fs::read(workshop.path("int8.safetensors")).unwrap();
    let text = String::from_utf8_lossy(&file);
    for tensor in ["fc.weight", "fc.weight_scale", "fc.bias", "fc.input_scale", "\"I8\""] {
        assert!(text.contains(tensor), "{tensor} in {text}");
    }
    let json = workshop.resnet(&format!("{QUANTIZE} --format json --svg noise.svg")).succeeds();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["pictures"], 3);
    assert_eq!(json["layers"][0]["precision"], "int8");
    assert_eq!(json["layers"][0]["input"]["zero_point"], 0);
    assert_eq!(json["bytes"], file.len());
    let svg = std::fs::read_to_string(workshop.path("noise.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
    // The same bytes again.
    assert_eq!(std::fs::read(workshop.path("int8.safetensors")).unwrap(), file);
}

#[test]
fn as_many_pictures_as_are_asked_for() {
    let workshop = workshop();
    let said = workshop.resnet(&QUANTIZE.replace("--pictures 3", "--pictures 2")).succeeds();
    assert!(said.contains("of 2 pictures"), "{said}");
    workshop.write("set/broken.jpg", b"none");
    let done = workshop.resnet(&QUANTIZE.replace("--pictures 3", ""));
    assert_eq!(done.status, 1, "{}", done.err);
    assert!(done.out.contains("of 3 pictures"), "{}", done.out);
    assert!(done.err.contains("there are 4 pictures, not 300"), "{}", done.err);
    assert!(done.err.contains("broken.jpg"), "{}", done.err);
    assert!(done.err.contains("1 of 4 pictures were left out"), "{}", done.err);
}

#[test]
fn nothing_is_lost_where_something_is_wrong() {
    let workshop = workshop();
    workshop.resnet(&format!("{QUANTIZE} --keep fd")).fails("did you mean `fc`?");
    workshop
        .resnet(&format!("{QUANTIZE} --keep fc"))
        .fails("nothing to quantise:\n  fc: asked for");
    workshop.resnet(&format!("{QUANTIZE} --method max")).must_be_misuse("least-squares");
    assert!(!workshop.path("int8.safetensors").exists());
    let over = QUANTIZE.replace("int8.safetensors", "colours.safetensors");
    workshop.resnet(&over).fails("would be written over the input");
    workshop.resnet(QUANTIZE).succeeds();
    let again =
        QUANTIZE.replace("--weights colours", "--weights int8").replace("-o int8", "-o new");
    workshop.resnet(&again).fails("quantised already");
    workshop
        .resnet("quantize colours.yaml --weights colours.safetensors -o x.safetensors")
        .must_be_misuse("--images");
    let packed = "pack colours.yaml --weights colours.safetensors -o colours.packed";
    workshop.resnet(packed).succeeds();
    workshop
        .resnet(&QUANTIZE.replace("colours.safetensors", "colours.packed"))
        .fails("holds packed weights");
}

#[test]
fn what_is_quantised_runs_wherever_weights_do() {
    let workshop = workshop();
    for (class, colour) in
        [("red", [200, 10, 10]), ("green", [10, 200, 10]), ("blue", [10, 10, 200])]
    {
        workshop.picture(&format!("classes/{class}/a.png"), colour);
    }
    workshop.resnet(QUANTIZE).succeeds();
    let run = |weights: &str| {
        let run = format!("run colours.yaml --weights {weights} set/a.png --format json");
        let json = workshop.resnet(&run).succeeds();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        json["results"][0]["top"][0]["label"].clone()
    };
    assert_eq!(run("int8.safetensors"), run("colours.safetensors"));
    let packed = "pack colours.yaml --weights int8.safetensors -o int8.packed";
    workshop.resnet(packed).succeeds();
    assert_eq!(run("int8.packed"), run("colours.safetensors"));
    let said = workshop.resnet(
        "eval colours.yaml --weights int8.safetensors --images classes --against colours.safetensors",
    );
    assert!(said.out.contains("100.00% of the answers are the same"), "{} {}", said.out, said.err);
    let (own, other) = said.out.split_once("\nof `colours.safetensors`:\n").unwrap();
    assert!(own.ends_with(other) && other.starts_with("confusion"), "{}", said.out);
    let verify = "bench colours.yaml --weights int8.safetensors --seconds 0.01 --verify";
    let said = workshop.resnet(verify).succeeds();
    assert!(said.contains("error         0.0e0"), "{said}");
    let profile = "bench colours.yaml --weights int8.safetensors --seconds 0.01 --profile";
    let said = workshop.resnet(profile).succeeds();
    assert!(said.contains("of bytes") && said.contains("; u8 to f32"), "{said}");
    let said = workshop.resnet("check colours.yaml --weights int8.safetensors").succeeds();
    assert!(said.contains("as a run reads them, 1 layer in 8 bits"), "{said}");
    let tune = "tune colours.yaml --weights int8.safetensors --threads 1 -o int8.schedule";
    workshop.resnet(tune).succeeds();
    let bench = "bench colours.yaml --weights int8.safetensors --seconds 0.01";
    workshop.resnet(&format!("{bench} --schedule int8.schedule --verify")).succeeds();
    workshop
        .resnet(&tune.replace("int8.safetensors", "int8.packed"))
        .fails("tune with the weights that they were packed from");
    let said = workshop.resnet(&format!("{bench} --isa portable"));
    assert!(said.err.contains("little faster than in f32, or slower"), "{}", said.err);
    // As an ONNX file, and back.
    let emit = "emit colours.yaml --weights int8.safetensors --as onnx -o int8.onnx";
    workshop.resnet(emit).succeeds();
    let said = workshop.resnet("import int8.onnx -o back --name back");
    assert!(said.err.contains("layers are quantised"), "{}", said.err);
    let verify = "bench back/back.yaml --weights back/back.safetensors --seconds 0.01 --verify";
    let said = workshop.resnet(verify).succeeds();
    assert!(said.contains("error         0.0e0"), "{said}");
}
