//! Stores the snapshots of functions, and begins from them: `stored-client FUNCTION REQUEST`; or begins from the one that the boot
//! image has: `stored-client FUNCTION REQUEST packed`. With `no-spares` in place of that it makes sure that the manager starts no
//! runtime ahead.
//!
//! What is loaded answers as what was started does, and says so; a file that is damaged, cut off, or of another build or function is
//! as good as none, and an error for who insists.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use interfaces::faas::client::ClientError;
use interfaces::faas::{ActionConfig, FaasError, ImageInfo, ImageState, RestoreFault, StoreFault};
use interfaces::manifest::{Runtime, StartMode};
use l4::object::{Dataspace, Factory, MapEntry, Task};
use l4::{CapIndex, Error, PAGE_SIZE, Rights};
use l4_rpc::{CallError, Cap};
use l4re::faas::{RomFunction, Session};
use l4re::{OwnedCap, Slot, clock, env, println};
use stored_image::Digest;

l4re::entry!(main);

/// Exit code for a wrong command line.
const USAGE: i64 = 2;
/// Word of the file that holds the digest of all others.
const DIGEST_WORD: usize = 3;
/// Word of the file that says by which build it was stored.
const BUILD_WORD: usize = 4;

/// More than the function's memory that it may use: not enough for the pages that are there twice upon another's runtime.
const SCANT_BYTES: u64 = 256 << 10;
/// More than a runtime's start takes.
const LONG_NS: u64 = 2_000_000_000;
/// How often is looked whether a runtime is ready.
const WAIT_NS: u64 = 1_000_000;

/// Why a check failed, for people.
type Fault = String;

fn main() -> i64 {
    let mut arguments = env::args().skip(1);
    let function = arguments.next();
    let request = arguments.next();
    let origin = match arguments.next() {
        None => Some(Origin::Stored),
        Some("packed") => Some(Origin::Packed),
        Some("no-spares") => Some(Origin::NoSpares),
        Some(_) => None,
    };
    let (Some(registry), Some(function), Some(request), Some(origin)) =
        (env::cap("manager"), function, request, origin)
    else {
        println!("usage: stored-client FUNCTION REQUEST [packed|no-spares], with the capability 'manager'");
        return USAGE;
    };
    match run(registry, function, request.as_bytes(), origin) {
        Ok(()) => 0,
        Err(why) => {
            println!("WRONG: {function}: {why}");
            1
        }
    }
}

/// Where the snapshots come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// They are stored first.
    Stored,
    /// From the boot image.
    Packed,
    /// There are to be none of runtimes.
    NoSpares,
}

fn run(registry: CapIndex, function: &str, request: &[u8], origin: Origin) -> Result<(), Fault> {
    let session = Session::open(registry).map_err(|error| format!("the client can't register: {error}"))?;
    let found = RomFunction::find(function).map_err(|error| format!("{error}"))?;
    let client = Client {
        session: &session,
        function: found,
        name: function,
        request,
    };
    let (file, answer) = match origin {
        Origin::Packed => client.take_packed()?,
        Origin::Stored => client.store()?,
        Origin::NoSpares => return client.has_no_spares(),
    };
    client.load(&file, &answer)?;
    client.load_again(&file, &answer)?;
    client.refuse(&file, &answer)?;
    client.cannot_store()
}

/// A function that comes and goes, and what it is asked.
struct Client<'a> {
    session: &'a Session,
    function: RomFunction,
    name: &'a str,
    request: &'a [u8],
}

fn told<E: core::fmt::Display>(what: &str) -> impl Fn(E) -> Fault {
    move |error| format!("{what}: {error}")
}

fn memory(size: u64) -> Result<OwnedCap, Fault> {
    Slot::fill(|slot| Factory(CapIndex::FACTORY).create_dataspace(size, slot))
        .map_err(|error| format!("a dataspace of {size} bytes: {error}"))
}

/// A dataspace that begins as the file does.
fn copy(file: &OwnedCap, size: u64) -> Result<OwnedCap, Fault> {
    let copy = memory(size)?;
    Dataspace(copy.index())
        .copy_in(0, Dataspace(file.index()), 0, size)
        .map_err(told("copying the file"))?;
    Ok(copy)
}

