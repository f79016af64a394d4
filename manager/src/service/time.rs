//! Deadlines.

use super::Service;
use crate::activation::Activation;
use crate::deadlines::Deadlines;
use crate::platform::Platform;
use interfaces::faas::FaasError;
use l4::NEVER;

impl<P: Platform> Service<P> {
    /// Fails what is late, ends what has been idle for too long, and tries again what lacked memory.
    pub fn on_time(&mut self) {
        let now = self.platform.now();
        if now >= self.retry_at {
            self.retry_at = NEVER;
            self.unserved = true;
        }
        if now >= self.wake_at {
            self.expire(now);
            self.wake_at = [&self.due, &self.idle_until, &self.preparing_until]
                .map(Deadlines::earliest)
                .into_iter()
                .fold(NEVER, u64::min);
        }
        self.serve_waiting();
    }

    fn expire(&mut self, now: u64) {
        while let Some((deadline, index)) = self.due.first()
            && deadline <= now
        {
            self.due.clear(index);
            self.fail_activation(index, Activation::timeout);
        }
        while let Some((until, place)) = self.idle_until.first()
            && until <= now
        {
            self.idle_until.clear(place);
            self.end_worker(place);
        }
        while let Some((deadline, index)) = self.preparing_until.first()
            && deadline <= now
        {
            self.preparing_until.clear(index);
            let limit_ns = self
                .preparations
                .get(index)
                .map_or(0, |preparation| preparation.deadline - preparation.since);
            self.finish_preparation(index, Err(FaasError::Timeout { limit_ns }));
        }
    }
}
