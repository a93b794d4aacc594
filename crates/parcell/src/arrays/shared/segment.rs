//! Memory that processes of one machine share: made by one, found and mapped by the others.
//!
//! The memory is a file without a name, or a part of a file of the user's. The process that made
//! the array keeps it open; others open it through `/proc`. So the memory is gone with its last
//! mapping and its maker, however they end, and there is no limit but that of memory.
//!
//! # Invariants
//! 1. `start..start + bytes` of a [`Mapping`] is mapped until it is dropped, readable, and writable
//!    if `access` says so. Nameless files cannot shrink (they are sealed), so that all of it has
//!    pages.
//! 2. Nothing in this process accesses the memory but through the cells that [`Mapping::cells`]
//!    gives, or, where it is [`Access::Frozen`] and so never changes, through [`Mapping::values`].

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use rustix::fs::{self, FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{self, MapFlags, MsyncFlags, ProtFlags};
use serde::{Deserialize, Serialize};

use super::cell::{Plain, SharedCell};
use super::error::SharedError;
use super::room;
use crate::distributed::blob::RefId;
use crate::distributed::{group, usage};

/// What may be done with the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Access {
    /// Everybody reads and writes.
    Write,
    /// Everybody reads; programs outside may write to the file.
    Read,
    /// Nobody can write any more.
    Frozen,
}

/// How others find the memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ticket {
    /// The array's name; that of a process's part differs in the owner.
    pub(crate) id: RefId,
    host: String,
    /// The host as [`usage::place`] tells it.
    place: String,
    /// The system's number of the process that made it, and the file there.
    pid: u32,
    fd: i32,
    device: u64,
    inode: u64,
    /// Whether it is a file of the user's.
    named: bool,
    offset: u64,
    pub(crate) bytes: usize,
    pub(crate) access: Access,
}

/// The memory, mapped.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// Where the mapping begins; `start` may be later, since mappings begin at pages.
    base: *mut u8,
    mapped: usize,
    start: *mut u8,
    bytes: usize,
    access: Access,
    /// Kept open by the process that made the memory.
    file: Option<OwnedFd>,
}

// SAFETY: the memory belongs to nobody; it is accessed as invariant 2 says.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// A process's part of an array: keeps the memory mapped while the array lives anywhere. `None`
/// while it is being frozen.
pub(crate) struct Member(pub(crate) Option<Arc<Mapping>>);

/// Where nothing lies; aligned for everything.
const NOWHERE: usize = 1 << 12;

impl Mapping {
    /// Maps a part of a file.
    fn new(file: &OwnedFd, offset: u64, bytes: usize, access: Access) -> Result<Mapping, Errno> {
        let nowhere = std::ptr::without_provenance_mut(NOWHERE);
        if bytes == 0 {
            return Ok(Mapping {
                base: nowhere,
                mapped: 0,
                start: nowhere,
                bytes,
                access,
                file: None,
            });
        }
        let skipped = usize::try_from(offset % rustix::param::page_size() as u64).unwrap_or(0);
        let mapped = bytes.checked_add(skipped).ok_or(Errno::OVERFLOW)?;
        let protection = match access {
            Access::Write => ProtFlags::READ | ProtFlags::WRITE,
            Access::Read | Access::Frozen => ProtFlags::READ,
        };
        let (flags, offset) = (MapFlags::SHARED, offset - skipped as u64);
        // SAFETY: a new mapping, placed by the system.
        let base = unsafe {
            mm::mmap(std::ptr::null_mut(), mapped, protection, flags, file, offset)?.cast::<u8>()
        };
        // SAFETY: within the mapping, which has `skipped + bytes` bytes.
        let start = unsafe { base.add(skipped) };
        Ok(Mapping { base, mapped, start, bytes, access, file: None })
    }

    /// Whether `n` values of this type lie in the memory, aligned.
    fn has<T>(&self, n: usize) -> bool {
        n.checked_mul(size_of::<T>()).is_some_and(|bytes| bytes <= self.bytes)
            && self.start.cast::<T>().is_aligned()
    }

    /// The first `n` elements. Of memory that may only be read, `set` ends the process: such cells
    /// are not given to users.
    #[inline]
    pub(crate) fn cells<T: Plain>(&self, n: usize) -> &[SharedCell<T>] {
        assert!(self.has::<T>(n), "{n} elements are not in {} bytes", self.bytes);
        // SAFETY: so many are there, aligned and mapped (invariant 1); cells may be accessed by all
        // processes at once, and whatever is there is a value.
        unsafe { std::slice::from_raw_parts(self.start.cast(), n) }
    }

    /// The first `n` elements of frozen memory.
    pub(crate) fn values<T: Plain>(&self, n: usize) -> &[T] {
        assert!(self.has::<T>(n), "{n} elements are not in {} bytes", self.bytes);
        assert_eq!(self.access, Access::Frozen);
        // SAFETY: so many are there, aligned and mapped (invariant 1); the system lets nobody
        // change the memory (see `freeze`), and whatever is there is a value.
        unsafe { std::slice::from_raw_parts(self.start.cast(), n) }
    }

