//! Operations of gates, for who has the server right.

use super::call::{Call, DONE, Outcome};
use super::factory::gate_label;
use crate::objects::Gate;
use crate::thread::Thread;
use l4::protocol::gate;
use l4::{Error, Rights};

pub(super) fn operate(call: &Call) -> Result<Outcome, Error> {
    let target = call.object::<Gate>()?;
    call.need(Rights::SERVER)?;
    match call.word(0)? {
        gate::BIND => {
            let label = gate_label(call.word(1)?)?;
            let thread = call.argument::<Thread>(2, Rights::STRONG)?;
            Gate::bind(target, label, thread).and(DONE)
        }
        gate::GET_INFO => {
            let own = call.capability.label;
            call.answer(&[if own == 0 { target.label() } else { own }])
        }
        _ => Err(Error::NoSystemCall),
    }
}
