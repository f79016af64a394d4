//! The machine's own objects: interrupt controller, console, debugger, platform. Each exists once, from boot on.
#![expect(unsafe_code, reason = "an object's type is vouched for")]

use crate::object::{Header, Kind, Object};

macro_rules! machine_object {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[repr(C, align(64))]
        pub struct $name {
            pub(crate) header: Header,
        }

        // SAFETY: `repr(C)` with the header first.
        unsafe impl Object for $name {
            const KIND: Kind = Kind::$name;
        }

        impl $name {
            /// The one object of this kind.
            pub(crate) const fn new(header: Header) -> $name {
                $name { header }
            }
        }
    };
}

machine_object!(
    /// The interrupt controller.
    Icu
);
machine_object!(
    /// The console.
    Vcon
);
machine_object!(
    /// Names and counters.
    Debug
);
machine_object!(
    /// Power.
    Platform
);