    /// Has the system write what was changed to the disk. Blocks until it has.
    pub(crate) fn flush(&self) -> Result<(), Errno> {
        if self.mapped == 0 || self.access != Access::Write {
            return Ok(());
        }
        // SAFETY: the range is this mapping.
        unsafe { mm::msync(self.base.cast(), self.mapped, MsyncFlags::SYNC) }
    }

    /// Memory that the system has not given yet.
    fn untouched(&self) -> u64 {
        let Some(Ok(stat)) = self.file.as_ref().map(fs::fstat) else { return 0 };
        let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        // Files with names have their room on the disk.
        if stat.st_nlink > 0 { 0 } else { size.saturating_sub(blocks.saturating_mul(512)) }
    }

    /// Unmaps it, and gives the file back.
    pub(crate) fn into_file(mut self) -> Option<OwnedFd> {
        self.file.take()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.mapped > 0 {
            // SAFETY: the range is this mapping, which nobody uses any more.
            let unmapped = unsafe { mm::munmap(self.base.cast(), self.mapped) };
            debug_assert!(unmapped.is_ok());
        }
    }
}

/// The mappings of this process, so that each memory is mapped once.
static MAPPINGS: LazyLock<Mutex<HashMap<RefId, Weak<Mapping>>>> = LazyLock::new(Mutex::default);

fn mappings() -> MutexGuard<'static, HashMap<RefId, Weak<Mapping>>> {
    MAPPINGS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The memory, if this process has mapped it.
pub(crate) fn find(id: RefId) -> Option<Arc<Mapping>> {
    mappings().get(&id)?.upgrade()
}

/// Maps memory that another process has made, unless that was done already.
pub(crate) fn open(ticket: &Ticket) -> Result<Arc<Mapping>, SharedError> {
    let mut mappings = mappings();
    if let Some(mapping) = mappings.get(&ticket.id).and_then(Weak::upgrade) {
        return Ok(mapping);
    }
    let mapping = Arc::new(ticket.map()?);
    keep(&mut mappings, ticket.id, &mapping);
    Ok(mapping)
}

fn keep(mappings: &mut HashMap<RefId, Weak<Mapping>>, id: RefId, mapping: &Arc<Mapping>) {
    mappings.retain(|_, known| known.strong_count() > 0);
    mappings.insert(id, Arc::downgrade(mapping));
}

/// Makes memory of zeros.
pub(crate) fn create(bytes: usize) -> Result<(Ticket, Arc<Mapping>), SharedError> {
    let promised = mappings().values().filter_map(Weak::upgrade).map(|own| own.untouched()).sum();
    room::check(bytes as u64, promised)?;
    let what =
        |error: Errno| SharedError::system(format!("no shared memory of {bytes} bytes"), error);
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = fs::memfd_create("parcell-shared-array", flags).map_err(what)?;
    fs::ftruncate(&file, bytes as u64).map_err(what)?;
    if bytes > 0 && room::is_never_overcommitted() {
        fs::fallocate(&file, FallocateFlags::empty(), 0, bytes as u64).map_err(what)?;
    }
    // Nobody can take pages away from under the mappings.
    fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).map_err(what)?;
    adopt(file, 0, bytes, Access::Write)
}

/// Maps a part of a file that this process has opened, and keeps the file open for the others.
pub(crate) fn adopt(
    file: OwnedFd,
    offset: u64,
    bytes: usize,
    access: Access,
) -> Result<(Ticket, Arc<Mapping>), SharedError> {
    let failed =
        |error: Errno| SharedError::system(format!("{bytes} bytes cannot be mapped"), error);
    let stat = fs::fstat(&file).map_err(failed)?;
    let mut mapping = Mapping::new(&file, offset, bytes, access).map_err(failed)?;
    let ticket = Ticket {
        id: group::new_part(crate::distributed::node::me()),
        host: usage::host(),
        place: usage::place(),
        pid: std::process::id(),
        fd: file.as_raw_fd(),
        device: stat.st_dev,
        inode: stat.st_ino,
        named: stat.st_nlink > 0,
        offset,
        bytes,
        access,
    };
    mapping.file = Some(file);
    let mapping = Arc::new(mapping);
    keep(&mut mappings(), ticket.id, &mapping);
    Ok((ticket, mapping))
}

/// Maps memory again whose file was taken out of its mapping.
pub(crate) fn readopt(file: OwnedFd, ticket: &Ticket) -> Result<Arc<Mapping>, Errno> {
    let mut mapping = Mapping::new(&file, ticket.offset, ticket.bytes, ticket.access)?;
    mapping.file = Some(file);
    let mapping = Arc::new(mapping);
    keep(&mut mappings(), ticket.id, &mapping);
    Ok(mapping)
}

