//! Requests and responses: short ones inside the message, long ones in dataspaces.

use l4::Error;
use l4::object::Dataspace;
use l4_rpc::{Arguments, Cap, Decode, Encode, Encoder, Source};

use super::INLINE_RESPONSE;

/// Bytes at the start of a dataspace, which must be sealed: nobody changes them after they were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where the bytes are.
    pub memory: Cap<Dataspace>,
    /// How many there are.
    pub length: u64,
}

/// Bytes to send. On the wire: a word with the length, whose highest bit tells that they are in a dataspace; then the
/// bytes or the capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// In the message: at most [`INLINE_RESPONSE`] bytes, the longer of the two limits.
    Inline(&'a [u8]),
    /// In a dataspace.
    Dataspace(Block),
}

/// Where the bytes of an answer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// In the buffer that the caller named, as many as the call returned.
    Inline,
    /// In a dataspace, which belongs to the caller now.
    Dataspace(Block),
}

const IN_DATASPACE: u64 = 1 << 63;

impl Payload<'_> {
    /// Length in bytes.
    pub const fn length(&self) -> u64 {
        match self {
            Payload::Inline(bytes) => bytes.len() as u64,
            Payload::Dataspace(block) => block.length,
        }
    }

    /// What an answer says of this payload, and the bytes to send with it: the arguments of a generated reply.
    pub const fn split(&self) -> (Body, &[u8]) {
        match self {
            Payload::Inline(bytes) => (Body::Inline, bytes),
            Payload::Dataspace(block) => (Body::Dataspace(*block), &[]),
        }
    }
}

impl Encode for Payload<'_> {
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        match self {
            Payload::Inline(bytes) => {
                out.word(bytes.len() as u64);
                out.bytes(bytes);
            }
            Payload::Dataspace(block) => encode_block(block, out),
        }
    }
}

impl<'a> Decode<Arguments<'a>> for Payload<'a> {
    const CAPS: usize = 1;

    #[inline]
    fn decode(from: &mut Arguments<'a>) -> Result<Payload<'a>, Error> {
        let word = from.word()?;
        if word <= INLINE_RESPONSE as u64 {
            from.bytes(word).map(Payload::Inline)
        } else if word & IN_DATASPACE == 0 {
            // A short name leaves room for more, but whoever passes the bytes on counts on this.
            Err(Error::MessageTooLong)
        } else {
            decode_block(word, from).map(Payload::Dataspace)
        }
    }
}

/// On the wire: 0, or the length with the highest bit set and the capability.
impl Encode for Body {
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        match self {
            Body::Inline => out.word(0),
            Body::Dataspace(block) => encode_block(block, out),
        }
    }
}

impl<S: Source> Decode<S> for Body {
    const CAPS: usize = 1;

    #[inline]
    fn decode(from: &mut S) -> Result<Body, Error> {
        match from.word()? {
            0 => Ok(Body::Inline),
            word if word & IN_DATASPACE != 0 => decode_block(word, from).map(Body::Dataspace),
            _ => Err(Error::Invalid),
        }
    }
}

/// On the wire: as a body that is in a dataspace.
impl Encode for Block {
    fn encode(&self, out: &mut Encoder<'_>) {
        encode_block(self, out);
    }
}

impl<S: Source> Decode<S> for Block {
    const CAPS: usize = 1;

    fn decode(from: &mut S) -> Result<Block, Error> {
        match Body::decode(from)? {
            Body::Dataspace(block) => Ok(block),
            Body::Inline => Err(Error::Invalid),
        }
    }
}

fn encode_block(block: &Block, out: &mut Encoder<'_>) {
    out.word(block.length | IN_DATASPACE);
    out.cap(block.memory);
}

fn decode_block<S: Source>(word: u64, from: &mut S) -> Result<Block, Error> {
    let memory = Cap::decode(from)?;
    Ok(Block {
        memory,
        length: word & !IN_DATASPACE,
    })
}
