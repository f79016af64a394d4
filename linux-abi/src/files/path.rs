//! From a path to what stands there.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::descriptor::Kind;
use super::generated::Generated;
use super::temporary::Entry;
use crate::{Errno, Process, System, user};

/// The folder of the boot modules.
pub(super) const ROM: &str = "/rom/";
/// Directory descriptor that means the working directory.
pub(super) const AT_FDCWD: i32 = -100;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    /// A file of `rom`, with its name there.
    Rom(String),
    Null,
    Zero,
    Random,
    /// A file below `/tmp`, with its number.
    Temporary(usize),
    /// A file that is made when it is opened.
    Generated(Generated),
    /// An open file, by its descriptor.
    Descriptor(i32),
    /// Symbolic link to the executable.
    Executable,
}

/// The directories that are always there, and what is always in them.
const FIXED: [(&str, Node); 32] = [
    ("/", Node::Directory),
    ("/dev", Node::Directory),
    ("/dev/fd", Node::Directory),
    ("/dev/null", Node::Null),
    ("/dev/random", Node::Random),
    ("/dev/stderr", Node::Descriptor(2)),
    ("/dev/stdin", Node::Descriptor(0)),
    ("/dev/stdout", Node::Descriptor(1)),
    ("/dev/urandom", Node::Random),
    ("/dev/zero", Node::Zero),
    ("/proc", Node::Directory),
    ("/proc/cpuinfo", Node::Generated(Generated::Processors)),
    ("/proc/meminfo", Node::Generated(Generated::Memory)),
    ("/proc/mounts", Node::Generated(Generated::Mounts)),
    ("/proc/self", Node::Directory),
    ("/proc/self/cgroup", Node::Generated(Generated::ControlGroup)),
    ("/proc/self/cmdline", Node::Generated(Generated::CommandLine)),
    ("/proc/self/exe", Node::Executable),
    ("/proc/self/fd", Node::Directory),
    ("/proc/self/maps", Node::Generated(Generated::Maps)),
    ("/proc/self/mounts", Node::Generated(Generated::Mounts)),
    ("/proc/self/stat", Node::Generated(Generated::State)),
    ("/proc/self/status", Node::Generated(Generated::Status)),
    ("/sys", Node::Directory),
    ("/sys/devices", Node::Directory),
    ("/sys/devices/system", Node::Directory),
    ("/sys/devices/system/cpu", Node::Directory),
    (
        "/sys/devices/system/cpu/online",
        Node::Generated(Generated::ProcessorList),
    ),
    (
        "/sys/devices/system/cpu/possible",
        Node::Generated(Generated::ProcessorList),
    ),
    (
        "/sys/devices/system/cpu/present",
        Node::Generated(Generated::ProcessorList),
    ),
    ("/rom", Node::Directory),
    ("/tmp", Node::Directory),
];

/// Folders whose files are the open ones, by their descriptors.
const DESCRIPTORS: [&str; 2] = ["/proc/self/fd/", "/dev/fd/"];

