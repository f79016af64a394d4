//! Calls of other functions.

use core::ffi::{c_char, c_void};
use std::ffi::CString;

use worker::{CallError, FaasError, InvokeError, InvokeOptions};

use crate::argument::{self, Bytes, c_text};
use crate::invocation::Invocation;
use crate::status::{self, INVALID_ARGUMENT, OK, PROTOCOL, Status};

/// `aerie_limits`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    timeout_ns: u64,
    memory_bytes: u64,
}

/// `aerie_reply`: what became of a call.
#[derive(Debug)]
pub(crate) struct Reply {
    status: Status,
    bytes: Vec<u8>,
    message: CString,
    exit_code: i64,
}

impl Reply {
    fn response(bytes: Vec<u8>) -> Self {
        Self {
            status: OK,
            bytes,
            message: CString::default(),
            exit_code: 0,
        }
    }

    fn error(status: Status, message: &str) -> Self {
        Self {
            status,
            bytes: Vec::new(),
            message: c_text(message),
            exit_code: 0,
        }
    }
}

impl From<InvokeError> for Reply {
    fn from(error: InvokeError) -> Self {
        let message = error.to_string();
        match error {
            CallError::Server(error) => {
                let exit_code = match error {
                    FaasError::Exit { code } => code,
                    _ => 0,
                };
                Self {
                    exit_code,
                    ..Self::error(status::of(&error), &message)
                }
            }
            CallError::Protocol(_) => Self::error(PROTOCOL, &message),
        }
    }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn aerie_invoke(
    invocation: *mut Invocation<'_>,
    name: *const c_char,
    request: *const c_void,
    length: usize,
    limits: *const Limits,
) -> *mut Reply {
    // SAFETY: Null, or what the handler was called with.
    let invocation = unsafe { invocation.as_ref() };
    // SAFETY: The caller's text, as the header asks for.
    let name = unsafe { argument::text(name) };
    // SAFETY: The caller's bytes, as the header asks for.
    let request = unsafe { argument::bytes(request, length) };
    // SAFETY: Null, or the caller's structure.
    let limits = unsafe { limits.as_ref() };
    let options = limits.map_or_else(InvokeOptions::default, |limits| InvokeOptions {
        timeout_ns: limits.timeout_ns,
        memory_bytes: limits.memory_bytes,
    });
    let reply = match (invocation, name, request) {
        (Some(invocation), Some(name), Some(request)) => invocation
            .context()
            .invoke_with(&name, options, request)
            .map_or_else(Reply::from, |reply| Reply::response(reply.into_bytes())),
        _ => Reply::error(
            INVALID_ARGUMENT,
            "aerie_invoke: the invocation, the name or the request is NULL",
        ),
    };
    Box::into_raw(Box::new(reply))
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn aerie_reply_status(reply: *const Reply) -> Status {
    // SAFETY: Null, or a reply that was not freed.
    unsafe { reply.as_ref() }.map_or(INVALID_ARGUMENT, |reply| reply.status)
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn aerie_reply_bytes(reply: *const Reply) -> Bytes {
    // SAFETY: Null, or a reply that was not freed.
    unsafe { reply.as_ref() }.map_or(Bytes::EMPTY, |reply| Bytes::of(&reply.bytes))
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn aerie_reply_message(reply: *const Reply) -> *const c_char {
    // SAFETY: Null, or a reply that was not freed.
    unsafe { reply.as_ref() }
        .map_or(c"there is no reply", |reply| reply.message.as_c_str())
        .as_ptr()
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn aerie_reply_exit_code(reply: *const Reply) -> i64 {
    // SAFETY: Null, or a reply that was not freed.
    unsafe { reply.as_ref() }.map_or(0, |reply| reply.exit_code)
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn aerie_reply_free(reply: *mut Reply) {
    if !reply.is_null() {
        // SAFETY: It was made by `aerie_invoke`, and the caller frees it once.
        drop(unsafe { Box::from_raw(reply) });
    }
}
