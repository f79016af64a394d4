//! A function in its interpreter.

use std::cell::Cell;

use rustpython_vm::builtins::PyBytes;
use rustpython_vm::{PyObjectRef, PyResult, VirtualMachine};

use crate::failure::Failure;
use crate::interpreter::Runtime;
use crate::native;

/// Loaded code, ready to be called.
pub(crate) struct Function {
    runtime: Runtime,
    /// Whether the handler takes and returns text.
    takes_text: PyObjectRef,
    handler: PyObjectRef,
    /// Whether a request was served: the first one brings new randomness, also to a worker that was frozen before.
    has_served: Cell<bool>,
}

impl Function {
    pub(crate) fn new(runtime: Runtime, takes_text: PyObjectRef, handler: PyObjectRef) -> Self {
        Self {
            runtime,
            takes_text,
            handler,
            has_served: Cell::new(false),
        }
    }

    /// Serves a request.
    ///
    /// # Errors
    /// What the handler raised, or a result that cannot be sent.
    pub(crate) fn call(&self, request: &[u8]) -> Result<Vec<u8>, Failure> {
        self.runtime.run(|vm| {
            if !self.has_served.replace(true) {
                rand::rng()
                    .reseed()
                    .map_err(|error| vm.new_os_error(error.to_string()))?;
                vm.call_method(&self.runtime.prelude, "reseed", ())?;
            }
            self.handle(vm, request)
        })
    }

    /// Has the handler serve an event that nobody asked for, so that what it loads and computes once is there already.
    ///
    /// # Errors
    /// As [`Function::call`].
    pub(crate) fn warm_up(&self, event: &[u8]) -> Result<(), Failure> {
        self.runtime
            .run(|vm| self.handle(vm, event).map(drop))
            .map_err(Failure::in_warm_up)
    }

    fn handle(&self, vm: &VirtualMachine, request: &[u8]) -> PyResult<Vec<u8>> {
        let (number, depth) = native::invocation();
        let arguments = (
            self.takes_text.clone(),
            self.handler.clone(),
            vm.ctx.new_bytes(request.to_vec()),
            vm.ctx.new_int(number),
            vm.ctx.new_int(depth),
        );
        let answer = vm.call_method(&self.runtime.prelude, "call", arguments)?;
        match answer.downcast_ref::<PyBytes>() {
            Some(bytes) => Ok(bytes.as_bytes().to_vec()),
            None => Err(vm.new_type_error("the prelude's answer is no bytes")),
        }
    }
}
