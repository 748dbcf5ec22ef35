//! ResNets as functions of DataFusion.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use datafusion::prelude::{SessionConfig, SessionContext};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let context = SessionContext::new_with_config(SessionConfig::new().with_batch_size(64));
//! let network = resnet_arrow::ArrowNetwork::open("resnet18", "resnet18.safetensors")?;
//! resnet_datafusion::register(&context, Arc::new(network));
//!
//! let answers = context.sql("SELECT id, resnet_classify(image)['label'] FROM pictures").await?;
//! answers.show().await?;
//! # Ok(()) }
//! ```
//!
//! `resnet_classify(picture)` is a struct of `label`, `class`, `probability` and `error`,
//! `resnet_features(picture)` one of `features` and `error`. A picture is bytes (`Binary`, `LargeBinary`,
//! `BinaryView`) or the path of a file (`Utf8`, `LargeUtf8`, `Utf8View`).
//!
//! A call costs milliseconds, so nothing makes one that is not needed: not the planner, of literals, and
//! not a second field of the same struct, nor a filter on one where the call is in a subquery.

mod function;
mod once;
mod wire;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionContext;
use resnet_arrow::{ArrowNetwork, Description};

use function::Function;
pub use function::{CLASSIFY, FEATURES};
pub use once::OnceEach;
pub use wire::{decode, encode};

/// Registers the functions of a network, and the rule that keeps equal calls one.
pub fn register(context: &SessionContext, network: Arc<ArrowNetwork>) {
    let description = network.description().clone();
    install(context, functions(description, Some(network)));
}

/// Registers the functions of a network that is elsewhere: queries can be planned with them and sent, and not be run
/// here.
pub fn announce(context: &SessionContext, description: Description) {
    install(context, functions(description, None));
}

fn install(context: &SessionContext, functions: Vec<ScalarUDF>) {
    context.remove_optimizer_rule(OnceEach::NAME);
    context.add_optimizer_rule(Arc::new(OnceEach));
    functions.into_iter().for_each(|function| context.register_udf(function));
}

/// The functions of a network: one that computes, or one of which only a description is here.
fn functions(description: Description, network: Option<Arc<ArrowNetwork>>) -> Vec<ScalarUDF> {
    let names = [CLASSIFY, FEATURES];
    let function = |name| Function::new(name, description.clone(), network.clone()).into();
    names.map(function).into()
}
