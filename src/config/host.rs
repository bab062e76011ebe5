//! What the machine tells: its name, as people know it, and the memory that this process takes of it.

use std::fs;

/// Where Linux keeps it.
const FILES: [&str; 2] = ["/proc/sys/kernel/hostname", "/etc/hostname"];

/// The machine's name without its domain; `localhost` if nobody knows it.
#[must_use]
pub fn name() -> String {
    let read = FILES.iter().find_map(|file| short(&fs::read_to_string(file).ok()?));
    read.or_else(|| short(&std::env::var("HOSTNAME").ok()?)).unwrap_or_else(|| "localhost".to_owned())
}

fn short(text: &str) -> Option<String> {
    text.trim().split('.').next().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// The memory that this process has now, in bytes; `None` where the system does not say.
#[cfg(target_os = "linux")]
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    // In pages: proc(5), `/proc/pid/statm`.
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(u64::try_from(rustix::param::page_size()).ok()?)
}

/// The memory that this process has now, in bytes; `None` where the system does not say.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_tells_what_a_process_takes() {
        let before = resident_bytes().unwrap();
        let much = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(resident_bytes().unwrap() >= before + (32 << 20));
        drop(much);
    }

    #[test]
    fn a_name_without_domain() {
        assert_eq!(short("web-3.shop.example\n").as_deref(), Some("web-3"));
        assert_eq!(short("\n"), None);
        assert!(!name().is_empty());
    }
}
