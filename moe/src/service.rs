//! What the root task answers.

use crate::{Logs, Modules};
use alloc::string::String;
use interfaces::log::{Colour, LogError, LogFactory, LogFactoryInterface};
use interfaces::namespace::{NAME_MAX, Namespace, NamespaceError, NamespaceInterface};
use interfaces::parent::{self, Parent, ParentError, ParentInterface, ParentReply};
use l4::exception::{ExceptionFrame, Reason};
use l4::object::{Dataspace, Vcon};
use l4::protocol::{EXCEPTION, VCON, vcon};
use l4::{Error, Rights, Tag, Utcb};
use l4_rpc::{Caller, Cap, Incoming, Reply};
use l4re::server::Service;

/// The labels of the root task's gate: who calls, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// The namespace of boot modules.
    Rom,
    /// The factory of logs.
    LogFactory,
    /// Signals of init.
    Parent,
    /// Faults of init.
    Fault,
    /// The log with this number.
    Log(usize),
}

impl Labels {
    const FIRST_LOG: u64 = 0x1000;
    const STEP: u64 = 4;

    /// The label, whose two lowest bits are 0.
    pub const fn label(self) -> u64 {
        match self {
            Labels::Rom => 0x10,
            Labels::LogFactory => 0x20,
            Labels::Parent => 0x30,
            Labels::Fault => 0x40,
            Labels::Log(number) => Self::FIRST_LOG + Self::STEP * number as u64,
        }
    }

    /// What a label means.
    pub const fn of(label: u64) -> Option<Labels> {
        match label {
            0x10 => Some(Labels::Rom),
            0x20 => Some(Labels::LogFactory),
            0x30 => Some(Labels::Parent),
            0x40 => Some(Labels::Fault),
            Self::FIRST_LOG.. => Some(Labels::Log(((label - Self::FIRST_LOG) / Self::STEP) as usize)),
            _ => None,
        }
    }
}

/// What the root task needs from the machine.
pub trait Platform {
    /// Shows bytes on the console.
    fn show(&mut self, bytes: &[u8]);

    /// A capability to the root task's gate with this label, to be moved to who asked for it.
    ///
    /// # Errors
    /// Why there is none.
    fn mint(&mut self, label: Labels) -> Result<Cap<Vcon>, Error>;
}

/// The root task's state.
#[derive(Debug)]
pub struct Moe<P> {
    modules: Modules,
    logs: Logs,
    platform: P,
    verdict: Option<bool>,
}

impl<P: Platform> Moe<P> {
    /// A root task that serves `modules`.
    pub fn new(modules: Modules, platform: P) -> Moe<P> {
        Moe {
            modules,
            logs: Logs::default(),
            platform,
            verdict: None,
        }
    }

    /// The modules.
    pub fn modules(&self) -> &Modules {
        &self.modules
    }

    /// The platform.
    pub fn platform(&mut self) -> &mut P {
        &mut self.platform
    }

