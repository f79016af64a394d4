//! What the service needs from the machine: answers, capabilities, workers. The program implements it with system
//! calls, the tests with a fake that fails where they want.

use crate::body::Content;
use crate::label::WorkerId;
use alloc::boxed::Box;
use interfaces::faas::{
    ActivationId, Completion, Definition, FaasError, FreezeFault, ImageInfo, RestoreFault,
};
use interfaces::manifest::Copying;
use l4::CapIndex;

/// Who pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payer {
    /// The client's account.
    Client,
    /// The account of the worker at this place.
    Worker(u16),
}

/// A stored snapshot that a program came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// The dataspace.
    pub file: CapIndex,
    /// Without it the program is not wanted.
    pub is_required: bool,
}

/// What an account can still give away, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// At once.
    pub free: u64,
    /// More that workers which have ended are about to give back.
    pub returning: u64,
}

/// What it takes to start a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Whose labels the worker's capabilities get.
    pub worker: WorkerId,
    /// Whose account the worker's account is cut out of.
    pub payer: Payer,
    /// The worker's memory limit in bytes.
    pub memory: u64,
    /// Priority of its thread.
    pub priority: u8,
}

/// Why a worker was not started. Nothing of it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaunchError {
    /// The payer can't spare the memory now; when others have ended it may.
    Later,
    /// The worker's own limit is too low even to load the program.
    LimitTooLow,
    /// The kernel refused.
    Refused(l4::Error),
}

/// What holds for clones that begin without the manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateLimits {
    /// Memory of each in bytes.
    pub memory: u64,
    /// Time that each has, in nanoseconds.
    pub timeout_ns: u64,
    /// How many there may be at a time.
    pub concurrent: u32,
    /// Priority of their threads.
    pub priority: u8,
}

/// What became of calls that did not pass the manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectCalls {
    /// Clones that there are now.
    pub live: u64,
    /// Clones that have begun.
    pub begun: u64,
    /// Calls that gave a result.
    pub succeeded: u64,
    /// Calls that gave an error, or whose clone ended without an answer.
    pub failed: u64,
}

/// Why a worker was not made an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezeError {
    /// The worker is not in a state that clones can begin from.
    NotFreezable(FreezeFault),
    /// Its limit is too low for what an image needs besides.
    NoMemory,
}

