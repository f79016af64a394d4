//! `L4.Loader`, `L4.default_loader` and `L4.App_env`.

use mlua::{Lua, Table, UserData, UserDataMethods, Value, Variadic};

use super::{Cap, Kind, start, values};
use crate::engine::{Engine, error};

/// Starts programs; its options hold for those that say nothing else.
#[derive(Clone)]
pub(super) struct Loader {
    engine: Engine,
    /// Keys as in the table that `start` takes.
    defaults: Option<Table>,
}

impl Loader {
    /// What is to be started: the loader's table with that of the call over it.
    fn options(&self, lua: &Lua, call: Option<Table>) -> mlua::Result<Table> {
        let options = lua.create_table()?;
        for table in [self.defaults.clone(), call].into_iter().flatten() {
            for pair in table.pairs::<Value, Value>() {
                let (key, value) = pair?;
                options.set(key, value)?;
            }
        }
        Ok(options)
    }

    fn startv(&self, lua: &Lua, options: Option<Table>, mut words: Vec<Value>) -> mlua::Result<Value> {
        let variables = match words.last() {
            Some(Value::Table(_)) => words.pop(),
            _ => None,
        };
        let texts: Option<Vec<String>> = words.iter().map(values::text).collect();
        let Some(texts) = texts.filter(|texts| !texts.is_empty()) else {
            return Err(error(
                lua,
                "startv takes a table, the program, its arguments, and a table of variables",
            ));
        };
        let options = self.options(lua, options)?;
        start::start(
            lua,
            &self.engine,
            &options,
            texts,
            variables.as_ref().and_then(Value::as_table),
        )
    }
}

impl UserData for Loader {
    fn add_methods<M: UserDataMethods<Loader>>(methods: &mut M) {
        methods.add_method("new_channel", |lua, loader, ()| {
            let index = loader.engine.with_system(lua, |system| system.create_channel())?;
            Ok(Cap::new(loader.engine.clone(), index, Kind::Channel))
        });
        methods.add_method(
            "start",
            |lua, loader, (options, command, variables): (Option<Table>, String, Option<Table>)| {
                let words: Vec<String> = command.split_whitespace().map(String::from).collect();
                if words.is_empty() {
                    return Err(error(
                        lua,
                        "there is no program to start: write \"rom/NAME arguments\"",
                    ));
                }
                let options = loader.options(lua, options)?;
                start::start(lua, &loader.engine, &options, words, variables.as_ref())
            },
        );
        methods.add_method(
            "startv",
            |lua, loader, (options, words): (Option<Table>, Variadic<Value>)| {
                loader.startv(lua, options, words.into_iter().collect())
            },
        );
        methods.add_method("create_namespace", |lua, loader, entries: Table| {
            create_namespace(lua, &loader.engine, &entries)
        });
    }
}

/// `loader:create_namespace{name = dataspace, …}`.
fn create_namespace(lua: &Lua, engine: &Engine, entries: &Table) -> mlua::Result<Cap> {
    let mut list = Vec::new();
    for pair in entries.pairs::<String, Cap>() {
        let (name, cap) = pair?;
        let Kind::Dataspace(size) = cap.kind else {
            return Err(error(
                lua,
                &format!("'{name}' is no dataspace; ask for one with L4.Env.rom:query(name)"),
            ));
        };
        list.push((name, cap.index, size));
    }
    list.sort();
    let index = engine.with_system(lua, |system| system.create_namespace(list))?;
    Ok(Cap::new(engine.clone(), index, Kind::Namespace))
}

/// `L4.App_env`, in Lua's own words: a table of options with methods that start programs with them.
const APP_ENV: &str = r#"
local loader = ...
local App_env = {}
App_env.__index = App_env
function App_env.new(options)
  return setmetatable({options = options or {}}, App_env)
end
function App_env:start(command, variables)
  return loader:start(self.options, command, variables)
end
function App_env:startv(...)
  return loader:startv(self.options, ...)
end
return App_env
"#;

/// Adds the loaders to the module.
pub(super) fn add(lua: &Lua, module: &Table, engine: &Engine) -> mlua::Result<()> {
    let default_loader = lua.create_userdata(Loader {
        engine: engine.clone(),
        defaults: None,
    })?;
    let app_env: Table = lua.load(APP_ENV).set_name("=L4").call(&default_loader)?;
    module.set("default_loader", default_loader)?;
    module.set("App_env", app_env)?;
    let class = lua.create_table()?;
    let engine = engine.clone();
    let new = lua.create_function(move |lua, options: Option<Table>| {
        if let Some(options) = &options {
            start::check_keys(lua, options)?;
        }
        Ok(Loader {
            engine: engine.clone(),
            defaults: options,
        })
    })?;
    class.set("new", new)?;
    module.set("Loader", class)
}

#[cfg(test)]
mod tests {
    use crate::system::Ended;
    use crate::testing::{FakeSystem, failure, run_script};

    #[test]
    fn loaders_have_defaults() {
        let script = "local L4 = require 'L4'\n\
            local ld = L4.Loader.new{mem = '8M', priority = 7}\n\
            ld:start({priority = 9}, 'rom/app a  b')\n\
            L4.App_env.new{mem = 65536}:start('rom/app')\n\
            L4.default_loader:startv(nil, 'rom/app', 'one word', 2, {A = 'x'})";
        let (code, seen) = run_script(script, FakeSystem::new().ending([Ended::Exit(0); 3]));
        let seen = seen.borrow();
        assert_eq!(code, 0, "{:?}", seen.said);
        let [first, second, third] = &seen.launches[..] else {
            panic!("three programs were started");
        };
        assert_eq!(first.arguments, ["rom/app", "a", "b"]);
        assert_eq!((first.priority, first.account), (9, crate::Account::Own(8 << 20)));
        assert_eq!(second.account, crate::Account::Own(65536));
        assert_eq!(third.arguments, ["rom/app", "one word", "2"]);
        assert_eq!(third.variables, ["A=x"]);
    }

    #[test]
    fn namespaces_hold_dataspaces() {
        let script = "local L4 = require 'L4'\n\
            local ns = L4.default_loader:create_namespace{hello = L4.Env.rom:query('app')}\n\
            L4.default_loader:start({caps = {rom = ns:m('r')}}, 'rom/app')";
        let (code, seen) = run_script(script, FakeSystem::new().ending([Ended::Exit(0)]));
        assert_eq!(code, 0, "{:?}", seen.borrow().said);
        assert!(seen.borrow().made.contains(&"namespace hello".to_owned()));
        let said = failure("local L4 = require 'L4'\nL4.default_loader:create_namespace{x = L4.Env.log}");
        assert!(said.starts_with("rom/test.cfg:2: 'x' is no dataspace"), "{said}");
    }

    #[test]
    fn something_must_be_started() {
        let said = failure("require('L4').default_loader:start({}, ' ')");
        assert!(said.starts_with("rom/test.cfg:1: there is no program"), "{said}");
        let said = failure("require('L4').default_loader:startv({})");
        assert!(said.starts_with("rom/test.cfg:1: startv takes"), "{said}");
    }
}
