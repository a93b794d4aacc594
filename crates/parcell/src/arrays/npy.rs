//! Arrays in files that numpy reads: `.npy`. The pieces are one file, in which every owner reads and
//! writes its own part.
//!
//! Crates for the format bring a parser generator for the header's Python literal, which every
//! notebook's build would pay for; the format needs a header of one line.
//!
//! # Source
//! NEP 1 and `numpy.lib.format`, versions 1.0 to 3.0.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::panic::Location;
use std::path::{Path, PathBuf};

use num_complex::Complex;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::darray::DArray;
use super::dims::{Dims, dims};
use super::element::{Element, Rank};
use super::error::{ArrayError, OrRaise, Shape, shapes};
use super::layout::{extents, ravel, unravel};
use super::parts::{Job, Parts, Shared, slice};
use super::work::{Outcome, code, nothing, read};
use crate::distributed::blob::{BlobReader, BlobWriter};
use crate::distributed::node;

/// What `.npy` files may hold: numbers, complex numbers and `bool`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an element of a `.npy` file",
    label = "neither a number, nor a complex number, nor `bool`"
)]
pub trait NpyElement: Element {
    /// numpy's name of the type, little-endian.
    #[doc(hidden)]
    const DESCR: &'static str;
    /// How many bytes an element has.
    #[doc(hidden)]
    const BYTES: usize;

    #[doc(hidden)]
    fn put(&self, to: &mut [u8]);

    /// The element; nothing if these bytes are none.
    #[doc(hidden)]
    fn take(from: &[u8]) -> Option<Self>;
}

macro_rules! number {
    ($($type:ty as $wide:ty, $descr:literal;)*) => {$(
        impl NpyElement for $type {
            const DESCR: &'static str = $descr;
            const BYTES: usize = size_of::<$wide>();

            fn put(&self, to: &mut [u8]) {
                to.copy_from_slice(&(*self as $wide).to_le_bytes());
            }

            fn take(from: &[u8]) -> Option<$type> {
                <$type>::try_from(<$wide>::from_le_bytes(from.try_into().ok()?)).ok()
            }
        }
    )*};
}

number! {
    f32 as f32, "<f4"; f64 as f64, "<f8";
    i8 as i8, "|i1"; i16 as i16, "<i2"; i32 as i32, "<i4"; i64 as i64, "<i8";
    u8 as u8, "|u1"; u16 as u16, "<u2"; u32 as u32, "<u4"; u64 as u64, "<u8";
    isize as i64, "<i8"; usize as u64, "<u8";
}

macro_rules! complex {
    ($($part:ty, $descr:literal;)*) => {$(
        impl NpyElement for Complex<$part> {
            const DESCR: &'static str = $descr;
            const BYTES: usize = 2 * size_of::<$part>();

            fn put(&self, to: &mut [u8]) {
                let (re, im) = to.split_at_mut(size_of::<$part>());
                self.re.put(re);
                self.im.put(im);
            }

            fn take(from: &[u8]) -> Option<Complex<$part>> {
                let (re, im) = from.split_at(size_of::<$part>());
                Some(Complex::new(NpyElement::take(re)?, NpyElement::take(im)?))
            }
        }
    )*};
}

complex! { f32, "<c8"; f64, "<c16"; }

impl NpyElement for bool {
    const DESCR: &'static str = "|b1";
    const BYTES: usize = 1;

    fn put(&self, to: &mut [u8]) {
        to[0] = u8::from(*self);
    }

