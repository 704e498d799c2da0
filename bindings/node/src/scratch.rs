//! The scratch memory that a thread of JavaScript shares with its native part.
//!
//! JavaScript writes a request into it and calls with its length; the response is written over it.
//! Only numbers cross the border, which is several times cheaper than a `Buffer` for small keys and
//! values. A request that does not fit has its own `Buffer`. `lib/native.js` does not share this
//! memory and copies out of it, so that nothing can change or detach it while a call reads it.

use libkv::{Code, Error, Result};
use napi::bindgen_prelude::Buffer;

/// The memory, kept alive by a reference to its `Buffer`.
pub struct Scratch {
    memory: Buffer,
}

impl Scratch {
    /// Takes the buffer that `lib/native.js` made for this.
    pub fn new(memory: Buffer) -> Scratch {
        Scratch { memory }
    }

    /// The request that was written: its first `len` bytes.
    pub fn request(&self, len: u32) -> Result<&[u8]> {
        let out_of_range = || {
            Error::new(
                Code::Internal,
                "a request is longer than the scratch memory",
            )
        };
        self.memory.get(..len as usize).ok_or_else(out_of_range)
    }

    /// Writes a response, if it fits.
    pub fn response(&mut self, bytes: &[u8]) -> bool {
        if let Some(target) = self.memory.get_mut(..bytes.len()) {
            target.copy_from_slice(bytes);
            return true;
        }
        false
    }

    /// All of it, for a value to be read into.
    pub fn memory(&mut self) -> &mut [u8] {
        &mut self.memory
    }
}
