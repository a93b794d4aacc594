//! Scratch space: a value for each thread that needs one, or for each task.
//!
//! A buffer indexed by `threadid()` is wrong as soon as two tasks share a thread. Here a value
//! belongs to who uses it, for as long as it is used.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use thread_local::ThreadLocal;

use super::crew;

/// A value for each thread that works at a time: accumulators, buffers.
///
/// [`with`](PerThread::with) lends a value to one piece of code at a time, on whatever thread and
/// also if rayon puts another piece on the same thread meanwhile. There are seldom more values than
/// threads. Replaces Julia's buffers of length `nthreads()`, and is right where they are not.
///
/// ```
/// use parcell::prelude::*;
/// use parcell::threads::PerThread;
///
/// let counts = PerThread::new(|| vec![0_u64; 3]);
/// (0..3000_usize).into_par_iter().for_each(|i| counts.with(|count| count[i % 3] += 1));
/// let total = counts.into_iter().reduce(|a, b| a.iter().zip(b).map(|(x, y)| x + y).collect());
/// assert_eq!(total.unwrap(), [1000, 1000, 1000]);
/// ```
pub struct PerThread<T: Send> {
    make: Box<dyn Fn() -> T + Send + Sync>,
    /// What is not lent now, by the thread that used it last.
    free: ThreadLocal<Mutex<Vec<T>>>,
}

impl<T: Send> PerThread<T> {
    /// Values are made by the closure when a thread needs its first.
    ///
    /// ```
    /// let buffers = parcell::threads::PerThread::new(|| vec![0.0; 1000]);
    /// assert_eq!(buffers.with(|buffer| buffer.len()), 1000);
    /// ```
    pub fn new(make: impl Fn() -> T + Send + Sync + 'static) -> PerThread<T> {
        PerThread { make: Box::new(make), free: ThreadLocal::new() }
    }

    /// Lends a value to the closure, and to nobody else meanwhile: this thread's own, or a new one
    /// if that is lent already. Takes some 20 ns. A panic of the closure leaves the value as it is.
    ///
    /// ```
    /// let sums = parcell::threads::PerThread::new(|| 0);
    /// sums.with(|sum| *sum += 7);
    /// assert_eq!(sums.into_iter().sum::<i32>(), 7);
    /// ```
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let free = self.free.get_or_default();
        let own = free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut loan = Loan { value: Some(own.unwrap_or_else(&self.make)), home: free };
        work(loan.value.as_mut().expect("only `drop` empties it"))
    }

    /// All values, in no order.
    ///
    /// ```
    /// let mut sums = parcell::threads::PerThread::new(|| 0);
    /// sums.with(|sum| *sum += 7);
    /// assert_eq!(sums.iter_mut().map(|sum| *sum).sum::<i32>(), 7);
    /// ```
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.free.iter_mut().flat_map(|f| f.get_mut().unwrap_or_else(PoisonError::into_inner))
    }

    /// All values folded into one by an associative and commutative function; `None` if none was
    /// made.
    ///
    /// ```
    /// let sums = parcell::threads::PerThread::new(|| 0);
    /// sums.with(|sum| *sum += 7);
    /// assert_eq!(sums.combine(|a, b| a + b), Some(7));
    /// ```
    pub fn combine(self, op: impl FnMut(T, T) -> T) -> Option<T> {
        self.into_iter().reduce(op)
    }
}

/// All values, in no order.
impl<T: Send> IntoIterator for PerThread<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> std::vec::IntoIter<T> {
        let values = self.free.into_iter();
        let values = values.flat_map(|f| f.into_inner().unwrap_or_else(PoisonError::into_inner));
        values.collect::<Vec<_>>().into_iter()
    }
}

impl<T: Send> fmt::Debug for PerThread<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerThread").finish_non_exhaustive()
    }
}

/// A value on loan, which goes home also when its user panics.
struct Loan<'a, T> {
    value: Option<T>,
    home: &'a Mutex<Vec<T>>,
}

impl<T> Drop for Loan<'_, T> {
    fn drop(&mut self) {
        self.home.lock().unwrap_or_else(PoisonError::into_inner).extend(self.value.take());
    }
}

/// A value of each task, made when the task first asks for it and dropped with the task. Outside
/// tasks it belongs to the thread.
///
/// A task sees its own value from first to last, whatever other tasks its thread runs while it
/// waits. Work that a task gives to rayon may run on other threads: it does not see the task's
/// values. Follows Julia's `task_local_storage`.
///
/// ```
/// use parcell::prelude::*;
/// use parcell::threads::TaskLocal;
/// use std::sync::Arc;
///
/// let steps = Arc::new(TaskLocal::new(|| 0));
/// let count = {
///     let steps = steps.clone();
///     move || {
///         steps.with(|n| *n += 1);
///         steps.with(|n| *n += 1);
///         steps.with(|n| *n)
///     }
/// };
/// assert_eq!((spawn(count.clone()).fetch(), spawn(count).fetch()), (2, 2));
/// ```
pub struct TaskLocal<T> {
    key: usize,
    make: Box<dyn Fn() -> T + Send + Sync>,
    values: PhantomData<fn() -> T>,
}

impl<T: 'static> TaskLocal<T> {
    /// Values are made by the closure when a task asks for its own.
    ///
    /// ```
    /// assert_eq!(parcell::threads::TaskLocal::new(|| 7).with(|n| *n), 7);
    /// ```
    pub fn new(make: impl Fn() -> T + Send + Sync + 'static) -> TaskLocal<T> {
        static KEYS: AtomicUsize = AtomicUsize::new(0);
        let key = KEYS.fetch_add(1, Ordering::Relaxed);
        TaskLocal { key, make: Box::new(make), values: PhantomData }
    }

    /// Lends the current task's value to the closure. A call from inside the closure finds a new
    /// value, which is dropped at the end of that call. A panic of the closure drops the value.
    ///
    /// ```
    /// let depth = parcell::threads::TaskLocal::new(|| 0);
    /// depth.with(|d| *d += 1);
    /// assert_eq!(depth.with(|d| *d), 1);
    /// ```
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let own = crew::take_local(self.key).and_then(|value| value.downcast::<T>().ok());
        let mut value = own.unwrap_or_else(|| Box::new((self.make)()));
        let result = work(&mut value);
        drop(crew::put_local(self.key, value));
        result
    }
}

impl<T> fmt::Debug for TaskLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskLocal").field("key", &self.key).finish_non_exhaustive()
    }
}
