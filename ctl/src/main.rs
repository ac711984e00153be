//! `sstsctl`: commands hosts that run `sstsd`.

fn main() {}
