//! The error of a call on a file, with the permission that is missing.

use std::io;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use crate::error::{Code, Error};

/// The error of a call on a file. If a permission is missing, the message names it.
pub(crate) fn failed(path: &Path, e: io::Error) -> Error {
    let code = match e.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => Code::PermissionDenied,
        Some(libc::EROFS) => Code::ReadOnly,
        Some(libc::ENOSPC | libc::EDQUOT) => Code::Full,
        Some(libc::ENOENT) => Code::NotFound,
        Some(libc::ENOTDIR) => Code::NotAStore,
        _ => Code::Io,
    };
    let missing = match code {
        Code::PermissionDenied => missing_permission(path),
        _ => None,
    };
    let missing = missing.map_or(String::new(), |right| format!(": no permission to {right}"));
    Error::new(code, format!("{}: {e}{missing}", path.display())).with_source(e)
}

/// The first permission for a file that this process lacks, as text.
fn missing_permission(path: &Path) -> Option<String> {
    let parents: Vec<&Path> = path
        .ancestors()
        .skip(1)
        .filter(|dir| !dir.as_os_str().is_empty())
        .collect();
    let unsearchable = |dir: &&&Path| lacks_permission(dir, Access::EXEC_OK);
    if let Some(dir) = parents.iter().rev().find(unsearchable) {
        return Some(format!("search {}", dir.display()));
    }
    let folder = parents.first().copied().unwrap_or(Path::new("."));
    match () {
        () if lacks_permission(path, Access::READ_OK) => Some("read it".into()),
        () if lacks_permission(path, Access::WRITE_OK) => Some("write it".into()),
        () if lacks_permission(folder, Access::WRITE_OK) => {
            Some(format!("write the directory {}", folder.display()))
        }
        () => None,
    }
}

/// Whether this process lacks a permission for a path that exists.
fn lacks_permission(path: &Path, access: Access) -> bool {
    let checked = accessat(CWD, path, access, AtFlags::EACCESS);
    matches!(checked, Err(Errno::ACCESS | Errno::PERM | Errno::ROFS))
}
