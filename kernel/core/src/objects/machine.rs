//! The machine's own objects: interrupt controller, consoles, debugger, platform. They exist from boot on.
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
            /// The object.
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
/// What a console writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// What people read.
    Console,
    /// The emulator's port that passes bytes on to a file of the host, where there is one.
    DebugConsole,
}

/// A console.
#[repr(C, align(64))]
pub struct Vcon {
    pub(crate) header: Header,
    device: Device,
}

// SAFETY: `repr(C)` with the header first.
unsafe impl Object for Vcon {
    const KIND: Kind = Kind::Vcon;
}

impl Vcon {
    /// The console of this device.
    pub(crate) const fn new(header: Header, device: Device) -> Vcon {
        Vcon { header, device }
    }

    /// What it writes to.
    pub fn device(&self) -> Device {
        self.device
    }
}

machine_object!(
    /// Names and counters.
    Debug
);
machine_object!(
    /// Power.
    Platform
);
