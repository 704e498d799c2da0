import { Clock, Db, OpenOptions, Server } from './index'

/** A context of node:test, or any object that runs a function after the test. */
export interface TestContext {
  after(hook: () => unknown): void
}

/** The first time of the clock of {@link etcd}, in milliseconds since 1970. */
export const BEGIN_MS: number

/** A new store in memory, closed after the test with this context; without one, by the caller. */
export function memory(test?: TestContext, options?: OpenOptions): Promise<Db>

/**
 * A new store in memory with etcd's limits and a manual clock. Only `clock.advance(ms)` changes the
 * time for leases and for compaction by age. When it resolves, the keys of expired leases are
 * deleted: `await clock.advance(30_000)` ends a lease of 30 seconds that is not kept alive.
 */
export function etcd(test?: TestContext, options?: OpenOptions): Promise<{ db: Db; clock: Clock }>

/**
 * The store of {@link etcd}, served on a free port of this machine, `server.address`, to `etcdctl`,
 * to a client of etcd in any language, or to `libkv.open`. Both are closed after the test.
 */
export function served(
  test?: TestContext,
  options?: OpenOptions,
): Promise<{ db: Db; clock: Clock; server: Server }>
