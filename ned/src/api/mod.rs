//! The module `L4`.

mod cap;
mod constants;
mod loader;
mod platform;
mod scheduler;
mod start;
mod task;
mod values;

pub(crate) use cap::{Cap, Kind};

use mlua::{Lua, Table};

use crate::engine::Engine;

/// Makes `require("L4")` work.
pub(crate) fn install(lua: &Lua, engine: &Engine, arguments: &[String]) -> mlua::Result<()> {
    let module = lua.create_table()?;
    module.set("Env", environment(lua, engine)?)?;
    module.set(
        "args",
        lua.create_sequence_from(arguments.iter().map(String::as_str))?,
    )?;
    constants::add(lua, &module)?;
    loader::add(lua, &module, engine)?;
    scheduler::add(lua, &module, engine)?;
    platform::add(lua, &module, engine)?;
    lua.register_module("L4", module)
}

/// `L4.Env`: the capabilities of `ned` by name.
fn environment(lua: &Lua, engine: &Engine) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let caps = engine.state().system.environment();
    for (name, index) in caps {
        let kind = match name.as_str() {
            "factory" => Kind::Factory,
            "scheduler" => Kind::Scheduler { priority: None },
            "rom" => Kind::Namespace,
            "log" => Kind::Log,
            _ => Kind::Other,
        };
        let cap = Cap::new(engine.clone(), index, kind);
        match name.as_str() {
            "factory" => table.set("user_factory", cap.clone())?,
            "debug" => table.set("jdb", cap.clone())?,
            _ => {}
        }
        table.set(name, cap)?;
    }
    Ok(table)
}
