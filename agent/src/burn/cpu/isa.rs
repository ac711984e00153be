//! Instruction sets, and which kernel has a form for which.

use serde::{Deserialize, Serialize};

use super::recipe::KernelName;

/// Instructions that a kernel can be built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isa {
    /// The architecture's base.
    Portable,
    /// AVX2 and FMA3; for the `crypto` kernel AES-NI and SHA-NI besides.
    Avx2,
    /// AVX-512 F; for the `crypto` kernel VAES and SHA-NI besides.
    Avx512,
}

impl Isa {
    const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// Those that this host has, widest last.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// Those that this host has for a kernel, widest last.
    pub fn available_for(kernel: KernelName) -> Vec<Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available_for(kernel)).collect()
    }

    /// The widest that this host has for a kernel, not wider than `self`.
    pub fn narrowed_for(self, kernel: KernelName) -> Self {
        Self::available_for(kernel).into_iter().rfind(|isa| *isa <= self).unwrap_or(Self::Portable)
    }

    /// Whether this host has it.
    pub fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        match self {
            Self::Portable => true,
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Self::Portable
        }
    }

    /// Whether this host has what the kernel's form for it needs.
    pub fn is_available_for(self, kernel: KernelName) -> bool {
        self.is_available() && (kernel != KernelName::Crypto || self.has_crypto())
    }

    /// As the command line names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    fn has_crypto(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            let base = is_x86_feature_detected!("aes")
                && is_x86_feature_detected!("sha")
                && is_x86_feature_detected!("sse4.1");
            match self {
                Self::Portable => true,
                Self::Avx2 => base,
                Self::Avx512 => base && is_x86_feature_detected!("vaes"),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Self::Portable
        }
    }
}
