"""The store itself."""

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, cast, overload

import libkv
from libkv import _libkv
from libkv._types import (
    AlarmKind,
    BytesLike,
    DeleteOptions,
    KeyOptions,
    OpenOptions,
    PermissionType,
    PutOptions,
    RangeOptions,
    Target,
    TxnOptions,
    WatchOptions,
)
from libkv.aio._calls import ABSENT, handle_factory, optional, run
from libkv.aio._claims import Election, Lock
from libkv.aio._lease import Lease
from libkv.aio._mailbox import mailbox_of, wait_for_response
from libkv.aio._reads import Scan, Snapshot
from libkv.aio._requests import Requests
from libkv.aio._transaction import Transaction, plain
from libkv.aio._watcher import Watcher

if TYPE_CHECKING:
    from typing_extensions import Buffer

_T = TypeVar("_T")


class Db(Requests):
    """An open store; see libkv.Db. Created by open(), or from an open libkv.Db.

    An asynchronous context manager that closes the store.
    """

    async def put(
        self, key: BytesLike | libkv.Put, value: BytesLike = ABSENT, **options: Unpack[PutOptions]
    ) -> libkv.PutResponse:
        """Write one key; see libkv.Db.put()."""
        return cast("libkv.PutResponse", await self._write(libkv.Put(key, *optional(value), **options)))

    async def get(self, key: BytesLike, *, revision: int = 0) -> libkv.KeyValue | None:
        """Read one key, now or at a revision; None if it does not exist. See libkv.Db.get()."""
        if self._db._is_remote:
            request = libkv.Range(key, revision=max(revision, 0))
            kvs = cast("libkv.RangeResponse", await self._submit(request)).kvs
            return kvs[0] if kvs else None
        return self._db.get(key, revision=revision) if revision else self._db.get(key)

    async def get_into(self, key: BytesLike, buffer: "Buffer") -> int | None:
        """Copy the value of one key into a writable buffer; see libkv.Db.get_into()."""
        return await run(self._db, self._db.get_into, key, buffer)

    async def range(
        self, key: BytesLike | libkv.Range = ABSENT, **options: Unpack[RangeOptions]
    ) -> libkv.RangeResponse:
        """Read the pairs of a range at one revision; see libkv.Db.range()."""
        if self._db._is_remote:
            return cast("libkv.RangeResponse", await self._submit(libkv.Range(*optional(key), **options)))
        return self._db.range(*optional(key), **options)

    def scan(self, key: BytesLike | libkv.Range = ABSENT, **options: Unpack[RangeOptions]) -> Scan[libkv.KeyValue]:
        """Iterate over the pairs of a range, all at one revision; see libkv.Db.scan()."""
        scan = self._db.scan(*optional(key), **options)
        return Scan(lambda: scan, self._db)

    async def delete(
        self, key: BytesLike | libkv.Delete = ABSENT, **options: Unpack[DeleteOptions]
    ) -> libkv.DeleteResponse:
        """Delete keys; see libkv.Db.delete()."""
        return cast("libkv.DeleteResponse", await self._write(libkv.Delete(*optional(key), **options)))

    async def txn(self, txn: libkv.Txn = ABSENT, **options: Unpack[TxnOptions]) -> libkv.TxnResponse:
        """Compare, then run one of two lists of operations in one revision; see libkv.Db.txn()."""
        request = libkv.Txn(*optional(txn), **options)
        if request._is_read_only() and not self._db._is_remote:
            return self._db.txn(request)
        return cast("libkv.TxnResponse", await self._write(request))

    @overload
    async def transact(
        self, fn: Callable[[Transaction], Coroutine[Any, Any, _T]], *, max_retries: int | None = 64
    ) -> _T: ...

    @overload
    async def transact(self, fn: Callable[[libkv.Transaction], _T], *, max_retries: int | None = 64) -> _T: ...

    async def transact(self, fn: Callable[[Any], Any], *, max_retries: int | None = 64) -> Any:
        """Run fn(t) until its reads are still valid at its commit; see libkv.Db.transact().

        If fn is async, t is a libkv.aio.Transaction, whose calls are awaited; otherwise a
        libkv.Transaction.
        """
        is_async = inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)
        retries = _libkv._Retries(max_retries)
        while True:
            t = self._db._transaction()
            try:
                result = await fn(Transaction(t, self._db)) if is_async else plain(await run(self._db, fn, t))
            except libkv.CompactedError:
                attempt = t._end()
                if not attempt.overtaken:
                    raise
            except BaseException:
                if self._db._is_remote:
                    # a call of it may still run on another thread
                    asyncio.get_running_loop().run_in_executor(None, t._end)
                else:
                    t._end()
                raise
            else:
                attempt = t._end()
                txn = attempt.txn()
                if txn is None or (await self.txn(txn)).succeeded:
                    return result
            await asyncio.sleep(retries.after(attempt))

    async def compact(self, revision: int, *, physical: bool = False) -> libkv.CompactResponse:
        """Delete the history below a revision; see libkv.Db.compact()."""
        await self._confirm_watchers()
        request = _libkv._Request.compact(revision, physical=physical)
        return cast("libkv.CompactResponse", await self._submit(request))

    @handle_factory
    async def snapshot(self, revision: int = 0) -> Snapshot:
        """Return a Snapshot of one revision; 0 is the current one. See libkv.Db.snapshot()."""
        return Snapshot(await run(self._db, self._db.snapshot, revision), self._db)

    @handle_factory
    async def snapshot_at(self, revision: int) -> Snapshot:
        """The same as snapshot(revision)."""
        return Snapshot(await run(self._db, self._db.snapshot_at, revision), self._db)

    async def history(self, key: BytesLike, *, limit: int = 0) -> list[libkv.Event]:
        """Return the events of one key, newest first; see libkv.Db.history()."""
        return await run(self._db, self._db.history, key, limit=limit)

    def events(
        self, after: int, upto: int = 0, key: BytesLike = ABSENT, **options: Unpack[KeyOptions]
    ) -> Scan[libkv.Event]:
        """Iterate over the events with after < revision <= upto; see libkv.Db.events()."""
        scan = self._db.events(after, upto, *optional(key), **options)
        return Scan(lambda: scan, self._db)

    def diff(
        self, a: int, b: int = 0, key: BytesLike = ABSENT, **options: Unpack[KeyOptions]
    ) -> Scan[libkv.Difference]:
        """Iterate over the keys that differ between two revisions; see libkv.Db.diff()."""
        return Scan(lambda: self._db.diff(a, b, *optional(key), **options), self._db)

    async def revision_at(self, time: datetime | float) -> int:
        """Return the last revision written by the end of the minute of this time.

        See libkv.Db.revision_at().
        """
        return await run(self._db, self._db.revision_at, time)

    def watch(self, key: BytesLike = ABSENT, **options: Unpack[WatchOptions]) -> Watcher:
        """Watch the events of a range, written by any process; see libkv.Db.watch()."""
        watch = functools.partial(self._db.watch, *optional(key), **options)
        return Watcher(self._source(watch, resume=options.get("start_revision", 0), reads_wait=False), self._db)

    async def lease_grant(self, ttl_seconds: int, *, id: int = 0) -> libkv.LeaseGrantResponse:
        """Grant a lease, which is not kept alive; see libkv.Db.lease_grant()."""
        await self._confirm_watchers()
        request = _libkv._Request.lease_grant(ttl_seconds, id=id)
        return cast("libkv.LeaseGrantResponse", await self._submit(request))

    async def lease_revoke(self, id: int) -> libkv.LeaseRevokeResponse:
        """Revoke a lease: its keys are deleted in one revision; see libkv.Db.lease_revoke()."""
        await self._confirm_watchers()
        request = _libkv._Request.lease_revoke(id)
        return cast("libkv.LeaseRevokeResponse", await self._submit(request))

    async def lease_keep_alive(self, id: int) -> libkv.LeaseKeepAliveResponse:
        """Renew a lease once; see libkv.Db.lease_keep_alive()."""
        return await run(self._db, self._db.lease_keep_alive, id)

    async def lease_time_to_live(self, id: int, *, keys: bool = False) -> libkv.LeaseTimeToLiveResponse:
        """Return the remaining TTL of a lease, and its keys; see libkv.Db.lease_time_to_live()."""
        return await run(self._db, self._db.lease_time_to_live, id, keys=keys)

    async def lease_list(self) -> list[int]:
        """Return the ids of all leases, the next to expire first."""
        return await run(self._db, self._db.lease_list)

    @handle_factory
    async def lease(self, ttl_seconds: int, *, end_with_process: bool = False) -> Lease:
        """Grant a lease that is kept alive until its handle is closed; see libkv.Db.lease()."""
        await self._confirm_watchers()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        pending = self._db._submit_lease(ttl_seconds, mailbox_of(loop), future, end_with_process=end_with_process)
        await wait_for_response(pending, future)
        return Lease(libkv.Lease._adopt(pending), self._db)

    def lock(self, name: BytesLike, ttl_seconds: int) -> Lock:
        """Return a Lock with this name, not acquired yet; see libkv.Db.lock()."""
        return Lock(self._db._claim(name, ttl_seconds), self)

    def election(self, name: BytesLike, ttl_seconds: int) -> Election:
        """Return an Election with this name, without a campaign. See libkv.Db.election()."""
        return Election(self._db._claim(name, ttl_seconds), self)

    async def alarm_list(self) -> list[libkv.AlarmMember]:
        """Return the active alarms, by kind and member; see libkv.Db.alarm_list()."""
        return await asyncio.to_thread(self._db.alarm_list)

    async def alarm_activate(self, kind: AlarmKind, *, member: int = 0) -> list[libkv.AlarmMember]:
        """Activate an alarm; see libkv.Db.alarm_activate()."""
        return await asyncio.to_thread(self._db.alarm_activate, kind, member=member)

    async def alarm_disarm(self, *, member: int = 0, kind: AlarmKind | None = None) -> list[libkv.AlarmMember]:
        """Disarm alarms; see libkv.Db.alarm_disarm()."""
        return await asyncio.to_thread(self._db.alarm_disarm, member=member, kind=kind)

    async def auth_enable(self) -> int:
        """Turn authentication on; see libkv.Db.auth_enable()."""
        return await asyncio.to_thread(self._db.auth_enable)

    async def auth_disable(self) -> int:
        """Turn authentication off; see libkv.Db.auth_disable()."""
        return await asyncio.to_thread(self._db.auth_disable)

    async def auth_status(self) -> libkv.AuthStatus:
        """Return whether authentication is on; see libkv.Db.auth_status()."""
        return await run(self._db, self._db.auth_status)

    async def user_add(self, name: str, password: str | None = None, *, no_password: bool = False) -> int:
        """Create a user; see libkv.Db.user_add()."""
        return await asyncio.to_thread(self._db.user_add, name, password, no_password=no_password)

    async def user_get(self, name: str) -> list[str]:
        """Return the names of the roles of a user; see libkv.Db.user_get()."""
        return await run(self._db, self._db.user_get, name)

    async def user_list(self) -> list[str]:
        """Return the names of all users, sorted."""
        return await run(self._db, self._db.user_list)

    async def user_delete(self, name: str) -> int:
        """Remove a user; see libkv.Db.user_delete()."""
        return await asyncio.to_thread(self._db.user_delete, name)

    async def user_change_password(self, name: str, password: str) -> int:
        """Change the password of a user; see libkv.Db.user_change_password()."""
        return await asyncio.to_thread(self._db.user_change_password, name, password)

    async def user_grant_role(self, name: str, role: str) -> int:
        """Grant a role to a user; see libkv.Db.user_grant_role()."""
        return await asyncio.to_thread(self._db.user_grant_role, name, role)

    async def user_revoke_role(self, name: str, role: str) -> int:
        """Take a role from a user; see libkv.Db.user_revoke_role()."""
        return await asyncio.to_thread(self._db.user_revoke_role, name, role)

    async def role_add(self, role: str) -> int:
        """Create a role without permissions; see libkv.Db.role_add()."""
        return await asyncio.to_thread(self._db.role_add, role)

    async def role_get(self, role: str) -> list[libkv.Permission]:
        """Return the permissions of a role, by key; see libkv.Db.role_get()."""
        return await run(self._db, self._db.role_get, role)

    async def role_list(self) -> list[str]:
        """Return the names of all roles, sorted; see libkv.Db.role_list()."""
        return await run(self._db, self._db.role_list)

    async def role_delete(self, role: str) -> int:
        """Remove a role, also from its users; see libkv.Db.role_delete()."""
        return await asyncio.to_thread(self._db.role_delete, role)

    async def role_grant_permission(
        self,
        role: str,
        type: PermissionType | libkv.Permission,
        key: BytesLike = ABSENT,
        **options: Unpack[KeyOptions],
    ) -> int:
        """Add a permission to a role; see libkv.Db.role_grant_permission()."""
        call = self._db.role_grant_permission
        return await asyncio.to_thread(call, role, type, *optional(key), **options)

    async def role_revoke_permission(
        self, role: str, key: BytesLike | libkv.Permission = ABSENT, **options: Unpack[KeyOptions]
    ) -> int:
        """Remove a permission from a role; see libkv.Db.role_revoke_permission()."""
        call = self._db.role_revoke_permission
        return await asyncio.to_thread(call, role, *optional(key), **options)

    async def status(self) -> libkv.Status:
        """Return the status of the store; see libkv.Db.status()."""
        return await run(self._db, self._db.status)

    async def check(self) -> libkv.CheckReport:
        """Read the whole store and verify every invariant; see libkv.Db.check()."""
        return await asyncio.to_thread(self._db.check)

    async def hash_kv(self, revision: int = 0) -> libkv.HashKvResponse:
        """Return the hash of all events up to a revision; see libkv.Db.hash_kv()."""
        return await asyncio.to_thread(self._db.hash_kv, revision)

    async def member_list(self) -> list[libkv.Member]:
        """Return the members of the cluster; see libkv.Db.member_list()."""
        return await run(self._db, self._db.member_list)

    async def member_add(self, peer_urls: Iterable[str], *, learner: bool = False) -> libkv.Member:
        """Add a member to the cluster; see libkv.Db.member_add()."""
        return await run(self._db, self._db.member_add, peer_urls, learner=learner)

    async def member_remove(self, id: int) -> None:
        """Remove a member from the cluster; see libkv.Db.member_remove()."""
        await run(self._db, self._db.member_remove, id)

    async def member_update(self, id: int, peer_urls: Iterable[str]) -> None:
        """Replace the peer URLs of a member; see libkv.Db.member_update()."""
        await run(self._db, self._db.member_update, id, peer_urls)

    async def member_promote(self, id: int) -> None:
        """Give a learner its vote; see libkv.Db.member_promote()."""
        await run(self._db, self._db.member_promote, id)

    async def move_leader(self, id: int) -> None:
        """Make a member the leader of its cluster; see libkv.Db.move_leader()."""
        await run(self._db, self._db.move_leader, id)

    async def snapshot_save(self, path: Target) -> int:
        """Write a snapshot of the store to a new file; see libkv.Db.snapshot_save()."""
        return await asyncio.to_thread(self._db.snapshot_save, path)

    async def close(self) -> None:
        """Close the store: every later call raises ClosedError. A second close has no effect."""
        await asyncio.to_thread(self._db.close)

    @property
    def closed(self) -> bool:
        """Whether the store is closed, or was opened before a fork()."""
        return self._db.closed

    async def __aenter__(self) -> Self:
        self._db.__enter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self._db).replace("libkv.Db", "libkv.aio.Db")


@handle_factory
async def open(target: Target, **options: Unpack[OpenOptions]) -> Db:  # noqa: A001 - as libkv.open
    """Open a store; arguments and exceptions are those of libkv.open()."""
    return Db(await asyncio.to_thread(libkv.open, target, **options))
