//! Several futures at once: to have all values, to wait for all, to wait for the first.

use std::sync::Arc;
use std::task::{Wake, Waker};

use super::error::{CompositeError, RemoteError, raise_all};
use super::future::RemoteFuture;
use super::portable::Portable;
use crate::threads::Monitor;

/// The values of all futures, in their order. Blocks until all calls have ended, also if some
/// failed: no call that is waited for runs on after this.
///
/// # Panics
/// With [`RemoteError`] if one of the calls failed, with [`CompositeError`] if several did. Unwinds
/// soon after an interrupt.
///
/// ```no_run
/// use parcell::distributed::fetch_all;
/// use parcell::prelude::*;
///
/// let squares: Vec<_> = (0..4).map(|n| spawn_at!(any, n * n)).collect();
/// assert_eq!(fetch_all(&squares), [0, 1, 4, 9]);
/// ```
///
/// # Source
/// `fetch.(futures)` and `@sync`, Julia.
#[track_caller]
pub fn fetch_all<'a, T: Portable + Clone>(
    futures: impl IntoIterator<Item = &'a RemoteFuture<T>>,
) -> Vec<T> {
    match try_fetch_all(futures) {
        Ok(values) => values,
        Err(CompositeError { errors }) => raise_all(errors),
    }
}

/// As [`fetch_all`].
///
/// # Errors
/// [`CompositeError`] with what failed, in the order of the futures.
pub fn try_fetch_all<'a, T: Portable + Clone>(
    futures: impl IntoIterator<Item = &'a RemoteFuture<T>>,
) -> Result<Vec<T>, CompositeError> {
    let futures: Vec<&RemoteFuture<T>> = futures.into_iter().collect();
    // The first is awaited while the others are told of, too.
    futures.iter().for_each(|future| future.listen());
    all(futures.iter().map(|future| future.try_fetch()))
}

/// Blocks until all calls have ended, also if some failed. The values stay where they are.
///
/// # Panics
/// As [`fetch_all`].
///
/// ```no_run
/// use parcell::distributed::wait_all;
/// use parcell::prelude::*;
///
/// let written: Vec<_> = workers().iter().map(|id| spawn_at!(id, println!("ready"))).collect();
/// wait_all(&written);
/// ```
///
/// # Source
/// `@sync`, Julia.
#[track_caller]
pub fn wait_all<'a, T: Portable>(futures: impl IntoIterator<Item = &'a RemoteFuture<T>>) {
    if let Err(CompositeError { errors }) = try_wait_all(futures) {
        raise_all(errors);
    }
}

/// As [`wait_all`].
///
/// # Errors
/// As [`try_fetch_all`].
pub fn try_wait_all<'a, T: Portable>(
    futures: impl IntoIterator<Item = &'a RemoteFuture<T>>,
) -> Result<(), CompositeError> {
    let futures: Vec<&RemoteFuture<T>> = futures.into_iter().collect();
    futures.iter().for_each(|future| future.listen());
    all(futures.iter().map(|future| future.try_wait())).map(drop)
}

/// All values, or all errors.
fn all<T>(results: impl Iterator<Item = Result<T, RemoteError>>) -> Result<Vec<T>, CompositeError> {
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(CompositeError { errors }) }
}

/// Blocks until one of the calls has ended, however it ended; its place in the order given, from 0.
/// `None` if there are none. Costs a lock per future.
///
/// # Panics
/// Unwinds soon after an interrupt.
///
/// ```
/// use parcell::distributed::{RemoteFuture, wait_any};
///
/// let futures = [RemoteFuture::new(1), RemoteFuture::new(1)];
/// futures[1].put(10);
/// assert_eq!(wait_any(&futures), Some(1));
/// # futures[0].put(20);
/// ```
///
/// # Source
/// `waitany(tasks)`, Julia's Base.
#[must_use]
pub fn wait_any<'a, T: Portable>(
    futures: impl IntoIterator<Item = &'a RemoteFuture<T>>,
) -> Option<usize> {
    let futures: Vec<&RemoteFuture<T>> = futures.into_iter().collect();
    if futures.is_empty() {
        return None;
    }
    let bell = Arc::new(Bell(Monitor::new(())));
    let waker = Waker::from(Arc::clone(&bell));
    let _hung = Hung { futures: &futures, waker: &waker };
    for future in &futures {
        future.listen();
        future.handle().wake_later(&waker);
    }
    bell.0.wait(None, |()| futures.iter().position(|future| future.has_ended()))
}

/// Rings when one of the futures becomes known.
struct Bell(Monitor<()>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.change(|()| ());
    }
}

/// Takes the bell down again, so that a long call does not gather them.
struct Hung<'a, T> {
    futures: &'a [&'a RemoteFuture<T>],
    waker: &'a Waker,
}

impl<T> Drop for Hung<'_, T> {
    fn drop(&mut self) {
        self.futures.iter().for_each(|future| future.handle().wake_no_more(self.waker));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    #[test]
    fn all_values_come_in_the_order_of_the_futures() {
        let futures: Vec<_> = (0..10).map(|n| spawn_at!(1, n * n)).collect();
        assert_eq!(fetch_all(&futures), (0..10).map(|n| n * n).collect::<Vec<_>>());
        assert_eq!(fetch_all(&Vec::<RemoteFuture<i32>>::new()), Vec::<i32>::new());
    }

    #[test]
    fn every_failure_is_told() {
        let futures: Vec<_> = (0..4)
            .map(|n| {
                spawn_at!(1, {
                    assert!(n % 2 == 0, "{n} is odd");
                    n
                })
            })
            .collect();
        let messages = |failed: CompositeError| -> Vec<String> {
            failed.errors.iter().map(|error| error.to_string()).collect()
        };
        let told = messages(try_wait_all(&futures).unwrap_err());
        assert_eq!(told.len(), 2);
        assert!(told[0].contains("1 is odd") && told[1].contains("3 is odd"), "{told:?}");
        assert_eq!(messages(try_fetch_all(&futures).unwrap_err()), told);
        let one = std::panic::catch_unwind(|| wait_all(&futures[..2])).unwrap_err();
        assert!(one.is::<RemoteError>(), "one failure is told as itself");
        let several = std::panic::catch_unwind(|| fetch_all(&futures)).unwrap_err();
        assert!(several.is::<CompositeError>());
    }

    #[test]
    fn the_first_that_ends_is_told() {
        let futures: Vec<RemoteFuture<i32>> = (0..3).map(|_| RemoteFuture::new(1)).collect();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| wait_any(&futures));
            futures[2].put(5);
            assert_eq!(waiting.join().expect("waiting does not panic"), Some(2));
        });
        assert_eq!(wait_any(&futures[..0]), None);
        futures[0].put(1);
        assert!(wait_any(&futures).is_some_and(|first| first != 1));
    }
}
