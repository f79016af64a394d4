//! The images that there are: put to use, given up for others, and dropped with their last user.

use super::Service;
use super::prepare::Prepared;
use crate::action::{Action, ActionId, ImageUse};
use crate::platform::Platform;

impl<P: Platform> Service<P> {
    /// Gives an action its image, and has its invocations begin from it.
    pub(super) fn install(&mut self, id: ActionId, prepared: Prepared<P::Image>) {
        let image = match prepared {
            Ok(frozen) => match self.images.insert(frozen, id) {
                Ok(index) => {
                    self.totals.prepared += 1;
                    ImageUse::Ready(index)
                }
                Err(image) => {
                    self.platform.drop_image(image);
                    ImageUse::Evicted
                }
            },
            Err(fault) => ImageUse::Impossible(fault),
        };
        if let Some(action) = self.actions.get_mut(id) {
            action.image = image;
        }
        self.keep_within_budget(id);
        self.serve(id);
    }

    /// Gives up the spare runtime, and images of others, until all fit into what the client may use for them.
    pub(super) fn keep_within_budget(&mut self, but: ActionId) {
        let budget = self.platform.image_budget();
        if self.images.bytes() + self.spare.bytes() > budget {
            self.drop_spare();
        }
        while self.images.bytes() > budget && self.evict_one(but) {}
    }

    /// Gives up the image that has not been used for the longest time, but not that of one action. `false` if there is none.
    pub(super) fn evict_one(&mut self, but: ActionId) -> bool {
        let Some(index) = self.least_recently_used(but) else {
            return false;
        };
        let action = self.images.get(index).map(|image| image.action);
        if let Some(action) = action.and_then(|id| self.actions.get_mut(id)) {
            action.image = ImageUse::Evicted;
        }
        self.totals.evicted += 1;
        self.retire_image(index);
        true
    }

    /// The current image, other than that of one action, that has not been used for the longest time. Calls that do not pass the
    /// manager are seen here only: whoever is about to go and had any goes to the end of the list, once at most.
    fn least_recently_used(&mut self, but: ActionId) -> Option<u16> {
        for _ in 0..self.images.current() {
            let index = self.images.least_recently_used(but)?;
            let calls = self.platform.direct_calls(&self.images.get(index)?.frozen.memory);
            if !self.images.note_direct_calls(index, calls.begun) {
                return Some(index);
            }
        }
        self.images.least_recently_used(but)
    }

    /// Has no new workers begin from an image.
    pub(super) fn retire_image(&mut self, index: u16) {
        if let Some(image) = self.images.get_mut(index) {
            self.platform.close(&mut image.frozen.memory);
        }
        if self.images.retire(index) {
            self.drop_image_when_unused(index);
        }
    }

    /// Drops an image that no worker of this service needs, now or when the last clone has ended that a client began itself.
    fn drop_image_when_unused(&mut self, index: u16) {
        let live = self.count_direct_calls(index);
        if live > 0 {
            self.lingering.push(index);
            let now = self.platform.now();
            self.retry_at = self.retry_at.min(now.saturating_add(self.limits.memory_retry_ns));
        } else if let Some(memory) = self.images.remove(index) {
            self.platform.drop_image(memory);
        }
    }

    /// Counts what became of calls without the manager since the last time, as if they had passed it. Returns how many clones of
    /// such calls there are now.
    pub(super) fn count_direct_calls(&mut self, index: u16) -> u64 {
        let Some(image) = self.images.get_mut(index) else {
            return 0;
        };
        let calls = self.platform.direct_calls(&image.frozen.memory);
        let before = core::mem::replace(&mut image.counted, calls);
        let succeeded = calls.succeeded.saturating_sub(before.succeeded);
        let failed = calls.failed.saturating_sub(before.failed);
        self.totals.succeeded += succeeded;
        self.totals.failed += failed;
        self.totals.succeeded_directly += succeeded;
        self.totals.failed_directly += failed;
        // The calls of a version that was replaced are the action's too.
        if let Some(action) = self.actions.get_mut(image.action) {
            action.succeeded += succeeded;
            action.failed += failed;
            action.answered_directly += succeeded + failed;
        }
        calls.live
    }

    /// Drops images whose last clone has ended meanwhile.
    pub(super) fn drop_lingering_images(&mut self) {
        for index in core::mem::take(&mut self.lingering) {
            self.drop_image_when_unused(index);
        }
    }

    /// Forgets what an action's workers began from, as it is deleted or replaced.
    pub(super) fn drop_image_of(&mut self, action: &Action<P::Program>) {
        if let ImageUse::Ready(index) = action.image {
            self.retire_image(index);
        }
    }

    /// Notes that a worker has ended which began from this image, if it did from any.
    pub(super) fn leave_image(&mut self, index: u16) {
        if self.images.leave(index) {
            self.drop_image_when_unused(index);
        }
    }
}
