//! The `tidegate` program: hands the command line to the library and ends with its exit code.

use mimalloc::MiMalloc;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    without_huge_pages();
    tidegate::cli::main()
}

/// Keeps the kernel from backing memory by pages of 2 MiB, for which the allocator asks.
///
/// There are some fifty threads, most of them of Kafka's clients, and each has its own pages: with huge ones a replica that
/// had done nothing took 220 MiB and half a second of zeroing them, without 35 MiB and nothing; events cost the same.
fn without_huge_pages() {
    // A kernel that cannot be asked has none, or keeps them: it works as well, with more memory.
    #[cfg(target_os = "linux")]
    let _without = rustix::thread::disable_transparent_huge_pages(true);
}
