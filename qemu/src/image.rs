//! The boot image: one ELF file with the kernel and, as one more segment, the archive of all modules.
//!
//! The archive lies at the first multiple of [`ARCHIVE_ALIGNMENT`] behind the kernel in physical memory, where the
//! kernel looks for its magic.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use interfaces::manifest::{self, ManifestError};
use l4::archive::{self, ArchiveError};
use thiserror::Error;

use crate::ahead::Ahead;
use crate::c_library::CLibrary;
use crate::compile::{CompileError, Compiler};
use crate::elf::{self, ElfError};
use crate::error::remedy;
use crate::function_code::{self, CodeError};
use crate::resolve::{Contents, Item, PYTHON_RUNTIME, Source, Unit};
use crate::snapshots::{self, SnapshotError, Snapshots};
use crate::source_code::SourceError;

/// Physical alignment in bytes of the archive, and in it of modules that are so large: a large page, so that the kernel
/// can show them with large pages.
pub const ARCHIVE_ALIGNMENT: u64 = 2 << 20;

/// Largest file in bytes: all of the image is in the machine's memory, of which there is 1 GiB if nobody asks for more.
const FILE_MAX: u64 = 512 << 20;

/// Why there is no image.
#[derive(Debug, Error)]
pub enum ImageError {
    /// A package does not build.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A file of source code does not compile.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file cannot be read or written.
    #[error("{}: {source}{}", path.display(), remedy(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A function's code cannot be run.
    #[error("`{name}`: {file} cannot be run: {source}")]
    Code {
        /// The module.
        name: String,
        /// Where the code comes from.
        file: String,
        /// Why not.
        source: CodeError,
    },
    /// A module has no contents, and the kernel makes a dataspace of each.
    #[error("module `{name}`: {file} is empty; a boot image has files of at least one byte")]
    Empty {
        /// The module.
        name: String,
        /// Where it comes from.
        file: String,
    },
    /// A file is larger than images can be.
    #[error("{}: it has {} MiB, an image can hold {} MiB", path.display(), bytes >> 20, FILE_MAX >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        bytes: u64,
    },
    /// A program is no usable ELF file.
    #[error("module `{name}`: {source}")]
    Elf {
        /// The module.
        name: String,
        /// What is wrong.
        source: ElfError,
    },
    /// There is no snapshot of a function to pack.
    #[error("no snapshot of `{name}` for the image: {source}")]
    Snapshot {
        /// The function.
        name: String,
        /// Why not.
        source: Box<SnapshotError>,
    },
    /// The digests of programs cannot be written.
    #[error("the digests of programs: {0}")]
    Digests(ManifestError),
    /// A name or command line does not fit.
    #[error("module `{name}` with command line `{command_line}`: {source}")]
    Archive {
        /// The module.
        name: String,
        /// Its command line.
        command_line: String,
        /// What does not fit.
        source: ArchiveError,
    },
}

/// An image on disk.
#[derive(Clone, Debug)]
pub struct Image {
    /// The folder with all its files.
    pub folder: PathBuf,
    /// What QEMU boots.
    pub file: PathBuf,
    /// The kernel with its symbols.
    pub kernel: PathBuf,
}

/// What programs are made with: those of packages, which are built already, and what compiles the others.
struct Builder<'a> {
    units: BTreeMap<Unit, Vec<u8>>,
    compiler: &'a Compiler<'a>,
    library: CLibrary<'a>,
}

/// A module's bytes as they go into the archive.
pub(crate) struct Packed {
    /// Name in `rom`.
    pub(crate) name: String,
    command_line: String,
    pub(crate) bytes: Vec<u8>,
    is_program: bool,
}

impl Packed {
    fn data(name: String, bytes: Vec<u8>) -> Self {
        Self {
            name,
            command_line: String::new(),
            bytes,
            is_program: false,
        }
    }
}

