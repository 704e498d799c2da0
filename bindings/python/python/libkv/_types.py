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
"""Keys and values as they come in: any contiguous buffer, or str as UTF-8."""

Target: TypeAlias = str | bytes | PathLike[str] | PathLike[bytes]
# generated from bindings/vocabulary/vocabulary.toml: words
Durability: TypeAlias = Literal["sync", "lazy", "none"]
SortOrder: TypeAlias = Literal["none", "ascend", "descend"]
SortTarget: TypeAlias = Literal["key", "version", "create", "mod", "value"]
CompareResult: TypeAlias = Literal["==", ">", "<", "!="]
AlarmKind: TypeAlias = Literal["nospace", "corrupt"]
# end of generated
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

    # generated from bindings/vocabulary/vocabulary.toml: transaction put
    lease: int
    """The lease to attach the key to; 0: none."""
    # end of generated


class PutOptions(TransactionPutOptions, total=False):
    """What put() takes beside key and value."""

    # generated from bindings/vocabulary/vocabulary.toml: put
    prev_kv: bool
    """Return the previous pair."""
    ignore_value: bool
    """Keep the current value; the key must exist."""
    ignore_lease: bool
    """Keep the current lease; the key must exist."""
    durability: Durability | None
    """The durability of this write; the default is the handle's. No effect inside a txn."""
    # end of generated


class KeyOptions(TypedDict, total=False):
    """Which keys, unless it is a single one."""

    prefix: BytesLike
    start: BytesLike
    end: BytesLike


class TransactionRangeOptions(KeyOptions, total=False):
    """What range() takes beside the key inside transact()."""

    # generated from bindings/vocabulary/vocabulary.toml: transaction range
    limit: int
    """The maximum number of pairs, after filters and sorting; 0 or negative: all."""
    keys_only: bool
    """Omit the values."""
    # end of generated


class RangeOptions(TransactionRangeOptions, total=False):
    """What range() and scan() take beside the key."""

    # generated from bindings/vocabulary/vocabulary.toml: range
    revision: int
    """The revision to read; 0 or negative: the current one."""
    sort_order: SortOrder
    """The sort order; the default is key order, or ascending for another target."""
    sort_target: SortTarget
    """The field to sort by; the default is the key."""
    count_only: bool
    """Return only the count. Limit and filters have no effect."""
    min_mod_revision: int
    """Only pairs with mod_revision >= this; 0 is off."""
    max_mod_revision: int
    """Only pairs with mod_revision <= this; 0 is off."""
    min_create_revision: int
    """Only pairs with create_revision >= this; 0 is off."""
    max_create_revision: int
    """Only pairs with create_revision <= this; 0 is off."""
    serializable: bool
    """Allow a cluster's member to return data that may be stale."""
    # end of generated


class DeleteOptions(KeyOptions, total=False):
    """What delete() takes beside the key."""

    # generated from bindings/vocabulary/vocabulary.toml: delete
    prev_kv: bool
    """Return the deleted pairs."""
    durability: Durability | None
    """The durability of this write; the default is the handle's. No effect inside a txn."""
    # end of generated


class WatchOptions(KeyOptions, total=False):
    """What watch() takes beside the key."""

    # generated from bindings/vocabulary/vocabulary.toml: watch
    start_revision: int
    """The first revision to deliver; 0: only events after this call. It may be in the future."""
    prev_kv: bool
    """Return the previous pair with each event."""
    no_put: bool
    """Omit puts."""
    no_delete: bool
    """Omit deletions."""
    progress: bool
    """After ten minutes without an event, deliver a batch without events whose revision shows the progress."""
    # end of generated


class TxnOptions(TypedDict, total=False):
    """What txn() takes."""

    compare: "Iterable[Compare]"
    success: Iterable[Op]
    failure: Iterable[Op]
    durability: Durability | None
