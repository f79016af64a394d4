//! The numbers of `aerie_status`.

use core::ffi::{CStr, c_char, c_int};

use worker::FaasError;

/// `aerie_status`. A plain number, because C may pass any.
pub(crate) type Status = c_int;

pub(crate) const OK: Status = 0;
pub(crate) const PROTOCOL: Status = 100;
pub(crate) const INVALID_ARGUMENT: Status = 101;

/// Declares the numbers of the errors, with the names that [`FaasError::kind`] has for them.
macro_rules! statuses {
    ($($number:literal $name:literal $pattern:pat,)*) => {
        /// The number of an error.
        pub(crate) fn of(error: &FaasError) -> Status {
            match error {
                $($pattern => $number,)*
            }
        }

        /// The name of a number.
        fn name(status: Status) -> &'static CStr {
            match status {
                OK => c"ok",
                $($number => $name,)*
                PROTOCOL => c"protocol",
                INVALID_ARGUMENT => c"invalid-argument",
                _ => c"unknown",
            }
        }
    };
}

statuses! {
    1 c"unknown-action" FaasError::UnknownAction,
    2 c"action-exists" FaasError::ActionExists,
    3 c"invalid-name" FaasError::InvalidName(_),
    4 c"invalid-image" FaasError::InvalidImage(_),
    5 c"invalid-config" FaasError::InvalidConfig(_),
    6 c"not-freezable" FaasError::NotFreezable(_),
    7 c"timeout" FaasError::Timeout { .. },
    8 c"memory-limit" FaasError::MemoryLimit { .. },
    9 c"fault" FaasError::Fault { .. },
    10 c"panic" FaasError::Panic { .. },
    11 c"failed" FaasError::Failed(_),
    12 c"exit" FaasError::Exit { .. },
    13 c"request-too-large" FaasError::RequestTooLarge { .. },
    14 c"result-too-large" FaasError::ResultTooLarge { .. },
    15 c"invalid-payload" FaasError::InvalidPayload,
    16 c"too-many-clients" FaasError::TooManyClients { .. },
    17 c"too-many-actions" FaasError::TooManyActions { .. },
    18 c"too-many-activations" FaasError::TooManyActivations { .. },
    19 c"queue-full" FaasError::QueueFull { .. },
    20 c"nested-too-deep" FaasError::NestedTooDeep { .. },
    21 c"unknown-activation" FaasError::UnknownActivation,
    22 c"not-finished" FaasError::NotFinished,
    23 c"cancelled" FaasError::Cancelled,
    24 c"environment-too-large" FaasError::EnvironmentTooLarge { .. },
    25 c"worker-protocol" FaasError::WorkerProtocol,
    26 c"not-permitted" FaasError::NotPermitted,
    27 c"out-of-memory" FaasError::OutOfMemory,
    28 c"system" FaasError::System(_),
    29 c"not-storable" FaasError::NotStorable(_),
    30 c"not-restored" FaasError::NotRestored(_),
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn aerie_status_name(status: Status) -> *const c_char {
    name(status).as_ptr()
}
