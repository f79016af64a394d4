//! The command as users call it, on a small project of its own, with a script in QEMU's place.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use interfaces::manifest::{Manifest, Runtime};
use l4::archive::{self, Archive};
use stored_image::{Digest, Record};
use tempfile::TempDir;

const LIST: &str = "searchpath more\nentry main\nkernel kernel -quiet\nmoe boot.cfg\nfunction greet\n\
                    entry outside\nkernel kernel\nmoe boot.cfg\nfunction guest\n\
                    entry broken\nkernel kernel\nmodule absent\n";

/// A project with a kernel and a root task (both ordinary programs), a boot script and a function.
struct Project {
    folder: TempDir,
}

impl Project {
    fn new(qemu_script: &str) -> Self {
        let project = Self {
            folder: TempDir::new().unwrap(),
        };
        project.write(
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"kernel\", \"moe\"]\n",
        );
        for name in ["kernel", "moe"] {
            project.package(name, "[package.metadata.aerie]\nclass = \"std\"\n");
        }
        project.write("modules.list", LIST);
        project.write("cfg/boot.cfg", "-- a boot script\n");
        project.write(
            "functions/greet/function.toml",
            "runtime = \"python\"\ncode = \"greet.py\"\nmemory = \"4M\"\n",
        );
        project.write("functions/greet/greet.py", "def main(arg): return arg\n");
        let script = format!(
            "#!/bin/sh\necho \"$@\" > '{}'\n{qemu_script}\n",
            project.path("arguments").display()
        );
        project.write("qemu", &script);
        fs::set_permissions(project.path("qemu"), fs::Permissions::from_mode(0o755)).unwrap();
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn package(&self, name: &str, more: &str) {
        let manifest =
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{more}");
        self.write(&format!("{name}/Cargo.toml"), &manifest);
        self.write(&format!("{name}/src/main.rs"), "fn main() {}\n");
    }

    fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aerie-qemu"));
        command
            .arg(subcommand)
            .current_dir(self.folder.path())
            .env("QEMU_PATH", self.path("qemu"));
        for name in [
            "CARGO_TARGET_DIR",
            "RUSTFLAGS",
            "E",
            "CLIENT_ARGS",
            "QEMU_OPTIONS",
            "TIMEOUT",
        ] {
            command.env_remove(name);
        }
        command
    }