fn word_at(file: &OwnedCap, word: usize) -> Result<u64, Fault> {
    let mut bytes = [0; 8];
    Dataspace(file.index())
        .read(word as u64 * 8, &mut bytes)
        .map_err(told("reading the file"))?;
    Ok(u64::from_le_bytes(bytes))
}

fn set_word(file: &OwnedCap, word: usize, value: u64) -> Result<(), Fault> {
    Dataspace(file.index())
        .write(word as u64 * 8, &value.to_le_bytes())
        .map_err(told("writing the file"))
}

/// The digest that belongs into a file.
fn digest(file: &OwnedCap, size: u64) -> Result<u64, Fault> {
    let mut digest = Digest::new();
    let mut page = vec![0; PAGE_SIZE as usize];
    for offset in (0..size).step_by(PAGE_SIZE as usize) {
        Dataspace(file.index())
            .read(offset, &mut page)
            .map_err(told("reading the file"))?;
        for (index, word) in page.as_chunks::<8>().0.iter().enumerate() {
            if (offset, index) != (0, DIGEST_WORD) {
                digest.add(u64::from_le_bytes(*word));
            }
        }
    }
    Ok(digest.finish())
}

impl Client<'_> {
    fn config(&self) -> ActionConfig {
        ActionConfig {
            mode: Some(StartMode::Snapshot),
            ..self.function.config()
        }
    }

    fn create(&self) -> Result<(), Fault> {
        let environment = &self.function.manifest.environment;
        self.session
            .create(self.name, self.function.code(), self.config(), environment)
            .map_err(told("creating it"))
    }

    fn restore(&self, name: &str, file: CapIndex) -> Result<(), ClientError> {
        let (code, environment) = (self.function.code(), &self.function.manifest.environment);
        self.session
            .restore(name, code, self.config(), environment, Cap::new(file))
    }

    fn create_with(&self, name: &str, file: CapIndex) -> Result<(), Fault> {
        let (code, environment) = (self.function.code(), &self.function.manifest.environment);
        self.session
            .create_with_snapshot(name, code, self.config(), environment, Cap::new(file))
            .map_err(told("creating it with a snapshot"))
    }

    fn delete(&self, name: &str) -> Result<(), Fault> {
        self.session.delete(name).map_err(told("deleting it"))
    }

    fn image(&self, name: &str) -> Result<ImageInfo, Fault> {
        match self.session.describe(name).map_err(told("describing it"))?.image {
            ImageState::Ready(info) => Ok(info),
            other => Err(format!("{other:?} in place of a snapshot")),
        }
    }

    fn invoke(&self, name: &str) -> Result<Vec<u8>, Fault> {
        let response = self.session.invoke(name, self.request);
        response
            .map(|response| response.bytes)
            .map_err(told("invoking it"))
    }

    /// Stores what was started, first into what is too small. If the function has a runtime, that was started ahead.
    fn store(&self) -> Result<(OwnedCap, Vec<u8>), Fault> {
        self.create()?;
        let answer = self.invoke(self.name)?;
        if self.function.config().runtime == Runtime::Python {
            self.create_upon_spare(&answer)?;
        }
        let info = self.image(self.name)?;
        let small = memory(PAGE_SIZE)?;
        let stored = |file: &OwnedCap| {
            let length = self.session.store(self.name, Cap::new(file.index()));
            length.map_err(told("storing it"))
        };
        let length = stored(&small)?;
        let file = memory(length)?;
        if info.is_loaded || stored(&file)? != length {
            return Err(format!("{info:?}, {length} bytes"));
        }
        println!(
            "{}: prepared in {} us, {} pages, stored in {} KiB",
            self.name,
            info.prepare_ns / 1000,
            info.pages,
            length >> 10
        );
        self.delete(self.name)?;
        Ok((file, answer))
    }

    /// Waits until a runtime is ready for the next function, and tells its size in bytes.
    fn await_spare(&self) -> Result<u64, Fault> {
        loop {
            let counters = self.session.actions().counters().map_err(told("counters"))?;
            if counters.spare_bytes > 0 {
                return Ok(counters.spare_bytes);
            }
            clock::sleep(WAIT_NS);
        }
    }

    /// Makes sure that a function which may use less than a page more than a runtime that was started before is told that this is
    /// too little.
    fn cannot_use_so_little(&self, runtime_bytes: u64) -> Result<(), Fault> {
        let limit_bytes = runtime_bytes + PAGE_SIZE / 2;
        let config = ActionConfig {
            memory_bytes: limit_bytes,
            ..self.config()
        };
        let environment = &self.function.manifest.environment;
        let refused = self
            .session
            .create(self.name, self.function.code(), config, environment);
        match refused {
            Err(CallError::Server(FaasError::MemoryLimit { limit_bytes: told })) if told == limit_bytes => {
                Ok(())
            }
            other => Err(format!("{other:?} with {limit_bytes} bytes")),
        }
    }

    /// Makes sure that no runtime is started for the next function, however much time there is.
    fn has_no_spares(&self) -> Result<(), Fault> {
        for _ in 0..2 {
            self.create()?;
            clock::sleep(LONG_NS);
            let counters = self.session.actions().counters().map_err(told("counters"))?;
            let info = self.image(self.name)?;
            if counters.spare_bytes != 0 || info.depth != 0 {
                return Err(format!("{counters:?}, {info:?}"));
            }
            self.delete(self.name)?;
        }
        println!("{}: no runtime is started ahead", self.name);
        Ok(())
    }

    /// Creates the function again: with memory that is too little for it upon a runtime that was started before, then upon such a
    /// one.
    fn create_upon_spare(&self, answer: &[u8]) -> Result<(), Fault> {
        let started = self.image(self.name)?;
        self.delete(self.name)?;
        let runtime_bytes = self.await_spare()?;
        self.cannot_use_so_little(runtime_bytes)?;
        let scant = ActionConfig {
            memory_bytes: started.bytes + SCANT_BYTES,
            ..self.config()
        };
        let environment = &self.function.manifest.environment;
        self.session
            .create(self.name, self.function.code(), scant, environment)
            .map_err(told("creating it with little memory"))?;
        let alone = self.image(self.name)?;
        if alone.depth != 0 || self.invoke(self.name)? != answer {
            return Err(format!("{alone:?} with {SCANT_BYTES} bytes to spare"));
        }
        self.delete(self.name)?;
        self.await_spare()?;
        self.create()?;
        let info = self.image(self.name)?;
        if (started.depth, info.depth) != (0, 1) || info.runtime_bytes == 0 {
            return Err(format!("{started:?}, then {info:?}"));
        }
        if self.invoke(self.name)? != answer {
            return Err("it answers otherwise upon a runtime that was started before".into());
        }
        println!(
            "{}: upon a runtime of {} KiB, prepared in {} us instead of {}, {} KiB instead of {}",
            self.name,
            info.runtime_bytes >> 10,
            info.prepare_ns / 1000,
            started.prepare_ns / 1000,
            info.bytes >> 10,
            started.bytes >> 10
        );
        Ok(())
    }

    /// Begins from what the boot image has, and finds out what is to be answered.
    fn take_packed(&self) -> Result<(OwnedCap, Vec<u8>), Fault> {
        self.create()?;
        let answer = self.invoke(self.name)?;
        let started = self.image(self.name)?;
        self.delete(self.name)?;
        self.session
            .create_from_rom(self.name)
            .map_err(told("creating it from rom"))?;
        let loaded = self.image(self.name)?;
        if started.is_loaded || !loaded.is_loaded || self.invoke(self.name)? != answer {
            return Err(format!("{started:?}, then {loaded:?}"));
        }
        println!(
            "{}: packed, loaded in {} us instead of started in {}",
            self.name,
            loaded.prepare_ns / 1000,
            started.prepare_ns / 1000
        );
        self.delete(self.name)?;
        let packed = self.function.snapshot().ok_or("the boot image has none")?;
        let copy = Slot::fill(|slot| {
            Task(CapIndex::TASK).map(&[MapEntry::copy(packed.index(), slot, Rights::READ)])
        });
        Ok((copy.map_err(told("keeping the file"))?, answer))
    }

    /// Begins from the file.
    fn load(&self, file: &OwnedCap, answer: &[u8]) -> Result<(), Fault> {
        self.restore(self.name, file.index())
            .map_err(told("restoring it"))?;
        let info = self.image(self.name)?;
        if !info.is_loaded {
            return Err("the stored snapshot was not used".into());
        }
        for _ in 0..3 {
            if self.invoke(self.name)? != answer {
                return Err("it answers otherwise than before".into());
            }
        }
        println!(
            "{}: loaded in {} us, {} pages, answers as before",
            self.name,
            info.prepare_ns / 1000,
            info.pages
        );
        Ok(())
    }

    /// Stores what was loaded, and begins from that.
    fn load_again(&self, first: &OwnedCap, answer: &[u8]) -> Result<(), Fault> {
        let size = Dataspace(first.index()).info().map_err(told("the file"))?.size;
        let again = memory(2 * size)?;
        let length = self.session.store(self.name, Cap::new(again.index()));
        let length = length.map_err(told("storing what was loaded"))?;
        self.delete(self.name)?;
        self.load(&again, answer)?;
        self.delete(self.name)?;
        println!("{}: stored again in {} KiB", self.name, length >> 10);
        Ok(())
    }

    /// Has files refused that are not those of this function and build, whole.
    fn refuse(&self, file: &OwnedCap, answer: &[u8]) -> Result<(), Fault> {
        let size = Dataspace(file.index()).info().map_err(told("the file"))?.size;
        let flipped = |word: usize| {
            let copy = copy(file, size)?;
            let old = word_at(&copy, word)?;
            set_word(&copy, word, old ^ 4)?;
            Ok::<OwnedCap, Fault>(copy)
        };
        let other_build = flipped(BUILD_WORD)?;
        set_word(&other_build, DIGEST_WORD, digest(&other_build, size)?)?;
        let last = (size / 8) as usize - 1;
        let files = [
            (self.name, flipped(0)?, RestoreFault::NotASnapshot),
            (self.name, flipped(1)?, RestoreFault::OtherFormat),
            (self.name, flipped(BUILD_WORD)?, RestoreFault::Damaged),
            (self.name, flipped(last)?, RestoreFault::Damaged),
            (self.name, copy(file, size - PAGE_SIZE)?, RestoreFault::Truncated),
            (self.name, memory(PAGE_SIZE)?, RestoreFault::NotASnapshot),
            (self.name, other_build, RestoreFault::OtherBuild),
            ("another-name", copy(file, size)?, RestoreFault::OtherFunction),
        ];
        for (name, file, fault) in files {
            let error = CallError::Server(FaasError::NotRestored(fault));
            if self.restore(name, file.index()) != Err(error) {
                return Err(format!("it is restored though {fault}"));
            }
            self.create_with(name, file.index())?;
            let info = self.session.describe(name).map_err(told("describing it"))?;
            if self.image(name)?.is_loaded || info.unused_snapshot != Some(fault) {
                return Err(format!("{:?} though {fault}", info.unused_snapshot));
            }
            if name == self.name && self.invoke(name)? != answer {
                return Err(format!("it answers otherwise, since {fault}"));
            }
            self.delete(name)?;
            println!("{}: started, as {fault}", self.name);
        }
        Ok(())
    }

    /// What there is no snapshot of cannot be stored, and what cannot be written is not.
    fn cannot_store(&self) -> Result<(), Fault> {
        let file = memory(PAGE_SIZE)?;
        let config = ActionConfig {
            mode: Some(StartMode::Boot),
            ..self.config()
        };
        let environment = &self.function.manifest.environment;
        self.session
            .create(self.name, self.function.code(), config, environment)
            .map_err(told("creating it"))?;
        let refused = self.session.store(self.name, Cap::new(file.index()));
        let reason = FaasError::NotStorable(StoreFault::NoSnapshot);
        if refused != Err(CallError::Server(reason)) {
            return Err(format!("{refused:?} for what has no snapshot"));
        }
        self.delete(self.name)?;
        self.create()?;
        let sealed = memory(16 << 20)?;
        let _: Result<(), Error> = Dataspace(sealed.index()).seal();
        let refused = self.session.store(self.name, Cap::new(sealed.index()));
        if refused != Err(CallError::Server(FaasError::InvalidPayload)) {
            return Err(format!("{refused:?} for a sealed dataspace"));
        }
        self.delete(self.name)
    }
}
