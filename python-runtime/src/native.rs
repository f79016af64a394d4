//! What `prelude.py` calls: the function's files, JSON, the invocation, other functions.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use python_bundle::Bundle;
use rustpython_vm::builtins::{PyBytesRef, PyStrRef};
use rustpython_vm::{PyObjectRef, PyResult, VirtualMachine};
use worker::{CallError, Context, FunctionInfo, InvokeError, InvokeOptions};

use crate::json;

thread_local! {
    /// The invocation that is being served; none on a host.
    static CURRENT: Cell<Option<Context>> = const { Cell::new(None) };
    /// The function, once it was asked for.
    static FUNCTION: OnceCell<FunctionInfo> = const { OnceCell::new() };
}

/// The invocation that is served from now on.
pub(crate) fn adopt(context: Context) {
    CURRENT.set(Some(context));
}

/// Number and depth of the invocation.
pub(crate) fn invocation() -> (u64, u32) {
    CURRENT
        .get()
        .map_or((0, 0), |context| (context.request_id(), context.depth()))
}

/// The object that `prelude.py` knows as `native`.
pub(crate) fn make(vm: &VirtualMachine, bundle: Bundle<'static>) -> PyResult {
    let module = vm.new_module("native", vm.ctx.new_dict(), None);
    let add = |name: &'static str, function: PyObjectRef| module.set_attr(name, function, vm);
    add_files(vm, bundle, &add)?;
    let loads = |bytes: PyBytesRef, vm: &VirtualMachine| json::require(vm, bytes.as_bytes());
    add("loads", vm.new_function("loads", loads).into())?;
    add(
        "event",
        vm.new_function("event", |request: PyObjectRef, vm: &VirtualMachine| {
            json::event(vm, request)
        })
        .into(),
    )?;
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
    bundle: Bundle<'static>,
    add: &impl Fn(&'static str, PyObjectRef) -> PyResult<()>,
) -> PyResult<()> {
    let bundle = Rc::new(Shared(bundle));
    let files = bundle.clone();
    add(
        "has_file",
        vm.new_function("has_file", move |name: PyStrRef| {
            files.0.has_file(&name.to_string())
        })
        .into(),
    )?;
    let files = bundle.clone();
    add(
        "has_folder",
        vm.new_function("has_folder", move |name: PyStrRef| {
            files.0.has_folder(&name.to_string())
        })
        .into(),
    )?;
    let read = move |name: PyStrRef, vm: &VirtualMachine| -> PyResult {
        match bundle.0.read(&name.to_string()) {
            Ok(Some(bytes)) => Ok(vm.ctx.new_bytes(bytes.into_owned()).into()),
            Ok(None) => Ok(vm.ctx.none()),
            Err(error) => Err(vm.new_os_error(error.to_string())),
        }
    };
    add("read_file", vm.new_function("read_file", read).into())
}

struct Shared(Bundle<'static>);

/// Calls another function: no kind and its reply, or the kind and message of what went wrong.
fn invoke(
    name: PyStrRef,
    payload: PyBytesRef,
    timeout_ns: u64,
    vm: &VirtualMachine,
) -> (Option<String>, PyObjectRef) {
    let failed = |kind: &str, message: String| (Some(kind.to_owned()), vm.ctx.new_str(message).into());
    let Some(context) = CURRENT.get() else {
        return failed("not-permitted", "there are no other functions on a host".into());
    };
    let options = InvokeOptions {
        timeout_ns,
        memory_bytes: 0,
    };
    match context.invoke_with(&name.to_string(), options, payload.as_bytes()) {
        Ok(reply) => (None, vm.ctx.new_bytes(reply.into_bytes()).into()),
        Err(CallError::Server(error)) => failed(error.kind(), error.to_string()),
        Err(error) => failed("system", error.to_string()),
    }
}

/// Name, version and memory limit of the function.
fn function(vm: &VirtualMachine) -> PyResult<(String, u32, u64)> {
    let Some(context) = CURRENT.get() else {
        return Ok((std::env::args().nth(1).unwrap_or_default(), 1, 0));
    };
    FUNCTION.with(|known| {
        if known.get().is_none() {
            let asked: Result<FunctionInfo, InvokeError> = context.function();
            let info = asked.map_err(|error| vm.new_os_error(error.to_string()))?;
            let _ = known.set(info);
        }
        Ok(known.get().map_or_else(Default::default, |info| {
            (info.name.clone(), info.version, info.memory_bytes)
        }))
    })
}

fn remaining_ns() -> u64 {
    CURRENT
        .get()
        .map_or(0, |context| context.remaining().as_nanos() as u64)
}

/// Fresh randomness from the system.
fn entropy(vm: &VirtualMachine) -> PyResult<PyBytesRef> {
    let mut bytes = [0; 32];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut bytes);
    Ok(vm.ctx.new_bytes(bytes.to_vec()))
}
