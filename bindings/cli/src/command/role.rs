//! `role`: manages roles and their permissions.

use std::ffi::OsString;

use clap::{Subcommand, ValueEnum};
use libkv::{KeyRange, Permission, PermissionType};
use serde::Serialize;

use crate::command::Context;
use crate::failure::Result;
use crate::json::Key;
use crate::notation::{Notation, escape, message, text_or_base64};
use crate::output::Out;
use crate::selection::Selection;
use crate::target::Access;

const HELP: &str = "\
A role has permissions: a type (read, write or readwrite) and a key or a range of keys. A user with
several roles has all their permissions. `kv auth --help` describes when they are checked.

Examples:
  kv role add reader
  kv role grant-permission reader read config/ --prefix
  kv role grant-permission reader read a d    the keys from a up to d, without d
  kv role get reader
  kv role revoke-permission reader config/ --prefix
  kv user grant-role alice reader
  kv role delete reader";

/// `kv role`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP, subcommand_required = true, arg_required_else_help = true)]
pub struct Role {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// Create a role
    Add {
        /// The name
        name: String,
    },
    /// Show the permissions of a role
    Get {
        /// The name
        name: String,
    },
    /// List the roles
    List,
    /// Remove a role, also from its users
    Delete {
        /// The name
        name: String,
    },
    /// Add a permission to a role, or change the type of the one with this range
    GrantPermission {
        /// The role
        role: String,
        /// What is permitted
        #[arg(value_name = "TYPE", ignore_case = true)]
        kind: Kind,
        #[command(flatten)]
        keys: Keys,
    },
    /// Remove the permission with exactly this range from a role
    RevokePermission {
        /// The role
        role: String,
        #[command(flatten)]
        keys: Keys,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Read,
    Write,
    Readwrite,
}

/// The keys of a permission, with etcdctl's names.
#[derive(clap::Args, Clone, Debug)]
struct Keys {
    /// The key, or the first one of a range
    key: OsString,
    /// The first key after the range
    #[arg(value_name = "ENDKEY")]
    range_end: Option<OsString>,
    /// All keys that begin with KEY
    #[arg(long, conflicts_with = "range_end")]
    prefix: bool,
    /// All keys from KEY on
    #[arg(long, conflicts_with_all = ["range_end", "prefix"])]
    from_key: bool,
}

impl Keys {
    fn range(self, notation: Notation) -> Result<KeyRange> {
        let Keys {
            key,
            range_end,
            prefix,
            from_key,
        } = self;
        let selection = Selection {
            key,
            range_end,
            prefix,
            from_key,
        };
        selection.range(notation)
    }
}

/// A permission in JSON.
#[derive(Serialize)]
pub struct PermissionJson<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    key: Key<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    range_end: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    range_end_base64: Option<String>,
}

impl<'a> From<&'a Permission> for PermissionJson<'a> {
    fn from(permission: &'a Permission) -> PermissionJson<'a> {
        let KeyRange { key, range_end } = &permission.range;
        let (range_end, range_end_base64) = match range_end.is_empty() {
            true => (None, None),
            false => text_or_base64(range_end),
        };
        PermissionJson {
            r#type: permission.kind.name(),
            key: key.as_slice().into(),
            range_end,
            range_end_base64,
        }
    }
}

#[derive(Serialize)]
struct RoleJson<'a> {
    name: String,
    permissions: Vec<PermissionJson<'a>>,
}

/// A role as etcdctl prints it.
pub fn permission_lines(out: &mut Out, role: &str, permissions: &[Permission]) -> Result<()> {
    out.line(format!("Role {}", escape(role.as_bytes())))?;
    type Allows = fn(PermissionType) -> bool;
    let lists: [(&str, Allows); 2] = [
        ("KV Read:", PermissionType::reads),
        ("KV Write:", PermissionType::writes),
    ];
    for (title, allows) in lists {
        out.line(title)?;
        for permission in permissions
            .iter()
            .filter(|permission| allows(permission.kind))
        {
            range_line(out, &permission.range)?;
        }
    }
    Ok(())
}

fn range_line(out: &mut Out, range: &KeyRange) -> Result<()> {
    let KeyRange { key, range_end } = range;
    out.bytes(b"\t")?;
    if range.is_single() {
        out.key_inline(key)?;
        return out.line("");
    }
    out.bytes(b"[")?;
    out.key_inline(key)?;
    out.bytes(b", ")?;
    match range_end.as_slice() {
        [0] => out.bytes(b"<open ended>")?,
        end => out.key_inline(end)?,
    }
    let is_prefix = *range == KeyRange::prefix(&key[..]);
    if is_prefix && !key.is_empty() {
        out.bytes(b") (prefix ")?;
        out.key_inline(key)?;
    }
    out.line(")")
}

impl Role {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let notation = context.global.notation;
        match self.what {
            What::Add { name } => {
                let revision = context.open(Access::Create)?.role_add(&name)?;
                context
                    .out
                    .changed(revision, format!("Role {} created", message(&name)))
            }
            What::Get { name } => {
                let permissions = context.open(Access::Read)?.role_get(&name)?;
                match context.out.json {
                    true => {
                        let permissions = permissions.iter().map(PermissionJson::from).collect();
                        context.out.json(&RoleJson { name, permissions })
                    }
                    false => permission_lines(&mut context.out, &name, &permissions),
                }
            }
            What::List => {
                let roles = context.open(Access::Read)?.role_list()?;
                context.out.names(&roles)
            }
            What::Delete { name } => {
                let revision = context.open(Access::Write)?.role_delete(&name)?;
                context
                    .out
                    .changed(revision, format!("Role {} deleted", message(&name)))
            }
            What::GrantPermission { role, kind, keys } => {
                let kind = match kind {
                    Kind::Read => PermissionType::Read,
                    Kind::Write => PermissionType::Write,
                    Kind::Readwrite => PermissionType::ReadWrite,
                };
                let permission = Permission::new(kind, keys.range(notation)?);
                let db = context.open(Access::Write)?;
                let revision = db.role_grant_permission(&role, permission)?;
                context
                    .out
                    .changed(revision, format!("Role {} updated", message(&role)))
            }
            What::RevokePermission { role, keys } => {
                let range = keys.range(notation)?;
                let db = context.open(Access::Write)?;
                let revision = db.role_revoke_permission(&role, range)?;
                let revoked = format!("Permission is revoked from role {}", message(&role));
                context.out.changed(revision, revoked)
            }
        }
    }
}
