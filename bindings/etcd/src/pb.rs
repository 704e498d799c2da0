//! The code that `build.rs` generates from `proto/`: the only wire messages in the project.

#![allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all)]

macro_rules! package {
    ($name:ident) => {
        pub mod $name {
            include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".rs"));
        }
    };
}

package!(mvccpb);
package!(authpb);
package!(etcdserverpb);
package!(v3lockpb);
package!(v3electionpb);

/// The standard health service.
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}
