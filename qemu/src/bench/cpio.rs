//! Archives in cpio's "newc" format, as Linux unpacks them into its first file system.
//!
//! Each member is a header of 110 characters (magic and 13 numbers of 8 hexadecimal digits), its name with a NUL,
//! and its bytes; name and bytes are padded to multiples of 4. A member called `TRAILER!!!` ends the archive.

use std::collections::BTreeSet;

const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";
const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive being written.
#[derive(Debug, Default)]
pub(super) struct Cpio {
    bytes: Vec<u8>,
    members: u32,
    folders: BTreeSet<String>,
}

impl Cpio {
    /// Adds a folder, and those above it, unless they are there.
    pub(super) fn folder(&mut self, name: &str) {
        if let Some((above, _)) = name.rsplit_once('/') {
            self.folder(above);
        }
        if self.folders.insert(name.to_owned()) {
            self.member(name, FOLDER, (0, 0), &[]);
        }
    }

    /// Adds a program, and the folders above it.
    pub(super) fn program(&mut self, name: &str, bytes: &[u8]) {
        if let Some((folder, _)) = name.rsplit_once('/') {
            self.folder(folder);
        }
        self.member(name, PROGRAM, (0, 0), bytes);
    }

    /// Adds a character device with its major and minor number.
    pub(super) fn device(&mut self, name: &str, number: (u32, u32)) {
        self.member(name, CHARACTER_DEVICE, number, &[]);
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.member(TRAILER, 0, (0, 0), &[]);
        self.bytes
    }

    fn member(&mut self, name: &str, mode: u32, device: (u32, u32), bytes: &[u8]) {
        self.members += 1;
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        // inode, mode, uid, gid, links, time, size, device of the file (2), device it is (2), name size, checksum
        let numbers = [
            self.members,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            device.0,
            device.1,
            name_size,
            0,
        ];
        self.bytes.extend_from_slice(MAGIC.as_bytes());
        for number in numbers {
            self.bytes.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Cpio;

    #[test]
    fn folders_come_once_and_before_what_is_in_them() {
        let mut archive = Cpio::default();
        archive.program("lib/python/json", b"1");
        archive.program("lib/python/os", b"2");
        archive.folder("lib");
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        let at = |name: &str| text.find(name).unwrap();
        assert!(at("lib\0") < at("lib/python\0") && at("lib/python\0") < at("lib/python/json\0"));
        assert_eq!(text.matches("lib\0").count(), 1);
        assert_eq!(text.matches("lib/python\0").count(), 1);
    }

    #[test]
    fn members_are_padded_and_numbered() {
        let mut archive = Cpio::default();
        archive.folder("dev");
        archive.device("dev/console", (5, 1));
        archive.program("init", b"12345");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        assert!(bytes.starts_with(b"07070100000001000041ed"));
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("0000000500000001"), "the device's numbers");
        let init = text.find("init\0").unwrap();
        // Header and name fill a multiple of 4 bytes, then come the contents.
        assert_eq!(&text[init..init + 14], "init\0\x0012345\0\0\x00");
        assert!(text.contains("TRAILER!!!\0"));
    }
}
