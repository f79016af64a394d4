//! Actions: create, update, delete, look.

use super::Service;
use crate::action::{ActionId, ImageUse, NONE, Settings};
use crate::platform::{Answer, GateLimits, Platform, StoredFile};
use crate::preparation::Purpose;
use alloc::boxed::Box;
use alloc::string::String;
use interfaces::faas::{
    self, ActionInfo, ConfigField, Definition, ENVIRONMENT_MAX, FaasError, ImageFault, ImageInfo, ImageState,
    OpenedAction, StoreFault,
};
use interfaces::manifest::{Runtime, StartMode};
use l4::{CapIndex, Rights};
use l4_rpc::Cap;

/// Longest name of a handler in bytes: the answer that tells it to a worker must fit into a message.
const HANDLER_MAX: usize = 128;

impl<P: Platform> Service<P> {
    /// Creates an action, and answers when it can be invoked. `code`, `environment` and `stored`, a snapshot to begin from, are
    /// used up. The errors are what is wrong with name, configuration, code, environment or a snapshot that is required, what
    /// went wrong when it was prepared,
    /// [`FaasError::ActionExists`], [`FaasError::TooManyActions`]; nothing is left then.
    pub fn create(
        &mut self,
        definition: &Definition<'_>,
        code: CapIndex,
        environment: Option<CapIndex>,
        stored: Option<StoredFile>,
        reply: CapIndex,
    ) {
        let stored = match stored {
            // Nothing would ever begin from it.
            Some(unneeded) if definition.config.mode == Some(StartMode::Boot) => {
                self.platform.discard(unneeded.file);
                None
            }
            stored => stored,
        };
        let allowed =
            faas::check_name(definition.name).and_then(|name| self.allow_action(name).map(|()| name));
        match self.load(allowed, definition, (code, environment, stored)) {
            Ok((name, settings, program)) if settings.wants_image() => {
                let name = name.into();
                self.prepare(Purpose::Create { name, reply }, Some((settings, program)));
            }
            Ok((name, settings, program)) => {
                let created = self.insert_action(name, settings, program);
                self.platform
                    .answer(reply, Answer::Created(created.as_ref().map(drop)));
            }
            Err(error) => self.platform.answer(reply, Answer::Created(Err(&error))),
        }
        self.serve_waiting();
    }

    /// Whether an action of this name can be made.
    fn allow_action(&mut self, name: &str) -> Result<(), FaasError> {
        if self.actions.find(name.as_bytes()).is_some() {
            return Err(FaasError::ActionExists);
        }
        if self.actions.is_full() {
            return Err(self.too_many_actions());
        }
        Ok(())
    }

    fn too_many_actions(&self) -> FaasError {
        FaasError::TooManyActions {
            limit: u64::from(self.limits.actions),
        }
    }

    /// Makes an action. The program is used up.
    ///
    /// # Errors
    /// Another one of this name was made meanwhile, or there is no room.
    pub(super) fn insert_action(
        &mut self,
        name: &str,
        settings: Settings,
        program: P::Program,
    ) -> Result<ActionId, FaasError> {
        if let Err(error) = self.allow_action(name) {
            self.platform.unload(program);
            return Err(error);
        }
        let now = self.platform.now();
        match self.actions.insert(name, settings, program, now) {
            Ok(id) => Ok(id),
            Err(program) => {
                self.platform.unload(program);
                Err(self.too_many_actions())
            }
        }
    }

    /// Gives an action new code and a new configuration, and answers with its new version; `code` and `environment` are
    /// used up. What runs ends as it began; what waits runs the new version. The errors are those of
    /// [`Service::create`], and [`FaasError::UnknownAction`]; the action is as it was then.
    pub fn update(
        &mut self,
        definition: &Definition<'_>,
        code: CapIndex,
        environment: Option<CapIndex>,
        reply: CapIndex,
    ) {
        let found = self.find(definition.name);
        match self.load(found, definition, (code, environment, None)) {
            Ok((id, settings, program)) if settings.wants_image() => {
                self.prepare(Purpose::Update { id, reply }, Some((settings, program)));
            }
            Ok((id, settings, program)) => {
                let updated = self.replace(id, settings, program);
                self.platform
                    .answer(reply, Answer::Updated(updated.as_ref().copied()));
                self.serve(id);
            }
            Err(error) => self.platform.answer(reply, Answer::Updated(Err(&error))),
        }
        self.serve_waiting();
    }

