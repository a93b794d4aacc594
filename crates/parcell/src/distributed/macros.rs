//! The macros that users call. They hand their tokens to the procedural macros, which find what is
//! captured.

/// Starts an expression on another process and returns its
/// [`RemoteFuture`](crate::distributed::RemoteFuture) at once.
#[macro_export]
macro_rules! spawn_at {
    (any, $expression:expr $(,)?) => {
        $crate::distributed::rt::spawn_at(
            $crate::distributed::rt::Target::Any,
            $crate::distributed::macros_of::expression!($expression),
        )
    };
    ($target:expr, $expression:expr $(,)?) => {
        $crate::distributed::rt::spawn_at(
            $target,
            $crate::distributed::macros_of::expression!($expression),
        )
    };
}

/// Runs an expression on another process, waits and returns its value.
#[macro_export]
macro_rules! fetch_from {
    (any, $expression:expr $(,)?) => {
        $crate::distributed::rt::fetch_from(
            $crate::distributed::rt::Target::Any,
            $crate::distributed::macros_of::expression!($expression),
        )
    };
    ($target:expr, $expression:expr $(,)?) => {
        $crate::distributed::rt::fetch_from(
            $target,
            $crate::distributed::macros_of::expression!($expression),
        )
    };
}

/// Runs an expression on every process, this one included, and returns the values in order.
#[macro_export]
macro_rules! everywhere {
    ($expression:expr $(,)?) => {
        $crate::distributed::rt::everywhere($crate::distributed::macros_of::expression!(
            $expression
        ))
    };
    ($processes:expr, $expression:expr $(,)?) => {
        $crate::distributed::rt::everywhere_on(
            $processes,
            $crate::distributed::macros_of::expression!($expression),
        )
    };
}

/// Makes a function that can be called on any process.
#[macro_export]
macro_rules! remote {
    ($($function:tt)*) => { $crate::distributed::macros_of::remote!($($function)*) };
}

/// Runs the iterations of a loop on all workers.
#[macro_export]
macro_rules! distributed {
    ($($tokens:tt)*) => { $crate::distributed::macros_of::distributed!($($tokens)*) };
}
