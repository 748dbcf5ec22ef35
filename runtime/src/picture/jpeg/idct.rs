//! The inverse DCT: Loeffler, Ligtenberg and Moschytz's (1989) in fixed point.
//!
//! Scaling and rounding are those of libjpeg's accurate integer method, `JDCT_ISLOW`: constants of
//! 13 bits after the point, two more bits than a pixel between the passes over columns and rows.

const FRACTION: u32 = 13;
const BETWEEN: u32 = 2;

/// A constant in fixed point.
const fn fixed(value: f64) -> i32 {
    (value * (1 << FRACTION) as f64 + 0.5) as i32
}

/// Eight numbers side by side, of which each goes its own way.
type Lanes = [i32; 8];

fn add(a: Lanes, b: Lanes) -> Lanes {
    std::array::from_fn(|i| a[i].wrapping_add(b[i]))
}

fn sub(a: Lanes, b: Lanes) -> Lanes {
    std::array::from_fn(|i| a[i].wrapping_sub(b[i]))
}

fn scale(a: Lanes, by: i32) -> Lanes {
    a.map(|value| value.wrapping_mul(by))
}

/// Inverse transforms of length 8: of `x[0][i]`, `x[1][i]` ... for every `i`, in which `bits`
/// are rounded away.
#[inline(always)]
fn pass(x: &[Lanes; 8], bits: u32) -> [Lanes; 8] {
    // The even part: 0 and 4, and a rotation of 2 and 6.
    let common = scale(add(x[2], x[6]), fixed(0.541196100));
    let turned6 = sub(common, scale(x[6], fixed(1.847759065)));
    let turned2 = add(common, scale(x[2], fixed(0.765366865)));
    let sum = add(x[0], x[4]).map(|value| value << FRACTION);
    let difference = sub(x[0], x[4]).map(|value| value << FRACTION);
    let even =
        [add(sum, turned2), add(difference, turned6), sub(difference, turned6), sub(sum, turned2)];
    // The odd part.
    let outer = scale(add(x[7], x[1]), -fixed(0.899976223));
    let inner = scale(add(x[5], x[3]), -fixed(2.562915447));
    let (late, early) = (add(x[7], x[3]), add(x[5], x[1]));
    let both = scale(add(late, early), fixed(1.175875602));
    let late = sub(both, scale(late, fixed(1.961570560)));
    let early = sub(both, scale(early, fixed(0.390180644)));
    let odd = [
        add(scale(x[1], fixed(1.501321110)), add(outer, early)),
        add(scale(x[3], fixed(3.072711026)), add(inner, late)),
        add(scale(x[5], fixed(2.053119869)), add(inner, early)),
        add(scale(x[7], fixed(0.298631336)), add(outer, late)),
    ];
    let rounded = |lanes: Lanes| lanes.map(|value| value.wrapping_add(1 << (bits - 1)) >> bits);
    std::array::from_fn(|i| match i {
        0..4 => rounded(add(even[i], odd[i])),
        _ => rounded(sub(even[7 - i], odd[7 - i])),
    })
}

fn transposed(x: &[Lanes; 8]) -> [Lanes; 8] {
    std::array::from_fn(|row| std::array::from_fn(|column| x[column][row]))
}

/// The pixels of a block, `[row][column]`, from its coefficients and their quantiser, both in rows.
pub(super) fn block(coefficients: &[i16; 64], quantiser: &[u16; 64]) -> [[u8; 8]; 8] {
    if coefficients[1..].iter().all(|&coefficient| coefficient == 0) {
        // What the passes make of a mean alone.
        let mean = i32::from(coefficients[0]) * i32::from(quantiser[0]);
        return [[level((mean + 4) >> 3); 8]; 8];
    }
    let dequantised: [Lanes; 8] = std::array::from_fn(|row| {
        std::array::from_fn(|column| {
            let at = row * 8 + column;
            i32::from(coefficients[at]) * i32::from(quantiser[at])
        })
    });
    let columns = pass(&dequantised, FRACTION - BETWEEN);
    let rows = pass(&transposed(&columns), FRACTION + BETWEEN + 3);
    transposed(&rows).map(|row| row.map(level))
}

/// A pixel from a value around zero.
fn level(value: i32) -> u8 {
    value.saturating_add(128).clamp(0, 255) as u8
}
