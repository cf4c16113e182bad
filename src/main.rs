//! The `capi-relay` command; everything it does is in the library's `cli`.

use std::process::ExitCode;

/// Conversions are made on one thread and freed on another, all day: what the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    capi_relay::cli::main()
}
