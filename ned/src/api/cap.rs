//! Capabilities as Lua values.

use l4::{CapIndex, Rights, protocol};
use mlua::{FromLua, Lua, MultiValue, UserData, UserDataMethods, Value, Variadic};

use super::{scheduler, values};
use crate::engine::{Engine, error};
use crate::system::LogRequest;
use interfaces::log::Colour;

/// L4Re's bit for the server right in numbers that scripts give.
pub(super) const SERVER_LETTER_BIT: u8 = 32;
/// L4Re's bit for mappings without a reference count. There are no others here, so it changes nothing.
const WEAK_LETTER_BIT: u8 = 16;

/// What a capability is, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Channel,
    Factory,
    Log,
    Namespace,
    /// Length in bytes.
    Dataspace(u64),
    /// Priority of threads that start under it, if it is not the usual one.
    Scheduler {
        priority: Option<u8>,
    },
    Other,
}

/// A capability with the rights that it is passed on with.
#[derive(Clone)]
pub(crate) struct Cap {
    engine: Engine,
    pub(crate) index: CapIndex,
    pub(crate) kind: Kind,
    pub(crate) rights: Rights,
}

impl Cap {
    /// A capability that is passed on with the rights of a client.
    pub(crate) fn new(engine: Engine, index: CapIndex, kind: Kind) -> Cap {
        let rights = match kind {
            Kind::Dataspace(_) => Rights::READ,
            _ => Rights::CLIENT,
        };
        Cap {
            engine,
            index,
            kind,
            rights,
        }
    }

    fn with_rights(&self, rights: Rights) -> Cap {
        Cap {
            rights,
            ..self.clone()
        }
    }
}

impl FromLua for Cap {
    fn from_lua(value: Value, lua: &Lua) -> mlua::Result<Cap> {
        let cap = match &value {
            Value::UserData(data) => data.borrow::<Cap>().ok().map(|cap| cap.clone()),
            _ => None,
        };
        cap.ok_or_else(|| {
            error(
                lua,
                &format!("a capability is expected, not a {}", value.type_name()),
            )
        })
    }
}

/// Rights from letters (`r`, `w`, `s`, `d`, `c` server, `n` without effect, `ro`) or L4Re's numbers.
fn parse_rights(value: &Value) -> Result<Rights, String> {
    let bits = match value {
        Value::Integer(bits) => u8::try_from(*bits).map_err(|_| format!("{bits} are no rights"))?,
        Value::String(text) => {
            let text = text.to_string_lossy();
            let letters = if text == "ro" { "r" } else { text.as_str() };
            let bit = |letter| match letter {
                'r' => Ok(Rights::READ.bits()),
                'w' => Ok(Rights::WRITE.bits()),
                's' => Ok(Rights::STRONG.bits()),
                'd' => Ok(Rights::DELETE.bits()),
                'n' => Ok(WEAK_LETTER_BIT),
                'c' => Ok(SERVER_LETTER_BIT),
                other => Err(format!("'{other}' is no right; the letters are r, w, s, d, n, c")),
            };
            letters
                .chars()
                .try_fold(0, |bits, letter| Ok::<u8, String>(bits | bit(letter)?))?
        }
        other => {
            return Err(format!(
                "rights are letters or a number, not a {}",
                other.type_name()
            ));
        }
    };
    let known = Rights::CLIENT.bits() | Rights::DELETE.bits() | WEAK_LETTER_BIT | SERVER_LETTER_BIT;
    if bits & !known != 0 {
        return Err(format!("{bits:#x} are no rights"));
    }
    let mut rights = Rights::from_bits_truncate(bits & 0xf);
    rights.set(Rights::SERVER, bits & SERVER_LETTER_BIT != 0);
    Ok(rights)
}

impl UserData for Cap {
    fn add_methods<M: UserDataMethods<Cap>>(methods: &mut M) {
        for name in ["m", "mode"] {
            methods.add_method(name, |lua, cap, rights: Value| {
                let wanted = parse_rights(&rights).map_err(|reason| error(lua, &reason))?;
                Ok(cap.with_rights(wanted))
            });
        }
        methods.add_method("svr", |lua, cap, ()| match cap.kind {
            Kind::Channel => Ok(cap.with_rights(Rights::CLIENT | Rights::SERVER)),
            _ => Err(error(lua, "only a channel has a server's side")),
        });
        methods.add_method("create", create);
        methods.add_method("available", |lua, cap, ()| match cap.kind {
            Kind::Factory => cap.engine.with_system(lua, |system| system.available(cap.index)),
            _ => Err(error(lua, "only a factory has memory to give")),
        });
        methods.add_method("query", |lua, cap, name: String| {
            if cap.kind != Kind::Namespace {
                return Err(error(lua, "only a namespace can be asked for names"));
            }
            let (index, size) = cap
                .engine
                .with_system(lua, |system| system.query(cap.index, &name))?;
            Ok(Cap::new(cap.engine.clone(), index, Kind::Dataspace(size)))
        });
        methods.add_meta_method("__tostring", |_, cap, ()| {
            Ok(format!("{:?} {:?} [{:?}]", cap.kind, cap.index, cap.rights))
        });
    }
}

