//! Calls cargo: one call for each class of packages, and one for each package outside the workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use thiserror::Error;

use crate::c_library::CLibrary;
use crate::libffi;
use crate::resolve::Unit;
use crate::source_code::{SourceCode, SourceError};
use crate::tools::ToolError;
use crate::workspace::{Class, Workspace, cargo};

/// Flags for code without `std`: it runs at fixed addresses, in the kernel's case in the top 2 GiB.
const NATIVE_FLAGS: &str = "-Crelocation-model=static -Ccode-model=kernel -Cno-redzone=yes \
                            -Cforce-frame-pointers=yes -Ctarget-cpu=x86-64";

/// Flags for ordinary programs: static, at a fixed address.
const STD_FLAGS: &str = "-Ctarget-feature=+crt-static -Crelocation-model=static";

/// Flags for the Python runtime: as for `std`, and randomness from the system call, because a static program has no
/// `dlsym` to find the C library's function.
const PYTHON_FLAGS: &str =
    "-Ctarget-feature=+crt-static -Crelocation-model=static --cfg getrandom_backend=\"linux_raw\"";

/// The compiler's flags for a class.
#[must_use]
pub fn class_flags(class: Class) -> &'static str {
    match class {
        Class::Native => NATIVE_FLAGS,
        Class::Std => STD_FLAGS,
        Class::Python => PYTHON_FLAGS,
    }
}

/// What a panic does: a program without `std` does not link where it unwinds, an ordinary one may want to catch it.
fn panic_setting(class: Class) -> &'static str {
    match class {
        Class::Native => "profile.release.panic=\"abort\"",
        Class::Std | Class::Python => "profile.release.panic=\"unwind\"",
    }
}

/// Settings that a package outside the workspace gets whatever its own profile says.
const EXTERNAL_SETTINGS: [&str; 2] = ["profile.release.lto=\"fat\"", "profile.release.codegen-units=1"];

/// The package of worker-lib for C.
const C_LIBRARY: &str = "worker-c";

/// Which checks are compiled in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// What users get.
    #[default]
    Release,
    /// Optimised, with every invariant check.
    Checked,
}

impl Profile {
    /// The profile's name for cargo.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Checked => "checked",
        }
    }
}

/// Why there is no binary.
#[derive(Debug, Error)]
pub enum CompileError {
    /// cargo cannot be started, or its log or a binary cannot be read or written.
    #[error("cannot build: {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// cargo failed; its output was shown or is in the log.
    #[error("cargo failed to build {packages} ({class} class){}", log.as_ref().map_or_else(String::new, |log| format!("; see {}", log.display())))]
    Failed {
        /// The packages.
        packages: String,
        /// How they were built.
        class: &'static str,
        /// Where cargo's output is, if it was not shown.
        log: Option<PathBuf>,
    },
    /// libffi, which the Python runtime is linked with, is missing.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A package has several binaries, none of them the wanted one.
    #[error("package `{package}` has no binary `{wanted}`; it has: {known}")]
    NoBinary {
        /// The package.
        package: String,
        /// The binary.
        wanted: String,
        /// What it has.
        known: String,
    },
}

/// Builds packages of one project.
pub struct Compiler<'a> {
    /// The project.
    pub workspace: &'a Workspace,
    /// With or without checks.
    pub profile: Profile,
    /// Where cargo's output goes; `None` shows it.
    pub log: Option<&'a Path>,
}

/// One line of cargo's messages.
#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    executable: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
}

/// What a call of cargo gets besides.
#[derive(Default)]
struct Settings<'a> {
    arguments: &'a [&'a str],
    variables: &'a [(&'a str, &'a OsStr)],
}

/// A binary or static library that cargo made.
#[derive(Debug)]
struct Artifact {
    manifest: PathBuf,
    name: String,
    path: PathBuf,
}

