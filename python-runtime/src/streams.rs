//! Standard output and error of a function: whether there is something to be flushed when a request was served. Flushing what is
//! empty costs as much as the rest of a small request.

use std::cell::Cell;

use rustpython_vm::builtins::{PyDictRef, PyStrInterned};
use rustpython_vm::{AsObject, PyObjectRef, PyResult, VirtualMachine};

thread_local! {
    /// Something was written to the buffer of either since this was looked at.
    static WRITTEN: Cell<bool> = const { Cell::new(false) };
}

/// The two streams that the interpreter began with.
pub(crate) struct Streams {
    /// What the module `sys` has in it.
    sys: PyDictRef,
    streams: [(&'static PyStrInterned, PyObjectRef); 2],
}

impl Streams {
    /// Notes from now on when something is written to the streams, which pass everything on to their buffers at once.
    ///
    /// # Errors
    /// What Python raises if they are no text streams with buffers.
    pub(crate) fn watch(vm: &VirtualMachine) -> PyResult<Self> {
        Ok(Self {
            sys: vm.sys_module.dict(),
            streams: [watch(vm, "stdout")?, watch(vm, "stderr")?],
        })
    }

    /// Tells, once, whether something has to be flushed: it was written to, or a function has put another stream in the place of
    /// one, of which nothing is known.
    pub(crate) fn need_flush(&self, vm: &VirtualMachine) -> bool {
        let is_replaced = |(name, stream): &(&'static PyStrInterned, PyObjectRef)| {
            let now = self.sys.get_item_opt(*name, vm);
            !now.is_ok_and(|now| now.is_some_and(|now| now.is(stream)))
        };
        WRITTEN.replace(false) || self.streams.iter().any(is_replaced)
    }
}

fn watch(vm: &VirtualMachine, name: &'static str) -> PyResult<(&'static PyStrInterned, PyObjectRef)> {
    let name = vm.ctx.intern_str(name);
    let stream = vm.sys_module.get_attr(name, vm)?;
    let buffer = stream.get_attr("buffer", vm)?;
    let write = buffer.get_attr("write", vm)?;
    let noting = move |bytes: PyObjectRef, vm: &VirtualMachine| {
        WRITTEN.set(true);
        write.call((bytes,), vm)
    };
    buffer.set_attr("write", vm.new_function("write", noting), vm)?;
    Ok((name, stream))
}