    fn call(&self, subcommand: &str, variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
        let mut command = self.command(subcommand);
        let Output {
            status,
            stdout,
            stderr,
        } = command.envs(variables.iter().copied()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (status.code(), text(stdout), text(stderr))
    }
}

/// The archive in an image: it begins at a page of the file.
fn archive_of(image: &Path) -> Vec<u8> {
    let bytes = fs::read(image).unwrap();
    let start = (0..bytes.len())
        .step_by(4096)
        .find(|&at| bytes[at..].starts_with(&archive::MAGIC))
        .unwrap();
    bytes[start..].to_vec()
}

fn module<'a>(bytes: &'a [u8], archive: &Archive<'_>, name: &str) -> &'a [u8] {
    let entry = archive.find(name).unwrap();
    &bytes[usize::try_from(entry.offset).unwrap()..][..usize::try_from(entry.size).unwrap()]
}

#[test]
fn an_entry_is_packed_and_run() {
    let project = Project::new("echo all is well\nexit 33");
    let variables = [("CLIENT_ARGS", "--threads=4 --show"), ("QEMU_OPTIONS", "-m 512")];
    let (status, console, messages) = project.call("run", &variables);
    assert_eq!(
        (status, console.as_str()),
        (Some(0), "all is well\n"),
        "{messages}"
    );
    assert!(messages.contains("[5/5]"), "{messages}");
    let arguments = fs::read_to_string(project.path("arguments")).unwrap();
    assert!(
        arguments.contains("-smp 4") && arguments.trim_end().ends_with("-m 512"),
        "{arguments}"
    );
    let bytes = archive_of(&project.path("target/images/main/image"));
    let archive = Archive::parse(&bytes).unwrap();
    let names: Vec<_> = archive.entries().map(|entry| entry.name).collect();
    assert_eq!(
        names,
        ["moe", "boot.cfg", "functions/greet", "functions/greet.conf"]
    );
    assert_eq!(archive.command_line(), "kernel -quiet");
    let moe = archive.find("moe").unwrap();
    assert_eq!(
        (moe.command_line, moe.is_executable),
        ("moe rom/boot.cfg -- --threads=4 --show", true)
    );
    assert_eq!(module(&bytes, &archive, "boot.cfg"), b"-- a boot script\n");
    assert_eq!(
        module(&bytes, &archive, "functions/greet"),
        b"def main(arg): return arg\n"
    );
    let manifest = Manifest::decode(module(&bytes, &archive, "functions/greet.conf")).unwrap();
    assert_eq!(
        (manifest.runtime, manifest.memory_bytes),
        (Runtime::Python, Some(4 << 20))
    );
}

#[test]
fn a_function_of_another_project_is_built_and_packed() {
    let project = Project::new("exit 33");
    let elsewhere = TempDir::new().unwrap();
    let folder = elsewhere.path().join("guest");
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(
        folder.join("Cargo.toml"),
        "[package]\nname = \"my-guest\"\nversion = \"1.0.0\"\nedition = \"2024\"\n",
    )
    .unwrap();
    fs::write(folder.join("src/main.rs"), "fn main() {}\n").unwrap();
    fs::write(folder.join("function.toml"), "runtime = \"linux\"\n").unwrap();
    let (status, _, messages) = project.call("image", &[("E", "outside")]);
    assert_eq!(status, Some(1));
    assert!(
        messages.contains("modules.list:9: there is no function `guest`"),
        "{messages}"
    );
    let search_path = elsewhere.path().to_str().unwrap();
    let variables = [("E", "outside"), ("MODULE_SEARCH_PATH", search_path)];
    let (status, image, messages) = project.call("image", &variables);
    assert_eq!(status, Some(0), "{messages}");
    let bytes = archive_of(Path::new(image.trim_end()));
    let archive = Archive::parse(&bytes).unwrap();
    assert!(archive.find("functions/guest").unwrap().is_executable);
    assert!(module(&bytes, &archive, "functions/guest").starts_with(b"\x7fELF"));
}

#[test]
fn source_code_becomes_programs_and_installed_ones_are_found() {
    let project = Project::new("exit 33");
    project.write("tool.c", "int main(void) { return 0; }\n");
    project.write(
        "more.list",
        "kernel kernel\nentry a\nroottask moe\nmodule tool.c\nmodule[fname=moving,pie] tool.c\nmodule[package=coreutils] cat\n\
         entry b\nroottask moe\nmodule[compiler=tcc] tool.c\nentry c\nroottask moe\nmodule[compiler=go,pie] tool.c\n",
    );
    let image = |entry| project.call("image", &[("MODULES_LIST", "more.list"), ("E", entry)]);
    let (status, path, messages) = image("a");
    assert_eq!(status, Some(0), "{messages}");
    let bytes = archive_of(Path::new(path.trim_end()));
    let archive = Archive::parse(&bytes).unwrap();
    for (name, kind) in [("tool", 2), ("moving", 3)] {
        assert!(archive.find(name).unwrap().is_executable);
        assert_eq!(module(&bytes, &archive, name)[16], kind, "{name}");
    }
    assert!(module(&bytes, &archive, "cat").starts_with(b"\x7fELF"));
    for (entry, part) in [
        (
            "b",
            "more.list:9: `./tool.c` cannot be compiled that way: the compilers are cc, c++, musl-gcc, go, rustc, not tcc",
        ),
        (
            "c",
            "more.list:12: `./tool.c` cannot be compiled that way: its compiler makes no static programs",
        ),
    ] {
        let (status, _, messages) = image(entry);
        assert!(status == Some(1) && messages.contains(part), "{messages}");
    }
}

#[test]
fn code_that_cannot_run_is_refused_with_its_file() {
    let project = Project::new("exit 33");
    let name = "functions/broken";
    project.write(
        &format!("{name}/function.toml"),
        "runtime = \"linux\"\ncode = \"code\"\n",
    );
    project.write(
        "a.list",
        "kernel kernel\nentry a\nroottask moe\nfunction broken\n",
    );
    let variables = [("MODULES_LIST", "a.list"), ("E", "a")];
    for (code, part) in [
        ("#!/bin/sh\n", "code cannot be run: a script: "),
        (
            "hello",
            "code cannot be run: not an ELF file: it must be a static program",
        ),
        ("", "code cannot be run: it is empty"),
        (
            "\x7fELF",
            "code cannot be run: the file ends before its headers do: ",
        ),
    ] {
        project.write(&format!("{name}/code"), code);
        let (status, _, messages) = project.call("image", &variables);
        assert_eq!(status, Some(1), "{messages}");
        let part = format!("`{name}`: {}/{part}", project.path(name).display());
        assert!(messages.contains(&part), "{part}: {messages}");
    }
    let large = fs::File::create(project.path(&format!("{name}/code"))).unwrap();
    large.set_len(600 << 20).unwrap();
    let (_, _, messages) = project.call("image", &variables);
    assert!(
        messages.contains("code: it has 600 MiB, an image can hold 512 MiB"),
        "{messages}"
    );
}

#[test]
fn only_the_guests_success_is_success() {
    for (script, part) in [
        ("echo bad end; exit 35", "the system reported a failure"),
        ("echo bad end; exit 0", "without a verdict"),
        ("echo bad end; exit 1", "QEMU failed with exit status 1"),
        ("echo bad end; exec sleep 30", "silent for"),
    ] {
        let project = Project::new(script);
        let (status, _, messages) = project.call("run", &[("TIMEOUT", "1")]);
        assert_eq!(status, Some(1), "{script}: {messages}");
        assert!(
            messages.contains(part) && messages.contains("bad end\n"),
            "{script}: {messages}"
        );
    }
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let project = Project::new("echo $$ > pid; exec sleep 60");
    let mut command = project.command("run");
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let guest = loop {
        match fs::read_to_string(project.path("pid")) {
            Ok(pid) if pid.ends_with('\n') => break pid.trim().to_owned(),
            _ => assert!(
                begun.elapsed() < Duration::from_secs(120),
                "the machine never started"
            ),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(
        Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!Path::new("/proc").join(guest).exists());
}

#[test]
fn wrong_names_and_values_are_explained() {
    let project = Project::new("exit 33");
    for (variables, status, part) in [
        (
            [("E", "nope")],
            1,
            "there is no entry `nope`; the entries are: broken, main, outside",
        ),
        (
            [("E", "broken")],
            1,
            "modules.list:12: `absent` is neither a package of the workspace nor a file",
        ),
        (
            [("TIMEOUT", "soon")],
            2,
            "TIMEOUT is a number of seconds, not `soon`",
        ),
        ([("QEMU_OPTIONS", "-name 'x")], 2, "quote that is not closed"),
        (
            [("CLIENT_ARGS", "--payload='x")],
            2,
            "CLIENT_ARGS has a quote that is not closed",
        ),
        ([("MODULES_LIST", "absent.list")], 1, "cannot read absent.list"),
    ] {
        let (actual, _, messages) = project.call("run", &variables);
        assert!(
            actual == Some(status) && messages.contains(part),
            "{variables:?}: {actual:?} {messages}"
        );
    }
    let long = "x".repeat(500);
    let (status, _, messages) = project.call("run", &[("CLIENT_ARGS", long.as_str())]);
    assert!(
        status == Some(1) && messages.contains("up to 423 bytes"),
        "{messages}"
    );
}

#[test]
fn entries_are_listed() {
    let (status, list, _) = Project::new("").call("list", &[]);
    assert_eq!(status, Some(0));
    let names: Vec<_> = list
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(names, ["main", "outside", "broken"]);
    assert!(list.lines().next().unwrap().ends_with("(default)"));
}

#[test]
fn a_missing_emulator_that_cannot_be_installed_is_named() {
    let project = Project::new("");
    let tools = TempDir::new().unwrap();
    fs::write(tools.path().join("rustc"), "#!/bin/sh\necho rustc 1.95.0\n").unwrap();
    fs::set_permissions(tools.path().join("rustc"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = tools.path().to_str().unwrap();
    let (status, _, messages) = project.call("run", &[("QEMU_PATH", ""), ("PATH", path)]);
    assert_eq!(status, Some(2), "{messages}");
    assert!(
        messages.contains("apt-get install -y --no-install-recommends qemu-system-x86"),
        "{messages}"
    );
    fs::write(tools.path().join("rustc"), "#!/bin/sh\necho rustc 1.80.1\n").unwrap();
    let (status, _, messages) = project.call("run", &[("PATH", path)]);
    assert_eq!(status, Some(2));
    assert!(
        messages.contains("Rust 1.80.1 is too old") && messages.contains("rustup update"),
        "{messages}"
    );
}

/// A stored snapshot of nothing, as far as the tool looks at it.
fn stored_snapshot() -> Vec<u8> {
    const PAGE: u64 = 4096;
    let mut words = vec![0; 6 * PAGE as usize / 8];
    words[..3].copy_from_slice(&[u64::from_le_bytes(*b"AerieImg"), 1, 6 * PAGE]);
    // The page of the thread's UTCB follows the head.
    words[7] = 5 * PAGE;
    let mut digest = Digest::new();
    let others = words.iter().enumerate().filter(|(index, _)| *index != 3);
    others.for_each(|(_, word)| digest.add(*word));
    words[3] = digest.finish();
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn a_snapshot_is_stored_once_by_a_machine_and_packed() {
    // The machine copies what it is to write, and counts how often it ran.
    let project = Project::new(
        "out=$(echo \"$@\" | sed -n 's/.*id=records,path=\\([^ ]*\\).*/\\1/p')\n\
         [ -z \"$out\" ] || { echo run >> runs; cat written > \"$out\"; }\nexit 33",
    );
    project.write(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"kernel\", \"moe\", \"ned\", \"linux-abi\", \"manager\", \"snapshot-writer\"]\n",
    );
    for name in ["ned", "linux-abi", "manager", "snapshot-writer"] {
        project.package(name, "[package.metadata.aerie]\nclass = \"std\"\n");
    }
    project.write("cfg/store-snapshot.cfg", "-- a boot script\n");
    project.write(
        "modules.list",
        "entry main\nmoe boot.cfg\nfunction[snapshot] greet\n",
    );
    let file = stored_snapshot();
    let write = |name: &str, file: &[u8]| {
        let record = Record { name, file };
        fs::write(project.path("written"), [&record.head(), file].concat()).unwrap();
    };
    let runs = || fs::read_to_string(project.path("runs")).map_or(0, |text| text.lines().count());
    let refused = |reason: &str| {
        let (status, _, messages) = project.call("image", &[]);
        assert_eq!(status, Some(1), "{messages}");
        assert!(messages.contains(reason), "{messages}");
    };
    write("other", &file);
    refused("no snapshot of `greet` for the image: the machine wrote other snapshots than this one");
    write("greet", &file[..4096]);
    refused("what the machine wrote: the file is truncated");
    fs::write(project.path("written"), "AerieRe").unwrap();
    refused("what the machine wrote is cut off");
    assert_eq!(runs(), 3);
    write("greet", &file);
    for _ in 0..2 {
        let (status, path, messages) = project.call("image", &[]);
        assert_eq!(status, Some(0), "{messages}");
        let archive = archive_of(Path::new(path.trim()));
        let parsed = Archive::parse(&archive).unwrap();
        assert_eq!(module(&archive, &parsed, "functions/greet.snapshot"), file);
        assert!(!module(&archive, &parsed, "digests").is_empty());
        assert_eq!(runs(), 4, "what did not change is not stored again");
    }
    project.write("functions/greet/greet.py", "def main(arg): return 1\n");
    assert_eq!(project.call("image", &[]).0, Some(0));
    assert_eq!(runs(), 5, "another function needs another snapshot");
    project.write(
        "functions/greet/function.toml",
        "runtime = \"python\"\ncode = \"greet.py\"\nmode = \"boot\"\n",
    );
    refused("`greet` has `mode = \"boot\"`, in which it never begins from a snapshot");
}
