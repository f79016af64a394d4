//! Random operations on spaces and dataspaces against a model that copies everything at once.
#![expect(unsafe_code, reason = "write sets are kept for ever")]

mod data;
mod steps;

use self::steps::{LARGE_WINDOW, MAX_DATASPACES, MAX_SPACES, Step, WINDOW, large_step, step};
use super::large::Fixed;
use super::world::{Processor, World, delete_dataspace, destroy, drop_dataspace, seal, settle, space, whole};
use crate::account::Account;
use crate::memory::{AddressSpace, Dataspace, FaultOutcome, MAX_WRITTEN};
use crate::object::Ref;
use l4::region::{Access, Backing};
use l4::{Error, PAGE_SIZE};
use proptest::prelude::*;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::vec::Vec;

/// Where tables of all levels end, in the middle of the window that a test uses.
const SEAM: u64 = 1 << 39;
/// Where in a page the test's word stands.
const WORD: u64 = 16;

/// A dataspace as it should be.
struct Data {
    real: Ref<Dataspace>,
    words: Vec<u64>,
    sealed: bool,
    /// Somebody still holds a capability.
    held: bool,
    parent: Option<usize>,
    /// In one piece, so that large pages can show it.
    fixed: bool,
}

/// A page of a space as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Page {
    access: Access,
    limit: Access,
    shows: Shows,
}

