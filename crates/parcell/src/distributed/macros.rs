//! The macros that users call. They hand their tokens to the procedural macros, which find what is
//! captured.
//!
//! Expressions are taken as a whole, so that rustc can show all of one that is wrong.

/// Starts an expression on another process and returns its
/// [`RemoteFuture`](crate::distributed::RemoteFuture) at once.
///
/// `spawn_at!(2, expr)` runs it on process 2, `spawn_at!(any, expr)` on the worker that has least to
/// do, `spawn_at!(&pool, expr)` on a worker of a pool. The target is evaluated first.
///
/// # What is captured
/// Each variable that the expression uses is copied to the other process, as it is now; changes to
/// the copy are not seen here. A variable's type must be `Portable`, that is serde's `Serialize` and
/// `Deserialize`, and own what it holds. It is written from where it is, without being cloned.
///
/// Functions are not captured: functions, closures that keep no values of their surroundings,
/// constants, statics and types are known to every process. Names are told apart by how they stand:
/// a name with a small letter is a variable, unless it is called, `f(x)`, or is handed to a method
/// that takes functions, `.map(f)`; one with a capital is a constant, a static or a variant. Within
/// a macro's call, variables are found if its tokens look like arguments or statements.
/// `self` cannot be captured: bind what is needed of it first.
///
/// The expression is the body of a closure: `?` and `return` leave it, with its value.
///
/// # Errors
/// What cannot be sent is a compile error at the variable, which says what to do.
///
/// ```no_run
/// use parcell::prelude::*;
///
/// let n = 1000_u64;
/// let sum = spawn_at!(2, (1..=n).sum::<u64>());
/// let squares = spawn_at!(any, (1..=n).map(|i| i * i).sum::<u64>());
/// assert_eq!((sum.fetch(), squares.fetch()), (500_500, 333_833_500));
/// ```
///
/// A reference belongs to this process, so it cannot be captured; a value of one's own can:
///
/// ```compile_fail,E0277
/// use parcell::prelude::*;
///
/// let name = "a name";
/// fetch_from!(2, name.len());
/// ```
///
/// # Source
/// `@spawnat`, julia, `Distributed/src/macros.jl`. There globals are captured, too, and stay behind.
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

/// Runs an expression on another process, waits for it and returns its value.
///
/// Targets and captures are those of [`spawn_at!`](crate::spawn_at); one round trip.
///
/// # Panics
/// If the expression panics there, or the process ends, with what happened.
///
/// ```no_run
/// use parcell::prelude::*;
///
/// let pid = fetch_from!(2, std::process::id());
/// assert_ne!(pid, std::process::id());
/// ```
///
/// # Source
/// `@fetchfrom`, julia, `Distributed/src/macros.jl`.
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

/// Runs an expression on every process, this one included, waits, and returns the values in the
/// order of the processes.
///
/// `everywhere!(&[2, 3], expr)` runs it on the processes named; a vector, as `workers()` gives it,
/// will do, too. Captures are those of [`spawn_at!`](crate::spawn_at).
///
/// # Panics
/// If the expression panics somewhere, with all that happened, after all others have ended.
///
/// ```no_run
/// use parcell::prelude::*;
///
/// let scale = 2.0;
/// let values = everywhere!(scale * f64::from(std::process::id()));
/// let two = everywhere!(&[2, 3], scale + 1.0);
/// assert_eq!(two, [3.0, 3.0]);
/// ```
///
/// # Source
/// `@everywhere`, julia, `Distributed/src/macros.jl`. There definitions are made everywhere with it;
/// here every process knows them anyhow.
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

/// Makes a function that can be called on any process: of a closure, or of a named function.
///
/// A closure of up to four arguments takes along what it uses, as [`spawn_at!`](crate::spawn_at)
/// says; the copies belong to the function and cannot be changed by its calls.
///
/// ```
/// use parcell::prelude::*;
///
/// let factor = 3.0;
/// let scale = remote!(|x: f64| x * factor);
/// assert_eq!(scale.call((2.0,)), 6.0);
/// assert_eq!(remote!(f64::sqrt).call((9.0,)), 3.0);
/// ```
///
/// # Source
/// `remote`, julia, `Distributed/src/remotecall.jl`.
#[macro_export]
macro_rules! remote {
    ($($function:tt)*) => { $crate::distributed::macros_of::remote!($($function)*) };
}

/// Deals the iterations of a loop to all workers.
///
/// `distributed!(+, for i in 0..n { expr })` waits and returns all values of the body combined: by
/// one of `+ * & | ^ && ||`, by `max` or `min`, or by any function or closure of two values, which
/// must be associative, and need not be commutative: the order of the iterations is kept.
///
/// Before the loop there may be options, in any order: `schedule = Schedule::Dynamic`, `chunk = n`,
/// `pool = &pool`, and with an operator `init = value`, which is combined with the result, first,
/// and is the result of an empty loop. The items and the options are evaluated here, once. What
/// the body and the operator use is captured as [`spawn_at!`](crate::spawn_at) says; each worker has
/// a copy, which cannot be changed. The body is that of a closure, which `return` leaves.
///
/// ```no_run
/// use parcell::prelude::*;
///
/// let terms = 1_000_000;
/// let sum = distributed!(+, for k in 0..terms {
///     let sign = if k % 2 == 0 { 4.0 } else { -4.0 };
///     sign / (2 * k + 1) as f64
/// });
/// assert!((sum - std::f64::consts::PI).abs() < 1e-5);
/// ```
///
/// # Source
/// `@distributed`, julia, `Distributed/src/macros.jl`.
#[macro_export]
macro_rules! distributed {
    ($($tokens:tt)*) => { $crate::distributed::macros_of::distributed!($($tokens)*) };
}
