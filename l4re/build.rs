//! Lets programs that depend on this library name its linker script: `-Tnative.ld`.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".into());
    println!("cargo:rustc-link-search={folder}");
    println!("cargo:rerun-if-changed=native.ld");
}
