// Generated, do not edit: change bindings/vocabulary/vocabulary.toml and run `cargo vocabulary`.
'use strict'

/** What is asked of a store, first byte of a request. */
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
  authEnable: 22,
  authDisable: 23,
  authStatus: 24,
  userAdd: 25,
  userGet: 26,
  userList: 27,
  userDelete: 28,
  userChangePassword: 29,
  userGrantRole: 30,
  userRevokeRole: 31,
  roleAdd: 32,
  roleGet: 33,
  roleList: 34,
  roleDelete: 35,
  roleGrantPermission: 36,
  roleRevokePermission: 37,
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
  authStatus: 24,
  names: 25,
  permissions: 26,
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
