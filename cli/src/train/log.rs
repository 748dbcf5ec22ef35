//! What is known after each epoch: a line of JSON for each, and curves over all.

use std::io::Write;

use anyhow::{Context, Result};
use resnet::train::{Epoch, Progress};
use resnet_report::curves::{Curves, Panel};
use serde::{Deserialize, Serialize};

/// What is known after an epoch.
#[derive(Serialize, Deserialize)]
pub(super) struct Line {
    epoch: usize,
    loss: f64,
    accuracy: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_accuracy: Option<f64>,
    rate: f64,
    seconds: f64,
    images_per_second: f64,
}

impl Line {
    pub(super) fn new(epoch: &Epoch, validation: Option<f64>, seconds: f64, images: usize) -> Self {
        let Progress { loss, accuracy, rate, .. } = epoch.progress;
        let images_per_second = images as f64 / seconds;
        let (epoch, validation_accuracy) = (epoch.epoch, validation);
        Self { epoch, loss, accuracy, validation_accuracy, rate, seconds, images_per_second }
    }

    pub(super) fn text(&self, out: &mut dyn Write, epochs: usize) -> Result<()> {
        let Self { epoch, loss, accuracy, validation_accuracy, seconds, images_per_second, .. } =
            self;
        let validated = validation_accuracy
            .map(|part| format!(", validated {:.2} %", 100.0 * part))
            .unwrap_or_default();
        writeln!(
            out,
            "epoch {epoch} of {epochs}: loss {loss:.4}, {:.2} % right{validated}, {seconds:.0} s, \
             {images_per_second:.0} images/s",
            100.0 * accuracy
        )?;
        Ok(out.flush()?)
    }
}

/// The lines of all epochs so far, each as it was written.
#[derive(Default)]
pub(super) struct Log(Vec<(Line, String)>);

impl Log {
    /// A log that was written before.
    pub(super) fn read(text: &str) -> Result<Self> {
        let line = |(index, text): (usize, &str)| -> Result<(Line, String)> {
            let line = serde_json::from_str(text);
            let line = line.with_context(|| format!("line {} is none of an epoch", index + 1))?;
            Ok((line, text.to_owned()))
        };
        text.lines().enumerate().map(line).collect::<Result<_>>().map(Self)
    }

    /// Forgets what comes again: the epochs after so many.
    pub(super) fn rewind(&mut self, epochs: usize) {
        self.0.retain(|(line, _)| line.epoch <= epochs);
    }

    pub(super) fn push(&mut self, line: Line) -> Result<()> {
        let text = serde_json::to_string(&line)?;
        self.0.push((line, text));
        Ok(())
    }

    /// A line for each epoch.
    pub(super) fn text(&self) -> String {
        self.0.iter().flat_map(|(_, text)| [&**text, "\n"]).collect()
    }

    /// Loss, accuracy and rate over the epochs.
    pub(super) fn curves(&self, name: &str) -> Curves {
        let line = |name: &str, of: &dyn Fn(&Line) -> Option<f64>| {
            let points =
                self.0.iter().map(|(line, _)| [line.epoch as f64, of(line).unwrap_or(f64::NAN)]);
            resnet_report::curves::Line {
                name: name.to_owned(),
                is_dashed: false,
                points: points.collect(),
            }
        };
        let percent = |part: f64| 100.0 * part;
        let loss = line("training", &|line| Some(line.loss));
        let mut right = vec![line("training", &|line| Some(percent(line.accuracy)))];
        if self.0.iter().any(|(line, _)| line.validation_accuracy.is_some()) {
            right.push(line("validation", &|line| line.validation_accuracy.map(percent)));
        }
        let rate = line("rate", &|line| Some(line.rate));
        let panel = |up, is_logarithmic, lines| Panel { up, is_logarithmic, lines };
        Curves {
            title: format!("Training of {name}"),
            right: "epoch",
            panels: vec![
                panel("loss", true, vec![loss]),
                panel("% right", false, right),
                panel("learning rate", false, vec![rate]),
            ],
            strokes: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "\
{\"epoch\":1,\"loss\":2.5,\"accuracy\":0.25,\"rate\":0.1,\"seconds\":1.0,\"images_per_second\":9.10}
{\"epoch\":2,\"loss\":1.5,\"accuracy\":0.5,\"validation_accuracy\":0.4,\"rate\":0.2,\"seconds\":1.0,\"images_per_second\":9.0}
";

    fn line(epoch: usize) -> Line {
        let validation_accuracy = Some(0.75);
        let (loss, accuracy, rate) = (0.5, 0.75, 0.1);
        Line {
            epoch,
            loss,
            accuracy,
            validation_accuracy,
            rate,
            seconds: 1.0,
            images_per_second: 9.0,
        }
    }

    /// What was written of an epoch whose checkpoint was not is written once.
    #[test]
    fn a_log_goes_on_where_the_checkpoint_does() {
        let mut log = Log::read(TWO).unwrap();
        assert_eq!(log.text(), TWO);
        log.rewind(1);
        for epoch in 2..=3 {
            log.push(line(epoch)).unwrap();
        }
        let text = log.text();
        let epochs: Vec<usize> =
            Log::read(&text).unwrap().0.iter().map(|(line, _)| line.epoch).collect();
        assert_eq!(epochs, [1, 2, 3]);
        assert!(text.starts_with(TWO.lines().next().unwrap()), "as it was written: {text}");
        let error = Log::read(&format!("{TWO}epoch 3\n")).err().unwrap();
        assert!(error.to_string().contains("line 3 is none of an epoch"), "{error}");
    }

    #[test]
    fn curves_are_of_all_epochs_that_have_a_number() {
        let mut log = Log::read(TWO).unwrap();
        log.push(line(3)).unwrap();
        let Curves { title, panels, .. } = log.curves("net");
        assert_eq!(title, "Training of net");
        let names = |panel: &Panel| panel.lines.iter().map(|l| l.name.clone()).collect::<Vec<_>>();
        assert_eq!(
            panels.iter().map(names).collect::<Vec<_>>().concat(),
            ["training", "training", "validation", "rate"]
        );
        assert_eq!(panels[0].lines[0].points, [[1.0, 2.5], [2.0, 1.5], [3.0, 0.5]]);
        let validated = &panels[1].lines[1].points;
        assert!(validated[0][1].is_nan() && validated[1..] == [[2.0, 40.0], [3.0, 75.0]]);
    }
}