/// `factory:create(protocol, …)`.
fn create(lua: &Lua, cap: &Cap, arguments: MultiValue) -> mlua::Result<Cap> {
    let mut arguments = arguments.into_iter();
    let wanted = arguments.next().and_then(|value| value.as_integer());
    let rest: Variadic<Value> = arguments.collect();
    if cap.kind != Kind::Factory {
        return Err(error(lua, "only a factory creates objects"));
    }
    match wanted {
        Some(protocol::FACTORY) => {
            let limit = size_argument(lua, &rest)?;
            let index = cap
                .engine
                .with_system(lua, |system| system.create_factory(cap.index, limit))?;
            Ok(Cap::new(cap.engine.clone(), index, Kind::Factory))
        }
        Some(protocol::DATASPACE) => {
            let size = size_argument(lua, &rest)?;
            let index = cap
                .engine
                .with_system(lua, |system| system.create_dataspace(cap.index, size))?;
            let cap = Cap::new(cap.engine.clone(), index, Kind::Dataspace(size));
            Ok(cap.with_rights(Rights::CLIENT))
        }
        Some(protocol::SCHEDULER) => scheduler::create(lua, &cap.engine, &rest),
        Some(protocol::VCON) => {
            let text = |index: usize| rest.get(index).and_then(values::text);
            create_log(lua, &cap.engine, &text(0).unwrap_or_default(), text(1).as_deref())
        }
        Some(0 | protocol::GATE) => {
            let index = cap.engine.with_system(lua, |system| system.create_channel())?;
            Ok(Cap::new(cap.engine.clone(), index, Kind::Channel))
        }
        _ => Err(error(
            lua,
            "a factory creates L4.Proto.Factory, Dataspace, Scheduler, Log and Ipc_gate",
        )),
    }
}

fn size_argument(lua: &Lua, arguments: &[Value]) -> mlua::Result<u64> {
    values::size(arguments.first().unwrap_or(&Value::Nil)).map_err(|reason| error(lua, &reason))
}

/// Makes a log with a tag and a colour's name.
fn create_log(lua: &Lua, engine: &Engine, tag: &str, colour: Option<&str>) -> mlua::Result<Cap> {
    let request = log_request(lua, tag, colour)?;
    let index = engine.with_system(lua, |system| system.create_log(&request))?;
    Ok(Cap::new(engine.clone(), index, Kind::Log))
}

/// A log with a tag and a colour's name.
pub(super) fn log_request(lua: &Lua, tag: &str, colour: Option<&str>) -> mlua::Result<LogRequest> {
    let colour = match colour {
        None => Colour::default(),
        Some(name) => Colour::parse(name).ok_or_else(|| error(lua, &format!("'{name}' is no colour")))?,
    };
    Ok(LogRequest {
        tag: tag.to_owned(),
        colour,
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{FakeSystem, failure, run_script};

    #[test]
    fn factories_create_what_they_can() {
        let script = "local L4 = require 'L4'\n\
            local f = L4.Env.user_factory:create(L4.Proto.Factory, '16M')\n\
            local d = f:create(L4.Proto.Dataspace, 8192)\n\
            local l = L4.Env.factory:create(L4.Proto.Log, 'tag', 'red')\n\
            local c = L4.Env.factory:create(L4.Proto.Ipc_gate)\n\
            assert(f:available() == 1 << 30)\n\
            assert(tostring(c:svr()):match('SERVER'))";
        let (code, seen) = run_script(script, FakeSystem::new());
        assert_eq!(code, 0, "{:?}", seen.borrow().said);
        assert_eq!(
            seen.borrow().made,
            [
                "factory 16777216",
                "dataspace 8192",
                "log tag Colour(1)",
                "channel"
            ]
        );
    }

    #[test]
    fn misuse_is_explained() {
        for (script, reason) in [
            ("L4.Env.rom:svr()", "only a channel has a server's side"),
            ("L4.Env.log:available()", "only a factory has memory to give"),
            ("L4.Env.log:query('x')", "only a namespace can be asked for names"),
            ("L4.Env.rom:query('absent')", "no such name"),
            (
                "L4.default_loader:new_channel():m('rx')",
                "'x' is no right; the letters are r, w, s, d, n, c",
            ),
            ("L4.default_loader:new_channel():m(64)", "0x40 are no rights"),
            ("L4.Env.factory:create(77)", "a factory creates L4.Proto.Factory"),
            (
                "L4.Env.rom:create(L4.Proto.Factory, 1)",
                "only a factory creates objects",
            ),
            (
                "L4.Env.factory:create(L4.Proto.Factory, -1)",
                "a size is a number of bytes above 0",
            ),
            (
                "L4.Env.factory:create(L4.Proto.Log, 'x', 'pink-ish')",
                "'pink-ish' is no colour",
            ),
        ] {
            let said = failure(&format!("local L4 = require 'L4'\n{script}"));
            let expected = format!("rom/test.cfg:2: {reason}");
            assert!(
                said.starts_with(&expected),
                "{said:?} should start with {expected:?}"
            );
        }
    }
}
