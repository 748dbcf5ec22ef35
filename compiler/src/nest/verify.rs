//! Checks that no kernel call of a program leaves the memory it was given.
//!
//! What is checked, for every step and every call in its function:
//! - the numbers of operands agree with the function's and the catalogue's;
//! - what lies at an operand's place are elements of the kernel's kind;
//! - over all values of the loop variables, every byte that the kernel touches through an
//!   operand lies within that operand's region, or within one thread's scratch;
//! - only the arena, the scratch and the output are written, and by a training step the weights;
//! - what a call writes is no other of its operands, but one that the kernel may overwrite;
//! - no step hands out a place in the scratch;
//! - an operand that has to start on a cache line does;
//! - no sum or product among these, and no number of iterations, is larger than an address can be.
//!
//! What each kernel touches is said by its declaration (`resnet_runtime::kernels`).
//!
//! What is not: that steps read only what earlier ones wrote (the schedule's tests do that), that
//! iterations read of the scratch only what they wrote themselves, and that parallel iterations
//! write disjoint places outside of it.
//!
//! Back ends run only verified programs, so this is the fact on which their unsafe code rests.

use resnet_runtime::kernels::{Call, LINE_BYTES, Operand, Role};

use super::{Address, Base, Loop, Place, Program, Statement, Step, Var};
use crate::schedule::Region;

/// A program that would leave its memory: always a bug in this compiler.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("step `{step}`, {call}: {reason}; this is a bug in the compiler, please report the table")]
pub struct VerifyError {
    /// The step's name.
    pub step: String,
    /// The kernel.
    pub call: &'static str,
    /// What is wrong.
    pub reason: String,
}

impl Program {
    /// Checks the whole program.
    ///
    /// # Errors
    ///
    /// The first call that breaks a rule of this module's list.
    pub fn verify(&self) -> Result<(), VerifyError> {
        for step in &self.steps {
            let function = self.function(step.function);
            let error = |call: &'static str, reason: String| VerifyError {
                step: self.name_of(step),
                call,
                reason,
            };
            if step.operands.len() != function.operands.len() {
                return Err(error("call", "wrong number of operands".to_owned()));
            }
            if step.operands.iter().any(|place| place.region == Region::Scratch) {
                let reason =
                    "the scratch is not the same for all threads, so no operand lies there";
                return Err(error("call", reason.to_owned()));
            }
            let extents = function.parallel.iter().map(|l| l.extent);
            if extents.clone().try_fold(1, usize::checked_mul).is_none() {
                return Err(error("call", "more iterations than can be counted".to_owned()));
            }
            let mut loops = function.parallel.clone();
            self.verify_body(step, &function.body, &mut loops)
                .map_err(|(call, reason)| error(call, reason))?;
        }
        Ok(())
    }

    fn verify_body(
        &self,
        step: &Step,
        body: &[Statement],
        loops: &mut Vec<Loop>,
    ) -> Result<(), (&'static str, String)> {
        for statement in body {
            match statement {
                Statement::For(each, body) => {
                    loops.push(*each);
                    self.verify_body(step, body, loops)?;
                    loops.pop();
                }
                Statement::Call(call, addresses) => {
                    self.verify_call(step, call, addresses, loops)
                        .map_err(|reason| (call.name(), reason))?;
                }
            }
        }
        Ok(())
    }

    fn verify_call(
        &self,
        step: &Step,
        call: &Call,
        addresses: &[Address],
        loops: &[Loop],
    ) -> Result<(), String> {
        let operands = call.operands();
        if addresses.len() != operands.len() {
            return Err("wrong number of operands".to_owned());
        }
        let mut places = Vec::with_capacity(operands.len());
        for (operand, address) in operands.iter().zip(addresses) {
            places.push(self.verify_operand(step, operand, address, loops)?);
        }
        // What is written is no other operand, unless the kernel's declaration lets it be.
        for (at, written) in operands.iter().enumerate().filter(|(_, o)| o.role == Role::Write) {
            for (other, read) in operands.iter().enumerate().filter(|(other, _)| *other != at) {
                let in_place = written.over == Some(read.name) && places[at].is(&places[other]);
                if places[at].overlaps(&places[other]) && !in_place {
                    return Err(format!("`{}` overlaps `{}`", written.name, read.name));
                }
            }
        }
        Ok(())
    }

    /// Checks one operand of a call; where it lies.
    fn verify_operand<'a>(
        &self,
        step: &Step,
        operand: &Operand,
        address: &'a Address,
        loops: &[Loop],
    ) -> Result<Span<'a>, String> {
        let name = operand.name;
        let place = match address.base {
            Base::Operand(index) => *step
                .operands
                .get(index)
                .ok_or_else(|| format!("`{name}` refers to a missing operand"))?,
            Base::Scratch(element) => Place { region: Region::Scratch, offset: 0, element },
        };
        // Where an operand is not used, anything may lie.
        if operand.role != Role::Hint && operand.len > 0 && operand.element != place.element {
            let (wanted, found) = (operand.element, place.element);
            return Err(format!("`{name}` takes {wanted}, and {found} lies there"));
        }
        let first = place.offset.saturating_add(address.offset);
        let mut last = first;
        for (var, distance) in &address.terms {
            let of_var = loops.iter().find(|l| l.var == *var);
            let extent = of_var.ok_or_else(|| format!("`{var}` is not bound"))?.extent;
            last = last.saturating_add(extent.saturating_sub(1).saturating_mul(*distance));
        }
        // An operand that is not used is an address all the same, so it has to be one. What is saturated is past the
        // end, as no region has the largest number of bytes.
        let (end, len) = (last.saturating_add(operand.bytes()), self.region_bytes(place.region));
        if end > len || end == usize::MAX {
            return Err(format!("`{name}` ends at {end} in {} of {len}", place.region));
        }
        let written = operand.role == Role::Write;
        let fixed = match place.region {
            Region::Input => true,
            Region::Weights => !self.trains,
            Region::Output | Region::Arena | Region::Scratch => false,
        };
        if written && fixed {
            return Err(format!("`{name}` is written in {}", place.region));
        }
        let on_line = |n: usize| n.is_multiple_of(LINE_BYTES);
        let starts_on_line =
            on_line(first) && address.terms.iter().all(|(_, distance)| on_line(*distance));
        if operand.aligned && !starts_on_line {
            return Err(format!("`{name}` does not start on a cache line"));
        }
        let used = operand.len > 0;
        Ok(Span { region: place.region, first, end, terms: &address.terms, used })
    }
}

/// What an operand touches, over all values of the loops' variables.
struct Span<'a> {
    region: Region,
    first: usize,
    end: usize,
    terms: &'a [(Var, usize)],
    used: bool,
}

impl Span<'_> {
    /// Whether both may touch a byte.
    fn overlaps(&self, other: &Self) -> bool {
        let used = self.used && other.used && self.region == other.region;
        used && self.first < other.end && other.first < self.end
    }

    /// Whether both are at the same address, always.
    fn is(&self, other: &Self) -> bool {
        (self.region, self.first, self.terms) == (other.region, other.first, other.terms)
    }
}
