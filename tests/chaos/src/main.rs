//! Random system calls: tasks without rights, and tasks with all rights to themselves, make random system calls with random
//! arguments. The kernel must live on, a neighbour must be right in all that it answers, and nothing must be lost.
//!
//! The root task starts the others, which are this program again with a role as their argument.
#![no_std]
#![no_main]

extern crate alloc;

mod attack;
mod child;

use alloc::format;
use attack::DONE;
use child::{Birth, Child};
use fastrand::Rng;
use l4::exception::ExceptionFrame;
use l4::object::{Counters, Debug, Factory, MapEntry, Placement, Platform, Scheduler};
use l4::protocol::EXCEPTION;
use l4::{CapIndex, Error, Rights, Tag, Utcb, syscall};
use l4re::{OwnedCap, Slot, clock, env, println, server, slots};

l4re::entry!(main);

/// Slots below it may be filled by the kernel.
const FIRST_FREE: CapIndex = CapIndex(0x40 + l4::archive::MAX_ENTRIES as u32);
/// The seed, unless the boot image names another (`seed=NUMBER`).
const SEED: u64 = 20_260_917;
/// System calls of the attackers without rights, all together.
const ROUNDS: u64 = 200_000;
/// The same before anything is counted.
const WARM_UP: u64 = 20_000;
const WARM_UP_OWNERS: u64 = 10;
/// Attackers with all rights to themselves, one after the other, and the system calls of each that lives so long.
const OWNERS: u64 = 60;
const OWNER_ROUNDS: u64 = 3_000;
/// Longest life of an attacker.
const PATIENCE_NS: u64 = 120_000_000_000;
/// Longest life of an attacker that may do to itself what it likes, for example wait for ever.
const OWNER_LIFE_NS: u64 = 300_000_000;
/// Time between two questions to the neighbour.
const LOOK_NS: u64 = 200_000;
/// How long the kernel may take to free what was destroyed.
const SETTLE_NS: u64 = 2_000_000_000;
const SETTLE_LOOK_NS: u64 = 1_000_000;

/// Labels of the root task's gates: ends of attackers, and their faults.
const ENDS: u64 = 0x10;
const FAULTS: u64 = 0x20;

/// The root task listens to attackers before anything else.
const ROOT_PRIORITY: u8 = 250;
const ECHO_PRIORITY: u8 = 200;
const ATTACK_PRIORITY: u8 = 20;

fn main() -> i64 {
    let mut arguments = env::args().skip(1);
    let role = arguments.next().unwrap_or_default();
    let mut number = || arguments.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    match role {
        "echo" => child::serve_echo().map_or(1, |()| 0),
        "attack" => attack::run(number(), number()),
        _ => control(role),
    }
}

/// What the root task does.
fn control(argument: &str) -> i64 {
    slots::reserve_below(FIRST_FREE);
    let seed = argument.strip_prefix("seed=").and_then(|text| text.parse().ok());
    let outcome = World::new(seed.unwrap_or(SEED)).and_then(|mut world| world.run());
    match &outcome {
        Ok(true) => println!("chaos: the kernel lives, the neighbour was right, nothing is lost"),
        Ok(false) => println!("chaos: FAILED"),
        Err(error) => println!("chaos: FAILED: {error}"),
    }
    let error = Platform(CapIndex::PLATFORM).power_off(matches!(outcome, Ok(true)));
    println!("chaos: the machine does not power off: {error}");
    1
}

/// What an attacker ended with.
enum End {
    /// It made all its calls: how many succeeded, were refused, and were not delivered.
    Done([u64; 3]),
    /// It did what no task may.
    Fault(ExceptionFrame),
    /// It lives on.
    Late,
}

struct World {
    seed: u64,
    /// Where the attackers' seeds come from.
    seeds: Rng,
    /// Where the questions to the neighbour come from.
    questions: Rng,
    cpus: u32,
    ends: OwnedCap,
    faults: OwnedCap,
    echo: OwnedCap,
    asked: u64,
    wrong: u64,
    _neighbour: Child,
}

