//! Compiles the `.proto` files with `protox`, in Rust, so that nobody needs `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

// With all that these import.
const FILES: [&str; 4] =
    ["ssts/v1/scenario.proto", "ssts/v1/telemetry.proto", "ssts/v1/agent.proto", "ssts/v1/record.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=ssts");
    let descriptors = protox::compile(FILES, ["."])?;
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    // Served by the reflection service, comments and all.
    fs::write(out_dir.join("ssts.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
