//! A received payload.

use l4re::memory::SealedView;

use crate::inline::InlineBytes;
use crate::machine::RequestMemory;

/// Bytes that this task received: copied out of the message, or a view of memory that is immutable.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large variant is there to do without the heap"
)]
pub(crate) enum Body {
    Inline(InlineBytes),
    Shared(SharedBody),
}

/// A view of a sealed dataspace, of which the first `length` bytes are the payload. The fields are dropped in this
/// order: the view first.
#[derive(Debug)]
pub(crate) struct SharedBody {
    view: SealedView,
    length: usize,
    _memory: RequestMemory,
}

impl Body {
    /// Looks at a payload in a dataspace, which then belongs to the body.
    ///
    /// # Errors
    /// If it is not sealed, shorter than `length`, or cannot be attached.
    pub(crate) fn attach(memory: RequestMemory, length: u64) -> Result<Self, l4::Error> {
        let view = SealedView::attach(memory.dataspace())?;
        let length = usize::try_from(length).map_err(|_| l4::Error::Range)?;
        if length > view.bytes().len() {
            return Err(l4::Error::Range);
        }
        Ok(Self::Shared(SharedBody {
            view,
            length,
            _memory: memory,
        }))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Inline(bytes) => bytes.as_slice(),
            Self::Shared(shared) => &shared.view.bytes()[..shared.length],
        }
    }
}
