// Generated, do not edit: change bindings/vocabulary/vocabulary.toml and run `cargo vocabulary`.

//! The options of requests, read as `lib/options.js` writes them.

use libkv::*;

use crate::wire::Reader;

impl Reader<'_> {
    /// The options of a put.
    pub fn put_options(&mut self, request: &mut Put) -> Result<()> {
        let [prev_kv, ignore_value, ignore_lease] = self.flags()?;
        request.prev_kv = prev_kv;
        request.ignore_value = ignore_value;
        request.ignore_lease = ignore_lease;
        request.lease = self.i64()?;
        request.durability = self.durability()?;
        Ok(())
    }

    /// The options of a delete.
    pub fn delete_options(&mut self, request: &mut Delete) -> Result<()> {
        let [prev_kv] = self.flags()?;
        request.prev_kv = prev_kv;
        request.durability = self.durability()?;
        Ok(())
    }

    /// The options of a range.
    pub fn range_options(&mut self, request: &mut Range) -> Result<()> {
        let [keys_only, count_only, serializable] = self.flags()?;
        request.keys_only = keys_only;
        request.count_only = count_only;
        request.serializable = serializable;
        request.revision = self.number()?;
        request.limit = self.number()?;
        request.sort_order = self.sort_order()?;
        request.sort_target = self.sort_target()?;
        request.min_mod_revision = self.number()?;
        request.max_mod_revision = self.number()?;
        request.min_create_revision = self.number()?;
        request.max_create_revision = self.number()?;
        Ok(())
    }

    /// The options of a watch.
    pub fn watch_options(&mut self, request: &mut Watch) -> Result<()> {
        let [prev_kv, no_put, no_delete, progress] = self.flags()?;
        request.prev_kv = prev_kv;
        request.no_put = no_put;
        request.no_delete = no_delete;
        request.progress = progress;
        request.start_revision = self.number()?;
        Ok(())
    }
}
