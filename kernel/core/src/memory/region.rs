//! The regions of an address space, sorted: a treap whose nodes also know the largest gap below them.
//!
//! A node's neighbours in the tree are guarded by the lock of its address space, its place among the views of a
//! dataspace by the lock of that dataspace. Priorities are hashes of the nodes' addresses, so the tree is balanced for
//! any order of insertions.
#![expect(unsafe_code, reason = "tree nodes point to each other")]

use super::address::UserRange;
use super::dataspace::Dataspace;
use super::space::AddressSpace;
use crate::account::{Account, UNIT};
use crate::object::Ref;
use core::cell::Cell;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use l4::region::{Access, Backing};
use l4::{Error, USER_END};

/// What backs a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Zeroed pages of the space's own account.
    Anonymous,
    /// A dataspace's pages.
    Shared,
    /// A dataspace's pages until they are written.
    Private,
    /// Nothing.
    Reserved,
    /// A thread's UTCB, which the kernel maps and unmaps.
    Utcb,
}

impl Kind {
    /// What the interface calls it.
    pub(crate) const fn backing(self) -> Backing {
        match self {
            Kind::Anonymous => Backing::Anonymous,
            Kind::Shared => Backing::Shared,
            Kind::Private => Backing::Private,
            Kind::Reserved | Kind::Utcb => Backing::Reserved,
        }
    }
}

impl From<Backing> for Kind {
    fn from(backing: Backing) -> Kind {
        match backing {
            Backing::Anonymous => Kind::Anonymous,
            Backing::Shared => Kind::Shared,
            Backing::Private => Kind::Private,
            Backing::Reserved => Kind::Reserved,
        }
    }
}

/// A region.
pub(crate) struct Region {
    /// Changed under the space's lock; the views of a dataspace are found by it.
    start: AtomicU64,
    end: Cell<u64>,
    kind: Cell<Kind>,
    access: Cell<Access>,
    /// What the region was attached for: a shared view never gets more.
    limit: Access,
    dataspace: Cell<Option<Ref<Dataspace>>>,
    /// Offset into the dataspace, in bytes.
    offset: Cell<u64>,
    space: NonNull<AddressSpace>,
    /// Stands in the dataspace's list of views. A clone's copy of a view of sealed memory does not: the snapshot's does.
    registered: Cell<bool>,
    left: Cell<Option<Node>>,
    right: Cell<Option<Node>>,
    /// First and last address of the subtree, and the largest gap between its regions.
    first: Cell<u64>,
    last: Cell<u64>,
    gap: Cell<u64>,
    /// How many bytes the present work of the dataspace has dealt with.
    pub(super) progress: Cell<u64>,
    /// Place among the dataspace's views, under the dataspace's lock.
    pub(super) view: ViewLinks,
}

/// A region's place among the views of its dataspace.
pub(super) struct ViewLinks {
    pub(super) next: Cell<Option<Node>>,
    pub(super) previous: Cell<Option<Node>>,
    /// Compared with the list's colour, tells whether the present work has visited the view.
    pub(super) colour: Cell<bool>,
}

/// Units of memory that a region takes.
const REGION_UNITS: u32 = size_of::<Region>().div_ceil(UNIT) as u32;

/// A pointer to a region; good until the region is removed, under the lock of its space.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node(NonNull<Region>);

// SAFETY: A plain pointer; what it points to is guarded by locks (see the module's text).
unsafe impl Send for Node {}

impl Deref for Node {
    type Target = Region;
    #[inline(always)]
    fn deref(&self) -> &Region {
        // SAFETY: A node is freed by `Regions::free` only, when it is in no tree and in no list of views.
        unsafe { self.0.as_ref() }
    }
}

impl Node {
    /// The pointer, for who keeps it elsewhere.
    pub(super) fn as_ptr(self) -> *mut Region {
        self.0.as_ptr()
    }

