//! The `tidegate` program: hands the command line to the library and ends with its exit code.

use std::ffi::{CStr, c_char};
use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// A text in C's way, which the allocator reads before anything else runs.
#[repr(transparent)]
struct Text(*const c_char);

#[allow(unsafe_code, reason = "a text that nobody can change")]
// SAFETY: it points to a constant.
unsafe impl Sync for Text {}

/// How the allocator works, unless the variable `MALLOC_CONF` says otherwise; its manual is `jemalloc(3)`, "TUNING".
///
/// Some fifty threads share two arenas instead of eight for each core and keep only small things for themselves, and what
/// is free for a tenth of a second goes back to the kernel, whoever had it, by a thread of its own. What 10,000 destinations
/// over 500 partitions took, with events that come and go: 234 MiB, of which 188 were in use; an allocator with pages for
/// each thread took 310. With four arenas and the usual caches it was 6 MiB more, and 64 partitions no faster.
const CONF: &CStr = c"background_thread:true,narenas:2,dirty_decay_ms:100,muzzy_decay_ms:0,tcache_max:4096";

#[allow(unsafe_code, reason = "the allocator looks for a symbol of this name")]
#[cfg_attr(target_os = "linux", unsafe(export_name = "malloc_conf"))]
#[cfg_attr(not(target_os = "linux"), unsafe(export_name = "_rjem_malloc_conf"))]
#[used]
static MALLOC_CONF: Text = Text(CONF.as_ptr());

fn main() -> ExitCode {
    without_huge_pages();
    tidegate::cli::main()
}

/// Keeps the kernel from backing memory by pages of 2 MiB, which many systems do unasked.
///
/// There are some fifty threads, most of them of Kafka's clients, and each has a stack and caches of its own: with huge pages
/// a replica that had done nothing took 220 MiB and half a second of zeroing them, without 35 MiB and nothing; events cost
/// the same.
fn without_huge_pages() {
    // A kernel that cannot be asked has none, or keeps them: it works as well, with more memory.
    #[cfg(target_os = "linux")]
    let _without = rustix::thread::disable_transparent_huge_pages(true);
}
