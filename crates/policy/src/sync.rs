//! The locks and atomics of what threads share: the standard library's, or loom's while `make model-check` tries every order.

#[cfg(all(test, loom))]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64},
};
#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64},
};

pub(crate) use std::sync::atomic::Ordering;

/// Where things are in a table is nobody's to foresee, except loom's, which wants every run to be the same.
#[cfg(not(all(test, loom)))]
pub(crate) use std::hash::RandomState;
#[cfg(all(test, loom))]
pub(crate) type RandomState = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

/// Nothing panics while it holds one of our locks; should it ever, the numbers behind it are still numbers.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
