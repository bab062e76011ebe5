//! The `tidegate` program: hands the command line to the library and ends with its exit code.

use mimalloc::MiMalloc;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    without_huge_pages();
    give_memory_back_soon();
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

/// What is free goes back to the kernel after this many milliseconds, for which the option has no name but its place.
const PURGE_DELAY: (libmimalloc_sys::mi_option_t, std::ffi::c_long) = (15, 20);

/// Has memory that is free given back to the kernel after 20 ms, unless `MIMALLOC_PURGE_DELAY` says otherwise.
///
/// The allocator's own second lets all that a burst took lie in each thread's pages: 10,000 destinations over 500 partitions
/// took 470 MiB with it, 404 with 20 ms and 367 with none. Events cost the same.
#[allow(unsafe_code, reason = "the allocator's options are C")]
fn give_memory_back_soon() {
    let (option, milliseconds) = PURGE_DELAY;
    // SAFETY: a number is stored, and no other thread has been started that could read it.
    unsafe { libmimalloc_sys::mi_option_set_default(option, milliseconds) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(unsafe_code, reason = "the allocator's options are C")]
    fn the_option_is_the_purge_delay() {
        // SAFETY: a number is read that nobody changes here.
        let default_ms = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY.0) };
        assert_eq!(default_ms, 1_000, "no other option's default");
    }
}
