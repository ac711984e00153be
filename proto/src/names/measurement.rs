//! The fields of the measurements `system_cpu`, `system_memory`, `system_io` and `system_network`: what many dashboards and
//! stores of time series call them. Each is a query over what `/metrics` has.

/// One measurement.
#[derive(Debug)]
pub struct Measurement {
    /// Such as `system_cpu`.
    pub name: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
}

/// One field of a measurement.
#[derive(Debug)]
pub struct Field {
    /// With its unit, such as `usage_percent`.
    pub name: &'static str,
    /// In PromQL, over a minute where it is a rate.
    pub query: &'static str,
}

macro_rules! measurements {
    ($($measurement:literal { $($field:literal = $query:literal;)* })*) => {
        /// All measurements.
        pub static MEASUREMENTS: &[Measurement] = &[$(Measurement {
            name: $measurement,
            fields: &[$(Field { name: $field, query: $query }),*],
        }),*];
    };
}

measurements! {
    "system_cpu" {
        "usage_percent" = r#"100 * (1 - avg by (instance, cpu) (rate(ssts_host_cpu_seconds_total{mode="idle"}[1m])) - avg by (instance, cpu) (rate(ssts_host_cpu_seconds_total{mode="iowait"}[1m])))"#;
        "user_percent" = r#"100 * rate(ssts_host_cpu_seconds_total{mode="user"}[1m])"#;
        "system_percent" = r#"100 * rate(ssts_host_cpu_seconds_total{mode="system"}[1m])"#;
        "idle_percent" = r#"100 * rate(ssts_host_cpu_seconds_total{mode="idle"}[1m])"#;
        "iowait_percent" = r#"100 * rate(ssts_host_cpu_seconds_total{mode="iowait"}[1m])"#;
        "steal_percent" = r#"100 * rate(ssts_host_cpu_seconds_total{mode="steal"}[1m])"#;
        "frequency_mhz" = "ssts_host_cpu_frequency_hertz / 1e6";
        "temperature_celsius" = "ssts_host_temperature_celsius";
        "throttles_per_sec" = "rate(ssts_host_cpu_throttles_total[1m])";
        "context_switches_per_sec" = "rate(ssts_host_cpu_context_switches_total[1m])";
        "interrupts_per_sec" = "rate(ssts_host_interrupts_total[1m])";
        "run_queue_length" = "ssts_host_cpu_runnable";
        "run_queue_latency_ms" = "1e3 * histogram_quantile(0.99, rate(ssts_runqueue_latency_seconds_bucket[1m]))";
        "pressure_percent" = r#"100 * rate(ssts_host_pressure_stalled_seconds_total{resource="cpu",share="some"}[1m])"#;
    }
    "system_memory" {
        "total_bytes" = "ssts_host_memory_total_bytes";
        "free_bytes" = "ssts_host_memory_free_bytes";
        "available_bytes" = "ssts_host_memory_available_bytes";
        "used_bytes" = "ssts_host_memory_total_bytes - ssts_host_memory_available_bytes";
        "usage_percent" = "100 * (1 - ssts_host_memory_available_bytes / ssts_host_memory_total_bytes)";
        "cached_bytes" = "ssts_host_memory_cached_bytes";
        "dirty_bytes" = "ssts_host_memory_dirty_bytes";
        "swap_total_bytes" = "ssts_host_swap_total_bytes";
        "swap_used_bytes" = "ssts_host_swap_total_bytes - ssts_host_swap_free_bytes";
        "page_faults_per_sec" = "rate(ssts_host_vm_faults_total[1m])";
        "major_page_faults_per_sec" = "rate(ssts_host_vm_major_faults_total[1m])";
        "oom_kills" = "ssts_host_vm_oom_kills_total";
        "pressure_percent" = r#"100 * rate(ssts_host_pressure_stalled_seconds_total{resource="memory",share="some"}[1m])"#;
    }
    "system_io" {
        "read_ops_per_sec" = "rate(ssts_host_disk_reads_total[1m])";
        "write_ops_per_sec" = "rate(ssts_host_disk_writes_total[1m])";
        "read_bytes_per_sec" = "rate(ssts_host_disk_read_bytes_total[1m])";
        "write_bytes_per_sec" = "rate(ssts_host_disk_written_bytes_total[1m])";
        "queue_depth" = "ssts_host_disk_in_flight";
        "utilization_percent" = "100 * rate(ssts_host_disk_busy_seconds_total[1m])";
        "latency_ms" = "1e3 * rate(ssts_block_latency_seconds_sum[1m]) / rate(ssts_block_latency_seconds_count[1m])";
        "latency_p99_ms" = "1e3 * histogram_quantile(0.99, rate(ssts_block_latency_seconds_bucket[1m]))";
        "errors" = "ssts_block_errors_total";
        "pressure_percent" = r#"100 * rate(ssts_host_pressure_stalled_seconds_total{resource="io",share="some"}[1m])"#;
    }
    "system_network" {
        "rx_bytes_per_sec" = "rate(ssts_host_network_received_bytes_total[1m])";
        "tx_bytes_per_sec" = "rate(ssts_host_network_sent_bytes_total[1m])";
        "rx_packets_per_sec" = "rate(ssts_host_network_received_packets_total[1m])";
        "tx_packets_per_sec" = "rate(ssts_host_network_sent_packets_total[1m])";
        "rx_errors" = "ssts_host_network_receive_errors_total";
        "tx_errors" = "ssts_host_network_send_errors_total";
        "rx_dropped" = "ssts_host_network_receive_drops_total";
        "tx_dropped" = "ssts_host_network_send_drops_total";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalogue::ALL, names::Family};

    #[test]
    fn queries_name_series_that_are_there() {
        let names: Vec<_> =
            ALL.iter().filter_map(|metric| Family::of(metric)).map(|family| family.sample_name()).collect();
        for field in MEASUREMENTS.iter().flat_map(|measurement| measurement.fields) {
            let mut words = field.query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let parts = ["_bucket", "_sum", "_count"];
            let is_known = |word: &str| {
                let stem = parts.iter().find_map(|part| word.strip_suffix(part)).unwrap_or(word);
                names.iter().any(|name| name == word || name == stem)
            };
            let unknown = words.find(|word| word.starts_with("ssts_") && !is_known(word));
            assert_eq!(unknown, None, "{}", field.name);
        }
    }
}
