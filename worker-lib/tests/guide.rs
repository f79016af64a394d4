//! The guides are true: the folders that they describe, somewhere else, build with plain cargo and are programs that the
//! loader takes.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, process};

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed lies in the system's folder for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in the project's folder")
}

/// The guide's files: a line with nothing but a name in backquotes, and the block that follows.
fn files(guide: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    let mut lines = guide.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        let name = line
            .trim()
            .strip_prefix('`')
            .and_then(|rest| rest.strip_suffix('`'));
        let Some(name) = name.filter(|name| !name.contains(['`', ' '])) else {
            continue;
        };
        let mut block = lines.by_ref().skip_while(|line| line.is_empty());
        let Some(fence) = block.next().filter(|line| line.trim().starts_with("```")) else {
            continue;
        };
        let indent = fence.len() - fence.trim_start().len();
        let content: Vec<&str> = block
            .take_while(|line| line.trim() != "```")
            .map(|line| line.get(indent..).unwrap_or_default())
            .collect();
        found.push((name, content.join("\n") + "\n"));
    }
    found
}

fn read_guide(name: &str) -> Result<String, Box<dyn Error>> {
    Ok(fs::read_to_string(project().join("docs").join(name))?)
}

/// Writes the guide's files to a folder outside of the project, and the way to the project into them.
fn write_folder(guide: &str, name: &str) -> Result<Folder, Box<dyn Error>> {
    let folder = Folder(env::temp_dir().join(format!("{name}-{}", process::id())));
    fs::create_dir_all(folder.0.join("src"))?;
    for (name, content) in files(guide) {
        fs::write(
            folder.0.join(name),
            content.replace("../aerie", &project().to_string_lossy()),
        )?;
    }
    // The versions that the project uses are on this machine already.
    fs::copy(project().join("Cargo.lock"), folder.0.join("Cargo.lock"))?;
    Ok(folder)
}

/// Builds the package `name` that a guide describes, as its reader would, and returns the program.
fn build(guide: &str, name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let folder = write_folder(&read_guide(guide)?, name)?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        // What cargo told this test must not reach the cargo that a user would start.
        let is_for_tests = name.to_string_lossy().starts_with("CARGO") && name != "CARGO_HOME";
        if is_for_tests || name == "RUSTFLAGS" {
            cargo.env_remove(name);
        }
    }
    let target = folder.0.join("target");
    let output = cargo
        .args(["build", "--release", "--offline", "--target-dir"])
        .arg(&target)
        .current_dir(&folder.0)
        .output()?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(fs::read(target.join("release").join(name))?)
}

#[test]
fn the_guides_name_all_files() -> Result<(), Box<dyn Error>> {
    let program = ["Cargo.toml", "build.rs", "src/main.rs"];
    for (guide, others) in [
        ("writing-functions.md", ["function.toml", "my.list"]),
        ("writing-clients.md", ["greet.cfg", "my.list"]),
    ] {
        let text = read_guide(guide)?;
        let names: Vec<&str> = files(&text).iter().map(|(name, _)| *name).collect();
        assert_eq!(names, [program.as_slice(), &others].concat(), "{guide}");
    }
    Ok(())
}

/// The system test `outside-function` runs what the guide shows, not something similar.
#[test]
fn the_function_that_is_run_is_the_guides() -> Result<(), Box<dyn Error>> {
    let folder = project().join("tests/outside/shout");
    for (name, content) in files(&read_guide("writing-functions.md")?) {
        if name != "my.list" {
            let content = content.replace("../aerie", "../../..");
            assert_eq!(content, fs::read_to_string(folder.join(name))?, "{name}");
        }
    }
    Ok(())
}

/// The system test `linux-functions` runs what the guides for `std` and for C show.
#[test]
fn the_linux_functions_that_are_run_are_the_guides() -> Result<(), Box<dyn Error>> {
    let guide = read_guide("writing-functions.md")?;
    let lines: Vec<&str> = guide.lines().map(str::trim_start).collect();
    for file in [
        "tests/linux-functions/shout-std/src/main.rs",
        "tests/linux-functions/shout-std/function.toml",
        "functions/c/word-count/word-count.c",
        "functions/c/word-count/function.toml",
    ] {
        let text = fs::read_to_string(project().join(file))?;
        let wanted: Vec<&str> = text.lines().map(str::trim_start).collect();
        assert!(lines.windows(wanted.len()).any(|part| part == wanted), "{file}");
    }
    Ok(())
}

#[test]
fn a_function_elsewhere_builds_with_plain_cargo() -> Result<(), Box<dyn Error>> {
    check_program(&build("writing-functions.md", "shout")?);
    Ok(())
}

#[test]
fn a_client_elsewhere_builds_with_plain_cargo() -> Result<(), Box<dyn Error>> {
    check_program(&build("writing-clients.md", "greet")?);
    Ok(())
}

/// A static program at fixed addresses: what the loader starts, and no interpreter that would have to be there.
fn check_program(elf: &[u8]) {
    const EXECUTABLE: u16 = 2;
    const LOAD: u32 = 1;
    const INTERPRETER: u32 = 3;
    let half = |at: usize| u16::from_le_bytes([elf[at], elf[at + 1]]);
    assert_eq!((&elf[..4], half(16)), (b"\x7fELF".as_slice(), EXECUTABLE));
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| elf[at + i]));
    let headers = word(32) as usize;
    let segments: Vec<(u32, u64)> = (0..usize::from(half(56)))
        .map(|number| headers + number * usize::from(half(54)))
        .map(|at| (u32::from(half(at)) | u32::from(half(at + 2)) << 16, word(at + 16)))
        .collect();
    assert!(segments.iter().all(|(kind, _)| *kind != INTERPRETER));
    let lowest = segments
        .iter()
        .filter(|(kind, _)| *kind == LOAD)
        .map(|(_, address)| *address)
        .min();
    assert_eq!(lowest, Some(0x20_0000));
}
