//! A manager without machine.

use std::cell::RefCell;

use interfaces::faas::client::{Client, Code, Memory};
use interfaces::faas::{
    ActionInfo, Actions, ActionsInterface, ActionsReply, ActivationId, Block, Completion, Counters,
    Definition, FaasError, INLINE_RESPONSE, InvokeOptions, OpenedAction, PAYLOAD_MAX, Payload, Timestamps,
    check_name,
};
use interfaces::manifest::StartMode;
use l4::object::{Dataspace, Irq};
use l4::{CapIndex, Error, Utcb};
use l4_rpc::{Caller, Cap, Loopback, Reply};

/// Dataspaces that live on the test's heap; slot n holds the n-th.
#[derive(Default)]
pub(crate) struct Heap(RefCell<Vec<Option<Vec<u8>>>>);

impl Heap {
    pub(crate) fn live(&self) -> usize {
        self.0.borrow().iter().flatten().count()
    }
}

impl Memory for &Heap {
    fn publish(&self, bytes: &[u8]) -> Result<Cap<Dataspace>, Error> {
        let mut all = self.0.borrow_mut();
        all.push(Some(bytes.to_vec()));
        Ok(Cap::new(CapIndex(all.len() as u32 - 1)))
    }

    fn fetch(&self, memory: Cap<Dataspace>, into: &mut [u8]) -> Result<(), Error> {
        let all = self.0.borrow();
        let bytes = all[memory.index().0 as usize].as_ref().ok_or(Error::NotFound)?;
        into.copy_from_slice(bytes.get(..into.len()).ok_or(Error::Range)?);
        Ok(())
    }

    fn release(&self, memory: Cap<Dataspace>) {
        self.0.borrow_mut()[memory.index().0 as usize] = None;
    }
}

pub(crate) const TIMES: Timestamps = Timestamps {
    queue: 1,
    start_worker: 2,
    start_runtime: 3,
    start_load: 4,
    start_function: 5,
    end_function: 6,
    end_runtime: 7,
    end_worker: 8,
};

/// A manager whose functions answer with what they were sent; the name "fail" fails.
pub(crate) struct Echo<'h> {
    heap: &'h Heap,
    names: Vec<String>,
    pub(crate) environments: Vec<u8>,
}

impl<'h> Echo<'h> {
    pub(crate) fn new(heap: &'h Heap) -> Echo<'h> {
        Echo {
            heap,
            names: Vec::new(),
            environments: Vec::new(),
        }
    }

    fn read(&self, memory: Cap<Dataspace>, length: u64) -> Result<Vec<u8>, FaasError> {
        if length > PAYLOAD_MAX {
            return Err(FaasError::InvalidPayload);
        }
        let mut bytes = vec![0; length as usize];
        Memory::fetch(&self.heap, memory, &mut bytes).map_err(|_| FaasError::InvalidPayload)?;
        Ok(bytes)
    }

    fn complete(&self, utcb: &Utcb, name: &[u8], request: Payload<'_>) -> Reply {
        if name == b"fail" {
            return Reply::Now(ActionsReply::invoke(
                utcb,
                Err(&FaasError::panic("oh", "a.rs:1:2")),
                &[],
            ));
        }
        let bytes = match request {
            Payload::Inline(bytes) => Ok(bytes.to_vec()),
            Payload::Dataspace(block) => self.read(block.memory, block.length),
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => return Reply::Now(ActionsReply::invoke(utcb, Err(&error), &[])),
        };
        let response = if bytes.len() <= INLINE_RESPONSE {
            Payload::Inline(&bytes)
        } else {
            let memory = self.heap.publish(&bytes).expect("the heap never fails");
            Payload::Dataspace(Block {
                memory,
                length: bytes.len() as u64,
            })
        };
        let (body, tail) = response.split();
        let completion = Completion {
            activation: 9,
            version: 3,
            mode: StartMode::Warm,
            is_direct: true,
            times: TIMES,
            body,
        };
        Reply::Now(ActionsReply::invoke(utcb, Ok(&completion), tail))
    }
}

impl Actions for Echo<'_> {
    fn create(
        &mut self,
        _: Caller,
        utcb: &Utcb,
        definition: Definition<'_>,
        _: Cap<Dataspace>,
        environment: Option<Cap<Dataspace>>,
    ) -> Reply {
        let mut result = check_name(definition.name).map(|name| self.names.push(name.into()));
        self.names.sort();
        if let Some(memory) = environment {
            match self.read(memory, definition.environment_bytes) {
                Ok(bytes) => self.environments = bytes,
                Err(error) => result = Err(error),
            }
        }
        Reply::Now(ActionsReply::create(utcb, result.as_ref()))
    }

