//! The admin command that reads an NVMe drive's SMART log. Since Linux 3.3 (commit b60503ba432b); needs CAP_SYS_ADMIN.
#![expect(unsafe_code, reason = "NVME_IOCTL_ADMIN_CMD, which no crate wraps")]

use std::{fs::File, io, os::fd::AsRawFd as _};

/// SMART / Health Information: NVM Express Base Specification 2.0, 5.16.1.3.
pub(super) const SMART_BYTES: usize = 512;

/// `struct nvme_passthru_cmd` of include/uapi/linux/nvme_ioctl.h.
#[repr(C)]
#[derive(Debug, Default)]
struct Command {
    opcode: u8,
    flags: u8,
    reserved: u16,
    namespace: u32,
    dword_2: u32,
    dword_3: u32,
    metadata: u64,
    address: u64,
    metadata_bytes: u32,
    data_bytes: u32,
    dword_10: u32,
    dword_11: u32,
    dword_12: u32,
    dword_13: u32,
    dword_14: u32,
    dword_15: u32,
    timeout_ms: u32,
    result: u32,
}

const _: () = assert!(size_of::<Command>() == 72, "as the kernel has it");

mod raw {
    nix::ioctl_readwrite!(admin_command, b'N', 0x41, super::Command);
}

const GET_LOG_PAGE: u8 = 0x02;
const SMART_LOG: u32 = 0x02;
/// The controller as a whole.
const ALL_NAMESPACES: u32 = u32::MAX;
/// A drive that does not answer in this time is told as one that failed.
const TIMEOUT_MS: u32 = 2_000;

/// Reads the log of the controller behind an open `/dev/nvmeN`.
///
/// # Errors
/// The kernel's; a status of the drive other than success is one too.
pub(super) fn smart_log(controller: &File) -> io::Result<[u8; SMART_BYTES]> {
    let mut log = [0; SMART_BYTES];
    let mut command = Command {
        opcode: GET_LOG_PAGE,
        namespace: ALL_NAMESPACES,
        address: log.as_mut_ptr() as u64,
        data_bytes: SMART_BYTES as u32,
        // The number of double words less one, above the log's number.
        dword_10: ((SMART_BYTES as u32 / 4 - 1) << 16) | SMART_LOG,
        timeout_ms: TIMEOUT_MS,
        ..Command::default()
    };
    // SAFETY: `command` is laid out as the kernel has it and lives for the call, and `log`, whose address and length it
    // carries, does too; nobody else looks at either meanwhile.
    let status = unsafe { raw::admin_command(controller.as_raw_fd(), &raw mut command) }?;
    if status == 0 { Ok(log) } else { Err(io::Error::other(format!("the drive's status is {status:#x}"))) }
}
