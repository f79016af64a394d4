//! What `prelude.py` calls: the function's files, JSON, the invocation, other functions.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use python_bundle::Bundle;
use rustpython_vm::builtins::{PyBytesRef, PyStrRef};
use rustpython_vm::frozen::FrozenCodeObject;
use rustpython_vm::{PyObjectRef, PyResult, VirtualMachine, py_compile};
use worker::{CallError, Context, FunctionInfo, InvokeOptions};

use crate::{bytecode, json};

/// Python code that is run if it is needed, compiled with the runtime.
fn packages() -> FrozenCodeObject<&'static [u8]> {
    /// The macro alone would not have it compiled again when the text changes.
    const _: &str = include_str!("packages.py");
    py_compile!(file = "packages.py", module_name = "<packages>")
}

thread_local! {
    /// The invocation that is being served; none before the first, and on a host.
    static CURRENT: Cell<Option<Context>> = const { Cell::new(None) };
    /// The function; unknown on a host.
    static FUNCTION: OnceCell<FunctionInfo> = const { OnceCell::new() };
}

/// The invocation that is served from now on.
pub(crate) fn adopt(context: Context) {
    CURRENT.set(Some(context));
}

/// The function that this worker runs.
pub(crate) fn adopt_function(info: FunctionInfo) {
    FUNCTION.with(|known| {
        // There is one function only.
        let _ = known.set(info);
    });
}

/// Number and depth of the invocation; 0 without one.
pub(crate) fn invocation() -> (u64, u32) {
    CURRENT
        .get()
        .map_or((0, 0), |context| (context.request_id(), context.depth()))
}

/// The object that `prelude.py` knows as `native`. It finds the function's files in `files`, or none while there are none.
pub(crate) fn make(vm: &VirtualMachine, files: &Rc<OnceCell<Bundle<'static>>>) -> PyResult {
    let module = vm.new_module("native", vm.ctx.new_dict(), None);
    let add = |name: &'static str, function: PyObjectRef| module.set_attr(name, function, vm);
    add_files(vm, files, &add)?;
    let code = |vm: &VirtualMachine| vm.ctx.new_code(packages());
    add("packages", vm.new_function("packages", code).into())?;
    let loads = |bytes: PyBytesRef, vm: &VirtualMachine| json::require(vm, bytes.as_bytes());
    add("loads", vm.new_function("loads", loads).into())?;
    let dumps = |value: PyObjectRef, vm: &VirtualMachine| {
        json::write(vm, &value).map(|bytes| vm.ctx.new_bytes(bytes))
    };
    add("dumps", vm.new_function("dumps", dumps).into())?;
    add("invoke", vm.new_function("invoke", invoke).into())?;
    add("function", vm.new_function("function", function).into())?;
    add(
        "remaining_ns",
        vm.new_function("remaining_ns", remaining_ns).into(),
    )?;
    add("entropy", vm.new_function("entropy", entropy).into())?;
    Ok(module.into())
}

fn add_files(
    vm: &VirtualMachine,
    bundle: &Rc<OnceCell<Bundle<'static>>>,
    add: &impl Fn(&'static str, PyObjectRef) -> PyResult<()>,
) -> PyResult<()> {
    let files = bundle.clone();
    let has_file = move |name: PyStrRef| {
        files
            .get()
            .is_some_and(|files| files.has_file(&name.to_string_lossy()))
    };
    add("has_file", vm.new_function("has_file", has_file).into())?;
    let files = bundle.clone();
    let has_folder = move |name: PyStrRef| {
        files
            .get()
            .is_some_and(|files| files.has_folder(&name.to_string_lossy()))
    };
    add("has_folder", vm.new_function("has_folder", has_folder).into())?;
    let files = bundle.clone();
    let list = move |name: PyStrRef, vm: &VirtualMachine| -> PyObjectRef {
        let names = files.get().map(|files| files.list(&name.to_string_lossy()));
        let names = names
            .into_iter()
            .flatten()
            .map(|name| vm.ctx.new_str(name).into());
        vm.ctx.new_list(names.collect()).into()
    };
    add("list_folder", vm.new_function("list_folder", list).into())?;
    let files = bundle.clone();
    let code = move |name: PyStrRef, vm: &VirtualMachine| {
        let files = files.get();
        match files.and_then(|files| bytecode::of_source(files, &name.to_string_lossy())) {
            Some(code) => vm.ctx.new_bytes(code).into(),
            None => vm.ctx.none(),
        }
    };
    add("read_code", vm.new_function("read_code", code).into())?;
    let files = bundle.clone();
    let read = move |name: PyStrRef, vm: &VirtualMachine| -> PyResult {
        match files
            .get()
            .map_or(Ok(None), |files| files.read(&name.to_string_lossy()))
        {
            Ok(Some(bytes)) => Ok(vm.ctx.new_bytes(bytes.into_owned()).into()),
            Ok(None) => Ok(vm.ctx.none()),
            Err(error) => Err(vm.new_os_error(error.to_string())),
        }
    };
    add("read_file", vm.new_function("read_file", read).into())
}

/// Calls another function: no kind and its reply, or the kind and message of what went wrong.
fn invoke(
    name: PyStrRef,
    payload: PyBytesRef,
    timeout_ns: u64,
    vm: &VirtualMachine,
) -> (Option<String>, PyObjectRef) {
    let failed = |kind: &str, message: String| (Some(kind.to_owned()), vm.ctx.new_str(message).into());
    let Some(context) = CURRENT.get() else {
        return failed(
            "not-permitted",
            "functions can be called while an invocation is served".into(),
        );
    };
    let options = InvokeOptions {
        timeout_ns,
        memory_bytes: 0,
    };
    match context.invoke_with(&name.to_string_lossy(), options, payload.as_bytes()) {
        Ok(reply) => (None, vm.ctx.new_bytes(reply.into_bytes()).into()),
        Err(CallError::Server(error)) => failed(error.kind(), error.to_string()),
        Err(error) => failed("system", error.to_string()),
    }
}

/// Name, version and memory limit of the function.
fn function() -> (String, u32, u64) {
    FUNCTION.with(|known| match known.get() {
        Some(info) => (info.name.clone(), info.version, info.memory_bytes),
        None => (std::env::args().nth(1).unwrap_or_default(), 1, 0),
    })
}

/// Time until the deadline; without an invocation there is none.
fn remaining_ns() -> u64 {
    CURRENT
        .get()
        .map_or(u64::MAX, |context| context.remaining().as_nanos() as u64)
}

/// Fresh randomness from the system.
fn entropy(vm: &VirtualMachine) -> PyResult<PyBytesRef> {
    let mut bytes = [0; 32];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut bytes);
    Ok(vm.ctx.new_bytes(bytes.to_vec()))
}
