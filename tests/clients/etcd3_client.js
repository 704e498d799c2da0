// etcd3_client.js HOST PORT: tests the unmodified client `etcd3` for Node: gRPC with its own stubs.
'use strict'

const assert = require('node:assert')
const { once } = require('node:events')
const { setTimeout: sleep } = require('node:timers/promises')

const { Etcd3 } = require('etcd3')

let passed = 0
let failed = 0

function check(name, got, should) {
  try {
    assert.deepStrictEqual(got, should)
    passed += 1
  } catch {
    failed += 1
    console.log(`FAILED ${name}: ${JSON.stringify(got)} should be ${JSON.stringify(should)}`)
  }
}

async function keyValues(client) {
  check('get of a missing key', await client.get('never').string(), null)
  check('put', (await client.put('k/a').value('1')).header.revision, '2')
  await client.put('k/a').value(2)
  await client.put('k/b').value('')
  await client.put('k/c').value(Buffer.from([0, 255, 128]))
  check('get as a number', await client.get('k/a').number(), 2)
  check('an empty value', await client.get('k/b').string(), '')
  check('bytes', await client.get('k/c').buffer(), Buffer.from([0, 255, 128]))
  check('exists', [await client.get('k/a').exists(), await client.get('never').exists()], [true, false])
  check('at a revision', await client.get('k/a').revision(2).string(), '1')
  check('getAll', Object.keys(await client.getAll().prefix('k/').buffers()), ['k/a', 'k/b', 'k/c'])
  const sorted = await client.getAll().prefix('k/').sort('Mod', 'Descend').limit(2).keys()
  check('sorted and limited', sorted, ['k/c', 'k/b'])
  check('count', await client.getAll().prefix('k/').count(), 3)
  const { kvs, count } = await client.get('k/a').exec()
  check('exec', [count, kvs[0].create_revision, kvs[0].mod_revision, kvs[0].version], ['1', '2', '3', '2'])
  const previous = await client.delete().key('k/a').getPrevious()
  check('delete, previous pair', previous.map(({ value }) => value.toString()), ['2'])
  check('delete by prefix', (await client.delete().prefix('k/')).deleted, '2')
  check('a namespace', [await client.namespace('n/').put('x').value('1').then(() => client.get('n/x').string())], ['1'])
}

async function transactions(client) {
  await client.put('t/a').value('1')
  const then = await client
    .if('t/a', 'Value', '==', '1')
    .and('t/b', 'Version', '==', 0)
    .then(client.put('t/b').value('then'), client.get('t/b'), client.delete().key('t/a'))
    .else(client.put('t/b').value('else'))
    .commit()
  check('txn, then', then.succeeded, true)
  check('txn, a get after a put of the same key', then.responses[1].response_range.kvs[0].value.toString(), 'then')
  check('txn, delete', then.responses[2].response_delete_range.deleted, '1')
  const other = await client.if('t/a', 'Create', '>', 0).then().else(client.get('t/b')).commit()
  check('txn, else', [other.succeeded, other.responses[0].response_range.count], [false, '1'])
  const added = await Promise.all(
    [1, 2, 3].map(() =>
      client.stm({ retries: 100 }).transact(async (tx) => {
        const n = await tx.get('t/n').number()
        await tx.put('t/n').value((n ?? 0) + 1)
      }),
    ),
  )
  check('three software transactions', [added.length, await client.get('t/n').number()], [3, 3])
  const twice = client.if('x', 'Version', '==', 0).then(client.put('x').value(1), client.put('x').value(2)).commit()
  const error = await twice.then(() => null, (error) => error)
  check('the same key twice', /INVALID_ARGUMENT: etcdserver: duplicate key given in txn request/.test(error?.message), true)
}

