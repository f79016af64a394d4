//! Tests of memory management on the host, over a machine made of ordinary memory.

mod dataspaces;
mod faults;
mod frames;
mod large;
mod model;
mod processors;
mod quota;
mod regions;
mod sparse;
mod storing;
mod tables;
mod world;
mod write_sets;
