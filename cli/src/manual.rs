//! `resnet completions` and `resnet man`: the command line for shells and for `man`. They are commands, not a
//! task of the sources', because `cargo install` leaves a user with the binary alone.

use std::io::Write;

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::Outcome;
use crate::args::{Arguments, Completions, Man};
use crate::output::{Kind, Output};
use crate::stdin::check_folder;

pub(crate) fn completions(options: &Completions, out: &mut dyn Write) -> Result<Outcome> {
    // It ends the process where it cannot write.
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut Arguments::command(), "resnet", &mut text);
    out.write_all(&text)?;
    out.flush()?;
    Ok(Outcome::Done)
}

/// Writes a page for the command, `resnet.1`, and one for each subcommand, `resnet-run.1` and so on.
pub(crate) fn pages(options: &Man, out: &mut dyn Write) -> Result<Outcome> {
    let folder = &options.folder;
    check_folder(folder, "`DIR`")?;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    let mut command = Arguments::command();
    command.build();
    let subcommands: Vec<clap::Command> = command.get_subcommands().cloned().collect();
    let subcommands = subcommands.into_iter().filter(|command| command.get_name() != "help");
    for command in std::iter::once(command).chain(subcommands) {
        let page = clap_mangen::Man::new(command);
        let path = folder.join(page.get_filename());
        let mut file = Output::create(&path, Kind::Manual, options.force.force, [])?;
        page.render(&mut file)?;
        file.finish()?;
        writeln!(out, "{}", path.display())?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}
