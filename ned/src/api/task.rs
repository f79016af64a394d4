//! Started programs as Lua values.

use mlua::{Function, UserData, UserDataFields, UserDataMethods};

use crate::engine::Engine;
use crate::system::TaskNumber;

/// A program that was started.
pub(crate) struct TaskHandle {
    pub(crate) engine: Engine,
    pub(crate) number: TaskNumber,
}

impl UserData for TaskHandle {
    fn add_fields<F: UserDataFields<TaskHandle>>(fields: &mut F) {
        fields.add_field_method_get("exit_handler", |_, task| {
            let state = task.engine.state();
            Ok(state
                .tasks
                .get(task.number)
                .and_then(|task| task.exit_handler.clone()))
        });
        fields.add_field_method_set("exit_handler", |_, task, handler: Option<Function>| {
            if let Some(task) = task.engine.state().tasks.get_mut(task.number) {
                task.exit_handler = handler;
            }
            Ok(())
        });
    }

    fn add_methods<M: UserDataMethods<TaskHandle>>(methods: &mut M) {
        methods.add_method("wait", |_, task, ()| task.engine.wait_for(task.number));
        methods.add_method("kill", |_, task, ()| task.engine.kill(task.number));
        methods.add_method("exit_code", |_, task, ()| {
            let state = task.engine.state();
            Ok(state.tasks.get(task.number).and_then(|task| task.code()))
        });
        methods.add_method("state", |_, task, ()| {
            let state = task.engine.state();
            let has_ended = state
                .tasks
                .get(task.number)
                .is_some_and(|task| task.ended.is_some());
            Ok(if has_ended { "zombie" } else { "running" })
        });
        methods.add_meta_method("__tostring", |_, task, ()| {
            let state = task.engine.state();
            let name = state.tasks.get(task.number).map_or("", |task| task.name.as_str());
            Ok(format!("task '{name}'"))
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::system::{Ended, Fault};
    use crate::testing::{FakeSystem, run_script};

    #[test]
    fn waiting_gives_the_exit_code() {
        let script = "local L4 = require 'L4'\n\
            local t = L4.default_loader:start({}, 'rom/app')\n\
            assert(t:state() == 'running' and t:exit_code() == nil)\n\
            assert(t:wait() == 5 and t:wait() == 5)\n\
            assert(t:state() == 'zombie' and t:exit_code() == 5)\n\
            L4.Platform:shutdown(true)";
        let (code, seen) = run_script(script, FakeSystem::new().ending([Ended::Exit(5)]));
        assert_eq!(code, 0, "{:?}", seen.borrow().said);
    }

    #[test]
    fn exit_handlers_are_called_once() {
        let script = "local L4 = require 'L4'\n\
            local t = L4.default_loader:start({}, 'rom/app')\n\
            t.exit_handler = function(code)\n\
              assert(code == 0)\n\
              L4.default_loader:start({}, 'rom/app again')\n\
            end";
        let ends = [Ended::Exit(0), Ended::Exit(0)];
        let (code, seen) = run_script(script, FakeSystem::new().ending(ends));
        assert_eq!(code, 0, "{:?}", seen.borrow().said);
        assert_eq!(seen.borrow().launches.len(), 2);
    }

    #[test]
    fn killed_tasks_are_no_failure() {
        let script = "local t = require('L4').default_loader:start({}, 'rom/app')\n\
            t:kill(); t:kill()\n\
            assert(t:exit_code() == 137 and t:state() == 'zombie')";
        let (code, seen) = run_script(script, FakeSystem::new());
        assert_eq!(code, 0, "{:?}", seen.borrow().said);
        assert_eq!(seen.borrow().removed, [0]);
    }

    #[test]
    fn faults_are_reported_and_fail() {
        let fault = Fault {
            reason: Some(l4::exception::Reason::PageFault),
            vector: 14,
            error: 4,
            address: 0x10,
            instruction: 0x1234,
            stack: 0x99,
        };
        let script = "require('L4').default_loader:start({}, 'rom/app')";
        let (code, seen) = run_script(script, FakeSystem::new().ending([Ended::Fault(fault)]));
        assert_eq!(code, 139);
        assert_eq!(
            seen.borrow().said.last().unwrap(),
            "'app' stopped: page fault, read at 0x10, instruction 0x1234, stack 0x99"
        );
    }
}
