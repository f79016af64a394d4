//! The registry: gives clients a core, and looks after the threads there.

use crate::runtimes::Runtimes;
use crate::seat::{self, OPEN, SeatSlots, Setup};
use crate::{SEAT_PRIORITY, StartError, failed};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::panic::PanicInfo;
use interfaces::faas::{
    FaasError, Registration, Registry as Protocol, RegistryInterface, RegistryReply, RegistryStatus,
};
use l4::exception::ExceptionFrame;
use l4::object::{Factory, Placement, Task};
use l4::protocol::EXCEPTION;
use l4::{CapIndex, Error, NEVER, Tag, Utcb, syscall, utcb};
use l4_rpc::{Caller, Cap, Incoming, Reply};
use l4re::server::{self, Service};
use l4re::thread::{Builder, JoinHandle};
use l4re::{OwnedCap, Slot, clock, println, start};
use manager::label::Sender;
use manager::limits::{Limits, table_bytes};
use manager::options::Options;
use manager::seats::Seats;

/// Label of registrations.
pub(crate) const REGISTRY_LABEL: u64 = 0x10;
/// Label of faults of the seats' threads; the seat's number stands above.
const FAULT_LABEL: u64 = 0x20;
const SEAT_SHIFT: u32 = 8;

/// Word of a seat thread's UTCB that holds the seat's number plus one.
const SEAT_WORD: usize = utcb::TLS_WORD + 1;
const SEAT_STACK: u64 = 128 << 10;
/// Memory that the manager keeps for itself, in all and for each seat.
const OWN_MEMORY: u64 = 2 << 20;
const SEAT_MEMORY: u64 = 1 << 20;
/// How long a registration waits for a core that a client who is gone gives back.
const CORE_PATIENCE_NS: u64 = 50_000_000;
/// How long it waits for the memory of such a client, which is taken apart in the background.
const MEMORY_PATIENCE_NS: u64 = 2_000_000_000;
/// How often it looks.
const LOOK_NS: u64 = 1_000_000;
/// How long a seat's thread may take to get ready.
const OPEN_NS: u64 = 1_000_000_000;

static SEATS: spin::Once<Seats> = spin::Once::new();

/// A seat's thread and what it shares with the registry.
struct SeatThread {
    handle: JoinHandle,
    slots: SeatSlots,
}

/// A client that waits for a core that another one may be giving back.
struct Waiting {
    caller: OwnedCap,
    since: u64,
}

pub(crate) struct Registry {
    seats: &'static Seats,
    threads: Vec<Option<SeatThread>>,
    client_memory: u64,
    runtimes: &'static Runtimes,
    show_logs: bool,
    spares: bool,
    /// Where seats' threads' faults go.
    fault_gate: OwnedCap,
    /// The seat whose capabilities are on their way to its client.
    offered: Option<SeatSlots>,
    /// Who wants a core and will have an answer soon.
    waiting: Vec<Waiting>,
    next_look: u64,
}

impl Registry {
    /// The registry for these CPUs. Threads are made when their seats are first taken.
    pub(crate) fn new(cpus: u64, options: &Options) -> Result<Registry, StartError> {
        let seats = SEATS.call_once(|| Seats::new(cpus, options.clients_per_cpu));
        let info = Factory(CapIndex::FACTORY)
            .info()
            .map_err(failed("asking for the memory left"))?;
        let count = seats.len() as u64;
        let left = info
            .limit
            .saturating_sub(info.used + OWN_MEMORY + count * SEAT_MEMORY);
        start::set_panic_hook(on_panic);
        Ok(Registry {
            seats,
            threads: (0..seats.len()).map(|_| None).collect(),
            client_memory: options.client_memory.unwrap_or(left / count),
            runtimes: Box::leak(Box::new(Runtimes::from_rom())),
            show_logs: options.show_logs,
            spares: options.spares,
            fault_gate: server::create_gate(FAULT_LABEL).map_err(failed("creating the fault gate"))?,
            offered: None,
            waiting: Vec::new(),
            next_look: NEVER,
        })
    }

