//! JSON of a request, converted to the bytes of a protobuf message.
//!
//! The reader accepts what etcd 3.7 accepts, and also what 3.5 accepts where that is harmless: both
//! spellings of a field, but each field and each oneof once, null for an absent field, 64-bit
//! numbers as numbers or strings, enums by name or by any number, bytes as base64 in both alphabets
//! with or without padding or as a list of numbers. Unknown fields are skipped. A message is
//! converted directly to its bytes, without a tree in between, so that the memory for a body
//! depends on its size and not on the number of its brackets. Nesting deeper than 128 levels is an
//! error.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::wire::{self, LENGTH_DELIMITED, VARINT};
use super::write;
use crate::schema::{Field, Kind, Message, RPCS};

/// With or without padding. As in Go, the unused bits of the last letter are ignored.
const ANY_PADDING: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, ANY_PADDING);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, ANY_PADDING);

/// Whole numbers that are written with a point or an exponent are accepted below 2^50. serde_json
/// reads such numbers with an error of up to two units in the last place, which changes a large
/// whole number.
const EXACT_BELOW: f64 = (1_u64 << 50) as f64;

/// Reads the first JSON value of a body; an empty body is the empty message. Bytes after the value
/// are ignored.
///
/// # Errors
///
/// The fault and its place.
pub fn message(message: &'static Message, json: &[u8]) -> Result<Vec<u8>, String> {
    if json.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let wire = Object(message).deserialize(&mut serde_json::Deserializer::from_slice(json));
    wire.map_err(|error| error.to_string())?
        .ok_or_else(|| format!("null is no message {}", message.name))
}

/// Reads the request of some method, writes it, and reads it again; both readings must be equal.
/// Returns false if the request was refused. For tests and the fuzz targets.
///
/// # Panics
///
/// The two readings differ.
pub(crate) fn read_and_write_back(method: usize, json: &[u8]) -> bool {
    let of = RPCS[method % RPCS.len()].input;
    let Ok(wire) = message(of, json) else {
        return false;
    };
    let mut again = Vec::new();
    write::message(of, &wire, &mut again).expect("what was read can be written");
    assert_eq!(
        message(of, &again).as_deref(),
        Ok(wire.as_slice()),
        "{}: {}",
        of.name,
        String::from_utf8_lossy(json)
    );
    true
}

/// An object as a message; `None` for null.
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
        // the bytes of each field that was read, with its key; empty for null
        let mut slots: Vec<Option<Vec<u8>>> = vec![None; self.0.fields.len()];
        while let Some(found) = map.next_key_seed(Name(self.0))? {
            let Some(at) = found else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let field = &self.0.fields[at];
            let place = || format!("{} of {}", field.name, self.0.name);
            if slots[at].is_some() {
                return Err(A::Error::custom(format_args!("{} is given twice", place())));
            }
            let wire = map.next_value_seed(Value {
                field,
                message: self.0,
            })?;
            let is_other = |(other, slot): (&Field, &Option<Vec<u8>>)| {
                other.oneof == field.oneof && slot.as_ref().is_some_and(|wire| !wire.is_empty())
            };
            if field.oneof.is_some()
                && !wire.is_empty()
                && self.0.fields.iter().zip(&slots).any(is_other)
            {
                return Err(A::Error::custom(format_args!(
                    "{} is given beside another of its kind",
                    place()
                )));
            }
            slots[at] = Some(wire);
        }
        Ok(Some(slots.into_iter().flatten().flatten().collect()))
    }
}

