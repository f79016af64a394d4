//! What an isolated invocation costs inside one process: Wasmtime's instances, made, called and dropped. A program of the
//! Linux guest of `make bench-report`; like the others there it prints one line `PEER {"name": …, "ticks": …}` for each figure,
//! in ticks of the time-stamp counter, of which the instruction-counting emulator makes one for each instruction.

use std::arch::x86_64::{_mm_lfence, _rdtsc};
use std::time::{Duration, Instant};

use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, InstancePre, Linker, Module, PoolingAllocationConfig, Result,
    Store, TypedFunc,
};

/// Measured invocations.
const COUNT: usize = 500;
/// Invocations before that bring everything into use that will be.
const WARM_UP: usize = 20;
/// Instances alive at once for the figure of their memory.
const INSTANCES: u32 = 500;
/// What a function answers.
const ANSWER: i32 = 42;
/// Bytes of the heap that a function's pages are touched in.
const HEAP: usize = 2 << 20;

/// Does nothing.
const NOOP: &str = r#"(module (memory 1) (func (export "run") (result i32) i32.const 42))"#;

/// How Wasmtime gets an instance's memory.
#[derive(Clone, Copy)]
enum Allocation {
    /// From a pool that is mapped once.
    Pooled,
    /// By a mapping of its own.
    OnDemand,
}

impl Allocation {
    fn name(self) -> &'static str {
        match self {
            Self::Pooled => "wasm_pooled",
            Self::OnDemand => "wasm_on_demand",
        }
    }

    /// Memory begins as a copy-on-write mapping of the module's data, which is the fastest that Wasmtime can do.
    fn engine(self) -> Result<Engine> {
        let mut config = Config::new();
        config.memory_init_cow(true);
        if let Self::Pooled = self {
            let mut pool = PoolingAllocationConfig::new();
            let places = INSTANCES + WARM_UP as u32;
            pool.total_memories(places)
                .total_core_instances(places)
                .total_tables(places)
                .max_memory_size(2 * HEAP)
                .linear_memory_keep_resident(0);
            config
                .memory_reservation(4 * HEAP as u64)
                .memory_guard_size(64 << 10);
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        }
        Engine::new(&config)
    }
}

/// Writes to 16 pages of a heap that is full of data.
fn touch_16() -> String {
    let data = "\\5a".repeat(HEAP);
    format!(
        r#"(module (memory 48) (data (i32.const 0) "{data}") (func (export "run") (result i32) (local i32)
            (loop $page
                (i32.store (i32.mul (local.get 0) (i32.const 65536)) (i32.const 7))
                (local.set 0 (i32.add (local.get 0) (i32.const 1)))
                (br_if $page (i32.lt_u (local.get 0) (i32.const 16))))
            i32.const 42))"#
    )
}

fn ticks() -> u64 {
    // SAFETY: The instructions read a counter, and wait; every processor of this architecture has them.
    unsafe {
        _mm_lfence();
        let now = _rdtsc();
        _mm_lfence();
        now
    }
}

/// Ticks in a nanosecond.
fn calibrate() -> f64 {
    let (time, start) = (Instant::now(), ticks());
    while time.elapsed() < Duration::from_millis(50) {}
    (ticks() - start) as f64 / time.elapsed().as_nanos() as f64
}

/// A function in an instance of its own.
fn start(engine: &Engine, module: &InstancePre<()>) -> Result<(Store<()>, TypedFunc<(), i32>)> {
    let mut store = Store::new(engine, ());
    let instance = module.instantiate(&mut store)?;
    let function = instance.get_typed_func(&mut store, "run")?;
    Ok((store, function))
}

fn call(store: &mut Store<()>, function: &TypedFunc<(), i32>) -> Result<()> {
    match function.call(store, ())? {
        ANSWER => Ok(()),
        other => Err(wasmtime::Error::msg(format!("the function answers {other}"))),
    }
}

/// The median of [`COUNT`] runs after [`WARM_UP`] that do not count.
fn report(name: &str, ticks_per_ns: f64, mut run: impl FnMut() -> Result<()>) -> Result<()> {
    let mut samples = Vec::with_capacity(COUNT);
    for _ in 0..WARM_UP {
        run()?;
    }
    for _ in 0..COUNT {
        let start = ticks();
        run()?;
        samples.push(ticks() - start);
    }
    samples.sort_unstable();
    let median = samples[COUNT / 2] as f64;
    let ns = median / ticks_per_ns;
    println!("PEER {{\"name\": \"{name}\", \"ticks\": {median:.1}, \"ns\": {ns:.1}}}");
    Ok(())
}

fn free_kib() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").map_err(wasmtime::Error::msg)?;
    let field = text.lines().find_map(|line| line.strip_prefix("MemFree:"));
    field
        .and_then(|field| field.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| wasmtime::Error::msg("/proc/meminfo tells no free memory"))
}

/// Memory of an instance that was called once and stays.
fn report_memory(name: &str, engine: &Engine, module: &InstancePre<()>) -> Result<()> {
    let before = free_kib()?;
    let mut instances = Vec::new();
    for _ in 0..INSTANCES {
        let (mut store, function) = start(engine, module)?;
        call(&mut store, &function)?;
        instances.push(store);
    }
    let kib = (before - free_kib()?) / f64::from(INSTANCES);
    println!("PEER {{\"name\": \"{name}_instance\", \"kib\": {kib:.1}}}");
    Ok(())
}

fn measure(allocation: Allocation, code: &str, suffix: &str, ticks_per_ns: f64) -> Result<()> {
    let engine = allocation.engine()?;
    let module = Linker::new(&engine).instantiate_pre(&Module::new(&engine, code)?)?;
    let name = format!("{}{suffix}", allocation.name());
    report(&name, ticks_per_ns, || {
        let (mut store, function) = start(&engine, &module)?;
        call(&mut store, &function)
    })?;
    report_memory(&name, &engine, &module)
}

fn main() -> Result<()> {
    let ticks_per_ns = calibrate();
    for allocation in [Allocation::Pooled, Allocation::OnDemand] {
        measure(allocation, NOOP, "", ticks_per_ns)?;
        measure(allocation, &touch_16(), "_touch16", ticks_per_ns)?;
    }
    Ok(())
}
