// Every call in TypeScript: compiled by `tsc --strict`, not run.
import libkv, {
  type AlarmMember,
  type Bytes,
  type CheckReport,
  Clock,
  type CompactResponse,
  Compare,
  Db,
  Delete,
  type DeleteResponse,
  type Difference,
  type Election,
  type ErrorCode,
  type Event,
  type HashKvResponse,
  type Keys,
  type KeyValue,
  type KeyValueJson,
  KvError,
  type Leaders,
  type Lease,
  type LeaseGrantResponse,
  type LeaseKeepAliveResponse,
  type LeaseRevokeResponse,
  type LeaseTimeToLiveResponse,
  Lock,
  type Member,
  type Op,
  type OpenOptions,
  open,
  openSync,
  type Permission,
  Put,
  type PutResponse,
  Range,
  type RangeResponse,
  restore,
  type ServeOptions,
  type Server,
  type Snapshot,
  type Status,
  serve,
  Txn,
  type TxnResponse,
  type WatchBatch,
  type Watcher,
} from 'libkv'
import { BEGIN_MS, etcd, memory, served } from 'libkv/testing'

const options: OpenOptions = {
  create: true,
  readOnly: false,
  durability: 'sync',
  busyTimeoutMs: Infinity,
  maxBytes: 1,
  maxRequestBytes: 1,
  maxTxnOps: 1,
  limits: 'etcd',
  leaseTtlMinSeconds: 1,
  autoCompaction: 1,
  maxReaders: 1,
  mode: 0o600,
  clock: new Clock(0),
  allowNetworkFs: false,
}

const ofACluster: OpenOptions = {
  tlsCa: 'ca.pem',
  tlsCert: Buffer.from('cert.pem'),
  tlsKey: new URL('file:///key.pem'),
  tlsServerName: 'etcd',
  user: 'me',
  password: 'secret',
  connectTimeoutMs: 1,
  requestTimeoutMs: Infinity,
  keepAliveMs: 1,
}

async function overTheNetwork(): Promise<void> {
  const how: ServeOptions = {
    certFile: 'c.pem',
    keyFile: 'k.pem',
    trustedCaFile: 'ca.pem',
    clientCertAuth: true,
    maxRequestBytes: 1,
    maxTxnOps: 1,
  }
  const { db, server } = await served()
  const second: Server = await serve(db, 'https://127.0.0.1:0', how)
  const cluster: Db = await open(second.address, ofACluster)
  await cluster.close()
  await second[Symbol.asyncDispose]()
  if (!server.closed) await server.close()
}

