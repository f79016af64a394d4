use crate::service::{Labels, Moe, Platform};
use crate::{Module, Modules};
use interfaces::log::{Colour, LogError, LogFactoryClient};
use interfaces::namespace::{NamespaceClient, NamespaceError};
use interfaces::parent::{EXIT, ParentClient, ParentError};
use l4::archive::{Archive, Entry, header_size, write_header};
use l4::exception::ExceptionFrame;
use l4::object::Vcon;
use l4::protocol::{EXCEPTION, VCON};
use l4::{CapIndex, Error, Rights, Tag, Utcb};
use l4_rpc::{CallError, Cap, Incoming, Loopback, Reply, Transport};
use l4re::server::Service;

#[derive(Default)]
struct Fake {
    console: Vec<u8>,
    mint_fails: bool,
}

impl Platform for Fake {
    fn show(&mut self, bytes: &[u8]) {
        self.console.extend_from_slice(bytes);
    }

    fn mint(&mut self, label: Labels) -> Result<Cap<Vcon>, Error> {
        if self.mint_fails {
            Err(Error::NoMemory)
        } else {
            Ok(Cap::new(CapIndex(label.label() as u32)))
        }
    }
}

type Dispatch = fn(&mut Moe<Fake>, &Incoming, &Utcb) -> Reply;

fn moe() -> Moe<Fake> {
    let entry = |name, offset, size| Entry {
        name,
        command_line: "",
        offset,
        size,
        is_executable: false,
    };
    let entries = [entry("moe", 4096, 5000), entry("cfg/x.cfg", 12288, 10)];
    let mut header = vec![0; header_size(2)];
    write_header(&mut header, "", 16384, &entries).unwrap();
    Moe::new(
        Modules::of_archive(&Archive::parse(&header).unwrap(), CapIndex(0x40)),
        Fake::default(),
    )
}

fn gate(moe: Moe<Fake>, label: u64) -> Loopback<Moe<Fake>, Dispatch> {
    let dispatch: Dispatch = |moe, incoming, utcb| moe.serve(incoming, utcb);
    Loopback::new(moe, dispatch).calling_as(label, Rights::CLIENT)
}

#[test]
fn labels_survive_the_wire() {
    for label in [
        Labels::Rom,
        Labels::LogFactory,
        Labels::Parent,
        Labels::Fault,
        Labels::Log(0),
        Labels::Log(511),
    ] {
        assert_eq!(label.label() % 4, 0);
        assert_eq!(Labels::of(label.label()), Some(label));
    }
    assert_eq!(Labels::of(0), None);
}

#[test]
fn modules_are_found_and_listed() {
    let gate = gate(moe(), Labels::Rom.label());
    let rom = NamespaceClient::new(&gate);
    let (dataspace, size) = rom.query("cfg/x.cfg").unwrap();
    assert_eq!((dataspace.index(), size), (CapIndex(0x41), 10));
    assert_eq!(
        rom.query("absent"),
        Err(CallError::Server(NamespaceError::NotFound))
    );
    assert_eq!(rom.query(""), Err(CallError::Server(NamespaceError::InvalidName)));
    assert_eq!(
        rom.query(&"x".repeat(256)),
        Err(CallError::Server(NamespaceError::InvalidName))
    );
    assert_eq!(rom.list(0), Ok(Some(("moe".into(), 5000))));
    assert_eq!((rom.list(2), rom.list(u64::MAX)), (Ok(None), Ok(None)));
}

#[test]
fn a_module_has_all_that_the_archive_says() {
    let module = Module {
        name: "moe".into(),
        size: 5000,
        dataspace: CapIndex(0x40),
    };
    assert_eq!(moe().modules().find("moe"), Some(&module));
}

#[test]
fn logs_are_made_and_written() {
    let gate = gate(moe(), Labels::LogFactory.label());
    let factory = LogFactoryClient::new(&gate);
    let log = factory.create("hello", Colour::NONE).unwrap().index();
    assert_eq!(u64::from(log.0), Labels::Log(0).label());
    assert_eq!(
        factory.create("a\tb", Colour::NONE),
        Err(CallError::Server(LogError::InvalidTag))
    );

    gate.inspect(|moe| {
        let written = vcon_write(moe, Labels::Log(0), 6, b"Hello\n");
        assert_eq!(written, Reply::Now(Tag::new(0, 0, 0)));
        assert_eq!(moe.platform().console, b"hello   | Hello\n");
        moe.platform().mint_fails = true;
    });
    assert_eq!(
        factory.create("b", Colour::NONE),
        Err(CallError::Server(LogError::TooManyLogs))
    );
    gate.inspect(|moe| moe.platform().mint_fails = false);
    let second = factory.create("b", Colour::NONE).unwrap().index();
    assert_eq!(
        u64::from(second.0),
        Labels::Log(1).label(),
        "the failed one left nothing"
    );
}

