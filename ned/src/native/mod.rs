//! The [`System`] of a real task.

mod launch;
mod service;
mod startup;
mod task;

pub(crate) use startup::adopt_environment;
pub(crate) use task::OwnTask;
