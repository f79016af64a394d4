//! One attempt after the other, each with the error that it must get; and between them invocations that must succeed.

use crate::elf;
use crate::neighbour::echo;
use alloc::string::String;
use alloc::vec::Vec;
use fastrand::Rng;
use interfaces::faas::client::{ClientError, Code};
use interfaces::faas::{
    ActionConfig, Block, ConfigField, Definition, ENVIRONMENT_MAX, FaasError, ImageFault, InvokeOptions,
    NAME_MAX, NameFault, PAYLOAD_MAX, Payload,
};
use interfaces::manifest::Runtime;
use l4::object::Dataspace;
use l4::{CapIndex, Error, Tag, Utcb, syscall};
use l4_rpc::{CallError, Cap, REPLY_BYTES};
use l4re::faas::{RomFunction, Session, seal_copy};
use l4re::memory::{SealedView, create_dataspace};
use l4re::{OwnedCap, clock, println};

/// Seed of all that is random here.
const SEED: u64 = 20_260_917;
/// The function that must go on working.
const GOOD: &str = "echo";
/// A function that is created, if at all, from bad input.
const BAD: &str = "bad";
/// Protocol of the client's gate.
const ACTIONS: i64 = 0x5001;
/// Random messages for each random image.
const MESSAGES: u64 = 10;

/// A registered client that wants what it must not get.
pub(crate) struct Attacker {
    session: Session,
    /// Code of a good function.
    code: OwnedCap,
    image: Vec<u8>,
    pub(crate) random: Rng,
    unexpected: u32,
}

impl Attacker {
    /// Registers, tries everything, with `rounds` random images, and unregisters. Tells whether all was as it must be.
    pub(crate) fn everything(registry: CapIndex, rounds: u64) -> bool {
        match Attacker::new(registry) {
            Ok(mut attacker) => {
                attacker.names();
                attacker.configurations();
                attacker.images();
                attacker.zips();
                attacker.dataspaces();
                attacker.payloads();
                attacker.random_input(rounds);
                attacker.random_zips(rounds);
                attacker.still_served("the end");
                attacker.unexpected == 0
            }
            Err(why) => {
                println!("the attacker can't start: {why}");
                false
            }
        }
    }

    fn new(registry: CapIndex) -> Result<Attacker, String> {
        let said = |error: &dyn core::fmt::Display| alloc::format!("{error}");
        let session = Session::open(registry).map_err(|error| said(&error))?;
        session.enter_core().map_err(|error| said(&error))?;
        session.create_from_rom(GOOD).map_err(|error| said(&error))?;
        let function = RomFunction::find(GOOD).map_err(|error| said(&error))?;
        let Code { memory, length, .. } = function.code();
        let view = SealedView::attach(Dataspace(memory.index())).map_err(|error| said(&error))?;
        let image = view.bytes()[..length as usize].to_vec();
        Ok(Attacker {
            session,
            code: seal_copy(&image).map_err(|error| said(&error))?,
            image,
            random: Rng::with_seed(SEED),
            unexpected: 0,
        })
    }

    /// Counts an answer that is not what it must be.
    pub(crate) fn expect<T>(
        &mut self,
        what: &str,
        answer: Result<T, ClientError>,
        is_right: impl Fn(&FaasError) -> bool,
    ) {
        match answer {
            Err(CallError::Server(error)) if is_right(&error) => println!("{what}: {error}"),
            Err(error) => self.complain(what, &error),
            Ok(_) => self.complain(what, &"it was not refused"),
        }
    }

    pub(crate) fn complain(&mut self, what: &str, why: &dyn core::fmt::Display) {
        self.unexpected += 1;
        println!("UNEXPECTED: {what}: {why}");
    }

    /// The good function still works.
    pub(crate) fn still_served(&mut self, when: &str) {
        match echo(&self.session, &mut self.random) {
            Ok(true) => {}
            Ok(false) => self.complain(when, &"the good function's result is wrong"),
            Err(error) => self.complain(when, &error),
        }
    }

    /// Creates a function without the checks of the comfortable client.
    fn create(&self, definition: Definition<'_>, code: CapIndex) -> Result<(), ClientError> {
        self.session.actions().create(definition, Cap::new(code), None)
    }

