//! eBPF probes.
