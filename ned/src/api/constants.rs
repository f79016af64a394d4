//! Tables of numbers.

use l4::{Rights, protocol};
use mlua::{Lua, Table};

use super::cap::SERVER_LETTER_BIT;

/// `L4.Proto`: protocol numbers, as far as there is such an object here.
const PROTOCOLS: [(&str, i64); 13] = [
    ("Ipc_gate", 0),
    ("Irq", protocol::IRQ),
    ("Exception", protocol::EXCEPTION),
    ("Task", protocol::TASK),
    ("Thread", protocol::THREAD),
    ("Log", protocol::VCON),
    ("Scheduler", protocol::SCHEDULER),
    ("Factory", protocol::FACTORY),
    ("Icu", protocol::ICU),
    ("Debugger", protocol::DEBUG),
    ("Dataspace", protocol::DATASPACE),
    ("Namespace", protocol::NAMESPACE),
    ("Parent", protocol::PARENT),
];

/// `L4.Ldr_flags` and `L4.Dbg` exist so that scripts written for L4Re run; the loader has no such switches.
const LOADER_FLAGS: [&str; 3] = ["eager_map", "all_segs_cow", "pinned_segs"];
const DEBUG_LEVELS: [&str; 6] = ["Info", "Warn", "Boot", "Server", "Exceptions", "Loader"];

/// Adds the tables to the module.
pub(super) fn add(lua: &Lua, module: &Table) -> mlua::Result<()> {
    module.set("Proto", lua.create_table_from(PROTOCOLS)?)?;
    module.set("Rights", rights(lua)?)?;
    let bits = |names: &[&'static str]| {
        lua.create_table_from(names.iter().enumerate().map(|(bit, name)| (*name, 1 << bit)))
    };
    module.set("Ldr_flags", bits(&LOADER_FLAGS)?)?;
    module.set("Dbg", bits(&DEBUG_LEVELS)?)?;
    let info = lua.create_table()?;
    info.set("arch", lua.create_function(|_, ()| Ok("amd64"))?)?;
    info.set("mword_bits", lua.create_function(|_, ()| Ok(64))?)?;
    module.set("Info", info)
}

fn rights(lua: &Lua) -> mlua::Result<Table> {
    let [r, w, s, d] =
        [Rights::READ, Rights::WRITE, Rights::STRONG, Rights::DELETE].map(|right| right.bits());
    lua.create_table_from([
        ("r", r),
        ("w", w),
        ("s", s),
        ("d", d),
        ("c", SERVER_LETTER_BIT),
        ("ro", r),
        ("rw", r | w),
        ("rs", r | s),
        ("rws", r | w | s),
        ("rwsd", r | w | s | d),
        ("rwd", r | w | d),
    ])
}

#[cfg(test)]
mod tests {
    use crate::testing::{FakeSystem, run_script};

    #[test]
    fn numbers_are_those_of_l4re() {
        let script = "local L4 = require 'L4'\n\
            assert(L4.Proto.Factory == -15 and L4.Proto.Scheduler == -14 and L4.Proto.Namespace == 0x4001)\n\
            assert(L4.Rights.r == 4 and L4.Rights.w == 1 and L4.Rights.s == 2 and L4.Rights.d == 8)\n\
            assert(L4.Rights.rws == 7 and L4.Rights.c == 32)\n\
            assert(L4.Info.arch() == 'amd64' and L4.Info.mword_bits() == 64)\n\
            assert(L4.Ldr_flags.all_segs_cow and L4.Dbg.Info)";
        let (code, seen) = run_script(script, FakeSystem::new());
        assert_eq!(code, 0, "{:?}", seen.borrow().said);
    }
}