    /// Gives a client a core, unless none is free.
    fn try_register(&mut self) -> Result<Registration, FaasError> {
        self.withdraw();
        self.repair();
        let limit = self.seats.in_service() as u64;
        let index = self.seats.take().ok_or(FaasError::TooManyClients { limit })?;
        self.open(index).inspect_err(|_| {
            self.seats.give_back(index);
        })
    }

    /// Answers those who wait and can have a core now, or have waited for too long.
    fn look(&mut self) {
        let utcb = Utcb::current();
        for Waiting { caller, since } in core::mem::take(&mut self.waiting) {
            let result = self.try_register();
            let patience = match result {
                Err(FaasError::TooManyClients { .. }) => CORE_PATIENCE_NS,
                Err(FaasError::OutOfMemory) => MEMORY_PATIENCE_NS,
                _ => 0,
            };
            if clock::now_ns() < since + patience {
                self.waiting.push(Waiting { caller, since });
                continue;
            }
            server::answer(caller, RegistryReply::register(utcb, result.as_ref()));
        }
        self.withdraw();
        self.next_look = if self.waiting.is_empty() {
            NEVER
        } else {
            clock::after(LOOK_NS)
        };
    }

    /// Cleans up after seats whose threads ended, so that new threads can take their places.
    fn repair(&mut self) {
        for (index, place) in self.threads.iter_mut().enumerate() {
            if !self.seats.is_broken(index) {
                continue;
            }
            if let Some(SeatThread { handle, slots }) = place.take() {
                let _ = handle.join();
                // The account pays for the client's gate and workers, so nobody waits for the dead thread any more.
                let _ = Task(CapIndex::TASK).delete(slots.account);
                for cap in [slots.gate, slots.account, slots.client, slots.scheduler] {
                    drop(OwnedCap::adopt(cap));
                }
            }
            self.seats.repair(index);
        }
    }

    /// Has a seat make what its client gets.
    fn open(&mut self, index: usize) -> Result<Registration, FaasError> {
        let cpu = self.seats.cpu(index).unwrap_or(0);
        let slots = self.thread(index, cpu)?;
        let own = self.client_memory - table_bytes(self.client_memory);
        Factory(CapIndex::FACTORY).create_factory(own, slots.account)?;
        let opened = syscall::call_until(slots.gate, Tag::new(OPEN, 0, 0), clock::after(OPEN_NS)).result();
        if let Err(error) = opened {
            let _ = Task(CapIndex::TASK).delete(slots.account);
            return Err(error.into());
        }
        self.offered = Some(slots);
        Ok(Registration {
            client: Cap::new(slots.client).granted(),
            scheduler: Cap::new(slots.scheduler).granted(),
            cpu,
        })
    }

    /// What the seat's thread shares with the registry; the thread is made if there is none.
    fn thread(&mut self, index: usize, cpu: u32) -> Result<SeatSlots, FaasError> {
        if let Some(thread) = &self.threads[index] {
            return Ok(thread.slots);
        }
        // Who calls before the thread has bound the gate is to come with the same label.
        let label = Sender::Registry.label();
        let gate = Slot::fill(|slot| Factory(CapIndex::FACTORY).create_gate(label, CapIndex::NONE, slot))?;
        let (account, client, scheduler) = (Slot::allocate()?, Slot::allocate()?, Slot::allocate()?);
        let slots = SeatSlots {
            gate: gate.leak(),
            account: account.filled().leak(),
            client: client.filled().leak(),
            scheduler: scheduler.filled().leak(),
        };
        let mut limits = Limits::of_client(self.client_memory, self.seats.len());
        if !self.spares {
            limits.spare_memory = 0;
        }
        let setup = Setup {
            index,
            cpu,
            slots,
            limits,
            runtimes: self.runtimes,
            show_logs: self.show_logs,
        };
        let builder = Builder {
            placement: Placement {
                cpu,
                priority: SEAT_PRIORITY,
                slice_us: 0,
            },
            stack_size: SEAT_STACK,
            handler: self.fault_gate.index(),
            handler_label: FAULT_LABEL | (index as u64) << SEAT_SHIFT,
            ..Builder::default()
        };
        let handle = builder.spawn(move || run_seat(setup))?;
        self.threads[index] = Some(SeatThread { handle, slots });
        Ok(slots)
    }

