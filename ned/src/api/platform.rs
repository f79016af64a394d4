//! The machine: its end.

use mlua::{Error, Lua, Table, Value};

use crate::engine::{Engine, error};

/// Adds `L4.Platform` with `shutdown(verdict)` and its other name `power_off`.
pub(super) fn add(lua: &Lua, module: &Table, engine: &Engine) -> mlua::Result<()> {
    let platform = lua.create_table()?;
    for name in ["shutdown", "power_off"] {
        let engine = engine.clone();
        let shutdown = lua.create_function(move |lua, (_, verdict): (Table, Value)| -> mlua::Result<()> {
            let code = match verdict {
                Value::Nil => engine.worst_code(),
                Value::Boolean(is_success) => i64::from(!is_success),
                Value::Integer(code) => code,
                _ => return Err(error(lua, "the verdict is true, false or an exit code")),
            };
            engine.state().shutdown = Some(code);
            // The script goes no further. A script that catches this ends with the same verdict.
            Err(Error::runtime("shut down"))
        })?;
        platform.set(name, shutdown)?;
    }
    module.set("Platform", platform)
}
