//! What kernels' parameters are made of: plain values that a back end can write down, as bytes where it
//! makes machine code and as an expression where it makes Rust.

use std::fmt;

use super::Transform;

/// A value among a kernel's parameters.
///
/// Its `repr` is that of C, so that emitted data and compiled kernels agree on where it lies.
pub(super) trait Param {
    /// Writes the bytes that the value has in memory; padding stays as it is.
    fn write(&self, bytes: &mut [u8]);

    /// The Rust expression that makes the value, where the catalogue's names are in scope.
    fn expression(&self) -> String;
}

impl Param for usize {
    fn write(&self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.to_ne_bytes());
    }

    fn expression(&self) -> String {
        self.to_string()
    }
}

impl Param for bool {
    fn write(&self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&[u8::from(*self)]);
    }

    fn expression(&self) -> String {
        self.to_string()
    }
}

/// Nothing.
impl Param for () {
    fn write(&self, _: &mut [u8]) {}

    fn expression(&self) -> String {
        "()".to_owned()
    }
}

/// A constant of a kernel that is no count: an `f32` that is compared, and hashed, by its bits, as
/// calls are.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Constant(u32);

impl Constant {
    /// A constant of this value.
    pub const fn new(value: f32) -> Self {
        Self(value.to_bits())
    }

    /// Its value.
    pub const fn get(self) -> f32 {
        f32::from_bits(self.0)
    }
}

impl fmt::Debug for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.get())
    }
}

impl Param for Constant {
    fn write(&self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0.to_ne_bytes());
    }

    fn expression(&self) -> String {
        format!("Constant::new({:?})", self.get())
    }
}

impl Param for Transform {
    fn write(&self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&(*self as u32).to_ne_bytes());
    }

    fn expression(&self) -> String {
        format!("Transform::{self:?}")
    }
}

/// Structs of parameters, which are parameters too.
macro_rules! params {
    ($(
        $(#[$doc:meta])*
        pub struct $name:ident $(<$kind:ident = $default:ty>)? {
            $( $(#[$field_doc:meta])* pub $field:ident: $ty:ty, )+
        }
    )+) => { $(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name $(<$kind = $default>)? { $( $(#[$field_doc])* pub $field: $ty, )+ }

        impl $(<$kind: $crate::kernels::params::Param>)? $crate::kernels::params::Param
            for $name $(<$kind>)?
        {
            fn write(&self, bytes: &mut [u8]) {
                $(
                    let at = std::mem::offset_of!(Self, $field);
                    self.$field.write(&mut bytes[at..at + size_of::<$ty>()]);
                )+
            }

            fn expression(&self) -> String {
                let fields = [$( format!("{}: {}", stringify!($field), self.$field.expression()) ),+];
                format!("{} {{ {} }}", stringify!($name), fields.join(", "))
            }
        }
    )+ };
}

/// Enums among parameters, without payloads.
macro_rules! choices {
    ($(
        $(#[$doc:meta])*
        pub enum $name:ident { $( $(#[$variant_doc:meta])* $variant:ident, )+ }
    )+) => { $(
        $(#[$doc])*
        #[repr(u32)]
        #[derive(serde::Serialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $( $(#[$variant_doc])* $variant, )+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$( Self::$variant ),+];
        }

        impl $crate::kernels::params::Param for $name {
            fn write(&self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&(*self as u32).to_ne_bytes());
            }

            fn expression(&self) -> String {
                format!("{}::{self:?}", stringify!($name))
            }
        }
    )+ };
}
