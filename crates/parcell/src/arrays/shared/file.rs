//! Arrays whose memory is a part of a file.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ndarray::IntoDimension;
use rustix::fs::{self, FallocateFlags};
use rustix::io::Errno;

use super::array::SharedArray;
use super::cell::Plain;
use super::error::SharedError;
use super::make::bytes;
use super::members::{Shared, chosen};
use super::segment::{self, Access};
use crate::arrays::Rank;
use crate::arrays::error::OrRaise;

/// A file to be opened as an array: what [`SharedArray::from_file`] gives.
#[derive(Debug, Clone)]
pub struct SharedFile<T, D> {
    wanted: Wanted,
    dim: D,
    elements: PhantomData<fn() -> T>,
}

/// What is asked for, without types.
#[derive(Debug, Clone)]
struct Wanted {
    path: PathBuf,
    mode: Option<String>,
    offset: u64,
    pids: Option<Vec<usize>>,
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// `r`: it must be there and long enough.
    Read,
    /// `r+`: it must be there; it is made longer if need be.
    Update,
    /// `w+`: made, or emptied.
    Create,
    /// `a+`: made if it is not there; made longer if need be.
    Extend,
}

impl<T, D: Rank> SharedArray<T, D> {
    /// An array whose elements are in a file: what is there are its elements, what is written to
    /// them reaches the file, and stays. Say `.open()` after it, before that `.mode(…)`,
    /// `.offset(…)` and `.on(…)` as needed. Elements are in the machine's byte order, without a
    /// header.
    ///
    /// Whoever makes the file shorter while the array is used ends the processes that use what is
    /// cut off; parcell does not.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let path = std::env::temp_dir().join(format!("example-{}.bin", std::process::id()));
    /// let s = SharedMatrix::<f64>::from_file(&path, (3, 4)).open();
    /// s.fill(1.5);
    /// drop(s);
    /// let again = SharedVector::<f64>::from_file(&path, 5).mode("r").offset(8).open();
    /// assert_eq!(again.sum(), 7.5);
    /// # std::fs::remove_file(path).unwrap();
    /// ```
    ///
    /// # Source
    /// `SharedArray{T}(file, dims, offset; mode)`, Julia's SharedArrays, which wants an absolute
    /// path.
    pub fn from_file(path: impl AsRef<Path>, dims: impl IntoDimension<Dim = D>) -> SharedFile<T, D>
    where
        T: Plain,
    {
        let path = path.as_ref().to_owned();
        SharedFile {
            wanted: Wanted { path, mode: None, offset: 0, pids: None },
            dim: dims.into_dimension(),
            elements: PhantomData,
        }
    }
}

impl<T: Plain, D: Rank> SharedArray<T, D> {
    /// Has the system write what was changed in the array's file to the disk, and blocks until it
    /// has. One process calls it, for what all have written. Without this the system does it when
    /// it likes; processes that end lose nothing, a machine that fails may. Does nothing for arrays
    /// in memory. Costs no message.
    ///
    /// # Panics
    /// If the disk fails.
    ///
    /// # Source
    /// `Mmap.sync!`, Julia.
    #[track_caller]
    pub fn flush(&self) {
        self.try_flush().or_raise();
    }

    /// As [`SharedArray::flush`].
    ///
    /// # Errors
    /// [`SharedError::System`] if the disk fails; [`SharedError::Gone`].
    pub fn try_flush(&self) -> Result<(), SharedError> {
        let flushed = self.shared().mapping()?.flush();
        flushed.map_err(|error| SharedError::system("the array's file cannot be written", error))
    }
}

impl<T: Plain, D: Rank> SharedFile<T, D> {
    /// How the file is opened, by C's names: `r` to read what is there; `r+` to read and write it,
    /// making it longer if need be; `w+` to begin with zeros, whatever was there; `a+` as `r+`,
    /// making the file if there is none. Without this `r+` if the file is there, else `w+`.
    #[must_use]
    pub fn mode(mut self, mode: &str) -> SharedFile<T, D> {
        self.wanted.mode = Some(mode.to_owned());
        self
    }

    /// Where in the file the elements begin, in bytes: a multiple of the element's alignment.
    #[must_use]
    pub fn offset(mut self, bytes: u64) -> SharedFile<T, D> {
        self.wanted.offset = bytes;
        self
    }

    /// The processes that get parts of the array; see [`SharedArray::on`].
    #[must_use]
    pub fn on(mut self, pids: &[usize]) -> SharedFile<T, D> {
        self.wanted.pids = Some(pids.to_vec());
        self
    }

    /// Opens the file as an array. Blocks until all processes have mapped it; costs a message to
    /// each and one back. Room on the disk is taken now, so that a full disk is an error of this
    /// call and not of a later write.
    ///
    /// # Panics
    /// If the file cannot be opened so, is too short to be read, or has no room on its disk.
    #[track_caller]
    #[must_use]
    pub fn open(self) -> SharedArray<T, D> {
        self.try_open().or_raise()
    }

