//! Where a notebook's variables live between cells. Cells are separate modules; what one binds at
//! its top level is put here and the next takes it out, by value, so that moves and drops are
//! decided by rustc inside each cell.
//!
//! # Invariants
//! 1. A slot's pointer comes from `Box::into_raw` of a value whose `type_name`, size and alignment
//!    the slot records. Modules are never unloaded, so `drop` stays callable.
//! 2. Only the cell's thread, which runs one cell at a time, reaches the store. When the driver
//!    moves to a fresh cell thread, the old one has ended.

use std::alloc::Layout;
use std::any::type_name;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

struct Slot {
    value: *mut u8,
    layout: Layout,
    type_name: &'static str,
    drop: unsafe fn(*mut u8),
}

// SAFETY: invariant 2: values that are not `Send` are only touched by the one cell thread.
unsafe impl Send for Slot {}

static SLOTS: LazyLock<Mutex<HashMap<String, Slot>>> = LazyLock::new(Mutex::default);

fn slots() -> std::sync::MutexGuard<'static, HashMap<String, Slot>> {
    SLOTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The id of this process: its variables are told by it. 1 is the driver.
static PROCESS: AtomicU32 = AtomicU32::new(1);

/// Says that this process is worker `id`, so that missing variables are explained accordingly.
pub(crate) fn belong_to(id: u32) {
    PROCESS.store(id, Ordering::Relaxed);
}

/// Why a variable that a cell takes is not there.
fn missing(name: &str, process: u32) -> String {
    match process {
        0 | 1 => {
            format!("variable `{name}` is not there any more: run the cell that defines it again")
        }
        id => format!(
            "variable `{name}` is not on worker {id}: the cell that defines it ran before this \
             worker was started, or on other processes only; run that cell again"
        ),
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // SAFETY: invariant 1; `take` forgets the slot, so the value is still there.
        unsafe { (self.drop)(self.value) }
    }
}

/// # Safety
/// `value` comes from `Box::<T>::into_raw` and is not used again.
unsafe fn drop_boxed<T>(value: *mut u8) {
    // SAFETY: the caller's promise.
    drop(unsafe { Box::from_raw(value.cast::<T>()) });
}

/// Keeps a value under a name; an earlier one of that name is dropped.
pub fn put<T: 'static>(name: &str, value: T) {
    insert(
        name,
        Slot {
            value: Box::into_raw(Box::new(value)).cast(),
            layout: Layout::new::<T>(),
            type_name: type_name::<T>(),
            drop: drop_boxed::<T>,
        },
    );
}

/// Not generic, so that it is compiled here once and not in every cell.
#[inline(never)]
fn insert(name: &str, slot: Slot) {
    let earlier = slots().insert(name.to_owned(), slot);
    drop(earlier);
}

/// Takes a variable out of the store.
///
/// # Panics
/// If there is none of that name, or its recorded type, size or alignment differ from `T`'s.
///
/// # Safety
/// `T` is the type under which the variable was put: the same type, or the same definition
/// compiled again by the same compiler with the same flags.
pub unsafe fn take<T>(name: &str) -> T {
    let value = remove(name, Layout::new::<T>(), type_name::<T>()).cast::<T>();
    // SAFETY: invariant 1 and the caller's promise; `remove` gave up the slot, so this is the owner.
    *unsafe { Box::from_raw(value) }
}

/// Takes a slot's value out of it. Not generic, see [`insert`].
#[inline(never)]
fn remove(name: &str, layout: Layout, type_name: &'static str) -> *mut u8 {
    let mut all = slots();
    let Some(slot) = all.get(name) else {
        drop(all);
        panic!("{}", missing(name, PROCESS.load(Ordering::Relaxed)));
    };
    if slot.layout != layout || slot.type_name != type_name {
        let kept = slot.type_name;
        drop(all);
        panic!("variable `{name}` was kept as `{kept}`, but this cell wants `{type_name}`");
    }
    let slot = all.remove(name).expect("found just above, under the same lock");
    let value = slot.value;
    std::mem::forget(slot);
    value
}

/// Drops variables; names that do not exist are skipped.
pub fn forget(names: &[String]) {
    let dropped: Vec<Slot> = names.iter().filter_map(|n| slots().remove(n)).collect();
    drop(dropped);
}

/// The names of all variables, sorted.
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = slots().keys().cloned().collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn a_value_comes_back_and_is_dropped_once() {
        let value = Rc::new(5);
        put("store_rc", Rc::clone(&value));
        assert_eq!(Rc::strong_count(&value), 2);
        // SAFETY: put as `Rc<i32>` just above.
        let back: Rc<i32> = unsafe { take("store_rc") };
        drop(back);
        assert_eq!(Rc::strong_count(&value), 1);
        put("store_rc", Rc::clone(&value));
        put("store_rc", 3_u8);
        assert_eq!(Rc::strong_count(&value), 1, "replaced values are dropped");
        forget(&["store_rc".to_owned(), "never".to_owned()]);
    }

    #[test]
    fn what_is_missing_on_a_worker_is_told_with_its_id() {
        assert!(missing("x", 1).contains("`x` is not there any more"));
        assert!(missing("x", 4).contains("`x` is not on worker 4"));
    }

    #[test]
    fn another_type_is_refused_and_the_value_stays() {
        put("store_text", String::from("kept"));
        // SAFETY: refused before anything is read.
        let wrong = std::panic::catch_unwind(|| unsafe { take::<u64>("store_text") });
        assert!(wrong.is_err());
        // SAFETY: put as `String` above.
        assert_eq!(unsafe { take::<String>("store_text") }, "kept");
    }
}
