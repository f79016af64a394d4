//! Preparations: functions on their way to being images.

use crate::action::{ActionId, Actions, Settings};
use alloc::string::String;
use l4::CapIndex;

/// What an image is prepared for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An action that is being created.
    Create {
        /// Its name.
        name: String,
        /// Answers the request.
        reply: CapIndex,
    },
    /// The next version of an action.
    Update {
        /// The action.
        id: ActionId,
        /// Answers the request.
        reply: CapIndex,
    },
    /// An action whose image was given up.
    Rebuild {
        /// The action.
        id: ActionId,
        /// Its version.
        version: u32,
    },
}

impl Purpose {
    /// The action, if it exists already.
    pub fn action(&self) -> Option<ActionId> {
        match self {
            Purpose::Create { .. } => None,
            Purpose::Update { id, .. } | Purpose::Rebuild { id, .. } => Some(*id),
        }
    }
}

/// A function on its way to being an image.
#[derive(Debug)]
pub struct Preparation<Program, Memory> {
    /// What for.
    pub purpose: Purpose,
    /// Settings and program of what does not exist yet; those of a [`Purpose::Rebuild`] are the action's.
    pub new: Option<(Settings, Program)>,
    /// The worker, once there is memory for it.
    pub worker: Option<u16>,
    /// The runtime that the worker began from, if that was started ahead.
    pub layer: Option<Memory>,
    /// It starts the runtime itself, as it lacked memory upon one that was started ahead.
    pub is_alone: bool,
    /// When it began, in nanoseconds of the kernel clock.
    pub since: u64,
    /// When it must be done.
    pub deadline: u64,
}

impl<Program, Memory> Preparation<Program, Memory> {
    /// Settings and program of what is prepared: new ones, or those of one of these actions.
    pub fn of<'a>(&'a self, actions: &'a Actions<Program>) -> Option<(&'a Settings, &'a Program)> {
        match &self.new {
            Some((settings, program)) => Some((settings, program)),
            None => {
                let action = actions.get(self.purpose.action()?)?;
                Some((&action.settings, &action.program))
            }
        }
    }
}