/// The index of the field that a name belongs to.
struct Name(&'static Message);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name of a field of {}", self.0.name)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self
            .0
            .fields
            .iter()
            .position(|field| field.name == name || field.json_name == name))
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
        Item {
            of: &self,
            wire: &mut wire,
            in_list: false,
        }
        .deserialize(json)?;
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
        while list
            .next_element_seed(Item {
                of: &self.0,
                wire: &mut wire,
                in_list: true,
            })?
            .is_some()
        {}
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
            // a negative number of 32 bits is encoded as one of 64
            Kind::Enum(_) => i32::try_from(number).map(|number| i64::from(number) as u64),
            Kind::Int64 => i64::try_from(number).map(|number| number as u64),
            Kind::Uint32 => u32::try_from(number).map(u64::from),
            Kind::Uint64 => u64::try_from(number),
            _ => {
                return Err(E::invalid_type(
                    serde::de::Unexpected::Other("number"),
                    &self,
                ));
            }
        };
        match wire {
            Ok(wire) => self.varint(wire),
            Err(_) => {
                return Err(E::custom(format_args!(
                    "{number} is out of range for {}",
                    self.of.place()
                )));
            }
        }
        Ok(())
    }

    /// A number in a string, in the same forms as outside of one.
    fn integer_text<E: Error>(self, text: &str) -> Result<(), E> {
        let number = text.trim_matches([' ', '\t', '\r', '\n']);
        match number.parse() {
            _ if number == "null" => Ok(()),
            Ok(parsed) if !number.starts_with('+') => self.integer(parsed),
            // with a point or an exponent, as in JSON
            _ => match serde_json::from_str(number) {
                Ok(float) => self.visit_f64(float),
                Err(_) => Err(E::custom(format_args!(
                    "{text:?} is no whole number for {}",
                    self.of.place()
                ))),
            },
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
        match number.fract() == 0.0 && number.abs() < EXACT_BELOW {
            true => self.integer(number as i128),
            false => Err(E::invalid_type(serde::de::Unexpected::Float(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.of.field.kind {
            Kind::String => self.bytes(text.as_bytes()),
            Kind::Bytes => {
                let at = |error| {
                    E::custom(format_args!(
                        "illegal base64 for {}: {error}",
                        self.of.place()
                    ))
                };
                let base64 = if text.contains(['-', '_']) {
                    &URL_SAFE
                } else {
                    &STANDARD
                };
                let decoded = match text.contains(['\r', '\n']) {
                    true => base64.decode(text.replace(['\r', '\n'], "")),
                    false => base64.decode(text),
                };
                let decoded = decoded.map_err(at)?;
                self.bytes(&decoded);
            }
            Kind::Enum(names) => match names.values.iter().find(|(name, _)| *name == text) {
                Some((_, number)) => self.integer((*number).into())?,
                None => match text.parse::<i32>() {
                    Ok(number) => self.integer(number.into())?,
                    Err(_) => {
                        return Err(E::custom(format_args!(
                            "unknown value {text:?} for enum {}",
                            names.name
                        )));
                    }
                },
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

#[cfg(test)]
mod tests {
    use libkv_test_support::dice::Dice;

    use super::*;
    use crate::schema::Rpc;

    fn rpc(method: &str) -> &'static Rpc {
        RPCS.iter()
            .find(|rpc| rpc.name == method)
            .expect("a method")
    }

    /// A request as JSON, converted to its bytes and back.
    fn round_trip(method: &str, json: &str) -> Result<String, String> {
        let message = rpc(method).input;
        let (wire, mut json) = (self::message(message, json.as_bytes())?, Vec::new());
        write::message(message, &wire, &mut json).expect("what was read can be written");
        Ok(String::from_utf8(json).expect("text"))
    }

    #[test]
    fn message_is_read_and_written_back() {
        for (method, json, should) in [
            ("Range", "", "{}"),
            (
                "Range",
                r#"{"key":"_-8","range_end":"/+8="}"#,
                r#"{"key":"/+8=","range_end":"/+8="}"#,
            ),
            (
                "Range",
                r#"{"limit":1.0,"revision":2e2}"#,
                r#"{"limit":"1","revision":"200"}"#,
            ),
            (
                "Range",
                r#"{"limit":1125899906842623.00000000000000000000}"#,
                r#"{"limit":"1125899906842623"}"#,
            ),
            (
                "Range",
                r#"{"limit":"1.0","revision":"-2E1"}"#,
                r#"{"limit":"1","revision":"-20"}"#,
            ),
            (
                "Range",
                r#"{"sort_order":"2","sort_target":"-1"}"#,
                r#"{"sort_order":"DESCEND","sort_target":-1}"#,
            ),
            (
                "Txn",
                r#"{"success":[{"request_put":null,"requestRange":{}}]}"#,
                r#"{"success":[{"request_range":{}}]}"#,
            ),
            (
                "Range",
                r#"{"limit":-1,"rangeEnd":"AA==","key":null}"#,
                r#"{"range_end":"AA==","limit":"-1"}"#,
            ),
            (
                "Range",
                r#"{"sort_order":2,"sort_target":9}"#,
                r#"{"sort_order":"DESCEND","sort_target":9}"#,
            ),
            ("Range", r#"{"sort_order":-1}"#, r#"{"sort_order":-1}"#),
            (
                "MemberRemove",
                r#"{"ID":18446744073709551615}"#,
                r#"{"ID":"18446744073709551615"}"#,
            ),
            (
                "MemberAdd",
                r#"{"peerURLs":["a","\u00e9\"",null]}"#,
                "{\"peerURLs\":[\"a\",\"é\\\"\",\"\"]}",
            ),
            (
                "Put",
                r#"{"key":[1,null,255],"prev_kv":false}"#,
                r#"{"key":"AQD/","prev_kv":false}"#,
            ),
            (
                "Txn",
                r#"{"success":[{},null,{"request_txn":{}}]}"#,
                r#"{"success":[{},{},{"request_txn":{}}]}"#,
            ),
            (
                "Watch",
                r#"{"createRequest":{"filters":["NODELETE",0],"watch_id":"-9"}}"#,
                r#"{"create_request":{"filters":["NODELETE","NOPUT"],"watch_id":"-9"}}"#,
            ),
        ] {
            assert_eq!(round_trip(method, json).as_deref(), Ok(should), "{json}");
        }
    }

    #[test]
    fn fault_is_named_with_its_place() {
        for (json, should) in [
            (
                r#"{"limit":true}"#,
                "invalid type: boolean `true`, expected a whole number for limit of etcdserverpb.RangeRequest at line 1 column 13",
            ),
            ("null", "null is no message etcdserverpb.RangeRequest"),
            (
                r#"{"limit":1.5}"#,
                "invalid type: floating point `1.5`, expected a whole number for limit of etcdserverpb.RangeRequest at line 1 column 12",
            ),
            (
                r#"{"limit":1125899906842624.0}"#,
                "invalid type: floating point `1125899906842624.0`, expected a whole number for limit of etcdserverpb.RangeRequest at line 1 column 27",
            ),
            (
                r#"{"rangeEnd":null,"range_end":"AA=="}"#,
                "range_end of etcdserverpb.RangeRequest is given twice at line 1 column 28",
            ),
            (
                r#"{"limit":"x"}"#,
                "\"x\" is no whole number for limit of etcdserverpb.RangeRequest at line 1 column 12",
            ),
            (
                r#"{"key":"a"}"#,
                "illegal base64 for key of etcdserverpb.RangeRequest: Invalid input length: 1 at line 1 column 10",
            ),
            (
                r#"{"sort_order":"UP"}"#,
                "unknown value \"UP\" for enum etcdserverpb.RangeRequest.SortOrder at line 1 column 18",
            ),
            (
                "[]",
                "invalid type: sequence, expected an object, the message etcdserverpb.RangeRequest at line 1 column 2",
            ),
        ] {
            assert_eq!(round_trip("Range", json), Err(should.to_string()), "{json}");
        }
    }

    #[test]
    fn oneof_has_at_most_one_member() {
        assert_eq!(
            round_trip("Txn", r#"{"success":[{"request_put":{},"request_range":{}}]}"#),
            Err("request_range of etcdserverpb.RequestOp is given beside another of its kind at line 1 column 49"
                .into())
        );
        assert!(round_trip("Watch", r#"{"create_request":{},"cancel_request":{}}"#).is_err());
    }

    /// A random value that may or may not suit the field.
    fn value(dice: &mut Dice, field: &Field, depth: u64) -> String {
        if dice.one_in(20) {
            return ["null", "1.5", "[]", "{}", "true", "\"x\"", "-1", "[null]"]
                [dice.below(8) as usize]
                .into();
        }
        let one = |dice: &mut Dice| match field.kind {
            Kind::Bool => ["true", "false"][dice.below(2) as usize].into(),
            Kind::Uint32 => dice.below(1 << 32).to_string(),
            Kind::Int64 => (dice.roll() as i64).to_string(),
            Kind::Uint64 => format!("\"{}\"", dice.roll()),
            Kind::String => format!("\"{}\"", "é\\n".repeat(dice.below(4) as usize)),
            Kind::Bytes => format!("\"{}\"", "AP+A".repeat(dice.below(4) as usize)),
            Kind::Enum(names) => match names.values.get(dice.below(5) as usize) {
                Some((name, _)) => format!("\"{name}\""),
                None => (dice.roll() as i32).to_string(),
            },
            Kind::Message(message) => object(dice, message, depth + 1),
        };
        match field.repeated {
            true => format!(
                "[{}]",
                (0..dice.below(3))
                    .map(|_| one(dice))
                    .collect::<Vec<_>>()
                    .join(",")
            ),
            false => one(dice),
        }
    }

    fn object(dice: &mut Dice, message: &Message, depth: u64) -> String {
        let fields = if message.fields.is_empty() {
            0
        } else {
            dice.below(6 / (depth + 1) + 1)
        };
        let fields: Vec<String> = (0..fields)
            .map(|_| {
                let field = &message.fields[dice.below(message.fields.len() as u64) as usize];
                let name = if dice.one_in(2) {
                    field.name
                } else {
                    field.json_name
                };
                format!("\"{name}\":{}", value(dice, field, depth))
            })
            .collect();
        format!("{{{}}}", fields.join(","))
    }

    /// What can be read can be written, and is then read as the same. The seed is fixed: the
    /// messages are the same each time.
    #[test]
    fn random_messages_are_read_and_written_back() {
        let mut dice = Dice(15);
        let (mut read, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let method = dice.below(RPCS.len() as u64) as usize;
            let mut json = object(&mut dice, RPCS[method].input, 0).into_bytes();
            if dice.one_in(3) && !json.is_empty() {
                let at = dice.below(json.len() as u64) as usize;
                json[at] = dice.roll() as u8;
            }
            match read_and_write_back(method, &json) {
                true => read += 1,
                false => refused += 1,
            }
        }
        assert!(
            read > 5_000 && refused > 1_000,
            "{read} read, {refused} refused"
        );
    }

    /// Bytes that are perhaps no message become JSON, or are refused.
    #[test]
    fn message_of_random_bytes_is_json_or_refused() {
        let mut dice = Dice(16);
        let (mut written, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let message = RPCS[dice.below(RPCS.len() as u64) as usize].output;
            let len = dice.below(40) as usize;
            // small numbers, so that many are the tag of a field or a short length
            let bytes: Vec<u8> = (0..=len).map(|_| dice.below(27) as u8).collect();
            let mut json = Vec::new();
            match write::message(message, &bytes, &mut json) {
                Some(()) => {
                    let object = serde_json::from_slice::<serde_json::Value>(&json);
                    assert!(object.is_ok_and(|object| object.is_object()), "{bytes:x?}");
                    written += 1;
                }
                None => refused += 1,
            }
        }
        assert!(
            written > 20 && refused > 1_000,
            "{written} written, {refused} refused"
        );
    }
}
