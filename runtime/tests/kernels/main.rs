//! Every kernel of the catalogue, on every instruction set that this CPU has, against an obvious
//! version in `f64`. All calls go through [`Call::invoke`], so the catalogue is what is tested.

mod activation;
mod bytes;
mod channel;
mod conv;
mod copy;
mod halves;
mod isa;
mod layout;
mod norm;
mod pack;
mod pool;
#[cfg(feature = "train")]
mod training;
mod winograd;

use std::ffi::c_void;

use resnet_runtime::kernels::{Activation, Call, Epilogue, Isa, Precision, Table};

/// The instruction sets of this CPU with their kernels.
fn tables() -> impl Iterator<Item = (Isa, &'static Table)> {
    Isa::available().map(|isa| (isa, isa.table().expect("an available instruction set")))
}

/// Runs a kernel whose contract the caller has seen to.
fn invoke(call: &Call, table: &Table, operands: &[*const f32]) {
    let operands: Vec<*mut c_void> =
        operands.iter().map(|operand| operand.cast_mut().cast()).collect();
    // SAFETY: the tests pass operands that reach as far as the parameters say, and `Isa::table`
    // gives tables of this CPU only. What a kernel writes is always a `Guarded`.
    unsafe { call.invoke(table, &operands) }
}

/// Every epilogue.
fn epilogues() -> impl Iterator<Item = Epilogue> {
    let of = |residual| {
        Activation::ALL.iter().map(move |&activation| Epilogue {
            residual,
            activation,
            stored: Precision::F32,
        })
    };
    [false, true].into_iter().flat_map(of)
}

/// A residual and `max(0, x)`.
const RESIDUAL_RELU: Epilogue =
    Epilogue { residual: true, activation: Activation::Relu, stored: Precision::F32 };

/// What an epilogue makes of a value.
fn finished(epilogue: Epilogue, value: f64, residual: f32) -> f64 {
    let value = if epilogue.residual { value + f64::from(residual) } else { value };
    activation::activated(epilogue.activation, value)
}

/// Numbers in -1..1, the same in every run (a xorshift generator).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn vec(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.next()).collect()
    }
}

/// An output between two guards, which holds a marker wherever nothing has been written.
struct Guarded {
    memory: Vec<f32>,
}

impl Guarded {
    const GUARD: usize = 64;
    /// A NaN that no kernel produces.
    const MARKER: u32 = 0x7fc0_beef;

    fn new(len: usize) -> Self {
        Self { memory: vec![f32::from_bits(Self::MARKER); len + 2 * Self::GUARD] }
    }

    fn from(values: &[f32]) -> Self {
        let mut guarded = Self::new(values.len());
        guarded.memory[Self::GUARD..][..values.len()].copy_from_slice(values);
        guarded
    }

    fn pointer(&mut self) -> *const f32 {
        self.memory[Self::GUARD..].as_mut_ptr()
    }

    /// What was written, after a look at the guards.
    fn values(&self) -> &[f32] {
        let (before, rest) = self.memory.split_at(Self::GUARD);
        let (values, after) = rest.split_at(rest.len() - Self::GUARD);
        for value in before.iter().chain(after) {
            assert_eq!(value.to_bits(), Self::MARKER, "written outside the output");
        }
        values
    }

    /// What was written, if every element was.
    fn full(&self) -> &[f32] {
        let values = self.values();
        let gap = values.iter().position(|value| value.to_bits() == Self::MARKER);
        assert_eq!(gap, None, "not written");
        values
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Fails unless every value is within `tolerance` of the expected one; the message has `what`.
fn assert_close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let close = (f64::from(found) - expected).abs() <= tolerance;
        assert!(close, "{what}: element {index} is {found}, expected {expected}");
    }
}
