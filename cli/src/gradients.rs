//! `resnet gradients`: what reaches each layer.

mod text;

use std::io::Write;

use anyhow::{Context, Result};
use resnet::train::{GradientOptions, LayerGradient};
use resnet_compiler::graph::Graph;
use serde::Serialize;

use crate::Outcome;
use crate::args::{Format, Gradients};
use crate::dataset::read;
use crate::model::{labels, note_preprocess, open_model};
use crate::output::{self, Kind, Output};
use resnet_report::curves::{Curves, Line, Panel};

/// Results; the JSON has these names.
#[derive(Serialize)]
struct Results {
    batch: usize,
    steps: usize,
    rate: f64,
    moved: Option<f64>,
    seed: u64,
    /// Where images were read; none: they were drawn.
    images: Option<String>,
    networks: Vec<Network>,
}

#[derive(Serialize)]
struct Network {
    name: String,
    /// At the start and after the steps.
    measured: Vec<Measured>,
}

#[derive(Serialize)]
struct Measured {
    steps: usize,
    loss: f64,
    layers: Vec<Layer>,
}

#[derive(Serialize)]
struct Layer {
    layer: String,
    output: [usize; 3],
    norm: f64,
    rms: f64,
    weight_gradient: f64,
    weight: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<f64>,
}

pub(crate) fn gradients(options: &Gradients, out: &mut dyn Write) -> Result<Outcome> {
    let svg = match &options.svg {
        Some(path) => Some(Output::create(path, Kind::Svg, options.force.force, [])?),
        None => None,
    };
    let mut results = Results {
        batch: options.batch.get(),
        steps: options.steps,
        rate: options.rate,
        moved: options.moved,
        seed: options.seed.seed,
        images: options.images.as_ref().map(|path| path.display().to_string()),
        networks: Vec::new(),
    };
    if options.images.is_none() {
        crate::voice::note!(
            "images and classes are drawn (`--seed {}`); `--images` takes real ones",
            options.seed.seed
        );
    }
    for path in &options.models {
        let network = network(options, path).with_context(|| format!("`{}`", path.display()));
        results.networks.push(network?);
    }
    if let Some(mut file) = svg {
        file.write_all(results.plot().svg().as_bytes())?;
        let alone = file.is_stdout();
        file.finish()?;
        if alone {
            return Ok(Outcome::Done);
        }
    }
    match options.format.format {
        Format::Json => output::json(out, &results)?,
        Format::Text => text::write(&results, options.layers, out)?,
    }
    out.flush()?;
    Ok(Outcome::Done)
}

fn network(options: &Gradients, path: &std::path::Path) -> Result<Network> {
    let model = open_model(path)?;
    let classes = Graph::build(&model.spec)?.output_shape().channels;
    let data = match &options.images {
        Some(images) => {
            let labels = labels(&model, options.labels.labels.as_deref(), classes)?;
            note_preprocess(&model);
            Some(read(images, "`--images`", labels, Some(classes))?.images)
        }
        None => None,
    };
    let how = GradientOptions {
        batch: options.batch.get(),
        steps: options.steps,
        rate: options.rate,
        moved: options.moved,
        seed: options.seed.seed,
        threads: Some(options.threads.get()),
        isa: options.isa.get(),
    };
    let measured = resnet::train::gradients(&model.spec, data.as_deref(), &how)?;
    let measured = measured.into_iter().map(|of| Measured {
        steps: of.steps,
        loss: of.loss,
        layers: of.layers.into_iter().map(Layer::from).collect(),
    });
    Ok(Network { name: model.spec.name.value.to_string(), measured: measured.collect() })
}

impl From<LayerGradient> for Layer {
    fn from(of: LayerGradient) -> Self {
        let rms = of.rms();
        let LayerGradient { layer, output, norm, weight_gradient, weight, agreement } = of;
        Self { layer, output, norm, rms, weight_gradient, weight, agreement }
    }
}

impl Results {
    /// Of what the gradients are.
    fn heading(&self) -> String {
        let images = match &self.images {
            Some(path) => format!("images of {path}"),
            None => "drawn images".to_owned(),
        };
        format!("{} {images}, seed {}", self.batch, self.seed)
    }

    fn plot(&self) -> Curves {
        let lines = |of: &dyn Fn(&Layer) -> f64| {
            let each = self.networks.iter().flat_map(|network| {
                network.measured.iter().map(move |measured| (network, measured))
            });
            let line = |(network, measured): (&Network, &Measured)| {
                let last = (measured.layers.len() - 1).max(1) as f64;
                let points = measured.layers.iter().enumerate();
                Line {
                    name: network.name.clone(),
                    is_dashed: measured.steps > 0,
                    points: points.map(|(at, layer)| [at as f64 / last, of(layer)]).collect(),
                }
            };
            each.map(line).collect()
        };
        let mut panels = vec![Panel {
            up: "L2 norm of an image's gradient",
            is_logarithmic: true,
            lines: lines(&|layer| layer.norm),
        }];
        if self.moved.is_some() {
            panels.push(Panel {
                up: "agreement, as a cosine",
                is_logarithmic: false,
                lines: lines(&|layer| layer.agreement.unwrap_or(f64::NAN)),
            });
        }
        Curves {
            title: format!("Gradients that reach the layers: {}", self.heading()),
            right: "depth: from the first convolution to the classifier",
            panels,
            strokes: (self.steps > 0).then(|| ["at the start".to_owned(), text::after(self.steps)]),
        }
    }
}
