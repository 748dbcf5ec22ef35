//! The kernels of quantised networks against plain definitions, in every bit, on every instruction set.

mod conv;
mod planes;
mod winograd;

use std::ffi::c_void;

use resnet_runtime::kernels::{Call, Table, TensorLine};

/// Bytes on a cache line of their own.
struct Bytes(Vec<Line>);

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u8; 64]);

impl Bytes {
    fn filled(len: usize, byte: u8) -> Self {
        Self(vec![Line([byte; 64]); len.div_ceil(64)])
    }

    fn of<T: Copy>(values: &[T]) -> Self {
        let mut bytes = Self::filled(size_of_val(values), 0);
        // SAFETY: as many bytes as the values have.
        unsafe {
            bytes.pointer().cast::<T>().copy_from_nonoverlapping(values.as_ptr(), values.len())
        }
        bytes
    }

    fn pointer(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }

    fn get(&self, at: usize) -> u8 {
        self.0[at / 64].0[at % 64]
    }
}

/// Runs a kernel whose contract the caller has seen to; the last operand is the output, for which
/// there are `len` bytes. Answers with those that were written.
fn run(call: &Call, table: &Table, inputs: &mut [Bytes], len: usize) -> Vec<Option<u8>> {
    const GUARD: usize = 256;
    // Whatever is written differs from one of two markers.
    let [zeros, ones] = [0x00, 0xff].map(|marker| {
        let mut y = Bytes::filled(len + 2 * GUARD, marker);
        let mut operands: Vec<*mut c_void> =
            inputs.iter_mut().map(|input| input.pointer().cast()).collect();
        operands.push(y.pointer().wrapping_add(GUARD).cast());
        // SAFETY: the tests pass operands that reach as far as the parameters say, and `Isa::table`
        // gives tables of this CPU only.
        unsafe { call.invoke(table, &operands) }
        y
    });
    let written: Vec<_> = (0..len + 2 * GUARD)
        .map(|at| (zeros.get(at) == ones.get(at)).then_some(zeros.get(at)))
        .collect();
    let (before, rest) = written.split_at(GUARD);
    let (inside, after) = rest.split_at(len);
    assert!(before.iter().chain(after).all(Option::is_none), "written outside the output");
    inside.to_vec()
}

/// The elements of 4 bytes that were written whole.
fn floats(bytes: &[Option<u8>]) -> Vec<Option<f32>> {
    let float = |bytes: &[Option<u8>]| {
        let bytes: Option<Vec<u8>> = bytes.iter().copied().collect();
        bytes.map(|bytes| f32::from_ne_bytes(bytes.try_into().unwrap()))
    };
    bytes.chunks(4).map(float).collect()
}

/// The definition: half to even, plus the zero point.
fn byte(line: TensorLine, v: f32) -> u8 {
    if v.is_nan() {
        return 0;
    }
    (v.round_ties_even() + line.zero) as u8
}

fn clamped(line: TensorLine, v: f32) -> f32 {
    if v.is_nan() { v } else { v.max(line.low).min(line.high) }
}

/// A line whose scale makes halves of many numbers.
const LINE: TensorLine =
    TensorLine { factor: 0.5, offset: 100.0, low: -37.0, high: 218.0, zero: 37.0 };
