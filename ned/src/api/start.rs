//! The table that says how a program is started.

use interfaces::log::TAG_MAX;
use l4::CapIndex;
use mlua::{Lua, Table, Value};

use super::cap::log_request;
use super::scheduler::DEFAULT_PRIORITY;
use super::task::TaskHandle;
use super::{Cap, Kind, values};
use crate::engine::{Engine, error};
use crate::system::{Account, Grant, Launch, ProgramLog};

/// What the table may say.
const KEYS: [&str; 9] = [
    "caps",
    "log",
    "scheduler",
    "factory",
    "mem",
    "cpu",
    "priority",
    "stack",
    "name",
];

/// Keys of L4Re's that change nothing here: there is one loader, and one way of mapping.
const IGNORED_KEYS: [&str; 3] = ["l4re_dbg", "ldr_flags", "ns"];

/// Memory limit of a program whose script sets none, at most half of what is left.
const DEFAULT_LIMIT: u64 = 64 << 20;
/// Longest name of a capability in bytes.
const NAME_MAX: usize = l4re::env::MAX_NAME;
/// Where programs are.
const ROM: &str = "rom/";

/// Refuses keys that mean nothing, most likely misspelt.
pub(super) fn check_keys(lua: &Lua, options: &Table) -> mlua::Result<()> {
    for pair in options.pairs::<Value, Value>() {
        let (key, _) = pair?;
        let name = values::text(&key).unwrap_or_default();
        if !KEYS.iter().chain(&IGNORED_KEYS).any(|known| *known == name) {
            let known = KEYS.join(", ");
            return Err(error(
                lua,
                &format!("unknown key '{name}' in the table of a program; known are {known}"),
            ));
        }
    }
    Ok(())
}

/// Starts a program and returns its handle.
pub(super) fn start(
    lua: &Lua,
    engine: &Engine,
    options: &Table,
    words: Vec<String>,
    variables: Option<&Table>,
) -> mlua::Result<Value> {
    check_keys(lua, options)?;
    let program = words[0].strip_prefix('/').unwrap_or(&words[0]);
    let Some(program) = program.strip_prefix(ROM).map(String::from) else {
        return Err(error(
            lua,
            &format!("'{}' is no program in rom; write \"rom/NAME\"", words[0]),
        ));
    };
    let name: Option<String> = options.get("name")?;
    let name = name.unwrap_or_else(|| program.rsplit('/').next().unwrap_or_default().to_owned());
    let grants = grants(lua, options)?;
    let scheduler: Option<Cap> = options.get("scheduler")?;
    let launch = Launch {
        variables: variables_of(lua, variables)?,
        log: log(lua, options, &name)?,
        account: account(lua, engine, options)?,
        cpu: number(lua, options, "cpu", 0..64)?,
        priority: priority(lua, options, scheduler.as_ref())?,
        stack: stack(lua, options)?,
        scheduler: match &scheduler {
            Some(cap) => cap.index,
            None => own(lua, engine, "scheduler")?,
        },
        grants: with_scheduler(grants, scheduler.as_ref()),
        program,
        arguments: words,
    };
    let number = engine.start(lua, name, &launch)?;
    let handle = TaskHandle {
        engine: engine.clone(),
        number,
    };
    Ok(Value::UserData(lua.create_userdata(handle)?))
}

/// A scheduler that the script names is the program's as well.
fn with_scheduler(mut grants: Vec<Grant>, scheduler: Option<&Cap>) -> Vec<Grant> {
    if let Some(cap) = scheduler {
        grants.push(Grant {
            name: String::from("scheduler"),
            cap: cap.index,
            rights: cap.rights,
        });
    }
    grants
}

fn grants(lua: &Lua, options: &Table) -> mlua::Result<Vec<Grant>> {
    let Some(caps) = options.get::<Option<Table>>("caps")? else {
        return Ok(Vec::new());
    };
    let mut grants = Vec::new();
    for pair in caps.pairs::<String, Value>() {
        let (name, value) = pair?;
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(error(
                lua,
                &format!("the name '{name}' of a capability must have 1 to {NAME_MAX} bytes"),
            ));
        }
        let Value::UserData(data) = &value else {
            return Err(error(
                lua,
                &format!("'{name}' in caps is no capability but a {}", value.type_name()),
            ));
        };
        let cap = data
            .borrow::<Cap>()
            .map_err(|_| error(lua, &format!("'{name}' in caps is no capability")))?;
        grants.push(Grant {
            name,
            cap: cap.index,
            rights: cap.rights,
        });
    }
    // Lua's tables have no order; the programs' slots shall not depend on chance.
    grants.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(grants)
}

