//! `cargo xtask sizes`: files and functions that have grown too long to be read at once.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file.
const FILE: usize = 500;

/// Lines of nine functions in ten,
const USUAL: usize = 40;

/// and of the others.
const MOST: usize = 80;

/// Functions that are longer, and files (which name no function), and why.
const EXCUSED: &[(&str, &str, &str)] = &[
    ("tests/random_tables.rs", "row", "a strategy for each operation"),
    (
        "import/tests/onnx/refused.rs",
        "what_a_table_cannot_say_is_refused_by_the_node_s_name",
        "a list of cases",
    ),
    ("import/src/table/stage.rs", "run", "a row, column after column"),
    ("import/src/onnx/chain.rs", "decompose", "one walk, whose state is local"),
    ("import/src/onnx/scales.rs", "chunks", "one walk, whose state is local"),
    ("import/src/beside/transformers.rs", "preprocessor", "a configuration, key after key"),
    ("runtime/src/kernels/catalogue.rs", "", "a list of declarations, one a kernel"),
    ("compiler/src/nest/lower/training.rs", "op", "an arm for each operator"),
    ("import/tests/names.rs", "", "a list of repositories and their names"),
];

/// Folders that hold no code of this workspace.
const ELSEWHERE: &[&str] = &["target", "peers", ".git"];

/// Prints what is too long; false if there is anything.
pub(crate) fn check(workspace: &Path) -> bool {
    let mut files = Vec::new();
    collect(workspace, &mut files);
    let (mut functions, mut usual, mut fine) = (0, 0, true);
    for file in files {
        let name = file.strip_prefix(workspace).unwrap_or(&file).display().to_string();
        let text = fs::read_to_string(&file).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let excused = |function: &str| {
            EXCUSED.iter().any(|(file, known, _)| *file == name && *known == function)
        };
        if lines.len() > FILE && !excused("") {
            fine = false;
            eprintln!("{name}: {} lines, more than {FILE}", lines.len());
        }
        for (function, len) in self::functions(&lines) {
            functions += 1;
            usual += usize::from(len < USUAL);
            if len > MOST && !excused(function) {
                fine = false;
                eprintln!("{name}: `{function}` has {len} lines, more than {MOST}");
            }
        }
    }
    eprintln!("{functions} functions, {usual} of them under {USUAL} lines");
    fine && usual * 10 >= functions * 9
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !ELSEWHERE.contains(&&*name) {
            collect(&path, files);
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}

/// The functions of a formatted file with their lines: each ends where a brace stands below its first word.
fn functions<'a>(lines: &[&'a str]) -> Vec<(&'a str, usize)> {
    let mut found = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let words = ["pub", "const", "async", "unsafe", "extern", "\"C\""];
        let mut rest = code.split(' ').skip_while(|w| words.contains(w) || w.starts_with("pub("));
        let (Some("fn"), Some(name)) = (rest.next(), rest.next()) else { continue };
        let name = name.split(['(', '<']).next().unwrap_or_default();
        let end = format!("{}}}", &line[..line.len() - code.len()]);
        let signature = lines[first..].iter().find(|line| line.ends_with(['{', '}', ';']));
        if code.ends_with('}') {
            found.push((name, 1));
        } else if signature.is_some_and(|last| last.ends_with('{'))
            && let Some(last) = lines[first..].iter().position(|line| *line == end)
        {
            found.push((name, last + 1));
        }
    }
    found
}