    fn take(from: &[u8]) -> Option<bool> {
        match from[0] {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl<T: NpyElement, D: Rank> DArray<T, D> {
    /// Saves the array as a `.npy` file, row by row, for numpy and everything that reads its files.
    /// The owners write their pieces at the same time, each into its place, so all must reach the
    /// same file system. A file of that name is replaced when the new one is complete. One process
    /// calls it; blocks until all is written. Costs a message to each owner and one back.
    ///
    /// # Panics
    /// If the file cannot be made or written, or there is no room for it; if an owner is gone, or the
    /// array is closed. What was there under that name stays then.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let file = std::env::temp_dir().join(format!("parcell-{}.npy", std::process::id()));
    /// let a = drand((20, 30));
    /// a.save_npy(&file); // numpy.load(file)
    /// assert_eq!(DArray2::<f64>::load_npy(&file), a);
    /// # std::fs::remove_file(file).unwrap();
    /// ```
    ///
    /// # Source
    /// `numpy.save`; `MPI_File_write_at_all`, MPI 4.1, section 14.4.
    #[track_caller]
    pub fn save_npy(&self, path: impl AsRef<Path>) {
        self.try_save_npy(path).or_raise();
    }

    /// As [`DArray::save_npy`].
    ///
    /// # Errors
    /// [`ArrayError::File`], [`ArrayError::Lost`], [`ArrayError::Closed`].
    #[track_caller]
    pub fn try_save_npy(&self, path: impl AsRef<Path>) -> Result<(), ArrayError> {
        self.open()?;
        let (header, place) = (header(T::DESCR, &self.shape()), Location::caller());
        let file = NewFile::create(path.as_ref(), &header, self.len() * T::BYTES)?;
        let (name, code) = (name(&file.unfinished)?, code(save_piece::<T, D>));
        let write = &mut |_, to: &mut BlobWriter| {
            to.write(&name)?;
            to.write(&(header.len() as u64))
        };
        self.shared().each(&[], place, code, write)?;
        file.finish()
    }

    /// The array that a `.npy` file holds, cut by default. The owners read their pieces at the same
    /// time, so all must reach the file. One process calls it; blocks until all is read. Costs a
    /// message to each owner and one back.
    ///
    /// # Panics
    /// If the file cannot be read, is not a `.npy` file or is too short, or holds elements of another
    /// type, another rank, or columns instead of rows; if an owner has no memory.
    ///
    /// # Source
    /// `numpy.load`; `MPI_File_read_at_all`, MPI 4.1, section 14.4.
    #[track_caller]
    #[must_use]
    pub fn load_npy(path: impl AsRef<Path>) -> DArray<T, D> {
        DArray::try_load_npy(path).or_raise()
    }

    /// As [`DArray::load_npy`].
    ///
    /// # Errors
    /// [`ArrayError::File`], [`ArrayError::Remote`].
    #[track_caller]
    pub fn try_load_npy(path: impl AsRef<Path>) -> Result<DArray<T, D>, ArrayError> {
        let stored = Stored::open::<T>(path.as_ref(), D::NDIM)?;
        let mut dimension = D::zeros(stored.header.shape.len());
        dimension.slice_mut().copy_from_slice(&stored.header.shape);
        load(&stored, &dims(dimension), Location::caller())
    }

    /// As [`DArray::load_npy`], with processes and grid as [`dims`](super::dims()) of the file's shape
    /// says.
    ///
    /// # Panics
    /// As [`DArray::load_npy`]; if the file's shape is another, or there is no such layout.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let file = std::env::temp_dir().join(format!("parcell-over-{}.npy", std::process::id()));
    /// dones((4, 6)).save_npy(&file);
    /// let a: DArray2<f64> = DArray::load_npy_over(&file, dims((4, 6)).procs(&[1]));
    /// assert_eq!((a.procs(), a.sum()), (&[1][..], 24.0));
    /// # std::fs::remove_file(file).unwrap();
    /// ```
    #[track_caller]
    #[must_use]
    pub fn load_npy_over(path: impl AsRef<Path>, dims: Dims<D>) -> DArray<T, D> {
        DArray::try_load_npy_over(path, dims).or_raise()
    }

    /// As [`DArray::load_npy_over`].
    ///
    /// # Errors
    /// [`ArrayError::File`], [`ArrayError::Shapes`], [`ArrayError::Layout`], [`ArrayError::Remote`].
    #[track_caller]
    pub fn try_load_npy_over(
        path: impl AsRef<Path>,
        dims: Dims<D>,
    ) -> Result<DArray<T, D>, ArrayError> {
        let stored = Stored::open::<T>(path.as_ref(), D::NDIM)?;
        load(&stored, &dims, Location::caller())
    }
}

fn load<T: NpyElement, D: Rank>(
    stored: &Stored,
    dims: &Dims<D>,
    place: &Location<'_>,
) -> Result<DArray<T, D>, ArrayError> {
    let layout = dims.resolve()?;
    if layout.shape() != stored.header.shape {
        let operation = format!("load_npy, {}", stored.path.display());
        return Err(shapes(&operation, &stored.header.shape, &layout.shape()));
    }
    let (name, code) = (name(&stored.path)?, code(load_piece::<T, D>));
    let write = &mut |_, to: &mut BlobWriter| {
        to.write(&name)?;
        to.write(&stored.header.data_at)
    };
    Shared::make(layout, &[], place, code, write).map(DArray::of)
}

/// So many bytes are read or written at once, at most.
const BUFFER: usize = 1 << 20;

fn save_piece<T: NpyElement, D: Rank>(from: &mut BlobReader<'_>) -> Outcome {
    let job = Job::read(from)?;
    let at = Place::read(from, &job.parts, job.piece, T::BYTES)?;
    let piece = job.share::<T, D>()?;
    let mut own = slice(&piece);
    let file = at.open(OpenOptions::new().write(true))?;
    let mut buffer = vec![0; BUFFER];
    at.each_run(|offset, count| {
        let (run, rest) = own.split_at(count);
        own = rest;
        let mut offset = offset;
        for part in run.chunks(BUFFER / T::BYTES) {
            let bytes = &mut buffer[..part.len() * T::BYTES];
            for (x, to) in part.iter().zip(bytes.chunks_exact_mut(T::BYTES)) {
                x.put(to);
            }
            crate::interrupt::check();
            at.told("cannot write it", file.write_all_at(bytes, offset))?;
            offset += bytes.len() as u64;
        }
        Ok(())
    })?;
    nothing()
}

fn load_piece<T: NpyElement, D: Rank>(from: &mut BlobReader<'_>) -> Outcome {
    let job = Job::read(from)?;
    let at = Place::read(from, &job.parts, job.piece, T::BYTES)?;
    let file = at.open(OpenOptions::new().read(true))?;
    let mut elements: Vec<T> = Vec::with_capacity(extents(&at.ranges).iter().product());
    let mut buffer = vec![0; BUFFER];
    at.each_run(|offset, count| {
        let (mut offset, mut left) = (offset, count);
        while left > 0 {
            let now = left.min(BUFFER / T::BYTES);
            let bytes = &mut buffer[..now * T::BYTES];
            crate::interrupt::check();
            at.told("cannot read it", file.read_exact_at(bytes, offset))?;
            for from in bytes.chunks_exact(T::BYTES) {
                let element = T::take(from).ok_or_else(|| at.not_an_element(from))?;
                elements.push(element);
            }
            (offset, left) = (offset + bytes.len() as u64, left - now);
        }
        Ok(())
    })?;
    job.keep_elements::<T, D>(elements);
    nothing()
}

// The following are not generic, so that cells need not compile them.

/// Where in a file a piece is.
struct Place {
    path: String,
    data_at: u64,
    shape: Vec<usize>,
    ranges: Vec<Range<usize>>,
    element: usize,
}

impl Place {
    fn read(
        from: &mut BlobReader<'_>,
        parts: &Parts,
        piece: usize,
        element: usize,
    ) -> Result<Place, ArrayError> {
        let (path, data_at) = (read::<String>(from)?, read::<u64>(from)?);
        let (shape, ranges) = (parts.layout.shape(), parts.layout.ranges(piece));
        Ok(Place { path, data_at, shape, ranges, element })
    }

    fn open(&self, options: &OpenOptions) -> Result<File, ArrayError> {
        self.told("cannot open it", options.open(&self.path))
    }

    fn told<T>(&self, what: &str, result: io::Result<T>) -> Result<T, ArrayError> {
        let what = format!("process {} {what}", node::me());
        result.map_err(|error| failed(Path::new(&self.path), &what, &error))
    }

    fn not_an_element(&self, bytes: &[u8]) -> ArrayError {
        let what = format!("{bytes:?} is no element of the type that the header says");
        ArrayError::File { path: self.path.clone(), what }
    }

    /// Calls `run` with the offset and the number of the elements that lie side by side in piece and
    /// file, in their order.
    fn each_run(
        &self,
        mut run: impl FnMut(u64, usize) -> Result<(), ArrayError>,
    ) -> Result<(), ArrayError> {
        let own = extents(&self.ranges);
        let count: usize = own.iter().product();
        if count == 0 {
            return Ok(());
        }
        // Behind the last dimension that is cut, all is side by side.
        let cut = (0..own.len()).rfind(|axis| own[*axis] != self.shape[*axis]).unwrap_or(0);
        let side_by_side: usize = own[cut..].iter().product();
        for number in 0..count / side_by_side {
            let mut index = unravel(number, &own[..cut]);
            index.resize(own.len(), 0);
            index.iter_mut().zip(&self.ranges).for_each(|(at, range)| *at += range.start);
            let element = ravel(&index, &self.shape) as u64;
            run(self.data_at + element * self.element as u64, side_by_side)?;
        }
        Ok(())
    }
}

fn failed(path: &Path, what: &str, error: &io::Error) -> ArrayError {
    ArrayError::File { path: path.display().to_string(), what: format!("{what}: {error}") }
}

fn refused(path: &Path, what: String) -> ArrayError {
    ArrayError::File { path: path.display().to_string(), what }
}

fn name(path: &Path) -> Result<String, ArrayError> {
    let name = path.to_str().map(str::to_owned);
    name.ok_or_else(|| refused(path, "its name is not UTF-8".to_owned()))
}

/// The path from the root, which means the same on all processes.
fn absolute(path: &Path) -> Result<PathBuf, ArrayError> {
    std::path::absolute(path).map_err(|error| failed(path, "no such path", &error))
}

/// A file that gets its name when it is complete, and is removed otherwise.
struct NewFile {
    path: PathBuf,
    unfinished: PathBuf,
}

impl NewFile {
    /// Makes a file with its header and room for so many bytes behind it.
    fn create(path: &Path, header: &[u8], bytes: usize) -> Result<NewFile, ArrayError> {
        let path = absolute(path)?;
        let Some(name) = path.file_name().filter(|_| !path.is_dir()) else {
            return Err(refused(&path, "this is a folder, not a file to write".to_owned()));
        };
        let unfinished = format!(".{}.{:08x}", name.to_string_lossy(), rand::random::<u32>());
        let new = NewFile { unfinished: path.with_file_name(unfinished), path };
        let cannot = |error: io::Error| failed(&new.path, "it cannot be made", &error);
        let file = OpenOptions::new().write(true).create_new(true).open(&new.unfinished);
        let file = file.map_err(cannot)?;
        reserve(&file, &new.path, header.len() as u64 + bytes as u64)?;
        file.write_all_at(header, 0).map_err(cannot)?;
        Ok(new)
    }

    fn finish(self) -> Result<(), ArrayError> {
        let renamed = fs::rename(&self.unfinished, &self.path);
        renamed.map_err(|error| failed(&self.path, "it cannot get its name", &error))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // After `finish` there is none.
        let _ = fs::remove_file(&self.unfinished);
    }
}

/// Takes the room now, so that a full disk is an error before anything is written.
fn reserve(file: &File, path: &Path, bytes: u64) -> Result<(), ArrayError> {
    let error = match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => return Ok(()),
        // Some file systems have no such call.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => match file.set_len(bytes) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        },
        Err(error) => error.into(),
    };
    let left = rustix::fs::fstatvfs(file).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    let left = left.map_or_else(|_| "it is not known how many".to_owned(), |left| left.to_string());
    let what = format!("there is no room for its {bytes} bytes, {left} are free on that disk");
    Err(failed(path, &what, &error))
}

/// What the beginning of a file says.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    descr: String,
    by_columns: bool,
    shape: Vec<usize>,
    data_at: u64,
}

const MAGIC: &[u8] = b"\x93NUMPY";

/// The beginning of a file, of version 1.0: filled with spaces so that the elements begin at a
/// multiple of 64 bytes.
fn header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let extents: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    let extents =
        if shape.len() == 1 { extents.trim_end() } else { extents.trim_end_matches(", ") };
    let dictionary =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({extents}), }}");
    let before = MAGIC.len() + 4;
    let length = (before + dictionary.len() + 1).next_multiple_of(64) - before;
    let mut header = MAGIC.to_vec();
    header.extend([1, 0]);
    // A dictionary of six dimensions at most is far shorter than 65536 bytes.
    header.extend((length as u16).to_le_bytes());
    header.extend(format!("{dictionary:<width$}\n", width = length - 1).bytes());
    header
}

