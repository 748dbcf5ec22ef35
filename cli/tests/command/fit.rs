use crate::Workshop;

const FIT: &str = "fit colours.yaml --weights colours.safetensors --images set --threads 2 -o made";

/// Pictures of four classes, where the network knows three.
fn workshop() -> Workshop {
    let workshop = Workshop::new();
    for shade in 0..6 {
        let [dark, bright] = [shade * 7, 255 - shade * 9];
        for set in ["set", "other"] {
            let dark = if set == "set" { dark } else { dark + 3 };
            workshop.picture(&format!("{set}/red/{shade}.png"), [bright, dark, dark]);
            workshop.picture(&format!("{set}/light green/{shade}.png"), [dark, bright, dark]);
            workshop.picture(&format!("{set}/blue/{shade}.png"), [dark, dark, bright]);
            workshop.picture(&format!("{set}/no/{shade}.png"), [dark, dark, dark]);
        }
    }
    workshop
}

#[test]
fn what_was_fitted_is_read_by_the_other_commands() {
    let workshop = workshop();
    let said = workshop.resnet(&format!("{FIT} --validate other -C 100")).succeeds();
    for expected in [
        "colours: 24 images of 4 classes, 3 features each",
        "with C = 100",
        "\n100.00 % right\nvalidated 100.00 % of 24 images\n",
        "colours.yaml: the table\n",
        "colours.safetensors: the weights\n",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let table = std::fs::read_to_string(workshop.path("made/colours.yaml")).unwrap();
    assert!(table.contains("{layer: fc, op: linear, channels: 4}"), "{table}");
    assert!(table.contains("labels: [blue, \"light green\", \"no\", red]"), "{table}");
    let network = "made/colours.yaml --weights made/colours.safetensors";
    let run = workshop.resnet(&format!("run {network} --top 1 other/red/0.png")).succeeds();
    assert!(run.contains("red"), "{run}");
    let eval = workshop.resnet(&format!("eval {network} --images other")).succeeds();
    assert!(eval.contains("100.00%  (24)"), "{eval}");
    workshop.resnet("check made/colours.yaml --weights made/colours.safetensors").succeeds();
    workshop.resnet(&format!("pack {network} -o made/packed")).succeeds();
    let packed = "eval made/colours.yaml --weights made/packed --images other";
    assert!(workshop.resnet(packed).succeeds().contains("100.00%  (24)"));

    // The same bits on another number of threads, over what is there already; what was fitted is fitted again.
    let file = || std::fs::read(workshop.path("made/colours.safetensors")).unwrap();
    let before = file();
    let again = FIT.replace("--threads 2", "--threads 1");
    workshop.resnet(&format!("{again} --validate other -C 100")).succeeds();
    assert!(file() == before, "other bits");
    let own = format!("fit {network} --images set --validate other --quiet -C 100 -o again");
    workshop.resnet(&own).succeeds();
    let again = std::fs::read(workshop.path("again/colours.safetensors")).unwrap();
    assert!(again == before, "other bits");
}

#[test]
fn of_several_costs_the_one_that_is_best_on_other_images_is_taken() {
    let workshop = workshop();
    // With weights of nearly nothing, the classes with more images are all that is known.
    for shade in 1..6 {
        for class in ["blue", "no"] {
            std::fs::remove_file(workshop.path(&format!("set/{class}/{shade}.png"))).unwrap();
        }
    }
    let done = workshop.resnet(&format!("{FIT} --validate other -C 100,1e-6,1000 --format json"));
    assert_eq!(done.status, 0, "{}", done.err);
    let found: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&found["c"], &found["validation_accuracy"]), (&100.0.into(), &1.0.into()));
    assert_eq!(found["converged"], true);
    let lines: Vec<&str> = done.err.lines().filter(|line| line.contains("-C ")).collect();
    assert_eq!(lines.len(), 3, "{}", done.err);
    workshop.resnet(&format!("{FIT} -C 1,2")).fails("give `--validate`");
    workshop.resnet(&format!("{FIT} -C 0")).fails("C is 0; it has to be a positive number");
}

#[test]
fn labels_name_the_classes_in_their_order() {
    let workshop = workshop();
    let labels = "red\nlight green\nblue\nno\n";
    workshop.write("names", labels);
    let done = workshop.resnet(&format!("{FIT} --labels names"));
    assert!(done.err.contains("without `--validate` it is not known"), "{}", done.err);
    assert!(!done.out.contains("validated"), "{}", done.out);
    let table = std::fs::read_to_string(workshop.path("made/colours.yaml")).unwrap();
    assert!(table.contains("labels: [red, \"light green\", blue, \"no\"]"), "{table}");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let workshop = workshop();
    let fails = |command: &str, expected: &str| workshop.resnet(command).fails(expected);
    let files = || {
        let mut files = workshop.files();
        files.retain(|name| name.starts_with("made"));
        files
    };
    fails(&FIT.replace("set", "nowhere"), "cannot read the folder `nowhere`");
    workshop.write("empty/red/notes.txt", "");
    fails(&FIT.replace("set", "empty"), "there are no pictures in `empty/red`");
    workshop.write("flat/notes.txt", "");
    fails(&FIT.replace("set", "flat"), "there are no folders in `flat`");
    workshop.picture("one/red/0.png", [255, 0, 0]);
    fails(&FIT.replace("set", "one"), "there are 1 images of one class");
    workshop.write("names", "red\nlight green\nblue\nno\nnever\n");
    fails(&format!("{FIT} --labels names"), "no images of the classes `never`");
    workshop.picture("stray/cat/0.png", [255, 0, 0]);
    fails(&format!("{FIT} --validate stray"), "folders that are no label: `cat`");
    fails(&FIT.replace("colours.safetensors", "names"), "`names`");
    let other = FIT.replace("colours.yaml", "resnet18");
    fails(&other, "`colours.safetensors`");
    workshop.resnet("pack colours.yaml --weights colours.safetensors -o packed").succeeds();
    fails(&FIT.replace("colours.safetensors", "packed"), "packed weights");
    workshop.write("damaged/red/0.png", "no picture");
    workshop.picture("damaged/blue/0.png", [0, 0, 255]);
    fails(&FIT.replace("set", "damaged"), "`damaged/red/0.png`");
    assert!(
        std::fs::read_dir(workshop.path("made")).map_or(0, Iterator::count) == 0,
        "{:?}",
        files()
    );

    // What is there is kept, unless it is what would be written.
    workshop.resnet(&format!("{FIT} --validate other")).succeeds();
    workshop.write("made/colours.yaml", "mine");
    fails(FIT, "`made/colours.yaml` exists already: give `--force`");
    assert_eq!(std::fs::read(workshop.path("made/colours.yaml")).unwrap(), b"mine");
    workshop.resnet(&format!("{FIT} --validate other --force")).succeeds();
    let here = FIT.replace("-o made", "-o .");
    fails(&here, "would be written over the input");
}

#[test]
fn tables_without_a_classifier_are_refused_by_what_they_end_in() {
    let workshop = workshop();
    for (from, to, expected) in [
        ("op: linear,", "op: conv, kernel: 1,", "`colours` ends in `fc`, a row `conv`"),
        ("channels: 3}", "channels: 3, activation: relu}", "a linear layer with relu"),
        ("labels: [red, green, blue]", "features: [avgpool]", "the features of `avgpool`"),
        ("  - {layer: avgpool, op: global_average_pool}\n", "", "`fc` is the first row"),
    ] {
        workshop.write("colours.yaml", crate::COLOURS.replace(from, to));
        workshop.resnet(FIT).fails(expected);
    }
    assert!(!workshop.path("made").exists());
}
