//! Two processors in one address space: what one takes away, the other can't use any more when the call returns.

use super::large::Fixed;
use super::world::{Processor, World, anonymous, clear, drop_dataspace, seal, space, translate, whole};
use crate::cpu::Cpu;
use crate::machine::fake;
use crate::memory::{Dataspace, FaultOutcome, PhysAddr};
use crate::tlb;
use l4::PAGE_SIZE;
use l4::region::{Access, Backing};
use std::sync::mpsc;

const BASE: u64 = 0x40_0000;
const SHARED: u64 = 0x80_0000;
const PRIVATE: u64 = 0xc0_0000;

/// What the other processor is asked to do.
enum Request {
    Read(u64),
    Write(u64, u64),
}

/// A processor in a thread of its own, which serves flush requests while it waits for orders.
struct Other {
    orders: mpsc::Sender<Request>,
    results: mpsc::Receiver<Result<u64, FaultOutcome>>,
}

impl Other {
    fn run(
        orders: &mpsc::Receiver<Request>,
        results: &mpsc::Sender<Result<u64, FaultOutcome>>,
        processor: &Processor,
    ) {
        loop {
            tlb::serve();
            let result = match orders.try_recv() {
                Ok(Request::Read(address)) => processor.read(address),
                Ok(Request::Write(address, value)) => processor.write(address, value).map(|()| value),
                Err(mpsc::TryRecvError::Empty) => {
                    std::thread::yield_now();
                    continue;
                }
                Err(mpsc::TryRecvError::Disconnected) => break,
            };
            results.send(result).unwrap();
        }
        Cpu::this().tlb.set_loaded(PhysAddr(0));
    }

    /// The result; this processor serves flush requests meanwhile, too.
    fn ask(&self, request: Request) -> Result<u64, FaultOutcome> {
        self.orders.send(request).unwrap();
        loop {
            tlb::serve();
            if let Ok(result) = self.results.try_recv() {
                return result;
            }
            std::thread::yield_now();
        }
    }

    fn read(&self, address: u64) -> Result<u64, FaultOutcome> {
        self.ask(Request::Read(address))
    }

    fn write(&self, address: u64, value: u64) -> Result<u64, FaultOutcome> {
        self.ask(Request::Write(address, value))
    }
}

#[test]
fn the_other_processor_keeps_nothing_old() {
    let world = World::new();
    let account = world.account(200);
    let space = space(account).unwrap();
    let here = Processor::new(space);
    let sealed = Dataspace::create(account, 4 * PAGE_SIZE).unwrap();
    sealed.write(0, &11u64.to_ne_bytes()).unwrap();
    seal(&sealed);
    let shared = Dataspace::create(account, 4 * PAGE_SIZE).unwrap();
    anonymous(space, BASE, 4);
    let attach = |start, access, backing, dataspace| {
        space
            .attach(start, 4 * PAGE_SIZE, access, backing, Some((dataspace, 0)), false)
            .unwrap()
    };
    attach(SHARED, Access::READ_WRITE, Backing::Shared, shared);
    attach(PRIVATE, Access::READ_WRITE, Backing::Private, sealed);
    std::thread::scope(|scope| {
        let (orders, inbox) = mpsc::channel();
        let (outbox, results) = mpsc::channel();
        scope.spawn(move || {
            fake::set_cpu(1);
            Other::run(&inbox, &outbox, &Processor::new(space));
        });
        let other = Other { orders, results };

        assert_eq!(other.read(PRIVATE), Ok(11));
        here.write(PRIVATE, 12).unwrap();
        assert_eq!(other.read(PRIVATE), Ok(12), "a page that was copied");
        assert_eq!(other.write(PRIVATE, 13), Ok(13));
        assert_eq!(here.read(PRIVATE), Ok(13));

        assert_eq!(other.write(BASE, 1), Ok(1));
        whole(BASE, PAGE_SIZE, |at, size| space.protect(at, size, Access::READ)).unwrap();
        assert_eq!(
            other.write(BASE, 2),
            Err(FaultOutcome::Denied),
            "a right that was taken"
        );
        whole(BASE, PAGE_SIZE, |at, size| space.discard(at, size)).unwrap();
        assert_eq!(other.read(BASE), Ok(0), "a page that was given back");
        whole(BASE, PAGE_SIZE, |at, size| space.detach(at, size)).unwrap();
        assert_eq!(
            other.read(BASE),
            Err(FaultOutcome::NoRegion),
            "a region that is gone"
        );

        assert_eq!(other.write(SHARED, 5), Ok(5));
        clear(&shared, 0, PAGE_SIZE).unwrap();
        assert_eq!(other.read(SHARED), Ok(0), "a page that was cleared");
        assert_eq!(other.write(SHARED, 6), Ok(6));
        seal(&shared);
        assert_eq!(
            other.write(SHARED, 7),
            Err(FaultOutcome::Denied),
            "a sealed dataspace"
        );
        assert_eq!(other.read(SHARED), Ok(6));
    });
    drop_dataspace(sealed);
    drop_dataspace(shared);
    super::world::destroy(space);
    world.close(&[account]);
}

