//! A seat's thread: serves one client after the other on its core.

use crate::CLIENT_PRIORITY;
use crate::machine::Machine;
use crate::requests::Handler;
use crate::runtimes::Runtimes;
use interfaces::faas::{ActionsInterface, SupervisorInterface};
use interfaces::parent::ParentInterface;
use l4::exception::ExceptionFrame;
use l4::object::{Factory, Irq, MapEntry, Scheduler, Task};
use l4::protocol::{EXCEPTION, PARENT, VCON, vcon};
use l4::{CapIndex, Error, Rights, Tag, Utcb};
use l4_rpc::{Incoming, Reply};
use l4re::{Slot, console, server, start};
use manager::label::{Sender, WorkerId};
use manager::limits::Limits;
use manager::service::Service;

/// Protocol between the registry and a seat; it stays inside the manager.
pub(crate) const OPEN: i64 = 0x6001;

/// Slots that a seat and the registry share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeatSlots {
    /// The gate by which the registry calls the seat, and, with other labels, the workers.
    pub(crate) gate: CapIndex,
    /// The client's account.
    pub(crate) account: CapIndex,
    /// The client gate that a new client is to get.
    pub(crate) client: CapIndex,
    /// The scheduler that a new client is to get.
    pub(crate) scheduler: CapIndex,
}

/// What a seat's thread starts with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) index: usize,
    pub(crate) cpu: u32,
    pub(crate) slots: SeatSlots,
    pub(crate) limits: Limits,
    pub(crate) runtimes: &'static Runtimes,
    pub(crate) show_logs: bool,
}

struct Seat {
    setup: Setup,
    service: Service<Machine>,
    /// The gate that the client's capability is derived from.
    client_gate: CapIndex,
    /// Tells that nobody holds such a capability any more.
    client_gone: CapIndex,
    /// Counts the seat's clients.
    clients: u32,
    is_open: bool,
}

/// Serves for ever; `vacated` is called each time a client is gone and everything of it is cleaned up.
///
/// # Errors
/// The kernel's, when the seat can't be set up.
pub(crate) fn serve(setup: Setup, vacated: fn(usize)) -> Result<(), Error> {
    let machine = Machine::new(setup.slots.gate, setup.limits.slots, setup.runtimes)?;
    let client_gate = Slot::allocate()?.filled().leak();
    let client_gone = Slot::allocate()?.filled().leak();
    let mut seat = Seat {
        setup,
        service: Service::new(machine, setup.limits),
        client_gate,
        client_gone,
        clients: 0,
        is_open: false,
    };
    server::bind_gate(setup.slots.gate, Sender::Registry.label())?;
    let mut incoming = Incoming::new();
    loop {
        let deadline = seat.service.wake_at();
        let received = seat.service.platform().wait(deadline);
        if received.tag.is_error() {
            // The deadline passed, or a message could not be taken in full: its sender knows.
            seat.service.on_time();
            continue;
        }
        let sender = Sender::parse(received.label);
        if let Some(Sender::ClientGone(client)) = sender {
            // Only the kernel sends with this label. A notice of an earlier client may come late.
            if client == seat.clients {
                seat.close(vacated);
            }
            continue;
        }
        let offered = seat.service.platform().offered();
        incoming.load(Utcb::current(), received, &offered);
        let reply = seat.service.platform().take_reply();
        let outcome = seat.dispatch(sender, &incoming, reply);
        if let Reply::Now(tag) = outcome {
            seat.service.platform().answer_message(reply, tag);
        }
        if received.tag.items() > 0 {
            seat.service
                .platform()
                .take_caps(incoming.slots(), incoming.caps_taken());
        }
    }
}

impl Seat {
    fn dispatch(&mut self, sender: Option<Sender>, incoming: &Incoming, reply: CapIndex) -> Reply {
        let utcb = Utcb::current();
        let protocol = incoming.tag().label();
        match sender {
            Some(Sender::Client) => {
                let mut handler = Handler {
                    service: &mut self.service,
                    worker: None,
                    reply,
                };
                ActionsInterface::dispatch(&mut handler, incoming, utcb)
            }
            Some(Sender::Worker(id)) => {
                let mut handler = Handler {
                    service: &mut self.service,
                    worker: Some(id),
                    reply,
                };
                match protocol {
                    SupervisorInterface::PROTOCOL => {
                        SupervisorInterface::dispatch(&mut handler, incoming, utcb)
                    }
                    ActionsInterface::PROTOCOL => ActionsInterface::dispatch(&mut handler, incoming, utcb),
                    PARENT => ParentInterface::dispatch(&mut handler, incoming, utcb),
                    _ => Reply::error(Error::BadProtocol),
                }
            }
            Some(Sender::Log(id)) if protocol == VCON => self.log(id, incoming),
            Some(Sender::Fault(id)) if protocol == EXCEPTION => {
                let mut words = [0; ExceptionFrame::WORDS];
                utcb.read(0, &mut words);
                self.service
                    .worker_faulted(id, reply, &ExceptionFrame::from_words(&words));
                Reply::Deferred
            }
            Some(Sender::Registry) if protocol == OPEN => {
                let opened = self.open();
                Reply::Now(Tag::new(opened.map_or_else(Error::label, |()| 0), 0, 0))
            }
            _ => Reply::error(Error::BadProtocol),
        }
    }

    /// A worker writes to its log.
    fn log(&mut self, id: WorkerId, incoming: &Incoming) -> Reply {
        let text = match (incoming.word(0), incoming.word(1)) {
            (Ok(vcon::WRITE), Ok(length)) => usize::try_from(length)
                .ok()
                .and_then(|length| incoming.bytes().get(16..)?.get(..length)),
            _ => None,
        };
        match text {
            Some(text) if self.service.worker_logged(id, text) => {
                if self.setup.show_logs {
                    console::write(CapIndex::LOG, text);
                }
                Reply::Now(Tag::new(0, 0, 0))
            }
            _ => Reply::error(Error::Invalid),
        }
    }

    /// Makes what a client gets. It is all paid for by the client's account, so it goes with that.
    fn open(&mut self) -> Result<(), Error> {
        let SeatSlots {
            account,
            client,
            scheduler,
            ..
        } = self.setup.slots;
        let pays = Factory(account);
        pays.create_gate(Sender::Client.label(), start::current_thread(), self.client_gate)?;
        Scheduler(CapIndex::SCHEDULER).derive(account, 1 << self.setup.cpu, CLIENT_PRIORITY, scheduler)?;
        Task(CapIndex::TASK).map(&[MapEntry::copy(self.client_gate, client, Rights::CLIENT)])?;
        self.clients = self.clients.wrapping_add(1);
        let label = Sender::ClientGone(self.clients).label();
        pays.create_irq(label, start::current_thread(), self.client_gone)?;
        Irq(self.client_gone).watch(self.client_gate)?;
        self.service.platform().set_account(account);
        self.is_open = true;
        Ok(())
    }

    /// The client is gone: cleans up after it and makes the seat free.
    fn close(&mut self, vacated: fn(usize)) {
        if !core::mem::take(&mut self.is_open) {
            return;
        }
        self.service.close();
        self.service.platform().set_account(CapIndex::NONE);
        // Gate, scheduler and whatever workers left go with the account.
        let _ = Task(CapIndex::TASK).delete(self.setup.slots.account);
        vacated(self.setup.index);
    }
}
