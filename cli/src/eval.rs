//! `resnet eval`: accuracy on a folder of pictures.

mod score;

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use resnet::{ImageFile, Images, Model, Network, Source, feed};
use resnet_runtime::session::Answer;

use self::score::{Against, Score};
use crate::Outcome;
use crate::args::{Eval, Format};
use crate::classified::Classified;
use crate::model::{backend, compile, labels, note_preprocess, open_model, open_weights, weights};
use crate::progress::progress;
use crate::stdin::check_folder;

pub(crate) fn eval(options: &Eval, out: &mut dyn Write) -> Result<Outcome> {
    let model = open_model(&options.model.model)?;
    let opened = open_weights(Some(&options.weights), options.engine.no_map)?;
    let compiled =
        compile(&model, &options.engine, backend(options.engine.backend), 1, opened.as_ref())?;
    let shape = compiled.graph().output_shape();
    ensure!(
        compiled.info().answer != Answer::Features,
        "`{}` ends in features of {shape}, not in classes: there is no accuracy to measure",
        compiled.info().name
    );
    let labels = labels(&model, options.labels.labels.as_deref(), shape.channels)?;
    check_folder(&options.images, "`--images`")?;
    let set = Classified::read(&options.images, labels, Some(shape.channels))?;
    let weights = weights(opened, None, compiled.tensors())?;
    let threads = options.engine.threads.get();
    let network = compiled.load_on(&weights, threads)?;
    let against = options.against.as_deref().map(|path| load(path, &model, options)).transpose()?;

    note_preprocess(&model);
    let preprocess = model.spec.preprocess.clone();
    let allow_damaged = options.reading.allow_damaged;
    let files = set.paths.into_iter().map(ImageFile::Path).collect();
    let source = Images::new(files, preprocess, compiled.info().input)?;
    let source = source.allow_damaged(allow_damaged);
    let score = Score { skipped: set.skipped, ..Score::new(set.names) };
    let start = Instant::now();
    let (score, answers) = measure(&*network, &source, &set.classes, score, threads, true)?;
    let seconds = start.elapsed().as_secs_f64();
    ensure!(score.pictures > 0, "none of the {} pictures could be read", score.failed);
    let against = match (against, &options.against) {
        (Some(network), Some(path)) => {
            let empty = Score::new(score.names.clone());
            let (other, others) = measure(&*network, &source, &set.classes, empty, threads, false)?;
            let pairs = answers.iter().zip(&others);
            let agree = pairs.filter(|(answer, other)| answer.is_some() && answer == other).count();
            Some(Against::new(path, other, agree))
        }
        _ => None,
    };

    match options.format.format {
        Format::Text => score.text(out, &compiled.info().name, seconds, against.as_ref())?,
        Format::Json => score.json(out, &compiled.info().name, seconds, against)?,
    }
    out.flush()?;
    if score.failed > 0 {
        let all = score.pictures + score.failed;
        crate::voice::error!("{} of {all} pictures are not counted", score.failed);
    }
    Ok(if score.failed == 0 { Outcome::Done } else { Outcome::SomeFailed })
}

/// The network with other weights.
fn load(path: &Path, model: &Model, options: &Eval) -> Result<Box<dyn Network>> {
    let opened = open_weights(Some(path), options.engine.no_map)?;
    let compiled =
        compile(model, &options.engine, backend(options.engine.backend), 1, opened.as_ref())?;
    let weights = weights(opened, None, compiled.tensors())?;
    Ok(compiled.load_on(&weights, options.engine.threads.get())?)
}

/// Counts a network's answers, and keeps the class of each; `speaks`: of pictures that are doubtful or cannot be read.
fn measure(
    network: &dyn Network,
    source: &Images,
    classes: &[usize],
    mut score: Score,
    threads: NonZeroUsize,
    speaks: bool,
) -> Result<(Score, Vec<Option<usize>>)> {
    let bar = progress(source.len(), false);
    let mut answers = Vec::with_capacity(source.len());
    feed(network, source, threads, |index, fed| {
        match fed {
            Ok(fed) => {
                if let Some(doubt) = fed.doubt {
                    score.damaged += 1;
                    if speaks {
                        bar.suspend(|| crate::voice::warning!("{doubt}"));
                    }
                }
                answers.push(Some(score.count(classes[index], &fed.answer)));
            }
            Err(error) => {
                score.failed += 1;
                if speaks {
                    bar.suspend(|| crate::voice::error!("{error:#}"));
                }
                answers.push(None);
            }
        }
        bar.inc(1);
        anyhow::Ok(())
    })?;
    bar.finish_and_clear();
    Ok((score, answers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_not_a_number_is_wrong() {
        let names = ["a", "b"].map(str::to_owned).to_vec();
        let mut score = Score::new(names);
        score.count(0, &[f32::NAN, f32::NAN]);
        score.count(1, &[0.0, 1.0]);
        score.count(1, &[1.0, 0.0]);
        assert_eq!((score.pictures, score.top1, score.top5), (3, 1, 2));
        assert_eq!(score.confusion, [[1, 0], [1, 1]]);
    }
}
