//! What cargo knows about packages: where they are, how they are built, what they are called.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use thiserror::Error;

/// How a package is built; see `docs/decisions/0002-build-classes.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Kernel and components without `std`.
    Native,
    /// Ordinary static glibc programs.
    Std,
    /// A static glibc program with the Python interpreter in it, a workspace of its own.
    Python,
}

impl Class {
    /// Name of the folder in the target folder.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Std => "std",
            Self::Python => "python",
        }
    }
}

/// Why cargo's answer is of no use.
#[derive(Debug, Error)]
pub enum WorkspaceError {
    /// cargo cannot be started.
    #[error("cannot start cargo: {0}; install Rust from https://rustup.rs")]
    Start(std::io::Error),
    /// cargo refuses the manifest.
    #[error("cargo cannot read {}:\n{stderr}", manifest.display())]
    Refused {
        /// The manifest, or the folder in which one was looked for.
        manifest: PathBuf,
        /// What cargo wrote.
        stderr: String,
    },
    /// cargo's answer cannot be understood.
    #[error("cargo's metadata of {} cannot be understood: {source}", manifest.display())]
    Answer {
        /// The manifest.
        manifest: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// A package that cargo found.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its `Cargo.toml`.
    pub manifest: PathBuf,
    /// `package.metadata.aerie.class`.
    pub class: Option<Class>,
    /// Whether its tests for lock-free code run under loom.
    pub has_loom_tests: bool,
    /// `package.metadata.aerie.host-tests`: whether its library has tests for the host though it is no default
    /// member of the workspace.
    pub has_host_tests: bool,
}

/// The packages of one workspace.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Its root folder.
    pub root: PathBuf,
    /// Its target folder.
    pub target: PathBuf,
    packages: BTreeMap<String, Package>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<RawPackage>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct RawPackage {
    name: String,
    manifest_path: PathBuf,
    #[serde(default)]
    metadata: Option<PackageMetadata>,
    dependencies: Vec<RawDependency>,
}

#[derive(Deserialize)]
struct RawDependency {
    name: String,
    target: Option<String>,
}

#[derive(Deserialize)]
struct PackageMetadata {
    aerie: Option<AerieMetadata>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct AerieMetadata {
    class: Option<Class>,
    #[serde(default)]
    host_tests: bool,
}

/// The cargo that started this program, or the one on the path.
#[must_use]
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

impl Workspace {
    /// The workspace that the package or workspace with this manifest belongs to.
    ///
    /// # Errors
    /// cargo is missing or refuses the manifest, or a package names an unknown class.
    pub fn of(manifest: &Path) -> Result<Self, WorkspaceError> {
        let output = cargo()
            .args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"])
            .arg(manifest)
            .output()
            .map_err(WorkspaceError::Start)?;
        if !output.status.success() {
            return Err(WorkspaceError::Refused {
                manifest: manifest.to_owned(),
                stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            });
        }
        Self::parse(&output.stdout).map_err(|source| WorkspaceError::Answer {
            manifest: manifest.to_owned(),
            source,
        })
    }

    fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        let metadata: Metadata = serde_json::from_slice(json)?;
        let packages = metadata
            .packages
            .into_iter()
            .map(|package| (package.name.clone(), package.into()));
        Ok(Self {
            root: metadata.workspace_root,
            target: metadata.target_directory,
            packages: packages.collect(),
        })
    }

    /// The package called `name`.
    #[must_use]
    pub fn package(&self, name: &str) -> Option<&Package> {
        self.packages.get(name)
    }

    /// The package whose `Cargo.toml` is `manifest`.
    #[must_use]
    pub fn package_at(&self, manifest: &Path) -> Option<&Package> {
        self.packages
            .values()
            .find(|package| package.manifest == manifest)
    }

    /// All packages, by name.
    pub fn packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.values()
    }
}

impl From<RawPackage> for Package {
    fn from(raw: RawPackage) -> Self {
        let is_loom = |dependency: &RawDependency| {
            dependency.name == "loom" && dependency.target.as_deref() == Some("cfg(loom)")
        };
        let aerie = raw.metadata.and_then(|metadata| metadata.aerie);
        Self {
            class: aerie.as_ref().and_then(|aerie| aerie.class),
            has_host_tests: aerie.is_some_and(|aerie| aerie.host_tests),
            has_loom_tests: raw.dependencies.iter().any(is_loom),
            name: raw.name,
            manifest: raw.manifest_path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Class, Workspace};
    use std::path::Path;

    const METADATA: &str = r#"{"workspace_root": "/src", "target_directory": "/src/target", "packages": [
        {"name": "ned", "manifest_path": "/src/ned/Cargo.toml", "dependencies": [],
         "metadata": {"aerie": {"class": "std", "host-tests": true}, "docs": 1}},
        {"name": "capalloc", "manifest_path": "/src/capalloc/Cargo.toml", "metadata": null,
         "dependencies": [{"name": "loom", "target": "cfg(loom)"}]}]}"#;

    #[test]
    fn classes_and_loom_tests_are_found() {
        let workspace = Workspace::parse(METADATA.as_bytes()).unwrap();
        let ned = workspace.package("ned").unwrap();
        assert_eq!((ned.class, ned.has_host_tests), (Some(Class::Std), true));
        let capalloc = workspace
            .package_at(Path::new("/src/capalloc/Cargo.toml"))
            .unwrap();
        assert_eq!((capalloc.class, capalloc.has_loom_tests), (None, true));
        assert!(workspace.package("moe").is_none());
    }

    #[test]
    fn unknown_classes_are_refused() {
        let text = METADATA.replace("\"std\"", "\"jvm\"");
        assert!(
            Workspace::parse(text.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("jvm")
        );
    }
}
