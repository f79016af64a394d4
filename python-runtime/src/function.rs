//! A function in its interpreter.

use std::cell::Cell;

use rustpython_vm::builtins::PyBytes;
use rustpython_vm::{PyObjectRef, PyResult, VirtualMachine};

use crate::failure::Failure;
use crate::interpreter::Runtime;
use crate::native;

/// Rounds of [`Function::rehearse`]: more than the interpreter waits before it adapts code to its use.
const REHEARSALS: usize = 32;

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
            self.handle(vm, &self.handler, request)
        })
    }

    /// Goes the way of a request again and again with a handler that does nothing. The interpreter adapts its code to what it
    /// sees; whoever begins as a copy of this worker need not do that again, nor write to the memory where it is kept.
    ///
    /// # Errors
    /// Memory ran out.
    pub(crate) fn rehearse(&self) -> Result<(), Failure> {
        for _ in 0..REHEARSALS {
            self.runtime.run(|vm| {
                let idle = self.runtime.prelude.get_attr("idle", vm)?;
                self.handle(vm, &idle, b"{}").map(drop)
            })?;
        }
        Ok(())
    }

    /// Has the handler serve an event that nobody asked for, so that what it loads and computes once is there already.
    ///
    /// # Errors
    /// As [`Function::call`].
    pub(crate) fn warm_up(&self, event: &[u8]) -> Result<(), Failure> {
        self.runtime
            .run(|vm| self.handle(vm, &self.handler, event).map(drop))
            .map_err(Failure::in_warm_up)
    }

    fn handle(&self, vm: &VirtualMachine, handler: &PyObjectRef, request: &[u8]) -> PyResult<Vec<u8>> {
        let (number, depth) = native::invocation();
        let arguments = (
            self.takes_text.clone(),
            handler.clone(),
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
