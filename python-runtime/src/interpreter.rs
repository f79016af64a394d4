//! The interpreter, and what functions find in it.

use std::cell::OnceCell;
use std::rc::Rc;

use python_bundle::Bundle;
use rustpython_vm::builtins::{PyBaseExceptionRef, PyBytes};
use rustpython_vm::frozen::FrozenCodeObject;
use rustpython_vm::{AsObject, Interpreter, PyObjectRef, PyResult, Settings, VirtualMachine, py_compile};

use crate::code::Given;
use crate::failure::Failure;
use crate::function::{Function, Loaded};
use crate::native;
use crate::streams::Streams;

/// Python code that is part of the runtime, compiled with it: an interpreter would take a sixth of its start for that.
fn prelude() -> FrozenCodeObject<&'static [u8]> {
    /// The macro alone would not have it compiled again when the text changes.
    const _: &str = include_str!("prelude.py");
    py_compile!(file = "prelude.py", module_name = "<prelude>")
}

/// An interpreter, which may know a function's files, and has loaded none of them.
pub(crate) struct Runtime {
    pub(crate) interpreter: Interpreter,
    pub(crate) prelude: PyObjectRef,
    /// Where Python code finds the function's files, once there is a function.
    files: Rc<OnceCell<Bundle<'static>>>,
    /// Unknown until code is loaded.
    streams: Option<Streams>,
}

impl Runtime {
    /// Starts an interpreter.
    ///
    /// # Errors
    /// Memory ran out.
    pub(crate) fn start() -> Result<Self, Failure> {
        let interpreter = start_interpreter();
        let files = Rc::default();
        let prelude = interpreter.enter(|vm| {
            let native = native::make(vm, &files)?;
            run_prelude(vm, native)
        });
        match prelude {
            Ok(prelude) => Ok(Self {
                interpreter,
                prelude,
                files,
                streams: None,
            }),
            Err(error) => Err(interpreter.enter(|vm| broken(vm, &error))),
        }
    }

    /// Has Python code find these files from now on, unless there are some already: a runtime is for one function.
    pub(crate) fn show_files(&self, bundle: Bundle<'static>) {
        let _ = self.files.set(bundle);
    }

    /// Imports the code.
    ///
    /// # Errors
    /// Code in which no module can be chosen, that cannot be compiled, fails when it is imported, or has no handler.
    pub(crate) fn load(mut self, given: &Given) -> Result<Function, Failure> {
        let (bundle, handler) = given.open()?;
        self.show_files(bundle);
        for (name, value) in given.environment() {
            let variable = (name.clone(), value.clone());
            self.run(|vm| vm.call_method(&self.prelude, "add_variable", variable))?;
        }
        // Before the function's code can put others in their place.
        self.streams = self.interpreter.enter(|vm| Streams::watch(vm).ok());
        let loaded = self.run(|vm| {
            let names = (handler.module, handler.function);
            let loaded = vm.call_method(&self.prelude, "load", names)?;
            Ok(Loaded {
                takes_text: loaded.get_item(&0, vm)?.try_to_bool(vm)?,
                handler: loaded.get_item(&1, vm)?,
                context: self.prelude.get_attr("Context", vm)?,
                idle: self.prelude.get_attr("idle", vm)?,
            })
        })?;
        Ok(Function::new(self, loaded))
    }

    /// Runs something that may raise exceptions, and has the log written out.
    pub(crate) fn run<T>(&self, work: impl FnOnce(&VirtualMachine) -> PyResult<T>) -> Result<T, Failure> {
        self.interpreter.enter(|vm| {
            let result = work(vm).map_err(|error| Failure::of(vm, &self.prelude, &error));
            if self.streams.as_ref().is_none_or(|streams| streams.need_flush(vm)) {
                self.flush_in(vm);
            }
            result
        })
    }

    /// Has the log written out.
    pub(crate) fn flush(&self) {
        self.interpreter.enter(|vm| self.flush_in(vm));
    }

    fn flush_in(&self, vm: &VirtualMachine) {
        // The prelude catches what a stream raises.
        let _ = vm.call_method(&self.prelude, "flush", ());
    }

    /// Compiles a source file of the bundle to a marshalled code object.
    ///
    /// # Errors
    /// File, line and message of a syntax error.
    pub(crate) fn compile(&self, name: &str) -> Result<Vec<u8>, String> {
        self.interpreter.enter(|vm| {
            let compiled = vm.call_method(&self.prelude, "compiled", (name.to_owned(),));
            let told = match compiled {
                Ok(code) => match code.downcast_ref::<PyBytes>() {
                    Some(bytes) => return Ok(bytes.as_bytes().to_vec()),
                    None => code.str(vm),
                },
                Err(error) => error.as_object().str(vm),
            };
            Err(told.map_or_else(|_| format!("{name}: cannot be compiled"), |text| text.to_string()))
        })
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
    vm.run_code_obj(vm.ctx.new_code(prelude()), scope.clone())?;
    let module = vm.new_module("prelude", scope.globals, None);
    vm.call_method(module.as_ref(), "add_faas", ())?;
    Ok(module.into())
}

/// The runtime itself does not work, for example because memory ran out.
fn broken(vm: &VirtualMachine, error: &PyBaseExceptionRef) -> Failure {
    let mut text = String::new();
    let _ = vm.write_exception(&mut text, error);
    Failure::told(format_args!(
        "the Python runtime cannot start: {}",
        text.trim_end()
    ))
}
