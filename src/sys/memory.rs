//! The memory of another process (process_vm_readv(2)), and the kernel's code in this one's.

#![allow(unsafe_code, reason = "neither call has a safe wrapper")]

use std::ffi::c_void;

use rustix::io::{Errno, Result};
use rustix::process::Pid;

/// Reads what lies at an address of a process; gives how many bytes could be read before a hole.
///
/// # Errors
/// `EFAULT` if not even the first byte is there.
pub fn read(process: Pid, address: u64, into: &mut [u8]) -> Result<usize> {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = theirs(address, into.len())?;
    // SAFETY: the kernel writes to `into` alone, which is borrowed over the call.
    let count = unsafe {
        libc::process_vm_readv(process.as_raw_nonzero().get(), &raw const local, 1, &raw const remote, 1, 0)
    };
    usize::try_from(count).map_err(|_| last_error())
}

/// Writes to an address of a process, where that itself might.
///
/// # Errors
/// `EFAULT` if not all of it could be written.
pub fn write(process: Pid, address: u64, bytes: &[u8]) -> Result<()> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = theirs(address, bytes.len())?;
    // SAFETY: the kernel reads `bytes` alone; the other process' memory is not ours.
    let count = unsafe {
        libc::process_vm_writev(process.as_raw_nonzero().get(), &raw const local, 1, &raw const remote, 1, 0)
    };
    match usize::try_from(count) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(_) => Err(Errno::FAULT),
        Err(_) => Err(last_error()),
    }
}

fn theirs(address: u64, length: usize) -> Result<libc::iovec> {
    let address = usize::try_from(address).map_err(|_| Errno::FAULT)?;
    Ok(libc::iovec { iov_base: std::ptr::without_provenance_mut::<c_void>(address), iov_len: length })
}

/// What sysinfo(2) says of a machine that does nothing and has no swap. Sizes are in bytes, the time in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quiet {
    pub uptime: i64,
    pub total: u64,
    pub free: u64,
    pub shared: u64,
    pub buffers: u64,
}

/// That, as the kernel lays it out.
pub fn sysinfo(of: Quiet) -> Vec<u8> {
    // SAFETY: all zeroes is a valid value of plain numbers.
    let mut info: libc::sysinfo = unsafe { std::mem::zeroed() };
    info.uptime = of.uptime;
    info.totalram = of.total;
    info.freeram = of.free;
    info.sharedram = of.shared;
    info.bufferram = of.buffers;
    info.procs = 1;
    info.mem_unit = 1;
    let size = std::mem::size_of::<libc::sysinfo>();
    // SAFETY: plain numbers, of which every byte was set to zero before.
    unsafe { std::slice::from_raw_parts((&raw const info).cast::<u8>(), size) }.to_vec()
}

/// The code that the kernel gives to each process of this ABI (vdso(7)), as it is in this one.
pub fn vdso() -> Option<&'static [u8]> {
    /// Of the file, in bytes: the header, and where in it the count and place of program headers are.
    const HEADER: usize = 64;
    // SAFETY: reads a value that the kernel gave at start.
    let address = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
    let start = std::ptr::with_exposed_provenance::<u8>(usize::try_from(address).ok()?);
    if start.is_null() {
        return None;
    }
    // SAFETY: the kernel maps at least a page there, for as long as the process lives, and nobody writes to it.
    let header = unsafe { std::slice::from_raw_parts(start, HEADER) };
    let length = crate::sys::elf::loaded_size(header, |offset, length| {
        // SAFETY: program headers lie in the first page behind the header.
        (offset + length <= 4096).then(|| unsafe { std::slice::from_raw_parts(start.add(offset), length) })
    })?;
    // SAFETY: so many bytes are loaded there, as its own program headers say.
    Some(unsafe { std::slice::from_raw_parts(start, length) })
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