async function promises(): Promise<void> {
  const db: Db = await open(new URL('file:///tmp/store'), options)
  const bytes: Bytes[] = [
    'text',
    Buffer.from('b'),
    new Uint8Array(1),
    new DataView(new ArrayBuffer(1)),
    new ArrayBuffer(1),
  ]
  const put: PutResponse = await db.put(bytes[0], bytes[1], {
    lease: 1n,
    prevKv: true,
    durability: 'lazy',
    signal: AbortSignal.timeout(1),
  })
  await db.put('k', undefined, { ignoreValue: true, ignoreLease: true })
  await db.put(Put('k', 'v', { prevKv: true }), { signal: new AbortController().signal })
  const found: KeyValue | undefined = await db.get('k', { revision: put.revision })
  const lease: bigint = found?.lease ?? 0n
  const json: KeyValueJson | undefined = found?.toJSON()
  if (json)
    Buffer.from(json.keyBase64 === undefined ? json.key : json.keyBase64).toString() + json.lease
  const len: number | undefined = db.getInto('k', Buffer.alloc(1))
  const range: RangeResponse = await db.range({
    prefix: 'a',
    limit: 1,
    sortOrder: 'descend',
    sortTarget: 'mod',
    keysOnly: true,
  })
  await db.range('k', {
    countOnly: true,
    serializable: true,
    minModRevision: 1,
    maxModRevision: 2,
    minCreateRevision: 1,
    maxCreateRevision: 2,
  })
  for (const kv of await db.range(Range({ start: 'a', end: 'b' }))) kv.key
  for await (const kv of db.scan({ prefix: 'a', revision: 1 })) found === kv
  const deleted: DeleteResponse = await db.delete({ prefix: 'a', prevKv: true })
  await db.delete(Delete('k', { prevKv: true }), {})
  const keys: Keys = { key: 'k' }
  const ops: Op[] = [Put('a', 'b'), Range('a'), Delete('a'), Txn({})]
  const txn: TxnResponse = await db.txn({
    compare: [
      Compare.version('k', '==', 1),
      Compare.createRevision('k', '!=', 1),
      Compare.modRevision('k', '>', 1),
      Compare.value(keys, '<', 'v'),
      Compare.lease({ prefix: '' }, '==', lease),
    ],
    success: ops,
    failure: ops,
    durability: 'sync',
  })
  await db.txn(Txn({ success: ops }), {})
  for (const response of txn.responses) {
    if ('kvs' in response) response.count
    else if ('deleted' in response) response.prevKvs
    else if ('responses' in response) response.succeeded
    else response.prevKv
  }
  const version: number = await db.transact(
    async (t) => {
      await t.put('a', 'b', { lease: 1n })
      await t.range({ prefix: 'a', limit: 1 })
      await t.delete('a')
      return (await t.get('a'))?.version ?? 0
    },
    { maxRetries: 1 },
  )
  const compact: CompactResponse = await db.compact(2, { physical: true })
  const snapshot: Snapshot = await db.snapshot()
  await (await db.snapshotAt(2)).get('k')
  snapshot.getSync('k')?.value.toString()
  snapshot.rangeSync({ prefix: 'a' }).kvs
  await snapshot.range()
  for await (const kv of snapshot.scan()) kv.key
  for (const kv of snapshot.scanSync('k')) kv.modRevision + snapshot.revision
  const events: Event[] = await db.history('k', { limit: 1 })
  for await (const event of db.events(1, 2, { prefix: 'a' }))
    event.type === 'delete' ? event.kv.modRevision : event.prevKv
  for await (const change of db.diff(1))
    ((c: Difference) => c.before?.value ?? c.after?.value)(change)
  const status: Status = await db.status()
  const report: CheckReport = await db.check()
  report.problems.map((problem) => [
    problem.invariant,
    problem.key,
    problem.revision,
    problem.message,
  ])
  const numbers: number[] = [
    len ?? 0,
    range.count,
    deleted.deleted,
    version,
    compact.revision,
    events.length,
    status.bytesInUse,
  ]
  numbers.push(status.oldestReader ?? 0, status.alarms.length, status.maxBytes ?? 0)
  const alarms: AlarmMember[] = [
    ...(await db.alarmList()),
    ...(await db.alarmActivate('nospace', { member: 5n })),
  ]
  alarms.push(
    ...(await db.alarmDisarm()),
    ...(await db.alarmDisarm({ member: 5n, kind: 'corrupt' })),
  )
  alarms[0]?.member satisfies bigint | undefined
  const members: Member[] = [
    ...(await db.memberList()),
    await db.memberAdd(['http://a:1'], { learner: true }),
  ]
  const id: bigint = members[0]?.id ?? 0n
  await db.memberUpdate(id, members[0]?.peerUrls ?? [])
  await db.memberPromote(id)
  await db.memberRemove(id)
  await db.moveLeader(id)
  const hashed: HashKvResponse = await db.hashKv()
  numbers.push(
    hashed.hash,
    (await db.hashKv(2)).compactRevision,
    await db.snapshotSave('backup.db'),
  )
  numbers.push(await restore('backup.db', Buffer.from('store'), { skipHashCheck: false }))
  const revisions: number[] = [
    await db.authEnable(),
    await db.authDisable(),
    (await db.authStatus()).authRevision,
    await db.userAdd('a', { password: 'x' }),
    await db.userAdd('b', { noPassword: true }),
    await db.userDelete('b'),
    await db.userChangePassword('a', 'y'),
    await db.userGrantRole('a', 'r'),
    await db.userRevokeRole('a', 'r'),
    await db.roleAdd('r'),
    await db.roleDelete('r'),
    await db.roleGrantPermission('r', { type: 'read', prefix: '' }),
    await db.roleGrantPermission('r', { type: 'write', key: 'a', rangeEnd: Buffer.from('b') }),
    await db.roleRevokePermission('r', 'a'),
    await db.roleRevokePermission('r', { start: 'a' }),
  ]
  const lists: string[][] = [await db.userGet('a'), await db.userList(), await db.roleList()]
  for (const permission of await db.roleGet('r')) {
    permission satisfies Permission
    revisions.push(await db.roleRevokePermission('r', permission))
  }
  lists.push([String(revisions.length)])
  // @ts-expect-error a user has a password, or none
  await db.userAdd('a')
  // @ts-expect-error not a type of permissions
  await db.roleGrantPermission('r', { type: 'all', key: 'a' })
  // @ts-expect-error a permission has a range
  await db.roleGrantPermission('r', { type: 'read' })
  await db.close()
  await db[Symbol.asyncDispose]()
  db.closed satisfies boolean
}

