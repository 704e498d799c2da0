//! Two revisions of one key.
use libkv::{Db, Options, Put};

fn main() -> Result<(), libkv::Error> {
    let db = Db::open(":memory:", Options::new())?; // or the path of a directory
    db.put(Put::new("greeting", "hello"))?;
    db.put(Put::new("greeting", "goodbye"))?;
    // 1 is the empty store, each write adds 1
    for revision in [2, 3] {
        let value = db.get_at("greeting", revision)?.expect("a pair").value;
        println!("revision {revision}: {}", String::from_utf8_lossy(&value));
    }
    Ok(())
}