/// The kernel and the modules of an image.
pub(crate) struct Parts {
    /// The kernel with its symbols.
    pub(crate) kernel: Vec<u8>,
    /// The modules, in order.
    pub(crate) modules: Vec<Packed>,
}

/// Builds what `contents` names and writes the image and, beside it, the programs with their symbols to `folder`.
///
/// # Errors
/// What cannot be built, read, packed or written.
pub fn make(
    contents: &Contents,
    compiler: &Compiler<'_>,
    snapshots: &Snapshots<'_>,
    folder: &Path,
) -> Result<Image, ImageError> {
    let mut parts = collect(contents, compiler, folder)?;
    let wanted: Vec<_> = contents
        .modules
        .iter()
        .filter_map(|item| item.snapshot_of.as_ref())
        .collect();
    if !wanted.is_empty() {
        let digests = snapshots::digests(&parts.modules).map_err(ImageError::Digests)?;
        parts
            .modules
            .push(Packed::data(manifest::DIGESTS.into(), digests));
    }
    for name in wanted {
        let file = snapshots
            .of(name, &parts.modules, compiler)
            .map_err(|source| ImageError::Snapshot {
                name: name.clone(),
                source: Box::new(source),
            })?;
        let module = format!("{}{name}{}", manifest::FOLDER, manifest::SNAPSHOT_SUFFIX);
        parts.modules.push(Packed::data(module, file));
    }
    let file = folder.join("image");
    let modules: Vec<_> = parts.modules.iter().collect();
    write(&file, &link(&contents.kernel, &parts.kernel, &modules)?)?;
    Ok(Image {
        folder: folder.to_owned(),
        file,
        kernel: folder.join("kernel"),
    })
}

/// Builds what `contents` names. Programs with their symbols are written to `folder`.
pub(crate) fn collect(
    contents: &Contents,
    compiler: &Compiler<'_>,
    folder: &Path,
) -> Result<Parts, ImageError> {
    let items = || contents.modules.iter().chain([&contents.kernel]);
    let units: BTreeSet<Unit> = items()
        .filter_map(|item| match &item.source {
            Source::Built(unit) => Some(unit.clone()),
            _ => None,
        })
        .collect();
    let builder = Builder {
        units: compiler.build(&units)?,
        compiler,
        library: CLibrary::new(compiler),
    };
    let symbols = folder.join("symbols");
    let kernel = load(&contents.kernel, &builder)?;
    write(&folder.join("kernel"), &kernel)?;
    let modules = contents.modules.iter().map(|item| pack(item, &builder, &symbols));
    let mut modules = modules.collect::<Result<Vec<_>, _>>()?;
    compile_ahead(contents, &mut modules, &symbols, compiler)?;
    Ok(Parts { kernel, modules })
}

/// The image with a kernel, which has the name and command line of `item`, and these modules.
pub(crate) fn link(item: &Item, kernel: &[u8], modules: &[&Packed]) -> Result<Vec<u8>, ImageError> {
    let archive = assemble(&item.command_line, modules)?;
    let kernel_error = |source| ImageError::Elf {
        name: item.name.clone(),
        source,
    };
    let stripped = elf::strip(kernel).map_err(kernel_error)?;
    let end = elf::physical_end(&stripped).map_err(kernel_error)?;
    let address = end
        .checked_next_multiple_of(ARCHIVE_ALIGNMENT)
        .ok_or(kernel_error(ElfError::Damaged))?;
    elf::add_segment(&stripped, address, &archive).map_err(kernel_error)
}

