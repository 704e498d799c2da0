import { Clock, Db, OpenOptions, Server } from './index'

/** A context of node:test, or whatever else can be asked to run something afterwards. */
export interface TestContext {
  after(hook: () => unknown): void
}

/** Where the clock of {@link etcd} stands at first, in milliseconds since 1970. */
export const BEGIN_MS: number

/** A fresh store in memory, closed after the test whose context is given; without one, by the caller. */
export function memory(test?: TestContext, options?: OpenOptions): Promise<Db>

/**
 * A fresh store in memory with etcd's own limits and a clock in hand. Time passes for its leases, and
 * for what is kept by age, when `clock.advance(ms)` says so, and once that is answered what expired is
 * gone: `await clock.advance(30_000)` ends a lease of 30 seconds that nobody kept alive.
 */
export function etcd(test?: TestContext, options?: OpenOptions): Promise<{ db: Db; clock: Clock }>

/**
 * The store of {@link etcd}, served to any client of etcd on a free port of this machine, `server.address`: `etcdctl`,
 * a client in any language, or `libkv.open`. Both end after the test.
 */
export function served(
  test?: TestContext,
  options?: OpenOptions,
): Promise<{ db: Db; clock: Clock; server: Server }>
