//! The entropy-coded data of a scan (T.81, annexes F and G).

use super::bits::{Absent, Bits, Huffman};
use super::header::{Frame, Reader, Scan, ZIGZAG};
use super::idct;

/// What is wrong with a scan's data, and in which row of the picture's pixels.
pub(super) enum Damage {
    /// They end too early.
    Missing { row: usize },
    /// They are no code.
    Code { row: usize },
}

/// What is wrong with a block.
enum Wrong {
    Absent,
    Code,
}

impl From<Absent> for Wrong {
    fn from(_: Absent) -> Self {
        Self::Absent
    }
}

/// What goes from block to block, and starts anew after a restart marker.
#[derive(Default)]
struct State {
    /// The last mean of each of the scan's components.
    means: [i32; 4],
    /// Blocks that follow in which the band is all zeros.
    zero_blocks: u32,
}

pub(super) fn decode(
    frame: &mut Frame,
    reader: &Reader<'_>,
    scan: &Scan,
    bits: &mut Bits<'_>,
) -> Result<(), Damage> {
    for &(index, _, _) in &scan.components {
        let unknown = &mut frame.components[index].unknown;
        // The scan counts as told even where it is damaged: that is said once.
        unknown[scan.band.0..=scan.band.1].fill(scan.bit as u8);
    }
    // A component alone has no blocks that only fill up a unit.
    let alone = scan.components.len() == 1;
    let units = if alone { frame.components[scan.components[0].0].own } else { frame.units };
    let unit_rows = match alone {
        true => 8 * frame.sampling.1 / frame.components[scan.components[0].0].sampling.1,
        false => 8 * frame.sampling.1,
    };
    let mut state = State::default();
    let mut restarts = 0;
    for unit in 0..units.0 * units.1 {
        let row = unit / units.0 * unit_rows;
        if reader.restart > 0 && unit > 0 && unit % reader.restart == 0 {
            bits.skip_to_marker();
            match bits.pass_restart() {
                Some(number) if number == restarts % 8 => {}
                Some(_) => return Err(Damage::Code { row }),
                None => return Err(Damage::Missing { row }),
            }
            restarts += 1;
            state = State::default();
        }
        unit_blocks(frame, reader, scan, bits, &mut state, (unit / units.0, unit % units.0))
            .map_err(|wrong| match wrong {
                Wrong::Absent => Damage::Missing { row },
                Wrong::Code => Damage::Code { row },
            })?;
    }
    Ok(())
}

/// Decodes the blocks of the unit in a row and a column.
fn unit_blocks(
    frame: &mut Frame,
    reader: &Reader<'_>,
    scan: &Scan,
    bits: &mut Bits<'_>,
    state: &mut State,
    (row, column): (usize, usize),
) -> Result<(), Wrong> {
    let alone = scan.components.len() == 1;
    for (place, &(index, dc, ac)) in scan.components.iter().enumerate() {
        let component = &mut frame.components[index];
        let (across, down) = if alone { (1, 1) } else { component.sampling };
        for block in 0..across * down {
            let at = (row * down + block / across) * component.blocks.0
                + (column * across + block % across);
            let mean = &mut state.means[place];
            // `Reader::scan` checked that the codes are there that a scan needs.
            if frame.progressive {
                let block = &mut component.coefficients[at];
                match (scan.band.0, scan.refines) {
                    (0, false) => {
                        *mean = mean.wrapping_add(difference(reader.dc[dc].as_ref(), bits)?);
                        block[0] = (*mean << scan.bit) as i16;
                    }
                    (0, true) => block[0] |= (bits.take(1) << scan.bit) as i16,
                    (_, false) => first(block, scan, reader.ac[ac].as_ref(), bits, state)?,
                    (_, true) => refine(block, scan, reader.ac[ac].as_ref(), bits, state)?,
                }
                bits.check()?;
            } else {
                let mut block = [0; 64];
                *mean = mean.wrapping_add(difference(reader.dc[dc].as_ref(), bits)?);
                block[0] = *mean as i16;
                sequential(&mut block, reader.ac[ac].as_ref(), bits)?;
                bits.check()?;
                if let Some(quantiser) = &component.quantiser {
                    let pixels = idct::block(&block, quantiser);
                    component.put(at, &pixels);
                }
            }
        }
    }
    Ok(())
}

