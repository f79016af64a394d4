//! Actions: create, update, delete, look.

use super::Service;
use crate::action::{ActionId, NONE, Settings};
use crate::platform::Platform;
use alloc::boxed::Box;
use alloc::string::String;
use interfaces::faas::{self, ActionInfo, ConfigField, Definition, ENVIRONMENT_MAX, FaasError, ImageFault};
use interfaces::manifest::{Runtime, StartMode};
use l4::CapIndex;

/// Longest name of a handler in bytes: the answer that tells it to a worker must fit into a message.
const HANDLER_MAX: usize = 128;

impl<P: Platform> Service<P> {
    /// Creates an action. `code` and `environment` are used up.
    ///
    /// # Errors
    /// What is wrong with name, configuration, code or environment; [`FaasError::ActionExists`],
    /// [`FaasError::TooManyActions`]. Nothing is left then.
    pub fn create(
        &mut self,
        definition: &Definition<'_>,
        code: CapIndex,
        environment: Option<CapIndex>,
    ) -> Result<(), FaasError> {
        let allowed = faas::check_name(definition.name).and_then(|name| {
            if self.actions.find(definition.name).is_some() {
                return Err(FaasError::ActionExists);
            }
            if self.actions.is_full() {
                return Err(FaasError::TooManyActions {
                    limit: u64::from(self.limits.actions),
                });
            }
            Ok(name)
        });
        let (name, settings, program) = self.prepare(allowed, definition, code, environment)?;
        let now = self.platform.now();
        self.actions
            .insert(name, settings, program, now)
            .map(drop)
            .map_err(|program| {
                self.platform.unload(program);
                FaasError::TooManyActions {
                    limit: u64::from(self.limits.actions),
                }
            })
    }

    /// Gives an action new code and a new configuration; `code` and `environment` are used up. What runs ends as it
    /// began; what waits runs the new version, which is returned.
    ///
    /// # Errors
    /// As for [`Service::create`], and [`FaasError::UnknownAction`]; the action is as it was then.
    pub fn update(
        &mut self,
        definition: &Definition<'_>,
        code: CapIndex,
        environment: Option<CapIndex>,
    ) -> Result<u32, FaasError> {
        let found = self.find(definition.name);
        let (id, settings, program) = self.prepare(found, definition, code, environment)?;
        let now = self.platform.now();
        let action = self.actions.get_mut(id).ok_or(FaasError::UnknownAction)?;
        let old = core::mem::replace(&mut action.program, program);
        action.settings = settings;
        action.created_ns = now;
        action.version += 1;
        let version = action.version;
        self.platform.unload(old);
        self.end_idle_of(id);
        self.serve(id);
        self.serve_waiting();
        Ok(version)
    }

    /// Loads code and environment if it is `allowed`; both are used up in any case.
    fn prepare<T>(
        &mut self,
        allowed: Result<T, FaasError>,
        definition: &Definition<'_>,
        code: CapIndex,
        environment: Option<CapIndex>,
    ) -> Result<(T, Settings, P::Program), FaasError> {
        let checked = allowed.and_then(|value| check_definition(definition).map(|()| value));
        let read = match (checked, environment) {
            (Ok(value), Some(cap)) => {
                let text = self.platform.read(cap, definition.environment_bytes);
                text.and_then(check_environment).map(|text| (value, text))
            }
            (Ok(value), None) => Ok((value, Box::default())),
            (Err(error), environment) => {
                if let Some(cap) = environment {
                    self.platform.discard(cap);
                }
                Err(error)
            }
        };
        let (value, environment) = match read {
            Ok(read) => read,
            Err(error) => {
                self.platform.discard(code);
                return Err(error);
            }
        };
        let program = self.platform.load(code, definition, &environment)?;
        let settings = Settings {
            config: definition.config.clone(),
            handler: definition.handler.into(),
            environment,
            code_bytes: definition.code_bytes,
        };
        Ok((value, settings, program))
    }

    /// Deletes an action. What runs ends as it began; what waits is cancelled.
    ///
    /// # Errors
    /// [`FaasError::UnknownAction`].
    pub fn delete(&mut self, name: &[u8]) -> Result<(), FaasError> {
        let id = self.find(name)?;
        self.end_idle_of(id);
        while let Some(index) = self
            .actions
            .get(id)
            .map(|action| action.waiting.first)
            .filter(|first| *first != NONE)
        {
            self.unlink(id, index);
            self.settle(index, Err(FaasError::Cancelled));
        }
        if let Some(action) = self.actions.remove(id) {
            self.platform.unload(action.program);
        }
        self.serve_waiting();
        Ok(())
    }

    /// What is known about an action.
    ///
    /// # Errors
    /// [`FaasError::UnknownAction`].
    pub fn describe(&mut self, name: &[u8]) -> Result<ActionInfo, FaasError> {
        let id = self.find(name)?;
        self.actions
            .get(id)
            .map(|action| action.info())
            .ok_or(FaasError::UnknownAction)
    }

    /// The first name of an action that sorts behind `after`.
    pub fn name_behind(&self, after: &str) -> Option<String> {
        self.actions.name_behind(after).map(String::from)
    }

    fn find(&mut self, name: &[u8]) -> Result<ActionId, FaasError> {
        faas::check_name(name)?;
        self.actions.find(name).ok_or(FaasError::UnknownAction)
    }

    fn end_idle_of(&mut self, id: ActionId) {
        while let Some(place) = self
            .actions
            .get(id)
            .map(|action| action.idle)
            .filter(|place| *place != NONE)
        {
            self.end_worker(place);
        }
    }
}

fn check_definition(definition: &Definition<'_>) -> Result<(), FaasError> {
    let config = &definition.config;
    config.check()?;
    if config.mode == StartMode::Snapshot {
        return Err(FaasError::Unsupported(
            "start mode snapshot; use boot or warm".into(),
        ));
    }
    if definition.handler.len() > HANDLER_MAX
        || (config.runtime == Runtime::Native && !definition.handler.is_empty())
    {
        return Err(FaasError::InvalidConfig(ConfigField::Handler));
    }
    if definition.environment_bytes > ENVIRONMENT_MAX {
        return Err(FaasError::EnvironmentTooLarge {
            length: definition.environment_bytes,
        });
    }
    if definition.code_bytes == 0 {
        return Err(FaasError::InvalidImage(ImageFault::Empty));
    }
    Ok(())
}

/// `NAME=value` strings, each ended by a zero byte.
fn check_environment(text: Box<[u8]>) -> Result<Box<[u8]>, FaasError> {
    let entries = text
        .strip_suffix(&[0])
        .into_iter()
        .flat_map(|text| text.split(|byte| *byte == 0));
    let ends = text.is_empty() || text.ends_with(&[0]);
    let mut fine = ends;
    for entry in entries {
        fine &= core::str::from_utf8(entry).is_ok_and(|entry| entry.find('=').is_some_and(|at| at > 0));
    }
    if fine {
        Ok(text)
    } else {
        Err(FaasError::InvalidConfig(ConfigField::Environment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_are_named_strings() {
        for text in ["", "A=1\0", "A=1\0LONG=a=b\0", "A=\0"] {
            assert!(check_environment(text.as_bytes().into()).is_ok(), "{text:?}");
        }
        for text in ["A=1", "A\0", "=1\0", "\0", "A=1\0\0", "A=1\0B"] {
            let result = check_environment(text.as_bytes().into());
            assert_eq!(
                result,
                Err(FaasError::InvalidConfig(ConfigField::Environment)),
                "{text:?}"
            );
        }
        assert!(check_environment(b"A=\xff\0"[..].into()).is_err());
    }
}