/// Makes memory unchangeable for all processes. The system refuses it, with `EBUSY`, while anybody
/// can write to it.
pub(crate) fn seal(file: &OwnedFd) -> Result<(), Errno> {
    fs::fcntl_add_seals(file, SealFlags::WRITE)
}

impl Ticket {
    /// The process that made the memory.
    pub(crate) fn maker(&self) -> usize {
        self.id.creator as usize
    }

    pub(crate) fn is_named(&self) -> bool {
        self.named
    }

    /// The array in words.
    pub(crate) fn name(&self) -> String {
        format!("SharedArray {} of {} bytes", self.id.number, self.bytes)
    }

    fn gone(&self, why: impl Into<String>) -> SharedError {
        SharedError::Gone { array: self.name(), why: why.into() }
    }

    fn map(&self) -> Result<Mapping, SharedError> {
        if usage::place() != self.place {
            let here = usage::host();
            let worker = crate::distributed::myid();
            return Err(SharedError::OtherHost { worker, host: here, here: self.host.clone() });
        }
        let path = format!("/proc/{}/fd/{}", self.pid, self.fd);
        let opened = File::options().read(true).write(self.access == Access::Write).open(path);
        let file = match opened {
            Ok(file) => OwnedFd::from(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(self.gone(self.lost()));
            }
            Err(error) => return Err(SharedError::system(self.cannot_open(), error)),
        };
        let stat = fs::fstat(&file).map_err(|e| SharedError::system(self.cannot_open(), e))?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        // The numbers of processes and of open files are given again.
        if (stat.st_dev, stat.st_ino) != (self.device, self.inode)
            || size < self.offset + self.bytes as u64
        {
            return Err(self.gone(self.lost()));
        }
        match Mapping::new(&file, self.offset, self.bytes, self.access) {
            Ok(mapping) => Ok(mapping),
            Err(Errno::PERM) => Err(self.gone("it was frozen, and this handle is one of before")),
            Err(error) => {
                Err(SharedError::system(format!("{} cannot be mapped", self.name()), error))
            }
        }
    }

    fn lost(&self) -> String {
        format!("process {}, which made it, is gone or has freed it", self.maker())
    }

    fn cannot_open(&self) -> String {
        format!("the memory of {} cannot be opened", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zero_shared_and_gone_with_the_last_mapping() {
        let (ticket, mapping) = create(8 * 1000).unwrap();
        assert!(mapping.cells::<u64>(1000).iter().all(|cell| cell.get() == 0));
        let other = ticket.map().unwrap();
        mapping.cells::<u64>(1000)[999].set(7);
        assert_eq!(other.cells::<u64>(1000)[999].get(), 7);
        assert!(Arc::ptr_eq(&open(&ticket).unwrap(), &mapping), "mapped once");
        drop(mapping);
        assert_eq!(other.cells::<u64>(1000)[999].get(), 7, "a mapping outlives the file");
        assert!(matches!(open(&ticket), Err(SharedError::Gone { .. })));
        drop(other);
        // Other tests may have mapped theirs.
        assert!(find(ticket.id).is_none());
    }

    #[test]
    fn a_number_that_was_given_again_is_noticed() {
        let (mut ticket, _mapping) = create(100).unwrap();
        ticket.inode += 1;
        assert!(matches!(ticket.map(), Err(SharedError::Gone { .. })));
        ticket.inode -= 1;
        ticket.bytes = 101;
        assert!(matches!(ticket.map(), Err(SharedError::Gone { .. })));
        ticket.place = "elsewhere".into();
        assert!(matches!(ticket.map(), Err(SharedError::OtherHost { .. })));
    }

    #[test]
    fn nothing_takes_memory_without_size() {
        let (ticket, mapping) = create(0).unwrap();
        assert_eq!(mapping.cells::<u128>(0).len() + ticket.map().unwrap().cells::<u8>(0).len(), 0);
        assert_eq!(mapping.cells::<()>(5).len(), 5, "values without size need none");
    }

    #[test]
    fn sealed_memory_is_not_changed_by_anybody() {
        let (ticket, mapping) = create(100).unwrap();
        mapping.cells::<u8>(100)[5].set(9);
        let Some(file) = &mapping.file else { panic!("the maker keeps the file") };
        assert_eq!(seal(file), Err(Errno::BUSY));
        let file = Arc::into_inner(mapping).and_then(Mapping::into_file).unwrap();
        seal(&file).unwrap();
        assert!(Mapping::new(&file, 0, 100, Access::Write).is_err());
        let frozen = Mapping::new(&file, 0, 100, Access::Frozen).unwrap();
        assert_eq!(frozen.values::<u8>(100)[5], 9);
        assert!(matches!(ticket.map(), Err(SharedError::Gone { .. } | SharedError::System { .. })));
    }

    #[test]
    #[should_panic(expected = "13 elements are not in 100 bytes")]
    fn more_than_there_is_is_not_given() {
        let (_, mapping) = create(100).unwrap();
        mapping.cells::<u64>(13);
    }
}
