//! The client.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ballista_core::config::BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK;
use ballista_core::extension::{SessionConfigExt, SessionStateExt};
use ballista_core::serde::BallistaLogicalExtensionCodec;
use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::execution::{FunctionRegistry, SessionStateBuilder};
use datafusion::functions::core::expr_ext::FieldAccessor;
use datafusion::prelude::{
    DataFrame, Expr, ParquetReadOptions, SessionConfig, SessionContext, ident,
};
use futures::StreamExt;
use resnet_arrow::{ArrowNetwork, PICTURE_TYPES};
use resnet_datafusion::{CLASSIFY, FEATURES};

use crate::codec::Codec;
use crate::output::{self, Output};
use crate::pictures::Pictures;

/// The column of answers.
const ANSWER: &str = "answer";

/// Classifies pictures on a cluster.
///
/// The output has the input's columns without the pictures, and `answer`: a struct of `label`, `class`,
/// `probability` and `error`. A picture that cannot be read has an `error`, and NULLs in the other fields.
#[derive(clap::Parser, Debug)]
#[command(name = "cluster-classify", version)]
pub struct Classify {
    /// A Parquet file or a folder of them, or a folder of pictures, which executors read by the same path
    pub input: PathBuf,
    /// The Parquet file of answers
    pub output: PathBuf,
    /// A table's file, or the name of a network of the zoo: the executors' one
    #[arg(long)]
    pub model: PathBuf,
    /// Its weights: the executors' file, or a copy
    #[arg(long)]
    pub weights: PathBuf,
    /// Where the scheduler is
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:50050")]
    pub scheduler: String,
    /// The column of pictures: bytes, paths, or a struct with a field `bytes`
    #[arg(long, default_value = "image")]
    pub column: String,
    /// Features in place of classes: `answer` is a struct of `features` and `error`
    #[arg(long)]
    pub features: bool,
    /// Rows that an executor reads at a time
    #[arg(long, value_name = "ROWS", default_value = "64")]
    pub batch_size: NonZeroUsize,
    /// Tasks that the input is divided into, where it has as many row groups: what a lost executor loses is a few of
    /// them
    #[arg(long, default_value = "64")]
    pub tasks: NonZeroUsize,
    /// Replaces the output, if it is there already
    #[arg(long)]
    pub force: bool,
}

/// What a query did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Rows of the output.
    pub rows: usize,
    /// Of these, pictures that are NULL.
    pub null: usize,
    /// Pictures that have an error in the place of an answer.
    pub failed: usize,
    /// From the query's start to the last answer.
    pub time: Duration,
}

/// Sends the query, and writes its answers.
///
/// # Errors
///
/// An input or a network that cannot be read, a cluster that is not there or has another network, an output that
/// cannot be written. There is no output then.
pub async fn classify(options: &Classify) -> Result<Summary> {
    let Classify { output, tasks, .. } = options;
    output::check(output, options.force)?;
    let description = ArrowNetwork::describe(&options.model, &options.weights)?;
    let context = connect(options)?;
    resnet_datafusion::announce(&context, description);
    let pictures = Pictures::find(&options.input, &options.column, output, tasks.get())?;
    let rows = read(&context, &pictures.parquet).await?;
    let expected = rows.clone().count().await.context("cannot count the input's rows")?;
    let function = if options.features { FEATURES } else { CLASSIFY };
    let answers = answers(&context, rows, &pictures, function)?;
    let summary = collect(answers, output, expected).await?;
    Ok(summary)
}

/// A session on the cluster.
fn connect(options: &Classify) -> Result<SessionContext> {
    let config = SessionConfig::new_with_ballista()
        .with_batch_size(options.batch_size.get())
        .with_target_partitions(options.tasks.get())
        // Files of any size are divided: a row takes milliseconds.
        .with_repartition_file_min_size(1)
        .set_usize(BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK, 1)
        .with_ballista_logical_extension_codec(Codec::<BallistaLogicalExtensionCodec>::new(None));
    let state = SessionStateBuilder::new().with_default_features().with_config(config).build();
    let url = format!("http://{}", options.scheduler);
    Ok(SessionContext::new_with_state(state.upgrade_for_ballista(url)?))
}

async fn read(context: &SessionContext, parquet: &Path) -> Result<DataFrame> {
    let path = parquet.to_str().context("the input's path is no UTF-8")?;
    let read = context.read_parquet(path, ParquetReadOptions::default()).await;
    read.with_context(|| format!("cannot read `{path}` as Parquet"))
}

/// The columns that are no pictures, and the answers.
fn answers(
    context: &SessionContext,
    rows: DataFrame,
    pictures: &Pictures,
    function: &str,
) -> Result<DataFrame> {
    let column = pictures.column.as_str();
    let fields = rows.schema().fields().clone();
    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    let field = fields.iter().find(|field| field.name() == column).with_context(|| {
        format!(
            "there is no column `{column}`; `--column` names the one of pictures, of: {}",
            names.join(", ")
        )
    })?;
    let picture = picture(ident(column), field.data_type()).with_context(|| {
        format!(
            "the column `{column}` is of the type {}; pictures are bytes, paths, or a struct with a field `bytes`",
            field.data_type()
        )
    })?;
    // Of files the path is what tells them apart.
    let is_path =
        matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let kept = names.iter().copied().filter(|name| is_path || *name != column);
    let mut columns: Vec<Expr> = kept.map(ident).collect();
    ensure!(
        !columns.is_empty(),
        "there is no column beside `{column}`: nothing would tell the answers apart. Add one that names each picture"
    );
    ensure!(!names.contains(&ANSWER), "the input has a column `{ANSWER}` already: rename it");
    let function = context.udf(function)?;
    columns.push(function.call(vec![picture]).alias(ANSWER));
    Ok(rows.select(columns)?)
}

/// The pictures of a column, if it has any.
fn picture(column: Expr, kind: &DataType) -> Option<Expr> {
    match kind {
        DataType::Struct(fields) => {
            let bytes = fields.iter().find(|field| field.name() == "bytes")?;
            PICTURE_TYPES[..3].contains(bytes.data_type()).then(|| column.field("bytes"))
        }
        kind => PICTURE_TYPES.contains(kind).then_some(column),
    }
}

/// Writes the answers as they come.
async fn collect(answers: DataFrame, path: &Path, expected: usize) -> Result<Summary> {
    let start = Instant::now();
    let mut stream = answers.execute_stream().await?;
    let mut output = Output::create(path, stream.schema())?;
    let mut summary = Summary::default();
    while let Some(rows) = stream.next().await {
        let rows = rows?;
        let answers = rows.column_by_name(ANSWER).context("the answers have no `answer`")?;
        let errors = answers.as_struct().column_by_name("error").context("there is no `error`")?;
        summary.rows += rows.num_rows();
        summary.null += answers.null_count();
        summary.failed += errors.len() - errors.null_count();
        output.write(&rows)?;
    }
    summary.time = start.elapsed();
    ensure!(
        summary.rows == expected,
        "the input has {expected} rows, and {} answers came: nothing is written",
        summary.rows
    );
    output.finish()?;
    Ok(summary)
}
