//! `transact` with an async body: one try at a time, so that nothing waits between its awaits.

use libkv::{Code, Db, Error, Put, Range, Request, Result, Retries, Transaction, Txn};

use crate::wire::{Call, Writer};

/// A transaction that may have to begin again.
pub struct Attempt {
    db: Db,
    transaction: Transaction,
    retries: Retries,
}

impl Attempt {
    /// The first try; `most` retries, none for as many as it takes.
    pub fn new(db: Db, most: Option<u32>) -> Attempt {
        Attempt { transaction: db.transaction(), db, retries: Retries::new(most) }
    }

    /// A call of the body.
    pub fn call(&mut self, call: Call, writer: &mut Writer) -> Result<()> {
        let transaction = &mut self.transaction;
        match call {
            Call::Get(0, key) => writer.found(transaction.get(key)?.as_ref()),
            Call::Request(Request::Range(range)) => writer.range(&transaction.range(Range { ..range })?),
            Call::Request(Request::Put(put)) => {
                transaction.put(Put { durability: None, ..put })?;
                writer.nothing();
            }
            Call::Request(Request::Delete(delete)) => writer.just(transaction.delete(delete.range)?),
            _ => return Err(Error::new(Code::Internal, "a transaction was asked for something else")),
        }
        Ok(())
    }

    /// What commits it, and where; none if there is nothing to write.
    pub fn commit(&self) -> Option<(Db, Txn)> {
        self.transaction.txn().map(|txn| (self.db.clone(), txn))
    }

    /// Whether `compacted` from a read only says that somebody was faster.
    pub fn is_overtaken(&self) -> bool {
        self.transaction.is_overtaken(&Error::new(Code::Compacted, ""))
    }

    /// Begins again; answers how long to wait before, in milliseconds.
    pub fn again(&mut self) -> Result<i64> {
        let wait = self.retries.after(&self.transaction)?;
        self.transaction = self.db.transaction();
        Ok(wait.as_millis() as i64)
    }
}
