//! Actions: functions under a name.

use crate::slab::Slab;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use core::ops::Bound;
use interfaces::faas::{ActionConfig, ActionInfo, FreezeFault, ImageState, RestoreFault};
use interfaces::manifest::StartMode;

/// "No entry" in a link.
pub const NONE: u16 = u16::MAX;

/// Which action: its place, and its serial number, so that a successor at the same place is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionId {
    /// Place in the table.
    pub index: u16,
    /// Counts the actions of a client.
    pub serial: u32,
}

impl ActionId {
    /// No action.
    pub const NONE: ActionId = ActionId {
        index: NONE,
        serial: 0,
    };
}

/// What an action's workers begin from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageUse {
    /// The file, as the configuration says.
    Unwanted,
    /// The file, as the function can't be frozen.
    Impossible(FreezeFault),
    /// An image, which there is none of now.
    Evicted,
    /// An image that is being prepared again.
    Preparing,
    /// The image at this place.
    Ready(u16),
}

/// What a client says of an action, code aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How it runs.
    pub config: ActionConfig,
    /// The handler inside the code, or "".
    pub handler: String,
    /// Variables of its workers: `NAME=value` strings, each ended by a zero byte.
    pub environment: Box<[u8]>,
    /// Length of the code in bytes.
    pub code_bytes: u64,
}

impl Settings {
    /// Whether workers are to begin from an image.
    pub fn wants_image(&self) -> bool {
        self.config.mode != Some(StartMode::Boot)
    }
}

/// A function under a name, and what is going on with it.
#[derive(Debug)]
pub struct Action<Program> {
    /// Its number.
    pub serial: u32,
    /// Its name.
    pub name: String,
    /// 1 when created, one more with each update.
    pub version: u32,
    /// When this version was created, in nanoseconds of the kernel clock.
    pub created_ns: u64,
    /// Its settings.
    pub settings: Settings,
    /// Its code, ready to be started.
    pub program: Program,
    /// What its workers begin from.
    pub image: ImageUse,
    /// Activations that run.
    pub running: u32,
    /// Activations that wait, linked through their `next`.
    pub waiting: Waiting,
    /// It stands in the list of those with waiting activations.
    pub is_listed: bool,
    /// Idle worker that became idle last; others are linked behind it.
    pub idle: u16,
    /// Idle workers.
    pub idle_count: u32,
    /// Invocations that gave a result.
    pub succeeded: u64,
    /// Invocations that gave an error.
    pub failed: u64,
    /// How many of both did without the manager.
    pub answered_directly: u64,
}

impl<Program> Action<Program> {
    /// What clients are told about it, `image` being the state of its image, and `unused_snapshot` why its stored one is not used.
    pub fn info(&self, image: ImageState, unused_snapshot: Option<RestoreFault>) -> ActionInfo {
        ActionInfo {
            config: self.settings.config.clone(),
            version: self.version,
            code_bytes: self.settings.code_bytes,
            created_ns: self.created_ns,
            succeeded: self.succeeded,
            failed: self.failed,
            running: self.running,
            queued: self.waiting.length,
            idle_workers: self.idle_count,
            image,
            answered_directly: self.answered_directly,
            unused_snapshot,
        }
    }
}

/// A queue's ends and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Next to run.
    pub first: u16,
    /// Last to run.
    pub last: u16,
    /// How many.
    pub length: u32,
}

impl Default for Waiting {
    fn default() -> Waiting {
        Waiting {
            first: NONE,
            last: NONE,
            length: 0,
        }
    }
}

/// The actions of a client.
#[derive(Debug)]
pub struct Actions<Program> {
    table: Slab<Action<Program>>,
    /// Their places by their names.
    names: BTreeMap<Box<[u8]>, u16>,
    /// Length of all environments together in bytes.
    environments: u64,
    next_serial: u32,
    /// Where the last search ended: most clients ask for the same action again.
    last_found: u16,
}

impl<Program> Actions<Program> {
    /// No actions, and room for `limit`.
    pub fn new(limit: u16) -> Actions<Program> {
        Actions {
            table: Slab::new(limit),
            names: BTreeMap::new(),
            environments: 0,
            next_serial: 0,
            last_found: 0,
        }
    }

    /// Adds an action.
    ///
    /// # Errors
    /// The program, if there is no room.
    pub fn insert(
        &mut self,
        name: &str,
        settings: Settings,
        program: Program,
        created_ns: u64,
    ) -> Result<ActionId, Program> {
        self.next_serial += 1;
        let serial = self.next_serial;
        let environment = settings.environment.len() as u64;
        let action = Action {
            serial,
            name: name.into(),
            version: 1,
            created_ns,
            settings,
            program,
            image: ImageUse::Unwanted,
            running: 0,
            waiting: Waiting::default(),
            is_listed: false,
            idle: NONE,
            idle_count: 0,
            succeeded: 0,
            failed: 0,
            answered_directly: 0,
        };
        match self.table.insert(action) {
            Ok(index) => {
                self.names.insert(name.as_bytes().into(), index);
                self.environments += environment;
                Ok(ActionId { index, serial })
            }
            Err(action) => Err(action.program),
        }
    }

