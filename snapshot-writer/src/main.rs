//! Prepares functions of the boot image and writes their snapshots to the host: `snapshot-writer FUNCTION…`.
//!
//! The image tool boots it, takes what comes out of the debug console, and packs it into the image that is wanted.
#![no_std]
#![no_main]

extern crate alloc;

use core::fmt;

use interfaces::faas::client::ClientError;
use interfaces::faas::{ActionConfig, FaasError};
use interfaces::manifest::StartMode;
use l4::object::{Dataspace, Vcon};
use l4::{Error, PAGE_SIZE};
use l4_rpc::{CallError, Cap};
use l4re::faas::{FunctionError, RomFunction, Session};
use l4re::memory::{self, SealedView};
use l4re::{OwnedCap, env, println};
use stored_image::Record;

l4re::entry!(main);

/// Exit code for a wrong command line.
const USAGE: i64 = 2;
/// Most attempts to store: a snapshot does not grow, so the second one fits.
const ATTEMPTS: u32 = 3;

/// Why there is no snapshot.
enum Fault {
    Function(FunctionError),
    Manager(ClientError),
    /// The kernel refused something.
    Kernel(&'static str, Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Function(error) => error.fmt(f),
            Fault::Manager(error) => error.fmt(f),
            Fault::Kernel(doing, error) => write!(f, "{doing}: {error}"),
        }
    }
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Fault {
        Fault::Manager(error)
    }
}

fn kernel(doing: &'static str) -> impl Fn(Error) -> Fault {
    move |error| Fault::Kernel(doing, error)
}

fn main() -> i64 {
    let mut functions = env::args().skip(1).peekable();
    let (Some(registry), Some(out), Some(_)) = (env::cap("manager"), env::cap("debugcon"), functions.peek())
    else {
        println!("usage: snapshot-writer FUNCTION..., with the capabilities 'manager' and 'debugcon'");
        return USAGE;
    };
    let session = match Session::open(registry) {
        Ok(session) => session,
        Err(error) => {
            println!("no session with the manager: {error}");
            return 1;
        }
    };
    for name in functions {
        match write(&session, name, Vcon(out)) {
            Ok(bytes) => println!("{name}: its snapshot has {} KiB", bytes >> 10),
            Err(why) => {
                println!("{name}: there is no snapshot: {why}");
                return 1;
            }
        }
    }
    0
}

/// Prepares a function and writes its snapshot; returns the length of that.
fn write(session: &Session, name: &str, out: Vcon) -> Result<usize, Fault> {
    let function = RomFunction::find(name).map_err(Fault::Function)?;
    let config = ActionConfig {
        // What can't be frozen is an error then.
        mode: Some(StartMode::Snapshot),
        ..function.config()
    };
    session.create(name, function.code(), config, &function.manifest.environment)?;
    let (stored, length) = store(session, name)?;
    session.delete(name)?;
    Dataspace(stored.index()).seal().map_err(kernel("sealing it"))?;
    let view = SealedView::attach(Dataspace(stored.index())).map_err(kernel("reading it"))?;
    let file = &view.bytes()[..length];
    let record = Record { name, file };
    out.write(&record.head())
        .and_then(|()| out.write(file))
        .map_err(kernel("writing it to the debug console"))?;
    Ok(length)
}

/// Has the manager store the snapshot in a dataspace that is large enough.
fn store(session: &Session, name: &str) -> Result<(OwnedCap, usize), Fault> {
    let mut size = PAGE_SIZE;
    for _ in 0..ATTEMPTS {
        let into = memory::create_dataspace(size).map_err(kernel("memory for it"))?;
        let length = session.store(name, Cap::new(into.index()))?;
        if length <= size {
            let length = usize::try_from(length).map_err(|_| kernel("its length")(Error::TooBig))?;
            return Ok((into, length));
        }
        size = length;
    }
    // A manager that counts upwards would keep us here for ever.
    Err(Fault::Manager(CallError::Server(FaasError::InvalidPayload)))
}
