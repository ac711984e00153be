//! The CPU burner: computes on every worker, at the load asked, and checks each result against an answer that was computed
//! another way.

mod auto;
mod branch;
mod branch_vector;
mod cache;
mod cache_vector;
mod chains;
mod chains_reference;
mod chains_vector;
mod crypto;
mod crypto_reference;
mod crypto_vector;
mod integer;
mod integer_vector;
mod isa;
mod kernel;
mod load;
mod matrix;
mod matrix_vector;
mod mismatch;
mod recipe;
mod reproduce;
mod root;
mod root_vector;
mod sweep;
mod switch;
mod switch_vector;
mod worker;

pub use isa::Isa;
pub use kernel::Difference;
pub use load::{Choice, CpuLoad, Found, InjectedError};
pub use mismatch::{Mismatch, Place};
pub use recipe::{Caches, KernelName, Level, Precision, Recipe};
pub use reproduce::{Counted, Placement, Rerun};
pub(super) use worker::crew;