    /// The node that a pointer of [`Self::as_ptr`] is.
    pub(super) fn from_raw(region: NonNull<Region>) -> Node {
        Node(region)
    }

    fn priority(self) -> u64 {
        (self.0.as_ptr() as u64 / UNIT as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Recomputes what a node knows of its subtree.
    fn update(self) -> Node {
        let (mut first, mut last, mut gap) = (self.start(), self.end(), 0);
        if let Some(left) = self.left.get() {
            gap = left.gap.get().max(first - left.last.get());
            first = left.first.get();
        }
        if let Some(right) = self.right.get() {
            gap = gap.max(right.gap.get()).max(right.first.get() - last);
            last = right.last.get();
        }
        self.first.set(first);
        self.last.set(last);
        self.gap.set(gap);
        self
    }

    /// The lowest gap of `size` bytes between the subtree's regions, at or behind `from`.
    fn find_gap(self, from: u64, size: u64) -> Option<u64> {
        if self.gap.get() < size || self.last.get() <= from {
            return None;
        }
        let fits = |after: u64, before: u64| {
            let start = after.max(from);
            (start.saturating_add(size) <= before).then_some(start)
        };
        let (left, right) = (self.left.get(), self.right.get());
        left.and_then(|left| left.find_gap(from, size))
            .or_else(|| fits(left?.last.get(), self.start()))
            .or_else(|| fits(self.end(), right?.first.get()))
            .or_else(|| right?.find_gap(from, size))
    }
}

impl Region {
    #[inline]
    pub(crate) fn start(&self) -> u64 {
        self.start.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn end(&self) -> u64 {
        self.end.get()
    }

    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        self.kind.get()
    }

    #[inline]
    pub(crate) fn access(&self) -> Access {
        self.access.get()
    }

    /// What the region was attached for.
    pub(crate) fn limit(&self) -> Access {
        self.limit
    }

    pub(crate) fn set_access(&self, access: Access) {
        self.access.set(access);
    }

    #[inline]
    pub(crate) fn dataspace(&self) -> Option<Ref<Dataspace>> {
        self.dataspace.get()
    }

    /// Offset into the dataspace of an address in the region.
    #[inline]
    pub(crate) fn offset_of(&self, address: u64) -> u64 {
        self.offset.get() + (address - self.start())
    }

    pub(crate) fn space(&self) -> NonNull<AddressSpace> {
        self.space
    }

    /// Tells whether the region shows a dataspace whose contents may still change.
    pub(super) fn shows_unsealed(&self) -> bool {
        self.kind() == Kind::Shared && self.dataspace().is_some_and(|dataspace| !dataspace.is_sealed())
    }

    /// Tells whether the region stands in its dataspace's list of views.
    #[inline]
    pub(crate) fn is_registered(&self) -> bool {
        self.registered.get()
    }

    pub(super) fn set_registered(&self, registered: bool) {
        self.registered.set(registered);
    }

    /// What a region would be that is the part of this one from `start` on.
    pub(super) fn plan_from(&self, start: u64) -> Result<Plan, Error> {
        Ok(Plan {
            range: UserRange::new(start, self.end() - start)?,
            kind: self.kind(),
            access: self.access(),
            limit: self.limit(),
            dataspace: self
                .dataspace()
                .map(|dataspace| (dataspace, self.offset_of(start))),
        })
    }

    /// Leaves only the range taken, with nothing to see.
    pub(crate) fn reserve(&self) {
        self.kind.set(Kind::Reserved);
        self.dataspace.set(None);
        self.registered.set(false);
        self.offset.set(0);
        self.progress.set(0);
    }

    /// Tells whether `next`, which starts where this region ends, could be the same region.
    pub(crate) fn continues_in(&self, next: &Region) -> bool {
        let same = self.end() == next.start()
            && self.kind() == next.kind()
            && self.access() == next.access()
            && self.limit == next.limit;
        same && match self.kind() {
            Kind::Anonymous | Kind::Reserved => true,
            Kind::Shared | Kind::Private => {
                self.dataspace() == next.dataspace()
                    && self.is_registered() == next.is_registered()
                    && self.offset_of(self.end()) == next.offset.get()
            }
            Kind::Utcb => false,
        }
    }
}

/// What a new region is to be.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) range: UserRange,
    pub(crate) kind: Kind,
    pub(crate) access: Access,
    /// What the region is attached for.
    pub(crate) limit: Access,
    pub(crate) dataspace: Option<(Ref<Dataspace>, u64)>,
}

/// The regions of an address space.
pub(crate) struct Regions {
    root: Option<Node>,
    /// The region that was found last: the next fault is likely to be in it.
    last_found: Option<Node>,
    /// They are a snapshot's: nothing about them may be changed.
    borrowed: bool,
}

impl Regions {
    pub(crate) const fn new() -> Regions {
        Regions {
            root: None,
            last_found: None,
            borrowed: false,
        }
    }

