//! Files that are made when they are opened: what runtimes and tools read in `/proc` and `/sys` (proc(5)).

use alloc::format;
use alloc::string::String;

use crate::identity::{PID, USER};
use crate::{Process, System, memory};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generated {
    /// The memory map: only the stack, which is what runtimes look for.
    Maps,
    /// The program's state, in lines.
    Status,
    /// The program's state, in one line.
    State,
    /// Arguments of the program: its name.
    CommandLine,
    ControlGroup,
    Mounts,
    Processors,
    Memory,
    /// The list of CPUs.
    ProcessorList,
}

/// The contents.
pub(super) fn contents<S: System>(process: &mut Process<S>, file: Generated) -> String {
    match file {
        Generated::Maps => maps(process),
        Generated::Status => status(process),
        Generated::State => state(process),
        Generated::CommandLine => format!("{}\0", process.program.path),
        Generated::ControlGroup => String::from("0::/\n"),
        Generated::Mounts => {
            String::from("rom /rom rom ro 0 0\ntmpfs /tmp tmpfs rw 0 0\nproc /proc proc ro 0 0\n")
        }
        Generated::Processors => processors(process),
        Generated::Memory => {
            let kibibytes = process.system.memory() >> 10;
            format!(
                "MemTotal: {kibibytes:>15} kB\nMemFree: {kibibytes:>16} kB\nMemAvailable: {kibibytes:>11} kB\n"
            )
        }
        Generated::ProcessorList => processor_list(process.system.cpus()),
    }
}

/// The line of the main thread's stack.
fn maps<S: System>(process: &Process<S>) -> String {
    let start = process.program.stack_start;
    let end = start + memory::STACK_SIZE;
    format!("{start:x}-{end:x} rw-p 00000000 00:00 0                          [stack]\n")
}

fn name<S: System>(process: &mut Process<S>) -> String {
    let name = process.threads.current().name;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).into_owned()
}

fn status<S: System>(process: &mut Process<S>) -> String {
    let name = name(process);
    let threads = process.threads.numbered().count();
    let cpus = process.system.cpus();
    let list = processor_list(cpus);
    format!(
        "Name:\t{name}\nUmask:\t0022\nState:\tR (running)\nTgid:\t{PID}\nPid:\t{PID}\nPPid:\t1\n\
         Uid:\t{USER}\t{USER}\t{USER}\t{USER}\nGid:\t{USER}\t{USER}\t{USER}\t{USER}\nThreads:\t{threads}\n\
         Cpus_allowed:\t{cpus:x}\nCpus_allowed_list:\t{list}"
    )
}

/// Fields of `/proc/self/stat` behind the name, state and numbers of processes, that nothing here counts.
const UNCOUNTED: usize = 44;

fn state<S: System>(process: &mut Process<S>) -> String {
    let name = name(process);
    format!("{PID} ({name}) R 1 {PID} 1 0 -1{}\n", " 0".repeat(UNCOUNTED))
}

fn processors<S: System>(process: &mut Process<S>) -> String {
    let cpus = process.system.cpus();
    let numbers = (0..64).filter(|number| cpus & 1 << number != 0);
    numbers
        .map(|number| format!("processor\t: {number}\nvendor_id\t: unknown\nflags\t\t: fpu sse sse2\n\n"))
        .collect()
}

/// CPUs as a list of ranges.
fn processor_list(cpus: u64) -> String {
    let mut list = String::new();
    let mut number = 0;
    while number < 64 {
        let length = (cpus >> number).trailing_ones();
        if length > 0 {
            let separator = if list.is_empty() { "" } else { "," };
            list += separator;
            list += &match length {
                1 => format!("{number}"),
                _ => format!("{number}-{}", number + length - 1),
            };
        }
        number += length.max(1);
    }
    list.push('\n');
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, FakeSystem, call, process};

    fn text(process: &mut Process<FakeSystem>, path: &str) -> String {
        process.system.poke(BASE, path.as_bytes());
        process.system.poke(BASE + path.len() as u64, &[0]);
        let fd = call(process, 2, &[BASE, 0]).unwrap();
        let size = call(process, 0, &[fd, BASE, 4096]).unwrap();
        assert_eq!(call(process, 3, &[fd]), Ok(0));
        String::from_utf8(process.system.peek(BASE, size as usize)).unwrap()
    }

    #[test]
    fn maps_show_the_stack() {
        let text = text(&mut process(), "/proc/self/maps");
        assert!(text.ends_with("[stack]\n"), "{text}");
        assert!(text.starts_with("7ff000000000-7ff000800000 rw-p "), "{text}");
    }

    #[test]
    fn cpus_are_those_that_the_program_may_use() {
        let mut process = process();
        for path in [
            "/sys/devices/system/cpu/online",
            "/sys/devices/system/cpu/possible",
        ] {
            assert_eq!(text(&mut process, path), "0,2\n");
        }
        assert_eq!(
            text(&mut process, "/proc/cpuinfo").matches("processor").count(),
            2
        );
        assert_eq!(processor_list(0b1110_0001_1111), "0-4,9-11\n");
        assert_eq!(processor_list(u64::MAX), "0-63\n");
        assert_eq!(processor_list(1 << 63), "63\n");
    }

    #[test]
    fn the_programs_state_is_told() {
        let mut process = process();
        let status = text(&mut process, "/proc/self/status");
        assert!(
            status.contains("Name:\ttest\n") && status.contains("Threads:\t1\n"),
            "{status}"
        );
        let state = text(&mut process, "/proc/self/stat");
        assert!(state.starts_with("2 (test) R 1 2 "), "{state}");
        assert_eq!(state.split_whitespace().count(), 52);
        assert_eq!(text(&mut process, "/proc/self/cmdline"), "/rom/test\0");
        assert_eq!(text(&mut process, "/proc/self/cgroup"), "0::/\n");
        assert!(text(&mut process, "/proc/meminfo").contains("MemTotal:           65536 kB\n"));
        assert!(text(&mut process, "/proc/mounts").contains("tmpfs /tmp"));
    }
}
