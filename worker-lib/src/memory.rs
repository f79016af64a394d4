//! Payloads of nested calls in dataspaces.

use interfaces::faas::client::Memory;
use l4::Error;
use l4::object::Dataspace;
use l4_rpc::Cap;
use l4re::OwnedCap;
use l4re::memory::{SealedView, SharedView, create_dataspace, round_up};

/// Maps dataspaces into this task to copy bytes in and out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapped;

impl Memory for Mapped {
    fn publish(&self, bytes: &[u8]) -> Result<Cap<Dataspace>, Error> {
        seal_copy(bytes).map(|owned| Cap::new(owned.leak()))
    }

    fn fetch(&self, memory: Cap<Dataspace>, into: &mut [u8]) -> Result<(), Error> {
        let view = SealedView::attach(Dataspace(memory.index()))?;
        into.copy_from_slice(view.bytes().get(..into.len()).ok_or(Error::Range)?);
        Ok(())
    }

    fn release(&self, memory: Cap<Dataspace>) {
        drop(OwnedCap::adopt(memory.index()));
    }
}

/// A new dataspace that starts with `bytes` and cannot be changed any more.
pub(crate) fn seal_copy(bytes: &[u8]) -> Result<OwnedCap, Error> {
    let length = bytes.len() as u64;
    let owned = create_dataspace(round_up(length)?)?;
    let dataspace = Dataspace(owned.index());
    SharedView::attach(dataspace, length)?.write(0, bytes)?;
    dataspace.seal()?;
    Ok(owned)
}