impl World {
    fn new(seed: u64) -> Result<World, Error> {
        let scheduler = Scheduler(CapIndex::SCHEDULER);
        let cpus = scheduler.info()?.cpus.count_ones();
        scheduler.place(CapIndex::THREAD, place(0, ROOT_PRIORITY))?;
        let faults = server::create_gate(FAULTS)?;
        let echo = Slot::fill(|slot| Factory(CapIndex::FACTORY).create_gate(0, CapIndex::NONE, slot))?;
        let neighbour = Birth {
            arguments: &["chaos", "echo"],
            placement: place(cpus - 1, ECHO_PRIORITY),
            handler: faults.index(),
            gate: Some(echo.index()),
            own_rights: Rights::CLIENT,
            capabilities: &[],
        };
        Ok(World {
            seed,
            seeds: Rng::with_seed(seed),
            questions: Rng::with_seed(seed + 1),
            cpus,
            ends: server::create_gate(ENDS)?,
            _neighbour: neighbour.start()?,
            faults,
            echo,
            asked: 0,
            wrong: 0,
        })
    }

    /// Tells whether all is as it should be.
    fn run(&mut self) -> Result<bool, Error> {
        println!("chaos: seed {}, {} CPUs", self.seed, self.cpus);
        // Once before counting: what the kernel and this program keep for reuse is there then.
        let warm = self.powerless(WARM_UP)? & self.owners(WARM_UP_OWNERS)?;
        // Counting slots for the first time takes the memory that shows them.
        println!("chaos: {} slots in use", slots::in_use());
        let before = (settled()?, slots::in_use());
        println!("chaos: before: {:?}", before.0);
        let fine = self.powerless(ROUNDS)? & self.owners(OWNERS)?;
        let after = (settled()?, slots::in_use());
        println!("chaos: after:  {:?}", after.0);
        println!(
            "chaos: the neighbour gave {} answers, {} of them wrong",
            self.asked, self.wrong
        );
        if before != after {
            println!("chaos: LOST: slots {} and {}", before.1, after.1);
        }
        Ok(warm && fine && before == after && self.wrong == 0 && self.asked > 0)
    }

