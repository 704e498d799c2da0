//! Released versions of etcdctl: 3.5.1 comes with etcd (see `etcd.rs`); 3.4 is in Debian's package
//! `etcd-client`, which apt fetches without root into `target/etcd34`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::etcd;

/// The program of etcd 3.5.1, or the reason why it is not available.
pub fn v35() -> Result<PathBuf, String> {
    Ok(etcd::program()?.with_file_name("etcdctl"))
}

/// The program of Debian's etcd 3.4, or the reason why it is not available.
pub fn v34() -> Result<PathBuf, String> {
    let dir = crate::target().join("etcd34");
    let program = dir.join("etcdctl");
    if program.exists() {
        return Ok(program);
    }
    // fetched in another folder and renamed, so that a second test never uses an incomplete file
    let work = dir.join(format!("work-{}", std::process::id()));
    fs::create_dir_all(work.join("lists/partial")).map_err(|e| e.to_string())?;
    fs::create_dir_all(work.join("cache/archives/partial")).map_err(|e| e.to_string())?;
    let fetched = fetch(&work, &program);
    let _ = fs::remove_dir_all(work);
    fetched.map(|()| program)
}

fn fetch(work: &Path, program: &Path) -> Result<(), String> {
    apt(work, &["update"])?;
    apt(work, &["download", "etcd-client"])?;
    let package = fs::read_dir(work)
        .map_err(|e| e.to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|ending| ending == "deb"))
        .ok_or("apt fetched no package")?;
    run(Command::new("dpkg-deb")
        .arg("-x")
        .arg(package)
        .arg(work.join("unpacked")))?;
    let unpacked = work.join("unpacked/usr/bin/etcdctl");
    let version = Command::new(&unpacked)
        .arg("version")
        .env("ETCDCTL_API", "3")
        .output()
        .map_err(|e| e.to_string())?;
    if !String::from_utf8_lossy(&version.stdout).contains("etcdctl version: 3.4.") {
        return Err(format!(
            "Debian's etcd-client is not version 3.4: {}",
            String::from_utf8_lossy(&version.stdout).trim()
        ));
    }
    fs::rename(unpacked, program).map_err(|e| e.to_string())
}

fn apt(work: &Path, words: &[&str]) -> Result<(), String> {
    let option = |name: &str, path: &str| format!("{name}={}", work.join(path).display());
    run(Command::new("apt-get")
        .args([
            "-q",
            "-o",
            "APT::Sandbox::User=",
            "-o",
            "Debug::NoLocking=1",
        ])
        .args([
            "-o",
            &option("Dir::State::Lists", "lists"),
            "-o",
            &option("Dir::Cache", "cache"),
        ])
        .args(words)
        .current_dir(work))
}

fn run(command: &mut Command) -> Result<(), String> {
    let done = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{command:?}: {e}"))?;
    match done.status.success() {
        true => Ok(()),
        false => {
            let stderr = String::from_utf8_lossy(&done.stderr).replace('\n', " ");
            Err(format!("{}: {stderr}", command.get_program().display()))
        }
    }
}
