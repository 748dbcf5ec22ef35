//! The functions, as DataFusion calls them.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, StructArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use resnet_arrow::{
    ArrowNetwork, Description, PICTURE_TYPES, UnknownType, classes_type, features_type,
};

/// The name of the function that answers with classes.
pub const CLASSIFY: &str = "resnet_classify";

/// The name of the function that answers with features.
pub const FEATURES: &str = "resnet_features";

/// A function of a network, which may be another machine's.
pub(crate) struct Function {
    /// [`CLASSIFY`] or [`FEATURES`].
    name: &'static str,
    pub(crate) description: Description,
    network: Option<Arc<ArrowNetwork>>,
    signature: Signature,
}

impl Function {
    /// A function that the optimizer leaves where it stands: it is volatile, so that a call on a literal is not made
    /// while the query is planned, and no filter takes a call of its own along. [`OnceEach`](crate::OnceEach) knows that
    /// equal calls have equal answers.
    pub(crate) fn new(
        name: &'static str,
        description: Description,
        network: Option<Arc<ArrowNetwork>>,
    ) -> Self {
        Self {
            name,
            description,
            network,
            signature: Signature::user_defined(Volatility::Volatile),
        }
    }

    /// The same function, as the optimizer is to see it.
    pub(crate) fn with_volatility(&self, volatility: Volatility) -> Self {
        let Self { name, ref description, ref network, .. } = *self;
        let signature = Signature::user_defined(volatility);
        Self { name, description: description.clone(), network: network.clone(), signature }
    }

    fn rows(&self, pictures: &dyn Array) -> Result<StructArray> {
        let Some(network) = &self.network else {
            return exec_err!(
                "`{}` of the network `{}` was called where the network is not: it computes on executors",
                self.name,
                self.description
            );
        };
        let answers = match self.name {
            CLASSIFY => network.classify(pictures),
            _ => network.features(pictures),
        };
        answers.map_err(|error| DataFusionError::External(Box::new(error)))
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        let Description { ref name, classes, features, .. } = self.description;
        match (self.name, classes, features) {
            (CLASSIFY, 0, _) => {
                plan_err!(
                    "`{name}` ends in features, not in classes: `{FEATURES}` answers with them"
                )
            }
            (CLASSIFY, ..) => Ok(classes_type()),
            (_, _, 0) => {
                plan_err!("`{name}` has no features: it does not end in a linear classifier")
            }
            (_, _, len) => Ok(features_type(len)),
        }
    }

    /// Pictures are taken as they are: a cast would copy them, and of a number make a path.
    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Null] => Ok(vec![DataType::Binary]),
            [known] if PICTURE_TYPES.contains(known) => Ok(vec![known.clone()]),
            [other] => plan_err!("`{}`: {}", self.name, UnknownType(other.clone())),
            _ => plan_err!("`{}` takes one picture, not {} arguments", self.name, types.len()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match &args.args[..] {
            [ColumnarValue::Array(pictures)] => {
                Ok(ColumnarValue::Array(Arc::new(self.rows(pictures)?)))
            }
            [ColumnarValue::Scalar(picture)] => {
                let answer = self.rows(&*picture.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&answer, 0)?))
            }
            _ => exec_err!("`{}` takes one picture, not {} arguments", self.name, args.args.len()),
        }
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.name, self.description)
    }
}

/// Whether the network is here says nothing about the answer.
impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        (self.name, &self.description, &self.signature)
            == (other.name, &other.description, &other.signature)
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.name, &self.description, &self.signature).hash(state);
    }
}
