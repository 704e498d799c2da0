// The module for `import`. It has the same classes, because it is the same code.
import libkv from './index.js'

export const {
  Clock,
  Compare,
  Db,
  Delete,
  Election,
  KvError,
  Leaders,
  Lease,
  Lock,
  Put,
  Range,
  Server,
  Snapshot,
  Txn,
  Watcher,
  open,
  openSync,
  restore,
  serve,
} = libkv
export default libkv
