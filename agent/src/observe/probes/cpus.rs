//! Which CPUs the kernel may use and which it uses, as sysfs lists them.

use std::fs;

use crate::host::HostRoots;

/// One more than the highest number that a CPU can ever have here.
pub(super) fn possible(roots: &HostRoots) -> Option<usize> {
    list(roots, "possible").max().map(|highest| highest + 1)
}

/// The CPUs in use, rising.
pub(super) fn online(roots: &HostRoots) -> impl Iterator<Item = usize> + use<> {
    list(roots, "online")
}

fn list(roots: &HostRoots, name: &str) -> impl Iterator<Item = usize> + use<> {
    let text = fs::read_to_string(roots.sys("devices/system/cpu").join(name)).unwrap_or_default();
    parse(&text).into_iter().flatten()
}

/// `0-3,8,10-11`; a part that is no range is left out.
fn parse(text: &str) -> Vec<std::ops::RangeInclusive<usize>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.trim().split(',').filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_with_holes_are_read() {
        let cpus: Vec<_> = parse("0-2,8,10-11\n").into_iter().flatten().collect();
        assert_eq!(cpus, [0, 1, 2, 8, 10, 11]);
        assert_eq!(parse("\n"), []);
    }
}
