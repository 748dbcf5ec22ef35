//! What code is made for.

use resnet_runtime::kernels::{Isa, Table, UnavailableIsa};

/// The machine at hand, with one of the instruction sets that its CPU has: its pointers and byte order
/// are this process's.
#[derive(Clone, Copy)]
pub struct Target {
    isa: Isa,
    kernels: &'static Table,
}

impl Target {
    /// This machine, with this instruction set or, if none is named, with the best one that it has.
    ///
    /// # Errors
    ///
    /// If the CPU lacks it.
    pub fn host(isa: Option<Isa>) -> Result<Self, UnavailableIsa> {
        let isa = isa.unwrap_or_else(Isa::detect);
        Ok(Self { isa, kernels: isa.table()? })
    }

    /// The instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Its kernels.
    pub fn kernels(&self) -> &'static Table {
        self.kernels
    }
}