    /// A seat's thread faulted: it ends, and its client gets errors. Others notice nothing.
    fn fault(&mut self, label: u64, incoming: &Incoming, utcb: &Utcb) -> Reply {
        if incoming.tag().label() == EXCEPTION {
            let seat = (label >> SEAT_SHIFT) as usize;
            let mut words = [0; ExceptionFrame::WORDS];
            utcb.read(0, &mut words);
            let frame = ExceptionFrame::from_words(&words);
            println!(
                "the thread of seat {seat} crashed: vector {}, address {:#x}, instruction {:#x}",
                frame.vector, frame.address, frame.rip
            );
            self.seats.retire(seat);
        }
        Reply::error(Error::NotPermitted)
    }
}

impl Protocol for Registry {
    fn register(&mut self, _: Caller, _: &Utcb) -> Reply {
        // What follows makes system calls, and may take a moment.
        match server::keep_caller() {
            Ok(caller) => {
                self.waiting.push(Waiting {
                    caller,
                    since: clock::now_ns(),
                });
                self.look();
                Reply::Deferred
            }
            Err(error) => Reply::error(error),
        }
    }

    fn status(&mut self, _: Caller) -> Result<RegistryStatus, FaasError> {
        let taken = self.seats.taken();
        Ok(RegistryStatus {
            clients: taken as u64,
            free_cores: (self.seats.in_service() - taken) as u64,
        })
    }
}

impl Registry {
    /// Drops what a client was to get. Where it got it, the slots are empty; where it did not, the seat sees that nobody
    /// has the client's gate.
    fn withdraw(&mut self) {
        if let Some(slots) = self.offered.take() {
            for slot in [slots.client, slots.scheduler] {
                let _ = Task(CapIndex::TASK).drop_cap(slot);
            }
        }
    }
}

impl Service for Registry {
    fn serve(&mut self, incoming: &Incoming, utcb: &Utcb) -> Reply {
        match incoming.caller().label {
            REGISTRY_LABEL => RegistryInterface::dispatch(self, incoming, utcb),
            label if label & FAULT_LABEL != 0 => self.fault(label, incoming, utcb),
            _ => Reply::error(Error::BadProtocol),
        }
    }

    fn deadline(&self) -> u64 {
        self.next_look
    }

    fn timeout(&mut self) {
        self.look();
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} client{} possible, {} MiB for each",
            self.seats.len(),
            if self.seats.len() == 1 { "" } else { "s" },
            self.client_memory >> 20
        )
    }
}

/// A seat's thread.
fn run_seat(setup: Setup) {
    Utcb::current().set_word(SEAT_WORD, setup.index as u64 + 1);
    if let Err(error) = seat::serve(setup, vacated) {
        println!("seat {} can't be set up: {error}", setup.index);
    }
    retire(setup.index);
}

fn vacated(index: usize) {
    if let Some(seats) = SEATS.get() {
        seats.give_back(index);
    }
}

fn retire(index: usize) {
    if let Some(seats) = SEATS.get() {
        seats.retire(index);
    }
}

/// A thread that panics ends, and its seat is out of service until the registry cleans up.
fn on_panic(info: &PanicInfo<'_>) {
    println!("{info}");
    if let Some(index) = Utcb::current().word(SEAT_WORD).checked_sub(1) {
        retire(index as usize);
    }
}
