//! A function in its interpreter.

use std::cell::Cell;

use rustpython_vm::builtins::PyBytes;
use rustpython_vm::compiler::Mode;
use rustpython_vm::{Interpreter, PyObjectRef, PyResult, Settings, VirtualMachine};

use crate::code::Given;
use crate::failure::Failure;
use crate::{code, native};

/// Python code that is part of the runtime.
const PRELUDE: &str = include_str!("prelude.py");

/// Loaded code, ready to be called.
pub(crate) struct Function {
    interpreter: Interpreter,
    prelude: PyObjectRef,
    /// Whether the handler takes and returns text.
    takes_text: PyObjectRef,
    handler: PyObjectRef,
    /// Whether a request was served: the first one brings new randomness, also to a worker that was frozen before.
    has_served: Cell<bool>,
}

impl Function {
    /// Starts an interpreter and imports the code.
    ///
    /// # Errors
    /// Code that is refused, cannot be compiled, fails when it is imported, or has no handler.
    pub(crate) fn load(given: &Given) -> Result<Self, Failure> {
        let (bundle, handler) = given.open().map_err(Failure::told)?;
        let interpreter = start_interpreter();
        let loaded = interpreter.enter(|vm| {
            let native = native::make(vm, bundle).map_err(|error| broken(vm, &error))?;
            let prelude = run_prelude(vm, native).map_err(|error| broken(vm, &error))?;
            let loaded = import(vm, &prelude, &handler).map_err(|error| Failure::of(vm, &prelude, &error));
            flush(vm, &prelude);
            loaded.map(|(takes_text, handler)| (prelude, takes_text, handler))
        });
        let (prelude, takes_text, handler) = loaded?;
        Ok(Self {
            interpreter,
            prelude,
            takes_text,
            handler,
            has_served: Cell::new(false),
        })
    }

    /// Serves a request.
    ///
    /// # Errors
    /// What the handler raised, or a result that cannot be sent.
    pub(crate) fn call(&self, request: &[u8]) -> Result<Vec<u8>, Failure> {
        self.interpreter.enter(|vm| {
            let result = self
                .call_in(vm, request)
                .map_err(|error| Failure::of(vm, &self.prelude, &error));
            flush(vm, &self.prelude);
            result
        })
    }

    fn call_in(&self, vm: &VirtualMachine, request: &[u8]) -> PyResult<Vec<u8>> {
        if !self.has_served.replace(true) {
            rand::rng()
                .reseed()
                .map_err(|error| vm.new_os_error(error.to_string()))?;
            vm.call_method(&self.prelude, "reseed", ())?;
        }
        let (number, depth) = native::invocation();
        let arguments = (
            self.takes_text.clone(),
            self.handler.clone(),
            vm.ctx.new_bytes(request.to_vec()),
            vm.ctx.new_int(number),
            vm.ctx.new_int(depth),
        );
        let answer = vm.call_method(&self.prelude, "call", arguments)?;
        match answer.downcast_ref::<PyBytes>() {
            Some(bytes) => Ok(bytes.as_bytes().to_vec()),
            None => Err(vm.new_type_error("the prelude's answer is no bytes")),
        }
    }
}

/// An interpreter that takes nothing from its surroundings. `utf8_mode` and the encoding together keep it from asking for
/// a locale; without them standard output is ASCII.
fn start_interpreter() -> Interpreter {
    let mut settings = Settings::default();
    settings.isolated = true;
    settings.ignore_environment = true;
    settings.import_site = false;
    settings.user_site_directory = false;
    settings.write_bytecode = false;
    settings.install_signal_handlers = false;
    settings.utf8_mode = 1;
    settings.stdio_encoding = Some("utf-8".into());
    settings.argv = vec![String::new()];
    let builder = Interpreter::builder(settings);
    let modules = rustpython_stdlib::stdlib_module_defs(&builder.ctx);
    builder
        .add_native_modules(&modules)
        .add_frozen_modules(rustpython_pylib::FROZEN_STDLIB)
        .build()
}

/// Makes the module of the prelude.
fn run_prelude(vm: &VirtualMachine, native: PyObjectRef) -> PyResult {
    let scope = vm.new_scope_with_builtins();
    scope.globals.set_item("native", native, vm)?;
    scope
        .globals
        .set_item("__name__", vm.ctx.new_str("prelude").into(), vm)?;
    let code = vm
        .compile(PRELUDE, Mode::Exec, "<prelude>")
        .map_err(|error| error.into_pyexception(vm, Some(PRELUDE)))?;
    vm.run_code_obj(code, scope.clone())?;
    let env = vm.ctx.new_dict();
    for (name, value) in std::env::vars_os() {
        let value = vm.ctx.new_str(value.to_string_lossy().into_owned());
        env.set_item(&*name.to_string_lossy(), value.into(), vm)?;
    }
    let module = vm.new_module("prelude", scope.globals, None);
    vm.call_method(module.as_ref(), "add_faas", (env,))?;
    Ok(module.into())
}

/// Imports the module of the handler; returns whether the handler takes text, and the handler.
fn import(
    vm: &VirtualMachine,
    prelude: &PyObjectRef,
    handler: &code::Handler,
) -> PyResult<(PyObjectRef, PyObjectRef)> {
    let loaded = vm.call_method(
        prelude,
        "load",
        (handler.module.clone(), handler.function.clone()),
    )?;
    Ok((loaded.get_item(&0, vm)?, loaded.get_item(&1, vm)?))
}

fn flush(vm: &VirtualMachine, prelude: &PyObjectRef) {
    // The prelude catches what a stream raises.
    let _ = vm.call_method(prelude, "flush", ());
}

/// The runtime itself does not work, for example because memory ran out.
fn broken(vm: &VirtualMachine, error: &rustpython_vm::builtins::PyBaseExceptionRef) -> Failure {
    let mut text = String::new();
    let _ = vm.write_exception(&mut text, error);
    Failure::told(format_args!(
        "the Python runtime cannot start: {}",
        text.trim_end()
    ))
}
