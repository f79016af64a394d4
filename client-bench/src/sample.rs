//! What is measured: the points in time of one invocation, and the phases between them.

/// The points in time of one invocation, in nanoseconds of the kernel clock.
///
/// The outer two are the client's own; the others are what the manager and the worker said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The client sends its request.
    pub start_invocation: u64,
    /// The manager begins to make the worker, or to use a kept one.
    pub start_worker: u64,
    /// The worker's runtime begins.
    pub start_runtime: u64,
    /// The worker's runtime begins to load the function's code; without anything to load, the function begins.
    pub start_load: u64,
    /// The function begins.
    pub start_function: u64,
    /// The function is done.
    pub end_function: u64,
    /// The worker's runtime has its answer ready.
    pub end_runtime: u64,
    /// The manager has the answer.
    pub end_worker: u64,
    /// The client has the answer.
    pub end_invocation: u64,
}

/// A part of an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From the client's request until the manager turns to the worker.
    Request,
    /// Making the worker, until its first instruction.
    Start,
    /// The worker's runtime, until it loads the function's code, or the function begins.
    Runtime,
    /// Loading the function's code.
    Load,
    /// The function.
    Function,
    /// From the function's end until the client has the answer.
    End,
    /// All of it.
    Total,
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Phase; 7] = [
        Phase::Request,
        Phase::Start,
        Phase::Runtime,
        Phase::Load,
        Phase::Function,
        Phase::End,
        Phase::Total,
    ];

    /// The phase's name.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Request => "request",
            Phase::Start => "start",
            Phase::Runtime => "runtime",
            Phase::Load => "load",
            Phase::Function => "function",
            Phase::End => "end",
            Phase::Total => "total",
        }
    }

    /// How long the phase took in nanoseconds. What a worker said about itself may be wrong: a phase that would
    /// end before it began took 0.
    pub const fn duration(self, sample: &Sample) -> u64 {
        let (start, end) = match self {
            Phase::Request => (sample.start_invocation, sample.start_worker),
            Phase::Start => (sample.start_worker, sample.start_runtime),
            Phase::Runtime => (sample.start_runtime, sample.start_load),
            Phase::Load => (sample.start_load, sample.start_function),
            Phase::Function => (sample.start_function, sample.end_function),
            Phase::End => (sample.end_function, sample.end_invocation),
            Phase::Total => (sample.start_invocation, sample.end_invocation),
        };
        end.saturating_sub(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: Sample = Sample {
        start_invocation: 1_000,
        start_worker: 1_100,
        start_runtime: 1_300,
        start_load: 1_500,
        start_function: 1_600,
        end_function: 2_000,
        end_runtime: 2_500,
        end_worker: 3_100,
        end_invocation: 3_800,
    };

    #[test]
    fn phases_add_up_to_the_total() {
        let parts: u64 = Phase::ALL[..6].iter().map(|phase| phase.duration(&SAMPLE)).sum();
        assert_eq!(parts, Phase::Total.duration(&SAMPLE));
        assert_eq!(Phase::Start.duration(&SAMPLE), 200);
    }

    #[test]
    fn a_worker_with_a_wrong_clock_does_not_wrap_a_phase() {
        let wrong = Sample {
            start_function: 5_000,
            ..SAMPLE
        };
        assert_eq!(Phase::Function.duration(&wrong), 0);
    }
}
