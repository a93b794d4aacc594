//! One value of a [`WorkerLocal`](super::WorkerLocal) on its process, of a type that other modules
//! may have compiled again.
//!
//! # Invariants
//! 1. `value` comes from `Box::into_raw` of a value whose type's name, size and alignment are
//!    recorded. Modules are never unloaded, so `drop` stays callable.
//! 2. The gate lets in either one who changes the value or any number who look at it.

use std::alloc::Layout;
use std::any::type_name;
use std::thread::{self, ThreadId};

use crate::threads::Monitor;

/// A value that stays here, and who uses it.
pub(crate) struct Local {
    value: *mut u8,
    layout: Layout,
    type_name: &'static str,
    drop: unsafe fn(*mut u8),
    gate: Monitor<Gate>,
}

// SAFETY: `new` asks for a `Send` value, and `with` for a `Sync` one, before threads share it; the
// gate keeps changes apart from everything else (invariant 2).
unsafe impl Send for Local {}
// SAFETY: as above.
unsafe impl Sync for Local {}

/// Which threads use the value.
#[derive(Default)]
struct Gate {
    readers: Vec<ThreadId>,
    writer: Option<ThreadId>,
}

/// Why a value cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotUsable {
    #[error("its value here has the type `{0}`")]
    Type(&'static str),
    #[error(
        "this thread uses its value already: `with_mut` cannot be called inside of `with` or `with_mut`, nor `with` inside of `with_mut`"
    )]
    InUse,
}

/// # Safety
/// `value` comes from `Box::<T>::into_raw` and is not used again.
unsafe fn drop_boxed<T>(value: *mut u8) {
    // SAFETY: the caller's promise.
    drop(unsafe { Box::from_raw(value.cast::<T>()) });
}

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: invariant 1, and nobody uses what is dropped.
        unsafe { (self.drop)(self.value) }
    }
}

impl Local {
    pub(crate) fn new<T: Send + 'static>(value: T) -> Local {
        Local {
            value: Box::into_raw(Box::new(value)).cast(),
            layout: Layout::new::<T>(),
            type_name: type_name::<T>(),
            drop: drop_boxed::<T>,
            gate: Monitor::default(),
        }
    }

    /// Looks at the value. Blocks while somebody changes it.
    pub(crate) fn with<T: Sync + 'static, R>(
        &self,
        look: impl FnOnce(&T) -> R,
    ) -> Result<R, NotUsable> {
        self.check(Layout::new::<T>(), type_name::<T>())?;
        let _inside = self.enter_to_look()?;
        // SAFETY: invariant 1, the type is the same or the same definition compiled again (`check`),
        // and while `_inside` lives nobody changes the value.
        Ok(look(unsafe { &*self.value.cast::<T>() }))
    }

    /// Changes the value. Blocks while somebody else uses it.
    pub(crate) fn with_mut<T: 'static, R>(
        &self,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, NotUsable> {
        self.check(Layout::new::<T>(), type_name::<T>())?;
        let _inside = self.enter_to_change()?;
        // SAFETY: as in `with`; while `_inside` lives nobody else uses the value.
        Ok(change(unsafe { &mut *self.value.cast::<T>() }))
    }

    fn check(&self, layout: Layout, type_name: &'static str) -> Result<(), NotUsable> {
        let same = self.layout == layout && self.type_name == type_name;
        if same { Ok(()) } else { Err(NotUsable::Type(self.type_name)) }
    }

    fn enter_to_look(&self) -> Result<Inside<'_>, NotUsable> {
        let me = thread::current().id();
        let enter = |gate: &mut Gate| match gate.writer {
            Some(writer) => (writer == me).then_some(Err(NotUsable::InUse)),
            None => {
                gate.readers.push(me);
                Some(Ok(()))
            }
        };
        self.enter(me, enter)
    }

    fn enter_to_change(&self) -> Result<Inside<'_>, NotUsable> {
        let me = thread::current().id();
        let enter = |gate: &mut Gate| {
            if gate.writer == Some(me) || gate.readers.contains(&me) {
                return Some(Err(NotUsable::InUse));
            }
            let free = gate.writer.is_none() && gate.readers.is_empty();
            free.then(|| {
                gate.writer = Some(me);
                Ok(())
            })
        };
        self.enter(me, enter)
    }

    /// Waits until the gate opens, or tells why it will not.
    fn enter(
        &self,
        me: ThreadId,
        enter: impl FnMut(&mut Gate) -> Option<Result<(), NotUsable>>,
    ) -> Result<Inside<'_>, NotUsable> {
        let entered = self.gate.wait(None, enter);
        entered.expect("without a deadline a wait ends with success")?;
        Ok(Inside { gate: &self.gate, me })
    }
}

/// While this lives, the thread may use the value.
struct Inside<'a> {
    gate: &'a Monitor<Gate>,
    me: ThreadId,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.gate.change(|gate| {
            if gate.writer.take().is_none()
                && let Some(at) = gate.readers.iter().position(|reader| *reader == self.me)
            {
                gate.readers.swap_remove(at);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;

    #[test]
    fn a_value_is_looked_at_changed_and_dropped_once() {
        let value = Arc::new(5);
        let local = Local::new((Arc::clone(&value), 0));
        local.with_mut(|pair: &mut (Arc<i32>, i32)| pair.1 = 7).unwrap();
        assert_eq!(local.with(|pair: &(Arc<i32>, i32)| *pair.0 + pair.1), Ok(12));
        drop(local);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn another_type_is_refused() {
        let local = Local::new(5_u32);
        assert_eq!(local.with(|_: &i32| ()), Err(NotUsable::Type("u32")));
    }

    #[test]
    fn recursion_is_an_error_and_looking_twice_is_not() {
        let local = Local::new(1);
        let again = |_: &mut i32| (local.with(|_: &i32| ()), local.with_mut(|_: &mut i32| ()));
        assert_eq!(local.with_mut(again), Ok((Err(NotUsable::InUse), Err(NotUsable::InUse))));
        let again = |_: &i32| (local.with(|x: &i32| *x), local.with_mut(|x: &mut i32| *x));
        assert_eq!(local.with(again), Ok((Ok(1), Err(NotUsable::InUse))));
        assert_eq!(local.with_mut(|x: &mut i32| *x), Ok(1), "the gate is open again");
    }

    #[test]
    fn a_panic_leaves_the_value_as_it_was_then() {
        let local = Local::new(vec![1]);
        let fails = || {
            local.with_mut(|v: &mut Vec<i32>| {
                v.push(2);
                panic!("in the middle");
            })
        };
        let unwound: Result<Result<(), _>, _> = catch_unwind(AssertUnwindSafe(fails));
        assert!(unwound.is_err());
        assert_eq!(local.with(Vec::<i32>::len), Ok(2));
    }

    #[test]
    fn changes_of_many_threads_are_one_after_another() {
        let local = Local::new(0_u64);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        local.with_mut(|n: &mut u64| *n += 1).unwrap();
                    }
                });
            }
        });
        assert_eq!(local.with(|n: &u64| *n), Ok(4000));
    }
}
