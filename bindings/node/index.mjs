// The same module for `import`: the same classes, since it is the same code.
import libkv from './index.js'

export const { Clock, Compare, Db, Delete, KvError, Put, Range, Snapshot, Txn, open, openSync } = libkv
export default libkv
