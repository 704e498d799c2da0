//! JSON that came in, as the bytes of a protobuf message.
//!
//! What is taken is what etcd 3.5 takes: either spelling of a field, the last of two, null for a field
//! that is absent, 64-bit numbers as numbers or strings, enums by name or by any number, bytes as
//! standard base64 with its padding or as a list of numbers, unknown fields skipped. A message goes
//! straight to its bytes, with no tree in between, so that a body costs memory by its size and not by
//! the number of its brackets; nesting ends at 128 levels, which is an error.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::schema::{Field, Kind, Message};
use super::wire::{self, LENGTH_DELIMITED, VARINT};

/// Padded, and as careless as Go about the bits that the last letter has over.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// The first JSON value of a body; none at all is the empty message. What follows it is not looked at.
///
/// # Errors
///
/// What is wrong, and where.
pub fn message(message: &'static Message, json: &[u8]) -> Result<Vec<u8>, String> {
    if json.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let wire = Object(message).deserialize(&mut serde_json::Deserializer::from_slice(json));
    wire.map(Option::unwrap_or_default).map_err(|error| error.to_string())
}

/// An object as a message; none for null.
struct Object(&'static Message);

impl<'de> DeserializeSeed<'de> for Object {
    type Value = Option<Vec<u8>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object {
    type Value = Option<Vec<u8>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object, the message {}", self.0.name)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut slots: Vec<Slot> = self.0.fields.iter().map(|_| Slot::default()).collect();
        while let Some(found) = map.next_key_seed(Name(self.0))? {
            let Some((at, json_name)) = found else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let wire = map.next_value_seed(Value { field: &self.0.fields[at], message: self.0 })?;
            // of two spellings lowerCamelCase counts, of two that are the same the last
            if json_name || !slots[at].json_name {
                slots[at] = Slot { wire, json_name };
            }
        }
        // in the order of the fields: of two members of a oneof the last one declared counts
        Ok(Some(slots.into_iter().flat_map(|slot| slot.wire).collect()))
    }
}

/// A field as it was found.
#[derive(Default)]
struct Slot {
    /// With its key; empty if it is absent or null.
    wire: Vec<u8>,
    json_name: bool,
}

/// Which field a name is of, and whether in its JSON spelling alone.
struct Name(&'static Message);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<(usize, bool)>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<(usize, bool)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name of a field of {}", self.0.name)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let is = |field: &Field| field.name == name || field.json_name == name;
        let at = self.0.fields.iter().position(is);
        Ok(at.map(|at| (at, self.0.fields[at].name != name)))
    }
}

/// The value of a field, with the field's key before it; nothing for null.
struct Value {
    field: &'static Field,
    message: &'static Message,
}

impl<'de> DeserializeSeed<'de> for Value {
    type Value = Vec<u8>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Vec<u8>, D::Error> {
        if self.field.repeated {
            return json.deserialize_any(List(self));
        }
        let mut wire = Vec::new();
        Item { of: &self, wire: &mut wire, in_list: false }.deserialize(json)?;
        Ok(wire)
    }
}

impl Value {
    /// `key of etcdserverpb.PutRequest`, for errors.
    fn place(&self) -> String {
        format!("{} of {}", self.field.name, self.message.name)
    }
}

/// A repeated field.
struct List(Value);

impl<'de> Visitor<'de> for List {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list for {}", self.0.place())
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<u8>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u8>, A::Error> {
        let mut wire = Vec::new();
        while list.next_element_seed(Item { of: &self.0, wire: &mut wire, in_list: true })?.is_some() {}
        Ok(wire)
    }
}

/// One value, written to the end of `wire`.
struct Item<'a> {
    of: &'a Value,
    wire: &'a mut Vec<u8>,
    in_list: bool,
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        let Kind::Message(message) = self.of.field.kind else {
            return json.deserialize_any(self);
        };
        match Object(message).deserialize(json)? {
            Some(inner) => self.bytes(&inner),
            None if self.in_list => self.bytes(&[]),
            None => {}
        }
        Ok(())
    }
}