#[test]
fn malformed_writes_are_refused() {
    let mut moe = moe();
    moe.create_log("a", Colour::NONE).unwrap();
    let log = Labels::Log(0);
    assert_eq!(
        vcon_write(&mut moe, log, 9, b"12345678"),
        Reply::error(Error::MessageTooShort)
    );
    assert_eq!(
        vcon_write(&mut moe, log, u64::MAX, b""),
        Reply::error(Error::MessageTooShort)
    );
    assert_eq!(
        vcon_write(&mut moe, Labels::Log(1), 0, b""),
        Reply::error(Error::NotFound)
    );
    assert_eq!(
        vcon_write(&mut moe, Labels::Fault, 0, b""),
        Reply::error(Error::BadProtocol)
    );
    assert!(moe.platform().console.is_empty());
}

fn vcon_write(moe: &mut Moe<Fake>, to: Labels, length: u64, bytes: &[u8]) -> Reply {
    let utcb = Utcb::new();
    utcb.write(0, &[l4::protocol::vcon::WRITE, length]);
    let words = utcb.write_bytes(2, bytes);
    deliver(moe, to, &utcb, Tag::new(VCON, 2 + words, 0))
}

fn deliver(moe: &mut Moe<Fake>, to: Labels, utcb: &Utcb, tag: Tag) -> Reply {
    let mut incoming = Incoming::new();
    incoming.load(
        utcb,
        l4::syscall::Received {
            tag,
            label: to.label() | 3,
        },
        &[],
    );
    moe.serve(&incoming, utcb)
}

#[test]
fn the_exit_code_of_init_is_the_verdict() {
    for (code, verdict) in [(0, true), (1, false), (u64::MAX, false)] {
        let gate = gate(moe(), Labels::Parent.label());
        let parent = ParentClient::new(&gate);
        assert_eq!(
            parent.signal(7, 0),
            Err(CallError::Server(ParentError::UnknownSignal))
        );
        gate.inspect(|moe| assert!(!moe.is_finished()));
        assert!(parent.signal(EXIT, code).is_err(), "nobody answers who is gone");
        gate.inspect(|moe| {
            assert!(moe.is_finished());
            assert_eq!(moe.finish(), verdict);
        });
    }
}

#[test]
fn a_fault_of_init_is_a_failure_that_is_told() {
    let mut moe = moe();
    moe.create_log("app", Colour::NONE).unwrap();
    vcon_write(&mut moe, Labels::Log(0), 4, b"half");
    let frame = ExceptionFrame {
        vector: 14,
        address: 0x10,
        rip: 0x20_1234,
        error: 4,
        ..ExceptionFrame::default()
    };
    let utcb = Utcb::new();
    utcb.write(0, &frame.to_words());
    let tag = Tag::new(EXCEPTION, ExceptionFrame::WORDS, 0);
    assert_eq!(deliver(&mut moe, Labels::Fault, &utcb, tag), Reply::Deferred);
    assert!(moe.is_finished() && !moe.finish());
    let console = String::from_utf8(moe.platform().console.clone()).unwrap();
    assert!(console.contains("unresolved page fault"), "{console}");
    assert!(
        console.contains("at address 0x10, instruction 0x201234"),
        "{console}"
    );
    assert!(console.ends_with("app     | half\n"), "{console}");
}

#[test]
fn unknown_labels_and_protocols_are_refused() {
    let mut moe = moe();
    let utcb = Utcb::new();
    let mut incoming = Incoming::new();
    incoming.load(
        &utcb,
        l4::syscall::Received {
            tag: Tag::new(VCON, 2, 0),
            label: 3,
        },
        &[],
    );
    assert_eq!(moe.serve(&incoming, &utcb), Reply::error(Error::NotFound));
    assert_eq!(
        deliver(&mut moe, Labels::Log(0), &utcb, Tag::new(EXCEPTION, 1, 0)),
        Reply::error(Error::BadProtocol)
    );
    let gate = gate(moe, Labels::Rom.label());
    assert!(
        gate.call(Tag::new(VCON, 1, 0), 0, 0)
            .is_ok_and(|arrival| arrival.tag.label() < 0)
    );
}
