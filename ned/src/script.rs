//! Running scripts.

use mlua::{Error, Lua};

use crate::engine::Engine;
use crate::{Options, System, api};

/// Exit code of a script that failed.
const SCRIPT_FAILED: i64 = 1;

/// Runs the scripts and waits for what they started. Returns the exit code: that which a script asked for, 1 if a
/// script failed, else the worst one of all tasks.
pub fn run(options: &Options, system: Box<dyn System>) -> i64 {
    let engine = Engine::new(system);
    let result = run_all(&engine, options);
    if let Some(code) = engine.state().shutdown {
        return code;
    }
    match result {
        Ok(()) => engine.worst_code(),
        Err(error) => {
            engine.state().system.say(&explain(&error));
            SCRIPT_FAILED
        }
    }
}

fn run_all(engine: &Engine, options: &Options) -> mlua::Result<()> {
    let lua = Lua::new();
    // What scripts write and what `ned` says shall stand in the order in which it was said.
    lua.load("io.stdout:setvbuf('line')").exec()?;
    api::install(&lua, engine, &options.arguments)?;
    for path in &options.scripts {
        engine.state().system.say(&format!("loading file: '{path}'"));
        let text = engine.state().system.read_file(path).map_err(Error::runtime)?;
        lua.globals()
            .set("arg", argument_table(&lua, path, &options.arguments)?)?;
        lua.load(text).set_name(format!("@{path}")).exec()?;
    }
    for statement in &options.statements {
        lua.load(statement.as_str()).set_name("=(command line)").exec()?;
    }
    if options.exit_at_once {
        return Ok(());
    }
    engine.wait_for_all()
}

/// Lua's usual table of arguments: the script's name at 0.
fn argument_table(lua: &Lua, path: &str, arguments: &[String]) -> mlua::Result<mlua::Table> {
    let table = lua.create_sequence_from(arguments.iter().map(String::as_str))?;
    table.raw_set(0, path)?;
    Ok(table)
}

/// An error's cause in one line: with file and line, without Lua's traceback.
fn explain(error: &Error) -> String {
    match error {
        Error::CallbackError { cause, .. } => explain(cause),
        Error::RuntimeError(text) => text
            .split("\nstack traceback:")
            .next()
            .unwrap_or_default()
            .to_owned(),
        Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use crate::system::Ended;
    use crate::testing::{FakeSystem, run_script};

    #[test]
    fn a_script_without_tasks_is_a_success() {
        let (code, seen) = run_script(
            "local L4 = require('L4'); assert(L4.default_loader)",
            FakeSystem::new(),
        );
        assert_eq!(code, 0);
        assert_eq!(seen.borrow().said, ["loading file: 'rom/test.cfg'"]);
    }

    #[test]
    fn failures_name_file_line_and_reason() {
        for (script, expected) in [
            ("\nerror('no way')", "rom/test.cfg:2: no way"),
            ("\n\nlocal x = = 1", "rom/test.cfg:3: unexpected symbol near '='"),
            (
                "nothing.at = 1",
                "rom/test.cfg:1: attempt to index a nil value (global 'nothing')",
            ),
            (
                "local L4 = require 'L4'\nL4.default_loader:start({}, 'rom/absent')",
                "rom/test.cfg:2: cannot start 'absent': no such name",
            ),
        ] {
            let (code, seen) = run_script(script, FakeSystem::new());
            assert_eq!(code, 1, "{script}");
            assert_eq!(seen.borrow().said.last().unwrap(), expected);
        }
    }

    #[test]
    fn the_worst_exit_code_is_the_verdict() {
        let script =
            "local ld = require('L4').default_loader; for i = 1, 3 do ld:start({}, 'rom/app ' .. i) end";
        let ends = [Ended::Exit(0), Ended::Exit(3), Ended::Exit(1)];
        let (code, seen) = run_script(script, FakeSystem::new().ending(ends));
        assert_eq!(code, 3);
        assert!(
            seen.borrow()
                .said
                .contains(&"'app' ended with exit code 3".to_owned())
        );
        assert_eq!(seen.borrow().removed, [0, 1, 2]);
    }

    #[test]
    fn arguments_reach_the_script() {
        let script = "local L4 = require 'L4'\n\
            assert(#L4.args == 2 and L4.args[1] == '--threads=2')\n\
            assert(arg[0] == 'rom/test.cfg' and arg[2] == 'b')";
        assert_eq!(run_script(script, FakeSystem::new()).0, 0);
    }

    #[test]
    fn shutdown_ends_at_once_with_its_verdict() {
        for (call, code) in [("()", 0), ("(true)", 0), ("(false)", 1), ("(7)", 7)] {
            let script = format!("require('L4').Platform:shutdown{call}; error('not reached')");
            assert_eq!(run_script(&script, FakeSystem::new()).0, code, "{call}");
        }
    }
}
