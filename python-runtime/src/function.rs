//! A function in its interpreter.

use std::cell::Cell;

use rustpython_vm::builtins::{PyByteArray, PyBytes, PyMemoryView, PyStr};
use rustpython_vm::{AsObject, PyObjectRef, PyResult, VirtualMachine};

use crate::failure::Failure;
use crate::interpreter::Runtime;
use crate::{json, native};

/// Rounds of [`Function::rehearse`]: more than the interpreter waits before it adapts code to its use.
const REHEARSALS: usize = 32;

/// What the prelude knows of loaded code.
pub(crate) struct Loaded {
    /// Whether the handler takes and returns text.
    pub(crate) takes_text: bool,
    pub(crate) handler: PyObjectRef,
    /// The class of contexts.
    pub(crate) context: PyObjectRef,
    /// Stands for the handler while nobody calls.
    pub(crate) idle: PyObjectRef,
}

/// Loaded code, ready to be called.
pub(crate) struct Function {
    runtime: Runtime,
    loaded: Loaded,
    /// Whether a request was served: the first one brings new randomness, also to a worker that was frozen before.
    has_served: Cell<bool>,
    /// Whether the module `random` may have been loaded before the first request: its generator is the only one in Python
    /// that is not seeded when it is first used.
    may_have_random: Cell<bool>,
}

impl Function {
    pub(crate) fn new(runtime: Runtime, loaded: Loaded) -> Self {
        Self {
            runtime,
            loaded,
            has_served: Cell::new(false),
            may_have_random: Cell::new(true),
        }
    }

    /// Serves a request.
    ///
    /// # Errors
    /// What the handler raised, or a result that cannot be sent.
    pub(crate) fn call(&self, request: &[u8]) -> Result<Vec<u8>, Failure> {
        self.runtime.run(|vm| {
            if !self.has_served.replace(true) {
                self.reseed(vm)?;
            }
            self.handle(vm, &self.loaded.handler, request)
        })
    }

    /// Gives all generators new randomness.
    fn reseed(&self, vm: &VirtualMachine) -> PyResult<()> {
        rand::rng()
            .reseed()
            .map_err(|error| vm.new_os_error(error.to_string()))?;
        if self.may_have_random.get() {
            vm.call_method(&self.runtime.prelude, "reseed", ())?;
        }
        Ok(())
    }

    /// Goes the way of a request again and again with a handler that does nothing. The interpreter adapts its code to what it
    /// sees; whoever begins as a copy of this worker need not do that again, nor write to the memory where it is kept. The same
    /// holds for what generators set up when they are first used. It is the last that happens before the first request.
    ///
    /// # Errors
    /// Memory ran out.
    pub(crate) fn rehearse(&self) -> Result<(), Failure> {
        self.runtime.run(|vm| self.reseed(vm))?;
        for _ in 0..REHEARSALS {
            self.runtime
                .run(|vm| self.handle(vm, &self.loaded.idle, b"{}").map(drop))?;
            self.runtime.flush();
        }
        let has_random = self.runtime.run(|vm| {
            Ok(vm
                .sys_module
                .get_attr("modules", vm)?
                .get_item("random", vm)
                .is_ok())
        })?;
        self.may_have_random.set(has_random);
        Ok(())
    }

    /// Has the handler serve an event that nobody asked for, so that what it loads and computes once is there already.
    ///
    /// # Errors
    /// As [`Function::call`].
    pub(crate) fn warm_up(&self, event: &[u8]) -> Result<(), Failure> {
        self.runtime
            .run(|vm| self.handle(vm, &self.loaded.handler, event).map(drop))
            .map_err(Failure::in_warm_up)
    }

    /// Calls a handler with a request and returns its answer. What is usual is done here: each step in Python writes to some pages
    /// more, which each invocation of a frozen worker pays for. The rest is left to the prelude.
    fn handle(&self, vm: &VirtualMachine, handler: &PyObjectRef, request: &[u8]) -> PyResult<Vec<u8>> {
        if self.loaded.takes_text {
            let text = match core::str::from_utf8(request) {
                Ok(text) => vm.ctx.new_str(text).into(),
                Err(_) => self.prelude(vm, "text", vm.ctx.new_bytes(request.to_vec()).into())?,
            };
            let result = handler.call((text,), vm)?;
            return match text_of(vm, &result) {
                Some(bytes) => Ok(bytes),
                None => bytes_of(vm, &self.prelude(vm, "encode_text", result)?),
            };
        }
        let event = json::event(vm, vm.ctx.new_bytes(request.to_vec()).into())?;
        let (number, depth) = native::invocation();
        let context = self.loaded.context.call((number, depth), vm)?;
        let result = handler.call((event, context), vm)?;
        let is_bytes = result.downcastable::<PyBytes>()
            || result.downcastable::<PyByteArray>()
            || result.downcastable::<PyMemoryView>();
        if is_bytes {
            bytes_of(vm, &self.prelude(vm, "encode", result)?)
        } else {
            json::write(vm, &result)
        }
    }

    /// What the prelude makes of a value.
    fn prelude(&self, vm: &VirtualMachine, name: &'static str, value: PyObjectRef) -> PyResult {
        vm.call_method(&self.runtime.prelude, name, (value,))
    }
}

/// The bytes that the result of a handler for text stands for, if it is of a usual type.
fn text_of(vm: &VirtualMachine, result: &PyObjectRef) -> Option<Vec<u8>> {
    if let Some(text) = result.downcast_ref_if_exact::<PyStr>(vm) {
        return text.to_str().map(|text| text.as_bytes().to_vec());
    }
    if vm.is_none(result) {
        return Some(Vec::new());
    }
    let bytes = result.downcast_ref_if_exact::<PyBytes>(vm)?;
    Some(bytes.as_bytes().to_vec())
}

fn bytes_of(vm: &VirtualMachine, value: &PyObjectRef) -> PyResult<Vec<u8>> {
    match value.as_object().downcast_ref::<PyBytes>() {
        Some(bytes) => Ok(bytes.as_bytes().to_vec()),
        None => Err(vm.new_type_error("the prelude's answer is no bytes")),
    }
}
