//! The last steps of a kernel, the same ones for all that have them: a residual, an activation, the store.

use std::fmt;
use std::str::FromStr;

use super::activation::{gelu, hard_swish, leaky_relu, relu, relu6, silu};
use super::simd::{Outlined, Real, Simd, Stored};
use super::{BLOCK, Bf16, Element, TENSOR_NUMBERS};

choices! {
    /// The function that is applied to a result, element by element.
    pub enum Activation {
        /// None.
        None,
        /// `max(0, x)`; NaN stays NaN.
        Relu,
        /// `min(max(0, x), 6)`.
        Relu6,
        /// `x * sigmoid(x)`, also called swish.
        Silu,
        /// `x * Phi(x)` with the normal distribution's `Phi`: the exact one, not that by `tanh`.
        Gelu,
        /// `x`, or `x / 100` where it is negative.
        LeakyRelu,
        /// `x * min(max(0, x + 3), 6) / 6`.
        HardSwish,
    }
}

impl Activation {
    /// The table's word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::Silu => "silu",
            Self::Gelu => "gelu",
            Self::LeakyRelu => "leaky_relu",
            Self::HardSwish => "hard_swish",
        }
    }
}

#[cfg(feature = "train")]
impl Activation {
    /// Whether its derivative is told by its input alone; otherwise its output tells it too.
    pub const fn keeps_input(self) -> bool {
        match self {
            Self::None | Self::Relu | Self::Relu6 | Self::LeakyRelu => false,
            Self::Silu | Self::Gelu | Self::HardSwish => true,
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

choices! {
    /// What real numbers are stored as.
    pub enum Precision {
        /// Single precision.
        F32,
        /// The upper halves, see [`Bf16`].
        Bf16,
    }
}

/// As `f32` and `bf16`.
impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.element().fmt(f)
    }
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(word: &str) -> Result<Self, UnknownPrecision> {
        let found = Self::ALL.iter().copied().find(|precision| precision.to_string() == word);
        found.ok_or_else(|| UnknownPrecision(word.to_owned()))
    }
}

/// The word of no precision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown precision `{0}`; expected f32 or bf16")]
pub struct UnknownPrecision(pub String);

impl Precision {
    /// The elements.
    pub const fn element(self) -> Element {
        match self {
            Self::F32 => Element::F32,
            Self::Bf16 => Element::Bf16,
        }
    }
}

params! {
    /// What is done with a result before it is stored.
    pub struct Epilogue {
        /// Whether the residual operand is added first. If not, it is not read.
        pub residual: bool,
        /// What is applied then.
        pub activation: Activation,
        /// What the result and the residual are stored as.
        pub stored: Precision,
    }
}

impl Epilogue {
    /// Nothing.
    pub const NONE: Self =
        Self { residual: false, activation: Activation::None, stored: Precision::F32 };

    /// What the result consists of.
    pub(super) const fn element(self) -> Element {
        self.stored.element()
    }
}

params! {
    /// What is done with the sums of products of bytes before they are stored. What they are scaled by,
    /// what is added and where they end is data: [`TensorLine`] and the kernel's operands.
    pub struct ByteEpilogue {
        /// The residual that is added.
        pub residual: ResidualElement,
        /// What the result is stored as.
        pub output: OutputElement,
    }
}

choices! {
    /// The residual of a convolution of bytes.
    pub enum ResidualElement {
        /// There is none: the operand is not read.
        None,
        /// Single precision.
        F32,
        /// Bytes of their own scale and zero point.
        U8,
    }

    /// What a convolution of bytes writes.
    pub enum OutputElement {
        /// Single precision.
        F32,
        /// Bytes.
        U8,
    }
}

impl ByteEpilogue {
    /// What the residual consists of; anything, where there is none.
    pub(super) const fn residual(self) -> Element {
        match self.residual {
            ResidualElement::F32 => Element::F32,
            ResidualElement::None | ResidualElement::U8 => Element::U8,
        }
    }

    /// Whether there is one.
    pub(super) const fn has_residual(self) -> bool {
        !matches!(self.residual, ResidualElement::None)
    }

    /// What the output consists of.
    pub(super) const fn output(self) -> Element {
        match self.output {
            OutputElement::F32 => Element::F32,
            OutputElement::U8 => Element::U8,
        }
    }

    /// Whether the output may be written in the residual's place.
    pub(super) const fn in_place(self) -> bool {
        matches!(
            (self.residual, self.output),
            (ResidualElement::F32, OutputElement::F32) | (ResidualElement::U8, OutputElement::U8)
        )
    }
}

/// What a kernel has to know of quantised tensors: a line of 16 `f32` among the packed weights, so that
/// code does not depend on any scale or zero point.
///
/// A number `q` of the tensor that is read (for a convolution, of its residual) stands for
/// `(q - offset) * factor`, in units of the tensor that is written; `f32` has the offset 0,
/// whatever the line says. A result `v` is clamped to `low..=high`, and a byte for it is `v`, rounded to
/// an integer (half to even), plus `zero`. `offset`, `zero` and, for bytes, `low` and `high` are
/// integers with `0 <= low + zero <= high + zero <= 255`: with them an activation function
/// is no more than such a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorLine {
    /// The scale of what is read, divided by that of what is written.
    pub factor: f32,
    /// The zero point of bytes that are read.
    pub offset: f32,
    /// The least result.
    pub low: f32,
    /// The largest result.
    pub high: f32,
    /// The zero point of bytes that are written.
    pub zero: f32,
}

