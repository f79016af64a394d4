//! Tables that copies of an image give back as zeroed frames.

use super::world::{Processor, World, destroy, seal, space, word};
use crate::account::Account;
use crate::memory::{AddressSpace, Dataspace, frame};
use crate::object::Ref;
use l4::PAGE_SIZE;
use l4::region::{Access, Backing};
use std::boxed::Box;
use std::vec::Vec;

/// Where a table of level 0 begins.
const BASE: u64 = 0x4000_0000;
/// Pages that an eighth of a table of level 0 maps.
const EIGHTH: u64 = 64;

/// An image with one page of its own, and a view of `dataspace` that nobody has looked at yet.
fn image(account: Ref<Account>, dataspace: Ref<Dataspace>) -> &'static AddressSpace {
    let image = space(account).unwrap();
    let attach = |start, size, access, backing, offset| {
        image.attach(start, size, access, backing, offset, false).unwrap();
    };
    attach(BASE, 4 * PAGE_SIZE, Access::READ_WRITE, Backing::Anonymous, None);
    let (start, size) = (BASE + EIGHTH * PAGE_SIZE, 600 * PAGE_SIZE);
    attach(start, size, Access::READ, Backing::Shared, Some((dataspace, 0)));
    let processor = Processor::new(image);
    processor.write(BASE, 7).unwrap();
    image.begin_image(account.erase()).unwrap();
    while !image.freeze(&mut 5).unwrap() {}
    image
}

#[test]
fn what_a_copy_was_shown_is_gone_from_the_tables_that_it_gives_back() {
    let world = World::new();
    let account = world.account(2000);
    let dataspace = Dataspace::create(account, 600 * PAGE_SIZE).unwrap();
    (0..600u64).for_each(|page| {
        dataspace
            .write(page * PAGE_SIZE, &(page + 1).to_ne_bytes())
            .unwrap()
    });
    seal(&dataspace);
    let image = image(account, dataspace);
    // Pages in other eighths of the table that has the image's page, and in a table that the image does not have.
    for looked_at in [
        &[][..],
        &[0],
        &[5 * EIGHTH],
        &[520],
        &[0, 100, 200, 300, 400, 500],
    ] {
        let copy = AddressSpace::copy_image(account, image).unwrap();
        let copy: &'static AddressSpace = Box::leak(Box::new(copy));
        let processor = Processor::new(copy);
        processor.write(BASE, 8).unwrap();
        processor.write(BASE + PAGE_SIZE, 9).unwrap();
        for page in looked_at {
            let address = BASE + (EIGHTH + page) * PAGE_SIZE;
            assert_eq!(processor.read(address), Ok(page + 1));
        }
        destroy(copy);
        let frames: Vec<_> = (0..100).map(|_| frame::allocate(true).unwrap()).collect();
        for frame in frames {
            assert!((0..512).all(|index| word(frame, index * 8) == 0));
            frame::free(frame);
        }
    }
    destroy(image);
    super::world::drop_dataspace(dataspace);
    world.close(&[account]);
}
