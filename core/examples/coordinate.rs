//! A worker: acquires a lock, then reads every change of the configuration since revision 1.
use libkv::{Db, KeyRange, Options, Watch};

fn main() -> Result<(), libkv::Error> {
    let path = std::env::args().nth(1).expect("the directory of the store");
    let db = Db::open(path, Options::new())?;
    let mut lock = db.lock("worker", 10)?; // released when this process ends, even by a crash
    lock.acquire(None)?;
    println!(
        "fenced by revision {}",
        lock.revision().expect("it is held")
    );
    for batch in db.watch(Watch::new(KeyRange::prefix("config/")).start_revision(1))? {
        for event in batch?.events {
            let kv = event.kv;
            let key = String::from_utf8_lossy(&kv.key);
            let value = String::from_utf8_lossy(&kv.value);
            println!("{} {key} = {value}", kv.mod_revision);
            if key == "config/stop" {
                return lock.release();
            }
        }
    }
    Ok(())
}
