// Users, roles and permissions: on a store and on a cluster; a server that checks its clients.
'use strict'

const assert = require('node:assert')
const libkv = require('libkv')
const { test } = require('./support.js')

/** A store and its server. */
async function served(t) {
  const db = await libkv.open(':memory:')
  const server = await libkv.serve(db, undefined, { bcryptCost: 4 })
  t.after(async () => {
    await server.close()
    await db.close()
  })
  return { db, server }
}

/** Runs `body` with a store, then with a cluster. */
const both = (name, body) => {
  test(`auth: ${name}, on a store`, async (t) => {
    const { db } = await served(t)
    await body(db)
  })
  test(`auth: ${name}, on a cluster`, async (t) => {
    const { server } = await served(t)
    const cluster = await libkv.open(server.address)
    t.after(() => cluster.close())
    await body(cluster)
  })
}

both('users and their roles', async (db) => {
  const { revision } = await db.put('k', 'v')
  assert.deepStrictEqual(await db.authStatus(), { enabled: false, authRevision: 1, revision })
  const changes = [
    await db.userAdd('alice', { password: '' }),
    await db.userAdd('cn', { noPassword: true }),
    await db.roleAdd('b'),
    await db.roleAdd('a'),
    await db.userGrantRole('alice', 'b'),
    await db.userGrantRole('alice', 'a'),
  ]
  assert.deepStrictEqual(await db.userList(), ['alice', 'cn'])
  assert.deepStrictEqual(await db.roleList(), ['a', 'b'])
  assert.deepStrictEqual(await db.userGet('alice'), ['a', 'b'])
  changes.push(
    await db.userRevokeRole('alice', 'a'),
    await db.roleDelete('b'),
    await db.userChangePassword('alice', 'geheim'),
    await db.userDelete('cn'),
  )
  assert.deepStrictEqual(await db.userGet('alice'), [])
  assert.deepStrictEqual(await db.userList(), ['alice'])
  assert.deepStrictEqual(changes, Array(10).fill(revision))
  assert.deepStrictEqual(await db.authStatus(), { enabled: false, authRevision: 11, revision })
})

/** Permissions as texts. */
const plain = (permissions) =>
  permissions.map(({ type, key, rangeEnd }) => [type, String(key), String(rangeEnd)])

both('permissions', async (db) => {
  await db.roleAdd('role')
  await db.roleGrantPermission('role', { type: 'read', key: 'a' })
  await db.roleGrantPermission('role', { type: 'write', prefix: 'b' })
  await db.roleGrantPermission('role', { type: 'readwrite', start: 'c', end: 'd' })
  await db.roleGrantPermission('role', { type: 'read', start: 'e' })
  await db.roleGrantPermission('role', { type: 'write', key: 'f', rangeEnd: Buffer.from('g') })
  await db.roleGrantPermission('role', { type: 'read', key: 'h', rangeEnd: '\0' })
  await db.roleGrantPermission('role', { type: 'readwrite', key: 'a', rangeEnd: '' })
  const permissions = await db.roleGet('role')
  assert.deepStrictEqual(plain(permissions), [
    ['readwrite', 'a', ''],
    ['write', 'b', 'c'],
    ['readwrite', 'c', 'd'],
    ['read', 'e', '\0'],
    ['write', 'f', 'g'],
    ['read', 'h', '\0'],
  ])
  assert.strictEqual(JSON.stringify(permissions[1]), '{"type":"write","key":"b","rangeEnd":"c"}')
  await db.roleRevokePermission('role', { prefix: 'b' })
  await db.roleRevokePermission('role', 'a')
  for (const permission of await db.roleGet('role'))
    await db.roleRevokePermission('role', permission)
  assert.deepStrictEqual(await db.roleGet('role'), [])
  await db.roleGrantPermission('role', { type: 'read', prefix: '' })
  const [all] = await db.roleGet('role')
  assert.deepStrictEqual(plain([all]), [['read', '\0', '\0']])
  await db.roleRevokePermission('role', all)
})

both('refusals', async (db) => {
  await db.userAdd('user', { password: 'x' })
  await db.roleAdd('role')
  const refused = (call, code, message) => assert.rejects(call, { code, message })
  for (const [call, words] of [
    [() => db.userAdd('user', { password: 'x' }), /user name already exists/],
    [() => db.userGet('none'), /user name not found/],
    [() => db.userDelete('none'), /user name not found/],
    [() => db.userChangePassword('none', 'x'), /user name not found/],
    [() => db.userGrantRole('user', 'none'), /role name not found/],
    [() => db.userRevokeRole('user', 'role'), /role is not granted to the user/],
    [() => db.roleAdd('role'), /role name already exists/],
    [() => db.roleGet('none'), /role name not found/],
    [() => db.roleDelete('none'), /role name not found/],
    [() => db.roleGrantPermission('none', { type: 'read', key: 'a' }), /role name not found/],
    [() => db.roleRevokePermission('role', 'a'), /permission is not granted to the role/],
    [() => db.authEnable(), /root user does not exist/],
  ])
    await refused(call, 'FAILED_PRECONDITION', words)
  for (const [call, words] of [
    [() => db.userAdd('long', { password: 'x'.repeat(73) }), /72 bytes/],
    [() => db.roleAdd(''), /role name is empty/],
    [
      () => db.roleGrantPermission('role', { type: 'read', start: 'b', end: 'a' }),
      /invalid auth management/,
    ],
  ])
    await refused(call, 'INVALID_ARGUMENT', words)
  assert.strictEqual((await db.authStatus()).authRevision, 3)
})