/// The next symbol; what is none because the data ended is not a wrong code.
#[inline]
fn symbol(code: Option<&Huffman>, bits: &mut Bits<'_>) -> Result<u8, Wrong> {
    match code.and_then(|code| code.decode(bits)) {
        Some(symbol) => Ok(symbol),
        None if bits.is_ending() => Err(Wrong::Absent),
        None => Err(Wrong::Code),
    }
}

/// The difference of a block's mean from the one before.
fn difference(code: Option<&Huffman>, bits: &mut Bits<'_>) -> Result<i32, Wrong> {
    let size = symbol(code, bits)?;
    Ok(bits.signed(size.into()))
}

/// A sequential block's coefficients after the first.
fn sequential(
    block: &mut [i16; 64],
    code: Option<&Huffman>,
    bits: &mut Bits<'_>,
) -> Result<(), Wrong> {
    let mut at = 1;
    while at < 64 {
        let symbol = symbol(code, bits)?;
        let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if zeros < 15 {
                break;
            }
            at += 16;
            continue;
        }
        at += zeros;
        let place = *ZIGZAG.get(at).ok_or_else(|| wrong(bits))?;
        block[place] = bits.signed(size) as i16;
        at += 1;
    }
    if at > 64 { Err(wrong(bits)) } else { Ok(()) }
}

/// A run past the end of a block: a code that is wrong, if it is one at all.
fn wrong(bits: &Bits<'_>) -> Wrong {
    match bits.check() {
        Err(Absent) => Wrong::Absent,
        Ok(()) => Wrong::Code,
    }
}

/// The high bits of a band of coefficients.
fn first(
    block: &mut [i16; 64],
    scan: &Scan,
    code: Option<&Huffman>,
    bits: &mut Bits<'_>,
    state: &mut State,
) -> Result<(), Wrong> {
    if state.zero_blocks > 0 {
        state.zero_blocks -= 1;
        return Ok(());
    }
    let (mut at, last) = scan.band;
    while at <= last {
        let symbol = symbol(code, bits)?;
        let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if zeros < 15 {
                state.zero_blocks = (1 << zeros) - 1 + bits.take(zeros as u32) as u32;
                break;
            }
            at += 16;
            continue;
        }
        at += zeros;
        if at > last {
            return Err(wrong(bits));
        }
        block[ZIGZAG[at]] = (bits.signed(size) << scan.bit) as i16;
        at += 1;
    }
    Ok(())
}

/// One more bit of a band: of coefficients that are not zero a correction, and new ones of one bit.
fn refine(
    block: &mut [i16; 64],
    scan: &Scan,
    code: Option<&Huffman>,
    bits: &mut Bits<'_>,
    state: &mut State,
) -> Result<(), Wrong> {
    let one = 1_i16 << scan.bit;
    let correct = |coefficient: &mut i16, bits: &mut Bits<'_>| {
        if bits.take(1) == 1 && *coefficient & one == 0 {
            *coefficient += if *coefficient > 0 { one } else { -one };
        }
    };
    let (mut at, last) = scan.band;
    if state.zero_blocks == 0 {
        while at <= last {
            let symbol = symbol(code, bits)?;
            let (mut zeros, size) = (symbol >> 4, symbol & 15);
            let new = match size {
                0 if zeros < 15 => {
                    state.zero_blocks = (1 << zeros) + bits.take(zeros.into()) as u32;
                    break;
                }
                0 => 0,
                1 => {
                    if bits.take(1) == 1 {
                        one
                    } else {
                        -one
                    }
                }
                _ => return Err(wrong(bits)),
            };
            // Passes `zeros` coefficients that stay zero, and all others on the way.
            while at <= last {
                let coefficient = &mut block[ZIGZAG[at]];
                if *coefficient != 0 {
                    correct(coefficient, bits);
                } else if zeros == 0 {
                    *coefficient = new;
                    break;
                } else {
                    zeros -= 1;
                }
                at += 1;
            }
            if at > last && (zeros > 0 || new != 0) {
                return Err(wrong(bits));
            }
            at += 1;
        }
    }
    if state.zero_blocks > 0 {
        for &place in &ZIGZAG[at..=last] {
            if block[place] != 0 {
                correct(&mut block[place], bits);
            }
        }
        state.zero_blocks -= 1;
    }
    Ok(())
}
