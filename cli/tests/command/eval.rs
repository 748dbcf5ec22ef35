use serde_json::{Value, json};

use crate::Workshop;

const EVAL: &str = "eval colours.yaml --weights colours.safetensors --images set";

/// Four pictures, one of which lies in the wrong folder.
fn with_pictures() -> Workshop {
    let workshop = Workshop::new();
    workshop.picture("set/red/1.png", [255, 0, 0]);
    workshop.picture("set/red/2.png", [200, 10, 10]);
    workshop.picture("set/green/1.png", [0, 250, 0]);
    workshop.picture("set/green/2.png", [0, 0, 250]);
    workshop
}

#[test]
fn text_has_accuracy_and_confusion() {
    let workshop = with_pictures();
    let out = workshop.resnet(EVAL).succeeds();
    assert!(out.contains("colours: 4 pictures of 3 classes\ntop-1    75.00%  (3)\n"), "{out}");
    assert!(out.contains("top-5   100.00%  (4)\n"), "{out}");
    assert!(out.contains("pictures/s"), "{out}");
    let matrix = "       red  green  blue\n\
                  red      2      0     0\n\
                  green    0      1     1\n\
                  blue     0      0     0\n";
    assert!(out.ends_with(matrix), "{out}");
}

#[test]
fn json_is_the_same_for_any_thread_count() {
    let workshop = with_pictures();
    for threads in [1, 2, 7] {
        let out = workshop.resnet(&format!("{EVAL} --format json --threads {threads}")).succeeds();
        let out: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(out["name"], "colours");
        assert_eq!((&out["pictures"], &out["failed"]), (&json!(4), &json!(0)));
        assert_eq!((&out["top1"], &out["top5"]), (&json!(0.75), &json!(1.0)));
        assert_eq!(out["classes"], json!(["red", "green", "blue"]));
        assert_eq!(out["confusion"], json!([[2, 0, 0], [0, 1, 1], [0, 0, 0]]));
        assert!(out["pictures_per_second"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn a_bad_picture_is_not_counted_but_remembered() {
    let workshop = with_pictures();
    workshop.write("set/blue/bad.jpg", "no picture");
    let done = workshop.resnet(EVAL).fails("cannot decode `set/blue/bad.jpg`");
    assert!(done.out.contains("failed  1 (not counted)"), "{}", done.out);
    assert!(done.out.contains("4 pictures"), "{}", done.out);
}

#[test]
fn skipped_files_are_counted_and_empty_classes_refused() {
    let workshop = with_pictures();
    workshop.write("set/red/3.heic", "no picture that is read");
    let done = workshop.resnet(EVAL);
    assert_eq!(done.status, 0, "{}", done.err);
    assert_eq!(done.err, "note: skipped in `set`: 1 file of other kinds (.heic)\n");
    assert!(
        done.out.contains("4 pictures") && done.out.contains("skipped 1 files"),
        "{}",
        done.out
    );
    workshop.write("set/blue/1.heic", "no picture that is read");
    let done = workshop.resnet(EVAL);
    done.fails("there are no pictures in `set/blue` (1 files of other kinds)").fails("`blue`");
}

#[test]
fn folders_that_make_no_sense_are_explained() {
    let workshop = Workshop::new();
    workshop.resnet(EVAL).fails("cannot read the folder `set`");
    workshop.write("set/notes.txt", "");
    workshop.resnet(EVAL).fails("there are no folders in `set`");
    workshop.write("set/red/notes.txt", "");
    workshop.resnet(EVAL).fails("there are no pictures");
    workshop.write("set/red/bad.png", "");
    workshop.resnet(EVAL).fails("none of the 1 pictures could be read");
    workshop.picture("set/yellow/1.png", [255, 255, 0]);
    workshop.resnet(EVAL).fails("no label: `yellow`; the labels are: red, green, blue");
}

#[test]
fn without_labels_the_order_of_the_folders_counts() {
    let workshop = Workshop::new();
    workshop.write("colours.yaml", crate::COLOURS.replace("labels: [red, green, blue]\n", ""));
    workshop.picture("set/n1/x.png", [255, 0, 0]);
    workshop.picture("set/n2/x.png", [0, 255, 0]);
    workshop.resnet(EVAL).fails("there are 2 folders for 3 classes");
    workshop.picture("set/n3/x.png", [0, 0, 255]);
    assert!(workshop.resnet(EVAL).succeeds().contains("top-1   100.00%  (3)"));
}
