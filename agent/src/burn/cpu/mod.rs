//! The CPU burner: computes on every worker, at the load asked, and checks each result against an answer that was computed
//! another way.

mod fma;
mod fma_vector;
mod load;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    BurnError, control,
    pace::Pacer,
    plan::Plan,
    worker::{Flow, Prepared, Reins, Worker},
};
pub use fma::Answer;
pub use load::CpuLoad;

/// Instructions that a kernel can be built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isa {
    /// The architecture's base.
    Portable,
    /// AVX2 and FMA3.
    Avx2,
    /// AVX-512 F.
    Avx512,
}

impl Isa {
    /// Those that this host has, widest last.
    pub fn available() -> Vec<Self> {
        [Self::Portable, Self::Avx2, Self::Avx512].into_iter().filter(|isa| isa.is_available()).collect()
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

    /// As the command line names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

/// A worker for each core of the plan.
pub(super) fn crew(plan: &Arc<Plan>, load: &CpuLoad) -> Vec<Box<dyn Worker>> {
    let answer = Arc::new(Answer::new(load.isa, plan.seed));
    let worker = |_core: &u32| -> Box<dyn Worker> {
        Box::new(CpuWorker { load: load.clone(), plan: plan.clone(), answer: answer.clone() })
    };
    plan.cores.iter().map(worker).collect()
}

/// Computes on one core.
#[derive(Debug)]
struct CpuWorker {
    load: CpuLoad,
    plan: Arc<Plan>,
    answer: Arc<Answer>,
}

impl Worker for CpuWorker {
    fn prepare(&mut self, _reins: &Reins) -> Result<Prepared, BurnError> {
        Ok(Prepared { variant: format!("fma, {}", self.answer.isa().name()), notices: Vec::new() })
    }

    fn burn(&mut self, reins: &Reins) -> Result<(), BurnError> {
        let slot = reins.slot();
        let mut pacer = Pacer::start(&self.load.profile, self.plan.phase, reins);
        loop {
            let mut wrong = false;
            let flow = pacer.step(reins, |blocks| {
                for _ in 0..blocks {
                    wrong |= !self.answer.compute_and_compare();
                }
                control::add(&slot.operations, u64::from(blocks));
                control::add(&slot.flops, u64::from(blocks) * self.answer.flops_per_block());
            });
            if wrong {
                // A core that computes wrongly once is not asked again.
                control::add(&slot.verify_errors, 1);
                return Ok(());
            }
            if flow == Flow::Stop {
                return Ok(());
            }
        }
    }
}
