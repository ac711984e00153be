//! `sstsd`: loads, watches and guards this host.

fn main() {}