    /// An attacker without rights on each CPU, `rounds` system calls all together.
    fn powerless(&mut self, rounds: u64) -> Result<bool, Error> {
        let each = rounds / u64::from(self.cpus);
        let mut attackers = alloc::vec::Vec::new();
        for cpu in 0..self.cpus {
            attackers.push(self.attacker(cpu, each, Rights::READ, &[])?);
        }
        let deadline = clock::after(PATIENCE_NS);
        for _ in &attackers {
            match self.next_end(deadline) {
                End::Done([succeeded, refused, lost]) => {
                    println!(
                        "chaos: without rights: {succeeded} calls succeeded, {refused} refused, {lost} not delivered"
                    );
                    if [succeeded, refused, lost].contains(&0) {
                        println!("chaos: FAILED: the calls were not of all kinds");
                        return Ok(false);
                    }
                }
                End::Fault(frame) => {
                    println!("chaos: FAILED: an attacker faulted: {}", described(&frame));
                    return Ok(false);
                }
                End::Late => {
                    println!("chaos: FAILED: an attacker does not come to its end");
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Attackers with all rights to themselves, an account, and threads. They may ruin themselves in any way.
    fn owners(&mut self, count: u64) -> Result<bool, Error> {
        let mut ends = [0; 3];
        for number in 0..count {
            let cpu = (number % u64::from(self.cpus)) as u32;
            let scheduler = Slot::fill(|slot| {
                Scheduler(CapIndex::SCHEDULER).derive(CapIndex::FACTORY, u64::MAX, ATTACK_PRIORITY, slot)
            })?;
            let more = [MapEntry::copy(
                scheduler.index(),
                CapIndex::SCHEDULER,
                Rights::CLIENT,
            )];
            let attacker = self.attacker(cpu, OWNER_ROUNDS, Rights::all(), &more)?;
            let end = self.next_end(clock::after(OWNER_LIFE_NS));
            ends[match end {
                End::Done(_) => 0,
                End::Fault(_) => 1,
                End::Late => 2,
            }] += 1;
            drop(attacker);
            scheduler.delete()?;
        }
        let [done, faulted, ended] = ends;
        println!(
            "chaos: with all rights to themselves: {done} made all their calls, {faulted} faulted, {ended} were ended"
        );
        Ok(true)
    }

    fn attacker(
        &mut self,
        cpu: u32,
        rounds: u64,
        own_rights: Rights,
        more: &[MapEntry],
    ) -> Result<Child, Error> {
        let (seed, rounds) = (format!("{}", self.seeds.u64(..)), format!("{rounds}"));
        let mut capabilities = alloc::vec![
            MapEntry::copy(self.ends.index(), CapIndex::PARENT, Rights::CLIENT),
            MapEntry::copy(self.echo.index(), CapIndex::FIRST_FREE, Rights::CLIENT),
        ];
        capabilities.extend_from_slice(more);
        Birth {
            arguments: &["chaos", "attack", &seed, &rounds],
            placement: place(cpu, ATTACK_PRIORITY),
            handler: self.faults.index(),
            gate: None,
            own_rights,
            capabilities: &capabilities,
        }
        .start()
    }

    /// Waits for an attacker's end, and meanwhile asks the neighbour again and again.
    fn next_end(&mut self, deadline: u64) -> End {
        loop {
            self.ask_neighbour();
            let received = syscall::wait(clock::after(LOOK_NS));
            if received.tag.is_error() {
                if clock::now_ns() > deadline {
                    return End::Late;
                }
                continue;
            }
            let mut words = [0; ExceptionFrame::WORDS];
            Utcb::current().read(0, &mut words);
            // No answer is meant to wake an attacker up for more; a negative one ends a thread that faulted.
            syscall::reply(None, Tag::new(-1, 0, 0));
            match (received.label & !3, received.tag.label()) {
                (FAULTS, EXCEPTION) => return End::Fault(ExceptionFrame::from_words(&words)),
                (ENDS, _) if received.tag.words() >= 4 && words[0] == DONE => {
                    return End::Done([words[1], words[2], words[3]]);
                }
                // One of the attackers' random messages.
                _ => {}
            }
        }
    }

    /// Sends random words to the neighbour and compares what comes back.
    fn ask_neighbour(&mut self) {
        let count = 1 + self.questions.u64(..Tag::MAX_WORDS as u64) as usize;
        let mut question = [0; Tag::MAX_WORDS];
        question.fill_with(|| self.questions.u64(..));
        let utcb = Utcb::current();
        utcb.write(0, &question[..count]);
        let received = syscall::call(self.echo.index(), Tag::new(1, count, 0));
        let mut answer = [0; Tag::MAX_WORDS];
        utcb.read(0, &mut answer);
        self.asked += 1;
        let is_right = received.result() == Ok(0) && received.tag.words() == count;
        if !is_right || answer[..count] != question[..count] {
            self.wrong += 1;
        }
    }
}

fn place(cpu: u32, priority: u8) -> Placement {
    Placement {
        cpu,
        priority,
        slice_us: 0,
    }
}

fn described(frame: &ExceptionFrame) -> alloc::string::String {
    format!(
        "reason {}, vector {}, address {:#x}, instruction {:#x}",
        frame.reason, frame.vector, frame.address, frame.rip
    )
}

/// The machine's counters once nothing is being taken apart any more.
fn settled() -> Result<Counters, Error> {
    let deadline = clock::after(SETTLE_NS);
    loop {
        let counters = Debug(CapIndex::DEBUG).counters()?;
        if counters.dying == 0 {
            return Ok(counters);
        }
        if clock::now_ns() > deadline {
            return Err(Error::Busy);
        }
        clock::sleep(SETTLE_LOOK_NS);
    }
}
