//! `resnet new`: a table by rule.

use std::io::Write;
use std::num::NonZeroUsize;

use anyhow::Result;
use resnet_compiler::family::Member;

use crate::Outcome;
use crate::args::New;
use crate::family::Size;
use crate::output::{Kind, Output};

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
    let mut file = Output::create(path, Kind::Text, options.force, [])?;
    file.write_all(text.as_bytes())?;
    file.finish()?;
    Ok(Outcome::Done)
}
