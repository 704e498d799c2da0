//! The fields of the messages, and the calls: tables that `build.rs` generates from `proto/`.

/// A message.
#[derive(Debug)]
pub struct Message {
    /// With its package: `etcdserverpb.PutRequest`.
    pub name: &'static str,
    /// In the order of their declaration, which is the order of their numbers in every response.
    pub fields: &'static [Field],
}

/// One field of a message.
#[derive(Debug)]
pub struct Field {
    /// Its number on the wire.
    pub number: u32,
    /// As in the `.proto`, the spelling in responses: `prev_kv`.
    pub name: &'static str,
    /// The other spelling that requests may use: `prevKv`.
    pub json_name: &'static str,
    /// Whether it is a list.
    pub repeated: bool,
    /// The oneof of its message that it belongs to.
    pub oneof: Option<i32>,
    pub kind: Kind,
}

/// The type of a field.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Bool,
    Int64,
    Uint32,
    Uint64,
    String,
    Bytes,
    Enum(&'static Enum),
    Message(&'static Message),
}

/// The names of an enum's numbers.
#[derive(Debug)]
pub struct Enum {
    /// With its package: `mvccpb.Event.EventType`.
    pub name: &'static str,
    pub values: &'static [(&'static str, i32)],
}

/// One rpc.
#[derive(Debug)]
pub struct Rpc {
    /// With its package: `etcdserverpb.KV`.
    pub service: &'static str,
    /// `Range`.
    pub name: &'static str,
    pub input: &'static Message,
    pub output: &'static Message,
    pub client_streaming: bool,
    pub server_streaming: bool,
    /// Whether it may write. An rpc in `proto/` that does not write has the option
    /// `idempotency_level = NO_SIDE_EFFECTS`.
    pub writes: bool,
}

include!(concat!(env!("OUT_DIR"), "/schema.rs"));