    /// Makes a log and returns its label.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn create_log(&mut self, tag: &str, colour: Colour) -> Result<Labels, LogError> {
        self.logs.create(tag, colour).map(Labels::Log)
    }

    /// Ends with what init said: shows the rest of the logs and the reason of a failure. Returns whether all went well.
    pub fn finish(&mut self) -> bool {
        self.logs.flush(&mut |bytes| self.platform.show(bytes));
        self.verdict.unwrap_or(false)
    }

    /// Shows a line of the root task's own.
    pub fn say(&mut self, text: core::fmt::Arguments<'_>) {
        self.platform.show(alloc::format!("MOE: {text}\n").as_bytes());
    }

    fn write_log(&mut self, number: usize, incoming: &Incoming) -> Result<(), Error> {
        if incoming.word(0)? != vcon::WRITE {
            return Err(Error::NoSystemCall);
        }
        let length = usize::try_from(incoming.word(1)?).map_err(|_| Error::MessageTooShort)?;
        let bytes = incoming.bytes()[16..]
            .get(..length)
            .ok_or(Error::MessageTooShort)?;
        match self
            .logs
            .write(number, bytes, &mut |bytes| self.platform.show(bytes))
        {
            true => Ok(()),
            false => Err(Error::NotFound),
        }
    }

    fn init_exited(&mut self, code: u64) {
        if code != 0 {
            self.say(format_args!("init ended with code {code}"));
        }
        self.verdict = Some(code == 0);
    }

    fn init_faulted(&mut self, incoming: &Incoming) {
        let mut words = [0; ExceptionFrame::WORDS];
        for (index, word) in words.iter_mut().enumerate() {
            *word = incoming.word(index).unwrap_or(0);
        }
        let frame = ExceptionFrame::from_words(&words);
        let kind = match Reason::from_word(frame.reason) {
            Some(Reason::PageFault) => "unresolved page fault",
            Some(Reason::Exception) => "unhandled exception",
            Some(Reason::Quota) => "memory limit reached",
            Some(Reason::Triggered) => "triggered exception",
            None => "unknown fault",
        };
        self.say(format_args!(
            "init: {kind} (vector {}, error {:#x}) at address {:#x}, instruction {:#x}, stack {:#x}",
            frame.vector, frame.error, frame.address, frame.rip, frame.rsp
        ));
        self.verdict = Some(false);
    }
}

impl<P: Platform> Service for Moe<P> {
    fn serve(&mut self, incoming: &Incoming, utcb: &Utcb) -> Reply {
        let protocol = incoming.tag().label();
        match Labels::of(incoming.caller().label) {
            Some(Labels::Rom) => NamespaceInterface::dispatch(self, incoming, utcb),
            Some(Labels::LogFactory) => LogFactoryInterface::dispatch(self, incoming, utcb),
            Some(Labels::Parent) => ParentInterface::dispatch(self, incoming, utcb),
            Some(Labels::Fault) if protocol == EXCEPTION => {
                self.init_faulted(incoming);
                Reply::Deferred
            }
            Some(Labels::Log(number)) if protocol == VCON => match self.write_log(number, incoming) {
                Ok(()) => Reply::Now(Tag::new(0, 0, 0)),
                Err(error) => Reply::error(error),
            },
            Some(_) => Reply::error(Error::BadProtocol),
            None => Reply::error(Error::NotFound),
        }
    }

    fn is_finished(&self) -> bool {
        self.verdict.is_some()
    }
}

impl<P: Platform> Namespace for Moe<P> {
    fn query(&mut self, _: Caller, name: &str) -> Result<(Cap<Dataspace>, u64), NamespaceError> {
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(NamespaceError::InvalidName);
        }
        let module = self.modules.find(name).ok_or(NamespaceError::NotFound)?;
        Ok((Cap::new(module.dataspace).with_rights(Rights::READ), module.size))
    }

    fn list(&mut self, _: Caller, index: u64) -> Result<Option<(String, u64)>, NamespaceError> {
        Ok(self
            .modules
            .get(index)
            .map(|module| (module.name.clone(), module.size)))
    }
}

impl<P: Platform> LogFactory for Moe<P> {
    fn create(&mut self, _: Caller, tag: &str, colour: Colour) -> Result<Cap<Vcon>, LogError> {
        let label = self.create_log(tag, colour)?;
        self.platform.mint(label).map_err(|_| {
            self.logs.remove_last();
            LogError::TooManyLogs
        })
    }
}

impl<P: Platform> Parent for Moe<P> {
    fn signal(&mut self, _: Caller, utcb: &Utcb, signal: u64, code: u64) -> Reply {
        if signal != parent::EXIT {
            return Reply::Now(ParentReply::signal(utcb, Err(&ParentError::UnknownSignal)));
        }
        self.init_exited(code);
        Reply::Deferred
    }
}
