//! tract: loads the ONNX model for the input's shape, and optimises it.

use std::sync::Arc;

use anyhow::Result;
use tract_linalg::multithread::{Executor, set_default_executor};
use tract_onnx::prelude::*;

use crate::{Engine, Job};

struct Tract {
    model: Arc<TypedRunnableModel>,
    input: TValue,
}

pub(crate) fn load(job: Job) -> Result<impl Engine> {
    if job.threads > 1 {
        set_default_executor(Executor::multithread(job.threads));
    }
    let model = tract_onnx::onnx()
        .model_for_path(&job.onnx)?
        .with_input_fact(0, f32::fact(job.shape).into())?
        .into_optimized()?
        .into_runnable()?;
    let input = Tensor::from_shape(&job.shape, &job.input)?.into_tvalue();
    Ok(Tract { model, input })
}

impl Engine for Tract {
    fn run(&mut self) -> Result<Vec<f32>> {
        let outputs = self.model.run(tvec![self.input.clone()])?;
        Ok(outputs[0].to_plain_array_view::<f32>()?.iter().copied().collect())
    }
}
