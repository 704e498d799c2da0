//! The bytes of a protobuf message of a response, converted to JSON.
//!
//! As etcd 3.5 writes it: fields by their names in the `.proto`, numbers of 64 bits as strings,
//! bytes as base64, enums by name, without values that are zero or empty (they are not on the wire
//! either).

use std::io::Write as _;

use base64::display::Base64Display;
use base64::prelude::BASE64_STANDARD;

use super::wire::{self, LENGTH_DELIMITED, VARINT};
use crate::schema::{Field, Kind, Message};

/// Writes a message to the end of `json`. Returns `None` if the bytes are not such a message; that
/// is a defect of this server, which made the bytes.
#[must_use]
pub fn message(message: &Message, mut wire: &[u8], json: &mut Vec<u8>) -> Option<()> {
    json.push(b'{');
    let start = json.len();
    // the number of the list that is being written; the items of a list follow each other
    let mut list: Option<u32> = None;
    while !wire.is_empty() {
        let key = u32::try_from(wire::varint(&mut wire)?).ok()?;
        let field = message
            .fields
            .iter()
            .find(|field| field.number == key >> 3)?;
        if list == Some(field.number) {
            json.push(b',');
        } else {
            close(&mut list, json);
            if json.len() > start {
                json.push(b',');
            }
            let _ = write!(json, "\"{}\":", field.name);
            if field.repeated {
                json.push(b'[');
                list = Some(field.number);
            }
        }
        match key & 7 {
            VARINT => number(field.kind, wire::varint(&mut wire)?, json),
            LENGTH_DELIMITED => bytes(field, wire::length_delimited(&mut wire)?, json)?,
            _ => return None,
        }
    }
    close(&mut list, json);
    json.push(b'}');
    Some(())
}

fn close(list: &mut Option<u32>, json: &mut Vec<u8>) {
    if list.take().is_some() {
        json.push(b']');
    }
}

fn bytes(field: &Field, mut bytes: &[u8], json: &mut Vec<u8>) -> Option<()> {
    match field.kind {
        Kind::Message(inner) => return message(inner, bytes, json),
        Kind::Bytes => {
            let _ = write!(json, "\"{}\"", Base64Display::new(bytes, &BASE64_STANDARD));
        }
        Kind::String => serde_json::to_writer(json, std::str::from_utf8(bytes).ok()?).ok()?,
        // the numbers of a list are packed together
        kind if field.repeated => {
            number(kind, wire::varint(&mut bytes)?, json);
            while !bytes.is_empty() {
                json.push(b',');
                number(kind, wire::varint(&mut bytes)?, json);
            }
        }
        _ => return None,
    }
    Some(())
}

fn number(kind: Kind, number: u64, json: &mut Vec<u8>) {
    let _ = match kind {
        Kind::Bool => write!(json, "{}", number != 0),
        Kind::Int64 => write!(json, "\"{}\"", number as i64),
        Kind::Uint64 => write!(json, "\"{number}\""),
        Kind::Enum(names) => match names
            .values
            .iter()
            .find(|(_, known)| *known == number as i32)
        {
            Some((name, _)) => write!(json, "\"{name}\""),
            None => write!(json, "{}", number as i32),
        },
        Kind::Uint32 => write!(json, "{}", number as u32),
        _ => write!(json, "{}", number as i32),
    };
}
