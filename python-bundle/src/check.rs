//! Checks code where it is not run.

use crate::directory::Directory;
use crate::{BundleError, UNPACKED_MAX, is_zip};

/// Checks code without unpacking or keeping anything: a zip's directory, or that a source file is text. The time is
/// bounded by the limits of bundles. What takes memory to see (a name that occurs twice, damaged bytes of a file) is
/// left to [`Bundle`](crate::Bundle).
///
/// # Errors
/// What is wrong with it.
pub fn check(code: &[u8]) -> Result<(), BundleError> {
    if is_zip(code) {
        return Directory::of(code)?.try_for_each(|entry| entry.map(drop));
    }
    if code.len() as u64 > UNPACKED_MAX {
        return Err(BundleError::TooLarge);
    }
    match core::str::from_utf8(code) {
        Ok(_) => Ok(()),
        Err(error) => Err(BundleError::NotText {
            at: error.valid_up_to(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::{BundleError, UNPACKED_MAX, pack};
    use alloc::collections::BTreeMap;
    use alloc::vec;
    use alloc::vec::Vec;

    fn zip(name: &str) -> Vec<u8> {
        pack(&BTreeMap::from([(name.into(), b"x".to_vec())])).unwrap()
    }

    #[test]
    fn text_and_good_zips_pass() {
        assert_eq!(check("def main(arg): return 'ä'".as_bytes()), Ok(()));
        assert_eq!(check(&zip("main.py")), Ok(()));
        assert_eq!(check(b""), Ok(()));
    }

    #[test]
    fn what_is_neither_is_refused() {
        assert_eq!(check(b"x = '\xff'"), Err(BundleError::NotText { at: 5 }));
        assert_eq!(check(b"\x7fELF\x02\xff"), Err(BundleError::NotText { at: 5 }));
        let long = vec![b' '; UNPACKED_MAX as usize + 1];
        assert_eq!(check(&long), Err(BundleError::TooLarge));
    }

    #[test]
    fn a_zip_is_refused_for_its_last_entry_too() {
        let mut bytes = pack(&BTreeMap::from([
            ("a.py".into(), Vec::new()),
            ("b.py".into(), Vec::new()),
        ]))
        .unwrap();
        assert_eq!(check(&bytes[..bytes.len() - 1]), Err(BundleError::Truncated));
        let last = bytes.len() - 22 - 4;
        bytes[last..last + 4].copy_from_slice(b"/.py");
        assert_eq!(check(&bytes), Err(BundleError::BadName("/.py".into())));
    }
}