test('auth: wrong arguments', async (t) => {
  const { db } = await served(t)
  await assert.rejects(db.userAdd('', { password: 'x' }), {
    code: 'INVALID_ARGUMENT',
    message: /user name is empty/,
  })
  for (const [call, words] of [
    [() => db.userAdd('x'), /one of password and noPassword: true/],
    [() => db.userAdd('x', { password: 'y', noPassword: true }), /one of password and noPassword/],
    [() => db.userAdd('x', { passwort: 'y' }), /did you mean password/],
    [
      () => db.userAdd(Buffer.from('x'), { password: 'y' }),
      /the name of the user must be a string/,
    ],
    [() => db.userAdd('x', { password: 5 }), /option password must be a string/],
    [() => db.userGet(), /the name of the user must be a string/],
    [() => db.roleAdd('\ud800'), /lone surrogate/],
    [() => db.roleGrantPermission('x'), /the permission must be an object/],
    [() => db.roleGrantPermission('x', { key: 'a' }), /type must be one of read, write, readwrite/],
    [() => db.roleGrantPermission('x', { type: 'READ', key: 'a' }), /type must be one of/],
    [
      () => db.roleGrantPermission('x', { type: 'read' }),
      /needs a key, a prefix, or start and end/,
    ],
    [() => db.roleGrantPermission('x', { type: 'read', key: 'a', prefix: 'b' }), /takes one of/],
    [() => db.roleGrantPermission('x', { type: 'read', rangeEnd: 'b' }), /takes rangeEnd with key/],
    [() => db.roleRevokePermission('x'), /needs a key, a prefix, or start and end/],
    [() => db.roleRevokePermission('x', { keys: 'a' }), /did you mean key/],
  ])
    await assert.rejects(call, { name: 'TypeError', message: words })
  assert.deepStrictEqual([await db.userList(), await db.roleList()], [[], []])
})

/** Turns authentication on, with a user that may read config/. */
async function enable(db) {
  await db.userAdd('root', { password: 'secret' })
  await db.userGrantRole('root', 'root')
  await db.roleAdd('reader')
  await db.roleGrantPermission('reader', { type: 'read', prefix: 'config/' })
  await db.userAdd('alice', { password: 'password' })
  await db.userGrantRole('alice', 'reader')
  await db.authEnable()
}

test('auth: a server checks its clients', async (t) => {
  const { db, server } = await served(t)
  await enable(db)
  await db.put('config/a', '1') // the owner of the store needs no user
  await assert.rejects(libkv.open(server.address, { user: 'alice', password: 'wrong' }), {
    message: /invalid user ID or password/,
  })
  const root = await libkv.open(server.address, { user: 'root', password: 'secret' })
  const alice = await libkv.open(server.address, { user: 'alice', password: 'password' })
  t.after(() => Promise.all([root.close(), alice.close()]))
  assert.strictEqual(String((await alice.get('config/a')).value), '1')
  for (const call of [
    () => alice.put('config/a', '2'),
    () => alice.get('other'),
    () => alice.userList(),
    () => alice.authDisable(),
  ])
    await assert.rejects(call, { code: 'PERMISSION_DENIED', message: /permission denied/ })
  assert.deepStrictEqual(await alice.userGet('alice'), ['reader'])
  assert.strictEqual((await alice.authStatus()).enabled, true)
  await root.roleGrantPermission('reader', { type: 'readwrite', prefix: 'config/' })
  await alice.put('config/a', '2')
  await assert.rejects(root.userDelete('root'), { code: 'INVALID_ARGUMENT' })
  await root.authDisable()
  assert.strictEqual((await db.authStatus()).enabled, false)
})

test('auth: options of serve', async (t) => {
  const { db } = await served(t)
  await assert.rejects(libkv.serve(db, undefined, { authToken: 'other' }), {
    code: 'INVALID_ARGUMENT',
    message: /auth_token/,
  })
  await assert.rejects(libkv.serve(db, undefined, { bcryptCost: 2 ** 32 }), RangeError)
  await assert.rejects(libkv.serve(db, undefined, { authToken: 5 }), TypeError)
  await enable(db)
  const server = await libkv.serve(db, undefined, { authToken: '', authTokenTtlSeconds: 1 })
  // no tokens: there are only certificates
  await assert.rejects(
    libkv
      .open(server.address, { user: 'alice', password: 'password' })
      .then((alice) => alice.get('config/a').finally(() => alice.close())),
    { message: /auth/ },
  )
  await server.close()
})

test('auth: hashing does not block the loop', async () => {
  const db = await libkv.open(':memory:')
  for (const call of [
    () => db.userAdd('user', { password: 'password' }),
    () => db.userChangePassword('user', 'other'),
  ]) {
    let done = false
    const hashed = call().then(() => (done = true))
    // the call has begun: one that runs on the loop would be settled in these turns
    for (let turns = 0; turns < 3; turns++) await undefined
    assert.strictEqual(done, false)
    await hashed
  }
  await db.close()
})
