//! What a CPU burner is told to do.

use serde::{Deserialize, Serialize};

use super::Isa;
use crate::burn::profile::LoadProfile;

/// What a CPU burner does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CpuLoad {
    /// How busy, over time.
    pub profile: LoadProfile,
    /// With which instructions.
    pub isa: Isa,
}