    fn definition<'a>(&self, name: &'a [u8]) -> Definition<'a> {
        Definition {
            name,
            code_bytes: self.image.len() as u64,
            handler: "",
            environment_bytes: 0,
            config: config(),
        }
    }

    fn names(&mut self) {
        let long = [b'n'; NAME_MAX + 1];
        let cases: [(&str, &[u8], NameFault); 4] = [
            ("a name of 0 bytes", b"", NameFault::Empty),
            ("a name of 129 bytes", &long, NameFault::TooLong),
            ("a name that is no UTF-8", b"\xff\xfe", NameFault::NotUtf8),
            (
                "a name that is cut inside a character",
                b"\xe2\x82",
                NameFault::NotUtf8,
            ),
        ];
        for (what, name, fault) in cases {
            let right = |error: &FaasError| *error == FaasError::InvalidName(fault);
            let answers = [
                self.create(self.definition(name), self.code.index()),
                self.session.actions().describe(name).map(drop),
                self.session.actions().delete(name),
                self.invoke_raw(name, Payload::Inline(b"")),
            ];
            for answer in answers {
                self.expect(what, answer, right);
            }
        }
        let thousand = "n".repeat(1_000);
        let code = self.code();
        let answer = self.session.create(&thousand, code, config(), &[]);
        self.expect("a name of 1000 bytes", answer, |error| {
            *error == FaasError::InvalidName(NameFault::TooLong)
        });
        let unknown = |error: &FaasError| *error == FaasError::UnknownAction;
        let answer = self.session.invoke("nobody", b"");
        self.expect("invoking an unknown function", answer, unknown);
        let answer = self.session.delete("nobody");
        self.expect("deleting an unknown function", answer, unknown);
        let answer = self.session.describe("nobody");
        self.expect("describing an unknown function", answer, unknown);
        let answer = self.session.update("nobody", self.code(), config(), &[]);
        self.expect("updating an unknown function", answer, unknown);
        let answer = self.create(self.definition(GOOD.as_bytes()), self.code.index());
        self.expect("a name that is taken", answer, |error| {
            *error == FaasError::ActionExists
        });
        self.still_served("after the names");
    }

    fn configurations(&mut self) {
        let cases = [
            (
                ConfigField::Memory,
                ActionConfig {
                    memory_bytes: 1,
                    ..config()
                },
            ),
            (
                ConfigField::Timeout,
                ActionConfig {
                    timeout_ns: 0,
                    ..config()
                },
            ),
            (
                ConfigField::ConcurrentRequests,
                ActionConfig {
                    concurrent_requests: 0,
                    ..config()
                },
            ),
            (
                ConfigField::ReuseLimit,
                ActionConfig {
                    reuse_limit: 0,
                    ..config()
                },
            ),
            (
                ConfigField::Priority,
                ActionConfig {
                    priority: 255,
                    ..config()
                },
            ),
        ];
        for (field, config) in cases {
            let answer = self.session.create(BAD, self.code(), config, &[]);
            self.expect("a configuration", answer, |error| {
                *error == FaasError::InvalidConfig(field)
            });
        }
        let long = [(String::from("A"), "x".repeat(ENVIRONMENT_MAX as usize))];
        let answer = self.session.create(BAD, self.code(), config(), &long);
        self.expect("a long environment", answer, |error| {
            matches!(error, FaasError::EnvironmentTooLarge { .. })
        });
        self.still_served("after the configurations");
    }

    fn images(&mut self) {
        let cases = elf::bad_images(&self.image);
        if cases.is_empty() {
            self.complain("bad images", &"the good one has no two segments");
        }
        for (what, bytes, faults) in cases {
            let answer = self.create_from(&bytes);
            self.expect(
                what,
                answer,
                |error| matches!(error, FaasError::InvalidImage(fault) if faults.contains(fault)),
            );
        }
        self.still_served("after the images");
    }

    fn dataspaces(&mut self) {
        let empty = Definition {
            code_bytes: 0,
            ..self.definition(BAD.as_bytes())
        };
        let answer = self.create(empty, self.code.index());
        self.expect("no code", answer, |error| {
            *error == FaasError::InvalidImage(ImageFault::Empty)
        });
        for code_bytes in [self.image.len() as u64 + (1 << 20), 1 << 40, u64::MAX] {
            let definition = Definition {
                code_bytes,
                ..self.definition(BAD.as_bytes())
            };
            let answer = self.create(definition, self.code.index());
            self.expect("more code than the dataspace has", answer, |error| {
                *error == FaasError::InvalidImage(ImageFault::TooLarge)
            });
        }
        let answer = self.create(self.definition(BAD.as_bytes()), CapIndex::LOG);
        self.expect("code in what is no dataspace", answer, |error| {
            matches!(
                error,
                FaasError::InvalidImage(_) | FaasError::InvalidPayload | FaasError::System(_)
            )
        });
        match create_dataspace(1 << 30) {
            Ok(huge) => {
                let definition = Definition {
                    code_bytes: 1 << 30,
                    ..self.definition(BAD.as_bytes())
                };
                let answer = self.create(definition, huge.index());
                self.expect("a dataspace of 1 GiB", answer, |error| {
                    matches!(
                        error,
                        FaasError::InvalidImage(ImageFault::TooLarge | ImageFault::NotElf)
                    )
                });
            }
            // The account does not permit it in the first place.
            Err(Error::NoMemory) => {}
            Err(error) => self.complain("a dataspace of 1 GiB", &error),
        }
        self.still_served("after the dataspaces");
    }

    fn payloads(&mut self) {
        let page = match create_dataspace(4096) {
            Ok(page) => page,
            Err(error) => return self.complain("a page", &error),
        };
        let block = |cap: CapIndex, length| {
            Payload::Dataspace(Block {
                memory: Cap::new(cap),
                length,
            })
        };
        let invalid = |error: &FaasError| *error == FaasError::InvalidPayload;
        let answer = self.invoke_raw(GOOD.as_bytes(), block(page.index(), 4096));
        self.expect("a request that is not sealed", answer, invalid);
        if let Err(error) = Dataspace(page.index()).seal() {
            self.complain("sealing a page", &error);
        }
        let answer = self.invoke_raw(GOOD.as_bytes(), block(page.index(), 4097));
        self.expect("a request longer than its dataspace", answer, invalid);
        let answer = self.invoke_raw(GOOD.as_bytes(), block(CapIndex::LOG, 4096));
        self.expect("a request in what is no dataspace", answer, invalid);
        for length in [PAYLOAD_MAX + 1, (1 << 63) - 1] {
            let answer = self.invoke_raw(GOOD.as_bytes(), block(page.index(), length));
            self.expect("a request over the limit", answer, |error| {
                matches!(error, FaasError::RequestTooLarge { .. })
            });
        }
        let unknown = |error: &FaasError| *error == FaasError::UnknownActivation;
        for activation in [0, 1, u64::MAX] {
            let answer = self
                .session
                .actions()
                .result(activation, true, &mut [0; REPLY_BYTES]);
            self.expect("the result of no activation", answer, unknown);
            let answer = self.session.actions().cancel(activation);
            self.expect("the end of no activation", answer, unknown);
        }
        self.still_served("after the payloads");
    }

    /// Random images, each invoked if it is accepted, and random messages.
    fn random_input(&mut self, rounds: u64) {
        let mut refused = 0;
        let mut ran = 0;
        for round in 0..rounds {
            let image = elf::mutated(&self.image, &mut self.random);
            match self.create_from(&image) {
                Ok(()) => {
                    ran += 1;
                    // Whatever such a program does, its client gets an answer.
                    if let Err(CallError::Protocol(error)) = self.session.invoke(BAD, b"") {
                        self.complain("a random image", &error);
                    }
                    if let Err(error) = self.session.delete(BAD) {
                        self.complain("deleting a random image", &error);
                    }
                }
                Err(CallError::Server(FaasError::InvalidImage(_))) => refused += 1,
                // It ended before it asked for a request.
                Err(CallError::Server(_)) => ran += 1,
                Err(error) => self.complain("a random image", &error),
            }
            for _ in 0..MESSAGES {
                self.random_message();
            }
            if round % 10 == 0 {
                self.still_served("between random images");
            }
        }
        println!(
            "seed {SEED}: {rounds} random images, {refused} refused, {ran} run; {} messages",
            rounds * MESSAGES
        );
        if refused == 0 || ran == 0 {
            self.complain("random images", &"they were not of both kinds");
        }
    }

    /// A message to the client's gate that says nothing sensible, most likely.
    fn random_message(&mut self) {
        let utcb = Utcb::current();
        utcb.set_word(0, self.random.u64(..24));
        let count = self.random.u64(..Tag::MAX_WORDS as u64) as usize;
        for index in 1..count {
            let word = if self.random.u64(..2) == 0 {
                self.random.u64(..)
            } else {
                self.random.u64(..512)
            };
            utcb.set_word(index, word);
        }
        let protocol = if self.random.u64(..4) == 0 {
            self.random.u64(..) as i64 >> 16
        } else {
            ACTIONS
        };
        let gate = self.session.actions().transport().0;
        syscall::call_until(gate, Tag::new(protocol, count, 0), clock::after(1_000_000_000));
    }

    fn create_from(&self, bytes: &[u8]) -> Result<(), ClientError> {
        self.create_with(bytes, Runtime::Native)
    }

    /// Creates a function whose code are these bytes.
    pub(crate) fn create_with(&self, bytes: &[u8], runtime: Runtime) -> Result<(), ClientError> {
        let code = seal_copy(bytes).map_err(CallError::Protocol)?;
        let definition = Definition {
            code_bytes: bytes.len() as u64,
            config: ActionConfig { runtime, ..config() },
            ..self.definition(BAD.as_bytes())
        };
        self.create(definition, code.index())
    }

    fn invoke_raw(&self, name: &[u8], request: Payload<'_>) -> Result<(), ClientError> {
        let options = InvokeOptions::default();
        let mut response = [0; REPLY_BYTES];
        self.session
            .actions()
            .invoke(name, options, request, &mut response)
            .map(drop)
    }

    fn code(&self) -> Code<'static> {
        Code {
            memory: Cap::new(self.code.index()),
            length: self.image.len() as u64,
            handler: "",
        }
    }
}

/// Limits that stop whatever runs by mistake.
fn config() -> ActionConfig {
    ActionConfig {
        memory_bytes: 4 << 20,
        timeout_ns: 20_000_000,
        ..ActionConfig::default()
    }
}
