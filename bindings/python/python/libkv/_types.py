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
# generated from bindings/vocabulary/vocabulary.toml: words
Durability: TypeAlias = Literal["sync", "lazy", "none"]
SortOrder: TypeAlias = Literal["none", "ascend", "descend"]
SortTarget: TypeAlias = Literal["key", "version", "create", "mod", "value"]
CompareResult: TypeAlias = Literal["==", ">", "<", "!="]
AlarmKind: TypeAlias = Literal["nospace", "corrupt"]
PermissionType: TypeAlias = Literal["read", "write", "readwrite"]
# end of generated
Op: TypeAlias = Union["Put", "Range", "Delete", "Txn"]
OpResponse: TypeAlias = Union["PutResponse", "RangeResponse", "DeleteResponse", "TxnResponse"]


class OpenOptions(TypedDict, total=False):
    """What open() takes beside the target."""

    # generated from bindings/vocabulary/vocabulary.toml: open
    create: bool | None
    """Create the store if it does not exist (default true); false fails with NotFoundError."""
    read_only: bool | None
    """Writes fail with ReadOnlyError, and no file is created (default false)."""
    durability: Durability | None
    """The durability of acknowledged writes (default sync). A store in memory accepts every
    durability."""
    busy_timeout_ms: float | None
    """How long a write waits for the write lock before it fails with BusyError, which names the
    holder (default 5,000 ms); infinity waits without limit."""
    max_bytes: int | None
    """A quota for pages that hold data, in bytes. It is stored in the store and applies to every
    process; another value replaces it, 0 removes it. Writes beyond it fail with FullError;
    deletions, revocations and compactions always work."""
    max_request_bytes: int | None
    """The maximum size of the keys and values of one write, summed (default 64 MiB)."""
    max_txn_ops: int | None
    """The maximum number of operations in each list of a txn (default 100,000)."""
    limits: Literal["etcd"] | None
    """A preset of limits. Limits that are set separately take precedence."""
    lease_ttl_min_seconds: int | None
    """The minimum TTL of a lease; smaller TTLs are raised to it (default 1 s)."""
    auto_compaction: int | timedelta | None
    """Automatic compaction: the number of revisions, or the age, that is kept (default none)."""
    max_readers: int | None
    """The maximum number of concurrent read transactions, over all processes (default 1,024).
    The first process that opens the store sets it."""
    mode: int | None
    """The permissions of created files (default 0600). The directory also gets x where it has r."""
    clock: "Clock | None"
    """A manual clock for tests. A store that is opened with it cannot be opened by another
    process."""
    allow_network_fs: bool | None
    """Allow a network file system (default false). Its locks may not work."""
    tls_ca: Target | None
    """For clusters: The file (PEM) of the trusted certificate authorities (default: those that
    the system trusts)."""
    tls_cert: Target | None
    """For clusters: The file (PEM) of this client's certificate. Needs tls_key."""
    tls_key: Target | None
    """For clusters: The file (PEM) of the key of tls_cert."""
    tls_server_name: str | None
    """For clusters: The name that the servers' certificates must contain (default: the host of
    each endpoint)."""
    user: str | None
    """For clusters: The user name to log in with. Needs password."""
    password: str | None
    """For clusters: The password of user."""
    connect_timeout_ms: float | None
    """For clusters: The timeout of connecting to an endpoint (default 5,000 ms)."""
    request_timeout_ms: float | None
    """For clusters: The timeout of a request (default 30,000 ms); infinity waits without limit."""
    keep_alive_ms: float | None
    """For clusters: The idle time after which a connection is probed (default 10,000 ms)."""
    # end of generated


class ServeOptions(TypedDict, total=False):
    """What serve() takes beside the store and the address."""

    # generated from bindings/vocabulary/vocabulary.toml: serve
    cert_file: Target | None
    """The file (PEM) of the server's certificate, for an https address; needs key_file."""
    key_file: Target | None
    """The file (PEM) of the key of cert_file."""
    trusted_ca_file: Target | None
    """The file (PEM) of the authorities that clients' certificates come from."""
    client_cert_auth: bool | None
    """Refuse clients without a certificate (default false)."""
    max_request_bytes: int | None
    """The maximum size of the keys and values of one write by a client, summed. The limit of the
    store's handle also applies."""
    max_txn_ops: int | None
    """The maximum number of operations in each list of a client's txn. The limit of the store's
    handle also applies."""
    auth_token: str | None
    """The tokens of users that log in: simple (the default) is kept in memory; a text like
    jwt,sign-method=RS256,priv-key=FILE,pub-key=FILE,ttl=5m signs them."""
    auth_token_ttl_seconds: int | None
    """How long a simple token is valid after its last use, in seconds (default 300)."""
    bcrypt_cost: int | None
    """The cost of the hashes of new passwords, 4 to 31 (default 10). Each step doubles the time."""
    # end of generated


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
    """After ten minutes without an event, deliver a batch without events whose revision shows
    the progress."""
    # end of generated


class TxnOptions(TypedDict, total=False):
    """What txn() takes."""

    compare: "Iterable[Compare]"
    success: Iterable[Op]
    failure: Iterable[Op]
    durability: Durability | None
