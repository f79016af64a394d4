//! A service with operations of every sort, called through a loopback.

mod calls;
mod malformed;
mod random;
mod sample;
mod strange;
