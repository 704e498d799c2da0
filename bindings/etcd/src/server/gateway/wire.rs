//! The parts of protobuf's and gRPC's wire format that the conversion from and to JSON needs.

use bytes::{BufMut, Bytes, BytesMut};

/// The wire type of numbers.
pub const VARINT: u32 = 0;
/// The wire type of bytes, texts and messages.
pub const LENGTH_DELIMITED: u32 = 2;

/// Writes the key of a field: its number and its wire type.
pub fn put_key(number: u32, wire_type: u32, wire: &mut Vec<u8>) {
    put_varint(u64::from(number << 3 | wire_type), wire);
}

pub fn put_varint(mut number: u64, wire: &mut Vec<u8>) {
    while number >= 0x80 {
        wire.push(number as u8 | 0x80);
        number >>= 7;
    }
    wire.push(number as u8);
}

/// Takes a number from the front; `None` if there is none.
pub fn varint(wire: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = wire.split_first()?;
        *wire = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Takes bytes with their length from the front.
pub fn length_delimited<'w>(wire: &mut &'w [u8]) -> Option<&'w [u8]> {
    let length = usize::try_from(varint(wire)?).ok()?;
    let (bytes, rest) = wire.split_at_checked(length)?;
    *wire = rest;
    Some(bytes)
}

/// The length of gRPC's prefix of a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// A message as gRPC sends it.
pub fn frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(PREFIX + message.len());
    frame.put_u8(0);
    // the limit of a message is far below 4 GiB
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

/// Takes the first message from the received part of a body, if it is complete.
pub fn take_message(body: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_be_bytes(body.get(1..PREFIX)?.try_into().ok()?) as usize;
    if body.len() - PREFIX < length {
        return None;
    }
    let _ = body.split_to(PREFIX);
    Some(body.split_to(length).freeze())
}
