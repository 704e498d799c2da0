//! Which fields the messages have and which calls there are: tables that `build.rs` writes from `proto/`.

/// A message.
#[derive(Debug)]
pub struct Message {
    /// With its package: `etcdserverpb.PutRequest`.
    pub name: &'static str,
    /// In the order of their declaration, which is that of their numbers in every answer.
    pub fields: &'static [Field],
}

/// One field of a message.
#[derive(Debug)]
pub struct Field {
    /// What it is on the wire.
    pub number: u32,
    /// As in the `.proto`, the spelling that answers have: `prev_kv`.
    pub name: &'static str,
    /// The other spelling that requests may have: `prevKv`.
    pub json_name: &'static str,
    /// A list.
    pub repeated: bool,
    /// Which oneof of its message it is a member of.
    pub oneof: Option<i32>,
    pub kind: Kind,
}

/// What a field holds.
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

/// Names of numbers.
#[derive(Debug)]
pub struct Enum {
    /// With its package: `mvccpb.Event.EventType`.
    pub name: &'static str,
    pub values: &'static [(&'static str, i32)],
}

/// One rpc.
#[derive(Debug)]
pub struct Call {
    /// With its package: `etcdserverpb.KV`.
    pub service: &'static str,
    /// `Range`.
    pub method: &'static str,
    pub input: &'static Message,
    pub output: &'static Message,
    pub client_streaming: bool,
    pub server_streaming: bool,
}

include!(concat!(env!("OUT_DIR"), "/schema.rs"));
