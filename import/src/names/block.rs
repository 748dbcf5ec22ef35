//! The parts of a block.

use super::place::{Role, natural, role};
use super::{Attention, Block, Conv, Modules, Norm, Projection};
use crate::error::{Fault, unknown};

/// What was found on a main path, each with the numbers that order it.
#[derive(Default)]
struct Path {
    convs: Vec<(Vec<usize>, Conv)>,
    norms: Vec<(Vec<usize>, Norm)>,
    /// Those of a Res2Net's chunks.
    chunk_convs: Vec<Conv>,
    chunk_norms: Vec<Norm>,
}

impl Modules {
    /// A block of modules that are in natural order.
    pub(super) fn block(&self, name: &str, modules: &[&str]) -> Result<Block, Fault> {
        let mut path = Path::default();
        let (mut shortcut, mut attention) = (Vec::new(), Vec::new());
        let mut held_by: Option<String> = None;
        // Elsewhere, `convs` may hold a whole main path.
        let chunked = modules.iter().any(|module| module[name.len() + 1..].starts_with("bns."));
        for &module in modules {
            let inner = &module[name.len() + 1..];
            if chunked && (inner.starts_with("convs.") || inner.starts_with("bns.")) {
                match (self.conv(module), self.norm(module)) {
                    (Some(conv), _) => path.chunk_convs.push(conv),
                    (_, Some(norm)) => path.chunk_norms.push(norm),
                    _ => return self.no_part(module),
                }
                continue;
            }
            match role(inner) {
                Some(Role::Main { path: holder, order }) => {
                    if *held_by.get_or_insert_with(|| holder.clone()) != holder {
                        return self.no_part(module);
                    }
                    match (self.conv(module), self.norm(module)) {
                        (Some(conv), _) => path.convs.push((order, conv)),
                        (_, Some(norm)) => path.norms.push((order, norm)),
                        _ => return self.no_part(module),
                    }
                }
                Some(Role::Shortcut) => shortcut.push(module),
                Some(Role::Attention) => attention.push(module),
                None => return self.no_part(module),
            }
        }
        let numbered = held_by.is_some_and(|holder| !holder.is_empty());
        path.convs.sort_by(|(a, _), (b, _)| a.cmp(b));
        path.norms.sort_by(|(a, _), (b, _)| a.cmp(b));
        let norm_first = match (path.convs.first(), path.norms.first()) {
            (Some((conv, _)), Some((norm, _))) if numbered && conv != norm => Some(norm < conv),
            _ => None,
        };
        let mut convs: Vec<Conv> = path.convs.into_iter().map(|(_, conv)| conv).collect();
        let mut norms: Vec<Norm> = path.norms.into_iter().map(|(_, norm)| norm).collect();
        let mut chunks: Vec<(Conv, Norm)> = Vec::new();
        if chunked {
            chunks = self.chunks(name, &convs, path.chunk_convs, path.chunk_norms)?;
            let (conv, norm) = chunks.remove(0);
            convs.insert(1, conv);
            norms.insert(1, norm);
        }
        let mut shortcut = self.projection(name, &shortcut)?;
        if shortcut.is_none() {
            shortcut = projection_of_third(&mut convs, &mut norms);
        }
        self.check_main(name, &convs, norms.len())?;
        let attention = self.attention(name, &attention)?;
        let module = name.to_owned();
        Ok(Block { module, convs, norms, chunks, shortcut, attention, norm_first })
    }

    /// The chunks of a Res2Net's block that have convolutions, one at least: all alike, and but for one as many as
    /// there are of their channels in what the first 1x1 convolution makes.
    fn chunks(
        &self,
        name: &str,
        main: &[Conv],
        convs: Vec<Conv>,
        norms: Vec<Norm>,
    ) -> Result<Vec<(Conv, Norm)>, Fault> {
        let whole = self.whole(name);
        let [first, last] = main else {
            return unknown(format!(
                "block `{whole}` has convolutions of chunks, `convs`, between {} others; a Res2Net's has one \
                 before them and one behind",
                main.len()
            ));
        };
        let (count, width) = (convs.len(), convs.first().map_or(0, |conv| conv.channels));
        let alike = |conv: &Conv| {
            (conv.channels, conv.inputs, conv.kernel) == (width, convs[0].inputs, [3, 3])
        };
        if count == 0
            || norms.len() != count
            || !convs.iter().all(alike)
            || norms.iter().any(|norm| norm.channels != width)
        {
            return unknown(format!(
                "`{whole}.convs` and `{whole}.bns` are not 3x3 convolutions and norms of one width, as many of \
                 the ones as of the others"
            ));
        }
        let chunks = first.channels / width;
        let fits = chunks == count + 1 || (chunks, count) == (1, 1);
        if !fits || first.channels % width != 0 || last.inputs != first.channels {
            return unknown(format!(
                "`{}` makes {} channels and `{}` reads {}; {count} chunks of {width} channels with convolutions \
                 and one without are {}",
                self.whole(&first.module),
                first.channels,
                self.whole(&last.module),
                last.inputs,
                (count + 1).saturating_mul(width)
            ));
        }
        Ok(convs.into_iter().zip(norms).collect())
    }

