//! Users, roles and rights: the same command lines of etcdctl 3.5 on a real etcd 3.5.1 and on our
//! server, and those of etcdctl 3.7 on a real etcd 3.7 and on our server.

use std::path::{Path, PathBuf};

use libkv::{LimitsPreset, Options};
use libkv_etcd::Serve;
use libkv_test_support::deadline::deadline;
use libkv_test_support::etcd::{self, Etcd};
use libkv_test_support::fetch::program37;
use libkv_test_support::served::Served;

use crate::lines;
use crate::session::Session;

/// What both versions of etcd do alike. The first part runs while authentication is off.
const COMMANDS: &str = r#"
    put config/a 0
    auth status
    auth enable
    auth disable
    user add root:secret
    user add root:again
    user add alice:password
    user add bob --new-user-password x
    user add cn --no-password
    user add piped --interactive=false <<< from its input\n
    user add -w json json:x
    user delete json
    user list
    user list -w json
    user get alice
    user get alice -w json
    user get never
    user passwd alice --interactive=false <<< new\n
    user passwd never --interactive=false <<< new\n
    role add reader
    role add reader
    role add ''
    role add other
    role list
    role list -w json
    role grant-permission reader read config/ --prefix
    role grant-permission reader readwrite a
    role grant-permission reader write b d
    role grant-permission reader read e --from-key
    role grant-permission reader WRITE z
    role grant-permission reader wrong a
    role grant-permission never read a
    role grant-permission reader read b d
    role get reader
    role get reader -w json
    role get never
    role get other
    role revoke-permission reader a
    role revoke-permission reader never
    role revoke-permission reader e --from-key
    role revoke-permission reader config/ --prefix
    role grant-permission reader read config/ --prefix
    role get reader
    user grant-role alice reader
    user grant-role alice reader
    user grant-role alice other
    user grant-role alice never
    user grant-role never reader
    user get alice
    user get alice --detail
    user revoke-role alice never
    role delete other
    role delete other
    user get alice
    auth enable
    user grant-role root root
    auth enable
    get config/a
    put config/a 1
    get config/a --user root:wrong
    get config/a --user never:x
    get config/a --user cn:x
    get config/a --user root:secret
    put config/a 1 --user root:secret
    put other 1 --user root:secret
    get config/a --user alice:password
    get config/a --user alice:new
    get config/a --user alice --password new
    get --prefix config/ --user alice:new
    get --prefix '' --user alice:new
    get other --user alice:new
    put config/a 2 --user alice:new
    put z 1 --user alice:new
    put z 2 --prev-kv --user alice:new
    del config/a --user alice:new
    del z --user alice:new
    txn --user alice:new <<< val("config/a") = "1"\n\nget config/a\n\nget config/a\n\n
    txn --user alice:new <<< val("other") = "1"\n\nget config/a\n\n\n
    txn --user alice:new <<< val("config/a") = "1"\n\nput config/a 2\n\n\n
    & seen watch --prefix config/ --rev 2 --user alice:new
    wait seen 6
    end seen
    lock config/lock --user alice:new -- true
    lock config/lock --user root:secret -- true
    user list --user alice:new
    user get alice --user alice:new
    user get root --user alice:new
    user add x:y --user alice:new
    user delete alice --user alice:new
    role get reader --user alice:new
    role get root --user alice:new
    role list --user alice:new
    auth enable --user alice:new
    auth disable --user alice:new
    user delete root --user root:secret
    user revoke-role root root --user root:secret
    user delete bob --user root:secret
    user list --user root:secret
    auth status --user root:secret
    auth status -w json --user root:secret
    endpoint health --user root:secret
    alarm list --user root:secret
    compaction 2 --user root:secret
    role grant-permission reader readwrite config/ --prefix --user root:secret
    put config/a 3 --user alice:new
    role delete reader --user root:secret
    put config/a 4 --user alice:new
    user get alice --user alice:new
    auth disable --user root:secret
    get config/a
    auth disable
    user delete root
"#;

/// What 3.7 does in another way than 3.5.1, while authentication is on.
const COMMANDS_OF_37: &str = r#"
    auth status
    auth status --user alice:new
    role grant-permission reader read b a --user root:secret
    compaction 2
    compaction 2 --user alice:new
    lease grant 600
    L = lease grant 600 --user alice:new
    put z 1 --lease {L} --user alice:new
    lease timetolive {L} --user alice:new
    lease timetolive {L} --keys --user alice:new
    lease list --user root:secret
    put other 1 --lease {L} --user root:secret
    lease revoke {L} --user alice:new
    lease revoke {L} --user root:secret
    lease revoke {L} --user root:secret
    member list --user alice:new
    member list
    defrag --user alice:new
    alarm disarm --user alice:new
    watch other --user alice:new
    watch config/a
"#;

/// Runs both tables: the second one before authentication is turned off.
fn transcript(program: &Path, url: &str, tables: &[&str]) -> Vec<(String, String)> {
    let mut session = Session::new(program, url);
    let last_part = "role grant-permission reader readwrite config/ --prefix --user root:secret";
    let (first, last) = COMMANDS.split_at(COMMANDS.find(last_part).expect("it is there"));
    let all = [&[first], tables, &[last]].concat();
    all.into_iter()
        .flat_map(lines)
        .map(|line| (line.to_string(), session.run(line)))
        .collect()
}

fn compare(name: &str, etcd: Result<PathBuf, String>, tables: &[&str]) {
    let etcd = match etcd {
        Ok(etcd) => etcd,
        Err(why) => return println!("not run: {name} beside a real etcd ({why})"),
    };
    let etcdctl = etcd.with_file_name("etcdctl");
    let theirs = Etcd::start_with(&etcd, name, 1, &["--bcrypt-cost", "4"]);
    let how = Serve::new("127.0.0.1:0").name("m0").bcrypt_cost(4);
    let ours = Served::with(name, Options::new().limits(LimitsPreset::Etcd), how);
    let (theirs_url, ours_url) = (theirs.url(), ours.url());
    let (should, is) = std::thread::scope(|scope| {
        let should = scope.spawn(|| transcript(&etcdctl, &theirs_url, tables));
        let is = scope.spawn(|| transcript(&etcdctl, &ours_url, tables));
        (should.join().expect("etcd's"), is.join().expect("ours"))
    });
    let succeeded = |(_, output): &&(String, String)| output.ends_with("status 0");
    let succeeded = should.iter().filter(succeeded).count();
    println!(
        "{name}: {} command lines, {succeeded} of them succeed",
        is.len()
    );
    assert!(
        succeeded > 50,
        "only {succeeded} command lines succeed on etcd"
    );
    let differ = |((line, should), (_, is)): (&(String, String), &(String, String))| {
        (should != is).then(|| format!("{line}\n  etcd:\n{should}\n  ours:\n{is}"))
    };
    let found: Vec<String> = should.iter().zip(&is).filter_map(differ).collect();
    assert!(
        found.is_empty(),
        "{} differences\n{}",
        found.len(),
        found.join("\n")
    );
    assert_eq!(ours.db.check().expect("check").problems.len(), 0);
}

#[test]
fn auth_commands_of_etcdctl_3_5() {
    let _deadline = deadline();
    compare("auth-3.5", etcd::program(), &[]);
}

#[test]
fn auth_commands_of_etcdctl_3_7() {
    let _deadline = deadline();
    compare("auth-3.7", program37(), &[COMMANDS_OF_37]);
}
