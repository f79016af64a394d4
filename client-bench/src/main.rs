//! The benchmark client.
fn main() {}
