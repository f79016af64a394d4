//! Code that was compiled ahead: beside a source file, so that an import need not compile it.
//!
//! `pkg/a.py` has its code in `pkg/a.rpyc`: [`MAGIC`], checksum and length of the source, and the code object as `marshal`
//! writes it. What does not fit the source or this interpreter is not looked at. Like the source it is the function's own:
//! nothing protects an interpreter from code objects that were made by hand, and nothing but the function's worker suffers.

use python_bundle::Bundle;

/// The form of the code: it changes with RustPython's version, which `Cargo.toml` pins.
const MAGIC: &[u8; 16] = b"RustPython0.6.0\n";
/// Size of what is in front of the code object.
const HEADER: usize = MAGIC.len() + 12;

/// The name beside a source file.
pub(crate) fn name_of(source: &str) -> Option<String> {
    source.strip_suffix(".py").map(|stem| format!("{stem}.rpyc"))
}

/// A marshalled code object with what tells where it belongs.
pub(crate) fn wrap(bundle: &Bundle<'_>, source: &str, code: &[u8]) -> Option<Vec<u8>> {
    Some([&header(bundle, source)?[..], code].concat())
}

/// The marshalled code object of a source file, if it was compiled ahead by this version.
pub(crate) fn of_source(bundle: &Bundle<'_>, source: &str) -> Option<Vec<u8>> {
    let kept = bundle.read(&name_of(source)?).ok()??;
    let code = kept.strip_prefix(&header(bundle, source)?[..])?;
    Some(code.to_vec())
}

/// What is in front of the code of a source file.
fn header(bundle: &Bundle<'_>, source: &str) -> Option<[u8; HEADER]> {
    let (sum, size) = bundle.fingerprint(source)?;
    let mut header = [0; HEADER];
    header[..16].copy_from_slice(MAGIC);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    header[20..].copy_from_slice(&size.to_le_bytes());
    Some(header)
}
