//! The invocation that a handler serves.

use core::ffi::{c_char, c_void};
use std::ffi::CString;

use worker::{Context, Error, Request, Response};

use crate::argument::{self, Bytes, c_text};
use crate::status::{INVALID_ARGUMENT, OK, PROTOCOL, Status};

/// `aerie_invocation`: a request, and the answer as far as there is one.
#[derive(Debug)]
pub(crate) struct Invocation<'a> {
    request: &'a [u8],
    context: &'a Context,
    answer: Option<Result<Response, Error>>,
    /// The texts of `aerie_function_info`, asked for once.
    function: Option<Texts>,
}

#[derive(Debug)]
struct Texts {
    name: CString,
    handler: CString,
    version: u32,
    memory_bytes: u64,
}

/// `aerie_function`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Function {
    name: *const c_char,
    handler: *const c_char,
    version: u32,
    memory_bytes: u64,
}

impl<'a> Invocation<'a> {
    pub(crate) fn new(request: &'a Request, context: &'a Context) -> Self {
        Self {
            request: request.bytes(),
            context,
            answer: None,
            function: None,
        }
    }

    pub(crate) fn context(&self) -> &Context {
        self.context
    }

    /// What the caller gets.
    pub(crate) fn into_answer(self) -> Result<Response, Error> {
        self.answer.unwrap_or_else(|| {
            Err(Error::new(
                "the handler returned without an answer; call aerie_respond or aerie_fail",
            ))
        })
    }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn aerie_request(invocation: *const Invocation<'_>) -> Bytes {
    // SAFETY: Null, or what the handler was called with.
    let invocation = unsafe { invocation.as_ref() };
    invocation.map_or(Bytes::EMPTY, |invocation| Bytes::of(invocation.request))
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn aerie_respond(
    invocation: *mut Invocation<'_>,
    data: *const c_void,
    length: usize,
) -> Status {
    // SAFETY: Null, or what the handler was called with; nothing else refers to it.
    let invocation = unsafe { invocation.as_mut() };
    // SAFETY: The caller's bytes, as the header asks for.
    let bytes = unsafe { argument::bytes(data, length) };
    let (Some(invocation), Some(bytes)) = (invocation, bytes) else {
        return INVALID_ARGUMENT;
    };
    invocation.answer = Some(Ok(Response::bytes(bytes)));
    OK
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn aerie_fail(
    invocation: *mut Invocation<'_>,
    message: *const c_char,
) -> Status {
    // SAFETY: Null, or what the handler was called with; nothing else refers to it.
    let Some(invocation) = (unsafe { invocation.as_mut() }) else {
        return INVALID_ARGUMENT;
    };
    // SAFETY: The caller's text, as the header asks for.
    let message = unsafe { argument::text(message) };
    invocation.answer = Some(Err(Error::new(message.unwrap_or_default())));
    OK
}

/// Declares functions that read a number of the invocation's context, 0 for null.
macro_rules! numbers {
    ($($name:ident: $type:ty = $read:expr;)*) => {
        $(
            #[unsafe(no_mangle)]
            pub(crate) unsafe extern "C" fn $name(invocation: *const Invocation<'_>) -> $type {
                let read: fn(&Context) -> $type = $read;
                // SAFETY: Null, or what the handler was called with.
                let invocation = unsafe { invocation.as_ref() };
                invocation.map_or(0, |invocation| read(invocation.context))
            }
        )*
    };
}

numbers! {
    aerie_request_id: u64 = Context::request_id;
    aerie_deadline_ns: u64 = Context::deadline_ns;
    aerie_remaining_ns: u64 = |context| context.deadline_ns().saturating_sub(worker::now_ns());
    aerie_depth: u32 = Context::depth;
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn aerie_now_ns() -> u64 {
    worker::now_ns()
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn aerie_seed(invocation: *const Invocation<'_>, seed: *mut [u64; 2]) -> Status {
    // SAFETY: Null, or what the handler was called with.
    let Some(invocation) = (unsafe { invocation.as_ref() }) else {
        return INVALID_ARGUMENT;
    };
    if seed.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: Not null, and the caller has room for two numbers there.
    unsafe { seed.write(invocation.context.seed()) };
    OK
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn aerie_function_info(
    invocation: *mut Invocation<'_>,
    function: *mut Function,
) -> Status {
    // SAFETY: Null, or what the handler was called with; nothing else refers to it.
    let Some(invocation) = (unsafe { invocation.as_mut() }) else {
        return INVALID_ARGUMENT;
    };
    if function.is_null() {
        return INVALID_ARGUMENT;
    }
    if invocation.function.is_none() {
        invocation.function = invocation.context.function().ok().map(|function| Texts {
            name: c_text(&function.name),
            handler: c_text(&function.handler),
            version: function.version,
            memory_bytes: function.memory_bytes,
        });
    }
    let Some(texts) = &invocation.function else {
        return PROTOCOL;
    };
    let known = Function {
        name: texts.name.as_ptr(),
        handler: texts.handler.as_ptr(),
        version: texts.version,
        memory_bytes: texts.memory_bytes,
    };
    // SAFETY: Not null, and the caller has room for the structure there.
    unsafe { function.write(known) };
    OK
}
