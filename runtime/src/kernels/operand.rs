//! What a kernel does with its operands, as its declaration says.

use serde::Serialize;

/// What an operand, an activation or a part of the packed weights consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Element {
    /// Single precision, of IEEE 754.
    F32,
    /// A byte from 0 to 255: a quantised activation.
    U8,
    /// A byte from -127 to 127: a quantised weight.
    I8,
    /// A word of two bytes: what Winograd's transforms make of bytes, and of quantised weights.
    I16,
    /// The upper half of an `f32`, see [`Bf16`](super::Bf16).
    Bf16,
    /// An index of four bytes.
    U32,
}

impl Element {
    /// Whether it is an integer of a quantised network: an activation, a weight, or what Winograd's transforms make of them.
    pub const fn is_quantised(self) -> bool {
        matches!(self, Self::U8 | Self::I8 | Self::I16)
    }

    /// Bytes of one.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::I16 | Self::Bf16 => 2,
            Self::U32 => size_of::<u32>(),
            Self::U8 | Self::I8 => 1,
        }
    }
}

impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::Bf16 => "bf16",
            Self::U32 => "u32",
        })
    }
}

/// What is done with an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It is read.
    Read,
    /// It is written, and may be read where it was written.
    Write,
    /// It is an address to fetch ahead from: nothing is touched.
    Hint,
}

/// An operand of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operand {
    /// Its name in the kernel's declaration.
    pub name: &'static str,
    /// What is done with it.
    pub role: Role,
    /// What it consists of; of a hint, no one asks.
    pub element: Element,
    /// Elements that are touched from its address on; 0 if the call does not use it.
    pub len: usize,
    /// Whether it is to start on a cache line, without which the kernel is right, and slow.
    pub aligned: bool,
    /// The operand in whose place this one may be written: each element of it is read before the same
    /// one is written. It may overlap no other.
    pub over: Option<&'static str>,
}

impl Operand {
    /// Bytes that are touched; the largest number, where they are more.
    pub const fn bytes(&self) -> usize {
        self.len.saturating_mul(self.element.bytes())
    }

    const fn new(role: Role, element: Element, len: usize) -> Self {
        Self { name: "", role, element, len, aligned: false, over: None }
    }

    /// So many elements that are read.
    pub(super) const fn read(element: Element, len: usize) -> Self {
        Self::new(Role::Read, element, len)
    }

    /// So many elements that are written.
    pub(super) const fn write(element: Element, len: usize) -> Self {
        Self::new(Role::Write, element, len)
    }

    /// An address to fetch from.
    pub(super) const fn hint() -> Self {
        Self::new(Role::Hint, Element::F32, 0)
    }

    /// The same from a cache line on.
    pub(super) const fn aligned(self) -> Self {
        Self { aligned: true, ..self }
    }

    /// The same, used on a condition alone.
    pub(super) const fn only_if(self, used: bool) -> Self {
        Self { len: if used { self.len } else { 0 }, ..self }
    }

    /// The same, in the place of another one or in one of its own.
    pub(super) const fn over(self, name: &'static str) -> Self {
        Self { over: Some(name), ..self }
    }

    /// The same, in the place of another one if a condition holds.
    pub(super) const fn over_if(self, may: bool, name: &'static str) -> Self {
        if may { self.over(name) } else { self }
    }

    pub(super) const fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }
}
