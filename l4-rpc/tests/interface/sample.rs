//! The service.

use l4::object::{Dataspace, Irq};
use l4::{CapIndex, Utcb};
use l4_rpc::{Caller, Cap, Incoming, Loopback, Reply, interface};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SampleError {
    Refused { code: u32 },
    Other,
}

/// Operations of every sort.
#[interface(protocol = 0x7777)]
pub(crate) trait Sample {
    /// Serde values both ways.
    #[op(1)]
    fn describe(&self, name: &str, data: &[u8], number: u64) -> Result<(String, u64), SampleError>;

    /// Capabilities both ways, among values.
    #[op(2)]
    fn exchange(
        &self,
        first: Cap<Dataspace>,
        number: u32,
        second: Option<Cap<Irq>>,
    ) -> Result<(u32, Option<Cap<Irq>>, Cap<Dataspace>), SampleError>;

    /// Words both ways.
    #[op(3, words)]
    fn add(&mut self, a: u64, b: u32, c: [u64; 2], is_wanted: bool) -> Result<u64, SampleError>;

    /// Borrowed bytes in words.
    #[op(4, words)]
    fn length(&self, name: &str, bytes: &[u8], cap: Option<Cap<Irq>>) -> Result<[u64; 3], SampleError>;

    /// For writers only.
    #[op(5, writes)]
    fn change(&self) -> Result<(), SampleError>;

    /// Answered by hand, with bytes.
    #[op(6, words, deferred)]
    fn read(&self, length: u64, into: &mut [u8]) -> Result<u64, SampleError>;

    /// Never answered.
    #[op(7, deferred)]
    fn exit(&self, code: i32) -> Result<(), SampleError>;

    /// A result that may be too long.
    #[op(8)]
    fn text(&self, length: u64) -> Result<String, SampleError>;
}

#[derive(Default)]
pub(crate) struct Server {
    pub(crate) callers: Vec<Caller>,
    pub(crate) exits: Vec<i32>,
}

impl Sample for Server {
    fn describe(
        &mut self,
        caller: Caller,
        name: &str,
        data: &[u8],
        number: u64,
    ) -> Result<(String, u64), SampleError> {
        self.callers.push(caller);
        match name {
            "refuse" => Err(SampleError::Refused { code: 77 }),
            _ => Ok((
                name.to_uppercase(),
                number + data.iter().map(|byte| u64::from(*byte)).sum::<u64>(),
            )),
        }
    }

    fn exchange(
        &mut self,
        _: Caller,
        first: Cap<Dataspace>,
        number: u32,
        second: Option<Cap<Irq>>,
    ) -> Result<(u32, Option<Cap<Irq>>, Cap<Dataspace>), SampleError> {
        Ok((number + 1, second, first))
    }

    fn add(&mut self, _: Caller, a: u64, b: u32, c: [u64; 2], is_wanted: bool) -> Result<u64, SampleError> {
        if is_wanted {
            Ok(a + u64::from(b) + c[0] + c[1])
        } else {
            Err(SampleError::Other)
        }
    }

    fn length(
        &mut self,
        _: Caller,
        name: &str,
        bytes: &[u8],
        cap: Option<Cap<Irq>>,
    ) -> Result<[u64; 3], SampleError> {
        let slot = cap.map_or(0, |cap| u64::from(cap.index().0));
        Ok([
            name.len() as u64,
            bytes.iter().map(|byte| u64::from(*byte)).sum(),
            slot,
        ])
    }

    fn change(&mut self, caller: Caller) -> Result<(), SampleError> {
        self.callers.push(caller);
        Ok(())
    }

    fn read(&mut self, _: Caller, utcb: &Utcb, length: u64) -> Reply {
        let bytes = [7; 600];
        let result = if length > 600 {
            Err(SampleError::Other)
        } else {
            Ok(length * 2)
        };
        let tail = &bytes[..length.min(600) as usize];
        Reply::Now(SampleReply::read(utcb, result.as_ref(), tail))
    }

    fn exit(&mut self, _: Caller, _: &Utcb, code: i32) -> Reply {
        self.exits.push(code);
        Reply::Deferred
    }

    fn text(&mut self, _: Caller, length: u64) -> Result<String, SampleError> {
        Ok("x".repeat(length as usize))
    }
}

pub(crate) type Dispatch = fn(&mut Server, &Incoming, &Utcb) -> Reply;

pub(crate) fn sample() -> Loopback<Server, Dispatch> {
    Loopback::new(Server::default(), SampleInterface::dispatch)
}

pub(crate) fn cap<T>(index: u32) -> Cap<T> {
    Cap::new(CapIndex(index))
}
