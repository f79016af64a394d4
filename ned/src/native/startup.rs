//! What the program was started with.
#![expect(unsafe_code, reason = "the start block is found through the auxiliary vector")]

use std::ptr;

/// Takes note of the named capabilities that `ned` was started with.
pub(crate) fn adopt_environment() {
    // SAFETY: Reads the auxiliary vector, which is there in every program.
    let block = unsafe { libc::getauxval(l4re::env::AT_L4_ENV) };
    // SAFETY: Null if there is no such entry, else what the loader put there, which stays as it is.
    unsafe { l4re::env::adopt(ptr::with_exposed_provenance_mut(block as usize)) };
}
