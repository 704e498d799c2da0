//! The objects that JavaScript names by numbers: stores, walks, watchers, leases and the others.
//!
//! A number belongs to one thread and means nothing in another. It is used again only after
//! `remove`, which JavaScript calls when no object of its own has the number any more.

use std::any::Any;
use std::sync::Arc;

use libkv::{Clock, Code, Db, Error, Result};

/// A type of object that can be behind a number. Each is declared in the file of its type.
pub trait Handle: Any + Send + Sync {
    /// The name of the type in errors.
    fn name() -> &'static str
    where
        Self: Sized;

    /// Closes the object when its thread ends.
    fn close(&self) {}

    /// Whether dropping the last reference may wait, for a disk or for another process.
    fn drop_may_wait(&self) -> bool {
        false
    }

    /// Whether the end of the thread waits a little for the end of this object.
    fn has_clients(&self) -> bool {
        false
    }
}

impl Handle for Db {
    fn name() -> &'static str {
        "store"
    }

    fn close(&self) {
        Db::close(self);
    }

    fn drop_may_wait(&self) -> bool {
        true
    }
}

impl Handle for Clock {
    fn name() -> &'static str {
        "clock"
    }
}

/// All objects of one thread. A number is an index.
#[derive(Default)]
pub struct Handles {
    slots: Vec<Option<Arc<dyn Handle>>>,
    free: Vec<u32>,
}

impl Handles {
    /// Stores an object and returns its number.
    pub fn add(&mut self, object: impl Handle) -> u32 {
        self.add_shared(Arc::new(object))
    }

    /// Stores an object that was created on another thread.
    pub fn add_shared(&mut self, object: Arc<dyn Handle>) -> u32 {
        match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = Some(object);
                number
            }
            None => {
                self.slots.push(Some(object));
                (self.slots.len() - 1) as u32
            }
        }
    }

    /// Frees the number and returns its object.
    pub fn remove(&mut self, number: u32) -> Option<Arc<dyn Handle>> {
        let object = self.slots.get_mut(number as usize)?.take()?;
        self.free.push(number);
        Some(object)
    }

    /// The object with this number. A number of another type is refused as one that does not exist.
    pub fn get<T: Handle>(&self, number: u32) -> Result<&T> {
        self.slot(number)
            .and_then(|object| (&**object as &dyn Any).downcast_ref())
            .ok_or_else(missing::<T>)
    }

    /// The same, as a reference that outlives this borrow.
    pub fn share<T: Handle>(&self, number: u32) -> Result<Arc<T>> {
        self.slot(number)
            .cloned()
            .and_then(downcast)
            .ok_or_else(missing::<T>)
    }

    fn slot(&self, number: u32) -> Option<&Arc<dyn Handle>> {
        self.slots.get(number as usize)?.as_ref()
    }

    /// All objects.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Handle> {
        self.slots.iter().flatten().map(|object| &**object)
    }
}

/// The object as its own type, if it is of this type.
pub fn downcast<T: Handle>(object: Arc<dyn Handle>) -> Option<Arc<T>> {
    (object as Arc<dyn Any + Send + Sync>).downcast().ok()
}

fn missing<T: Handle>() -> Error {
    let message = format!("there is no such {} in this thread", T::name());
    Error::new(Code::Closed, message)
}
