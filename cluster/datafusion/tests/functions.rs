//! The functions in queries: what they answer, and how often they are called.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::array::{
    ArrayRef, AsArray, BinaryArray, BinaryViewArray, Int32Array, LargeBinaryArray, RecordBatch,
};
use datafusion::arrow::datatypes::{Float32Type, Float64Type, Int32Type};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use resnet::{Answer, DynSession, Info, Network, Pool, Preprocess, RunError};
use resnet_arrow::ArrowNetwork;

/// A network whose answer is the first pixel's red and green; it counts the pictures that it is asked for.
struct Counting {
    info: Info,
    pictures: Arc<AtomicUsize>,
}

impl Network for Counting {
    fn info(&self) -> &Info {
        &self.info
    }

    fn session_in(&self, _: Option<&Pool>) -> io::Result<Box<dyn DynSession>> {
        Ok(Box::new(Session(Arc::clone(&self.pictures), [0.0; 2])))
    }
}

struct Session(Arc<AtomicUsize>, [f32; 2]);

impl DynSession for Session {
    fn run(&mut self, picture: &[f32]) -> Result<&[f32], RunError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        self.1 = [picture[0], picture[1]];
        Ok(&self.1)
    }

    fn run_batch(&mut self, pictures: &[f32], outputs: &mut [f32]) -> Result<(), RunError> {
        for (picture, output) in pictures.chunks_exact(3).zip(outputs.chunks_exact_mut(2)) {
            output.copy_from_slice(self.run(picture)?);
        }
        Ok(())
    }
}

fn network(answer: Answer, fingerprint: u64) -> (Arc<ArrowNetwork>, Arc<AtomicUsize>) {
    let pictures = Arc::new(AtomicUsize::new(0));
    let info = Info {
        name: "counting".into(),
        input: [3, 1, 1],
        outputs: 2,
        answer,
        features: std::borrow::Cow::Borrowed(&[]),
        depth: 0,
        params: 0,
        macs: 0,
        arena_bytes: 0,
    };
    let counting = Box::new(Counting { info, pictures: Arc::clone(&pictures) });
    let network = ArrowNetwork::embedded(counting, Preprocess::default(), None, fingerprint);
    (Arc::new(network.unwrap()), pictures)
}

/// A picture of one pixel.
fn pixel(red: u8, green: u8) -> Vec<u8> {
    [&b"P6 1 1 255\n"[..], &[red, green, 0]].concat()
}

const ROWS: usize = 100;

/// `pictures`: `id`, and the pictures as all types of bytes. Every tenth is NULL, every tenth is none.
fn pictures() -> RecordBatch {
    let picture = |row: usize| match row % 10 {
        3 => None,
        7 => Some(b"no picture".to_vec()),
        _ => Some(pixel(row as u8, 50)),
    };
    let pictures: Vec<Option<Vec<u8>>> = (0..ROWS).map(picture).collect();
    let slices = || pictures.iter().map(|picture| picture.as_deref());
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(Int32Array::from_iter_values(0..ROWS as i32))),
        ("image", Arc::new(BinaryArray::from_iter(slices()))),
        ("large", Arc::new(LargeBinaryArray::from_iter(slices()))),
        ("view", Arc::new(BinaryViewArray::from_iter(slices()))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// What there are pictures of.
const USABLE: usize = ROWS / 10 * 8;

fn context(batch_size: usize) -> (SessionContext, Arc<AtomicUsize>) {
    let config = SessionConfig::new().with_batch_size(batch_size).with_target_partitions(2);
    let context = SessionContext::new_with_config(config);
    let (network, pictures) = network(Answer::Logits, 1);
    resnet_datafusion::register(&context, network);
    (with_pictures(context), pictures)
}

fn with_pictures(context: SessionContext) -> SessionContext {
    let rows = pictures();
    let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).unwrap();
    context.register_table("pictures", Arc::new(table)).unwrap();
    context
}

async fn run(context: &SessionContext, query: &str) -> Vec<RecordBatch> {
    context.sql(query).await.unwrap().collect().await.unwrap()
}

async fn shown(context: &SessionContext, query: &str) -> String {
    pretty_format_batches(&run(context, query).await).unwrap().to_string()
}

#[tokio::test]
async fn a_picture_is_computed_once_however_many_fields_are_asked_for() {
    let queries = [
        "SELECT id, resnet_classify(image)['label'], resnet_classify(image)['probability'] FROM pictures",
        "SELECT a['label'], a['class'] + a['probability'], a FROM (SELECT id, resnet_classify(image) AS a FROM pictures)",
        // The filter stays above the call, and does not bring one of its own.
        "SELECT id, a['probability'] FROM (SELECT id, resnet_classify(image) AS a FROM pictures) WHERE a['label'] = 'class 1'",
        "SELECT a['label'], count(*) FROM (SELECT resnet_classify(image) AS a FROM pictures) GROUP BY a['label'] ORDER BY 1",
        "SELECT resnet_classify(image)['label'] AS l, count(*) FROM pictures GROUP BY l ORDER BY l",
    ];
    for query in queries {
        let (context, counted) = context(16);
        run(&context, query).await;
        assert_eq!(counted.load(Ordering::Relaxed), USABLE, "{query}");
    }
    // What other columns filter away is not computed.
    let (context, counted) = context(16);
    run(&context, "SELECT * FROM (SELECT id, resnet_classify(image) FROM pictures) WHERE id < 10")
        .await;
    assert_eq!(counted.load(Ordering::Relaxed), 8);
}

