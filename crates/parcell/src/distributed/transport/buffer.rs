//! Memory on its way: a [`Bulk`] is sent from where it lies, a [`Buffer`] becomes the vector that
//! the receiver asked for. Neither is ever copied or zeroed.

use std::alloc::{Layout, alloc, dealloc};
use std::any::Any;
use std::fmt;
use std::mem::{ManuallyDrop, MaybeUninit, align_of, size_of};
use std::ptr::NonNull;
use std::sync::Arc;

use num_complex::Complex;

/// Buffers of so many bytes or more ask for huge pages. With ordinary ones the receiver spends most
/// of its time on page faults: 256 MB arrive at 1.7 GB/s then, and at 4.3 GB/s with huge pages,
/// on a machine with little else to do. On a busy one single runs fell below a bare socket's rate;
/// whether a lack of huge pages is the cause is not known.
const HUGE: usize = 4 << 20;
/// The largest alignment that a bulk may ask for.
pub(crate) const MAX_ALIGN: usize = 64;

/// An element type of which every bit pattern is a value, without padding and without pointers.
///
/// # Safety
///
/// The type has no padding, every pattern of its `size_of` bytes is a valid value, and it needs no
/// drop. Its alignment is at most 64.
pub(crate) unsafe trait Plain: Copy + Send + Sync + 'static {}

macro_rules! plain {
    ($($number:ty),*) => {$(
        // SAFETY: a machine number, or two of them side by side (`Complex` is `repr(C)`): no
        // padding, and every pattern of bits is one of its values.
        unsafe impl Plain for $number {}
    )*};
}
plain!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64);
plain!(Complex<f32>, Complex<f64>);

/// The bytes of plain elements, in this machine's byte order.
pub(crate) fn bytes_of<P: Plain>(elements: &[P]) -> &[u8] {
    // SAFETY: the elements are initialised and have no padding; the result borrows them.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) }
}

/// Plain memory that somebody owns, to be sent from where it lies. A clone is a second handle on
/// the same memory.
#[derive(Clone)]
pub(crate) struct Bulk {
    start: *const u8,
    len: usize,
    align: usize,
    owner: Arc<dyn Any + Send + Sync>,
}

// SAFETY: a bulk only reads, and what it reads is `Plain`, owned by a `Send + Sync` owner that
// lives as long as the bulk, and not changed meanwhile (see `Bulk::within`).
unsafe impl Send for Bulk {}
// SAFETY: as above; all methods take `&self` and read.
unsafe impl Sync for Bulk {}

impl Bulk {
    /// The elements of a shared vector.
    pub(crate) fn of<P: Plain>(elements: Arc<Vec<P>>) -> Bulk {
        let (start, len) = (elements.as_ptr(), elements.len());
        // SAFETY: the elements are the vector's own, and nobody can change a shared `Vec<P>` of
        // plain elements, which have no interior mutability.
        unsafe { Bulk::within(elements, start, len) }
    }

    /// What has arrived in a buffer, to be sent on.
    pub(crate) fn of_buffer(buffer: Arc<Buffer>) -> Bulk {
        let (start, len, align) = (buffer.start.as_ptr(), buffer.filled, buffer.align);
        // The owner keeps `len` initialised bytes, and a shared buffer cannot be filled further.
        Bulk { start, len, align, owner: buffer }
    }

    /// `count` elements that start at `start`, in memory that `owner` keeps.
    ///
    /// # Safety
    ///
    /// As long as `owner` lives, the elements stay where they are, initialised and unchanged.
    pub(crate) unsafe fn within<P: Plain>(
        owner: Arc<dyn Any + Send + Sync>,
        start: *const P,
        count: usize,
    ) -> Bulk {
        Bulk { start: start.cast(), len: count * size_of::<P>(), align: align_of::<P>(), owner }
    }

    /// The bytes, in this machine's byte order.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `within` promised `len` initialised bytes for the life of the owner, and the
        // elements have no padding.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }

    /// The memory for a reader on this process: the buffer in which it arrived if nobody else has
    /// it, otherwise a copy.
    pub(crate) fn into_buffer(self) -> Result<Buffer, NoMemory> {
        let (len, align) = (self.len, self.align);
        match self.owner.downcast::<Buffer>().map(Arc::try_unwrap) {
            Ok(Ok(buffer)) => Ok(buffer),
            Ok(Err(shared)) => Bulk::of_buffer(shared).copied(),
            Err(owner) => Bulk { start: self.start, len, align, owner }.copied(),
        }
    }

