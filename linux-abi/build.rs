//! Links the image as a native program, at an address of its own.

use std::env;

fn main() {
    let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie"] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    println!("cargo:rustc-link-arg-bins=-Wl,-T{folder}/image.ld,--build-id=none,-z,max-page-size=4096");
    println!("cargo:rerun-if-changed=image.ld");
}
