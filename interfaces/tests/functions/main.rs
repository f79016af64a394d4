//! The interfaces of functions, called through a loopback with services that keep everything in memory.

mod clients;
mod echo;
mod exceptions;
mod random;
mod workers;