#[tokio::test]
async fn planning_computes_nothing() {
    let (context, counted) = context(16);
    let hex: String = pixel(1, 2).iter().map(|byte| format!("{byte:02x}")).collect();
    let query = format!("SELECT resnet_classify(X'{hex}')['class'] AS class");
    let plan = context.sql(&query).await.unwrap();
    let plan = plan.create_physical_plan().await.unwrap();
    assert_eq!(counted.load(Ordering::Relaxed), 0);
    let rows = datafusion::physical_plan::collect(plan, context.task_ctx()).await.unwrap();
    assert_eq!(counted.load(Ordering::Relaxed), 1);
    assert_eq!(rows[0].column(0).as_primitive::<Int32Type>().value(0), 1);
}

#[tokio::test]
async fn every_type_and_batch_size_has_the_same_answers() {
    let mut all = Vec::new();
    for batch_size in [1, 7, 64, 8192] {
        for column in ["image", "large", "view"] {
            let (context, _) = context(batch_size);
            let query =
                format!("SELECT id, resnet_classify({column}) AS a FROM pictures ORDER BY id");
            all.push(shown(&context, &query).await);
        }
    }
    all.dedup();
    assert_eq!(all.len(), 1);
    let (context, _) = context(64);
    let query = "SELECT count(*), count(a), count(a['class']), count(a['error']), sum(a['class'])
        FROM (SELECT resnet_classify(view) AS a FROM pictures)";
    let rows = run(&context, query).await;
    let counts: Vec<i64> = (0..5)
        .map(|column| {
            rows[0]
                .column(column)
                .as_primitive::<datafusion::arrow::datatypes::Int64Type>()
                .value(0)
        })
        .collect();
    // Green is 50 everywhere, so that class 1 is where red is less.
    let ones = (0..50).filter(|row| ![3, 7].contains(&(row % 10))).count() as i64;
    assert_eq!(counts, [100, 90, 80, 10, ones]);
    let query = "SELECT resnet_classify(image)['error'] FROM pictures WHERE id = 7";
    let rows = run(&context, query).await;
    let error = rows[0].column(0).as_string::<i32>().value(0);
    assert!(error.starts_with("cannot decode the picture: "), "{error}");
    let query = "SELECT resnet_classify(image)['probability'] FROM pictures WHERE id = 50";
    let rows = run(&context, query).await;
    assert_eq!(rows[0].column(0).as_primitive::<Float64Type>().value(0), 0.5);
}

#[tokio::test]
async fn features_are_lists() {
    let (network, _) = network(Answer::Features, 1);
    let context = SessionContext::new();
    resnet_datafusion::register(&context, network);
    let context = with_pictures(context);
    let query = "SELECT resnet_features(image)['features'] FROM pictures WHERE id = 51";
    let rows = run(&context, query).await;
    let list = rows[0].column(0).as_fixed_size_list().value(0);
    assert_eq!(list.as_primitive::<Float32Type>().values()[..], [51.0 / 255.0, 50.0 / 255.0]);
    let error = context.sql("SELECT resnet_classify(image) FROM pictures").await.unwrap_err();
    assert!(error.to_string().contains("`counting` ends in features, not in classes"), "{error}");
}

#[tokio::test]
async fn what_holds_no_pictures_is_refused_while_planning() {
    let (context, _) = context(16);
    for (query, expected) in [
        ("SELECT resnet_classify(id) FROM pictures", "not Int32"),
        (
            "SELECT resnet_classify(image, image) FROM pictures",
            "takes one picture, not 2 arguments",
        ),
        ("SELECT resnet_features(image) FROM pictures", "`counting` has no features"),
    ] {
        let error = context.sql(query).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{query}: {error}");
    }
}

#[tokio::test]
async fn a_plan_means_one_network() {
    let (here, _) = network(Answer::Logits, 1);
    let (other, _) = network(Answer::Logits, 2);
    let context = SessionContext::new();
    resnet_datafusion::announce(&context, here.description().clone());
    let context = with_pictures(context);
    // It is planned, and not run.
    let plan = context.sql("SELECT resnet_classify(image) FROM pictures").await.unwrap();
    let error = plan.collect().await.unwrap_err().to_string();
    assert!(error.contains("was called where the network is not"), "{error}");

    let function = context.state().scalar_functions()["resnet_classify"].clone();
    let sent = resnet_datafusion::encode(&function).unwrap();
    let received = resnet_datafusion::decode("resnet_classify", &sent, Some(&here)).unwrap();
    assert_eq!(received.unwrap().name(), "resnet_classify");
    let refused = resnet_datafusion::decode("resnet_classify", &sent, Some(&other)).unwrap_err();
    let refused = refused.to_string();
    assert!(refused.contains("asks for the network `counting 0000000000000001"), "{refused}");
    assert!(refused.contains("has `counting 0000000000000002"), "{refused}");
    assert!(resnet_datafusion::decode("resnet_classify", b"?", None).is_err());
    assert_eq!(resnet_datafusion::decode("abs", b"", Some(&here)).unwrap(), None);
    let abs = context.state().scalar_functions()["abs"].clone();
    assert_eq!(resnet_datafusion::encode(&abs), None);
}
