//! rayon's global pool, which serves threads outside the cells' pool. It starts at its first use,
//! and `RAYON_NUM_THREADS` is the only thing it asks then; this file sets that variable and
//! remembers what the user had there.

use std::env;
use std::sync::{Mutex, PoisonError};

const VARIABLE: &str = "RAYON_NUM_THREADS";

struct Ours {
    value: String,
    users: Option<String>,
}

static OURS: Mutex<Option<Ours>> = Mutex::new(None);

/// Lets the global pool, if it has not started yet, have `n` threads once it does.
pub(super) fn prefer(n: usize) {
    let users = users_value();
    let value = n.to_string();
    // SAFETY: called when a pool is attached, between cells. Rust's own accessors take a lock; a
    // thread that a cell left behind and that reads the environment through libc at this very
    // moment is the remaining risk, as with `%env`.
    unsafe { env::set_var(VARIABLE, &value) };
    *OURS.lock().unwrap_or_else(PoisonError::into_inner) = Some(Ours { value, users });
}

/// `RAYON_NUM_THREADS` as the user set it.
pub(super) fn users_value() -> Option<String> {
    let now = env::var(VARIABLE).ok();
    match &*OURS.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(ours) if now.as_ref() == Some(&ours.value) => ours.users.clone(),
        _ => now,
    }
}
