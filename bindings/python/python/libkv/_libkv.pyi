from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Literal, Self, SupportsIndex, TypeVar, final, overload

from typing_extensions import Buffer

from libkv._types import BytesLike, Durability, Op, OpResult, Sign, SortOrder, SortTarget, Target

_T = TypeVar("_T")

__version__: Final[str]

def open(
    target: Target,
    *,
    create: bool | None = True,
    read_only: bool | None = False,
    durability: Durability | None = None,
    busy_timeout_ms: float | None = 5000,
    max_bytes: int | None = 0,
    max_request_bytes: int | None = None,
    max_txn_ops: int | None = None,
    limits: Literal["etcd"] | None = None,
    lease_ttl_min_seconds: int | None = None,
    auto_compaction: int | timedelta | None = None,
    max_readers: int | None = None,
    mode: int | None = None,
    clock: Clock | None = None,
    allow_network_fs: bool | None = False,
    tls_ca: str | None = None,
    tls_cert: str | None = None,
    tls_key: str | None = None,
    tls_server_name: str | None = None,
    user: str | None = None,
    password: str | None = None,
    connect_timeout_ms: int | None = None,
    request_timeout_ms: int | None = None,
    keep_alive_ms: int | None = None,
) -> Db: ...
def _panic() -> None: ...
def _codes() -> list[str]: ...

@final
class KeyValue:
    __match_args__: Final = (
        "key",
        "value",
        "create_revision",
        "mod_revision",
        "version",
        "lease",
    )
    @property
    def key(self) -> bytes: ...
    @property
    def value(self) -> bytes: ...
    @property
    def create_revision(self) -> int: ...
    @property
    def mod_revision(self) -> int: ...
    @property
    def version(self) -> int: ...
    @property
    def lease(self) -> int: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class KeyValues:
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[KeyValue]: ...
    @overload
    def __getitem__(self, index: SupportsIndex, /) -> KeyValue: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[KeyValue]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class PutResult:
    __match_args__: Final = (
        "revision",
        "prev_kv",
    )
    @property
    def revision(self) -> int: ...
    @property
    def prev_kv(self) -> KeyValue | None: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class RangeResult:
    __match_args__: Final = (
        "revision",
        "kvs",
        "count",
        "more",
    )
    @property
    def revision(self) -> int: ...
    @property
    def kvs(self) -> KeyValues: ...
    @property
    def count(self) -> int: ...
    @property
    def more(self) -> bool: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def __iter__(self) -> Iterator[KeyValue]: ...
    @overload
    def __getitem__(self, index: SupportsIndex, /) -> KeyValue: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[KeyValue]: ...

@final
class DeleteResult:
    __match_args__: Final = (
        "revision",
        "deleted",
        "prev_kvs",
    )
    @property
    def revision(self) -> int: ...
    @property
    def deleted(self) -> int: ...
    @property
    def prev_kvs(self) -> list[KeyValue]: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class TxnResult:
    __match_args__: Final = (
        "succeeded",
        "revision",
        "responses",
    )
    @property
    def succeeded(self) -> bool: ...
    @property
    def revision(self) -> int: ...
    @property
    def responses(self) -> list[OpResult]: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __bool__(self) -> bool: ...

