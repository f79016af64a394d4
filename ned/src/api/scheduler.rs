//! Schedulers and sets of CPUs.

use mlua::{Lua, Table, UserData, UserDataMethods, Value, Variadic};

use super::{Cap, Kind};
use crate::engine::{Engine, error};

/// Priority of a program's first thread, if the script says nothing else: above the workers of functions, which have
/// 1 to 100.
pub(super) const DEFAULT_PRIORITY: u8 = 120;
/// CPUs that a set can name.
const CPU_LIMIT: u32 = 64;

/// `L4.Cpu_set`: a bit for each CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CpuSet(u64);

impl CpuSet {
    /// Reads `"0-3,5"`.
    fn parse(text: &str) -> Option<CpuSet> {
        let number = |text: &str| text.trim().parse::<u32>().ok().filter(|cpu| *cpu < CPU_LIMIT);
        text.split(',')
            .try_fold(0, |bits, part| {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then(|| (first..=last).fold(bits, |bits, cpu| bits | 1 << cpu))
            })
            .map(CpuSet)
    }
}

impl UserData for CpuSet {
    fn add_methods<M: UserDataMethods<CpuSet>>(methods: &mut M) {
        methods.add_method("mask", |_, set, ()| Ok(set.0));
        methods.add_meta_method("__tostring", |_, set, ()| {
            let cpus = (0..CPU_LIMIT).filter(|cpu| set.0 >> cpu & 1 != 0);
            Ok(cpus.map(|cpu| cpu.to_string()).collect::<Vec<_>>().join(","))
        });
    }
}

/// The CPUs that a value names: a set, a text for one, or a mask. Nothing means all.
fn cpus(lua: &Lua, value: &Value) -> mlua::Result<u64> {
    let set = match value {
        Value::Nil => Some(u64::MAX),
        Value::Integer(mask) => Some(*mask as u64),
        Value::String(text) => CpuSet::parse(&text.to_string_lossy()).map(|set| set.0),
        Value::UserData(data) => data.borrow::<CpuSet>().ok().map(|set| set.0),
        _ => None,
    };
    set.ok_or_else(|| error(lua, "CPUs are a L4.Cpu_set, a text such as \"0-3,5\", or a mask"))
}

/// Adds `L4.Cpu_set` and `L4.create_sched_proxy`.
pub(super) fn add(lua: &Lua, module: &Table, engine: &Engine) -> mlua::Result<()> {
    let class = lua.create_table()?;
    let new = lua.create_function(|lua, (_, text): (Table, String)| {
        CpuSet::parse(&text).ok_or_else(|| {
            error(
                lua,
                &format!("'{text}' names no CPUs; write \"0-3,5\", below {CPU_LIMIT}"),
            )
        })
    })?;
    class.set("new", new)?;
    module.set("Cpu_set", class)?;
    let engine = engine.clone();
    let proxy = lua.create_function(move |lua, options: Table| create_proxy(lua, &engine, &options))?;
    module.set("create_sched_proxy", proxy)
}

/// `create_sched_proxy{cpus=, prio_limit=, prio_offset=, fab=}`.
fn create_proxy(lua: &Lua, engine: &Engine, options: &Table) -> mlua::Result<Cap> {
    for pair in options.pairs::<String, Value>() {
        let (key, _) = pair?;
        if !matches!(key.as_str(), "cpus" | "prio_limit" | "prio_offset" | "fab") {
            let reason = format!("unknown key '{key}'; known are cpus, prio_limit, prio_offset, fab");
            return Err(error(lua, &reason));
        }
    }
    let limit: Value = options.get("prio_limit")?;
    let offset: Value = options.get("prio_offset")?;
    derive(lua, engine, &limit, &offset, cpus(lua, &options.get("cpus")?)?)
}

/// `factory:create(L4.Proto.Scheduler, limit, offset, cpus)`.
pub(super) fn create(lua: &Lua, engine: &Engine, arguments: &Variadic<Value>) -> mlua::Result<Cap> {
    let argument = |index: usize| arguments.get(index).cloned().unwrap_or(Value::Nil);
    let cpus = cpus(lua, &argument(2))?;
    derive(lua, engine, &argument(0), &argument(1), cpus)
}

fn derive(lua: &Lua, engine: &Engine, limit: &Value, offset: &Value, cpus: u64) -> mlua::Result<Cap> {
    let priority = |value: &Value, name: &str| match value {
        Value::Nil => Ok(None),
        value => match value.as_integer().and_then(|number| u8::try_from(number).ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(error(lua, &format!("{name} is a number from 0 to 255"))),
        },
    };
    let (limit, offset) = (
        priority(limit, "the priority limit")?,
        priority(offset, "the priority offset")?,
    );
    let index = engine.with_system(lua, |system| {
        let environment = system.environment();
        let own = environment.iter().find(|(name, _)| name == "scheduler");
        let parent = own.ok_or("ned has no scheduler")?.1;
        let (available, highest) = system.scheduler_info(parent)?;
        if cpus & available == 0 {
            return Err(format!("none of these CPUs is there; there are {:#b}", available));
        }
        let limit = limit.unwrap_or(highest).min(highest).max(1);
        system.derive_scheduler(parent, cpus & available, limit)
    })?;
    let start = DEFAULT_PRIORITY.saturating_add(offset.unwrap_or(0));
    let priority = Some(start.min(limit.unwrap_or(u8::MAX)).max(1));
    Ok(Cap::new(engine.clone(), index, Kind::Scheduler { priority }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeSystem, failure, run_script};

    #[test]
    fn cpu_sets_are_lists_of_ranges() {
        assert_eq!(CpuSet::parse("0-3,5"), Some(CpuSet(0b10_1111)));
        assert_eq!(CpuSet::parse(" 1 , 2 "), Some(CpuSet(0b110)));
        assert_eq!(CpuSet::parse("63"), Some(CpuSet(1 << 63)));
        for text in ["", "a", "3-1", "64", "1-", "-1"] {
            assert_eq!(CpuSet::parse(text), None, "{text}");
        }
    }

    #[test]
    fn proxies_are_limited_to_what_is_there() {
        let script = "local L4 = require 'L4'\n\
            local p = L4.create_sched_proxy{cpus = L4.Cpu_set:new('0-3'), prio_offset = 10, prio_limit = 8}\n\
            L4.Env.user_factory:create(L4.Proto.Scheduler, 20, 4, 2)\n\
            L4.default_loader:start({scheduler = p}, 'rom/app')\n\
            assert(tostring(L4.Cpu_set:new('0-1,4')) == '0,1,4')";
        let (code, seen) = run_script(script, FakeSystem::new().ending([crate::Ended::Exit(0)]));
        assert_eq!(code, 0, "{:?}", seen.borrow().said);
        assert_eq!(seen.borrow().made[..2], ["scheduler 0b11 8", "scheduler 0b10 20"]);
        assert_eq!(seen.borrow().launches[0].priority, 8);
    }

    #[test]
    fn misuse_is_explained() {
        for (script, reason) in [
            ("L4.Cpu_set:new('x')", "'x' names no CPUs"),
            ("L4.create_sched_proxy{cpus = '5'}", "none of these CPUs is there"),
            ("L4.create_sched_proxy{cpu = '0'}", "unknown key 'cpu'"),
            (
                "L4.create_sched_proxy{prio_limit = 300}",
                "the priority limit is a number from 0 to 255",
            ),
        ] {
            let said = failure(&format!("local L4 = require 'L4'\n{script}"));
            assert!(said.starts_with(&format!("rom/test.cfg:2: {reason}")), "{said}");
        }
    }
}