    /// As [`SharedFile::open`].
    ///
    /// # Errors
    /// [`SharedError::File`], [`SharedError::NoRoom`]; otherwise as [`SharedArray::try_zeros`].
    #[track_caller]
    pub fn try_open(self) -> Result<SharedArray<T, D>, SharedError> {
        let bytes = bytes::<T>(self.dim.slice())?;
        let shared = self.wanted.open(bytes, align_of::<T>(), Location::caller())?;
        Ok(SharedArray::of(Arc::new(shared), self.dim))
    }
}

impl Mode {
    fn access(self) -> Access {
        if self == Mode::Read { Access::Read } else { Access::Write }
    }

    fn may_make(self) -> bool {
        matches!(self, Mode::Create | Mode::Extend)
    }
}

impl Wanted {
    fn refused(&self, what: impl Into<String>) -> SharedError {
        SharedError::File { path: self.path.clone(), what: what.into() }
    }

    fn failed(&self, what: &str, error: impl Into<std::io::Error>) -> SharedError {
        self.refused(format!("{what}: {}", error.into()))
    }

    fn open(
        &self,
        bytes: usize,
        align: usize,
        place: &Location<'_>,
    ) -> Result<Shared, SharedError> {
        let pids = chosen(self.pids.as_deref())?;
        let there = self.path.exists();
        let mode = self.mode(there)?;
        if !self.offset.is_multiple_of(align as u64) {
            let offset = self.offset;
            return Err(self.refused(format!(
                "the elements cannot begin at byte {offset}, which is no multiple of {align}, their \
                 alignment"
            )));
        }
        let end = self.offset.checked_add(bytes as u64).filter(|end| i64::try_from(*end).is_ok());
        let end = end.ok_or_else(|| self.refused("no file is as long as the array would reach"))?;
        let file = self.open_file(mode, there)?;
        let prepared = self.prepare(&file, mode, end);
        if let (Err(_), false) = (&prepared, there) {
            // What this call has made.
            let _ = std::fs::remove_file(&self.path);
        }
        prepared?;
        let made = segment::adopt(OwnedFd::from(file), self.offset, bytes, mode.access())?;
        Shared::make(made, pids, place)
    }

    fn mode(&self, there: bool) -> Result<Mode, SharedError> {
        let mode = match self.mode.as_deref() {
            None if there => Mode::Update,
            None | Some("w+") => Mode::Create,
            Some("r") => Mode::Read,
            Some("r+") => Mode::Update,
            Some("a+") => Mode::Extend,
            Some(other) => {
                let why =
                    if matches!(other, "w" | "a") { "it must be readable" } else { "it is none" };
                return Err(self.refused(format!(
                    "it cannot be opened with mode `{other}`, since {why}: take `r`, `r+`, `w+` or `a+`"
                )));
            }
        };
        if !there && !mode.may_make() {
            let name = self.mode.as_deref().unwrap_or_default();
            return Err(self.refused(format!(
                "there is no such file, and mode `{name}` makes none: take `w+` or `a+`"
            )));
        }
        Ok(mode)
    }