/// An answer to somebody who waits for one.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// To a worker that asked for work.
    Request {
        /// The activation's number.
        activation: ActivationId,
        /// When it must be done, in nanoseconds of the kernel clock.
        deadline_ns: u64,
        /// Invocations above this one.
        depth: u32,
        /// The request's body.
        body: Content<'a>,
    },
    /// To a runtime that was started before there was a function: the function's code, a dataspace with so many bytes in use, or
    /// that it gets none.
    Code(Result<(CapIndex, u64), &'a FaasError>),
    /// To a caller: the function's result. The completion's own body is not looked at.
    Result(&'a Completion, Content<'a>),
    /// To a caller: there is no result.
    Failed(&'a FaasError),
    /// To an asynchronous caller: the activation has this number.
    Accepted(ActivationId),
    /// To who creates an action.
    Created(Result<(), &'a FaasError>),
    /// To who updates an action: the new version.
    Updated(Result<u32, &'a FaasError>),
}

/// The machine.
pub trait Platform {
    /// A program that was checked and can be started.
    type Program;

    /// A worker that was frozen, from which others begin.
    type Image;

    /// The kernel clock in nanoseconds.
    fn now(&mut self) -> u64;

    /// Answers whoever waits behind the reply capability, which is used up. Whether anybody is still there does not
    /// matter. The answer is on its way before any later operation.
    fn answer(&mut self, reply: CapIndex, answer: Answer<'_>);

    /// Drops a reply capability of a worker that was destroyed: nobody waits behind it any more.
    fn forget(&mut self, reply: CapIndex);

    /// Drops a reply capability of the client, who gets an error from the kernel if it still waits.
    fn refuse(&mut self, reply: CapIndex);

    /// Drops any other capability.
    fn discard(&mut self, cap: CapIndex);

    /// Triggers a notification.
    fn notify(&mut self, irq: CapIndex);

    /// Reads the first `length` bytes of a dataspace, which is used up.
    ///
    /// # Errors
    /// [`FaasError::InvalidPayload`] if there are fewer.
    fn read(&mut self, dataspace: CapIndex, length: u64) -> Result<Box<[u8]>, FaasError>;

    /// Checks the code at the start of `code` as the definition says and prepares it for being started; `code` is used
    /// up, and so is `stored`, a snapshot of it to begin from. `environment` are `NAME=value` strings, each ended by a zero
    /// byte.
    ///
    /// # Errors
    /// [`FaasError::InvalidImage`] for what is no program, [`FaasError::NotRestored`] for a snapshot that is required and cannot be
    /// used, others for a lack of resources.
    fn load(
        &mut self,
        code: CapIndex,
        definition: &Definition<'_>,
        environment: &[u8],
        stored: Option<StoredFile>,
    ) -> Result<Self::Program, FaasError>;

    /// Drops a program. Workers that were started from it are unaffected.
    fn unload(&mut self, program: Self::Program);

    /// Makes a worker with an account of its own and starts it.
    ///
    /// # Errors
    /// [`LaunchError`]; nothing of the worker is left then.
    fn launch(&mut self, program: &Self::Program, launch: Launch) -> Result<(), LaunchError>;

    /// The same with the program's runtime alone, without code: it asks for that when it has started.
    ///
    /// # Errors
    /// [`LaunchError`]; nothing of the worker is left then.
    fn launch_runtime(&mut self, program: &Self::Program, launch: Launch) -> Result<(), LaunchError>;

    /// The same as a clone of `layer`, a runtime like the program's which waits for code, and gets the program's.
    ///
    /// # Errors
    /// [`LaunchError`]; nothing of the worker is left then.
    fn launch_upon(
        &mut self,
        layer: &Self::Image,
        program: &Self::Program,
        launch: Launch,
    ) -> Result<(), LaunchError>;

    /// Why the stored snapshot that a program came with is not used.
    fn unused_snapshot(&self, program: &Self::Program) -> Option<RestoreFault>;

    /// Makes a worker of the program's stored snapshot, if it has one that can be used, which waits as if it had asked for its
    /// first request. Tells whether it ends with that.
    ///
    /// # Errors
    /// [`LaunchError`]; nothing of the worker is left then.
    fn load_stored(&mut self, program: &Self::Program, launch: Launch) -> Result<Option<bool>, LaunchError>;

    /// Writes an image of `program`, which ends with its first request or does not, to a dataspace, which is used up. Returns
    /// the length of it all; if that is more than the dataspace has, nothing was written.
    ///
    /// # Errors
    /// [`FaasError::NotStorable`], [`FaasError::InvalidPayload`].
    fn store(
        &mut self,
        program: &Self::Program,
        image: &Self::Image,
        is_single: bool,
        into: CapIndex,
    ) -> Result<u64, FaasError>;

    /// Makes a worker that waits for the answer to `reply`, or was loaded and waits for none, an image, whose clones copy pages as
    /// `copying` says. The worker's place is free then, `reply` used up, and the `layer` that it began from part of the image.
    ///
    /// # Errors
    /// [`FreezeError`]; the worker is still to be destroyed then, and `reply` to be dropped.
    fn freeze(
        &mut self,
        worker: u16,
        reply: Option<CapIndex>,
        copying: Copying,
        layer: &mut Option<Self::Image>,
    ) -> Result<(Self::Image, ImageInfo), FreezeError>;

    /// Makes a worker with an account of its own that begins from an image of `program`, with `request` as its first
    /// request.
    ///
    /// # Errors
    /// [`LaunchError`]; nothing of the worker is left then.
    fn spawn(
        &mut self,
        program: &Self::Program,
        image: &Self::Image,
        launch: Launch,
        request: Answer<'_>,
    ) -> Result<(), LaunchError>;

    /// A worker that began from an image has given its first result: clones of an image that copies eagerly begin with the pages
    /// that this one has written and some others have, unless these are known already.
    fn record(&mut self, worker: u16, image: &mut Self::Image);

    /// How many pages clones of an image begin with, because an earlier one wrote them.
    fn written(&mut self, image: &Self::Image) -> u64;

    /// A gate by which the client begins clones of an image without the manager; the client gets a copy of the capability.
    ///
    /// # Errors
    /// The client's account can't pay for it.
    fn open(&mut self, image: &mut Self::Image, limits: GateLimits) -> Result<CapIndex, FaasError>;

    /// Takes back the capabilities to an image's gate that the client got. Clones that there are go on.
    fn close(&mut self, image: &mut Self::Image);

    /// What became of the calls of an image's gate.
    fn direct_calls(&mut self, image: &Self::Image) -> DirectCalls;

    /// Drops an image that no worker uses any more.
    fn drop_image(&mut self, image: Self::Image);

    /// Whether there is room for what is under way only, not for more callers that wait or workers that are kept.
    fn is_full(&self) -> bool;

    /// Memory that the client's images may take together, in bytes.
    fn image_budget(&self) -> u64;

    /// Destroys a worker: its threads never run again, its memory is freed in the background.
    fn destroy(&mut self, worker: u16);

    /// What the worker's account can still give away.
    fn room(&mut self, worker: u16) -> Room;

    /// Checks a dataspace with `length` bytes of a request. It is used up on an error.
    ///
    /// # Errors
    /// [`FaasError::InvalidPayload`] if it has fewer, or may be changed by anybody.
    fn accept(&mut self, dataspace: CapIndex, length: u64) -> Result<(), FaasError>;

    /// Copies `length` bytes of a result to a sealed dataspace that `payer` pays for. What was sent is used up.
    ///
    /// # Errors
    /// [`FaasError::InvalidPayload`] if it has fewer; [`FaasError::OutOfMemory`].
    fn copy(&mut self, dataspace: CapIndex, length: u64, payer: Payer) -> Result<CapIndex, FaasError>;
}
