//! Stores the snapshots of functions, and begins from them: `stored-client FUNCTION REQUEST`.
//!
//! What is loaded answers as what was started does, and says so; a file that is damaged, cut off, or of another function is
//! as good as none.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use interfaces::faas::{ActionConfig, FaasError, ImageInfo, ImageState, StoreFault};
use interfaces::manifest::StartMode;
use l4::object::{Dataspace, Factory};
use l4::{CapIndex, Error, PAGE_SIZE};
use l4_rpc::{CallError, Cap};
use l4re::faas::{RomFunction, Session};
use l4re::{OwnedCap, Slot, env, println};

l4re::entry!(main);

/// Exit code for a wrong command line.
const USAGE: i64 = 2;
/// Byte of the file that says by which build it was stored.
const BUILD_BYTE: u64 = 4 * 8;

/// Why a check failed, for people.
type Fault = String;

fn main() -> i64 {
    let mut arguments = env::args().skip(1);
    let function = arguments.next();
    let request = arguments.next();
    let (Some(registry), Some(function), Some(request)) = (env::cap("manager"), function, request) else {
        println!("usage: stored-client FUNCTION REQUEST, with the capability 'manager'");
        return USAGE;
    };
    match run(registry, function, request.as_bytes()) {
        Ok(()) => 0,
        Err(why) => {
            println!("WRONG: {function}: {why}");
            1
        }
    }
}

fn run(registry: CapIndex, function: &str, request: &[u8]) -> Result<(), Fault> {
    let session = Session::open(registry).map_err(|error| format!("the client can't register: {error}"))?;
    let found = RomFunction::find(function).map_err(|error| format!("{error}"))?;
    let client = Client {
        session: &session,
        function: found,
        name: function,
        request,
    };
    let (file, answer) = client.store()?;
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

    fn restore(&self, name: &str, file: CapIndex) -> Result<(), Fault> {
        let environment = &self.function.manifest.environment;
        self.session
            .restore(
                name,
                self.function.code(),
                self.config(),
                environment,
                Cap::new(file),
            )
            .map_err(told("restoring it"))
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

    /// Stores what was started, first into what is too small.
    fn store(&self) -> Result<(OwnedCap, Vec<u8>), Fault> {
        self.create()?;
        let answer = self.invoke(self.name)?;
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

    /// Begins from the file.
    fn load(&self, file: &OwnedCap, answer: &[u8]) -> Result<(), Fault> {
        self.restore(self.name, file.index())?;
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
        let copy = |size: u64, flip: Option<u64>| -> Result<OwnedCap, Fault> {
            let copy = memory(size)?;
            let to = Dataspace(copy.index());
            let mut byte = [0];
            to.copy_in(0, Dataspace(file.index()), 0, size)
                .and_then(|()| match flip {
                    Some(offset) => {
                        to.read(offset, &mut byte)?;
                        to.write(offset, &[byte[0] ^ 4])
                    }
                    None => Ok(()),
                })
                .map_err(told("copying the file"))?;
            Ok(copy)
        };
        let files = [
            (self.name, copy(size, Some(0))?, "is no stored snapshot"),
            (self.name, copy(size, Some(8))?, "has another format"),
            (self.name, copy(size, Some(BUILD_BYTE))?, "is damaged in its head"),
            (self.name, copy(size, Some(size - 7))?, "is damaged at its end"),
            (self.name, copy(size - PAGE_SIZE, None)?, "is cut off"),
            (self.name, memory(PAGE_SIZE)?, "is empty"),
            ("another-name", copy(size, None)?, "is of another function"),
        ];
        for (name, file, what) in files {
            self.restore(name, file.index())?;
            if self.image(name)?.is_loaded {
                return Err(format!("a file that {what} was used"));
            }
            if name == self.name && self.invoke(name)? != answer {
                return Err(format!("beside a file that {what} it answers otherwise"));
            }
            self.delete(name)?;
            println!("{}: a file that {what} is not used", self.name);
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
