//! The tree of regions against a sorted map.

use super::world::{World, destroy, space};
use crate::memory::address::UserRange;
use crate::memory::region::{Kind, Node, Plan, Regions};
use crate::memory::space::AddressSpace;
use l4::region::{Access, Backing};
use l4::{Error, PAGE_SIZE, USER_END, USER_START};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec::Vec;

const PAGES: u64 = 64;

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(u64, u64),
    Remove(u64),
    Resize(u64, u64, u64),
    Find(u64),
    Gap(u64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let page = 1..PAGES;
    prop_oneof![
        3 => (page.clone(), 1..6u64).prop_map(|(start, pages)| Step::Insert(start, pages)),
        1 => page.clone().prop_map(Step::Remove),
        1 => (page.clone(), 0..3u64, 0..3u64).prop_map(|(at, front, back)| Step::Resize(at, front, back)),
        2 => page.clone().prop_map(Step::Find),
        2 => (page, 1..12u64).prop_map(|(from, pages)| Step::Gap(from, pages)),
    ]
}

fn free_range(model: &BTreeMap<u64, u64>, start: u64, end: u64) -> bool {
    model.iter().all(|(from, to)| *to <= start || end <= *from)
}

fn node_at(space: &AddressSpace, start: u64, end: u64) -> Node {
    let range = UserRange::new(start * PAGE_SIZE, (end - start) * PAGE_SIZE).unwrap();
    let plan = Plan {
        range,
        kind: Kind::Reserved,
        access: Access::empty(),
        limit: Access::empty(),
        dataspace: None,
    };
    Regions::allocate(&space.account, space, &plan).unwrap()
}

fn bounds(node: Option<Node>) -> Option<(u64, u64)> {
    node.map(|node| (node.start() / PAGE_SIZE, node.end() / PAGE_SIZE))
}

fn check(regions: &mut Regions, model: &mut BTreeMap<u64, u64>, space: &AddressSpace, step: Step) {
    match step {
        Step::Insert(start, pages) => {
            if free_range(model, start, start + pages) {
                regions.insert(node_at(space, start, start + pages));
                model.insert(start, start + pages);
            }
        }
        Step::Remove(page) => {
            if let Some(node) = regions.find(page * PAGE_SIZE) {
                regions.remove(node);
                model.remove(&(node.start() / PAGE_SIZE));
                #[expect(unsafe_code, reason = "nodes are freed by hand")]
                // SAFETY: The node came from `node_at` and was just removed.
                unsafe {
                    Regions::free(&space.account, node);
                }
            }
        }
        Step::Resize(page, front, back) => {
            if let Some(node) = regions.find(page * PAGE_SIZE) {
                let (start, end) = (node.start() / PAGE_SIZE, node.end() / PAGE_SIZE);
                if start + front + back < end {
                    regions.resize(node, (start + front) * PAGE_SIZE, (end - back) * PAGE_SIZE);
                    model.remove(&start);
                    model.insert(start + front, end - back);
                }
            }
        }
        Step::Find(page) => {
            let at_or_behind = model
                .iter()
                .map(|(from, to)| (*from, *to))
                .find(|(_, to)| *to > page);
            let before = model
                .iter()
                .map(|(from, to)| (*from, *to))
                .rfind(|(from, _)| *from < page);
            assert_eq!(bounds(regions.at_or_behind(page * PAGE_SIZE)), at_or_behind);
            assert_eq!(bounds(regions.before(page * PAGE_SIZE)), before);
            let holds = at_or_behind.filter(|(from, _)| *from <= page);
            assert_eq!(bounds(regions.find(page * PAGE_SIZE)), holds);
            assert_eq!(bounds(regions.find_again(page * PAGE_SIZE + 8)), holds);
        }
        Step::Gap(from, pages) => {
            let expected = (from..).find(|start| free_range(model, *start, start + pages));
            let found = regions.find_gap(from * PAGE_SIZE, pages * PAGE_SIZE);
            assert_eq!(found.map(|start| start / PAGE_SIZE), expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn tree_is_a_sorted_map(steps in prop::collection::vec(step(), 1..120)) {
        let world = World::new();
        let account = world.account(1000);
        let space = space(account).unwrap();
        let (mut regions, mut model) = (Regions::new(), BTreeMap::new());
        for step in steps {
            check(&mut regions, &mut model, space, step);
        }
        for page in 0..PAGES + 8 {
            check(&mut regions, &mut model, space, Step::Find(page));
            check(&mut regions, &mut model, space, Step::Remove(page));
        }
        prop_assert!(model.is_empty());
        destroy(space);
        world.close(&[account]);
    }
}

#[test]
fn sixty_thousand_regions() {
    let world = World::new();
    let account = world.account(4000);
    let space = space(account).unwrap();
    let mut starts = Vec::new();
    for number in 0..60_000u64 {
        // Every second page, so that no two of them merge, in an order that is not sorted.
        let start = USER_START + (number * 25_013 % 60_000) * 2 * PAGE_SIZE;
        let attached = space.attach(start, PAGE_SIZE, Access::READ, Backing::Anonymous, None, false);
        assert_eq!(attached, Ok(start));
        starts.push(start);
    }
    let two = space.attach(
        USER_START,
        2 * PAGE_SIZE,
        Access::READ,
        Backing::Reserved,
        None,
        true,
    );
    assert_eq!(
        two,
        Ok(USER_START + (2 * 60_000 - 1) * PAGE_SIZE),
        "the first gap of two pages is at the end"
    );
    let one = space.attach(
        USER_START,
        PAGE_SIZE,
        Access::READ_WRITE,
        Backing::Anonymous,
        None,
        true,
    );
    assert_eq!(one, Ok(USER_START + PAGE_SIZE));
    assert!(
        starts
            .iter()
            .all(|start| space.find(*start).is_some_and(|region| region.start == *start))
    );
    // Half a page at most for a node and its share of the arena.
    assert!(
        account.used() < 60_000 * 256,
        "regions are small: {}",
        account.used()
    );
    destroy(space);
    world.close(&[account]);
}

#[test]
fn search_finds_the_last_page_and_no_more() {
    let world = World::new();
    let account = world.account(100);
    let space = space(account).unwrap();
    let attach =
        |start, size, search| space.attach(start, size, Access::READ, Backing::Reserved, None, search);
    let all = USER_END - USER_START;
    assert_eq!(attach(USER_START, all - PAGE_SIZE, true), Ok(USER_START));
    assert_eq!(attach(USER_START, 2 * PAGE_SIZE, true), Err(Error::NoSpace));
    assert_eq!(attach(USER_START, PAGE_SIZE, true), Ok(USER_END - PAGE_SIZE));
    assert_eq!(attach(USER_START, PAGE_SIZE, true), Err(Error::NoSpace));
    assert_eq!(attach(USER_END - PAGE_SIZE, PAGE_SIZE, false), Err(Error::Exists));
    destroy(space);
    world.close(&[account]);
}
