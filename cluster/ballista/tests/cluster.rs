//! A scheduler and executors as processes on this machine, and clients that ask them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int32Array, RecordBatch, StructArray,
};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::Int32Type;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::file::properties::WriterProperties;
use resnet_arrow::ArrowNetwork;
use tempfile::TempDir;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path).canonicalize().unwrap()
}

fn table() -> PathBuf {
    root("models/cifar10/resnet20.yaml")
}

fn weights() -> PathBuf {
    root("models/cifar10/resnet20.safetensors")
}

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a process, and waits for its first line.
fn start(command: &mut Command) -> (Process, String) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Process(child), line.trim_end().to_owned())
}

struct Cluster {
    scheduler: String,
    _processes: Vec<Process>,
    folder: TempDir,
}

impl Cluster {
    /// A scheduler and an executor for each file of weights.
    fn start(weights: &[&Path]) -> Self {
        let scheduler = env!("CARGO_BIN_EXE_cluster-scheduler");
        let (process, line) = start(Command::new(scheduler).args(["--port", "0"]));
        let address = line.strip_prefix("listening on ").unwrap().to_owned();
        let mut processes = vec![process];
        for weights in weights {
            let mut command = Command::new(env!("CARGO_BIN_EXE_cluster-executor"));
            command.args(["--slots", "1", "--scheduler", &address]);
            let (process, line) =
                start(command.arg("--model").arg(table()).arg("--weights").arg(weights));
            assert!(line.starts_with("cifar10-resnet20 "), "{line}");
            processes.push(process);
        }
        Self { scheduler: address, _processes: processes, folder: TempDir::new().unwrap() }
    }

    fn classify(&self, input: &Path, output: &str, options: &[&str]) -> (Output, PathBuf) {
        let output = self.folder.path().join(output);
        let mut command = Command::new(env!("CARGO_BIN_EXE_cluster-classify"));
        command.arg(input).arg(&output).args(["--scheduler", &self.scheduler]);
        command.arg("--model").arg(table()).arg("--weights").arg(weights()).args(options);
        (command.output().unwrap(), output)
    }

    /// The rows of an answer that has to be there.
    fn rows(&self, input: &Path, output: &str, options: &[&str]) -> RecordBatch {
        let (done, output) = self.classify(input, output, options);
        assert!(done.status.success(), "{done:?}");
        let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(output).unwrap());
        let reader = reader.unwrap();
        let schema = Arc::clone(reader.schema());
        let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
        concat_batches(&schema, &batches).unwrap()
    }
}

/// Pictures of the examples, over and over, with what is none among them, in small row groups.
fn parquet(path: &Path, rows: usize) -> BinaryArray {
    let files: Vec<PathBuf> = fs::read_dir(root("examples/pictures"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().unwrap() != "md")
        .collect();
    let bytes: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    let picture = |row: usize| match row % 20 {
        3 => None,
        7 => Some(&b"no picture"[..]),
        _ => Some(&bytes[row % bytes.len()][..]),
    };
    let pictures = BinaryArray::from_iter((0..rows).map(picture));
    let columns: [(&str, ArrayRef); 2] = [
        ("id", Arc::new(Int32Array::from_iter_values(0..rows as i32))),
        ("image", Arc::new(pictures.clone())),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(25)).build();
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    pictures
}

fn answers(rows: &RecordBatch) -> &StructArray {
    rows.column_by_name("answer").unwrap().as_struct()
}

#[test]
fn a_cluster_answers_as_the_network_does() {
    let cluster = Cluster::start(&[&weights(), &weights()]);
    let network = ArrowNetwork::open(table(), weights()).unwrap();

    // Parquet: every row once, whichever executor had it.
    let input = cluster.folder.path().join("pictures.parquet");
    let pictures = parquet(&input, 500);
    let rows = cluster.rows(&input, "answers.parquet", &["--batch-size", "10"]);
    let expected = network.classify(&pictures).unwrap();
    let ids = rows.column_by_name("id").unwrap().as_primitive::<Int32Type>();
    let mut seen: Vec<i32> = ids.values().to_vec();
    for (row, id) in seen.iter().enumerate() {
        let (answer, expected) = (answers(&rows).slice(row, 1), expected.slice(*id as usize, 1));
        assert_eq!(answer, expected, "row {id}");
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..500).collect::<Vec<_>>());
    assert_eq!(answers(&rows).null_count(), 25);

    // A folder: by their paths.
    let rows = cluster.rows(&root("examples/pictures"), "folder.parquet", &[]);
    let paths = rows.column_by_name("path").unwrap();
    assert_eq!(rows.num_rows(), 12);
    assert_eq!(*answers(&rows), network.classify(paths).unwrap());

    // Features.
    let rows = cluster.rows(&input, "features.parquet", &["--features"]);
    let ids = rows.column_by_name("id").unwrap().as_primitive::<Int32Type>();
    let expected = network.features(&pictures).unwrap();
    for (row, id) in ids.values().iter().enumerate() {
        let expected = expected.slice(*id as usize, 1);
        assert_eq!(answers(&rows).slice(row, 1).to_data(), expected.to_data(), "row {id}");
    }

    // What cannot be is said, and leaves no file.
    let refused = |options: &[&str], expected: &str| {
        let (done, output) = cluster.classify(&input, "refused.parquet", options);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && said.contains(expected), "{options:?}: {said}");
        assert!(!output.exists());
    };
    refused(&["--column", "picture"], "there is no column `picture`");
    refused(&["--column", "id"], "is of the type Int32; pictures are bytes");
    let (done, _) = cluster.classify(&input, "answers.parquet", &[]);
    assert!(String::from_utf8_lossy(&done.stderr).contains("is there already; `--force`"));
    let (done, _) = cluster.classify(&input, "answers.parquet", &["--force"]);
    assert!(done.status.success());
    let left = fs::read_dir(cluster.folder.path()).unwrap().count();
    assert_eq!(left, 4, "the input and three outputs, and nothing that was on its way");
}

#[test]
fn an_executor_with_another_network_refuses() {
    let folder = TempDir::new().unwrap();
    let other = folder.path().join("other.safetensors");
    let mut bytes = fs::read(weights()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&other, bytes).unwrap();
    let cluster = Cluster::start(&[&other]);
    let input = cluster.folder.path().join("pictures.parquet");
    parquet(&input, 30);
    let (done, output) = cluster.classify(&input, "answers.parquet", &[]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("the query asks for the network `cifar10-resnet20"), "{said}");
    assert!(!done.status.success() && !output.exists());
}