@final
class CompactResult:
    __match_args__: Final = ("revision",)
    @property
    def revision(self) -> int: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class Event:
    __match_args__: Final = (
        "type",
        "kv",
        "prev_kv",
    )
    @property
    def type(self) -> Literal["put", "delete"]: ...
    @property
    def kv(self) -> KeyValue: ...
    @property
    def prev_kv(self) -> KeyValue | None: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class Change:
    __match_args__: Final = (
        "key",
        "before",
        "after",
    )
    @property
    def key(self) -> bytes: ...
    @property
    def before(self) -> KeyValue | None: ...
    @property
    def after(self) -> KeyValue | None: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class Status:
    __match_args__: Final = (
        "revision",
        "compacted_revision",
        "keys",
        "bytes_on_disk",
        "bytes_in_use",
        "readers",
        "watchers",
        "leases",
        "format_version",
        "lmdb_version",
        "store_id",
        "durability",
        "alarms",
        "writer_pid",
        "writer_held_ms",
        "oldest_reader",
    )
    @property
    def revision(self) -> int: ...
    @property
    def compacted_revision(self) -> int: ...
    @property
    def keys(self) -> int: ...
    @property
    def bytes_on_disk(self) -> int: ...
    @property
    def bytes_in_use(self) -> int: ...
    @property
    def readers(self) -> int: ...
    @property
    def watchers(self) -> int: ...
    @property
    def leases(self) -> int: ...
    @property
    def format_version(self) -> int: ...
    @property
    def lmdb_version(self) -> str: ...
    @property
    def store_id(self) -> str: ...
    @property
    def durability(self) -> Durability | None: ...
    @property
    def alarms(self) -> list[str]: ...
    @property
    def writer_pid(self) -> int: ...
    @property
    def writer_held_ms(self) -> int: ...
    @property
    def oldest_reader(self) -> int: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class Problem:
    __match_args__: Final = (
        "invariant",
        "key",
        "revision",
        "message",
    )
    @property
    def invariant(self) -> str: ...
    @property
    def key(self) -> bytes: ...
    @property
    def revision(self) -> int: ...
    @property
    def message(self) -> str: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class CheckReport:
    __match_args__: Final = (
        "keys",
        "events",
        "problems",
    )
    @property
    def keys(self) -> int: ...
    @property
    def events(self) -> int: ...
    @property
    def problems(self) -> list[Problem]: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class Put:
    def __new__(
        cls,
        key: BytesLike | Put,
        value: BytesLike = b"",
        *,
        lease: int = 0,
        prev_kv: bool = False,
        ignore_value: bool = False,
        ignore_lease: bool = False,
        durability: Durability | None = None,
    ) -> Self: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Range:
    def __new__(
        cls,
        key: BytesLike | Range = ...,
        *,
        prefix: BytesLike = ...,
        start: BytesLike = ...,
        end: BytesLike = ...,
        revision: int = 0,
        limit: int = 0,
        sort_order: SortOrder = "none",
        sort_target: SortTarget = "key",
        keys_only: bool = False,
        count_only: bool = False,
        min_mod_revision: int = 0,
        max_mod_revision: int = 0,
        min_create_revision: int = 0,
        max_create_revision: int = 0,
        serializable: bool = False,
    ) -> Self: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Delete:
    def __new__(
        cls,
        key: BytesLike | Delete = ...,
        *,
        prefix: BytesLike = ...,
        start: BytesLike = ...,
        end: BytesLike = ...,
        prev_kv: bool = False,
        durability: Durability | None = None,
    ) -> Self: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Compare:
    @staticmethod
    def version(key: BytesLike | Range, result: Sign, version: int) -> Compare: ...
    @staticmethod
    def create_revision(key: BytesLike | Range, result: Sign, revision: int) -> Compare: ...
    @staticmethod
    def mod_revision(key: BytesLike | Range, result: Sign, revision: int) -> Compare: ...
    @staticmethod
    def value(key: BytesLike | Range, result: Sign, value: BytesLike) -> Compare: ...
    @staticmethod
    def lease(key: BytesLike | Range, result: Sign, lease: int) -> Compare: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Txn:
    def __new__(
        cls,
        txn: Txn = ...,
        *,
        compare: Iterable[Compare] = (),
        success: Iterable[Op] = (),
        failure: Iterable[Op] = (),
        durability: Durability | None = None,
    ) -> Self: ...
    def _is_read_only(self) -> bool: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Clock:
    def __new__(cls, unix_ms: int) -> Self: ...
    def advance(self, ms: int) -> None: ...
    @property
    def unix_ms(self) -> int: ...

@final
class Db:
    def put(
        self,
        key: BytesLike | Put,
        value: BytesLike = b"",
        *,
        lease: int = 0,
        prev_kv: bool = False,
        ignore_value: bool = False,
        ignore_lease: bool = False,
        durability: Durability | None = None,
    ) -> PutResult: ...
    def get(self, key: BytesLike, *, revision: int = 0) -> KeyValue | None: ...
    def get_into(self, key: BytesLike, buffer: Buffer) -> int | None: ...
    def range(
        self,
        key: BytesLike | Range = ...,
        *,
        prefix: BytesLike = ...,
        start: BytesLike = ...,
        end: BytesLike = ...,
        revision: int = 0,
        limit: int = 0,
        sort_order: SortOrder = "none",
        sort_target: SortTarget = "key",
        keys_only: bool = False,
        count_only: bool = False,
        min_mod_revision: int = 0,
        max_mod_revision: int = 0,
        min_create_revision: int = 0,
        max_create_revision: int = 0,
        serializable: bool = False,
    ) -> RangeResult: ...
    def scan(
        self,
        key: BytesLike | Range = ...,
        *,
        prefix: BytesLike = ...,
        start: BytesLike = ...,
        end: BytesLike = ...,
        revision: int = 0,
        limit: int = 0,
        sort_order: SortOrder = "none",
        sort_target: SortTarget = "key",
        keys_only: bool = False,
        count_only: bool = False,
        min_mod_revision: int = 0,
        max_mod_revision: int = 0,
        min_create_revision: int = 0,
        max_create_revision: int = 0,
        serializable: bool = False,
    ) -> Scan: ...
    def delete(
        self,
        key: BytesLike | Delete = ...,
        *,
        prefix: BytesLike = ...,
        start: BytesLike = ...,
        end: BytesLike = ...,
        prev_kv: bool = False,
        durability: Durability | None = None,
    ) -> DeleteResult: ...
    def txn(
        self,
        txn: Txn = ...,
        *,
        compare: Iterable[Compare] = (),
        success: Iterable[Op] = (),
        failure: Iterable[Op] = (),
        durability: Durability | None = None,
    ) -> TxnResult: ...
    def transact(self, fn: Callable[[Transaction], _T], *, max_retries: int | None = 64) -> _T: ...
    def compact(self, revision: int, *, physical: bool = False) -> CompactResult: ...
    def snapshot(self, revision: int = 0) -> Snapshot: ...
    def snapshot_at(self, revision: int) -> Snapshot: ...
    def history(self, key: BytesLike, *, limit: int = 0) -> list[Event]: ...
    def changes(
        self,
        after: int,
        upto: int = 0,
        key: BytesLike = ...,
        *,
        prefix: BytesLike = ...,
        start: BytesLike = ...,
        end: BytesLike = ...,
    ) -> EventScan: ...
    def diff(
        self,
        a: int,
        b: int = 0,
        key: BytesLike = ...,
        *,
        prefix: BytesLike = ...,
        start: BytesLike = ...,
        end: BytesLike = ...,
    ) -> ChangeScan: ...
    def status(self) -> Status: ...
    def check(self) -> CheckReport: ...
    def close(self) -> None: ...
    @property
    def closed(self) -> bool: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        exception: BaseException | None = None,
        traceback: TracebackType | None = None,
        /,
    ) -> None: ...
    def _transaction(self) -> Transaction: ...
    def _submit(self, request: Op, answers: _Answers, future: Any) -> _Submitted: ...
    def _submit_compact(self, revision: int, physical: bool, answers: _Answers, future: Any) -> _Submitted: ...