    /// The regions of a snapshot, whose tree has this root and stays as it is.
    pub(super) const fn borrow(root: Option<Node>) -> Regions {
        Regions {
            root,
            last_found: None,
            borrowed: true,
        }
    }

    /// Tells whether they are a snapshot's.
    #[inline]
    pub(super) const fn are_borrowed(&self) -> bool {
        self.borrowed
    }

    /// A region that is not in the tree yet.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub(crate) fn allocate(account: &Account, space: &AddressSpace, plan: &Plan) -> Result<Node, Error> {
        let memory = account.allocate_units(REGION_UNITS)?.cast::<Region>();
        let region = Region {
            start: AtomicU64::new(plan.range.start()),
            end: Cell::new(plan.range.end()),
            kind: Cell::new(plan.kind),
            access: Cell::new(plan.access),
            // Only views share what somebody else may not want written.
            limit: if plan.kind == Kind::Shared {
                plan.limit
            } else {
                Access::all()
            },
            dataspace: Cell::new(plan.dataspace.map(|(dataspace, _)| dataspace)),
            offset: Cell::new(plan.dataspace.map_or(0, |(_, offset)| offset)),
            space: NonNull::from_ref(space),
            registered: Cell::new(false),
            left: Cell::new(None),
            right: Cell::new(None),
            first: Cell::new(0),
            last: Cell::new(0),
            gap: Cell::new(0),
            progress: Cell::new(0),
            view: ViewLinks {
                next: Cell::new(None),
                previous: Cell::new(None),
                colour: Cell::new(false),
            },
        };
        const { assert!(align_of::<Region>() <= UNIT) };
        // SAFETY: The memory is new, large and aligned enough.
        unsafe { memory.write(region) };
        Ok(Node(memory))
    }

    /// Frees a region.
    ///
    /// # Safety
    /// It came from [`Self::allocate`] with this account and is in no tree and in no list of views.
    pub(crate) unsafe fn free(account: &Account, node: Node) {
        // SAFETY: By the caller's promise.
        unsafe { account.free_units(node.0.cast(), REGION_UNITS) };
    }

    /// The region that holds `address`.
    #[inline]
    pub(crate) fn find(&self, address: u64) -> Option<Node> {
        self.at_or_behind(address)
            .filter(|region| region.start() <= address)
    }

    /// The same, if it is likely to be the region that was found last.
    #[inline]
    pub(crate) fn find_again(&mut self, address: u64) -> Option<Node> {
        if let Some(region) = self.last_found
            && (region.start()..region.end()).contains(&address)
        {
            return self.last_found;
        }
        self.last_found = self.find(address);
        self.last_found
    }

    /// The first region that ends behind `address`.
    #[inline]
    pub(crate) fn at_or_behind(&self, address: u64) -> Option<Node> {
        let (mut next, mut best) = (self.root, None);
        while let Some(node) = next {
            if node.end() > address {
                best = next;
                if node.start() <= address {
                    break;
                }
                next = node.left.get();
            } else {
                next = node.right.get();
            }
        }
        best
    }