    fn copied(&self) -> Result<Buffer, NoMemory> {
        Buffer::copy_of(self.bytes(), self.align)
    }

    /// Bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The alignment that the receiver's memory gets; a power of two, at most 64.
    pub(crate) fn align(&self) -> usize {
        self.align
    }
}

impl fmt::Debug for Bulk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bulk({} bytes)", self.len)
    }
}

/// Why there is no memory for a bulk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoMemory {
    #[error("alignment {0} is not a power of two up to {MAX_ALIGN}")]
    Alignment(usize),
    #[error("this process cannot get {0} bytes of memory")]
    Refused(usize),
}

/// Why a buffer cannot become the vector that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misfit {
    #[error("{filled} of {len} bytes have arrived")]
    Unfilled { filled: usize, len: usize },
    #[error("{len} bytes aligned to {align} are no elements of {size} bytes aligned to {wanted}")]
    Elements { len: usize, align: usize, size: usize, wanted: usize },
}

/// Memory of a fixed length and alignment that is filled from its start, and then becomes a
/// vector without a copy.
pub(crate) struct Buffer {
    start: NonNull<u8>,
    len: usize,
    align: usize,
    /// The first so many bytes are initialised.
    filled: usize,
}

// SAFETY: the buffer owns its memory alone.
unsafe impl Send for Buffer {}
// SAFETY: through a shared reference the bytes are only read.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Takes memory for `len` bytes, of which no page is touched yet.
    pub(crate) fn new(len: usize, align: usize) -> Result<Buffer, NoMemory> {
        if !align.is_power_of_two() || align > MAX_ALIGN {
            return Err(NoMemory::Alignment(align));
        }
        let layout = Layout::from_size_align(len, align).map_err(|_| NoMemory::Refused(len))?;
        let start = if len == 0 {
            NonNull::without_provenance(align.try_into().unwrap_or(std::num::NonZero::<usize>::MIN))
        } else {
            // SAFETY: the layout's size is not zero.
            NonNull::new(unsafe { alloc(layout) }).ok_or(NoMemory::Refused(len))?
        };
        if len >= HUGE {
            ask_for_huge_pages(start, len);
        }
        Ok(Buffer { start, len, align, filled: 0 })
    }

    /// A full buffer with a copy of these bytes.
    pub(crate) fn copy_of(bytes: &[u8], align: usize) -> Result<Buffer, NoMemory> {
        let mut buffer = Buffer::new(bytes.len(), align)?;
        buffer.fill(bytes);
        Ok(buffer)
    }

    /// Bytes, filled or not.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes still to come.
    pub(crate) fn missing(&self) -> usize {
        self.len - self.filled
    }

    /// What has arrived.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the first `filled` bytes are initialised and owned.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.filled) }
    }

    /// Appends as many of the bytes as there is room for; how many that were.
    pub(crate) fn fill(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.missing());
        self.rest()[..count].write_copy_of_slice(&bytes[..count]);
        self.filled += count;
        count
    }

    /// The part not yet filled.
    pub(crate) fn rest(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: `filled <= len`, the memory is owned, and `MaybeUninit` may be uninitialised.
        unsafe {
            let first = self.start.as_ptr().add(self.filled).cast();
            std::slice::from_raw_parts_mut(first, self.len - self.filled)
        }
    }

    /// Counts the next `count` bytes as filled.
    ///
    /// # Safety
    ///
    /// The first `count` bytes of [`Buffer::rest`] have been written.
    pub(crate) unsafe fn advance(&mut self, count: usize) {
        debug_assert!(count <= self.missing());
        self.filled += count;
    }

    /// The elements, in the very memory that they arrived in. `P` must have the buffer's alignment,
    /// and the length must be a multiple of its size.
    pub(crate) fn into_vec<P: Plain>(self) -> Result<Vec<P>, Misfit> {
        let (len, align, filled) = (self.len, self.align, self.filled);
        if filled != len {
            return Err(Misfit::Unfilled { filled, len });
        }
        let (size, wanted) = (size_of::<P>(), align_of::<P>());
        if align != wanted || !len.is_multiple_of(size) {
            return Err(Misfit::Elements { len, align, size, wanted });
        }
        let this = ManuallyDrop::new(self);
        let count = len / size;
        // SAFETY: the memory comes from the global allocator with the layout of `count` elements
        // of `P` (checked above; a vector of capacity 0 frees nothing), all bytes are initialised,
        // and any bytes are elements of a `Plain` type.
        Ok(unsafe { Vec::from_raw_parts(this.start.as_ptr().cast(), count, count) })
    }
}