fn load(item: &Item, builder: &Builder<'_>) -> Result<Vec<u8>, ImageError> {
    match &item.source {
        Source::Compiled(code) => Ok(builder.compiler.compile(code, &builder.library)?),
        Source::Built(unit) => Ok(builder.units.get(unit).cloned().unwrap_or_default()),
        Source::Python(function) => Ok(function.code.clone()),
        Source::Bytes(bytes) => Ok(bytes.clone()),
        Source::File(path) => read(path),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ImageError> {
    let io = |source| ImageError::Io {
        path: path.to_owned(),
        source,
    };
    let bytes = path.metadata().map_err(io)?.len();
    if bytes > FILE_MAX {
        return Err(ImageError::TooLarge {
            path: path.to_owned(),
            bytes,
        });
    }
    std::fs::read(path).map_err(io)
}

fn pack(item: &Item, builder: &Builder<'_>, symbols: &Path) -> Result<Packed, ImageError> {
    let mut bytes = load(item, builder)?;
    if let Some(runtime) = item.runtime {
        function_code::check(runtime, &bytes).map_err(|source| ImageError::Code {
            name: item.name.clone(),
            file: item.source.to_string(),
            source,
        })?;
    }
    if bytes.is_empty() {
        return Err(ImageError::Empty {
            name: item.name.clone(),
            file: item.source.to_string(),
        });
    }
    let is_program = item.is_executable && elf::is_elf(&bytes);
    if is_program {
        write(&symbols.join(&item.name), &bytes)?;
        if !item.keep_symbols {
            bytes = elf::strip(&bytes).map_err(|source| ImageError::Elf {
                name: item.name.clone(),
                source,
            })?;
        }
    }
    Ok(Packed {
        name: item.name.clone(),
        command_line: item.command_line.clone(),
        bytes,
        is_program,
    })
}

/// Compiles the functions in Python, if the image has something that runs them.
fn compile_ahead(
    contents: &Contents,
    modules: &mut [Packed],
    symbols: &Path,
    compiler: &Compiler<'_>,
) -> Result<(), ImageError> {
    let has_runtime = |module: &Packed| module.name == PYTHON_RUNTIME && module.is_program;
    if !modules.iter().any(has_runtime) {
        return Ok(());
    }
    let path = symbols.join(PYTHON_RUNTIME);
    let runtime = std::fs::read(&path).map_err(|source| ImageError::Io { path, source })?;
    let ahead = Ahead::new(&runtime, &compiler.workspace.target, compiler.log)?;
    for (item, module) in contents.modules.iter().zip(modules) {
        if let Source::Python(function) = &item.source {
            module.bytes = ahead.compile(function)?;
        }
    }
    Ok(())
}

fn assemble(kernel_command_line: &str, modules: &[&Packed]) -> Result<Vec<u8>, ImageError> {
    let page = |size: usize| size.next_multiple_of(archive::PAGE_SIZE as usize);
    let alignment = |size: usize| match size as u64 {
        ARCHIVE_ALIGNMENT.. => ARCHIVE_ALIGNMENT,
        _ => archive::PAGE_SIZE,
    };
    let mut out = vec![0; page(archive::header_size(modules.len()))];
    let mut entries = Vec::with_capacity(modules.len());
    for module in modules {
        out.resize(
            out.len().next_multiple_of(alignment(module.bytes.len()) as usize),
            0,
        );
        entries.push(archive::Entry {
            name: &module.name,
            command_line: &module.command_line,
            offset: out.len() as u64,
            size: module.bytes.len() as u64,
            is_executable: module.is_program,
        });
        out.extend_from_slice(&module.bytes);
        out.resize(page(out.len()), 0);
    }
    let total = out.len() as u64;
    archive::write_header(&mut out, kernel_command_line, total, &entries).map_err(|source| {
        let culprit = match source {
            ArchiveError::Text(index) | ArchiveError::Bounds(index) => modules.get(index),
            _ => None,
        };
        ImageError::Archive {
            name: culprit.map_or("kernel", |module| &module.name).to_owned(),
            command_line: culprit
                .map_or(kernel_command_line, |module| &module.command_line)
                .to_owned(),
            source,
        }
    })?;
    Ok(out)
}

/// Writes a file, and the folders that it lies in.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let error = |source| ImageError::Io {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(error)?;
    }
    std::fs::write(path, bytes).map_err(error)
}
