//! Tests of what happens between CPUs, on the host: a few threads on two CPUs of a fake machine, whose test is the
//! hardware and tries every order of what they and the hardware do. A kernel entry runs to its end under its locks, so
//! orders of entries are nearly all the orders there are; `making` looks into entries that take one lock after another.

mod cloning;
mod destruction;
mod explore;
mod invariants;
mod making;
mod models;
mod notifications;
mod rendezvous;
mod script;
mod spawn_gates;
mod world;
