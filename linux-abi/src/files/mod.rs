//! Files: descriptors, paths, and the calls on them.
//!
//! What exists: `/rom`, read-only; `/tmp`, the program's own; `/dev/null`, `zero`, `random` and `urandom`; a few files of `/proc` and `/sys`;
//! standard input, which is empty, and standard output and error, which are written to the log line by line. In a
//! program that serves a request, input is the request and output the response.

mod capacity;
mod change;
mod channel;
mod descriptor;
mod directory;
mod epoll;
mod exchange;
mod generated;
mod lock;
mod open;
mod output;
mod path;
mod poll;
mod select;
mod socket;
mod status;
mod temporary;
mod timer;
mod transfer;

pub(crate) use capacity::{fallocate, fstatfs, statfs};
pub(crate) use change::{chmod, fchmod, fchmodat, ftruncate, mkdir, mkdirat, rename, renameat, renameat2};
pub(crate) use change::{rmdir, truncate, umask, unlink, unlinkat, utimensat};
pub(crate) use channel::{eventfd, eventfd2, pipe, pipe2};
pub(crate) use descriptor::{DESCRIPTOR_LIMIT, Files, Mappable};
pub(crate) use descriptor::{close, close_range, dup, dup2, dup3, fcntl, ioctl};
pub(crate) use directory::{chdir, getcwd, getdents64, readlink, readlinkat};
pub(crate) use epoll::{epoll_create, epoll_create1, epoll_ctl, epoll_pwait, epoll_pwait2, epoll_wait};
pub(crate) use exchange::{Exchange, take_over};
pub(crate) use open::{access, faccessat, open, openat};
pub(crate) use poll::{poll, ppoll};
pub(crate) use select::{pselect6, select};
pub(crate) use socket::{getsockname, getsockopt, no_such_socket, recvfrom, sendto, shutdown};
pub(crate) use socket::{socket, socketpair};
pub(crate) use status::{fstat, newfstatat, stat, statx};
pub(crate) use timer::{timerfd_create, timerfd_gettime, timerfd_settime};
pub(crate) use transfer::{accept, preadv, preadv2, pwritev, pwritev2, sync};
pub(crate) use transfer::{fsync, lseek, pread64, pwrite64, read, readv, write, writev};