    fn restore(
        &mut self,
        _: Caller,
        utcb: &Utcb,
        definition: Definition<'_>,
        _: Cap<Dataspace>,
        _: Option<Cap<Dataspace>>,
        snapshot: Cap<Dataspace>,
    ) -> Reply {
        // Told by the name, for the test to see.
        let result = check_name(definition.name)
            .map(|name| self.names.push(format!("{name} from {}", snapshot.index().0)));
        Reply::Now(ActionsReply::restore(utcb, result.as_ref()))
    }

    fn create_with_snapshot(
        &mut self,
        _: Caller,
        utcb: &Utcb,
        definition: Definition<'_>,
        _: Cap<Dataspace>,
        _: Option<Cap<Dataspace>>,
        snapshot: Cap<Dataspace>,
    ) -> Reply {
        let result = check_name(definition.name)
            .map(|name| self.names.push(format!("{name} with {}", snapshot.index().0)));
        Reply::Now(ActionsReply::create_with_snapshot(utcb, result.as_ref()))
    }

    fn store(&mut self, _: Caller, name: &[u8], into: Cap<Dataspace>) -> Result<u64, FaasError> {
        Ok(check_name(name)?.len() as u64 + u64::from(into.index().0))
    }

    fn update(
        &mut self,
        _: Caller,
        utcb: &Utcb,
        _: Definition<'_>,
        _: Cap<Dataspace>,
        _: Option<Cap<Dataspace>>,
    ) -> Reply {
        Reply::Now(ActionsReply::update(utcb, Ok(&2)))
    }

    fn delete(&mut self, _: Caller, name: &[u8]) -> Result<(), FaasError> {
        let name = check_name(name)?;
        let index = self
            .names
            .iter()
            .position(|own| own == name)
            .ok_or(FaasError::UnknownAction)?;
        self.names.remove(index);
        Ok(())
    }

    fn list(&mut self, _: Caller, after: &str) -> Result<Option<String>, FaasError> {
        Ok(self.names.iter().find(|name| name.as_str() > after).cloned())
    }

    fn describe(&mut self, _: Caller, _: &[u8]) -> Result<ActionInfo, FaasError> {
        Err(FaasError::UnknownAction)
    }

    fn open(&mut self, _: Caller, name: &[u8]) -> Result<OpenedAction, FaasError> {
        let name = check_name(name)?;
        Ok(OpenedAction {
            gate: None,
            version: 3,
            timeout_ns: name.len() as u64,
            memory_bytes: 1 << 20,
        })
    }

    fn invoke(
        &mut self,
        _: Caller,
        utcb: &Utcb,
        name: &[u8],
        _: InvokeOptions,
        request: Payload<'_>,
    ) -> Reply {
        self.complete(utcb, name, request)
    }

    fn invoke_async(
        &mut self,
        _: Caller,
        utcb: &Utcb,
        name: &[u8],
        options: InvokeOptions,
        request: Payload<'_>,
        notify: Option<Cap<Irq>>,
    ) -> Reply {
        let parts = [
            name.len() as u64,
            options.timeout_ns,
            options.memory_bytes,
            request.length(),
            notify.map_or(0, |irq| irq.index().word()),
        ];
        let id = parts.into_iter().fold(0, u64::wrapping_add);
        Reply::Now(ActionsReply::invoke_async(utcb, Ok(&id)))
    }

    fn result(&mut self, _: Caller, utcb: &Utcb, _: ActivationId, wait: bool) -> Reply {
        if wait {
            return Reply::Deferred;
        }
        Reply::Now(ActionsReply::result(utcb, Err(&FaasError::NotFinished), &[]))
    }

    fn cancel(&mut self, _: Caller, _: ActivationId) -> Result<(), FaasError> {
        Err(FaasError::UnknownActivation)
    }

    fn log(&mut self, _: Caller, utcb: &Utcb, _: ActivationId) -> Reply {
        Reply::Now(ActionsReply::log(utcb, Ok(&1000), b"last line\n"))
    }

    fn counters(&mut self, _: Caller) -> Result<Counters, FaasError> {
        Ok(Counters {
            succeeded: 1,
            activations: 8,
            ..Counters::default()
        })
    }
}

pub(crate) type Gate<'h> = Loopback<Echo<'h>, fn(&mut Echo<'h>, &l4_rpc::Incoming, &Utcb) -> Reply>;

pub(crate) fn with_client(test: impl FnOnce(&Client<Gate<'_>, &Heap>)) {
    let heap = Heap::default();
    let gate: Gate<'_> = Loopback::new(Echo::new(&heap), ActionsInterface::dispatch);
    test(&Client::new(gate, &heap));
    assert_eq!(heap.live(), 0, "every dataspace is given up");
}

pub(crate) fn code() -> Code<'static> {
    Code {
        memory: Cap::new(CapIndex(0x40)),
        length: 5000,
        handler: "",
    }
}
