// Generated, do not edit: change bindings/vocabulary/vocabulary.toml and run `cargo vocabulary`.
'use strict'

/** The kind of a request: its first byte. */
const KIND = {
  get: 0,
  range: 1,
  put: 2,
  delete: 3,
  txn: 4,
  compact: 5,
  history: 6,
  status: 7,
  check: 8,
  snapshot: 9,
  scan: 10,
  events: 11,
  diff: 12,
  leaseGrant: 13,
  leaseRevoke: 14,
  leaseKeepAlive: 15,
  leaseTimeToLive: 16,
  leaseList: 17,
  revisionAt: 18,
  alarmList: 19,
  alarmActivate: 20,
  alarmDisarm: 21,
  hashKv: 22,
  memberList: 23,
  memberAdd: 24,
  memberRemove: 25,
  memberUpdate: 26,
  memberPromote: 27,
  moveLeader: 28,
  snapshotSave: 29,
  authEnable: 30,
  authDisable: 31,
  authStatus: 32,
  userAdd: 33,
  userGet: 34,
  userList: 35,
  userDelete: 36,
  userChangePassword: 37,
  userGrantRole: 38,
  userRevokeRole: 39,
  roleAdd: 40,
  roleGet: 41,
  roleList: 42,
  roleDelete: 43,
  roleGrantPermission: 44,
  roleRevokePermission: 45,
}
/** What a response begins with. */
const RESPONSE = {
  error: 0,
  none: 1,
  pair: 2,
  put: 3,
  range: 4,
  delete: 5,
  txn: 6,
  compact: 7,
  status: 8,
  check: 9,
  events: 10,
  diff: 11,
  pairs: 12,
  number: 13,
  batches: 14,
  leaseGrant: 15,
  leaseRevoke: 16,
  leaseKeepAlive: 17,
  leaseTimeToLive: 18,
  leases: 19,
  lease: 20,
  claim: 21,
  server: 22,
  alarms: 23,
  hashKv: 24,
  members: 25,
  authStatus: 26,
  names: 27,
  permissions: 28,
}
const DURABILITIES = [null, 'sync', 'lazy', 'none']
const LIMITS = [null, 'etcd']
const RANGE_KIND = {
  key: 0,
  prefix: 1,
  between: 2,
  fromKey: 3,
  all: 4,
}
const SORT_ORDERS = ['none', 'ascend', 'descend']
const SORT_TARGETS = ['key', 'version', 'create', 'mod', 'value']
const COMPARE_TARGET = {
  version: 0,
  createRevision: 1,
  modRevision: 2,
  value: 3,
  lease: 4,
}
const COMPARE_RESULTS = ['==', '>', '<', '!=']
const EVENT_KINDS = ['put', 'delete']
const ALARM_KINDS = [null, 'nospace', 'corrupt']
const PERMISSION_TYPES = ['read', 'write', 'readwrite']

module.exports = {
  ALARM_KINDS,
  COMPARE_RESULTS,
  COMPARE_TARGET,
  DURABILITIES,
  EVENT_KINDS,
  KIND,
  LIMITS,
  PERMISSION_TYPES,
  RANGE_KIND,
  RESPONSE,
  SORT_ORDERS,
  SORT_TARGETS,
}
