//! The functions in plans that are sent: by name, with the description of the network that is meant.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result, plan_err};
use datafusion::logical_expr::ScalarUDF;
use resnet_arrow::{ArrowNetwork, Description};

use crate::function::{CLASSIFY, FEATURES, Function};

/// What a plan carries of a function beside its name; `None` if it is none of ours.
pub fn encode(function: &ScalarUDF) -> Option<Vec<u8>> {
    let function = function.inner().downcast_ref::<Function>()?;
    Some(function.description.to_string().into_bytes())
}

/// The function of this name, of the network that `sent` describes, where `network` is; `None` if the name is none of
/// ours. Without a network the plan can be planned further, and not be run.
///
/// # Errors
///
/// A plan that means another network: its answers are not this one's.
pub fn decode(
    name: &str,
    sent: &[u8],
    network: Option<&Arc<ArrowNetwork>>,
) -> Result<Option<ScalarUDF>> {
    let Some(name) = [CLASSIFY, FEATURES].into_iter().find(|known| *known == name) else {
        return Ok(None);
    };
    let wanted = String::from_utf8_lossy(sent);
    let wanted: Description =
        wanted.parse().map_err(|error| DataFusionError::External(Box::new(error)))?;
    if let Some(here) = network.map(|network| network.description())
        && *here != wanted
    {
        return plan_err!(
            "the query asks for the network `{wanted}`, and this executor has `{here}`: start executors and clients \
             with the same table and the same file of weights"
        );
    }
    Ok(Some(Function::new(name, wanted, network.cloned()).into()))
}