impl Compiler<'_> {
    /// Builds all units and returns their binaries.
    ///
    /// # Errors
    /// The first failed call of cargo, or a unit whose binary does not exist.
    pub fn build(&self, units: &BTreeSet<Unit>) -> Result<BTreeMap<Unit, Vec<u8>>, CompileError> {
        let mut binaries = BTreeMap::new();
        self.each(units, |unit, path| {
            // Read at once: the next package outside the workspace may have a binary of the same name.
            let bytes = std::fs::read(path).map_err(|source| CompileError::Io {
                what: path.display().to_string(),
                source,
            })?;
            binaries.insert(unit.clone(), bytes);
            Ok(())
        })?;
        Ok(binaries)
    }

    /// Builds all units, and tells of each where its binary is.
    fn each(
        &self,
        units: &BTreeSet<Unit>,
        mut built: impl FnMut(&Unit, &Path) -> Result<(), CompileError>,
    ) -> Result<(), CompileError> {
        let mut groups: BTreeMap<(Class, Option<&Path>), Vec<&Unit>> = BTreeMap::new();
        for unit in units {
            groups
                .entry((unit.class, unit.external_manifest.as_deref()))
                .or_default()
                .push(unit);
        }
        for ((class, external), members) in groups {
            let artifacts = self.call_cargo(class, external, &members, &Settings::default())?;
            for unit in members {
                built(unit, self.choose(unit, &artifacts)?)?;
            }
        }
        Ok(())
    }

    /// Builds one unit and returns where its binary is.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub fn program(&self, unit: &Unit) -> Result<PathBuf, CompileError> {
        let mut program = PathBuf::new();
        self.each(&BTreeSet::from([unit.clone()]), |_, path| {
            program = path.to_owned();
            Ok(())
        })?;
        Ok(program)
    }

    /// Has clippy look at the library of a package that is a workspace of its own, with its dependencies as they are
    /// built anyway.
    ///
    /// # Errors
    /// Clippy has something to say, or the dependencies do not build.
    pub fn lint(&self, unit: &Unit, clippy: &Path) -> Result<(), CompileError> {
        let settings = Settings {
            arguments: &["--lib"],
            // As `cargo clippy -- -D warnings` has it.
            variables: &[
                ("RUSTC_WORKSPACE_WRAPPER", clippy.as_os_str()),
                (
                    "CLIPPY_ARGS",
                    "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__".as_ref(),
                ),
            ],
        };
        let manifest = unit.external_manifest.as_deref();
        self.call_cargo(unit.class, manifest, &[unit], &settings)
            .map(drop)
    }

    /// Compiles a file of source code to a program.
    ///
    /// # Errors
    /// As [`SourceCode::compile`].
    pub fn compile(&self, source: &SourceCode, library: &CLibrary<'_>) -> Result<Vec<u8>, SourceError> {
        source.compile(&self.workspace.target, Some(library), self.log)
    }

    /// Builds worker-lib for C and returns the archive's path.
    ///
    /// # Errors
    /// cargo fails.
    pub fn c_library(&self) -> Result<PathBuf, CompileError> {
        let unit = Unit {
            class: Class::Std,
            external_manifest: None,
            package: C_LIBRARY.into(),
            binary: None,
        };
        let artifacts = self.call_cargo(Class::Std, None, &[&unit], &Settings::default())?;
        self.choose(&unit, &artifacts).map(Path::to_owned)
    }

    fn call_cargo(
        &self,
        class: Class,
        external: Option<&Path>,
        units: &[&Unit],
        settings: &Settings<'_>,
    ) -> Result<Vec<Artifact>, CompileError> {
        let packages: BTreeSet<_> = units.iter().map(|unit| unit.package.as_str()).collect();
        let mut command = self.command(class, external, &packages);
        command
            .args(settings.arguments)
            .envs(settings.variables.iter().copied());
        if class == Class::Python {
            libffi::link_statically(&mut command, &self.workspace.target.join(class.folder()))?;
        }
        if let Some(log) = self.log {
            let file = File::options().create(true).append(true).open(log);
            command.stderr(file.map_err(|source| CompileError::Io {
                what: log.display().to_string(),
                source,
            })?);
        }
        let output = command
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .and_then(std::process::Child::wait_with_output)
            .map_err(|source| CompileError::Io {
                what: "cargo".into(),
                source,
            })?;
        if !output.status.success() {
            return Err(CompileError::Failed {
                packages: packages.into_iter().collect::<Vec<_>>().join(", "),
                class: class.folder(),
                log: self.log.map(Path::to_owned),
            });
        }
        Ok(artifacts(&output.stdout))
    }

    fn command(&self, class: Class, external: Option<&Path>, packages: &BTreeSet<&str>) -> Command {
        let mut command = cargo();
        command.current_dir(&self.workspace.root).arg("build");
        command
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("CARGO_BUILD_RUSTFLAGS");
        command.args(["--message-format", "json-render-diagnostics"]);
        // The checks are for what runs without `std`: the kernel, its runtime and the servers.
        let profile = match (class, external) {
            (Class::Native, None) => self.profile,
            _ => Profile::Release,
        };
        command.args(["--profile", profile.name()]);
        for package in packages {
            command.args(["-p", package]);
        }
        command.args(["--config", panic_setting(class)]);
        let mut target = self.workspace.target.clone();
        if let (Some(manifest), Class::Python) = (external, class) {
            // Its lock file pins versions that say they need a newer compiler than they do.
            command
                .args(["--locked", "--ignore-rust-version", "--manifest-path"])
                .arg(manifest);
        } else if let Some(manifest) = external {
            target.push("external");
            command.arg("--manifest-path").arg(manifest);
            for setting in EXTERNAL_SETTINGS {
                command.args(["--config", setting]);
            }
        }
        command.arg("--target-dir").arg(target.join(class.folder()));
        command.env("RUSTFLAGS", class_flags(class));
        command
    }

    fn choose<'b>(&self, unit: &Unit, artifacts: &'b [Artifact]) -> Result<&'b Path, CompileError> {
        let manifest = match &unit.external_manifest {
            Some(manifest) => Some(manifest),
            None => self
                .workspace
                .package(&unit.package)
                .map(|package| &package.manifest),
        };
        let own: Vec<_> = artifacts
            .iter()
            .filter(|artifact| Some(&artifact.manifest) == manifest)
            .collect();
        let wanted = unit.binary.as_ref().unwrap_or(&unit.package);
        let named = own.iter().find(|artifact| &artifact.name == wanted);
        let chosen = match (named, own.as_slice()) {
            (Some(artifact), _) => Some(*artifact),
            (None, [only]) if unit.binary.is_none() => Some(*only),
            _ => None,
        };
        chosen
            .map(|artifact| artifact.path.as_path())
            .ok_or_else(|| CompileError::NoBinary {
                package: unit.package.clone(),
                wanted: wanted.clone(),
                known: own
                    .iter()
                    .map(|artifact| artifact.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }
}

/// Picks the binaries and static libraries out of cargo's messages.
fn artifacts(messages: &[u8]) -> Vec<Artifact> {
    let lines = messages.split(|&byte| byte == b'\n');
    let messages = lines.filter_map(|line| serde_json::from_slice::<Message>(line).ok());
    let is_archive = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "a");
    let artifact = |message: Message| {
        let archive = message.filenames.into_iter().find(is_archive);
        Some(Artifact {
            manifest: message.manifest_path?,
            name: message.target?.name,
            path: message.executable.or(archive)?,
        })
    };
    messages
        .filter(|message| message.reason == "compiler-artifact")
        .filter_map(artifact)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::artifacts;

    #[test]
    fn binaries_are_picked_out_of_the_messages() {
        let messages = br#"{"reason":"compiler-artifact","manifest_path":"/s/l4/Cargo.toml","target":{"name":"l4"},"executable":null}
{"reason":"build-script-executed","package_id":"x"}
not json
{"reason":"compiler-artifact","manifest_path":"/s/moe/Cargo.toml","target":{"name":"moe"},"executable":"/t/moe"}
{"reason":"compiler-artifact","manifest_path":"/s/c/Cargo.toml","target":{"name":"c"},"executable":null,"filenames":["/t/c.rlib","/t/c.a"]}
{"reason":"build-finished","success":true}"#;
        let found = artifacts(messages);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].path.to_str(), Some("/t/c.a"));
        assert_eq!(
            (found[0].name.as_str(), found[0].path.to_str()),
            ("moe", Some("/t/moe"))
        );
    }
}
