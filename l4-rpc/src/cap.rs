//! Typed capabilities in messages.

use core::fmt;
use core::marker::PhantomData;

use l4::cap::SendItem;
use l4::{CapIndex, Rights};

/// A capability slot that is believed to hold a `T`: a kernel object's wrapper (`Cap<l4::object::Dataspace>`) or an
/// interface (`Cap<dyn Namespace>`).
///
/// As an argument or a result it travels as a capability item, never as a number: the receiver gets a slot of its
/// own. It says with which rights a copy is passed on, or that the capability itself moves. It owns nothing; dropping
/// the value leaves the slot as it is.
///
/// In a declaration it must be called `Cap`. Under another name `#[interface]` takes it for a value, for which it has no
/// encoding, so that the mistake does not compile:
///
/// ```compile_fail
/// type Hidden = l4_rpc::Cap<l4::object::Irq>;
///
/// #[l4_rpc::interface(protocol = 1)]
/// trait Alarm {
///     #[op(1)]
///     fn set(&self, irq: Hidden) -> Result<(), ()>;
/// }
/// ```
pub struct Cap<T: ?Sized> {
    index: CapIndex,
    rights: Rights,
    grant: bool,
    object: PhantomData<fn(&T)>,
}

impl<T: ?Sized> Cap<T> {
    /// The capability in slot `index`; passed on, the receiver gets the rights of a client ([`Rights::CLIENT`]).
    #[inline]
    pub const fn new(index: CapIndex) -> Cap<T> {
        Cap {
            index,
            rights: Rights::CLIENT,
            grant: false,
            object: PhantomData,
        }
    }

    /// The same capability, to be passed on with these rights (at most those that the sender has).
    #[inline]
    pub const fn with_rights(self, rights: Rights) -> Cap<T> {
        Cap { rights, ..self }
    }

    /// The same capability, to be moved: the sender's slot is empty afterwards.
    #[inline]
    pub const fn granted(self) -> Cap<T> {
        Cap {
            rights: Rights::all(),
            grant: true,
            ..self
        }
    }

    /// The slot.
    #[inline]
    pub const fn index(self) -> CapIndex {
        self.index
    }

    /// What a message carries to pass it.
    #[inline]
    pub const fn item(self) -> SendItem {
        SendItem {
            cap: self.index,
            rights: self.rights,
            grant: self.grant,
        }
    }
}

impl<T: ?Sized> Clone for Cap<T> {
    fn clone(&self) -> Cap<T> {
        *self
    }
}

impl<T: ?Sized> Copy for Cap<T> {}

impl<T: ?Sized> PartialEq for Cap<T> {
    fn eq(&self, other: &Cap<T>) -> bool {
        self.index == other.index
    }
}

impl<T: ?Sized> Eq for Cap<T> {}

impl<T: ?Sized> fmt::Debug for Cap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.index.fmt(f)
    }
}
