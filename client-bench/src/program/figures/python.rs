//! What an invocation of a function in Python costs that answers its argument.

use super::memory::{self, Instances};
use super::{Failed, INSTRUCTIONS, call, in_mode, lazy, report, total};
use crate::machine::Machine;
use alloc::format;
use interfaces::faas::{ActionConfig, ImageInfo, ImageState};
use interfaces::manifest::StartMode;
use l4re::clock;
use l4re::faas::{RomFunction, Session};

/// Measured invocations, back to back.
const COUNT: u64 = 100;
/// Instances that wait at once, for the figures of their memory and of waking them. Each has the right to less than the function
/// may use, so that many fit.
const HELD: Instances = Instances {
    count: 200,
    limit: 1 << 20,
};

/// Measured invocations of those that start an interpreter each time.
const COUNT_FRESH: u64 = 3;

/// Longest wait for a runtime that starts when nothing else does.
const PATIENCE_NS: u64 = 60_000_000_000;
/// How often is looked for it.
const LOOK_NS: u64 = 1_000_000;

/// How the function comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// From the snapshot in the boot image.
    Packed,
    /// Upon a runtime that was started ahead.
    UponSpare,
    /// Interpreter and function are started.
    Started,
}

/// Measures and prints.
pub(super) fn measure(machine: &Machine, session: &Session, function: &RomFunction) -> Result<(), Failed> {
    let bench = Bench {
        machine,
        session,
        function,
    };
    // Before anything that later ones would profit from.
    bench.first_replies("python_first_packed", Origin::Packed)?;
    bench.first_replies("python_first_started", Origin::Started)?;
    bench.first_replies("python_first_spare", Origin::UponSpare)?;
    let (snapshot, lazy) = (in_mode(function, StartMode::Snapshot), lazy(function));
    for (figure, origin, config, count) in [
        ("invoke_python", Origin::Started, snapshot.clone(), COUNT),
        ("invoke_python_lazy", Origin::Started, lazy.clone(), COUNT),
        ("invoke_python_spare", Origin::UponSpare, snapshot, COUNT),
        ("invoke_python_spare_lazy", Origin::UponSpare, lazy, COUNT),
        (
            "invoke_python_boot",
            Origin::Started,
            in_mode(function, StartMode::Boot),
            COUNT_FRESH,
        ),
        (
            "invoke_python_warm",
            Origin::Started,
            in_mode(function, StartMode::Warm),
            COUNT,
        ),
    ] {
        bench.calls(figure, origin, config, count)?;
    }
    bench.images()?;
    let (held, count) = (
        memory::hold(machine, session, function, HELD, b"{}")?,
        u64::from(HELD.count),
    );
    report("clone_memory_python_kib", "KiB", held.bytes >> 10, count);
    report("clone_wake_python", INSTRUCTIONS, held.wake_ns, count);
    Ok(())
}

/// Where is measured, and what.
struct Bench<'a> {
    machine: &'a Machine,
    session: &'a Session,
    function: &'a RomFunction,
}

impl Bench<'_> {
    /// Measures what it takes until a new function has answered once.
    fn first_replies(&self, figure: &str, origin: Origin) -> Result<(), Failed> {
        let config = in_mode(self.function, StartMode::Snapshot);
        let mut taken = 0;
        for _ in 0..COUNT_FRESH {
            self.get_ready(origin)?;
            let start = clock::now_ns();
            self.create(origin, config.clone())?;
            self.session.invoke("nothing", b"{}")?;
            taken += clock::now_ns() - start;
            self.image_of(origin)?;
            self.session.delete("nothing")?;
        }
        report(figure, INSTRUCTIONS, taken, COUNT_FRESH);
        Ok(())
    }

    /// Measures invocations back to back.
    fn calls(&self, figure: &str, origin: Origin, config: ActionConfig, count: u64) -> Result<(), Failed> {
        let has_image = config.mode == Some(StartMode::Snapshot);
        self.get_ready(origin)?;
        self.create(origin, config)?;
        if has_image {
            self.image_of(origin)?;
        }
        self.machine.quiet()?;
        let called = self.session.function("nothing");
        let taken = total(count, || call(&called, b"{}"))?;
        report(figure, INSTRUCTIONS, taken, count);
        self.session.delete("nothing")?;
        Ok(())
    }

    /// Measures the memory of images.
    fn images(&self) -> Result<(), Failed> {
        for (figure, origin) in [
            ("python_image_kib", Origin::Started),
            ("python_image_spare_kib", Origin::UponSpare),
        ] {
            self.get_ready(origin)?;
            self.create(origin, in_mode(self.function, StartMode::Snapshot))?;
            let image = self.image_of(origin)?;
            report(figure, "KiB", image.bytes >> 10, 1);
            self.session.delete("nothing")?;
        }
        Ok(())
    }

    /// Has the next function begin as it shall: with a spare runtime, or without one, which another function has got then.
    fn get_ready(&self, origin: Origin) -> Result<(), Failed> {
        if origin == Origin::UponSpare {
            if !self.has_spare()? {
                self.start_spare()?;
            }
            self.await_spare()?;
        }
        self.machine.quiet()?;
        if origin == Origin::Started && self.has_spare()? {
            // The next one only starts when nothing else is done.
            self.start_spare()?;
        }
        Ok(())
    }

    /// Creates another function, after which the manager starts a runtime for the next one.
    fn start_spare(&self) -> Result<(), Failed> {
        let config = in_mode(self.function, StartMode::Snapshot);
        self.session
            .create("another", self.function.code(), config, &[])?;
        self.session.delete("another")?;
        Ok(())
    }

    fn has_spare(&self) -> Result<bool, Failed> {
        Ok(self.session.actions().counters()?.spare_bytes > 0)
    }

    fn await_spare(&self) -> Result<(), Failed> {
        let deadline = clock::after(PATIENCE_NS);
        while !self.has_spare()? {
            if clock::now_ns() >= deadline {
                return Err(Failed("the manager starts no runtime ahead".into()));
            }
            clock::sleep(LOOK_NS);
        }
        Ok(())
    }

    fn create(&self, origin: Origin, config: ActionConfig) -> Result<(), Failed> {
        match origin {
            Origin::Packed => self.session.create_function("nothing", self.function, config)?,
            _ => self
                .session
                .create("nothing", self.function.code(), config, &[])?,
        }
        Ok(())
    }

    /// The function's image.
    ///
    /// # Errors
    /// It did not come to be as it should.
    fn image_of(&self, origin: Origin) -> Result<ImageInfo, Failed> {
        match self.session.describe("nothing")?.image {
            ImageState::Ready(info)
                if info.is_loaded == (origin == Origin::Packed)
                    && (info.depth > 0) == (origin == Origin::UponSpare) =>
            {
                Ok(info)
            }
            other => Err(Failed(format!(
                "the function began from {other:?}, not {origin:?}"
            ))),
        }
    }
}
