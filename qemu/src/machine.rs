//! The emulated machine: QEMU's command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// CPU model: everything the emulator has, without the two flags that make programs prefer byte-wise string
/// instructions, which the emulator executes one byte at a time.
const CPU_MODEL: &str = "max,-erms,-fsrm";

/// Memory in MiB, unless the options say otherwise.
const MEMORY_MIB: &str = "1024";

/// Fewest CPUs, unless the options say otherwise: one for a client, one for everything else.
const MIN_CPUS: u32 = 2;

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU's translator, with a thread for each CPU.
    Tcg,
    /// QEMU's translator, counting instructions: one nanosecond each, always the same count.
    TcgCounted,
    /// The host's virtualization.
    Kvm,
}

/// What runs machines, as far as the user or the command has chosen.
#[derive(Clone, Debug, Default)]
pub struct Emulator {
    /// The QEMU program; the installed one if it is not named.
    pub program: String,
    /// What executes the guest's instructions; if `None`, what [`choose_accelerator`] finds.
    pub accelerator: Option<Accelerator>,
}

impl Emulator {
    /// This QEMU program, or the installed one without a name.
    #[must_use]
    pub fn of(program: &str) -> Self {
        Self {
            program: program.to_owned(),
            accelerator: None,
        }
    }
}

/// A machine to run.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The QEMU program.
    pub program: PathBuf,
    /// What executes the guest.
    pub accelerator: Accelerator,
    /// The boot image.
    pub kernel: PathBuf,
    /// Number of CPUs, unless `options` says.
    pub cpus: u32,
    /// Further options; each takes the place of ours of the same name.
    pub options: Vec<String>,
}

impl Machine {
    /// The command that runs the machine, with its console on standard output. The machine ends with the thread that starts it,
    /// also if this program is killed: nobody would end one that hangs.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = match ends_with_parent(&self.program) {
            Some(mut command) => {
                command.arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.args(self.arguments());
        command
    }

    fn arguments(&self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        let is_given = |names: &[&str]| {
            self.options
                .iter()
                .any(|option| names.contains(&option.trim_start_matches('-')))
        };
        let mut add = |names: &[&str], value: &str| {
            if !is_given(names) {
                arguments.push(format!("-{}", names[0]).into());
                arguments.push(value.into());
            }
        };
        add(&["machine", "M"], "q35");
        add(
            &["accel", "enable-kvm", "icount"],
            match self.accelerator {
                Accelerator::Tcg => "tcg,thread=multi",
                Accelerator::TcgCounted => "tcg",
                Accelerator::Kvm => "kvm",
            },
        );
        if self.accelerator == Accelerator::TcgCounted {
            add(&["icount"], "shift=0,sleep=off");
        }
        add(
            &["cpu"],
            if self.accelerator == Accelerator::Kvm {
                "host"
            } else {
                CPU_MODEL
            },
        );
        add(&["m"], MEMORY_MIB);
        add(&["smp"], &self.cpus.to_string());
        add(&["display", "nographic"], "none");
        add(&["serial"], "stdio");
        let exit_device = ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"];
        for flag in exit_device
            .into_iter()
            .chain(["-nodefaults", "-no-reboot", "-kernel"])
        {
            arguments.push(flag.into());
        }
        arguments.push(self.kernel.clone().into());
        arguments.extend(self.options.iter().map(OsString::from));
        arguments
    }
}

/// What starts a program, the next argument, such that it ends with the thread that starts it (`PR_SET_PDEATHSIG`, prctl(2)).
/// `None` without util-linux, or without that program, whose absence is to be seen when it is started.
fn ends_with_parent(program: &Path) -> Option<Command> {
    find_program(program.to_str()?)?;
    let mut command = Command::new(find_program("setpriv")?);
    command.args(["--pdeathsig", "KILL", "--"]);
    Some(command)
}

