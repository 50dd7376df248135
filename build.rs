//! Rebuilds the binary when the files that it embeds change.

fn main() {
    // Cargo takes a path that is not there as changed for ever; the folder around it changes when it appears.
    let dist = std::path::Path::new("web/dist");
    let watched = if dist.is_dir() { "web/dist" } else { "web" };
    println!("cargo:rerun-if-changed={watched}");
    println!("cargo:rerun-if-changed=examples/queries");
}
