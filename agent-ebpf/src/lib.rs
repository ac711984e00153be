//! Types that the kernel side and the daemon share, defined once: plain data, without pointers, their layout checked
//! when compiled.
#![cfg_attr(not(test), no_std)]

pub mod histogram;
