//! Two revisions of one key.
use libkv::{Db, Options, Put};

fn main() -> Result<(), libkv::Error> {
    let db = Db::open(":memory:", Options::new())?; // or the path of a directory
    let first = db.put(Put::new("greeting", "hello"))?.revision;
    let second = db.put(Put::new("greeting", "goodbye"))?.revision;
    for revision in [first, second] {
        let kv = db.get_at("greeting", revision)?.expect("it was put");
        println!("revision {revision}: {}", String::from_utf8_lossy(&kv.value));
    }
    Ok(())
}