/// Has the system back the memory with huge pages, where it has them; a wish, not a need.
fn ask_for_huge_pages(start: NonNull<u8>, len: usize) {
    let page = rustix::param::page_size();
    let skipped = start.as_ptr().align_offset(page);
    let whole = len.saturating_sub(skipped) / page * page;
    // SAFETY: the range lies inside memory just allocated, and the advice changes no bytes.
    let advised = unsafe {
        let first = start.as_ptr().wrapping_add(skipped).cast();
        rustix::mm::madvise(first, whole, rustix::mm::Advice::LinuxHugepage)
    };
    advised.unwrap_or(());
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: `new` allocated with exactly this layout, which was valid there.
            unsafe {
                let layout = Layout::from_size_align_unchecked(self.len, self.align);
                dealloc(self.start.as_ptr(), layout);
            }
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} of {} bytes)", self.filled, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bulk_becomes_the_same_elements_again() {
        let elements = Arc::new(vec![Complex::new(1.0_f64, 2.0); 5]);
        let bulk = Bulk::of(Arc::clone(&elements));
        assert_eq!((bulk.len(), bulk.align()), (80, 8));
        let buffer = Buffer::copy_of(bulk.bytes(), bulk.align()).unwrap();
        let address = buffer.bytes().as_ptr();
        let vector = buffer.into_vec::<Complex<f64>>().unwrap();
        assert_eq!((vector.as_ptr().cast(), &vector), (address, &*elements));
    }

    #[test]
    fn memory_is_kept_as_long_as_a_bulk_needs_it() {
        let owner = Arc::new(vec![7_u32; 3]);
        let bulk = Bulk::of(Arc::clone(&owner));
        assert_eq!(Arc::strong_count(&owner), 2);
        let second = bulk.clone();
        drop(bulk);
        assert_eq!(second.bytes(), bytes_of(&[7_u32; 3]));
        drop(second);
        assert_eq!(Arc::strong_count(&owner), 1);
    }

    #[test]
    fn a_buffer_becomes_only_what_it_is() {
        let misfit = |wanted, size| Misfit::Elements { len: 12, align: 4, size, wanted };
        let buffer = || Buffer::copy_of(&[1; 12], 4).unwrap();
        assert_eq!(buffer().into_vec::<u8>().unwrap_err(), misfit(1, 1));
        assert_eq!(buffer().into_vec::<f64>().unwrap_err(), misfit(8, 8));
        assert_eq!(buffer().into_vec::<Complex<f32>>().unwrap_err(), misfit(4, 8));
        assert_eq!(buffer().into_vec::<u32>().unwrap().len(), 3);
        let mut half = Buffer::new(12, 4).unwrap();
        assert_eq!(half.fill(&[1; 7]), 7);
        let unfilled = Misfit::Unfilled { filled: 7, len: 12 };
        assert_eq!(half.into_vec::<u32>().unwrap_err(), unfilled);
    }

    #[test]
    fn empty_and_overfull_buffers() {
        assert!(Buffer::new(0, 8).unwrap().into_vec::<f64>().unwrap().is_empty());
        assert!(Buffer::new(0, 64).unwrap().bytes().is_empty());
        let mut buffer = Buffer::new(2, 1).unwrap();
        assert_eq!((buffer.fill(b"abc"), buffer.fill(b"d")), (2, 0));
        assert_eq!(buffer.into_vec::<u8>().unwrap(), b"ab");
    }

    #[test]
    fn alignments_and_sizes_are_checked() {
        for align in [0, 3, 128] {
            assert_eq!(Buffer::new(8, align).unwrap_err(), NoMemory::Alignment(align));
        }
        for len in [usize::MAX, 1 << 60] {
            assert_eq!(Buffer::new(len, 8).unwrap_err(), NoMemory::Refused(len));
        }
        for align in [1, 2, 4, 8, 16, 32, 64] {
            let buffer = Buffer::new(1, align).unwrap();
            assert!(buffer.start.as_ptr().addr().is_multiple_of(align));
        }
    }

    #[test]
    fn memory_with_huge_pages_is_memory() {
        let mut buffer = Buffer::new(HUGE + 3, 1).unwrap();
        while buffer.missing() > 0 {
            buffer.fill(&[5; 100_000]);
        }
        assert!(buffer.into_vec::<u8>().unwrap().iter().all(|&byte| byte == 5));
    }
}
