//! The command as users call it, on a small project of its own, with a script in QEMU's place.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod project;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use interfaces::manifest::{Manifest, Runtime};
use l4::archive::Archive;
use tempfile::TempDir;

use project::{Project, archive_of, module};

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
