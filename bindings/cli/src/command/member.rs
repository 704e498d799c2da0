//! `member`, `move-leader` and `hash-kv`: the members of a cluster, and the hash that they compare.

use clap::Subcommand;
use libkv::support::ids_of_store;
use libkv::{Db, Member as ClusterMember};
use serde::Serialize;

use crate::command::Context;
use crate::failure::Result;
use crate::target::Access;

const HELP: &str = "\
The commands are those of etcdctl. Ids are hexadecimal, as `member list` shows them. A list has id,
state, name, peer URLs, client URLs, and whether the member is a learner.

A store is one member, which cannot be changed. To move it to a cluster, save it with
`kv snapshot save` and restore the file for each member with `etcdutl snapshot restore`.

Examples:
  kv member list -s etcd://host:2379
  kv member add m4 --peer-urls http://host4:2380 --learner
  kv member promote 8e9e05c52164694d
  kv member update 8e9e05c52164694d --peer-urls http://host5:2380
  kv member remove 8e9e05c52164694d

Exit status: 3 if the cluster refuses the change; 4 if there is no such member; 10 for a store.";

const MOVE_HELP: &str = "\
The request is sent to the leader, which must be among the endpoints.

Examples:
  kv move-leader 8e9e05c52164694d --endpoints host1:2379,host2:2379

Exit status: 3 if there is no such member.";

const HASH_HELP: &str = "\
Prints the hash of all events up to a revision, and that revision, as `etcdctl endpoint hashkv`. Two
stores or members with the same history and the same compacted revision have the same hash. All of
the history is read. Give one endpoint to get the hash of one member.

Examples:
  kv hash-kv
  kv hash-kv --rev 100
  kv hash-kv --json --endpoints host1:2379

Exit status: 3 if the revision is compacted or not written yet.";

/// `kv member`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP, subcommand_required = true, arg_required_else_help = true)]
pub struct Member {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// List the members
    List,
    /// Add a member, and print the settings to start it with
    Add {
        /// The name that it will have
        #[arg(value_name = "NAME")]
        name: String,
        /// The URLs at which the other members will reach it, separated by commas
        #[arg(long, value_name = "URLS", value_delimiter = ',', required = true)]
        peer_urls: Vec<String>,
        /// Give it no vote: it only receives every write
        #[arg(long)]
        learner: bool,
    },
    /// Remove a member
    Remove {
        /// Which
        #[arg(value_parser = member_id)]
        id: u64,
    },
    /// Replace the peer URLs of a member
    Update {
        /// Which
        #[arg(value_parser = member_id)]
        id: u64,
        /// The new URLs, separated by commas
        #[arg(long, value_name = "URLS", value_delimiter = ',', required = true)]
        peer_urls: Vec<String>,
    },
    /// Give a learner its vote
    Promote {
        /// Which
        #[arg(value_parser = member_id)]
        id: u64,
    },
}

/// `kv move-leader`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = MOVE_HELP)]
pub struct MoveLeader {
    /// The member that will lead
    #[arg(value_parser = member_id)]
    id: u64,
}

/// `kv hash-kv`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HASH_HELP)]
pub struct HashKv {
    /// The last revision to hash; 0 is the current one
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    rev: i64,
}

/// The id of a member, hexadecimal.
fn member_id(text: &str) -> std::result::Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).map_err(|_| "an id is up to 16 hexadecimal digits".into())
}

/// A member in JSON.
#[derive(Serialize)]
struct MemberJson<'a> {
    id: String,
    name: &'a str,
    peer_urls: &'a [String],
    client_urls: &'a [String],
    is_learner: bool,
}

impl<'a> From<&'a ClusterMember> for MemberJson<'a> {
    fn from(member: &'a ClusterMember) -> MemberJson<'a> {
        MemberJson {
            id: format!("{:x}", member.id),
            name: &member.name,
            peer_urls: &member.peer_urls,
            client_urls: &member.client_urls,
            is_learner: member.is_learner,
        }
    }
}

#[derive(Serialize)]
struct ChangedJson {
    id: String,
    cluster_id: String,
}

#[derive(Serialize)]
struct HashJson {
    hash: u32,
    hash_revision: i64,
    compact_revision: i64,
    revision: i64,
}

