//! What is not kept for the way back, but made again.

use std::collections::{HashMap, HashSet};

use super::forward::Forward;
use super::record::{ConvRecord, Record};
use super::tape::{Op, ValueId};

/// What made values that are not kept, with the layers' names.
pub(super) type Remade = HashMap<ValueId, (String, Record)>;

/// Convolutions one after the other that are made again for each other's sake: those of a bottleneck.
const DEEPEST: usize = 3;

/// The values that are made again where the way back wants them.
///
/// First, norms' outputs that are read by convolutions alone whose gradients are summed image by image: that costs less than the way
/// to memory and back. Second, all convolutions and norms inside the first `blocks` blocks ("Training Deep Nets with Sublinear
/// Memory Cost", Chen et al., 2016): a block ends with the sum that its shortcut goes to, and where there is none after some
/// convolutions.
pub(super) fn remade(forward: &Forward<'_>, records: &[(String, Record)], blocks: usize) -> Remade {
    let others = forward.tape.ops().filter(|op| !matches!(op, Op::Conv { .. }));
    let mut kept: HashSet<ValueId> = others.flat_map(|op| op.uses().reads).collect();
    kept.extend(records.iter().filter_map(|(_, record)| match record {
        Record::Conv(ConvRecord { gradient, x, .. }) => (!gradient.by_image).then_some(*x),
        _ => None,
    }));
    let (mut remade, mut block) = (Remade::new(), 0);
    // Convolutions of its block that a value is made by.
    let mut depths: HashMap<ValueId, usize> = HashMap::new();
    for (name, record) in records {
        let is_remade = match *record {
            Record::Conv(ConvRecord { x, z, .. }) => {
                let depth = depths.get(&x).map_or(1, |depth| depth + 1);
                let ends = depth > DEEPEST;
                block += usize::from(ends);
                depths.extend((!ends).then_some((z, depth)));
                !ends && block < blocks && forward.tape.shape(z).pixels() > 1
            }
            Record::Norm { of, residual: None, z, .. } => {
                depths.extend(depths.get(&of.x).map(|&depth| (z, depth)));
                block < blocks || !kept.contains(&z)
            }
            Record::Norm { .. } | Record::Add { residual: Some(_), .. } => {
                block += 1;
                false
            }
            _ => false,
        };
        if is_remade {
            remade.insert(record.made(), (name.clone(), record.clone()));
        }
    }
    remade
}