impl Item<'_> {
    fn bytes(self, bytes: &[u8]) {
        wire::put_key(self.of.field.number, LENGTH_DELIMITED, self.wire);
        wire::put_varint(bytes.len() as u64, self.wire);
        self.wire.extend_from_slice(bytes);
    }

    fn varint(self, number: u64) {
        wire::put_key(self.of.field.number, VARINT, self.wire);
        wire::put_varint(number, self.wire);
    }

    fn integer<E: Error>(self, number: i128) -> Result<(), E> {
        let wire = match self.of.field.kind {
            // a negative number of 32 bits goes as one of 64
            Kind::Enum(_) => i32::try_from(number).map(|number| i64::from(number) as u64),
            Kind::Int64 => i64::try_from(number).map(|number| number as u64),
            Kind::Uint32 => u32::try_from(number).map(u64::from),
            Kind::Uint64 => u64::try_from(number),
            _ => return Err(E::invalid_type(serde::de::Unexpected::Other("number"), &self)),
        };
        match wire {
            Ok(wire) => self.varint(wire),
            Err(_) => return Err(E::custom(format_args!("{number} is out of range for {}", self.of.place()))),
        }
        Ok(())
    }

    /// A number in a string, as JSON would have it outside of one.
    fn integer_text<E: Error>(self, text: &str) -> Result<(), E> {
        let number = text.trim_matches([' ', '\t', '\r', '\n']);
        match number.parse() {
            _ if number == "null" => Ok(()),
            Ok(parsed) if !number.starts_with('+') => self.integer(parsed),
            _ => Err(E::custom(format_args!("{text:?} is no whole number for {}", self.of.place()))),
        }
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.of.field.kind {
            Kind::Bool => "true or false",
            Kind::Int64 | Kind::Uint32 | Kind::Uint64 => "a whole number",
            Kind::String => "a string",
            Kind::Bytes => "base64",
            Kind::Enum(_) => "a name or a number",
            Kind::Message(_) => "an object",
        };
        write!(f, "{what} for {}", self.of.place())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match self.of.field.kind {
            _ if !self.in_list => {}
            Kind::String | Kind::Bytes => self.bytes(&[]),
            _ => self.varint(0),
        }
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.of.field.kind {
            Kind::Bool => self.varint(value.into()),
            _ => return Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self)),
        }
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.integer(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.integer(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        // what is read of -0
        match number == 0.0 && number.is_sign_negative() {
            true => self.integer(0),
            false => Err(E::invalid_type(serde::de::Unexpected::Float(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.of.field.kind {
            Kind::String => self.bytes(text.as_bytes()),
            Kind::Bytes => {
                let at = |error| E::custom(format_args!("illegal base64 for {}: {error}", self.of.place()));
                let decoded = match text.contains(['\r', '\n']) {
                    true => BASE64.decode(text.replace(['\r', '\n'], "")),
                    false => BASE64.decode(text),
                };
                let decoded = decoded.map_err(at)?;
                self.bytes(&decoded);
            }
            Kind::Enum(names) => match names.values.iter().find(|(name, _)| *name == text) {
                Some((_, number)) => self.integer((*number).into())?,
                None => return Err(E::custom(format_args!("unknown value {text:?} for enum {}", names.name))),
            },
            Kind::Bool | Kind::Message(_) => {
                return Err(E::invalid_type(serde::de::Unexpected::Str(text), &self));
            }
            Kind::Int64 | Kind::Uint32 | Kind::Uint64 => self.integer_text(text)?,
        }
        Ok(())
    }

    /// Bytes may be a list of numbers.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if !matches!(self.of.field.kind, Kind::Bytes) {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self));
        }
        let mut bytes = Vec::new();
        while let Some(byte) = list.next_element::<Option<u8>>()? {
            bytes.push(byte.unwrap_or(0));
        }
        self.bytes(&bytes);
        Ok(())
    }
}
