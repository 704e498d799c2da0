//! The scratch memory that a thread of JavaScript shares with its native part.
//!
//! JavaScript writes a request into it and calls with its length; the answer is written over it.
//! Only numbers cross, which is several times cheaper than a `Buffer` for small keys and values.
//! What does not fit goes in a `Buffer` of its own. Nobody else has this memory: `lib/native.js`
//! keeps it to itself and copies out, so nothing can change it while a call reads it, or detach it.

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

    /// Leaves an answer there, if it fits.
    pub fn response(&mut self, bytes: &[u8]) -> bool {
        let place = self.memory.get_mut(..bytes.len());
        if let Some(place) = place {
            place.copy_from_slice(bytes);
            return true;
        }
        false
    }

    /// All of it, for a value to be read into.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.memory
    }
}