/// A file to read.
struct Stored {
    path: PathBuf,
    header: Header,
}

impl Stored {
    /// Opens a file of such elements; `None` allows any rank.
    fn open<T: NpyElement>(path: &Path, rank: Option<usize>) -> Result<Stored, ArrayError> {
        Stored::open_as(path, rank, T::DESCR, T::BYTES, std::any::type_name::<T>())
    }

    fn open_as(
        path: &Path,
        rank: Option<usize>,
        descr: &str,
        element: usize,
        rust: &str,
    ) -> Result<Stored, ArrayError> {
        let path = absolute(path)?;
        let cannot = |error: io::Error| failed(&path, "it cannot be read", &error);
        let file = File::open(&path).map_err(cannot)?;
        let length = file.metadata().map_err(cannot)?.len();
        let header = read_header(&file, length).map_err(|what| refused(&path, what))?;
        let Header { descr: found, by_columns, shape, data_at } = &header;
        let wrong = if found != descr {
            format!("its elements are '{found}', and {rust} is '{descr}'")
        } else if rank.is_some_and(|rank| rank != shape.len()) {
            let (found, wanted) = (shape.len(), rank.unwrap_or(0));
            format!("its shape {} has rank {found}, and rank {wanted} was asked for", Shape(shape))
        } else if *by_columns && shape.len() > 1 {
            "it is stored by columns (fortran_order): save it with \
             `numpy.save(file, numpy.ascontiguousarray(a))`"
                .to_owned()
        } else {
            let elements = shape.iter().try_fold(element, |all, one| all.checked_mul(*one));
            let wanted = elements.map_or(u64::MAX, |bytes| data_at.saturating_add(bytes as u64));
            if wanted <= length {
                return Ok(Stored { path, header });
            }
            format!("it has {length} bytes, and its shape {} needs {wanted}", Shape(shape))
        };
        Err(refused(&path, wrong))
    }
}

