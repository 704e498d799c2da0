// Responses with methods: those with bytes or 64-bit numbers have `toJSON`, those with a list are
// iterable. See index.d.ts.
'use strict'

const { isUtf8 } = require('node:buffer')

/** Sets `name` to the bytes as a string, or `nameBase64` to their base64 if they are not UTF-8. */
function setBytes(json, name, bytes) {
  if (isUtf8(bytes)) json[name] = bytes.toString('utf8')
  else json[`${name}Base64`] = bytes.toString('base64')
  return json
}

/**
 * The members of a value in the form that JSON can represent; a member with `toJSON` is not
 * changed.
 */
function jsonOf(members) {
  const json = {}
  for (const [name, value] of Object.entries(members)) {
    if (typeof value === 'bigint') json[name] = String(value)
    else if (Buffer.isBuffer(value)) setBytes(json, name, value)
    else if (name === 'keys' && Array.isArray(value))
      json.keys = value.map((key) => setBytes({}, 'key', key))
    else if (name === 'range') json.range = jsonOf(value)
    else json[name] = value
  }
  return json
}

class Response {
  constructor(members) {
    Object.assign(this, members)
  }

  toJSON() {
    return jsonOf(this)
  }
}

/** No base class, which would copy the members: a response may have thousands of these. */
class KeyValue {
  constructor(key, value, createRevision, modRevision, version, lease) {
    this.key = key
    this.value = value
    this.createRevision = createRevision
    this.modRevision = modRevision
    this.version = version
    this.lease = lease
  }

  toJSON() {
    return jsonOf(this)
  }
}

class RangeResponse extends Response {
  [Symbol.iterator]() {
    return this.kvs[Symbol.iterator]()
  }
}

class WatchBatch extends Response {
  [Symbol.iterator]() {
    return this.events[Symbol.iterator]()
  }
}

class AlarmMember extends Response {}
class Difference extends Response {}
class LeaseGrantResponse extends Response {}
class LeaseKeepAliveResponse extends Response {}
class LeaseTimeToLiveResponse extends Response {}
class Member extends Response {}
class Permission extends Response {}
class Problem extends Response {}

module.exports = {
  AlarmMember,
  Difference,
  KeyValue,
  LeaseGrantResponse,
  LeaseKeepAliveResponse,
  LeaseTimeToLiveResponse,
  Member,
  Permission,
  Problem,
  RangeResponse,
  WatchBatch,
  jsonOf,
}
