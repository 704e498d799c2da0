//! What `build.rs` makes of `proto/`: the only wire messages in the project.

#![allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all)]

macro_rules! package {
    ($name:ident) => {
        pub mod $name {
            include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".rs"));
        }
    };
    ($name:ident, json) => {
        pub mod $name {
            include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".rs"));
            include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".serde.rs"));
        }
    };
}

package!(mvccpb, json);
package!(authpb, json);
package!(etcdserverpb, json);
package!(v3lockpb, json);
package!(v3electionpb, json);

/// The standard health service.
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// Every method there is: service with its package, and name.
pub const METHODS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/methods.rs"));
