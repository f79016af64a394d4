//! Operations of snapshots, and the one that makes a task one.

use super::call::{Call, Outcome};
use super::{spawn, spawn_gate, storing};
use crate::capability::{Slot, SlotState};
use crate::object::Ref;
use crate::objects::{Snapshot, Task};
use crate::reaper;
use l4::protocol::snapshot;
use l4::{Error, Rights};

pub(super) fn operate(call: &Call) -> Result<Outcome, Error> {
    let target = call.object::<Snapshot>()?;
    match call.word(0)? {
        snapshot::SPAWN => {
            call.need(Rights::STRONG)?;
            spawn::spawn(call, target)
        }
        snapshot::PREPARE => {
            call.need(Rights::STRONG)?;
            let done = target.prepare(&mut { reaper::BUDGET })?;
            Ok(Outcome::Done {
                value: i64::from(done),
                words: 0,
            })
        }
        snapshot::INFO => {
            let info = target.info();
            call.answer(&[
                u64::from(info.ready),
                info.size.pages,
                info.size.tables,
                u64::from(info.depth),
                info.written,
            ])
        }
        snapshot::BIND => {
            call.need(Rights::STRONG)?;
            spawn_gate::bind(call, target)
        }
        snapshot::RECORD => {
            call.need(Rights::STRONG)?;
            record(call, target)
        }
        snapshot::REGISTERS | snapshot::REGION | snapshot::PAGES | snapshot::SLOT => {
            call.need(Rights::STRONG)?;
            storing::read(call, target)
        }
        _ => Err(Error::NoSystemCall),
    }
}

/// Says whose pages later clones are to begin with: those of the clone that word 1 names, or of the next ones, as many as word 4
/// says, that answer with the label and first word in words 2 and 3.
fn record(call: &Call, target: Ref<Snapshot>) -> Result<Outcome, Error> {
    if !target.is_ready() {
        return Err(Error::Again);
    }
    let pages = match call.optional::<Task>(1, Rights::STRONG)? {
        Some(clone) => target.record(clone)?,
        None => {
            let clones = u32::try_from(call.word(4)?).map_err(|_| Error::Invalid)?;
            if clones == 0 {
                return Err(Error::Invalid);
            }
            target.record_answers((call.word(2)? as i64, call.word(3)?), clones)?;
            0
        }
    };
    Ok(Outcome::Done {
        value: pages as i64,
        words: 0,
    })
}

/// Makes a task a snapshot: word 1 is the slot of the reply capability for its thread's call, or of the thread itself if that
/// got the registers of one that waits.
pub(super) fn freeze(call: &Call, task: Ref<Task>) -> Result<Outcome, Error> {
    call.need(Rights::WRITE | Rights::DELETE)?;
    let own = call.task();
    let (thread, number) = match own.caps.slot(call.slot(1)?).map(Slot::read) {
        Some(SlotState::Reply(caller, number)) => (caller, Some(number)),
        Some(SlotState::Object(_)) => (call.argument(1, Rights::STRONG)?, None),
        _ => return Err(Error::NotFound),
    };
    call.create(|| Snapshot::create(task, thread, number))
}