fn read_header(file: &File, length: u64) -> Result<Header, String> {
    let no_npy =
        || format!("it is not a .npy file: of its {length} bytes the first are not a header");
    let mut start = [0; 12];
    file.read_exact_at(&mut start[..10], 0).map_err(|_| no_npy())?;
    if !start.starts_with(MAGIC) {
        return Err(no_npy());
    }
    let (at, size) = match start[6] {
        1 => (10, u32::from(u16::from_le_bytes([start[8], start[9]]))),
        2 | 3 => {
            file.read_exact_at(&mut start, 0).map_err(|_| no_npy())?;
            (12, u32::from_le_bytes([start[8], start[9], start[10], start[11]]))
        }
        other => return Err(format!("version {other} of the format is not known here")),
    };
    let data_at = at + u64::from(size);
    if data_at > length {
        return Err(format!("it has {length} bytes, and its header alone needs {data_at}"));
    }
    let mut dictionary = vec![0; size as usize];
    file.read_exact_at(&mut dictionary, at).map_err(|error| error.to_string())?;
    let dictionary = String::from_utf8_lossy(&dictionary);
    parsed(&dictionary, data_at)
        .ok_or_else(|| format!("its header is not that of plain numbers: {}", dictionary.trim()))
}

/// Reads `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }`.
fn parsed(dictionary: &str, data_at: u64) -> Option<Header> {
    let value = |key: &str| {
        let (_, behind) = dictionary.split_once(&format!("'{key}'"))?;
        Some(behind.trim_start().strip_prefix(':')?.trim_start())
    };
    let descr = value("descr")?.strip_prefix('\'')?.split_once('\'')?.0.to_owned();
    let by_columns = match value("fortran_order")? {
        yes if yes.starts_with("True") => true,
        no if no.starts_with("False") => false,
        _ => return None,
    };
    let (extents, _) = value("shape")?.strip_prefix('(')?.split_once(')')?;
    let extents = extents.split(',').map(str::trim).filter(|extent| !extent.is_empty());
    let shape = extents.map(|extent| extent.parse().ok()).collect::<Option<Vec<usize>>>()?;
    Some(Header { descr, by_columns, shape, data_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_of_numpy() {
        // numpy.lib.format.write_array of zeros((3, 4)).
        let wanted = "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }";
        let bytes = header("<f8", &[3, 4]);
        assert_eq!(bytes.len() % 64, 0);
        assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x76\x00");
        assert_eq!(bytes[10..], *format!("{wanted:<117}\n").as_bytes());
        for shape in [vec![], vec![5], vec![0, 2], vec![1, 2, 3, 4, 5, 6]] {
            let bytes = header("|b1", &shape);
            let text = std::str::from_utf8(&bytes[10..]).unwrap();
            let found = parsed(text, 128).unwrap();
            let wanted = Header { descr: "|b1".into(), by_columns: false, shape, data_at: 128 };
            assert_eq!(found, wanted, "{text}");
        }
        assert!(std::str::from_utf8(&header("<f8", &[5])[10..]).unwrap().contains("(5,)"));
        let record = "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (3,), }";
        assert_eq!(parsed(record, 0), None);
    }

    #[test]
    fn elements_come_back() {
        fn check<T: NpyElement + PartialEq + std::fmt::Debug>(element: T) {
            let mut bytes = vec![0; T::BYTES];
            element.put(&mut bytes);
            assert_eq!(T::take(&bytes), Some(element));
        }
        check(-2.5_f32);
        check(Complex::new(1.5, -2.0));
        check(true);
        check(usize::MAX);
        check(-7_i16);
        assert_eq!(bool::take(&[2]), None);
    }

    #[test]
    fn no_room_is_told_with_numbers() {
        let path = std::env::temp_dir().join(format!("parcell-room-{}.npy", std::process::id()));
        let made = NewFile::create(&path, b"header", 1 << 60);
        let told = made.err().expect("no disk is that large").to_string();
        assert!(told.contains("no room for its 1152921504606846982 bytes"), "{told}");
        assert!(!path.exists());
    }
}