#[test]
fn the_other_processor_keeps_no_large_page() {
    let world = World::new();
    let account = world.account(200);
    let space = space(account).unwrap();
    let here = Processor::new(space);
    let fixed = Fixed::new(account, 0, 512);
    seal(&fixed.real);
    let (size, view) = (512 * PAGE_SIZE, Some((fixed.real, 0)));
    space
        .attach(PRIVATE, size, Access::READ_WRITE, Backing::Private, view, false)
        .unwrap();
    std::thread::scope(|scope| {
        let (orders, inbox) = mpsc::channel();
        let (outbox, results) = mpsc::channel();
        scope.spawn(move || {
            fake::set_cpu(1);
            Other::run(&inbox, &outbox, &Processor::new(space));
        });
        let other = Other { orders, results };
        let page = PRIVATE + 9 * PAGE_SIZE;
        assert_eq!(other.read(page), Ok(1009));
        assert!(translate(space.root(), page).unwrap().large);
        here.write(page, 1).unwrap();
        assert_eq!(other.read(page), Ok(1), "a page that was copied");
        assert_eq!(other.write(page, 2), Ok(2));
        assert_eq!(here.read(page), Ok(2));
        assert_eq!(other.read(page + PAGE_SIZE), Ok(1010));
        whole(page, PAGE_SIZE, |at, size| space.detach(at, size)).unwrap();
        assert_eq!(other.read(page), Err(FaultOutcome::NoRegion));
    });
    drop_dataspace(fixed.real);
    super::world::destroy(space);
    world.close(&[account]);
}

#[test]
fn processors_fault_at_the_same_time() {
    let world = World::new();
    let account = world.account(600);
    let space = space(account).unwrap();
    let dataspace = Dataspace::create(account, 64 * PAGE_SIZE).unwrap();
    anonymous(space, BASE, 64);
    let view = Some((dataspace, 0));
    space
        .attach(
            SHARED,
            64 * PAGE_SIZE,
            Access::READ_WRITE,
            Backing::Shared,
            view,
            false,
        )
        .unwrap();
    let running = std::sync::atomic::AtomicU32::new(4);
    let running = &running;
    std::thread::scope(|scope| {
        for cpu in 1..5u64 {
            scope.spawn(move || {
                fake::set_cpu(cpu as u32);
                let processor = Processor::new(space);
                for round in 0..20 {
                    for page in 0..64 {
                        let offset = page * PAGE_SIZE + cpu * 8;
                        processor.write(SHARED + offset, round).unwrap();
                        processor.write(BASE + offset, round).unwrap();
                        assert_eq!(processor.read(SHARED + offset), Ok(round));
                    }
                    let mine = BASE + (cpu + 64) * 64 * PAGE_SIZE;
                    anonymous(space, mine, 16);
                    (0..16).for_each(|page| processor.write(mine + page * PAGE_SIZE, page).unwrap());
                    whole(mine, 16 * PAGE_SIZE, |at, size| space.detach(at, size)).unwrap();
                    assert_eq!(processor.read(mine), Err(FaultOutcome::NoRegion));
                }
                // The others may still wait for this one to flush.
                running.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                while running.load(std::sync::atomic::Ordering::SeqCst) > 0 {
                    tlb::serve();
                    std::thread::yield_now();
                }
                Cpu::this().tlb.set_loaded(PhysAddr(0));
            });
        }
    });
    drop_dataspace(dataspace);
    super::world::destroy(space);
    world.close(&[account]);
}
