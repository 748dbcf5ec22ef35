//! The functions in plans on their way between client, scheduler and executors; all else is Ballista's.

use std::sync::Arc;

use ballista_core::serde::{BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::{Result, TableReference};
use datafusion::datasource::file_format::FileFormatFactory;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Extension, LogicalPlan, ScalarUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use resnet_arrow::ArrowNetwork;

/// Ballista's codec `C`, for functions of a network too.
pub struct Codec<C> {
    inner: C,
    /// What computes; plans can be made without it.
    network: Option<Arc<ArrowNetwork>>,
}

impl<C: Default> Codec<C> {
    /// A codec of an executor that has this network, or of a client or a scheduler, which have none.
    pub fn new(network: Option<Arc<ArrowNetwork>>) -> Arc<Self> {
        Arc::new(Self { inner: C::default(), network })
    }
}

impl<C> std::fmt::Debug for Codec<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Codec").field(&self.network.as_ref().map(|n| n.description())).finish()
    }
}

impl<C> Codec<C> {
    fn decode(&self, name: &str, sent: &[u8]) -> Result<Option<Arc<ScalarUDF>>> {
        Ok(resnet_datafusion::decode(name, sent, self.network.as_ref())?.map(Arc::new))
    }
}

/// Writes a function of ours; whether it is one.
fn encode(function: &ScalarUDF, sent: &mut Vec<u8>) -> bool {
    let ours = resnet_datafusion::encode(function);
    sent.extend(ours.iter().flatten());
    ours.is_some()
}

impl LogicalExtensionCodec for Codec<BallistaLogicalExtensionCodec> {
    fn try_decode(
        &self,
        sent: &[u8],
        inputs: &[LogicalPlan],
        context: &TaskContext,
    ) -> Result<Extension> {
        self.inner.try_decode(sent, inputs, context)
    }

    fn try_encode(&self, node: &Extension, sent: &mut Vec<u8>) -> Result<()> {
        self.inner.try_encode(node, sent)
    }

    fn try_decode_table_provider(
        &self,
        sent: &[u8],
        table: &TableReference,
        schema: SchemaRef,
        context: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        self.inner.try_decode_table_provider(sent, table, schema, context)
    }

    fn try_encode_table_provider(
        &self,
        table: &TableReference,
        provider: Arc<dyn TableProvider>,
        sent: &mut Vec<u8>,
    ) -> Result<()> {
        self.inner.try_encode_table_provider(table, provider, sent)
    }

    fn try_decode_file_format(
        &self,
        sent: &[u8],
        context: &TaskContext,
    ) -> Result<Arc<dyn FileFormatFactory>> {
        self.inner.try_decode_file_format(sent, context)
    }

    fn try_encode_file_format(
        &self,
        sent: &mut Vec<u8>,
        format: Arc<dyn FileFormatFactory>,
    ) -> Result<()> {
        self.inner.try_encode_file_format(sent, format)
    }

    fn try_decode_udf(&self, name: &str, sent: &[u8]) -> Result<Arc<ScalarUDF>> {
        match self.decode(name, sent)? {
            Some(function) => Ok(function),
            None => self.inner.try_decode_udf(name, sent),
        }
    }

    fn try_encode_udf(&self, function: &ScalarUDF, sent: &mut Vec<u8>) -> Result<()> {
        if encode(function, sent) { Ok(()) } else { self.inner.try_encode_udf(function, sent) }
    }
}

impl PhysicalExtensionCodec for Codec<BallistaPhysicalExtensionCodec> {
    fn try_decode(
        &self,
        sent: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.inner.try_decode(sent, inputs, context, converter)
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        sent: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        self.inner.try_encode(node, sent, converter)
    }

    fn try_decode_udf(&self, name: &str, sent: &[u8]) -> Result<Arc<ScalarUDF>> {
        match self.decode(name, sent)? {
            Some(function) => Ok(function),
            None => self.inner.try_decode_udf(name, sent),
        }
    }

    fn try_encode_udf(&self, function: &ScalarUDF, sent: &mut Vec<u8>) -> Result<()> {
        if encode(function, sent) { Ok(()) } else { self.inner.try_encode_udf(function, sent) }
    }
}