    /// Replaces an action's code and configuration; it has no image then. The program is used up.
    ///
    /// # Errors
    /// It was deleted meanwhile.
    pub(super) fn replace(
        &mut self,
        id: ActionId,
        settings: Settings,
        program: P::Program,
    ) -> Result<u32, FaasError> {
        let now = self.platform.now();
        let Some(action) = self.actions.get_mut(id) else {
            self.platform.unload(program);
            return Err(FaasError::UnknownAction);
        };
        let old = core::mem::replace(&mut action.program, program);
        let image = core::mem::replace(&mut action.image, ImageUse::Unwanted);
        action.created_ns = now;
        action.version += 1;
        let version = action.version;
        self.actions.configure(id, settings);
        self.platform.unload(old);
        if let ImageUse::Ready(index) = image {
            self.retire_image(index);
        }
        self.end_idle_of(id);
        Ok(version)
    }

    /// Loads code and environment if it is `allowed`; both are used up in any case.
    fn load<T>(
        &mut self,
        allowed: Result<T, FaasError>,
        definition: &Definition<'_>,
        (code, environment, stored): (CapIndex, Option<CapIndex>, Option<StoredFile>),
    ) -> Result<(T, Settings, P::Program), FaasError> {
        let checked = allowed.and_then(|value| {
            check_definition(definition)?;
            let environments = self.actions.environments() + definition.environment_bytes;
            if environments > self.limits.environments {
                return Err(FaasError::OutOfMemory);
            }
            Ok(value)
        });
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
                if let Some(stored) = stored {
                    self.platform.discard(stored.file);
                }
                return Err(error);
            }
        };
        let program = self.platform.load(code, definition, &environment, stored)?;
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
            if action.is_listed {
                self.queued.retain(|listed| *listed != id);
            }
            self.drop_image_of(&action);
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
        if let Some(ImageUse::Ready(index)) = self.actions.get(id).map(|action| action.image) {
            self.count_direct_calls(index);
        }
        let action = self.actions.get(id).ok_or(FaasError::UnknownAction)?;
        let unused = self.platform.unused_snapshot(&action.program);
        let image = match action.image {
            ImageUse::Unwanted => ImageState::File,
            ImageUse::Impossible(fault) => ImageState::NotFreezable(fault),
            ImageUse::Evicted => ImageState::Evicted,
            ImageUse::Preparing => ImageState::Preparing,
            ImageUse::Ready(index) => match self.images.get(index) {
                Some(image) => ImageState::Ready(ImageInfo {
                    written: self.platform.written(&image.frozen.memory),
                    ..image.frozen.info
                }),
                None => ImageState::Evicted,
            },
        };
        Ok(action.info(image, unused))
    }

    /// Writes an action's image to a dataspace, which is used up, and returns the length of it all. If that is more than the
    /// dataspace has, nothing was written.
    ///
    /// # Errors
    /// [`FaasError::UnknownAction`], [`FaasError::NotStorable`], [`FaasError::InvalidPayload`].
    pub fn store(&mut self, name: &[u8], into: CapIndex) -> Result<u64, FaasError> {
        let action = self.find(name).map(|id| self.actions.get(id));
        let image = action.and_then(|action| {
            let action = action.ok_or(FaasError::UnknownAction)?;
            let image = match action.image {
                ImageUse::Ready(index) => self.images.get(index),
                _ => None,
            };
            let image = image.ok_or(FaasError::NotStorable(StoreFault::NoSnapshot))?;
            Ok((&action.program, &image.frozen))
        });
        match image {
            Ok((program, frozen)) => self
                .platform
                .store(program, &frozen.memory, frozen.is_single, into),
            Err(error) => {
                self.platform.discard(into);
                Err(error)
            }
        }
    }

    /// A gate by which the client begins clones of an action's image itself, if there is an image now, workers serve one
    /// invocation each, and the client's account can pay for the gate.
    ///
    /// # Errors
    /// [`FaasError::UnknownAction`].
    pub fn open(&mut self, name: &[u8]) -> Result<OpenedAction, FaasError> {
        let id = self.find(name)?;
        let action = self.actions.get(id).ok_or(FaasError::UnknownAction)?;
        let config = &action.settings.config;
        let limits = GateLimits {
            memory: config.memory_bytes,
            timeout_ns: config.timeout_ns,
            concurrent: config.concurrent_requests,
            priority: config.priority,
        };
        let image = match action.image {
            ImageUse::Ready(index) if config.mode != Some(StartMode::Warm) => self.images.get_mut(index),
            _ => None,
        };
        // Without a gate the client's calls pass the manager, which may find memory.
        let gate = image.and_then(|image| self.platform.open(&mut image.frozen.memory, limits).ok());
        Ok(OpenedAction {
            gate: gate.map(|gate| Cap::new(gate).with_rights(Rights::CLIENT)),
            version: action.version,
            timeout_ns: limits.timeout_ns,
            memory_bytes: limits.memory,
        })
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
