//! The name of this machine, as people know it.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_domain() {
        assert_eq!(short("web-3.shop.example\n").as_deref(), Some("web-3"));
        assert_eq!(short("\n"), None);
        assert!(!name().is_empty());
    }
}
