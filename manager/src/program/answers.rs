//! The messages that answer callers and workers.

use interfaces::faas::{ActionsReply, Block, Body, Completion, Request, SupervisorReply};
use l4::{CapIndex, Rights, Tag, Utcb};
use l4_rpc::Cap;
use manager::body::Content;
use manager::platform::Answer;

/// Encodes an answer; also tells the slot of a capability that moves.
pub(crate) fn encode(utcb: &Utcb, answer: Answer<'_>, seed: [u64; 2]) -> (Tag, Option<CapIndex>) {
    match answer {
        Answer::Request {
            activation,
            deadline_ns,
            depth,
            body,
        } => {
            let (body, bytes, given) = split(body);
            let request = Request {
                activation,
                deadline_ns,
                depth,
                seed,
                body,
            };
            (SupervisorReply::ready(utcb, Ok(&request), bytes), given)
        }
        Answer::Code(code) => {
            let code = code.map(|(cap, length)| {
                let memory = Cap::new(cap).with_rights(Rights::READ);
                Block { memory, length }
            });
            (
                SupervisorReply::code(utcb, code.as_ref().map_err(|error| *error)),
                None,
            )
        }
        Answer::Result(completion, body) => {
            let (body, bytes, given) = split(body);
            let completion = Completion { body, ..*completion };
            (ActionsReply::invoke(utcb, Ok(&completion), bytes), given)
        }
        Answer::Failed(error) => (ActionsReply::invoke(utcb, Err(error), &[]), None),
        Answer::Accepted(number) => (ActionsReply::invoke_async(utcb, Ok(&number)), None),
        Answer::Created(created) => (
            ActionsReply::create(utcb, created.as_ref().map_err(|error| *error)),
            None,
        ),
        Answer::Updated(updated) => (
            ActionsReply::update(utcb, updated.as_ref().map_err(|error| *error)),
            None,
        ),
    }
}

fn split(content: Content<'_>) -> (Body, &[u8], Option<CapIndex>) {
    match content {
        Content::Short(bytes) => (Body::Inline, bytes, None),
        Content::Lent(cap, length) => {
            let memory = Cap::new(cap).with_rights(Rights::READ);
            (Body::Dataspace(Block { memory, length }), &[], None)
        }
        Content::Given(cap, length) => {
            let memory = Cap::new(cap).granted();
            (Body::Dataspace(Block { memory, length }), &[], Some(cap))
        }
    }
}
