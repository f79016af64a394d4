//! Runs a machine: passes its console on, watches for silence, reads the verdict.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use std::os::unix::process::ExitStatusExt;

use crate::error::Error;

/// QEMU's exit status after the guest reported success through `isa-debug-exit`.
const EXIT_SUCCESS: i32 = 33;

/// QEMU's exit status after the guest reported failure.
const EXIT_FAILURE: i32 = 35;

/// How many lines of the console a failure shows.
pub const TAIL_LINES: usize = 50;

/// How often the loop looks for an interrupt or a limit.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long QEMU may take to end after it closed its console.
const EXIT_GRACE: Duration = Duration::from_secs(5);

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The guest said that all went well.
    Success,
    /// The guest said that something went wrong.
    Failure,
    /// The machine reset or switched off without a word of the guest: a triple fault.
    NoVerdict,
    /// The console was silent for this long.
    Hang(Duration),
    /// The run took longer than this in all.
    TooLong(Duration),
    /// QEMU itself failed with this status.
    Emulator(i32),
    /// A signal ended QEMU.
    Killed(i32),
    /// The observer had seen enough.
    Stopped,
    /// The user pressed Ctrl-C, or this program was asked to end.
    Interrupted,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Success => f.write_str("success"),
            Self::Failure => f.write_str("the system reported a failure (QEMU's exit status 35)"),
            Self::NoVerdict => f.write_str(
                "the machine ended without a verdict (QEMU's exit status 0), as after a triple fault",
            ),
            Self::Hang(silence) => {
                write!(
                    f,
                    "the console was silent for {} s: the system hangs (TIMEOUT= sets the limit)",
                    silence.as_secs()
                )
            }
            Self::TooLong(limit) => write!(f, "still running after {} s", limit.as_secs()),
            Self::Emulator(status) => write!(f, "QEMU failed with exit status {status}"),
            Self::Killed(signal) => write!(f, "QEMU was ended by signal {signal}"),
            Self::Stopped => f.write_str("ended at the awaited line"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

/// What an observer thinks of a line of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Nothing.
    None,
    /// It and its time are kept.
    Keep,
    /// It and its time are kept, and the machine has done its work.
    Stop,
}

/// A machine to run and how to watch it.
#[derive(Debug)]
pub struct Watch {
    /// Where all that the console shows is kept.
    pub log: PathBuf,
    /// Whether the console is passed on to standard output.
    pub is_shown: bool,
    /// How long the console may be silent; `None` for ever.
    pub silence: Option<Duration>,
    /// How long the run may take; `None` for ever.
    pub limit: Option<Duration>,
    /// Set when the user wants to stop.
    pub interrupt: Arc<AtomicBool>,
}

/// What a run left.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub verdict: Verdict,
    /// The last lines of the console and of QEMU's error output.
    pub tail: Vec<String>,
    /// How long it took.
    pub elapsed: Duration,
    /// When each line that [`Watch::run`]'s `observe` was interested in came, from QEMU's start.
    pub marks: Vec<(Duration, String)>,
}

/// Something that the machine's process wrote, or the end of one of its outputs.
enum Event {
    Console(Vec<u8>),
    Emulator(Vec<u8>),
    Closed,
}

