//! What the system says of processes and threads: CPU time, memory, the machine.

use std::fs;
use std::time::Duration;

/// Ticks of a second in `/proc/PID/stat`; the same on every Linux that there is.
const TICKS: f64 = 100.0;

/// CPU time of a process and of those of its children that have ended, user and system.
pub(crate) fn cpu(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field).and_then(|text| text.parse::<f64>().ok());
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

/// The most memory that a process had, in MiB.
pub(crate) fn peak_mib(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

/// The calling thread, as the system names it; 0 where it has no `/proc`.
pub(crate) fn thread_id() -> u64 {
    let link = fs::read_link("/proc/thread-self").ok();
    link.and_then(|path| path.file_name()?.to_str()?.parse().ok()).unwrap_or(0)
}

/// CPU time of a thread of this process.
pub(crate) fn thread_cpu(id: u64) -> Duration {
    let text = fs::read_to_string(format!("/proc/self/task/{id}/schedstat")).unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0))
}

/// Processor, cores, system.
pub(crate) fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|text| text.trim_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{}, {cores} cores, Linux {}", model.unwrap_or(std::env::consts::ARCH), kernel.trim())
}

/// Processes that wanted a core, on average over the last minute.
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_cpu_and_memory() {
        let pid = std::process::id();
        while thread_cpu(thread_id()) < Duration::from_millis(30) {
            std::hint::spin_loop();
        }
        assert!(cpu(pid).unwrap() >= 0.02);
        assert!(peak_mib(pid).unwrap() > 0.5);
    }
}
