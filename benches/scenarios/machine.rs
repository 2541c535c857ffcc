//! What processes used, by /proc (Linux).

use std::collections::HashMap;
use std::fs;

/// Seconds of CPU that a process and everything below it, but not below `without`, has used since it was started.
pub fn cpu_seconds(root: u32, without: &[u32]) -> f64 {
    let mut parents = HashMap::new();
    let mut used = HashMap::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // Behind the name, which may hold anything.
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |place: usize| fields.get(place).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        parents.insert(pid, number(1) as u32);
        // Its own, and that of its children that have ended.
        used.insert(pid, number(11) + number(12) + number(13) + number(14));
    }
    let below = |pid: u32| {
        let mut at = pid;
        while at != root {
            match parents.get(&at) {
                Some(parent) if *parent != 0 && !without.contains(&at) => at = *parent,
                _ => return false,
            }
        }
        true
    };
    let ticks: u64 = used.iter().filter(|(pid, _)| below(**pid)).map(|(_, ticks)| ticks).sum();
    ticks as f64 / ticks_per_second()
}

fn ticks_per_second() -> f64 {
    // SAFETY: it reads a constant of the system.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) as f64 }
}

/// What the machine calls itself.
pub fn name() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    format!("{cpus} x {}", model.trim_start_matches([' ', '\t', ':']))
}

/// The processes below that one.
pub fn below(pid: u32) -> Vec<u32> {
    let pids = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = pids.split_whitespace().filter_map(|pid| pid.parse().ok());
    children.flat_map(|child| std::iter::once(child).chain(below(child))).collect()
}

/// The highest memory that a process ever used.
pub fn peak_memory_mib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or(0) / 1024
}
