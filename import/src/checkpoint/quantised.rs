//! Networks that PyTorch quantised module by module (`torch.ao.quantization.convert`), as torchvision's are.
//!
//! Their state dicts have weights that are bytes, the scale by which each module writes bytes, and no norms, which are
//! folded into the convolutions. It becomes that of a network with norms that add a bias and change nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use safetensors::tensor::Dtype;

use super::{Bytes, Checkpoint, Elements, Quantised, Stored, Writes};
use crate::error::{Fault, unknown};

/// No network has more channels.
const MOST_VALUES: usize = 1 << 16;

impl Stored {
    /// The numbers of a tensor of a few, in a file; `None` if they are of another type or have gaps between them.
    pub(super) fn small(&self, file: &[u8]) -> Option<Vec<f64>> {
        let &Elements::At { start, strides: None, .. } = &self.elements else { return None };
        if self.count() > MOST_VALUES {
            return None;
        }
        let bytes = &file[start..][..self.bytes()];
        Some(match self.dtype {
            Dtype::F32 => {
                bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect()
            }
            Dtype::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
            Dtype::I64 => {
                bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect()
            }
            Dtype::I32 => {
                bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b).into()).collect()
            }
            _ => return None,
        })
    }
}

impl Quantised {
    /// Of weights that are bytes with a sign and stand for multiples of one scale, or of one for each place along an axis;
    /// `None` of others.
    pub(super) fn new(scales: &[f64], zeros: &[i64], axis: usize, weight: &Stored) -> Option<Self> {
        let scale: Vec<f32> = scales.iter().map(|&scale| scale as f32).collect();
        let count = if scale.len() == 1 { 1 } else { *weight.shape.get(axis)? };
        let fits = scale.len() == count && zeros.len() == count && weight.dtype == Dtype::I8;
        let known = zeros.iter().all(|&zero| zero == 0)
            && scale.iter().all(|scale| scale.is_normal() && *scale > 0.0);
        (fits && known).then_some(Self { scale, axis, input: None, writes: None })
    }
}

impl Checkpoint {
    /// Gives the layers of a quantised network the scales that stand beside them, and their norms back. `file` are the
    /// bytes of the tensors' file.
    pub(crate) fn unfold_quantised(&mut self, file: &[u8]) -> Result<(), Fault> {
        if !self.tensors.values().any(|stored| stored.quantised.is_some()) {
            return Ok(());
        }
        if let Some(name) = self.tensors.keys().find(|name| name.contains("_input_scale_")) {
            return unknown(format!(
                "`{name}` is a scale as PyTorch's FX graph mode names them, after places in a graph that the file does \
                 not have; export the network to ONNX, or quantise it in eager mode"
            ));
        }
        // Linear layers of files before PyTorch 1.4.
        for (name, stored) in std::mem::take(&mut self.tensors) {
            self.tensors.insert(name.replace("._packed_params.", "."), stored);
        }
        let written = self.take_scales(file)?;
        let layers: Vec<String> = self
            .tensors
            .iter()
            .filter(|(_, stored)| stored.quantised.is_some())
            .filter_map(|(name, _)| Some(name.strip_suffix(".weight")?.to_owned()))
            .collect();
        self.attach(&layers, &written)?;
        let folded = layers.iter().filter(|layer| self.unfold_norm(layer)).count();
        if folded > 0 {
            self.notes.push(format!(
                "{folded} batch norms were folded into convolutions; the ones here add a bias and change nothing else"
            ));
        }
        Ok(())
    }

