//! What a kernel does with its operands, as its declaration says.

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
    /// Elements that are touched from its address on; 0 if the call does not use it.
    pub len: usize,
    /// Whether it is to start on a cache line, without which the kernel is right, and slow.
    pub aligned: bool,
    /// The operand in whose place this one may be written: each element of it is read before the same
    /// one is written. It may overlap no other.
    pub over: Option<&'static str>,
}

impl Operand {
    const fn new(role: Role, len: usize) -> Self {
        Self { name: "", role, len, aligned: false, over: None }
    }

    /// So many elements that are read.
    pub(super) const fn read(len: usize) -> Self {
        Self::new(Role::Read, len)
    }

    /// So many elements that are written.
    pub(super) const fn write(len: usize) -> Self {
        Self::new(Role::Write, len)
    }

    /// An address to fetch from.
    pub(super) const fn hint() -> Self {
        Self::new(Role::Hint, 0)
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

    pub(super) const fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }
}