impl TensorLine {
    /// As it lies in memory.
    pub fn to_line(self) -> [f32; TENSOR_NUMBERS] {
        let Self { factor, offset, low, high, zero } = self;
        let mut line = [0.0; TENSOR_NUMBERS];
        line[..5].copy_from_slice(&[factor, offset, low, high, zero]);
        line
    }

    /// # Safety
    ///
    /// `line` is readable for 16 elements.
    #[inline(always)]
    pub(super) unsafe fn read(line: *const f32) -> Self {
        // SAFETY: readable for 16 elements, says the caller.
        let line = unsafe { line.cast::<[f32; TENSOR_NUMBERS]>().read() };
        let [factor, offset, low, high, zero, ..] = line;
        Self { factor, offset, low, high, zero }
    }

    /// `v`, from `low` to `high`; NaN stays NaN.
    #[inline(always)]
    pub(super) fn clamp<S: Simd>(self, simd: S, v: S::F32x16) -> S::F32x16 {
        simd.min(simd.splat(self.high), simd.max(simd.splat(self.low), v))
    }

    /// The zero point of bytes that are written, as one of them.
    #[inline(always)]
    pub(super) fn zero_byte(self) -> u8 {
        self.zero as u8
    }
}

/// Pixels of a few blocks that lie side by side: where the first one is, and how far its block is from
/// the next one.
#[derive(Clone, Copy)]
pub(super) struct Pixels<P> {
    pub(super) at: P,
    pub(super) block: usize,
}

impl Pixels<*const u8> {
    #[inline(always)]
    fn of<T>(self) -> Pixels<*const T> {
        Pixels { at: self.at.cast(), block: self.block }
    }
}

impl Pixels<*mut u8> {
    #[inline(always)]
    fn of<T>(self) -> Pixels<*mut T> {
        Pixels { at: self.at.cast(), block: self.block }
    }
}

/// Finishes and stores the first `count` of `P` pixels of `B` blocks, as what the epilogue says.
///
/// # Safety
///
/// `y` is writable for these pixels, and `r` readable where there is a residual.
#[inline(always)]
pub(super) unsafe fn finish<S: Simd, const P: usize, const B: usize>(
    simd: S,
    epilogue: Epilogue,
    values: [[S::F32x16; P]; B],
    count: usize,
    r: Pixels<*const u8>,
    y: Pixels<*mut u8>,
) {
    // SAFETY: `finish_as` asks for what this function does, of the elements of the epilogue.
    unsafe {
        match epilogue.stored {
            Precision::F32 => finish_as::<S, f32, P, B>(simd, epilogue, values, count, r, y),
            Precision::Bf16 => finish_as::<S, Bf16, P, B>(simd, epilogue, values, count, r, y),
        }
    }
}

/// # Safety
///
/// That of [`finish`], of `T`.
#[inline(always)]
unsafe fn finish_as<S: Simd, T: Real, const P: usize, const B: usize>(
    simd: S,
    epilogue: Epilogue,
    mut values: [[S::F32x16; P]; B],
    count: usize,
    r: Pixels<*const u8>,
    y: Pixels<*mut u8>,
) {
    let (r, y) = (r.of::<T>(), y.of::<T>());
    if epilogue.residual {
        for (o, values) in values.iter_mut().enumerate() {
            for (p, value) in values.iter_mut().enumerate() {
                if p < count {
                    // SAFETY: the residual has the pixels and blocks of the output.
                    let residual = unsafe { T::load(simd, r.at.add(o * r.block + p * BLOCK)) };
                    *value = simd.add(*value, residual);
                }
            }
        }
    }
    match epilogue.activation {
        Activation::None => {}
        Activation::Relu => {
            for value in values.as_flattened_mut() {
                *value = relu(simd, *value);
            }
        }
        activation => {
            let mut lanes = [[[0.0; BLOCK]; P]; B];
            let pixels = Activate { activation, pixels: lanes.as_flattened_mut() };
            for (value, lanes) in values.as_flattened().iter().zip(&mut *pixels.pixels) {
                // SAFETY: an array of 16.
                unsafe { simd.store(lanes.as_mut_ptr(), *value) };
            }
            // SAFETY: none is asked for.
            unsafe { simd.outlined(pixels) };
            for (value, lanes) in values.as_flattened_mut().iter_mut().zip(lanes.as_flattened()) {
                // SAFETY: an array of 16.
                *value = unsafe { simd.load(lanes.as_ptr()) };
            }
        }
    }
    for (o, values) in values.iter().enumerate() {
        for (p, value) in values.iter().enumerate() {
            if p < count {
                // SAFETY: `y` is writable for `count` pixels of `B` blocks, of which this is one.
                unsafe { T::store(simd, y.at.add(o * y.block + p * BLOCK), *value) };
            }
        }
    }
}

