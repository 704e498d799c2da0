// Users, roles and permissions: checks the arguments of their calls, and encodes them as
// src/auth.rs reads them.
'use strict'

const { copyBytes, flag, isBytes, knownOptions, oneOf, text, wrong } = require('./arguments.js')
const { KIND, PERMISSION_TYPES, RANGE_KIND } = require('./numbers.js')
const { keysArgs } = require('./request.js')
const wire = require('./wire.js')

const USER = 'the name of the user'
const ROLE = 'the name of the role'
const PASSWORD = 'the password'

/** The calls whose arguments are texts. */
const TEXTS = {
  authEnable: [],
  authDisable: [],
  authStatus: [],
  userGet: [USER],
  userList: [],
  userDelete: [USER],
  userChangePassword: [USER, PASSWORD],
  userGrantRole: [USER, ROLE],
  userRevokeRole: [USER, ROLE],
  roleAdd: [ROLE],
  roleGet: [ROLE],
  roleList: [],
  roleDelete: [ROLE],
}

/** Encodes a call of `TEXTS`. */
function writeTexts(call, given) {
  const checked = TEXTS[call].map((what, at) => text(what, given[at]))
  wire.begin(KIND[call])
  checked.forEach(wire.bytes)
}

/** Encodes a user with a password, or one that has only certificates. */
function writeUserAdd(name, options) {
  const { password, noPassword } = knownOptions('userAdd', options, ['password', 'noPassword'])
  const user = text(USER, name)
  const without = flag('option noPassword', noPassword)
  if (without === (password !== undefined))
    throw new TypeError('userAdd takes one of password and noPassword: true')
  const secret = without ? '' : text('option password', password)
  wire.begin(KIND.userAdd)
  wire.u8(without ? 0 : 1)
  wire.bytes(user)
  wire.bytes(secret)
}

const SELECT = ['key', 'rangeEnd', 'prefix', 'start', 'end']

/** The range of a permission: `{key, rangeEnd}` as roleGet returns it, or as for other calls. */
function permissionRange(call, given) {
  if (!isBytes(given) && given.rangeEnd !== undefined) {
    const { key, rangeEnd, prefix, start, end } = given
    if (key === undefined || (prefix ?? start ?? end) !== undefined)
      throw new TypeError(`${call} takes rangeEnd with key, and without prefix, start and end`)
    const [a, b] = [copyBytes('key', key), copyBytes('rangeEnd', rangeEnd)]
    if (b.length === 0) return { how: RANGE_KIND.key, a }
    const isOpen = b.length === 1 && (b === '\0' || b[0] === 0)
    return isOpen ? { how: RANGE_KIND.fromKey, a } : { how: RANGE_KIND.between, a, b }
  }
  const { type, rangeEnd, ...range } = isBytes(given) ? { key: given } : given
  const keys = keysArgs(call, range)
  if (keys.how !== RANGE_KIND.all) return keys
  throw new TypeError(
    `${call} needs a key, a prefix, or start and end; all keys are { prefix: '' }`,
  )
}

/** Encodes a permission that a role gets. */
function writeGrant(role, permission) {
  const call = 'roleGrantPermission'
  const name = text(ROLE, role)
  if (typeof permission !== 'object' || permission === null || isBytes(permission))
    throw wrong('the permission', 'an object', permission)
  const { type } = knownOptions(call, permission, ['type', ...SELECT])
  if (type === undefined) throw wrong('type', `one of ${PERMISSION_TYPES.join(', ')}`, type)
  const [number, range] = [oneOf('type', type, PERMISSION_TYPES), permissionRange(call, permission)]
  wire.begin(KIND.roleGrantPermission)
  wire.bytes(name)
  wire.u8(number)
  wire.keyRange(range)
}

/** Encodes the range that a role loses. A permission of roleGet has one. */
function writeRevocation(role, range) {
  const call = 'roleRevokePermission'
  const name = text(ROLE, role)
  const given = isBytes(range) ? range : knownOptions(call, range, ['type', ...SELECT])
  const keys = permissionRange(call, given)
  wire.begin(KIND.roleRevokePermission)
  wire.bytes(name)
  wire.keyRange(keys)
}

module.exports = { writeGrant, writeRevocation, writeTexts, writeUserAdd }
