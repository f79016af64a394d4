//! Tells the linker how the kernel image is laid out.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".into());
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie"] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    let script = format!("-Wl,-T,{folder}/kernel.ld,--build-id=none,--gc-sections,-z,max-page-size=4096");
    println!("cargo:rustc-link-arg-bins={script}");
    println!("cargo:rerun-if-changed=kernel.ld");
}
