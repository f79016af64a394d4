use super::{SourceCode, SourceError};
use crate::c_library::CLibrary;
use crate::compile::{Compiler, Profile};
use crate::machine::find_program;
use crate::workspace::Workspace;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const PROGRAM: &str = "int main(void) { return 0; }\n";

fn file(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

/// Type of the ELF file, and the types of its program headers.
fn kinds(program: &[u8]) -> (u8, Vec<u8>) {
    assert_eq!(program[..4], *b"\x7fELF");
    let headers = usize::from(program[32]) | usize::from(program[33]) << 8;
    let count = usize::from(program[56]);
    let headers = program[headers..].chunks(56).take(count);
    let ordinary = headers.filter(|header| header[1..4] == [0; 3]);
    (program[16], ordinary.map(|header| header[0]).collect())
}

#[test]
fn a_file_becomes_a_static_program_at_a_fixed_or_at_any_address() {
    let folder = TempDir::new().unwrap();
    for (name, text) in [("one.c", PROGRAM), ("two.rs", "fn main() {}\n")] {
        let source = SourceCode::of(&file(&folder, name, text)).unwrap();
        let fixed = source.clone().compile(folder.path(), None, None).unwrap();
        let relocatable = source
            .relocatable()
            .unwrap()
            .compile(folder.path(), None, None)
            .unwrap();
        for (program, kind) in [(fixed, 2), (relocatable, 3)] {
            let (found, headers) = kinds(&program);
            assert_eq!(found, kind, "{name}");
            // A dynamically linked one has a program header of type 3, its interpreter.
            assert!(!headers.contains(&3), "{name}");
        }
    }
}

#[test]
fn a_program_is_compiled_again_when_a_file_of_it_is_newer() {
    let folder = TempDir::new().unwrap();
    let header = file(&folder, "code.h", "#define CODE 1\n");
    let main = file(
        &folder,
        "main.c",
        "#include \"code.h\"\nint main(void) { return CODE; }\n",
    );
    let source = SourceCode::of(&main).unwrap();
    let first = source.compile(folder.path(), None, None).unwrap();
    let program = source.folder(folder.path()).join("main");
    fs::write(&program, "as it was").unwrap();
    assert_eq!(source.compile(folder.path(), None, None).unwrap(), b"as it was");
    fs::write(&header, "#define CODE 2\n").unwrap();
    let later = SystemTime::now() + Duration::from_secs(5);
    fs::File::options()
        .append(true)
        .open(&header)
        .unwrap()
        .set_modified(later)
        .unwrap();
    let second = source.compile(folder.path(), None, None).unwrap();
    assert!(second.starts_with(b"\x7fELF") && second != first);
}

#[test]
fn what_is_no_c_is_refused_with_the_log() {
    let folder = TempDir::new().unwrap();
    let source = SourceCode::of(&file(&folder, "bad.c", "main { }\n")).unwrap();
    let log = folder.path().join("log");
    let error = source.compile(folder.path(), None, Some(&log)).unwrap_err();
    assert!(matches!(error, SourceError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("bad.c; see "), "{error}");
    assert!(fs::read_to_string(&log).unwrap().contains("error"));
}

#[test]
fn languages_are_told_by_suffix_and_compilers_by_name() {
    let of = |name: &str| SourceCode::of(name.as_ref());
    assert!(of("a.py").is_none() && of("c").is_none() && of("noext.").is_none());
    let source = of("a.c").unwrap();
    assert_ne!(source.clone().compiled_by("musl-gcc").unwrap(), source);
    assert!(source.compiled_by("tcc").is_none());
    assert!(of("a.go").unwrap().relocatable().is_none());
}

#[test]
fn the_library_is_for_files_that_include_its_header() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let workspace = Workspace::of(&root.join("Cargo.toml")).unwrap();
    let compiler = Compiler {
        workspace: &workspace,
        profile: Profile::Release,
        log: None,
    };
    let library = CLibrary::new(&compiler);
    let folder = TempDir::new().unwrap();
    let with = file(&folder, "with.c", &format!("#include <aerie.h>\n{PROGRAM}"));
    let with_cpp = file(&folder, "with.cpp", &format!("#include <aerie.hpp>\n{PROGRAM}"));
    let without = file(&folder, "without.c", &format!("#include <stdio.h>\n{PROGRAM}"));
    assert!(library.is_included_by(&with, "cc"));
    assert!(find_program("c++").is_none() || library.is_included_by(&with_cpp, "c++"));
    assert!(!library.is_included_by(&without, "cc"));
    let source = SourceCode::of(&without).unwrap();
    assert!(source.compile(folder.path(), Some(&library), None).is_ok());
    let program = source.folder(folder.path()).join("without");
    assert!(!source.includes_header(&program, &library));
}
