//! How often a piece of code asks for memory, as Julia's `@btime` tells.
//!
//! With the feature `count-allocations`, which the cell library has, this library defines the C
//! library's allocation functions and passes each call on. So all of the process is counted: all
//! threads, and C code too. Outside of a measurement the cost is one load of a flag per call.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Memory that was asked for, whether or not it was given back since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Allocations {
    /// How many times.
    pub count: u64,
    /// How many bytes in all.
    pub bytes: u64,
}

static COUNTING: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
/// There is one set of counters.
static IN_USE: Mutex<()> = Mutex::new(());

/// Stops counting also when the counted code unwinds.
struct Count;

impl Drop for Count {
    fn drop(&mut self) {
        COUNTING.store(false, Ordering::Relaxed);
    }
}

/// Runs the code and counts what the process allocates meanwhile; `None` where that cannot be
/// known: in a program that was built without the feature, and inside another count.
pub(crate) fn count<T>(code: impl FnOnce() -> T) -> (T, Option<Allocations>) {
    let alone = match IN_USE.try_lock() {
        Ok(guard) => guard,
        Err(std::sync::TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
        Err(std::sync::TryLockError::WouldBlock) => return (code(), None),
    };
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let before = (load(&COUNT), load(&BYTES));
    COUNTING.store(true, Ordering::Relaxed);
    let counting = Count;
    let value = code();
    drop(counting);
    let found = Allocations { count: load(&COUNT) - before.0, bytes: load(&BYTES) - before.1 };
    drop(alone);
    (value, cfg!(feature = "count-allocations").then_some(found))
}

#[cfg(all(feature = "count-allocations", target_os = "linux", target_env = "gnu"))]
mod hooks {
    //! Definitions that come before the C library's: the loader takes a program's first one.

    use std::ffi::{c_int, c_void};
    use std::sync::atomic::Ordering;

    use super::{BYTES, COUNT, COUNTING};

    // SAFETY: glibc exports these beside the standard names, with the same signatures, for
    // programs that replace the standard ones.
    unsafe extern "C" {
        fn __libc_malloc(size: usize) -> *mut c_void;
        fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
        fn __libc_realloc(old: *mut c_void, size: usize) -> *mut c_void;
        fn __libc_memalign(align: usize, size: usize) -> *mut c_void;
    }

    /// Touches atomics alone: it is called before a thread has anything else.
    #[inline]
    fn note(size: usize) {
        if COUNTING.load(Ordering::Relaxed) {
            COUNT.fetch_add(1, Ordering::Relaxed);
            BYTES.fetch_add(size as u64, Ordering::Relaxed);
        }
    }

    // SAFETY (of all below): each passes its arguments on unchanged to glibc's own function, so
    // its contract is glibc's, and the pointers may be given to glibc's `free`.

    #[unsafe(no_mangle)]
    unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
        note(size);
        unsafe { __libc_malloc(size) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
        note(count.saturating_mul(size));
        unsafe { __libc_calloc(count, size) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn realloc(old: *mut c_void, size: usize) -> *mut c_void {
        note(size);
        unsafe { __libc_realloc(old, size) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memalign(align: usize, size: usize) -> *mut c_void {
        note(size);
        unsafe { __libc_memalign(align, size) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
        note(size);
        unsafe { __libc_memalign(align, size) }
    }

    /// POSIX.1-2017, `posix_memalign`: the alignment is a power of two times a pointer's size.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, align: usize, size: usize) -> c_int {
        if !align.is_power_of_two() || !align.is_multiple_of(size_of::<*const ()>()) {
            return libc::EINVAL;
        }
        note(size);
        let memory = unsafe { __libc_memalign(align, size) };
        if memory.is_null() {
            return libc::ENOMEM;
        }
        unsafe { *out = memory };
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_counted_is_not_told() {
        let (value, found) = count(|| vec![1, 2, 3]);
        assert_eq!((value, found), (vec![1, 2, 3], None));
        assert!(!COUNTING.load(Ordering::Relaxed));
    }
}
