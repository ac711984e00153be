//! Types that the kernel side and the daemon share, defined once: plain data, without pointers, their layout checked
//! when compiled. What only the kernel side needs is in [`kernel`].
#![cfg_attr(not(test), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod histogram;
#[cfg(target_arch = "bpf")]
pub mod kernel;
pub mod shared;
