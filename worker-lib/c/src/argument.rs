//! What C passes in, and what it gets.

use core::ffi::{CStr, c_char, c_void};
use core::slice;
use std::borrow::Cow;
use std::ffi::CString;

/// `aerie_bytes`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes {
    data: *const c_char,
    length: usize,
}

impl Bytes {
    pub(crate) const EMPTY: Bytes = Bytes {
        data: c"".as_ptr(),
        length: 0,
    };

    /// A view of `bytes`, which the header says how long to keep.
    pub(crate) fn of(bytes: &[u8]) -> Bytes {
        match bytes {
            [] => Bytes::EMPTY,
            bytes => Bytes {
                data: bytes.as_ptr().cast(),
                length: bytes.len(),
            },
        }
    }
}

/// Bytes of the caller; `None` if there is no pointer to them, or there cannot be so many.
///
/// # Safety
/// Unless it is null, there are `length` readable bytes at `data`, and nobody changes them while the slice is in use.
pub(crate) unsafe fn bytes<'a>(data: *const c_void, length: usize) -> Option<&'a [u8]> {
    if length == 0 {
        return Some(&[]);
    }
    if data.is_null() || isize::try_from(length).is_err() {
        return None;
    }
    // SAFETY: Not null and not too long; the rest is the caller's promise.
    Some(unsafe { slice::from_raw_parts(data.cast(), length) })
}

/// A text of the caller; `None` for null.
///
/// # Safety
/// Unless it is null, a zero byte ends the text, and nobody changes it while it is in use.
pub(crate) unsafe fn text<'a>(text: *const c_char) -> Option<Cow<'a, str>> {
    if text.is_null() {
        return None;
    }
    // SAFETY: Not null; the rest is the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_string_lossy())
}

/// A text for C. Zero bytes, which would end it, are left out.
pub(crate) fn c_text(text: &str) -> CString {
    let bytes: Vec<u8> = text.bytes().filter(|&byte| byte != 0).collect();
    CString::new(bytes).unwrap_or_default()
}
