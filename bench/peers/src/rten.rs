//! rten: loads the ONNX model; weights are packed once. Threads come from `RTEN_NUM_THREADS`.

use anyhow::{Context, Result};
use rten::{Model, ModelOptions, ValueView};

use crate::{Engine, Job};

struct Rten {
    model: Model,
    job: Job,
}

pub(crate) fn load(job: Job) -> Result<impl Engine> {
    let model = ModelOptions::with_all_ops().prepack_weights(true).load_file(&job.onnx)?;
    Ok(Rten { model, job })
}

impl Engine for Rten {
    fn run(&mut self) -> Result<Vec<f32>> {
        let input = ValueView::from_shape(self.job.shape, &self.job.input[..])?;
        let output = self.model.run_one(input.into(), None)?;
        let tensor = output.into_tensor::<f32>().context("the answer is no f32 tensor")?;
        Ok(tensor.into_data())
    }
}
