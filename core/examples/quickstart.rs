//! Two revisions of one key.
use libkv::{Db, Options, Put};

fn main() -> Result<(), libkv::Error> {
    let db = Db::open(":memory:", Options::new())?; // or the path of a directory
    db.put(Put::new("greeting", "hello"))?;
    db.put(Put::new("greeting", "goodbye"))?;
    for revision in [2, 3] {
        let kv = db
            .get_at("greeting", revision)?
            .expect("1 is the empty store, each write adds 1");
        println!(
            "revision {revision}: {}",
            String::from_utf8_lossy(&kv.value)
        );
    }
    Ok(())
}
