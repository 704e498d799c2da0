//! Calls of any rpc with any token, to a store of ours or to a real etcd.

use bytes::{Buf, BufMut};
use libkv_etcd::pb::authpb::{Permission, UserAddOptions};
use libkv_etcd::pb::etcdserverpb::*;
use prost::Message;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::wire::{connect, soon};

/// Sends encoded messages, and drops the content of responses.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let bytes = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(bytes).to_vec()))
    }
}

/// A server, with a token or without.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    token: Option<String>,
}

impl Client {
    pub async fn new(url: &str) -> Client {
        Client {
            channel: connect(url).await,
            token: None,
        }
    }

    /// The same server with another token.
    pub fn with(&self, token: impl Into<Option<String>>) -> Client {
        Client {
            channel: self.channel.clone(),
            token: token.into(),
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            let token: MetadataValue<_> = token.parse().expect("a token");
            request.metadata_mut().insert("token", token);
        }
        request
    }

    /// The first message of the response of a call, whatever its kind: `service/method`.
    pub async fn raw(&self, path: &str, message: Vec<u8>) -> Result<Vec<u8>, Status> {
        let path = format!("/{path}").parse().expect("a path");
        let mut grpc =
            tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        grpc.ready().await.expect("a connection");
        let requests = tokio_stream::iter([message]);
        let call = grpc.streaming(self.request(requests), path, Raw);
        let mut responses = soon("a response", call).await?.into_inner();
        match soon("a message", responses.message()).await? {
            Some(message) => Ok(message),
            None => Ok(Vec::new()),
        }
    }

    /// The response of a unary call.
    pub async fn call<B: Message + Default>(
        &self,
        path: &str,
        message: impl Message,
    ) -> Result<B, Status> {
        let response = self.raw(path, message.encode_to_vec()).await?;
        Ok(B::decode(&response[..]).expect("a message"))
    }

    /// A call that must succeed, whose response does not matter.
    #[track_caller]
    pub fn done(&self, path: &str, message: impl Message) -> impl Future<Output = ()> {
        let (client, path) = (self.clone(), path.to_string());
        let message = message.encode_to_vec();
        async move {
            if let Err(status) = client.raw(&path, message).await {
                panic!("{path}: {status}");
            }
        }
    }

    /// A token for a user.
    pub async fn log_in(&self, name: &str, password: &str) -> Result<String, Status> {
        let request = AuthenticateRequest {
            name: name.into(),
            password: password.into(),
        };
        let response: AuthenticateResponse =
            self.call("etcdserverpb.Auth/Authenticate", request).await?;
        Ok(response.token)
    }

    pub async fn add_user(&self, name: &str, password: &str, roles: &[&str]) {
        let user = AuthUserAddRequest {
            name: name.into(),
            password: password.into(),
            options: Some(UserAddOptions::default()),
            ..Default::default()
        };
        self.done("etcdserverpb.Auth/UserAdd", user).await;
        for role in roles {
            let grant = AuthUserGrantRoleRequest {
                user: name.into(),
                role: (*role).into(),
            };
            self.done("etcdserverpb.Auth/UserGrantRole", grant).await;
        }
    }

    pub async fn add_role(&self, name: &str, permissions: &[(i32, &str, &str)]) {
        let role = AuthRoleAddRequest { name: name.into() };
        self.done("etcdserverpb.Auth/RoleAdd", role).await;
        for (kind, key, range_end) in permissions {
            self.done(
                "etcdserverpb.Auth/RoleGrantPermission",
                AuthRoleGrantPermissionRequest {
                    name: name.into(),
                    perm: Some(permission(*kind, key, range_end)),
                },
            )
            .await;
        }
    }

    /// Makes root with the password `root`, and turns authentication on.
    pub async fn enable_auth(&self) {
        self.add_user("root", "root", &["root"]).await;
        let enable = AuthEnableRequest {};
        self.done("etcdserverpb.Auth/AuthEnable", enable).await;
    }
}

pub const READ: i32 = 0;
pub const WRITE: i32 = 1;
pub const READWRITE: i32 = 2;

pub fn permission(kind: i32, key: &str, range_end: &str) -> Permission {
    Permission {
        perm_type: kind,
        key: key.to_string().into(),
        range_end: range_end.to_string().into(),
    }
}

/// A result as one text.
pub fn outcome<T>(result: &Result<T, Status>) -> String {
    match result {
        Ok(_) => "OK".into(),
        Err(status) => format!("{:?}: {}", status.code(), status.message()),
    }
}

pub fn is(status: &Status, code: Code, text: &str) {
    assert_eq!((status.code(), status.message()), (code, text));
}