    fn check_main(&self, name: &str, convs: &[Conv], norms: usize) -> Result<(), Fault> {
        let count = convs.len();
        if !(2..=3).contains(&count) || norms != count {
            return unknown(format!(
                "block `{}` has {count} convolutions and {norms} norms; a basic block has 2 of each, a \
                 bottleneck 3",
                self.whole(name)
            ));
        }
        let (kernels, kind): (&[usize], _) =
            if count == 2 { (&[3, 3], "basic block") } else { (&[1, 3, 1], "bottleneck") };
        for (conv, &kernel) in convs.iter().zip(kernels) {
            if conv.kernel != [kernel, kernel] {
                let [rows, columns] = conv.kernel;
                return unknown(format!(
                    "`{}` is {rows}x{columns}; in a {kind} it is {kernel}x{kernel}",
                    self.whole(&conv.module)
                ));
            }
        }
        Ok(())
    }

    fn no_part<T>(&self, module: &str) -> Result<T, Fault> {
        let whole = self.whole(module);
        let parts = &self.map[module];
        if parts.contains_key("filt") {
            return unknown(format!(
                "`{whole}` is the filter of a blur, which is not read: leave it out of the file, and import \
                 with `--anti-alias blur`, whose filters are binomial, 3x3"
            ));
        }
        if self.shape(module).len() == 1 {
            return unknown(format!(
                "`{whole}` is no norm: a scale and a shift for each channel, `weight` and `bias`, are expected"
            ));
        }
        unknown(format!("`{whole}` is no part of a basic or bottleneck block that is known"))
    }

    fn projection(&self, name: &str, modules: &[&str]) -> Result<Option<Projection>, Fault> {
        let mut convs = modules.iter().filter_map(|module| self.conv(module));
        let norms: Vec<_> = modules.iter().filter_map(|module| self.norm(module)).collect();
        let (conv, more) = (convs.next(), convs.next().is_some());
        match conv {
            None if modules.is_empty() => Ok(None),
            Some(conv) if !more && norms.len() <= 1 && norms.len() + 1 == modules.len() => {
                let [rows, columns] = conv.kernel;
                if rows != columns || rows.is_multiple_of(2) {
                    return unknown(format!(
                        "`{}` is a projection of {rows}x{columns}; square ones of an odd size are known, most of \
                         them 1x1",
                        self.whole(&conv.module)
                    ));
                }
                let inner = &conv.module[name.len() + 1..];
                let norm = norms.first();
                if let Some(norm) = norm
                    && inner.ends_with(|c: char| c.is_ascii_digit())
                    && natural(&norm.module) < natural(&conv.module)
                {
                    return unknown(format!(
                        "`{}` stands before `{}`; a projection's norm comes after it",
                        self.whole(&norm.module),
                        self.whole(&conv.module)
                    ));
                }
                let mut numbers = inner.split('.').filter_map(|part| part.parse::<usize>().ok());
                let second = numbers.next().map(|number| number == 1);
                let norm = norm.map(|norm| norm.module.clone());
                Ok(Some(Projection { conv, norm, second }))
            }
            _ => {
                let modules: Vec<String> =
                    modules.iter().map(|m| format!("`{}`", self.whole(m))).collect();
                unknown(format!(
                    "the shortcut of `{}` is not a convolution and a norm: {}",
                    self.whole(name),
                    modules.join(", ")
                ))
            }
        }
    }

    fn attention(&self, name: &str, modules: &[&str]) -> Result<Option<Attention>, Fault> {
        let matrix = |module: &str| match *self.shape(module) {
            [outputs, inputs] | [outputs, inputs, 1, 1] => Some([outputs, inputs]),
            _ => None,
        };
        match modules {
            [] => return Ok(None),
            [conv] => {
                if let &[1, 1, kernel] = self.shape(conv) {
                    return Ok(Some(Attention::Efficient((*conv).to_owned(), kernel)));
                }
            }
            [fc1, fc2] => {
                if let (Some([channels, outer]), Some([outputs, inner])) =
                    (matrix(fc1), matrix(fc2))
                    && (outer, channels) == (outputs, inner)
                {
                    let layers = [fc1, fc2].map(|module| (*module).to_owned());
                    let attention =
                        Attention::SqueezeExcitation { layers, middle: channels, channels: outer };
                    return Ok(Some(attention));
                }
            }
            _ => {}
        }
        let modules: Vec<String> = modules.iter().map(|m| format!("`{}`", self.whole(m))).collect();
        unknown(format!(
            "{} of block `{}` are neither squeeze-and-excitation (`fc1`, `fc2`: matrices or 1x1 convolutions) \
             nor efficient channel attention (`conv`: [1, 1, kernel])",
            modules.join(", "),
            self.whole(name)
        ))
    }
}

/// A third convolution, of 1x1 after two of 3x3, that reads what the first one reads is a projection.
fn projection_of_third(convs: &mut Vec<Conv>, norms: &mut Vec<Norm>) -> Option<Projection> {
    let [first, second, third] = &**convs else { return None };
    let kernels = [first.kernel, second.kernel, third.kernel];
    if kernels != [[3, 3], [3, 3], [1, 1]] || third.inputs != first.inputs {
        return None;
    }
    let conv = convs.pop()?;
    let norm = (norms.len() == 3).then(|| norms.pop()).flatten().map(|norm| norm.module);
    Some(Projection { conv, norm, second: None })
}