impl Watch {
    /// Runs the command until it ends, hangs or is interrupted. `observe` sees each line of the console and may
    /// end the run.
    ///
    /// # Errors
    /// [`Error::Io`]: QEMU cannot be started, or the log or standard output not be written.
    pub fn run(&self, mut command: Command, observe: impl Fn(&str) -> Interest) -> Result<Outcome, Error> {
        if let Some(folder) = self.log.parent() {
            std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        let log = File::create(&self.log).map_err(Error::io(&self.log))?;
        let program = PathBuf::from(command.get_program());
        let started = Instant::now();
        // With no terminal at any of its ends, QEMU cannot change a terminal's settings.
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::io(&program))?;
        let (sender, events) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            forward(output, sender.clone(), Event::Console);
        }
        if let Some(output) = child.stderr.take() {
            forward(output, sender, Event::Emulator);
        }
        let mut console = Console::new(BufWriter::new(log), &self.log, self.is_shown, started);
        let ended = self.pass_on(&events, &mut console, started, &observe);
        let verdict = match ended {
            Ok(None) => self.exit_verdict(&mut child),
            Ok(Some(verdict)) => end(&mut child, verdict),
            Err(error) => {
                end(&mut child, Verdict::Interrupted).map_err(Error::io(&program))?;
                return Err(error);
            }
        };
        let verdict = verdict.map_err(Error::io(&program))?;
        console.finish(&observe)?;
        Ok(Outcome {
            verdict,
            tail: console.tail.into(),
            elapsed: started.elapsed(),
            marks: console.marks,
        })
    }

    /// Handles output until both streams are closed (`None`) or there is a reason to stop.
    fn pass_on(
        &self,
        events: &Receiver<Event>,
        console: &mut Console<'_>,
        started: Instant,
        observe: &impl Fn(&str) -> Interest,
    ) -> Result<Option<Verdict>, Error> {
        let mut last_output = Instant::now();
        let mut open_streams = 2;
        while open_streams > 0 {
            match events.recv_timeout(POLL_INTERVAL) {
                Ok(Event::Console(bytes)) => {
                    last_output = Instant::now();
                    console.take(&bytes, observe)?;
                }
                Ok(Event::Emulator(bytes)) => console.take_foreign(&bytes)?,
                Ok(Event::Closed) => open_streams -= 1,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.interrupt.load(Ordering::Relaxed) {
                return Ok(Some(Verdict::Interrupted));
            }
            if console.is_enough {
                return Ok(Some(Verdict::Stopped));
            }
            if let Some(limit) = self.silence.filter(|&limit| last_output.elapsed() >= limit) {
                return Ok(Some(Verdict::Hang(limit)));
            }
            if let Some(limit) = self.limit.filter(|&limit| started.elapsed() >= limit) {
                return Ok(Some(Verdict::TooLong(limit)));
            }
        }
        Ok(None)
    }

    /// Waits for the end of a process whose outputs are closed.
    fn exit_verdict(&self, child: &mut Child) -> io::Result<Verdict> {
        let deadline = Instant::now() + EXIT_GRACE;
        loop {
            if let Some(status) = child.try_wait()? {
                let is_interrupted = self.interrupt.load(Ordering::Relaxed);
                return Ok(if is_interrupted {
                    Verdict::Interrupted
                } else {
                    verdict_of(status)
                });
            }
            if Instant::now() >= deadline {
                return end(child, Verdict::Hang(EXIT_GRACE));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

/// Ends the process and waits for it, so that none is left behind.
fn end(child: &mut Child, verdict: Verdict) -> io::Result<Verdict> {
    child.kill()?;
    child.wait()?;
    Ok(verdict)
}

fn verdict_of(status: ExitStatus) -> Verdict {
    match (status.code(), status.signal()) {
        (Some(EXIT_SUCCESS), _) => Verdict::Success,
        (Some(EXIT_FAILURE), _) => Verdict::Failure,
        (Some(0), _) => Verdict::NoVerdict,
        (Some(status), _) => Verdict::Emulator(status),
        (None, signal) => Verdict::Killed(signal.unwrap_or_default()),
    }
}

/// Sends what a stream yields to the channel, from a thread of its own.
fn forward(mut stream: impl Read + Send + 'static, events: Sender<Event>, wrap: fn(Vec<u8>) -> Event) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) if events.send(wrap(buffer[..count].to_vec())).is_err() => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        // The receiver may be gone already; then nobody waits for this.
        let _ = events.send(Event::Closed);
    });
}

/// Collects the console's output.
struct Console<'a> {
    log: BufWriter<File>,
    log_path: &'a Path,
    is_shown: bool,
    started: Instant,
    line: Vec<u8>,
    tail: VecDeque<String>,
    marks: Vec<(Duration, String)>,
    is_enough: bool,
}

impl<'a> Console<'a> {
    fn new(log: BufWriter<File>, log_path: &'a Path, is_shown: bool, started: Instant) -> Self {
        Self {
            log,
            log_path,
            is_shown,
            started,
            line: Vec::new(),
            tail: VecDeque::new(),
            marks: Vec::new(),
            is_enough: false,
        }
    }

    fn take(&mut self, bytes: &[u8], observe: &impl Fn(&str) -> Interest) -> Result<(), Error> {
        if self.is_shown {
            let mut out = io::stdout().lock();
            out.write_all(bytes)
                .and_then(|()| out.flush())
                .map_err(Error::io(Path::new("standard output")))?;
        }
        self.log.write_all(bytes).map_err(Error::io(self.log_path))?;
        for &byte in bytes {
            match byte {
                b'\n' => self.end_line(observe),
                b'\r' => {}
                _ => self.line.push(byte),
            }
        }
        Ok(())
    }

    /// QEMU's own messages: shown and remembered, but no part of the guest's log.
    fn take_foreign(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.is_shown {
            io::stderr()
                .write_all(bytes)
                .map_err(Error::io(Path::new("standard error")))?;
        }
        for line in String::from_utf8_lossy(bytes).lines() {
            self.remember(line.to_owned());
        }
        Ok(())
    }

    fn end_line(&mut self, observe: &impl Fn(&str) -> Interest) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        let interest = observe(&line);
        if interest != Interest::None {
            self.marks.push((self.started.elapsed(), line.clone()));
        }
        self.is_enough |= interest == Interest::Stop;
        self.remember(line);
    }

    fn remember(&mut self, line: String) {
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    fn finish(&mut self, observe: &impl Fn(&str) -> Interest) -> Result<(), Error> {
        if !self.line.is_empty() {
            self.end_line(observe);
            if self.is_shown {
                println!();
            }
        }
        if self.is_shown && io::stdout().is_terminal() {
            // Whatever colour the guest's last line had, the shell's prompt has its own.
            print!("\x1b[0m");
        }
        self.log.flush().map_err(Error::io(self.log_path))
    }
}

/// Reads a console log as lines, whatever bytes the guest wrote.
///
/// # Errors
/// The file cannot be read.
pub fn read_log(path: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&std::fs::read(path)?).replace('\r', ""))
}

#[cfg(test)]
mod tests;
