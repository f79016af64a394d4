//! A small project of its own, with a script in QEMU's place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use l4::archive::{self, Archive};
use tempfile::TempDir;

const LIST: &str = "searchpath more\nentry main\nkernel kernel -quiet\nmoe boot.cfg\nfunction greet\n\
                    entry outside\nkernel kernel\nmoe boot.cfg\nfunction guest\n\
                    entry broken\nkernel kernel\nmodule absent\n";

/// A project with a kernel and a root task (both ordinary programs), a boot script and a function.
pub(crate) struct Project {
    pub(crate) folder: TempDir,
}

impl Project {
    pub(crate) fn new(qemu_script: &str) -> Self {
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

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn package(&self, name: &str, more: &str) {
        let manifest =
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{more}");
        self.write(&format!("{name}/Cargo.toml"), &manifest);
        self.write(&format!("{name}/src/main.rs"), "fn main() {}\n");
    }

    pub(crate) fn command(&self, subcommand: &str) -> Command {
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

    pub(crate) fn call(&self, subcommand: &str, variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
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
pub(crate) fn archive_of(image: &Path) -> Vec<u8> {
    let bytes = fs::read(image).unwrap();
    let start = (0..bytes.len())
        .step_by(4096)
        .find(|&at| bytes[at..].starts_with(&archive::MAGIC))
        .unwrap();
    bytes[start..].to_vec()
}

pub(crate) fn module<'a>(bytes: &'a [u8], archive: &Archive<'_>, name: &str) -> &'a [u8] {
    let entry = archive.find(name).unwrap();
    &bytes[usize::try_from(entry.offset).unwrap()..][..usize::try_from(entry.size).unwrap()]
}
