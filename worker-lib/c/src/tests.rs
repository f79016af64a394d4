//! The header says what the library does, compiles without a warning in both languages, and NULL does no harm.

use core::ffi::{CStr, c_char};
use core::ptr;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use worker::FaasError;

use crate::argument::{self, Bytes, c_text};
use crate::{aerie_serve, invocation, logging, reply, status};

const HEADER: &str = include_str!("../include/aerie.h");

fn read(text: *const c_char) -> String {
    // SAFETY: All texts of the library end with a zero byte.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned()
}

/// The numbers of the header's enumeration, by name.
fn declared(first: &str) -> BTreeMap<String, i32> {
    let body = HEADER.split_once(&format!("    {first} = ")).unwrap().1;
    let body = format!("{first} = {}", body.split_once('}').unwrap().0);
    body.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, rest)| {
            let digits: String = rest.trim().chars().take_while(char::is_ascii_digit).collect();
            (name.trim().to_owned(), digits.parse().unwrap())
        })
        .collect()
}

/// One error of each kind: those that a message of zeroes after the kind's number stands for.
fn errors() -> Vec<FaasError> {
    (0..u8::MAX)
        .map_while(|kind| {
            let mut message = [0; 64];
            message[0] = kind;
            postcard::from_bytes(&message).ok()
        })
        .collect()
}

#[test]
fn the_header_has_the_number_of_each_error() {
    let mut numbers = declared("AERIE_OK");
    let all = errors();
    assert!(all.len() >= 30, "{all:?}");
    for error in &all {
        let name = format!("AERIE_{}", error.kind().replace('-', "_").to_uppercase());
        assert_eq!(numbers.remove(&name), Some(status::of(error)), "{name}");
        assert_eq!(read(status::aerie_status_name(status::of(error))), error.kind());
    }
    let others = [
        ("AERIE_INVALID_ARGUMENT", 101),
        ("AERIE_OK", 0),
        ("AERIE_PROTOCOL", 100),
    ];
    assert_eq!(
        numbers,
        others.map(|(name, number)| (name.to_owned(), number)).into()
    );
    for unknown in [-1, 31, 99, 102, i32::MAX] {
        assert_eq!(read(status::aerie_status_name(unknown)), "unknown");
    }
}

#[test]
fn the_header_has_the_limits_and_levels() {
    for (name, value) in [
        ("MAX_BYTES", worker::MAX_BYTES),
        ("ERROR_BYTES", worker::ERROR_BYTES),
    ] {
        assert!(
            HEADER.contains(&format!("#define AERIE_{name} {value}\n")),
            "{name}"
        );
    }
    let levels = declared("AERIE_ERROR");
    assert_eq!(levels.len(), 5);
    for (name, number) in levels {
        let level = logging::level(number).unwrap();
        assert_eq!(name, format!("AERIE_{level}"));
    }
    assert_eq!(logging::level(0), None);
}

#[test]
fn the_library_has_each_declared_function() {
    let declared: Vec<&str> = HEADER
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter(|line| !line.starts_with("typedef") && !line.starts_with("static"))
        .filter_map(|line| line.split_once('(')?.0.rsplit([' ', '*']).next())
        .collect();
    let sources = [
        include_str!("lib.rs"),
        include_str!("invocation.rs"),
        include_str!("logging.rs"),
        include_str!("reply.rs"),
        include_str!("status.rs"),
    ];
    for name in &declared {
        let defines = |source: &str| {
            source.contains(&format!("fn {name}(")) || source.contains(&format!("    {name}: u"))
        };
        assert!(sources.into_iter().any(defines), "{name}");
    }
    assert_eq!(declared.len(), 20, "{declared:?}");
}