/// Finishes and stores the first `count` of `P` pixels of `B` blocks of a convolution of bytes, of which
/// `values` are scaled and shifted.
///
/// # Safety
///
/// `y` is writable for these pixels, and `r` readable where there is a residual, of what the epilogue says.
#[inline(always)]
pub(super) unsafe fn finish_bytes<S: Simd, const P: usize, const B: usize>(
    simd: S,
    epilogue: ByteEpilogue,
    line: TensorLine,
    mut values: [[S::F32x16; P]; B],
    count: usize,
    r: Pixels<*const u8>,
    y: Pixels<*mut u8>,
) {
    // SAFETY: the residual has these pixels.
    unsafe {
        match epilogue.residual {
            ResidualElement::None => {}
            ResidualElement::F32 => {
                let r = Pixels { at: r.at.cast::<f32>(), block: r.block };
                add_residual(simd, &mut values, TensorLine { offset: 0.0, ..line }, count, r);
            }
            ResidualElement::U8 => add_residual(simd, &mut values, line, count, r),
        }
    }
    // A branch for all of them, here and below: the values are in registers.
    if epilogue.output == OutputElement::U8 && line.low + line.zero == 0.0 {
        // No byte is less.
        for value in values.as_flattened_mut() {
            *value = simd.min(simd.splat(line.high), *value);
        }
    } else {
        for value in values.as_flattened_mut() {
            *value = line.clamp(simd, *value);
        }
    }
    match epilogue.output {
        OutputElement::F32 => {
            let at = y.at.cast::<f32>();
            for (o, values) in values.iter().enumerate() {
                for (p, value) in values.iter().enumerate() {
                    if p < count {
                        // SAFETY: `y` is writable for `count` pixels of `B` blocks, of which this is one.
                        unsafe { simd.store(at.add(o * y.block + p * BLOCK), *value) };
                    }
                }
            }
        }
        OutputElement::U8 => {
            let zero = simd.splat(line.zero);
            for (o, values) in values.iter().enumerate() {
                let at = y.at.wrapping_add(o * y.block);
                if count == P {
                    // SAFETY: `y` is writable for all pixels of the block.
                    unsafe { simd.store_u8s(at, *values, zero) };
                    continue;
                }
                for (p, value) in values.iter().enumerate() {
                    if p < count {
                        // SAFETY: `y` is writable for `count` pixels of the block.
                        unsafe { simd.store_u8(at.add(p * BLOCK), *value, zero) };
                    }
                }
            }
        }
    }
}

/// Adds the residual at `r` to the first `count` pixels.
///
/// # Safety
///
/// `r` is readable for these pixels.
#[inline(always)]
unsafe fn add_residual<S: Simd, R: Stored, const P: usize, const B: usize>(
    simd: S,
    values: &mut [[S::F32x16; P]; B],
    line: TensorLine,
    count: usize,
    r: Pixels<*const R>,
) {
    let (factor, offset) = (simd.splat(line.factor), simd.splat(line.offset));
    macro_rules! add {
        ($residual:ident, $over:expr) => {
            for (o, values) in values.iter_mut().enumerate() {
                for (p, value) in values.iter_mut().enumerate() {
                    if p < count {
                        let at = r.at.wrapping_add(o * r.block + p * BLOCK);
                        // SAFETY: the residual has the pixels and blocks of the output.
                        let $residual = unsafe { R::load(simd, at) };
                        *value = simd.add(*value, simd.mul($over, factor));
                    }
                }
            }
        };
    }
    // As after every ReLU; to subtract nothing changes nothing.
    if line.offset == 0.0 {
        add!(residual, residual);
    } else {
        add!(residual, simd.sub(residual, offset));
    }
}

/// Applies an activation, so that the many kernels, which have their results in as many registers as
/// there are, need not hold its code each.
struct Activate<'a> {
    activation: Activation,
    pixels: &'a mut [[f32; BLOCK]],
}

impl Outlined for Activate<'_> {
    /// # Safety
    ///
    /// None is asked for.
    #[inline(always)]
    unsafe fn run<S: Simd>(self, simd: S) {
        macro_rules! each {
            ($function:ident) => {
                for lanes in self.pixels {
                    let at = lanes.as_mut_ptr();
                    // SAFETY: an array of 16.
                    unsafe { simd.store(at, $function(simd, simd.load(at))) };
                }
            };
        }
        match self.activation {
            Activation::None => {}
            Activation::Relu => each!(relu),
            Activation::Relu6 => each!(relu6),
            Activation::Silu => each!(silu),
            Activation::Gelu => each!(gelu),
            Activation::LeakyRelu => each!(leaky_relu),
            Activation::HardSwish => each!(hard_swish),
        }
    }
}