/// How many CPUs a run needs whose client gets `client_arguments`: one for each client thread.
#[must_use]
pub fn cpus_for(client_arguments: &str) -> u32 {
    let words = shlex::split(client_arguments).unwrap_or_default();
    let mut threads = None;
    for (index, word) in words.iter().enumerate() {
        let value = match word.as_str() {
            "--threads" | "-t" => words.get(index + 1).map(String::as_str),
            _ => word
                .strip_prefix("--threads=")
                .or_else(|| word.strip_prefix("-t").map(|value| value.trim_start_matches('='))),
        };
        threads = value.and_then(|value| value.parse().ok()).or(threads);
    }
    threads.unwrap_or(MIN_CPUS).max(MIN_CPUS)
}

/// Looks for a program in the folders of `PATH`.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Whether the CPU's flags, as `/proc/cpuinfo` lists them, include hardware virtualization.
#[must_use]
pub fn has_virtualization(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().filter(|line| line.starts_with("flags"));
    flags
        .flat_map(str::split_whitespace)
        .any(|flag| flag == "vmx" || flag == "svm")
}

/// KVM where the CPU has it and QEMU can use it; else the translator. A `/dev/kvm` alone is no sign: paravirtual
/// ones exist that boot no ordinary kernel.
#[must_use]
pub fn choose_accelerator(qemu: &Path) -> Accelerator {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if has_virtualization(&cpuinfo) && kvm_works(qemu) {
        Accelerator::Kvm
    } else {
        Accelerator::Tcg
    }
}

/// Starts an empty machine with KVM and ends it at once through the monitor.
fn kvm_works(qemu: &Path) -> bool {
    use std::io::Write;
    use std::process::Stdio;
    let child = Command::new(qemu)
        .args([
            "-accel",
            "kvm",
            "-machine",
            "q35",
            "-S",
            "-nodefaults",
            "-display",
            "none",
            "-monitor",
            "stdio",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    let is_asked = child
        .stdin
        .take()
        .is_some_and(|mut monitor| monitor.write_all(b"quit\n").is_ok());
    is_asked && child.wait().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::{Accelerator, Machine, cpus_for, has_virtualization};

    fn line(options: &[&str], accelerator: Accelerator) -> String {
        let machine = Machine {
            program: "qemu".into(),
            accelerator,
            kernel: "image".into(),
            cpus: 3,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
        };
        let words: Vec<_> = machine
            .arguments()
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        words.join(" ")
    }

    #[test]
    fn the_usual_machine() {
        assert_eq!(
            line(&[], Accelerator::Tcg),
            "-machine q35 -accel tcg,thread=multi -cpu max,-erms,-fsrm -m 1024 -smp 3 -display none -serial stdio \
             -device isa-debug-exit,iobase=0xf4,iosize=0x04 -nodefaults -no-reboot -kernel image"
        );
    }

    #[test]
    fn given_options_replace_ours() {
        let line = line(
            &["-smp", "5", "-m", "2G", "-device", "virtio-net-pci"],
            Accelerator::Tcg,
        );
        assert!(!line.contains("-smp 3") && !line.contains("1024"), "{line}");
        assert!(
            line.contains("isa-debug-exit") && line.ends_with("-smp 5 -m 2G -device virtio-net-pci"),
            "{line}"
        );
    }

    #[test]
    fn counting_instructions_needs_one_translator_thread() {
        let line = line(&[], Accelerator::TcgCounted);
        assert!(line.contains("-accel tcg -icount shift=0,sleep=off"), "{line}");
    }

    #[test]
    fn client_threads_get_a_cpu_each() {
        for (arguments, cpus) in [
            ("", 2),
            ("--threads=1", 2),
            ("--threads=4 --iterations=100", 4),
            ("--iterations 9 --threads 8", 8),
            ("-t3", 3),
            ("-t 5", 5),
            ("--threads=many", 2),
            ("--timeout=75ms", 2),
            ("'unclosed", 2),
        ] {
            assert_eq!(cpus_for(arguments), cpus, "{arguments}");
        }
    }

    #[test]
    fn virtualization_is_a_whole_flag() {
        assert!(has_virtualization("processor: 0\nflags\t\t: fpu vmx de\n"));
        assert!(!has_virtualization("flags : fpu vmx_not\nbugs : svm\n"));
    }
}