#[test]
fn null_is_answered() {
    let nobody = ptr::null_mut();
    // SAFETY: Null is permitted everywhere.
    unsafe {
        assert_eq!(aerie_serve(None, ptr::null_mut()), 102);
        assert_eq!(invocation::aerie_respond(nobody, c"x".as_ptr().cast(), 1), 101);
        assert_eq!(invocation::aerie_fail(nobody, c"x".as_ptr()), 101);
        assert_eq!(invocation::aerie_seed(nobody, &mut [1, 2]), 101);
        assert_eq!(invocation::aerie_function_info(nobody, ptr::null_mut()), 101);
        assert_eq!(
            (
                invocation::aerie_request_id(nobody),
                invocation::aerie_depth(nobody)
            ),
            (0, 0)
        );
        assert_eq!(invocation::aerie_deadline_ns(nobody), 0);
        assert_eq!(invocation::aerie_remaining_ns(nobody), 0);
        let called = reply::aerie_invoke(nobody, c"x".as_ptr(), ptr::null(), 0, ptr::null());
        assert_eq!(reply::aerie_reply_status(called), 101);
        assert!(read(reply::aerie_reply_message(called)).contains("NULL"));
        reply::aerie_reply_free(called);
        reply::aerie_reply_free(ptr::null_mut());
        assert_eq!(reply::aerie_reply_status(ptr::null()), 101);
        assert_eq!(reply::aerie_reply_exit_code(ptr::null()), 0);
        assert_eq!(read(reply::aerie_reply_message(ptr::null())), "there is no reply");
        assert!(argument::text(ptr::null()).is_none());
        assert!(argument::bytes(ptr::null(), 1).is_none());
        assert!(argument::bytes(c"x".as_ptr().cast(), usize::MAX).is_none());
        assert_eq!(argument::bytes(ptr::null(), 0), Some([].as_slice()));
    }
    logging::aerie_log_level(99);
}

#[test]
fn texts_survive_the_way() {
    assert_eq!(read(c_text("a\0b").as_ptr()), "ab");
    // SAFETY: The text ends with a zero byte.
    let text = unsafe { argument::text(c"gr\xfc\xdfe".as_ptr()) };
    assert_eq!(text.unwrap(), "gr\u{fffd}\u{fffd}e");
    assert!(format!("{:?}", Bytes::of(b"")).contains("length: 0"));
}

/// Compiles a program that includes the header, with every warning an error; `None` without the compiler.
fn compile(compiler: &str, language: &str, standard: &str, program: &str) -> Option<Output> {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("program");
    std::fs::write(&file, program).unwrap();
    Command::new(compiler)
        .args([
            standard,
            "-x",
            language,
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Wconversion",
            "-Wshadow",
        ])
        .args(["-Werror", "-fsyntax-only", "-I"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("include"))
        .arg(&file)
        .output()
        .ok()
}

#[test]
fn the_headers_compile_without_warnings() {
    let c = "#include <aerie.h>\nstatic void handle(aerie_invocation *i, void *s) { (void)s;\n\
             aerie_log(AERIE_INFO, \"%d\", 1); aerie_log(AERIE_WARN, \"x\"); aerie_respondf(i, \"%s\", \"x\"); }\n\
             int main(void) { return aerie_serve(handle, NULL); }\n";
    let cpp = "#include <aerie.hpp>\nstatic std::string f(aerie::Invocation &) { return {}; }\nint main()\n\
               { const auto g = [](aerie::Invocation &i) { return i.invoke(\"x\", i.request(), {}); };\n\
               return aerie::serve(f) + aerie::serve(g) + aerie::serve([n = 0](auto &) mutable { n++; return \"x\"; }); }\n";
    for (compiler, language, standard, program) in [
        ("cc", "c", "-std=c11", c),
        ("cc", "c", "-std=c99", c),
        ("c++", "c++", "-std=c++17", cpp),
        ("c++", "c++", "-std=c++20", cpp),
        ("c++", "c++", "-std=c++17", c),
    ] {
        let Some(output) = compile(compiler, language, standard, program) else {
            eprintln!("no {compiler}: {standard} was not tried");
            continue;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{compiler} {standard}: {said}");
    }
}

#[test]
fn formats_are_checked() {
    let program = "#include <aerie.h>\nvoid f(aerie_invocation *i) { aerie_failf(i, \"%s\", 1); }\n";
    if let Some(output) = compile("cc", "c", "-std=c11", program) {
        assert!(!output.status.success());
    }
}
