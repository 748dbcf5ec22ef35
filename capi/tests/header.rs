//! `include/resnet.h` is what cbindgen makes of the sources; `UPDATE_HEADER=1 cargo test --workspace --test header`
//! writes it anew.

use std::path::Path;

#[test]
fn the_header_is_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).unwrap();
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in ["error", "model", "network", "image", "session"] {
        builder = builder.with_src(folder.join(format!("src/{source}.rs")));
    }
    let mut header = Vec::new();
    builder.generate().unwrap().write(&mut header);
    // What Rust promises for the caller is said in the words above it.
    let header = without_safety(&String::from_utf8(header).unwrap());
    let path = folder.join("include/resnet.h");
    if std::env::var_os("UPDATE_HEADER").is_some() {
        std::fs::write(&path, &header).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == header, "include/resnet.h is not current: see this test's documentation");
}

/// The header without the sections `# Safety` of its comments.
fn without_safety(header: &str) -> String {
    let (mut lines, mut inside) = (Vec::new(), false);
    for line in header.lines() {
        inside = line.trim() == "// # Safety" || (inside && line.trim_start().starts_with("//"));
        if inside {
            continue;
        }
        // The empty line of the comment that comes before the section, which does not end one any more.
        if !line.trim_start().starts_with("//")
            && lines.last().is_some_and(|l: &&str| l.trim() == "//")
        {
            lines.pop();
        }
        lines.push(line);
    }
    lines.join("\n") + "\n"
}
