//! The clock: the time stamp counter, and how fast it and the APIC timer run.

// UNSAFETY: port I/O and `rdtsc`.
#![allow(unsafe_code, reason = "reference timers are reached through I/O ports")]

use core::sync::atomic::{AtomicU64, Ordering};

use platform::timescale::{SECOND, Timescale, measured_hertz, tsc_hertz};
use x86_64::instructions::port::Port;

use super::features::{Features, cpuid};
use super::{apic, timer};

static TSC_BASE: AtomicU64 = AtomicU64::new(0);
static TSC_NS_PER_TICK: AtomicU64 = AtomicU64::new(0);

/// The time stamp counter now.
#[inline]
pub(crate) fn ticks() -> u64 {
    // SAFETY: reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Nanoseconds since boot.
#[inline]
pub(crate) fn now() -> u64 {
    ticks_to_ns(ticks().saturating_sub(TSC_BASE.load(Ordering::Relaxed)))
}

/// A number of ticks in nanoseconds.
#[inline]
pub(crate) fn ticks_to_ns(ticks: u64) -> u64 {
    ((u128::from(ticks) * u128::from(TSC_NS_PER_TICK.load(Ordering::Relaxed))) >> 32) as u64
}

/// Time stamp counter at time 0, and nanoseconds per tick times 2^32.
pub(crate) fn parameters() -> (u64, u64) {
    (
        TSC_BASE.load(Ordering::Relaxed),
        TSC_NS_PER_TICK.load(Ordering::Relaxed),
    )
}

/// Why there is no clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoReference;

impl core::fmt::Display for NoReference {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "no clock: CPUID does not tell the rate of the time stamp counter, and there is no working PIT"
        )?;
        write!(f, " or ACPI timer to measure it with")
    }
}

/// Finds the rates of the counters, by CPUID where it tells, else against a reference timer for some
/// milliseconds, and lets time begin. `pm_timer` is the port of the ACPI timer.
///
/// # Errors
/// If there is nothing to measure with.
pub(crate) fn calibrate(pm_timer: Option<u16>) -> Result<(), NoReference> {
    let told = tsc_hertz(cpuid);
    let (tsc, apic_timer) = match told {
        Some(tsc) if Features::TSC_DEADLINE.present() => (tsc, None),
        _ => {
            let (tsc, apic_timer) = measure(pm_timer).ok_or(NoReference)?;
            (told.unwrap_or(tsc), Some(apic_timer))
        }
    };
    let scale = Timescale::from_hertz(tsc).ok_or(NoReference)?;
    TSC_BASE.store(ticks(), Ordering::Relaxed);
    TSC_NS_PER_TICK.store(scale.ns_per_tick, Ordering::Relaxed);
    // Without a scale for it the APIC timer is not used.
    let counted = apic_timer.filter(|_| !Features::TSC_DEADLINE.present());
    timer::set_scales(scale, counted.and_then(Timescale::from_hertz));
    Ok(())
}

/// Waits for `ns` nanoseconds.
pub(crate) fn delay(ns: u64) {
    let end = now() + ns;
    while now() < end {
        core::hint::spin_loop();
    }
}

/// Microseconds of each measurement: the reference timers' resolution is below 1 µs.
const MEASURE_US: u64 = 5_000;
/// Readings after which a reference counts as standing still.
const READ_LIMIT: u32 = 200_000;

/// A counter with a known rate.
struct Reference {
    hertz: u64,
    /// Bits that count.
    mask: u32,
    /// The count, always upwards.
    read: fn(u16) -> u32,
    port: u16,
}

/// A reference's count with the CPU's counters at that moment.
#[derive(Clone, Copy)]
struct Sample {
    reference: u32,
    tsc: u64,
    apic_timer: u32,
    /// Ticks that taking the sample took.
    width: u64,
}

/// Rates of the time stamp counter and the APIC timer in hertz.
fn measure(pm_timer: Option<u16>) -> Option<(u64, u64)> {
    let acpi = pm_timer.map(|port| Reference {
        hertz: 3_579_545,
        mask: 0xff_ffff,
        read: read_pm_timer,
        port,
    });
    let pit = Reference {
        hertz: 1_193_182,
        mask: 0xffff,
        read: read_pit,
        port: 0,
    };
    acpi.and_then(|reference| measure_against(&reference))
        .or_else(|| {
            start_pit();
            measure_against(&pit)
        })
}

fn measure_against(reference: &Reference) -> Option<(u64, u64)> {
    apic::set_timer_count(u32::MAX);
    let start = sample(reference);
    let goal = (reference.hertz * MEASURE_US / 1_000_000) as u32;
    let elapsed = |sample: &Sample| sample.reference.wrapping_sub(start.reference) & reference.mask;
    let done = (0..READ_LIMIT)
        .any(|_| (reference.read)(reference.port).wrapping_sub(start.reference) & reference.mask >= goal);
    let end = sample(reference);
    apic::set_timer_count(0);
    if !done {
        return None;
    }
    let passed = u64::from(elapsed(&end));
    let tsc = measured_hertz(end.tsc - start.tsc, passed, reference.hertz)?;
    let apic_ticks = start.apic_timer.wrapping_sub(end.apic_timer);
    Some((tsc, measured_hertz(apic_ticks.into(), passed, reference.hertz)?))
}

/// The tightest of some readings: the others were disturbed.
fn sample(reference: &Reference) -> Sample {
    let mut best = sample_once(reference);
    for _ in 0..8 {
        let next = sample_once(reference);
        if next.width < best.width {
            best = next;
        }
    }
    best
}

fn sample_once(reference: &Reference) -> Sample {
    let before = ticks();
    let count = (reference.read)(reference.port);
    let apic_timer = apic::timer_count();
    let after = ticks();
    let width = after - before;
    Sample {
        reference: count,
        tsc: before + width / 2,
        apic_timer,
        width,
    }
}

fn read_pm_timer(port: u16) -> u32 {
    // SAFETY: reads a counter at the port that the firmware's table gives.
    unsafe { Port::<u32>::new(port).read() }
}

const PIT_COUNTER_2: u16 = 0x42;
const PIT_COMMAND: u16 = 0x43;
const PIT_GATE: u16 = 0x61;

/// Lets channel 2 of the PIT count down from 65535, without sound.
fn start_pit() {
    const CHANNEL_2_BOTH_BYTES_MODE_0: u8 = 0xb0;
    // SAFETY: channel 2 drives the speaker only, which stays off.
    unsafe {
        let mut gate = Port::<u8>::new(PIT_GATE);
        let value = gate.read();
        gate.write((value & !2) | 1);
        Port::<u8>::new(PIT_COMMAND).write(CHANNEL_2_BOTH_BYTES_MODE_0);
        Port::<u8>::new(PIT_COUNTER_2).write(0xff);
        Port::<u8>::new(PIT_COUNTER_2).write(0xff);
    }
}

fn read_pit(_port: u16) -> u32 {
    const LATCH_CHANNEL_2: u8 = 0x80;
    let mut counter = Port::<u8>::new(PIT_COUNTER_2);
    // SAFETY: latches and reads a counter.
    let (low, high) = unsafe {
        Port::<u8>::new(PIT_COMMAND).write(LATCH_CHANNEL_2);
        (counter.read(), counter.read())
    };
    u32::from(!u16::from_le_bytes([low, high]))
}

/// The clock must go for a year without an overflow of its 64-bit result.
const _: () = assert!(u64::MAX / SECOND > 365 * 86_400);
