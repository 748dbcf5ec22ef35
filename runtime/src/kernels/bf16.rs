//! Numbers of two bytes with the exponents of `f32`.

/// The upper half of an `f32`, also called bfloat16: as many exponents, and 8 bits of significand.
///
/// A product of two is exact in `f32`, so that sums of them have the same bits whether an instruction set fuses
/// multiplication and addition or not.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bf16(u16);

impl Bf16 {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// The nearest one (of two, the even one), as `vcvtneps2bf16` has it: denormals become zero, NaN a quiet NaN.
    #[inline(always)]
    pub const fn new(value: f32) -> Self {
        let bits = value.to_bits();
        let upper = if value.is_nan() {
            bits >> 16 | 0x40
        } else if bits & 0x7f80_0000 == 0 {
            bits >> 16 & 0x8000
        } else {
            // Half of the last place, less if that would round a tie up to an odd number.
            (bits + 0x7fff + (bits >> 16 & 1)) >> 16
        };
        Self(upper as u16)
    }

    /// Its value.
    #[inline(always)]
    pub const fn get(self) -> f32 {
        f32::from_bits((self.0 as u32) << 16)
    }

    /// The number of these bits.
    #[inline(always)]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Its bits.
    #[inline(always)]
    pub const fn to_bits(self) -> u16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_the_nearest() {
        let cases = [
            (1.0, 0x3f80),
            (-2.5, 0xc020),
            (f32::from_bits(0x3f80_7fff), 0x3f80),
            (f32::from_bits(0x3f80_8000), 0x3f80),
            (f32::from_bits(0x3f80_8001), 0x3f81),
            (f32::from_bits(0x3f81_8000), 0x3f82),
            (f32::MAX, 0x7f80),
            (f32::NEG_INFINITY, 0xff80),
            (f32::from_bits(0x7f80_0001), 0x7fc0),
            (f32::from_bits(0x007f_ffff), 0),
            (f32::from_bits(0x807f_ffff), 0x8000),
            (f32::MIN_POSITIVE, 0x0080),
        ];
        for (value, bits) in cases {
            assert_eq!(Bf16::new(value).to_bits(), bits, "{value:e}");
        }
    }
}