    /// Takes out what each module writes its bytes by.
    fn take_scales(&mut self, file: &[u8]) -> Result<BTreeMap<String, Bytes>, Fault> {
        let modules: Vec<String> = self
            .tensors
            .keys()
            .filter_map(|name| name.strip_suffix(".scale").map(str::to_owned))
            .filter(|module| self.tensors.contains_key(&format!("{module}.zero_point")))
            .collect();
        let mut written = BTreeMap::new();
        for module in modules {
            let [scale, zero] = ["scale", "zero_point"].map(|part| {
                let stored = self.tensors.remove(&format!("{module}.{part}"))?;
                stored.small(file).filter(|numbers| numbers.len() == 1).map(|numbers| numbers[0])
            });
            let scale = scale.map(|scale| scale as f32).filter(|s| s.is_normal() && *s > 0.0);
            let zero = zero.filter(|zero| (0.0..=255.0).contains(zero)).map(|zero| zero as u8);
            let (Some(scale), Some(zero)) = (scale, zero) else {
                return unknown(format!(
                    "`{module}` writes bytes by a scale that is not known; `{module}.scale` has to be a positive \
                     number, and `{module}.zero_point` one of 0 to 255"
                ));
            };
            written.insert(module, Bytes { scale, zero });
        }
        Ok(written)
    }

    /// Tells each layer by what scales it, the sum that it is a part of and what makes bytes of pictures write.
    fn attach(
        &mut self,
        layers: &[String],
        written: &BTreeMap<String, Bytes>,
    ) -> Result<(), Fault> {
        let (mut picture, mut sums) = (None, BTreeMap::new());
        let own: BTreeSet<&String> = layers.iter().collect();
        for (module, &bytes) in written.iter().filter(|(module, _)| !own.contains(module)) {
            let (block, _) = module.rsplit_once('.').unwrap_or(("", module));
            let within =
                |layer: &&String| layer.strip_prefix(block).is_some_and(|l| l.starts_with('.'));
            let inside = layers.iter().filter(within).count();
            let is_whole = inside == 0 || inside == layers.len();
            let other = match is_whole {
                true => picture.replace((module, bytes)),
                false => sums.insert(format!("{block}."), (module, bytes)),
            };
            if let Some((other, _)) = other {
                return unknown(format!(
                    "`{other}` and `{module}` both write bytes beside the layers: one for the picture and one for the \
                     sum of each block are known, after norms that are folded (`fuse_modules`)"
                ));
            }
        }
        for layer in layers {
            let around = sums.iter().filter(|(block, _)| layer.starts_with(*block));
            let writes = Writes {
                layer: written.get(layer).copied(),
                sum: around.max_by_key(|(block, _)| block.len()).map(|(_, (_, bytes))| *bytes),
                picture: picture.map(|(_, bytes)| bytes),
            };
            if let Some(Stored { quantised: Some(own), .. }) =
                self.tensors.get_mut(&format!("{layer}.weight"))
            {
                Arc::make_mut(own).writes = Some(writes);
            }
        }
        Ok(())
    }

    /// Moves the bias of a convolution into a norm of the name that is usual beside its own. Whether there was none.
    fn unfold_norm(&mut self, layer: &str) -> bool {
        let weight = &self.tensors[&format!("{layer}.weight")];
        let (4, channels) = (weight.shape.len(), weight.shape[0]) else { return false };
        let Some(norm) = norm_beside(layer) else { return false };
        let part = |part: &str| format!("{norm}.{part}");
        if self.tensors.keys().any(|name| name.starts_with(&part(""))) {
            return false;
        }
        let same = |value| Stored::same(vec![channels], value);
        let bias = self.tensors.remove(&format!("{layer}.bias")).unwrap_or_else(|| same(0.0));
        self.tensors.insert(part("bias"), bias);
        for (name, value) in [("weight", 1.0), ("running_mean", 0.0), ("running_var", 1.0)] {
            self.tensors.insert(part(name), same(value));
        }
        true
    }
}

/// The name of the norm behind a convolution: `bn1` of `conv1`, `downsample.1` of `downsample.0`.
fn norm_beside(conv: &str) -> Option<String> {
    let (block, own) = conv.rsplit_once('.').map_or(("", conv), |(block, own)| (block, own));
    let norm = match own.parse::<usize>() {
        Ok(place) => place.checked_add(1)?.to_string(),
        Err(_) => format!("bn{}", own.strip_prefix("conv")?),
    };
    Some(if block.is_empty() { norm } else { format!("{block}.{norm}") })
}