    /// The last region that starts before `address`.
    pub(crate) fn before(&self, address: u64) -> Option<Node> {
        let (mut next, mut best) = (self.root, None);
        while let Some(node) = next {
            if node.start() < address {
                best = next;
                next = node.right.get();
            } else {
                next = node.left.get();
            }
        }
        best
    }

    /// All regions, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Node> {
        core::iter::successors(self.at_or_behind(0), |region| self.at_or_behind(region.end()))
    }

    /// A region that is quick to remove.
    pub(crate) fn any(&self) -> Option<Node> {
        self.root.filter(|_| !self.borrowed)
    }

    /// The root of the tree.
    pub(super) fn root(&self) -> Option<Node> {
        self.root
    }

    /// The lowest address at or behind `from` with `size` free bytes.
    pub(crate) fn find_gap(&self, from: u64, size: u64) -> Option<u64> {
        let fits = |start: u64, end: u64| (start.checked_add(size)? <= end).then_some(start);
        let Some(root) = self.root else {
            return fits(from, USER_END);
        };
        fits(from, root.first.get())
            .or_else(|| root.find_gap(from, size))
            .or_else(|| fits(from.max(root.last.get()), USER_END))
    }

    /// Adds a region that overlaps none.
    pub(crate) fn insert(&mut self, node: Node) {
        debug_assert!(!self.borrowed);
        node.left.set(None);
        node.right.set(None);
        self.root = Some(insert(self.root, node.update()));
    }

    /// Takes a region out.
    pub(crate) fn remove(&mut self, node: Node) {
        debug_assert!(!self.borrowed);
        self.last_found = None;
        self.root = remove(self.root, node);
    }

    /// Gives a region other bounds, which overlap no other region; its offset moves along with its start.
    pub(crate) fn resize(&mut self, node: Node, start: u64, end: u64) {
        self.remove(node);
        if node.dataspace().is_some() {
            node.offset
                .set(node.offset.get().wrapping_add(start.wrapping_sub(node.start())));
        }
        node.start.store(start, Ordering::Relaxed);
        node.end.set(end);
        self.insert(node);
    }
}

fn insert(tree: Option<Node>, node: Node) -> Node {
    let Some(root) = tree else { return node };
    if node.priority() > root.priority() {
        let (left, right) = split(tree, node.start());
        node.left.set(left);
        node.right.set(right);
        return node.update();
    }
    if node.start() < root.start() {
        root.left.set(Some(insert(root.left.get(), node)));
    } else {
        root.right.set(Some(insert(root.right.get(), node)));
    }
    root.update()
}

fn remove(tree: Option<Node>, node: Node) -> Option<Node> {
    let root = tree?;
    if root == node {
        return join(root.left.get(), root.right.get());
    }
    if node.start() < root.start() {
        root.left.set(remove(root.left.get(), node));
    } else {
        root.right.set(remove(root.right.get(), node));
    }
    Some(root.update())
}

/// The regions that start before `address`, and the others.
fn split(tree: Option<Node>, address: u64) -> (Option<Node>, Option<Node>) {
    let Some(root) = tree else { return (None, None) };
    if root.start() < address {
        let (left, right) = split(root.right.get(), address);
        root.right.set(left);
        (Some(root.update()), right)
    } else {
        let (left, right) = split(root.left.get(), address);
        root.left.set(right);
        (left, Some(root.update()))
    }
}

/// One tree of two, the first of which is before the second.
fn join(first: Option<Node>, second: Option<Node>) -> Option<Node> {
    let (Some(left), Some(right)) = (first, second) else {
        return first.or(second);
    };
    if left.priority() > right.priority() {
        left.right.set(join(left.right.get(), second));
        Some(left.update())
    } else {
        right.left.set(join(first, right.left.get()));
        Some(right.update())
    }
}
