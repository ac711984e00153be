//! One turn of `context-switch`: write, then read, with a pattern in the widest registers all the while. The system calls are made
//! from within the assembly, because around a call a compiler would spill what must stay in its registers.
#![expect(unsafe_code, reason = "system calls with registers in use")]

use std::io;

use super::Isa;

/// Four of the widest registers.
pub(super) const PATTERN_WORDS: usize = 32;

/// Bytes of a token.
const TOKEN_BYTES: usize = 8;

/// Sends the token through the first descriptor and waits for what comes from the second. The registers are loaded from
/// `pattern` before and stored there after.
///
/// # Errors
/// When the other end is gone.
pub(super) fn cross(isa: Isa, fds: (i32, i32), token: &mut u64, pattern: &mut [u64]) -> io::Result<()> {
    assert!(pattern.len() == PATTERN_WORDS && isa.is_available());
    match isa {
        Isa::Portable => plain(fds, token),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the host has the instructions, and the pattern its length, as just checked.
        Isa::Avx2 => unsafe { avx2(fds, token, pattern.as_mut_ptr()) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512 => unsafe { avx512(fds, token, pattern.as_mut_ptr()) },
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx2 | Isa::Avx512 => unreachable!("admission lets through what the host has"),
    }
}

fn plain((to, from): (i32, i32), token: &mut u64) -> io::Result<()> {
    // SAFETY: the token has 8 bytes and outlives the call.
    let written = unsafe { libc::write(to, (&raw const *token).cast(), TOKEN_BYTES) };
    // SAFETY: as above, exclusively borrowed.
    let read = unsafe { libc::read(from, (&raw mut *token).cast(), TOKEN_BYTES) };
    outcome(written as i64, read as i64)
}

/// Transfers of 8 bytes through a pipe are whole or fail: pipe(7), PIPE_BUF.
fn outcome(written: i64, read: i64) -> io::Result<()> {
    let whole = TOKEN_BYTES as i64;
    if written == whole && read == whole { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
}

#[cfg(target_arch = "x86_64")]
macro_rules! form {
    (
        $name:ident, $features:literal, $move:literal,
        [$($register:tt $offset:literal),*]
    ) => {
        #[target_feature(enable = $features)]
        unsafe fn $name((to, from): (i32, i32), token: &mut u64, pattern: *mut u64) -> io::Result<()> {
            let (written, read): (i64, i64);
            // SAFETY: write(2) and read(2) touch the token's 8 bytes alone, which outlive the call and are exclusively
            // borrowed; the pattern holds what the moves load and store (the caller's); `syscall` itself changes rax, rcx
            // and r11, all named.
            unsafe {
                std::arch::asm!(
                    $(concat!($move, " ", $register, ", [{pattern} + ", $offset, "]"),)*
                    "syscall",
                    "mov {written}, rax",
                    "mov edi, {from:e}",
                    "mov eax, {read_call}",
                    "syscall",
                    $(concat!($move, " [{pattern} + ", $offset, "], ", $register),)*
                    pattern = in(reg) pattern,
                    from = in(reg) from,
                    written = out(reg) written,
                    read_call = const libc::SYS_read,
                    inout("rax") libc::SYS_write => read,
                    inout("rdi") i64::from(to) => _,
                    in("rsi") &raw mut *token,
                    in("rdx") TOKEN_BYTES,
                    out("rcx") _,
                    out("r11") _,
                    $(out($register) _,)*
                    options(nostack),
                );
            }
            outcome(written, read)
        }
    };
}

// 16 to 31 exist in AVX-512 alone: the kernel saves them in a part of the state of their own.
#[cfg(target_arch = "x86_64")]
form!(avx512, "avx512f", "vmovdqu64", ["zmm16" "0", "zmm21" "64", "zmm26" "128", "zmm31" "192"]);
#[cfg(target_arch = "x86_64")]
form!(avx2, "avx2", "vmovdqu", [
    "ymm8" "0", "ymm9" "32", "ymm10" "64", "ymm11" "96", "ymm12" "128", "ymm13" "160", "ymm14" "192", "ymm15" "224"
]);
