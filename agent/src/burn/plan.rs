//! What a burner process is told to do, after validation: every default filled in, every choice made. The daemon writes it
//! to the process as JSON in a memfd; nothing in it needs the daemon again.

use std::{collections::HashSet, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    cpu::CpuLoad, disk::DiskLoad, http::HttpLoad, memory::MemoryLoad, network::NetworkLoad,
    profile::LoadProfile,
};

/// A burner, ready to be carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// One worker for each, pinned there. Of a CPU burner with more workers than cores they repeat.
    pub cores: Vec<u32>,
    /// How long the phase lasts, for profiles.
    pub phase: Duration,
    /// Where pseudo-random sequences start.
    pub seed: u64,
    /// What the workers do.
    pub load: Load,
    /// What of its rate may be undone at the end, a share of it; none where no rate was asked.
    #[serde(default)]
    pub rate_tolerance: Option<f64>,
}

impl Plan {
    /// How many of its workers are pinned to a core.
    pub fn workers_on(&self, core: u32) -> u32 {
        self.cores.iter().filter(|of| **of == core).count() as u32
    }

    /// Its cores, each once, in the order of its first worker.
    pub fn distinct_cores(&self) -> Vec<u32> {
        let mut seen = HashSet::new();
        self.cores.iter().copied().filter(|core| seen.insert(*core)).collect()
    }
}

/// What the workers of a burner do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Load {
    /// Compute.
    Cpu(CpuLoad),
    /// Read and write, or take room.
    Disk(DiskLoad),
    /// Fill memory and use it.
    Memory(MemoryLoad),
    /// Exchange data with a sink.
    Network(NetworkLoad),
    /// Send requests to a service.
    Http(HttpLoad),
}

impl Load {
    /// `cpu`, `disk`, `memory`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cpu { .. } => "cpu",
            Self::Disk(_) => "disk",
            Self::Memory(_) => "memory",
            Self::Network(_) => "network",
            Self::Http(_) => "http",
        }
    }

    /// Names of the latency histograms that each worker keeps, at most [`MAX_LATENCIES`](super::control::MAX_LATENCIES).
    pub fn latencies(&self) -> &'static [&'static str] {
        match self {
            Self::Cpu(_) => &[],
            Self::Disk(load) => load.latencies(),
            Self::Memory(load) => load.latencies(),
            Self::Network(load) => load.latencies(),
            Self::Http(load) => load.latencies(),
        }
    }

    /// What its workers count beyond what all do, in the order of [`Slot::figures`](super::control::Slot::figures).
    pub fn figures(&self) -> &'static [Figure] {
        match self {
            Self::Cpu(_) => CpuLoad::FIGURES,
            Self::Disk(load) => load.figures(),
            Self::Memory(load) => load.figures(),
            Self::Network(load) => load.figures(),
            Self::Http(_) => HttpLoad::FIGURES,
        }
    }

    /// The load of a core that is asked of its workers, where one is.
    pub fn profile(&self) -> Option<&LoadProfile> {
        match self {
            Self::Cpu(load) => Some(&load.profile),
            Self::Disk(_) | Self::Network(_) | Self::Http(_) => None,
            Self::Memory(load) => load.is_paced().then_some(&load.profile),
        }
    }

    /// Bytes of memory that its workers hold at most, beyond buffers.
    pub fn memory_bytes(&self) -> u64 {
        match self {
            Self::Memory(load) => load.size_bytes,
            Self::Cpu(_) | Self::Disk(_) | Self::Network(_) | Self::Http(_) => 0,
        }
    }

    /// Whether a load of the core is asked.
    pub fn has_target(&self) -> bool {
        self.profile().is_some()
    }

    /// Whether workers need to know what others use of their cores.
    pub fn holds_cores(&self) -> bool {
        self.profile().is_some_and(|profile| profile.of_core)
    }

    /// Whether workers are to begin together.
    pub fn is_in_step(&self) -> bool {
        self.profile().is_some_and(|profile| profile.in_step)
    }
}

/// A number that only burners of one kind have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    /// Such as `resident`.
    pub name: &'static str,
    /// UCUM's short form: `By`, `ns`, `1`.
    pub unit: &'static str,
    /// What the workers' numbers come to together.
    pub sum: Sum,
}

/// What the numbers of several workers come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sum {
    /// All added up.
    Total,
    /// The greatest.
    Max,
    /// The least.
    Min,
    /// Their mean.
    Mean,
}

impl Sum {
    /// Of at least one number; 0 of none.
    pub fn of(self, numbers: impl ExactSizeIterator<Item = u64>) -> f64 {
        let count = numbers.len().max(1) as f64;
        match self {
            Self::Total => numbers.map(|number| number as f64).sum(),
            Self::Max => numbers.max().unwrap_or_default() as f64,
            Self::Min => numbers.min().unwrap_or_default() as f64,
            Self::Mean => numbers.map(|number| number as f64).sum::<f64>() / count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_workers_come_together() {
        let of = |sum: Sum| sum.of([2, 6, 1].into_iter());
        assert_eq!([of(Sum::Total), of(Sum::Max), of(Sum::Min), of(Sum::Mean)], [9.0, 6.0, 1.0, 3.0]);
        assert_eq!(Sum::Mean.of([].into_iter()), 0.0);
    }
}
