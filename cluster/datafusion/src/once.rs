//! Equal calls are made once.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF, Volatility};
use datafusion::optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use std::sync::Arc;

use crate::function::Function;

/// Lets DataFusion's elimination of common subexpressions see the functions as what they are, immutable; for all
/// other rules they are volatile, which keeps calls out of the planner and out of filters that move.
#[derive(Debug)]
pub struct OnceEach;

impl OnceEach {
    /// The rule's name.
    pub const NAME: &str = "resnet_once_each";
}

impl OptimizerRule for OnceEach {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let seen = with_volatility(plan, Volatility::Immutable)?;
        if !seen.transformed {
            return Ok(seen);
        }
        let merged = CommonSubexprEliminate::new().rewrite(seen.data, config)?;
        let plan = with_volatility(merged.data, Volatility::Volatile)?.data;
        Ok(Transformed::new(plan, merged.transformed, merged.tnr))
    }
}

/// The plan with functions of this volatility.
fn with_volatility(plan: LogicalPlan, volatility: Volatility) -> Result<Transformed<LogicalPlan>> {
    plan.transform_down_with_subqueries(|node| {
        node.map_expressions(|expr| expr.transform(|expr| Ok(call(expr, volatility))))
    })
}

fn call(expr: Expr, volatility: Volatility) -> Transformed<Expr> {
    match expr {
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            match func.inner().downcast_ref::<Function>() {
                Some(function) => {
                    let function = ScalarUDF::from(function.with_volatility(volatility));
                    let func = Arc::new(function);
                    Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args }))
                }
                None => Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })),
            }
        }
        other => Transformed::no(other),
    }
}
