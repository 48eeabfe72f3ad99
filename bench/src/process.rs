//! What a process and its children cost, as the kernel counts it.

use std::collections::HashMap;
use std::time::Duration;
use std::{fs, io};

/// `USER_HZ`: the unit of /proc/PID/stat, 100 on every Linux architecture that we run on.
const TICKS_PER_SEC: u64 = 100;

/// CPU time and resident memory of a process tree.
#[derive(Clone, Copy, Default)]
pub struct Usage {
    /// Time on any core, in user and kernel mode.
    pub cpu: Duration,
    /// What it has in memory.
    pub resident_kib: u64,
}

/// Adds up a process and all its descendants. A process that has just ended counts as nothing.
///
/// # Errors
/// When there is no `/proc`.
pub fn usage(root: u32) -> io::Result<Usage> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut ticks: HashMap<u32, u64> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some((parent, used)) = parse_stat(&stat) else { continue };
        children.entry(parent).or_default().push(pid);
        ticks.insert(pid, used);
    }
    let mut usage = Usage::default();
    let mut pending = vec![root];
    while let Some(pid) = pending.pop() {
        usage.cpu += Duration::from_millis(ticks.get(&pid).copied().unwrap_or(0) * 1000 / TICKS_PER_SEC);
        usage.resident_kib += resident_kib(pid);
        pending.extend(children.remove(&pid).unwrap_or_default());
    }
    Ok(usage)
}

/// Parent and ticks in user and kernel mode. The name in parentheses may hold spaces and parentheses.
fn parse_stat(stat: &str) -> Option<(u32, u64)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some((u32::try_from(number(1)?).ok()?, number(11)? + number(12)?))
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("");
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_parenthesis_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 3 7 7 0 -1 4194304 1 0 0 0 20 22 0 0 20 0 1 0 5 1 1";
        assert_eq!(parse_stat(stat), Some((3, 42)));
    }

    #[test]
    fn this_process_has_memory() {
        assert!(usage(std::process::id()).unwrap().resident_kib > 0);
    }
}