async function live(db: Db): Promise<void> {
  const revision: number = (await db.revisionAt(new Date())) + (await db.revisionAt(0))
  const watcher: Watcher = db.watch(
    { prefix: 'a' },
    {
      startRevision: revision,
      prevKv: true,
      noPut: true,
      noDelete: true,
      progress: true,
      keepAlive: true,
      signal: AbortSignal.timeout(1),
    },
  )
  for await (const batch of watcher) for (const { kv } of batch) kv.version
  for await (const { revision, events } of watcher)
    events.map((event) => event.prevKv?.modRevision ?? revision)
  const batches: (WatchBatch | undefined)[] = [
    (await watcher.next()).value,
    (await watcher.next({ timeoutMs: 1 })).value,
    db.watch().tryNext(),
    (await db.watch().ready()).tryNext(),
    db.watch({ start: 'a', end: 'b', noPut: true }).ref().unref().tryNext(),
    db.watch('k').tryNext(),
  ]
  watcher.cancel()
  watcher.close()
  watcher[Symbol.dispose]()
  await watcher[Symbol.asyncDispose]()
  const granted: LeaseGrantResponse = await db.leaseGrant(watcher.resumeRevision + batches.length, {
    id: 1n,
  })
  const kept: LeaseKeepAliveResponse = await db.leaseKeepAlive(granted.id)
  const left: LeaseTimeToLiveResponse = await db.leaseTimeToLive(kept.id, { keys: true })
  const revoked: LeaseRevokeResponse = await db.leaseRevoke(left.id, {
    signal: AbortSignal.timeout(1),
  })
  const ids: bigint[] = await db.leaseList()
  const lease: Lease = await db.lease(revoked.revision, { endWithProcess: true })
  lease.onLost(() => ids.push(lease.id))
  if (!lease.lost) await lease.remaining().then((seconds: number) => seconds + lease.ttlSeconds)
  await lease.close()
  const lock: Lock = db.lock('l', 60)
  await lock.acquire({ timeoutMs: 1, signal: AbortSignal.timeout(1) })
  const has: boolean = (await lock.tryAcquire()) && lock.isHeld
  await db.txn({
    compare: [Compare.createRevision(lock.key, '==', lock.revision ?? 0)],
    success: [Put('has', String(has))],
  })
  await lock.release()
  const election: Election = db.election(Buffer.from('e'), 60)
  await election.campaign('me', { timeoutMs: Infinity })
  await election.proclaim(Buffer.from('I'))
  const leader: KeyValue | undefined = await election.leader()
  const leaders: Leaders = election.observe({ keepAlive: false })
  for await (const kv of leaders) if (kv.key.equals(leader?.key ?? election.key)) break
  leaders.close()
  if (election.isLeader && election.revision !== undefined) await election.resign()
}

function synchronousCalls(): void {
  const db = openSync(':memory:')
  db.putSync('k', 'v', { prevKv: true }).prevKv?.createRevision
  db.putSync(Put('k', 'v'))
  db.putSync('k', undefined, { ignoreValue: true })
  db.getSync('k')?.value
  db.rangeSync('k', { limit: 1 }).more
  for (const kv of db.scanSync({ prefix: 'a' })) kv.key
  db.deleteSync({ start: 'a', end: 'b' }).prevKvs
  db.txnSync({ success: [Put('a', 'b')] }).succeeded
  db.compactSync(2).revision
  db.statusSync().storeId
  db.closeSync()
  db[Symbol.dispose]()
}

function errors(error: unknown): ErrorCode | undefined {
  return error instanceof KvError
    ? error.revision === undefined
      ? undefined
      : error.code
    : undefined
}

async function helpers(): Promise<void> {
  const { db, clock } = await etcd({ after() {} })
  await clock.advance(1)
  clock.advanceSync(clock.unixMs - BEGIN_MS)
  await (await memory(undefined, { maxTxnOps: 1 })).close()
  await db.close()
}

// @ts-expect-error a lease is a bigint
Put('k', 'v', { lease: 1 })
// @ts-expect-error the value is missing
Put('k')
// @ts-expect-error the keys to delete are missing
Delete()
// @ts-expect-error no such option
open(':memory:', { readonly: true })
// @ts-expect-error only open creates a Db
new Db()
// @ts-expect-error the id of a lease is a bigint
openSync(':memory:').leaseRevoke(1)
// @ts-expect-error only db.lock creates a Lock
new Lock()

libkv satisfies object
libkv.open satisfies typeof open

export { errors, helpers, live, overTheNetwork, promises, synchronousCalls }