/// A capability of `ned`'s own.
fn own(lua: &Lua, engine: &Engine, wanted: &str) -> mlua::Result<CapIndex> {
    engine.with_system(lua, |system| {
        let environment = system.environment();
        let found = environment.iter().find(|(name, _)| name == wanted);
        found
            .map(|(_, cap)| *cap)
            .ok_or_else(|| format!("ned has no capability '{wanted}'"))
    })
}

/// `log = {tag, colour}`, a tag, or a capability; without it the program's name is the tag.
fn log(lua: &Lua, options: &Table, name: &str) -> mlua::Result<ProgramLog> {
    let new = |tag: &str, colour: Option<&str>| log_request(lua, tag, colour).map(ProgramLog::New);
    let misuse = || error(lua, "log is {tag, colour}, a tag, or a log's capability");
    match options.get("log")? {
        // Only a tag that the script gives can be too long.
        Value::Nil => new(&name[..name.floor_char_boundary(TAG_MAX)], None),
        Value::Table(log) => {
            let (tag, colour): (String, Option<String>) = (log.get(1)?, log.get(2)?);
            new(&tag, colour.as_deref())
        }
        Value::UserData(data) => {
            let cap = data.borrow::<Cap>().map_err(|_| misuse())?;
            Ok(ProgramLog::Given(cap.index))
        }
        Value::String(tag) => new(&tag.to_string_lossy(), None),
        _ => Err(misuse()),
    }
}

fn account(lua: &Lua, engine: &Engine, options: &Table) -> mlua::Result<Account> {
    let factory: Option<Cap> = options.get("factory")?;
    match (options.get("mem")?, factory) {
        (Value::Nil, Some(factory)) if factory.kind == Kind::Factory => Ok(Account::Shared(factory.index)),
        (Value::Nil, Some(_)) => Err(error(lua, "factory must be a factory")),
        (Value::Nil, None) => {
            let factory = own(lua, engine, "factory")?;
            let available = engine.with_system(lua, |system| system.available(factory))?;
            Ok(Account::Own(DEFAULT_LIMIT.min(available / 2)))
        }
        (_, Some(_)) => Err(error(
            lua,
            "mem makes a new account and factory names one: give only one of them",
        )),
        (size, None) => {
            let limit = values::size(&size).map_err(|reason| error(lua, &format!("mem: {reason}")))?;
            Ok(Account::Own(limit))
        }
    }
}

fn priority(lua: &Lua, options: &Table, scheduler: Option<&Cap>) -> mlua::Result<u8> {
    let own = match scheduler.map(|cap| cap.kind) {
        Some(Kind::Scheduler { priority }) => priority,
        Some(_) => return Err(error(lua, "scheduler must be a scheduler")),
        None => None,
    };
    let wanted = number(lua, options, "priority", 1..256)?;
    Ok(wanted.map_or(own.unwrap_or(DEFAULT_PRIORITY), |priority| priority as u8))
}

fn stack(lua: &Lua, options: &Table) -> mlua::Result<u64> {
    match options.get("stack")? {
        Value::Nil => Ok(loader::DEFAULT_STACK_SIZE),
        size => values::size(&size).map_err(|reason| error(lua, &format!("stack: {reason}"))),
    }
}

fn number(lua: &Lua, options: &Table, key: &str, range: std::ops::Range<i64>) -> mlua::Result<Option<u32>> {
    match options.get::<Value>(key)? {
        Value::Nil => Ok(None),
        value => match value.as_integer().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number as u32)),
            None => {
                let reason = format!("{key} is a number from {} to {}", range.start, range.end - 1);
                Err(error(lua, &reason))
            }
        },
    }
}