@final
class Snapshot:
    @property
    def revision(self) -> int: ...
    def get(self, key: BytesLike) -> KeyValue | None: ...
    def range(
        self,
        key: BytesLike | Range = ...,
        *,
        prefix: BytesLike = ...,
        start: BytesLike = ...,
        end: BytesLike = ...,
        revision: int = 0,
        limit: int = 0,
        sort_order: SortOrder = "none",
        sort_target: SortTarget = "key",
        keys_only: bool = False,
        count_only: bool = False,
        min_mod_revision: int = 0,
        max_mod_revision: int = 0,
        min_create_revision: int = 0,
        max_create_revision: int = 0,
        serializable: bool = False,
    ) -> RangeResult: ...
    def scan(
        self,
        key: BytesLike | Range = ...,
        *,
        prefix: BytesLike = ...,
        start: BytesLike = ...,
        end: BytesLike = ...,
        revision: int = 0,
        limit: int = 0,
        sort_order: SortOrder = "none",
        sort_target: SortTarget = "key",
        keys_only: bool = False,
        count_only: bool = False,
        min_mod_revision: int = 0,
        max_mod_revision: int = 0,
        min_create_revision: int = 0,
        max_create_revision: int = 0,
        serializable: bool = False,
    ) -> Scan: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        exception: BaseException | None = None,
        traceback: TracebackType | None = None,
        /,
    ) -> None: ...

@final
class Scan:
    def __iter__(self) -> Self: ...
    def __next__(self) -> KeyValue: ...
    def close(self) -> None: ...

@final
class EventScan:
    def __iter__(self) -> Self: ...
    def __next__(self) -> Event: ...
    def close(self) -> None: ...

@final
class ChangeScan:
    def __iter__(self) -> Self: ...
    def __next__(self) -> Change: ...
    def close(self) -> None: ...

@final
class Transaction:
    def get(self, key: BytesLike) -> KeyValue | None: ...
    def range(
        self,
        key: BytesLike | Range = ...,
        *,
        prefix: BytesLike = ...,
        start: BytesLike = ...,
        end: BytesLike = ...,
        limit: int = 0,
        keys_only: bool = False,
    ) -> RangeResult: ...
    def put(self, key: BytesLike | Put, value: BytesLike = b"", *, lease: int = 0) -> None: ...
    def delete(
        self,
        key: BytesLike | Delete = ...,
        *,
        prefix: BytesLike = ...,
        start: BytesLike = ...,
        end: BytesLike = ...,
    ) -> int: ...
    def _end(self) -> _Ended: ...

@final
class _Answers:
    def __new__(cls) -> Self: ...
    def fileno(self) -> int: ...
    def resolve(self) -> None: ...

@final
class _Submitted:
    def cancel(self) -> bool: ...

@final
class _Retries:
    def __new__(cls, most: int | None) -> Self: ...
    def after(self, overtaken: _Ended) -> float: ...

@final
class _Ended:
    @property
    def overtaken(self) -> bool: ...
    def txn(self) -> Txn | None: ...
