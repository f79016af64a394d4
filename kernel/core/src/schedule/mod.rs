//! Which thread runs: per CPU 256 priorities, round robin inside one, direct handoff to the partner of an IPC.

mod cpu_time;
mod idle;
mod run_queue;
mod switch;

pub(crate) use cpu_time::CpuTime;
pub(crate) use idle::poked;
pub(crate) use run_queue::RunQueue;
pub(crate) use switch::{
    begin, expect_work, freeze, place, remove, run_next, set_reaper_timer, switch_before_others,
    switch_directly, thaw, tick, wake, yield_slice,
};
