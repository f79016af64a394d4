//! What the test does, at random.

use l4::region::{Access, Backing};
use proptest::prelude::*;

/// Pages of the window of addresses that the test uses; tables of all levels end in its middle.
pub(super) const WINDOW: u64 = 40;
/// The same for tests of large pages.
pub(super) const LARGE_WINDOW: u64 = 7 * 512;
pub(super) const MAX_DATASPACES: usize = 6;
pub(super) const MAX_SPACES: usize = 5;

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Attach {
        space: usize,
        start: u64,
        pages: u64,
        access: Access,
        backing: Backing,
        source: usize,
        offset: u64,
        search: bool,
    },
    Detach(usize, u64, u64),
    Protect(usize, u64, u64, Access),
    Discard(usize, u64, u64),
    Touch {
        space: usize,
        page: u64,
        access: Access,
        value: u64,
    },
    Create(u64),
    Child(usize),
    Seal(usize),
    Clear(usize, u64, u64),
    Write(usize, u64, u64),
    Copy(usize, usize, u64, u64, u64),
    Drop(usize),
    Delete(usize),
    Freeze(usize),
    Copied(usize),
    /// Later copies of the space's image begin with the pages that the space has written.
    Record(usize),
}

fn access() -> impl Strategy<Value = Access> {
    prop_oneof![
        1 => Just(Access::empty()),
        2 => Just(Access::READ),
        5 => Just(Access::READ_WRITE),
        2 => Just(Access::READ_EXECUTE),
    ]
}

fn backing() -> impl Strategy<Value = Backing> {
    prop_oneof![
        3 => Just(Backing::Anonymous),
        4 => Just(Backing::Shared),
        4 => Just(Backing::Private),
        1 => Just(Backing::Reserved),
    ]
}

/// A step in a window whose tables of level 0 are not all of one page.
pub(super) fn step() -> impl Strategy<Value = Step> {
    steps(0..WINDOW, 1..12u64, 0..8u64, 0..WINDOW, any::<bool>())
}

/// A step in a window of some large pages: what is attached mostly begins where one can begin.
pub(super) fn large_step() -> impl Strategy<Value = Step> {
    let near = |most: u64| {
        (0..=most, prop_oneof![3 => Just(0), 1 => 0..600u64]).prop_map(|(large, more)| large * 512 + more)
    };
    let size = near(2).prop_map(|pages| pages.max(1));
    let touched = (0..LARGE_WINDOW / 128, 0..3u64).prop_map(|(part, page)| part * 128 + page);
    // A search finds another place, which the model does not know.
    steps(near(6), size, near(1), touched, Just(false))
}

fn steps(
    start: impl Strategy<Value = u64> + Clone + 'static,
    pages: impl Strategy<Value = u64> + Clone + 'static,
    offset: impl Strategy<Value = u64> + 'static,
    touched: impl Strategy<Value = u64> + 'static,
    search: impl Strategy<Value = bool> + 'static,
) -> impl Strategy<Value = Step> {
    let space = 0..MAX_SPACES;
    let range = (start, pages);
    let source = 0..MAX_DATASPACES;
    let page = 0..20u64;
    let one = prop_oneof![Just(Access::READ), Just(Access::WRITE), Just(Access::EXECUTE)];
    prop_oneof![
        6 => (space.clone(), range.clone(), access(), backing(), source.clone(), offset, search).prop_map(
            |(space, (start, pages), access, backing, source, offset, search)| {
                Step::Attach { space, start, pages, access, backing, source, offset, search }
            }
        ),
        2 => (space.clone(), range.clone()).prop_map(|(space, (start, pages))| Step::Detach(space, start, pages)),
        2 => (space.clone(), range.clone(), access()).prop_map(|(s, (start, pages), a)| Step::Protect(s, start, pages, a)),
        1 => (space.clone(), range).prop_map(|(space, (start, pages))| Step::Discard(space, start, pages)),
        16 => (space, touched, one, 1..u64::MAX).prop_map(|(space, page, access, value)| {
            Step::Touch { space, page, access, value }
        }),
        2 => (1..20u64).prop_map(Step::Create),
        2 => source.clone().prop_map(Step::Child),
        2 => source.clone().prop_map(Step::Seal),
        2 => (source.clone(), page.clone(), 1..8u64).prop_map(|(of, from, pages)| Step::Clear(of, from, pages)),
        3 => (source.clone(), page.clone(), 1..u64::MAX).prop_map(|(of, page, value)| Step::Write(of, page, value)),
        2 => (source.clone(), source.clone(), page.clone(), page, 1..8u64)
            .prop_map(|(to, from, at, source, pages)| Step::Copy(to, from, at, source, pages)),
        1 => source.clone().prop_map(Step::Drop),
        1 => source.prop_map(Step::Delete),
        1 => (0..MAX_SPACES).prop_map(Step::Freeze),
        3 => (0..MAX_SPACES).prop_map(Step::Copied),
        2 => (0..MAX_SPACES).prop_map(Step::Record),
    ]
}