/// Makes a path absolute and removes `.`, `..` and empty parts.
pub(super) fn normalize(directory: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let base = if path.starts_with('/') { "" } else { directory };
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Names in a directory, without those of its subdirectories; each once.
pub(super) fn children<S: System>(process: &mut Process<S>, directory: &str) -> Vec<(String, bool)> {
    let prefix = if directory == "/" {
        String::from("/")
    } else {
        format!("{directory}/")
    };
    let mut found: Vec<(String, bool)> = Vec::new();
    let rom = process.system.names();
    let fixed = FIXED
        .iter()
        .map(|(path, node)| (String::from(*path), *node == Node::Directory));
    let temporary = process.files.temporary.below(&prefix);
    let temporary: Vec<(String, bool)> = temporary
        .map(|(path, is_directory)| (String::from(path), is_directory))
        .collect();
    let rom = rom.iter().map(|name| (format!("{ROM}{name}"), false));
    let open = DESCRIPTORS.iter().filter(|folder| **folder == prefix);
    let numbers = process.files.numbers();
    let open = open.flat_map(|folder| numbers.iter().map(move |fd| (format!("{folder}{fd}"), false)));
    for (path, is_directory) in fixed.chain(rom).chain(temporary).chain(open) {
        let Some(rest) = path.strip_prefix(&prefix).filter(|rest| !rest.is_empty()) else {
            continue;
        };
        let (name, is_directory) = match rest.split_once('/') {
            Some((name, _)) => (name, true),
            None => (rest, is_directory),
        };
        if !found.iter().any(|(known, _)| known == name) {
            found.push((String::from(name), is_directory));
        }
    }
    found
}

/// Reads a path argument and makes it absolute. An empty path is an error here.
pub(super) fn read<S: System>(process: &mut Process<S>, fd: i32, address: u64) -> Result<String, Errno> {
    let path = user::read_path(&mut process.system, address)?;
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    absolute(process, fd, &path)
}

/// Makes a path that starts at a directory descriptor absolute. What must be a directory keeps its final slash.
pub(super) fn absolute<S: System>(process: &mut Process<S>, fd: i32, path: &str) -> Result<String, Errno> {
    let directory = if path.starts_with('/') || fd == AT_FDCWD {
        process.files.directory.clone()
    } else {
        match &process.files.get(fd)?.kind {
            Kind::Directory(directory) => directory.clone(),
            _ => return Err(Errno::NOTDIR),
        }
    };
    let mut result = normalize(&directory, path);
    if path.ends_with('/') && result != "/" {
        result.push('/');
    }
    Ok(result)
}

/// What an absolute path names.
pub(super) fn lookup<S: System>(process: &mut Process<S>, path: &str) -> Result<Node, Errno> {
    let (path, must_be_directory) = match path.strip_suffix('/') {
        Some(rest) if !rest.is_empty() => (rest, true),
        _ => (path, false),
    };
    let node = if let Some((_, node)) = FIXED.iter().find(|(fixed, _)| *fixed == path) {
        node.clone()
    } else if let Some(name) = path.strip_prefix(ROM) {
        in_rom(process, name)?
    } else if let Some(number) = DESCRIPTORS.iter().find_map(|folder| path.strip_prefix(folder)) {
        let fd = number.parse().map_err(|_| Errno::NOENT)?;
        process.files.get(fd).map_err(|_| Errno::NOENT)?;
        Node::Descriptor(fd)
    } else if let Some(entry) = process.files.temporary.get(path) {
        match entry {
            Entry::Directory => Node::Directory,
            Entry::File(number) => Node::Temporary(number),
        }
    } else {
        return Err(Errno::NOENT);
    };
    if must_be_directory && node != Node::Directory {
        return Err(Errno::NOTDIR);
    }
    Ok(node)
}

fn in_rom<S: System>(process: &mut Process<S>, name: &str) -> Result<Node, Errno> {
    match process.system.open(name) {
        Ok(file) => {
            process.system.close(file);
            Ok(Node::Rom(String::from(name)))
        }
        Err(Errno::NOENT | Errno::NAMETOOLONG) => {
            let folder = format!("{name}/");
            let is_folder = process
                .system
                .names()
                .iter()
                .any(|known| known.starts_with(&folder));
            if is_folder {
                Ok(Node::Directory)
            } else {
                Err(Errno::NOENT)
            }
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::process;
    use proptest::prelude::*;

    #[test]
    fn paths_are_normalized() {
        for (path, expected) in [
            ("rom/x", "/rom/x"),
            ("/rom//x/", "/rom/x"),
            ("../../rom/./x", "/rom/x"),
            ("/rom/../dev/null", "/dev/null"),
            ("/..", "/"),
            (".", "/"),
        ] {
            assert_eq!(normalize("/", path), expected, "{path}");
        }
        assert_eq!(normalize("/rom", "x"), "/rom/x");
        assert_eq!(normalize("/rom/functions", "../x"), "/rom/x");
    }

    proptest! {
        #[test]
        fn normal_paths_have_no_odd_parts(path in "[a-z./]{0,40}") {
            let normal = normalize("/rom", &path);
            prop_assert!(normal.starts_with('/'));
            prop_assert!(normal.split('/').skip(1).all(|part| !matches!(part, "." | "..")));
            prop_assert_eq!(normalize("/", &normal), normal);
        }
    }

    #[test]
    fn nodes_are_found() {
        let mut process = process();
        for (path, expected) in [
            ("/", Ok(Node::Directory)),
            ("/rom", Ok(Node::Directory)),
            ("/rom/", Ok(Node::Directory)),
            ("/rom/data", Ok(Node::Rom(String::from("data")))),
            ("/rom/data/", Err(Errno::NOTDIR)),
            ("/rom/functions", Ok(Node::Directory)),
            (
                "/rom/functions/hello",
                Ok(Node::Rom(String::from("functions/hello"))),
            ),
            ("/rom/absent", Err(Errno::NOENT)),
            ("/dev/null", Ok(Node::Null)),
            ("/etc/localtime", Err(Errno::NOENT)),
        ] {
            assert_eq!(lookup(&mut process, path), expected, "{path}");
        }
        assert_eq!(process.system.open_files(), 0);
    }

    #[test]
    fn folders_have_each_name_once() {
        let mut process = process();
        let rom = children(&mut process, "/rom");
        assert_eq!(
            rom,
            [(String::from("data"), false), (String::from("functions"), true)]
        );
        let root: Vec<String> = children(&mut process, "/")
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(root, ["dev", "proc", "sys", "rom", "tmp"]);
        assert_eq!(children(&mut process, "/rom/functions").len(), 2);
    }
}
