//! Names of files in a bundle.

use alloc::string::ToString;

use crate::{BundleError, NAME_MAX};

/// Endings of compiled extension modules.
const NATIVE: [&str; 4] = [".so", ".pyd", ".dll", ".dylib"];

/// Checks a file's name.
pub(crate) fn check(name: &str) -> Result<(), BundleError> {
    let bad = |part: &str| part.is_empty() || part == "." || part == "..";
    let is_plain = !name.contains(|c: char| c == '\\' || c.is_control());
    if name.len() > NAME_MAX || !is_plain || name.split('/').any(bad) {
        return Err(BundleError::BadName(name.escape_debug().to_string()));
    }
    let file = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    if NATIVE.iter().any(|ending| file.ends_with(ending)) || file.contains(".so.") {
        return Err(BundleError::NativeExtension(name.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::BundleError;

    #[test]
    fn only_plain_relative_names_are_taken() {
        for good in [
            "a.py",
            "pkg/__init__.py",
            "pkg/data.txt",
            "ü.py",
            "a..b",
            "so.py",
            "x.sort",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/a",
            "../a",
            "a/../b",
            "a//b",
            "./a",
            "a\\b",
            "a\0",
            "a/.",
            "\u{1b}[1m",
        ] {
            assert!(matches!(check(bad), Err(BundleError::BadName(_))), "{bad}");
        }
        assert!(check(&"x".repeat(256)).is_err());
    }

    #[test]
    fn compiled_modules_are_refused() {
        for name in [
            "_x.cpython-313-x86_64-linux-gnu.so",
            "p/A.SO",
            "libz.so.1",
            "x.pyd",
        ] {
            assert!(
                matches!(check(name), Err(BundleError::NativeExtension(_))),
                "{name}"
            );
        }
    }
}