impl Page {
    /// A page as it was attached.
    fn new(access: Access, shows: Shows) -> Page {
        Page {
            access,
            limit: access,
            shows,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shows {
    Own(u64),
    Shared(usize, u64),
    Private(usize, u64),
    /// A private page that was written, and what it showed before.
    Copy(u64, usize, u64),
    Nothing,
}

/// A space as it should be.
struct Space {
    real: &'static AddressSpace,
    processor: Processor,
    pages: BTreeMap<u64, Page>,
    frozen: bool,
    /// The image that it began as.
    image: Option<usize>,
    /// What copies of it begin with, as far as they may own it.
    written: &'static [u64],
}

impl Space {
    fn new(real: &'static AddressSpace, pages: BTreeMap<u64, Page>) -> Space {
        Space {
            real,
            processor: Processor::new(real),
            pages,
            frozen: false,
            image: None,
            written: &[],
        }
    }
}

struct Model {
    account: Ref<Account>,
    owner: Ref<Account>,
    /// Copies of an image stand behind it.
    spaces: Vec<Space>,
    data: Vec<Data>,
    /// Pages of the window of addresses.
    window: u64,
}

/// The pages that a space owns.
fn written(space: &AddressSpace) -> Vec<u64> {
    let mut pages = [0; MAX_WRITTEN];
    let count = space.find_written(&mut pages).unwrap();
    pages[..count].to_vec()
}

impl Model {
    fn new(world: &World, window: u64) -> Model {
        let (account, owner) = (world.account(20_000), world.account(20_000));
        let spaces = (0..2).map(|_| Space::new(space(account).unwrap(), BTreeMap::new()));
        Model {
            account,
            owner,
            spaces: spaces.collect(),
            data: Vec::new(),
            window,
        }
    }

    fn address(&self, page: u64) -> u64 {
        SEAM - self.window / 2 * PAGE_SIZE + page * PAGE_SIZE
    }

    fn held(&self, index: usize) -> Option<&Data> {
        self.data.get(index).filter(|data| data.held)
    }

    /// Tells whether a space can be worked with.
    fn lives(&self, space: usize) -> bool {
        self.spaces.get(space).is_some_and(|space| !space.frozen)
    }

    /// Tells whether an image shows a dataspace, so that its deletion would end the image.
    fn is_in_image(&self, index: usize) -> bool {
        let pages = self.spaces.iter().filter(|space| space.frozen);
        let shown = pages.flat_map(|space| space.pages.values());
        let mut of = shown.filter_map(|page| match page.shows {
            Shows::Shared(data, _) | Shows::Private(data, _) | Shows::Copy(_, data, _) => Some(data),
            _ => None,
        });
        of.any(|data| {
            core::iter::successors(Some(data), |data| self.data[*data].parent).any(|data| data == index)
        })
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Attach { space, .. }
            | Step::Detach(space, ..)
            | Step::Protect(space, ..)
            | Step::Discard(space, ..)
            | Step::Touch { space, .. }
            | Step::Freeze(space)
            | Step::Record(space)
                if !self.lives(space) => {}
            Step::Freeze(space) => self.freeze(space),
            Step::Copied(image) => self.copy_image(image),
            Step::Record(space) => self.record(space),
            Step::Attach { .. } => self.attach(step),
            Step::Detach(space, start, pages) => self.detach(space, start, pages),
            Step::Protect(space, start, pages, access) => self.protect(space, start, pages, access),
            Step::Discard(space, start, pages) => self.discard(space, start, pages),
            Step::Touch {
                space,
                page,
                access,
                value,
            } => self.touch(space, page, access, value),
            Step::Create(pages) if self.data.len() < MAX_DATASPACES => {
                let real = Dataspace::create(self.owner, pages * PAGE_SIZE).unwrap();
                let words = std::vec![0; pages as usize];
                self.data.push(Data {
                    real,
                    words,
                    sealed: false,
                    held: true,
                    parent: None,
                    fixed: false,
                });
            }
            Step::Child(parent) if self.data.len() < MAX_DATASPACES => self.child(parent),
            Step::Create(_) | Step::Child(_) => {}
            Step::Drop(index) if self.held(index).is_some() => {
                self.data[index].held = false;
                drop_dataspace(self.data[index].real);
                settle();
            }
            Step::Delete(index) if self.held(index).is_some() && !self.is_in_image(index) => {
                delete_dataspace(self.data[index].real);
                settle();
                self.delete(index);
            }
            Step::Drop(_) | Step::Delete(_) => {}
            Step::Seal(index) if self.held(index).is_some() => {
                seal(&self.data[index].real);
                self.data[index].sealed = true;
            }
            Step::Seal(_) => {}
            Step::Clear(..) | Step::Write(..) | Step::Copy(..) => self.change(step),
        }
    }

    fn detach(&mut self, space: usize, start: u64, pages: u64) {
        whole(self.address(start), pages * PAGE_SIZE, |at, size| {
            self.spaces[space].real.detach(at, size)
        })
        .unwrap();
        self.spaces[space]
            .pages
            .retain(|page, _| !(start..start + pages).contains(page));
    }

    fn discard(&mut self, space: usize, start: u64, pages: u64) {
        whole(self.address(start), pages * PAGE_SIZE, |at, size| {
            self.spaces[space].real.discard(at, size)
        })
        .unwrap();
        for (_, page) in self.spaces[space].pages.range_mut(start..start + pages) {
            page.shows = match page.shows {
                Shows::Own(_) => Shows::Own(0),
                Shows::Copy(_, data, number) => Shows::Private(data, number),
                other => other,
            };
        }
    }

    fn attach(&mut self, step: Step) {
        let Step::Attach {
            space,
            start,
            pages,
            access,
            backing,
            source,
            offset,
            search,
        } = step
        else {
            return;
        };
        let dataspace = self.held(source).map(|data| (data.real, offset * PAGE_SIZE));
        let uses = matches!(backing, Backing::Shared | Backing::Private);
        let model = &self.spaces[space].pages;
        let free = |at: u64| model.range(at..at + pages).next().is_none();
        let place = if search {
            (start..).find(|at| free(*at))
        } else {
            Some(start).filter(|at| free(*at))
        };
        let expected = match (self.held(source).filter(|_| uses), place) {
            (None, _) if uses => Err(Error::MissingArgument),
            (Some(data), _) if offset + pages > data.words.len() as u64 => Err(Error::Range),
            (Some(data), _) if backing == Backing::Private && !data.sealed => Err(Error::Invalid),
            (Some(data), _)
                if backing == Backing::Shared && data.sealed && access.contains(Access::WRITE) =>
            {
                Err(Error::AccessDenied)
            }
            (_, Some(at)) => Ok(self.address(at)),
            (_, None) => Err(Error::Exists),
        };
        let real = self.spaces[space].real.attach(
            self.address(start),
            pages * PAGE_SIZE,
            access,
            backing,
            dataspace,
            search,
        );
        assert_eq!(real, expected, "{step:?}");
        let Some(at) = place.filter(|_| expected.is_ok()) else {
            return;
        };
        for page in 0..pages {
            let shows = match backing {
                Backing::Anonymous => Shows::Own(0),
                Backing::Shared => Shows::Shared(source, offset + page),
                Backing::Private => Shows::Private(source, offset + page),
                Backing::Reserved => Shows::Nothing,
            };
            let shown = Page::new(access, shows);
            self.spaces[space].pages.insert(at + page, shown);
        }
    }

    fn protect(&mut self, space: usize, start: u64, pages: u64, access: Access) {
        let refusal = |page: Option<&Page>| match page {
            None => Some(Error::NotFound),
            Some(Page {
                shows: Shows::Shared(data, _),
                limit: old,
                ..
            }) => {
                let refused = self.data[*data].sealed || !old.contains(Access::WRITE);
                (access.contains(Access::WRITE) && refused).then_some(Error::AccessDenied)
            }
            Some(_) => None,
        };
        let range = start..start + pages;
        let expected = range
            .clone()
            .find_map(|number| refusal(self.spaces[space].pages.get(&number)))
            .map_or(Ok(()), Err);
        if expected.is_ok() {
            for number in range {
                if let Some(page) = self.spaces[space].pages.get_mut(&number) {
                    page.access = access;
                }
            }
        }
        let real = whole(self.address(start), pages * PAGE_SIZE, |at, size| {
            self.spaces[space].real.protect(at, size, access)
        });
        assert_eq!(real, expected);
    }

    fn touch(&mut self, space: usize, number: u64, access: Access, value: u64) {
        let page = self.spaces[space].pages.get(&number).copied();
        let expected = match page {
            None
            | Some(Page {
                shows: Shows::Nothing,
                ..
            }) => Err(FaultOutcome::NoRegion),
            Some(page) if !page.access.contains(access) => Err(FaultOutcome::Denied),
            Some(Page {
                shows: Shows::Shared(data, _),
                ..
            }) if access == Access::WRITE && self.data[data].sealed => Err(FaultOutcome::Denied),
            Some(page) => Ok(match page.shows {
                Shows::Own(word) | Shows::Copy(word, ..) => word,
                Shows::Shared(data, number) | Shows::Private(data, number) => {
                    self.data[data].words[number as usize]
                }
                Shows::Nothing => 0,
            }),
        };
        let (processor, at) = (&self.spaces[space].processor, self.address(number) + WORD);
        match access {
            Access::WRITE => assert_eq!(
                processor.write(at, value),
                expected.map(drop),
                "page {number}: {page:?}"
            ),
            Access::EXECUTE => {
                assert_eq!(
                    processor.access(at, access).map(drop),
                    expected.map(drop),
                    "page {number}: {page:?}"
                );
            }
            _ => assert_eq!(processor.read(at), expected, "page {number}: {page:?}"),
        }
        if access == Access::WRITE && expected.is_ok() {
            self.written(space, number, value);
        }
    }

    fn written(&mut self, space: usize, number: u64, value: u64) {
        let Some(page) = self.spaces[space].pages.get_mut(&number) else {
            return;
        };
        match page.shows {
            Shows::Own(_) => page.shows = Shows::Own(value),
            Shows::Private(data, shown) | Shows::Copy(_, data, shown) => {
                page.shows = Shows::Copy(value, data, shown)
            }
            Shows::Shared(data, shown) => self.data[data].words[shown as usize] = value,
            Shows::Nothing => {}
        }
    }

    /// Makes a space an image, in small pieces.
    fn freeze(&mut self, space: usize) {
        let start = self.address(0);
        let space = &mut self.spaces[space];
        space.real.begin_image(self.owner.erase()).unwrap();
        while !space.real.freeze(&mut 3).unwrap() {}
        space.frozen = true;
        assert_eq!(space.real.detach(start, PAGE_SIZE), Err(Error::Busy));
        assert_eq!(space.real.discard(start, PAGE_SIZE), Err(Error::Busy));
    }

    fn copy_image(&mut self, image: usize) {
        if self.spaces.len() == MAX_SPACES || !self.spaces.get(image).is_some_and(|image| image.frozen) {
            return;
        }
        let original = &self.spaces[image];
        let copy = AddressSpace::copy_image(self.account, original.real).unwrap();
        let copy: &'static AddressSpace = Box::leak(Box::new(copy));
        copy.register_views(original.real).unwrap();
        // SAFETY: The addresses stay for ever.
        unsafe { copy.copy_ahead(original.written) };
        assert_eq!(written(copy), original.written);
        let mut copy = Space::new(copy, original.pages.clone());
        copy.image = Some(image);
        self.spaces.push(copy);
    }

    fn record(&mut self, space: usize) {
        let Some(image) = self.spaces[space].image else {
            return;
        };
        let mut pages = written(self.spaces[space].real);
        let kept = self.spaces[image].real.keep_writable(&mut pages);
        pages.truncate(kept);
        self.spaces[image].written = pages.leak();
    }

    /// Compares all that can be read.
    fn compare(&mut self) {
        for space in (0..self.spaces.len())
            .filter(|space| !self.spaces[*space].frozen)
            .collect::<Vec<_>>()
        {
            self.compare_space(space);
        }
        for data in self.data.iter().filter(|data| data.held) {
            for (page, word) in (0..).zip(&data.words) {
                let mut bytes = [0; 8];
                data.real.read(page * PAGE_SIZE + WORD, &mut bytes).unwrap();
                assert_eq!(u64::from_ne_bytes(bytes), *word);
            }
        }
    }

    fn compare_space(&mut self, space: usize) {
        for page in 0..self.window + 80 {
            self.touch(space, page, Access::READ, 0);
        }
    }

    fn end(mut self, world: World) {
        self.compare();
        for image in 0..self.spaces.len() {
            // What was in an image is still there, whatever its copies did.
            let before = self.spaces.len();
            self.copy_image(image);
            if self.spaces.len() > before {
                self.compare_space(before);
            }
        }
        let last = self.spaces.len() - 1;
        while self.spaces.len() > 1 {
            let space = self.spaces.pop().unwrap();
            destroy(space.real);
            if self.spaces.len() == last {
                for data in self.data.iter_mut().filter(|data| data.held) {
                    drop_dataspace(data.real);
                    data.held = false;
                }
                settle();
            }
        }
        if !self.spaces[0].frozen {
            self.compare_space(0);
        }
        destroy(self.spaces[0].real);
        world.close(&[self.account, self.owner]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn spaces_and_dataspaces_are_as_if_copied(steps in prop::collection::vec(step(), 1..150)) {
        let world = World::new();
        let mut model = Model::new(&world, WINDOW);
        for step in steps {
            model.step(step);
        }
        model.end(world);
    }
}

/// Steps that make an image with pages of all sorts, and two copies of it.
fn image_steps() -> Vec<Step> {
    let attach = |start, pages, access, backing, source| Step::Attach {
        space: 0,
        start,
        pages,
        access,
        backing,
        source,
        offset: 0,
        search: false,
    };
    let mut steps = std::vec![Step::Create(12), Step::Create(12)];
    steps.extend(
        (0..12).flat_map(|page| [Step::Write(0, page, page + 100), Step::Write(1, page, page + 200)]),
    );
    steps.extend([
        Step::Seal(0),
        attach(0, 10, Access::READ_WRITE, Backing::Anonymous, 0),
        attach(10, 10, Access::READ_WRITE, Backing::Private, 0),
        attach(20, 6, Access::READ_WRITE, Backing::Shared, 1),
        attach(28, 6, Access::READ, Backing::Shared, 0),
    ]);
    steps.extend(
        (0..34)
            .filter(|page| page % 3 != 0 && *page < 26)
            .map(|page| Step::Touch {
                space: 0,
                page,
                access: Access::WRITE,
                value: page + 1,
            }),
    );
    steps.extend([Step::Freeze(0), Step::Copied(0), Step::Copied(0)]);
    steps
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn copies_of_images_are_as_if_copied(steps in prop::collection::vec(step(), 1..100)) {
        let world = World::new();
        let mut model = Model::new(&world, WINDOW);
        for step in image_steps().into_iter().chain(steps) {
            model.step(step);
        }
        model.end(world);
    }
}

/// Steps that make an image that shows memory in one piece, sealed and not, and a copy of it.
fn large_image_steps() -> Vec<Step> {
    let attach = |start, pages, access, backing, source| Step::Attach {
        space: 0,
        start,
        pages,
        access,
        backing,
        source,
        offset: 0,
        search: false,
    };
    let touch = |page, access| Step::Touch {
        space: 0,
        page,
        access,
        value: page + 1,
    };
    std::vec![
        attach(0, 1024, Access::READ_WRITE, Backing::Private, 0),
        attach(1024, 600, Access::READ, Backing::Shared, 0),
        attach(2048, 1024, Access::READ_WRITE, Backing::Shared, 1),
        attach(3072, 100, Access::READ_WRITE, Backing::Anonymous, 0),
        touch(3, Access::READ),
        touch(700, Access::READ),
        touch(701, Access::WRITE),
        touch(1025, Access::READ),
        touch(2050, Access::WRITE),
        touch(3080, Access::WRITE),
        Step::Freeze(0),
        Step::Copied(0),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn large_pages_are_as_if_copied(
        begins_with_image in any::<bool>(),
        steps in prop::collection::vec(large_step(), 1..100),
    ) {
        let world = World::new();
        let mut model = Model::new(&world, LARGE_WINDOW);
        let fixed = [0, 512].map(|phase| Fixed::new(model.owner, phase, 1200));
        for fixed in &fixed {
            let words = (0..1200).map(|page| page + 1000).collect();
            let (real, sealed, held) = (fixed.real, false, true);
            model.data.push(Data { real, words, sealed, held, parent: None, fixed: true });
        }
        model.step(Step::Seal(0));
        let image = if begins_with_image { large_image_steps() } else { Vec::new() };
        for step in image.into_iter().chain(steps) {
            model.step(step);
        }
        model.end(world);
    }
}
