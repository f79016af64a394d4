//! Writes to all of a heap before its first request, and to as many pages of it as the request says.
//!
//! The variable `HEAP_KIB` is the heap's size. It shows what an invocation costs by the memory that the function has,
//! and by the memory that it changes.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::iter::repeat_with;
use core::sync::atomic::{AtomicU64, Ordering};

use spin::Once;
use worker::{Context, Error, Request, Response};

const PAGE_WORDS: usize = 4096 / size_of::<AtomicU64>();
const KIB_WORDS: usize = 1024 / size_of::<AtomicU64>();
/// The heap's size if the environment has none.
const DEFAULT_KIB: usize = 2048;

static HEAP: Once<Vec<AtomicU64>> = Once::new();

/// Fills the heap.
fn prepare() {
    let environment = worker::environment().ok();
    let size = environment
        .as_ref()
        .and_then(|variables| variables.get("HEAP_KIB"))
        .and_then(|text| text.parse().ok())
        .unwrap_or(DEFAULT_KIB);
    HEAP.call_once(|| repeat_with(|| AtomicU64::new(1)).take(size * KIB_WORDS).collect());
}

#[worker::main(init = prepare)]
fn main(request: Request, _ctx: &Context) -> Result<Response, Error> {
    let pages = request.parse::<usize>()?.unwrap_or(0);
    let heap = HEAP.get().map_or(&[][..], Vec::as_slice);
    let all = heap.len() / PAGE_WORDS;
    if pages > all {
        return Err(Error::new("the heap has fewer pages"));
    }
    // As far from each other as the heap allows.
    let step = all.checked_div(pages).unwrap_or(1) * PAGE_WORDS;
    for word in heap.iter().step_by(step.max(1)).take(pages) {
        word.store(2, Ordering::Relaxed);
    }
    Ok(Response::empty())
}
