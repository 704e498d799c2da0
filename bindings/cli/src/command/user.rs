//! `user`: manages users.

use std::io::{self, BufRead};

use clap::Subcommand;
use libkv::{Db, Permission, UserAdd};
use serde::Serialize;

use crate::command::Context;
use crate::command::role::{PermissionJson, permission_lines};
use crate::failure::{Failure, Result};
use crate::notation::message;
use crate::output::Out;
use crate::target::{Access, ask_new_password};

const HELP: &str = "\
Users belong to the clients of a server; see `kv auth --help`. A user has the rights of its roles.
The role root permits everything.

Examples:
  kv user add root                            prompts for the password
  kv user grant-role root root
  kv user add alice:secret
  echo secret | kv user add bob --interactive=false
  kv user add example.com --no-password       logs in with a client certificate of this name
  kv user passwd alice
  kv user get alice --detail
  kv user revoke-role alice reader
  kv user delete bob

Other users of the machine can see a password on the command line. The prompt and standard input
hide it.";

/// `kv user`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP, subcommand_required = true, arg_required_else_help = true)]
pub struct User {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// Create a user
    Add {
        /// The name, or name:password
        #[arg(value_name = "NAME[:PASSWORD]")]
        name: String,
        /// The user logs in with a client certificate only
        #[arg(long)]
        no_password: bool,
        /// The password
        #[arg(long, value_name = "PASSWORD", conflicts_with = "no_password")]
        new_user_password: Option<String>,
        #[command(flatten)]
        prompt: Prompt,
    },
    /// Show the roles of a user
    Get {
        /// The name
        name: String,
        /// Show the permissions of each role
        #[arg(long)]
        detail: bool,
    },
    /// List the users
    List,
    /// Remove a user
    Delete {
        /// The name
        name: String,
    },
    /// Change the password of a user
    Passwd {
        /// The name
        name: String,
        #[command(flatten)]
        prompt: Prompt,
    },
    /// Grant a role to a user
    GrantRole {
        /// The user
        name: String,
        /// The role
        role: String,
    },
    /// Take a role from a user
    RevokeRole {
        /// The user
        name: String,
        /// The role
        role: String,
    },
}

/// Where a password is read from.
#[derive(clap::Args, Clone, Copy, Debug)]
struct Prompt {
    /// Prompt on the terminal; if false, read one line of standard input
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "true", action = clap::ArgAction::Set)]
    interactive: bool,
}

impl Prompt {
    fn password(self, name: &str) -> Result<String> {
        match self.interactive {
            true => ask_new_password(name),
            false => read_password(),
        }
    }
}

/// The first line of standard input.
fn read_password() -> Result<String> {
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    match read.map_err(Failure::io("standard input"))? {
        0 => Err(Failure::usage(
            "standard input has no line with the password",
        )),
        _ => Ok(line.trim_end_matches(['\n', '\r']).to_string()),
    }
}

#[derive(Serialize)]
struct UserJson<'a> {
    name: String,
    roles: Vec<RoleJson<'a>>,
}

#[derive(Serialize)]
struct RoleJson<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<Vec<PermissionJson<'a>>>,
}

impl User {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        match self.what {
            What::Add {
                name,
                no_password,
                new_user_password,
                prompt,
            } => {
                let user = new_user(name, no_password, new_user_password, prompt)?;
                let created = format!("User {} created", message(&user.name));
                let revision = context.open(Access::Create)?.user_add(user)?;
                context.out.changed(revision, created)
            }
            What::Get { name, detail } => {
                let db = context.open(Access::Read)?;
                show(&mut context.out, &db, name, detail)
            }
            What::List => {
                let users = context.open(Access::Read)?.user_list()?;
                context.out.names(&users)
            }
            What::Delete { name } => {
                let revision = context.open(Access::Write)?.user_delete(&name)?;
                context
                    .out
                    .changed(revision, format!("User {} deleted", message(&name)))
            }
            What::Passwd { name, prompt } => {
                let password = prompt.password(&name)?;
                let db = context.open(Access::Write)?;
                let revision = db.user_change_password(&name, password)?;
                context.out.changed(revision, "Password updated")
            }
            What::GrantRole { name, role } => {
                let revision = context.open(Access::Write)?.user_grant_role(&name, &role)?;
                let granted = format!(
                    "Role {} is granted to user {}",
                    message(&role),
                    message(&name)
                );
                context.out.changed(revision, granted)
            }
            What::RevokeRole { name, role } => {
                let db = context.open(Access::Write)?;
                let revision = db.user_revoke_role(&name, &role)?;
                let revoked = format!(
                    "Role {} is revoked from user {}",
                    message(&role),
                    message(&name)
                );
                context.out.changed(revision, revoked)
            }
        }
    }
}

fn new_user(
    name: String,
    no_password: bool,
    password: Option<String>,
    prompt: Prompt,
) -> Result<UserAdd> {
    if no_password {
        return Ok(UserAdd::without_password(name));
    }
    if let Some(password) = password {
        return Ok(UserAdd::new(name, password));
    }
    if let Some((name, password)) = name.split_once(':') {
        return Ok(UserAdd::new(name, password));
    }
    let password = prompt.password(&name)?;
    Ok(UserAdd::new(name, password))
}

fn show(out: &mut Out, db: &Db, name: String, detail: bool) -> Result<()> {
    let roles: Vec<(String, Option<Vec<Permission>>)> = db
        .user_get(&name)?
        .into_iter()
        .map(|role| {
            let permissions = detail.then(|| db.role_get(&role)).transpose()?;
            Ok((role, permissions))
        })
        .collect::<libkv::Result<_>>()?;
    if out.json {
        let roles = roles
            .iter()
            .map(|(name, permissions)| RoleJson {
                name,
                permissions: permissions
                    .as_ref()
                    .map(|permissions| permissions.iter().map(PermissionJson::from).collect()),
            })
            .collect();
        return out.json(&UserJson { name, roles });
    }
    out.line(format!("User: {}", message(&name)))?;
    if !detail {
        let names: Vec<String> = roles.iter().map(|(role, _)| message(role)).collect();
        return out.line(format!("Roles: {}", names.join(" ")));
    }
    for (role, permissions) in roles {
        out.line("")?;
        permission_lines(out, &role, &permissions.unwrap_or_default())?;
    }
    Ok(())
}
