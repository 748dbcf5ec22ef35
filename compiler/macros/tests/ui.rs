//! Mistakes as rustc shows them. To write the expected texts anew: `TRYBUILD=overwrite cargo test`.

use std::path::{Path, PathBuf};

/// The folder of the crate that `trybuild` makes of the cases, from which paths count.
fn case_crate() -> PathBuf {
    let exe = std::env::current_exe().expect("the test has a file");
    // target/debug/deps/ui
    let target = exe.ancestors().nth(3).expect("a target folder");
    target.join("tests/trybuild").join(env!("CARGO_PKG_NAME"))
}

#[test]
fn mistakes_are_shown_where_they_are() {
    let tables = Path::new("tests/ui/tables");
    let copies = case_crate().join(tables);
    std::fs::create_dir_all(&copies).expect("a folder for the tables");
    for entry in tables.read_dir().expect("the tables") {
        let path = entry.expect("a table").path();
        let copy = copies.join(path.file_name().expect("a name"));
        std::fs::copy(&path, copy).expect("a copy");
    }
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass.rs");
    cases.compile_fail("tests/ui/[!p]*.rs");
}
