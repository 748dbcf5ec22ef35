//! `resnet report`: a network on a page.

use std::io::Write;
use std::path::Path;

use anyhow::{Result, bail};
use resnet::{Compiler, Model, Options};
use resnet_report::network::Network;
use resnet_report::page;

use crate::args::Report;
use crate::model::{self, for_process, open_model, open_weights};
use crate::output::{self, Kind, Output};
use crate::{Outcome, check, profile};

pub(crate) fn report(options: &Report, out: &mut dyn Write) -> Result<Outcome> {
    let (given, wanted) = (options.weights.len(), options.models.len());
    if ![0, wanted].contains(&given) {
        let times = |n| if n == 1 { "once".to_owned() } else { format!("{n} times") };
        bail!(
            "`--weights` is given {}, but there are {wanted} models: give weights for each of them, in their order, or \
             for none",
            times(given)
        );
    }
    let models = options.models.iter().map(|path| open_model(path));
    let models = models.collect::<Result<Vec<Model>>>()?;
    let file = match &options.output {
        None => None,
        Some(path) => {
            let files: Vec<_> = models.iter().flat_map(Model::files).collect();
            let schedule = &options.algorithms.schedule;
            let inputs = files.iter().chain(&options.weights).chain(schedule);
            let kind = if options.json { Kind::Text } else { Kind::Page };
            Some(Output::create(path, kind, options.force.force, inputs)?)
        }
    };
    let weights = options.weights.iter().map(|path| Some(&**path)).chain([None, None]);
    let networks = models.iter().zip(weights);
    let networks = networks.map(|(model, weights)| network(options, model, weights));
    let networks = networks.collect::<Result<Vec<Network>>>()?;
    match file {
        None => write(options, &networks, out)?,
        Some(mut file) => {
            write(options, &networks, &mut file)?;
            file.finish()?;
        }
    }
    out.flush()?;
    Ok(Outcome::Done)
}

fn write(options: &Report, networks: &[Network], out: &mut dyn Write) -> Result<()> {
    match networks {
        [network] if options.json => output::json(out, network),
        networks if options.json => output::json(out, &networks),
        [one, other] => Ok(out.write_all(page::two(one, other).as_bytes())?),
        networks => {
            let page: String = networks.iter().map(page::one).collect();
            Ok(out.write_all(page.as_bytes())?)
        }
    }
}

fn network(options: &Report, model: &Model, weights: Option<&Path>) -> Result<Network> {
    let opened = open_weights(weights, false)?;
    let Report { algorithms, batch, threads, isa, seconds, bench, .. } = options;
    let wishes = Options { isa: isa.0, ..model::options(algorithms, batch.get())? };
    let counted = check::counted(model, &wishes, opened.as_ref())?;
    let mut compiler = Compiler::new(&model.spec).options(wishes);
    if let Some(opened) = &opened {
        compiler = compiler.weights(opened);
    }
    let (graph, plan, levels) = compiler.levels().map_err(for_process)?;
    let compiled = bench.then(|| compiler.compile().map_err(for_process)).transpose()?;
    let weights = (opened.is_some() || *bench)
        .then(|| model::weights(opened, None, &plan.weights.tensors))
        .transpose()?;
    let profile = match (compiled, weights) {
        (Some(compiled), Some(weights)) => {
            Some(profile::measure(&compiled, &weights, threads.get(), *seconds)?)
        }
        _ => None,
    };
    Ok(Network::new(&model.spec, counted, &graph, &plan, &levels, profile))
}
