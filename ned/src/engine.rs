//! What all parts of the Lua interface share.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use mlua::{Error, Lua};

use crate::system::{Ended, Event, Launch, System, TaskNumber};
use crate::tasks::Task;

/// Exit code of a task that was killed by a script, as shells show it.
const KILLED: i64 = 128 + 9;

/// The system, the tasks, and how it all shall end.
pub(crate) struct State {
    pub(crate) system: Box<dyn System>,
    pub(crate) tasks: Vec<Task>,
    /// The exit code that a script asked for with `L4.Platform:shutdown()`.
    pub(crate) shutdown: Option<i64>,
}

/// A handle to the state. Never held while Lua code runs.
#[derive(Clone)]
pub(crate) struct Engine(Rc<RefCell<State>>);

impl Engine {
    pub(crate) fn new(system: Box<dyn System>) -> Engine {
        Engine(Rc::new(RefCell::new(State {
            system,
            tasks: Vec::new(),
            shutdown: None,
        })))
    }

    pub(crate) fn state(&self) -> RefMut<'_, State> {
        self.0.borrow_mut()
    }

    /// Uses the system; its errors become those of the script, with the script's line.
    pub(crate) fn with_system<R>(
        &self,
        lua: &Lua,
        action: impl FnOnce(&mut dyn System) -> Result<R, String>,
    ) -> mlua::Result<R> {
        let result = action(&mut *self.state().system);
        result.map_err(|reason| error(lua, &reason))
    }

    /// Starts a program.
    pub(crate) fn start(&self, lua: &Lua, name: String, launch: &Launch) -> mlua::Result<TaskNumber> {
        let number = self.state().tasks.len();
        self.with_system(lua, |system| {
            let failed = |reason| format!("cannot start '{}': {reason}", launch.program);
            system.start(number, launch).map_err(failed)
        })?;
        self.state().tasks.push(Task {
            name,
            ended: None,
            killed: false,
            exit_handler: None,
        });
        Ok(number)
    }

    /// Ends a task that still runs.
    pub(crate) fn kill(&self, number: TaskNumber) -> mlua::Result<()> {
        let state = &mut *self.state();
        if let Some(task) = state.tasks.get_mut(number).filter(|task| task.ended.is_none()) {
            task.killed = true;
            task.ended = Some(Ended::Exit(KILLED));
            state.system.remove(number);
        }
        Ok(())
    }

    /// Waits until `number` has ended, and calls the exit handlers of all tasks that end meanwhile.
    pub(crate) fn wait_for(&self, number: TaskNumber) -> mlua::Result<i64> {
        loop {
            if let Some(code) = self.state().tasks.get(number).and_then(Task::code) {
                return Ok(code);
            }
            self.wait()?;
        }
    }

    /// Waits until all tasks have ended.
    pub(crate) fn wait_for_all(&self) -> mlua::Result<()> {
        while self.state().tasks.iter().any(|task| task.ended.is_none()) {
            self.wait()?;
        }
        Ok(())
    }

    /// Waits for the end of any task.
    fn wait(&self) -> mlua::Result<()> {
        let event = self.state().system.wait();
        let Some((handler, code)) = self.note(event) else {
            return Ok(());
        };
        handler.call(code)
    }

    /// Writes down how a task ended. Returns its exit handler.
    fn note(&self, event: Event) -> Option<(mlua::Function, i64)> {
        let state = &mut *self.state();
        let task = state
            .tasks
            .get_mut(event.task)
            .filter(|task| task.ended.is_none())?;
        task.ended = Some(event.ended);
        let code = task.code()?;
        match event.ended {
            Ended::Exit(0) => {}
            Ended::Exit(code) => state
                .system
                .say(&format!("'{}' ended with exit code {code}", task.name)),
            Ended::Fault(fault) => state.system.say(&format!("'{}' stopped: {fault}", task.name)),
        }
        state.system.remove(event.task);
        Some((task.exit_handler.take()?, code))
    }

    /// The worst exit code of all tasks that have ended.
    pub(crate) fn worst_code(&self) -> i64 {
        let state = self.state();
        state
            .tasks
            .iter()
            .map(Task::verdict)
            .max_by_key(|code| code.unsigned_abs())
            .unwrap_or(0)
    }
}

/// A script's error: what is wrong, and the line of the script that did it.
pub(crate) fn error(lua: &Lua, reason: &str) -> Error {
    let place = (0..).find_map(|level| {
        let place = lua.inspect_stack(level, |frame| {
            let source = frame.source().short_src.map(|name| name.into_owned());
            source.zip(frame.current_line())
        });
        match place {
            None => Some(None),
            Some(Some((source, line))) => Some(Some(format!("{source}:{line}: "))),
            Some(None) => None,
        }
    });
    Error::runtime(format!("{}{reason}", place.flatten().unwrap_or_default()))
}
