//! `--mode=hold`: keeps instances of a function alive at once. Each has answered a request and waits for its next one.
//!
//! The client's thread has a higher priority than the instances and is on their core: none of them runs before all have
//! their requests, so no two requests meet the same instance.

use crate::client::{Client, failure};
use crate::machine::Machine;
use crate::output::Lines;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use client_bench::hold::{Held, limit_for, write_json, write_table};
use client_bench::options::Options;
use interfaces::faas::client::{ClientError, outgoing, release};
use interfaces::faas::{Body, Counters, INLINE_REQUEST, InvokeOptions, Payload};
use interfaces::manifest::StartMode;
use l4::{CapIndex, PAGE_SIZE};
use l4_rpc::REPLY_BYTES;
use l4re::faas::Mapped;
use l4re::{OwnedCap, clock, println};

/// Measures and prints. Tells whether so many were alive at once.
pub(crate) fn run(options: &Options, registry: CapIndex) -> bool {
    match measure(options, registry) {
        Ok(held) => {
            let mut lines = Lines::new(false);
            let mut written = Ok(());
            if options.format.table() {
                written = write_table(&mut lines, &held);
            }
            if options.format.json() {
                written = written.and_then(|()| write_json(&mut lines, &held));
            }
            lines.flush();
            written.is_ok()
        }
        Err(reason) => {
            println!("hold: {reason}");
            false
        }
    }
}

fn measure<'a>(options: &'a Options, registry: CapIndex) -> Result<Held<'a>, String> {
    let machine = Machine::at_rest().map_err(|error| {
        format!(
            "the memory of instances is read from the machine's counters, which needs the capability 'debug': {error}; \
             the boot script passes it as caps = {{ debug = L4.Env.debug }}"
        )
    })?;
    let client = Client::prepare(options, 0, registry).map_err(|(_, text)| text)?;
    let payload = outgoing(&Mapped, &client.request, INLINE_REQUEST).map_err(|error| failure(&error).1)?;
    let holder = Holder {
        options,
        machine,
        client: &client,
        payload,
    };
    let held = holder.measure();
    release(&Mapped, payload);
    held
}

struct Holder<'a, 'b> {
    options: &'a Options,
    machine: Machine,
    client: &'b Client<'a>,
    payload: Payload<'b>,
}

impl<'a> Holder<'a, '_> {
    fn measure(&self) -> Result<Held<'a>, String> {
        let count = self.options.instances;
        // With the first one comes into use what all have in common; the second one shows what another one takes.
        let first = self.free_behind(1)?;
        let second = self.free_behind(2)?;
        let limit_bytes = match self.options.memory {
            Some(limit) => limit,
            None => limit_for(first.saturating_sub(second)),
        };
        let (begin_ns, are_clones) = self.wake(count, limit_bytes)?;
        let before = self.counters()?;
        if before.workers_live != u64::from(count) {
            return Err(self.not_enough(before.workers_live, limit_bytes));
        }
        let free = self.free()?;
        let (wake_ns, _) = self.wake(count, limit_bytes)?;
        let after = self.counters()?;
        if after.workers_started != before.workers_started {
            return Err(format!(
                "{} instances ended and began anew instead of being woken",
                after.workers_started - before.workers_started
            ));
        }
        Ok(Held {
            function: &self.options.function,
            are_clones,
            instances: count,
            measured: count - 1,
            memory_bytes: first.saturating_sub(free),
            limit_bytes,
            begin_ns,
            wake_ns,
        })
    }

    /// Memory that the machine has left when so many are alive and have answered twice.
    fn free_behind(&self, count: u32) -> Result<u64, String> {
        for _ in 0..2 {
            self.wake(count, 0)?;
        }
        self.free()
    }

    fn free(&self) -> Result<u64, String> {
        let counters = self.machine.quiet();
        counters
            .map(|counters| counters.free_frames * PAGE_SIZE)
            .map_err(|error| format!("the machine does not come to rest: {error}"))
    }

    fn counters(&self) -> Result<Counters, String> {
        let counters = self.client.session.actions().counters();
        counters.map_err(|error| failure(&error).1)
    }

    /// Sends a request to each of `count` instances, those included that begin with it, and gets their answers. Returns
    /// the time that it took in nanoseconds, and whether those that began are clones.
    fn wake(&self, count: u32, memory_bytes: u64) -> Result<(u64, bool), String> {
        let actions = self.client.session.actions();
        let name = self.options.function.as_bytes();
        let options = InvokeOptions {
            memory_bytes,
            ..InvokeOptions::default()
        };
        let mut numbers = Vec::with_capacity(count as usize);
        let start = clock::now_ns();
        for instance in 1..=count {
            let number = actions.invoke_async(name, options, self.payload, None);
            numbers.push(number.map_err(|error| self.failed(instance, &error))?);
        }
        let mut are_clones = true;
        let mut buffer = [0; REPLY_BYTES];
        for (instance, number) in (1..).zip(numbers) {
            let answer = actions.result(number, true, &mut buffer);
            let (completion, _) = answer.map_err(|error| self.failed(instance, &error))?;
            if let Body::Dataspace(block) = completion.body {
                drop(OwnedCap::adopt(block.memory.index()));
            }
            are_clones &= completion.mode != StartMode::Boot;
        }
        Ok((clock::now_ns() - start, are_clones))
    }

    fn failed(&self, instance: u32, error: &ClientError) -> String {
        let (kind, text) = failure(error);
        format!(
            "instance {instance} of {}: {kind}: {text}",
            self.options.instances
        )
    }

    /// Why fewer are alive than were begun.
    fn not_enough(&self, live: u64, limit_bytes: u64) -> String {
        let count = self.options.instances;
        format!(
            "{live} of {count} instances are alive at once: the manager ended others, as it does when the client's memory is \
             used up (each has the right to {} KiB), when its share of the manager's capability slots is (two for each), or when \
             the function's manifest says so; take fewer with --instances, a lower limit with --memory, or give the manager more \
             memory in the boot script",
            limit_bytes >> 10
        )
    }
}
