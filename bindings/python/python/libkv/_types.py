"""The types of arguments, for the stubs and for libkv.aio."""

from collections.abc import Iterable
from datetime import timedelta
from os import PathLike
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict, Union

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from libkv._libkv import (
        Clock,
        Compare,
        Delete,
        DeleteResponse,
        Put,
        PutResponse,
        Range,
        RangeResponse,
        Txn,
        TxnResponse,
    )

BytesLike: TypeAlias = Union["Buffer", str]
"""Keys and values as arguments: any contiguous buffer, or str as UTF-8."""

Target: TypeAlias = str | bytes | PathLike[str] | PathLike[bytes]
SortOrder: TypeAlias = Literal["none", "ascend", "descend"]
SortTarget: TypeAlias = Literal["key", "version", "create", "mod", "value"]
Durability: TypeAlias = Literal["sync", "lazy", "none"]
AlarmKind: TypeAlias = Literal["nospace", "corrupt"]
Sign: TypeAlias = Literal["==", "!=", ">", "<"]
Op: TypeAlias = Union["Put", "Range", "Delete", "Txn"]
OpResponse: TypeAlias = Union["PutResponse", "RangeResponse", "DeleteResponse", "TxnResponse"]


class OpenOptions(TypedDict, total=False):
    """What open() takes beside the target."""

    create: bool | None
    read_only: bool | None
    durability: Durability | None
    busy_timeout_ms: float | None
    max_bytes: int | None
    max_request_bytes: int | None
    max_txn_ops: int | None
    limits: Literal["etcd"] | None
    lease_ttl_min_seconds: int | None
    auto_compaction: int | timedelta | None
    max_readers: int | None
    mode: int | None
    clock: "Clock | None"
    allow_network_fs: bool | None
    tls_ca: Target | None
    tls_cert: Target | None
    tls_key: Target | None
    tls_server_name: str | None
    user: str | None
    password: str | None
    connect_timeout_ms: float | None
    request_timeout_ms: float | None
    keep_alive_ms: float | None


class ServeOptions(TypedDict, total=False):
    """What serve() takes beside the store and the address."""

    cert_file: Target | None
    key_file: Target | None
    trusted_ca_file: Target | None
    client_cert_auth: bool | None
    max_request_bytes: int | None
    max_txn_ops: int | None


class TransactionPutOptions(TypedDict, total=False):
    """What put() takes beside key and value, inside transact()."""

    lease: int


class PutOptions(TransactionPutOptions, total=False):
    """What put() takes beside key and value."""

    prev_kv: bool
    ignore_value: bool
    ignore_lease: bool
    durability: Durability | None


class KeyOptions(TypedDict, total=False):
    """Which keys, unless it is a single one."""

    prefix: BytesLike
    start: BytesLike
    end: BytesLike


class TransactionRangeOptions(KeyOptions, total=False):
    """What range() takes beside the key inside transact()."""

    limit: int
    keys_only: bool


class RangeOptions(TransactionRangeOptions, total=False):
    """What range() and scan() take beside the key."""

    revision: int
    sort_order: SortOrder
    sort_target: SortTarget
    count_only: bool
    min_mod_revision: int
    max_mod_revision: int
    min_create_revision: int
    max_create_revision: int
    serializable: bool


class DeleteOptions(KeyOptions, total=False):
    """What delete() takes beside the key."""

    prev_kv: bool
    durability: Durability | None


class WatchOptions(KeyOptions, total=False):
    """What watch() takes beside the key."""

    start_revision: int
    prev_kv: bool
    no_put: bool
    no_delete: bool
    progress: bool


class TxnOptions(TypedDict, total=False):
    """What txn() takes."""

    compare: "Iterable[Compare]"
    success: Iterable[Op]
    failure: Iterable[Op]
    durability: Durability | None