impl Member {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        match self.what {
            What::List => list(context),
            What::Add {
                name,
                peer_urls,
                learner,
            } => add(context, &name, peer_urls, learner),
            What::Remove { id } => change(context, id, "removed from", |db| db.member_remove(id)),
            What::Update { id, peer_urls } => change(context, id, "updated in", |db| {
                db.member_update(id, peer_urls)
            }),
            What::Promote { id } => change(context, id, "promoted in", |db| db.member_promote(id)),
        }
    }
}

fn list(context: &mut Context) -> Result<()> {
    let db = context.open(Access::Read)?;
    for member in &db.member_list()? {
        if context.out.json {
            context.out.json(&MemberJson::from(member))?;
            continue;
        }
        // as etcdctl, which knows a member that has not started by its missing name
        let state = match member.name.is_empty() && db.is_remote() {
            true => "unstarted",
            false => "started",
        };
        context.out.line(format!(
            "{:x}, {state}, {}, {}, {}, {}",
            member.id,
            member.name,
            member.peer_urls.join(","),
            member.client_urls.join(","),
            member.is_learner
        ))?;
    }
    Ok(())
}

fn add(context: &mut Context, name: &str, peer_urls: Vec<String>, learner: bool) -> Result<()> {
    let db = context.open(Access::Read)?;
    let cluster = cluster_id(&db)?;
    let added = db.member_add(peer_urls, learner)?;
    if context.out.json {
        return context.out.json(&MemberJson::from(&added));
    }
    let id = added.id;
    context
        .out
        .line(format!("Member {id:16x} added to cluster {cluster:16x}\n"))?;
    let mut initial = Vec::new();
    for member in db.member_list()? {
        let name = if member.id == id { name } else { &member.name };
        initial.extend(member.peer_urls.iter().map(|url| format!("{name}={url}")));
    }
    let urls = added.peer_urls.join(",");
    for (variable, value) in [
        ("NAME", name),
        ("INITIAL_CLUSTER", &initial.join(",")),
        ("INITIAL_ADVERTISE_PEER_URLS", &urls),
        ("INITIAL_CLUSTER_STATE", "existing"),
    ] {
        context.out.line(format!("ETCD_{variable}=\"{value}\""))?;
    }
    Ok(())
}

fn change(
    context: &mut Context,
    id: u64,
    what: &str,
    change: impl FnOnce(&Db) -> libkv::Result<()>,
) -> Result<()> {
    let db = context.open(Access::Read)?;
    let cluster = cluster_id(&db)?;
    change(&db)?;
    match context.out.json {
        true => context.out.json(&ChangedJson {
            id: format!("{id:x}"),
            cluster_id: format!("{cluster:x}"),
        }),
        false => context
            .out
            .line(format!("Member {id:16x} {what} cluster {cluster:16x}")),
    }
}

/// Read before a change, so that a failure to read it does not follow a change.
fn cluster_id(db: &Db) -> Result<u64> {
    let store_id = db.status()?.store_id;
    Ok(ids_of_store(&store_id).map_or(0, |(cluster, _)| cluster))
}

impl MoveLeader {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let id = self.id;
        context.open(Access::Read)?.move_leader(id)?;
        match context.out.json {
            true => context
                .out
                .json(&serde_json::json!({ "id": format!("{id:x}") })),
            false => context
                .out
                .line(format!("Leadership transferred to {id:x}")),
        }
    }
}

impl HashKv {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let hashed = context.open(Access::Read)?.hash_kv(self.rev)?;
        match context.out.json {
            true => context.out.json(&HashJson {
                hash: hashed.hash,
                hash_revision: hashed.hash_revision,
                compact_revision: hashed.compact_revision,
                revision: hashed.revision,
            }),
            false => context
                .out
                .line(format!("{}, {}", hashed.hash, hashed.hash_revision)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_members_are_hexadecimal() {
        assert_eq!(member_id("8e9e05c52164694d"), Ok(0x8e9e_05c5_2164_694d));
        assert_eq!(member_id("0xff"), Ok(255));
        for wrong in ["", "g", "12345678123456781", "-1"] {
            assert!(member_id(wrong).is_err(), "{wrong}");
        }
    }
}