async function watches(client) {
  const { header } = await client.put('w/before').value('0')
  const watcher = await client.watch().prefix('w/').startRevision(header.revision).withPreviousKV().create()
  const seen = []
  const ended = new Promise((resolve) => {
    watcher.on('put', (kv, previous) => {
      seen.push(['put', kv.key.toString(), kv.value.toString(), previous ? previous.value.toString() : null])
      if (kv.key.toString() === 'w/end') resolve()
    })
    watcher.on('delete', (kv, previous) => seen.push(['delete', kv.key.toString(), '', previous.value.toString()]))
  })
  const second = await client.watch().key('w/a').only('delete').create()
  const deleted = once(second, 'delete')
  await client.put('w/a').value('1')
  await client.put('w/a').value('2')
  await client.delete().key('w/a')
  await client.put('w/end').value('')
  await ended
  check('watch from a revision', seen, [
    ['put', 'w/before', '0', null],
    ['put', 'w/a', '1', null],
    ['put', 'w/a', '2', '1'],
    ['delete', 'w/a', '', '2'],
    ['put', 'w/end', '', null],
  ])
  check('watch, deletes only', (await deleted)[0].key.toString(), 'w/a')
  await watcher.cancel()
  await second.cancel()
}

async function leases(client) {
  const lease = client.lease(60, { autoKeepAlive: false })
  const id = await lease.grant()
  await lease.put('l/a').value('1')
  check('the key has the id of the lease', (await client.get('l/a').exec()).kvs[0].lease, id)
  check('keepaliveOnce', (await lease.keepaliveOnce()).TTL, '60')
  const { TTL, keys } = await client.leaseClient.leaseTimeToLive({ ID: id, keys: true })
  check('the keys of the lease', [Number(TTL) > 50, keys.map(String)], [true, ['l/a']])
  check('leases', (await client.leaseClient.leaseLeases()).leases.map(({ ID }) => ID), [id])
  await lease.revoke()
  check('revoked with its keys', await client.get('l/a').string(), null)
  const short = client.lease(1, { autoKeepAlive: false })
  const watcher = await client.watch().key('l/short').create()
  const gone = once(watcher, 'delete')
  await short.put('l/short').value('1')
  await gone
  check('the lease expires', await client.get('l/short').exists(), false)
  await watcher.cancel()
  const kept = client.lease(2)
  await kept.put('l/kept').value('1')
  await once(kept, 'keepaliveSucceeded')
  check('kept alive', await client.get('l/kept').exists(), true)
  await kept.revoke()
}

async function locksAndMaintenance(client) {
  const lock = client.lock('lock')
  await lock.acquire()
  const taken = await client.lock('lock').acquire().then(() => 'acquired', (error) => error.constructor.name)
  check('a lock in use', taken, 'EtcdLockFailedError')
  await lock.release()
  check('a lock', await client.lock('lock').do(async () => 'held'), 'held')
  const election = client.election('election', 20)
  const campaign = election.campaign('me')
  await campaign.wait()
  check('the leader', await election.leader(), 'me')
  const observer = await election.observe()
  await campaign.proclaim('still me')
  while (observer.leader() !== 'still me') await once(observer, 'change')
  await observer.cancel()
  await campaign.resign()
  check('no leader', await election.leader(), undefined)
  const status = await client.maintenance.status({})
  check('status', [['3.5.1', '3.7.3'].includes(status.version), Number(status.dbSize) > 0], [true, true])
  const { members } = await client.cluster.memberList({})
  check('members', [members.length, members[0].ID], [1, status.leader])
}

async function main([host, port]) {
  const client = new Etcd3({ hosts: `http://${host}:${port}` })
  await keyValues(client)
  await transactions(client)
  await watches(client)
  await leases(client)
  await locksAndMaintenance(client)
  client.close()
  console.log(`etcd3 in Node: ${passed} passed, ${failed} failed`)
  // exit explicitly, because timers of the client may keep the process alive
  await sleep(0)
  process.exit(failed > 0 ? 1 : 0)
}

main(process.argv.slice(2))