    fn open_file(&self, mode: Mode, there: bool) -> Result<File, SharedError> {
        let write = mode.access() == Access::Write;
        let mut how = OpenOptions::new();
        how.read(true).write(write).create(mode.may_make() && !there);
        let file = how.open(&self.path).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied if write => {
                self.failed("it cannot be written (mode `r` would only read it)", error)
            }
            _ => self.failed("it cannot be opened", error),
        })?;
        let kind = file.metadata().map_err(|error| self.failed("it cannot be read", error))?;
        if kind.is_file() { Ok(file) } else { Err(self.refused("it is not an ordinary file")) }
    }

    /// Makes the file long enough, with room on the disk for all of it.
    fn prepare(&self, file: &File, mode: Mode, end: u64) -> Result<(), SharedError> {
        let stat = fs::fstat(file).map_err(|error| self.failed("it cannot be read", error))?;
        let length = u64::try_from(stat.st_size).unwrap_or(0);
        if mode == Mode::Read {
            return if end <= length {
                Ok(())
            } else {
                Err(self.refused(format!(
                    "it has {length} bytes, and the array would reach to byte {end}: choose fewer \
                     elements, another offset, or mode `r+`, which makes the file longer"
                )))
            };
        }
        let taken = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        self.check_disk(file, end, taken)?;
        if mode == Mode::Create {
            file.set_len(0).map_err(|error| self.failed("it cannot be emptied", error))?;
        }
        if end == 0 {
            return Ok(());
        }
        match fs::fallocate(file, FallocateFlags::empty(), 0, end) {
            Ok(()) => Ok(()),
            // Some file systems have no such call; there the check must do.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if end <= length && mode != Mode::Create => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                file.set_len(end).map_err(|error| self.failed("it cannot be made longer", error))
            }
            Err(error) => {
                if mode != Mode::Create {
                    let _ = file.set_len(length);
                }
                Err(self.failed(&format!("there is no room for its {end} bytes"), error))
            }
        }
    }

    fn check_disk(&self, file: &File, end: u64, taken: u64) -> Result<(), SharedError> {
        let Ok(disk) = fs::fstatvfs(file) else { return Ok(()) };
        let available = disk.f_bavail.saturating_mul(disk.f_frsize).saturating_add(taken);
        if end <= available {
            return Ok(());
        }
        let what = format!("the disk of `{}`", self.path.display());
        Err(SharedError::NoRoom { wanted: end, available, what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let folder = format!("parcell-shared-file-{name}-{}", std::process::id());
            let folder = std::env::temp_dir().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            Folder(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn numbers(path: &Path) -> Vec<u32> {
        let bytes = std::fs::read(path).unwrap();
        bytes.chunks(4).map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect()
    }

    #[test]
    fn modes_are_those_of_julia() {
        let folder = Folder::new("modes");
        let path = folder.0.join("a");
        let file = |n: usize| SharedVector::<u32>::from_file(&path, n);
        let told = |file: SharedFile<u32, _>| file.try_open().unwrap_err().to_string();
        assert!(told(file(3).mode("r")).contains("there is no such file, and mode `r` makes none"));
        assert!(told(file(3).mode("r+")).contains("mode `r+` makes none"));
        assert!(told(file(3).mode("w")).contains("mode `w`, since it must be readable"));
        assert!(told(file(3).mode("x")).contains("take `r`, `r+`, `w+` or `a+`"));
        assert!(!path.exists(), "what is refused leaves nothing");
        // Made without a mode; then opened as it is.
        file(3).open().fill(7);
        assert_eq!(numbers(&path), [7, 7, 7]);
        file(2).open().set(0, 1);
        assert_eq!(numbers(&path), [1, 7, 7]);
        file(4).mode("r+").open().set(3, 9);
        assert_eq!(numbers(&path), [1, 7, 7, 9]);
        file(5).mode("a+").open().set(4, 10);
        assert_eq!(numbers(&path), [1, 7, 7, 9, 10]);
        let read = file(5).mode("r").open();
        assert_eq!((read.sum(), read.to_array().to_vec()), (34, vec![1, 7, 7, 9, 10]));
        let told_short = told(file(6).mode("r"));
        assert!(told_short.contains("it has 20 bytes, and the array would reach to byte 24"));
        file(2).mode("w+").open().set(0, 5);
        assert_eq!(numbers(&path), [5, 0]);
    }

    #[test]
    fn what_is_only_read_is_not_written() {
        let folder = Folder::new("read");
        let path = folder.0.join("a");
        std::fs::write(&path, [1, 2, 3]).unwrap();
        let s = SharedVector::<u8>::from_file(&path, 3).mode("r").open();
        let refused = |error: SharedError| matches!(error, SharedError::ReadOnly { .. });
        assert!(refused(s.try_set(0, 1).unwrap_err()));
        assert!(refused(s.try_cells().unwrap_err()));
        assert!(refused(s.try_fill(1).unwrap_err()));
        assert!(refused(s.try_map_from(|x: u8| x, &s).unwrap_err()));
        assert!(refused(s.try_init(|_: SharedVector<u8>| ()).unwrap_err()));
        let copy = s.deep_copy();
        copy.set(0, 9);
        assert_eq!((s.get(0), copy.to_array().to_vec()), (1, vec![9, 2, 3]));
        s.flush();
    }

    #[test]
    fn offsets_are_of_elements() {
        let folder = Folder::new("offset");
        let path = folder.0.join("a");
        std::fs::write(&path, vec![1; 20_000]).unwrap();
        let s = SharedVector::<u32>::from_file(&path, 3).offset(5004).open();
        assert_eq!(s.get(2), 0x0101_0101);
        s.fill(2);
        s.flush();
        let read = numbers(&path);
        assert_eq!((read.len(), read.iter().filter(|x| **x == 2).count()), (5000, 3));
        assert_eq!(read[1251..1254], [2; 3]);
        let error = SharedVector::<u32>::from_file(&path, 3).offset(5002).try_open().unwrap_err();
        assert!(error.to_string().contains("byte 5002, which is no multiple of 4"), "{error}");
    }

    #[test]
    fn a_disk_that_is_full_is_an_error_now() {
        let folder = Folder::new("full");
        let path = folder.0.join("a");
        let error = SharedVector::<u8>::from_file(&path, 1 << 60).try_open().unwrap_err();
        let SharedError::NoRoom { wanted, available, .. } = error else { panic!("{error}") };
        assert!(wanted == 1 << 60 && available < wanted);
        assert!(!path.exists());
        let folder_itself = SharedVector::<u8>::from_file(&folder.0, 1).try_open();
        assert!(matches!(folder_itself, Err(SharedError::File { .. })));
    }
}