    /// Finds an action by its name.
    #[inline]
    pub fn find(&mut self, name: &[u8]) -> Option<ActionId> {
        let index = self.last_found;
        match self.table.get(index) {
            Some(action) if action.name.as_bytes() == name => Some(ActionId {
                index,
                serial: action.serial,
            }),
            _ => self.look_up(name),
        }
    }

    fn look_up(&mut self, name: &[u8]) -> Option<ActionId> {
        self.last_found = *self.names.get(name)?;
        self.at(self.last_found)
    }

    /// The first name that sorts behind `after`.
    pub fn name_behind(&self, after: &str) -> Option<&str> {
        let behind = (Bound::Excluded(after.as_bytes()), Bound::Unbounded);
        let (_, index) = self.names.range::<[u8], _>(behind).next()?;
        self.table.get(*index).map(|action| action.name.as_str())
    }

    /// The action, unless it was deleted.
    pub fn get(&self, id: ActionId) -> Option<&Action<Program>> {
        self.table
            .get(id.index)
            .filter(|action| action.serial == id.serial)
    }

    /// The action, unless it was deleted.
    pub fn get_mut(&mut self, id: ActionId) -> Option<&mut Action<Program>> {
        self.table
            .get_mut(id.index)
            .filter(|action| action.serial == id.serial)
    }

    /// Takes an action out.
    pub fn remove(&mut self, id: ActionId) -> Option<Action<Program>> {
        self.get(id)?;
        let action = self.table.remove(id.index)?;
        self.names.remove(action.name.as_bytes());
        self.environments -= action.settings.environment.len() as u64;
        Some(action)
    }

    /// Gives an action other settings.
    pub fn configure(&mut self, id: ActionId, settings: Settings) {
        let length = settings.environment.len() as u64;
        if let Some(action) = self.get_mut(id) {
            let old = core::mem::replace(&mut action.settings, settings);
            self.environments = self.environments + length - old.environment.len() as u64;
        }
    }

    /// Length of all environments together in bytes.
    pub fn environments(&self) -> u64 {
        self.environments
    }

    /// All actions.
    pub fn iter(&self) -> impl Iterator<Item = (ActionId, &Action<Program>)> {
        self.table.iter().map(|(index, action)| {
            (
                ActionId {
                    index,
                    serial: action.serial,
                },
                action,
            )
        })
    }

    /// Places of the table: all actions are below.
    pub fn places(&self) -> u16 {
        self.table.places()
    }

    /// Gives the memory of the table back if there are none.
    pub fn shrink(&mut self) {
        self.table.shrink();
    }

    /// The action at a place of the table.
    pub fn at(&self, index: u16) -> Option<ActionId> {
        self.table.get(index).map(|action| ActionId {
            index,
            serial: action.serial,
        })
    }

    /// Number of actions.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Tells whether there is no room for another action.
    pub fn is_full(&self) -> bool {
        self.table.is_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            config: ActionConfig::default(),
            handler: String::new(),
            environment: Box::default(),
            code_bytes: 1,
        }
    }

    #[test]
    fn a_successor_at_the_same_place_is_another_action() {
        let mut actions = Actions::new(1);
        let first = actions.insert("a", settings(), (), 0).unwrap();
        assert!(actions.insert("b", settings(), (), 0).is_err() && actions.is_full());
        assert_eq!((actions.find(b"a"), actions.find(b"b")), (Some(first), None));
        actions.remove(first).unwrap();
        assert!(actions.is_empty());
        let second = actions.insert("a", settings(), (), 0).unwrap();
        assert_eq!(second.index, first.index);
        assert!(actions.get(first).is_none() && actions.get_mut(first).is_none());
        assert!(actions.remove(first).is_none());
        assert_eq!(actions.find(b"a"), Some(second));
        assert_eq!((actions.iter().count(), actions.len()), (1, 1));
    }

    #[test]
    fn names_are_found_whatever_was_found_before() {
        let mut actions = Actions::new(4);
        let ids = ["one", "two", "three"].map(|name| actions.insert(name, settings(), (), 0).unwrap());
        for (name, id) in [("two", 1), ("two", 1), ("one", 0), ("three", 2)] {
            assert_eq!(actions.find(name.as_bytes()), Some(ids[id]));
        }
    }

    #[test]
    fn names_are_listed_in_order() {
        let mut actions = Actions::new(4);
        for name in ["b", "c", "a"] {
            actions.insert(name, settings(), (), 0).unwrap();
        }
        let mut names = std::vec::Vec::from([std::string::String::new()]);
        while let Some(name) = actions.name_behind(names.last().unwrap()) {
            names.push(name.into());
        }
        assert_eq!(names, ["", "a", "b", "c"]);
    }
}
