//! `resnet new`: a table by rule.

use std::io::Write;
use std::num::NonZeroUsize;

use anyhow::{Context, Result, bail};
use resnet::compiler::family::Member;

use crate::Outcome;
use crate::args::New;
use crate::family::Size;
use crate::output::Output;

pub(crate) fn new(options: &New, out: &mut dyn Write) -> Result<Outcome> {
    let size = match (options.depth, options.n) {
        (Some(depth), _) => Size::Depth(depth),
        (_, Some(n)) => Size::N(n.get()),
        _ => Size::Repeats(options.repeats.iter().copied().map(NonZeroUsize::get).collect()),
    };
    let member = options.family.member(size, options.width)?;
    let text = Member { name: options.name.clone(), ..member }.table()?;
    let Some(path) = &options.output else {
        out.write_all(text.as_bytes())?;
        out.flush()?;
        return Ok(Outcome::Done);
    };
    let shown = path.display();
    // A device or a pipe holds nothing that could be lost.
    if path.is_file() && !options.force {
        bail!("`{shown}` exists already: give `--force` to replace it, or another name");
    }
    let mut file = Output::create(path, [])?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write `{shown}`"))?;
    file.finish()?;
    Ok(Outcome::Done)
}