fn variables_of(lua: &Lua, variables: Option<&Table>) -> mlua::Result<Vec<String>> {
    let mut list = Vec::new();
    for pair in variables
        .into_iter()
        .flat_map(|table| table.pairs::<Value, Value>())
    {
        let (name, value) = pair?;
        let (Value::String(name), Some(value)) = (&name, values::text(&value)) else {
            return Err(error(lua, "variables are a table of texts: {NAME = \"value\"}"));
        };
        list.push(format!("{}={value}", name.to_string_lossy()));
    }
    list.sort();
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Ended;
    use crate::testing::{FakeSystem, failure, run_script};
    use l4::Rights;

    #[test]
    fn a_program_gets_what_is_named_and_nothing_else() {
        let script = "local L4 = require 'L4'\n\
            local c = L4.default_loader:new_channel()\n\
            L4.default_loader:start({caps = {srv = c:svr(), z = c:m('r')}, log = {'srv', 'blue'}}, 'rom/app')\n\
            L4.default_loader:start(nil, 'rom/app')";
        let (code, seen) = run_script(script, FakeSystem::new().ending([Ended::Exit(0); 2]));
        let seen = seen.borrow();
        assert_eq!(code, 0, "{:?}", seen.said);
        let [server, bare] = &seen.launches[..] else {
            panic!("two programs were started");
        };
        let names: Vec<&str> = server.grants.iter().map(|grant| grant.name.as_str()).collect();
        assert_eq!(names, ["srv", "z"]);
        assert_eq!(server.grants[0].rights, Rights::CLIENT | Rights::SERVER);
        assert_eq!(server.grants[1].rights, Rights::READ);
        assert_eq!(bare.grants, []);
        assert_eq!((bare.priority, bare.cpu), (DEFAULT_PRIORITY, None));
        let log = |launch: &Launch| match &launch.log {
            ProgramLog::New(log) => format!("{} {:?}", log.tag, log.colour),
            ProgramLog::Given(cap) => format!("{cap:?}"),
        };
        assert_eq!(
            (log(server).as_str(), log(bare).as_str()),
            ("srv Colour(4)", "app Colour(0)")
        );
    }

    #[test]
    fn accounts_are_shared_only_if_the_script_says_so() {
        let script = "local L4 = require 'L4'\n\
            local f = L4.Env.factory:create(L4.Proto.Factory, '1M')\n\
            L4.default_loader:start({factory = f}, 'rom/app')\n\
            L4.default_loader:start({mem = '2M', cpu = 1, stack = '1M'}, 'rom/app')\n\
            L4.default_loader:start({}, 'rom/app')";
        let (code, seen) = run_script(script, FakeSystem::new().ending([Ended::Exit(0); 3]));
        let seen = seen.borrow();
        assert_eq!(code, 0, "{:?}", seen.said);
        assert!(matches!(seen.launches[0].account, Account::Shared(_)));
        assert_eq!(seen.launches[1].account, Account::Own(2 << 20));
        assert_eq!((seen.launches[1].cpu, seen.launches[1].stack), (Some(1), 1 << 20));
        assert_eq!(seen.launches[2].account, Account::Own(DEFAULT_LIMIT));
    }

    #[test]
    fn misuse_is_explained() {
        for (options, reason) in [
            (
                "{cap = {}}",
                "unknown key 'cap' in the table of a program; known are caps, log,",
            ),
            ("{caps = {x = 1}}", "'x' in caps is no capability but a integer"),
            (
                "{caps = {['a-name-of-16-byt'] = L4.Env.log}}",
                "the name 'a-name-of-16-byt' of a capability",
            ),
            ("{mem = '1X'}", "mem: a size is a number of bytes"),
            (
                "{mem = 1, factory = L4.Env.factory}",
                "mem makes a new account and factory names one",
            ),
            ("{factory = L4.Env.log}", "factory must be a factory"),
            ("{scheduler = L4.Env.log}", "scheduler must be a scheduler"),
            ("{priority = 0}", "priority is a number from 1 to 255"),
            ("{cpu = 'x'}", "cpu is a number from 0 to 63"),
            ("{log = 5}", "log is {tag, colour}"),
        ] {
            let script = format!("local L4 = require 'L4'\nL4.default_loader:start({options}, 'rom/app')");
            let said = failure(&script);
            assert!(
                said.starts_with(&format!("rom/test.cfg:2: {reason}")),
                "{options}: {said}"
            );
        }
        let said = failure("require('L4').default_loader:start({}, 'app')");
        assert!(
            said.starts_with("rom/test.cfg:1: 'app' is no program in rom"),
            "{said}"
        );
        let said = failure("require('L4').default_loader:start({}, 'rom/app', {'x'})");
        assert!(
            said.starts_with("rom/test.cfg:1: variables are a table of texts"),
            "{said}"
        );
    }
}
