//! Links as a native program, with the script that `l4re` brings along.

fn main() {
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie"] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    println!("cargo:rustc-link-arg-bins=-Wl,-Tnative.ld,--build-id=none,-z,max-page-size=4096");
}
