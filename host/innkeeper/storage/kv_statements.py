"""The statements of `KvStore`, built once: building one takes as long as running it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select, update

from innkeeper.storage.schema import kv, kv_usage

# Parameters of conditions are named `its_...`, since a column's own name means the value that it gets.
_IN_SCOPE: Final = and_(*(kv.c[name] == bindparam(f"its_{name}") for name in ("owner", "plugin", "scope")))
_AT_KEY: Final = and_(_IN_SCOPE, kv.c.key == bindparam("its_key"))
_OF_SPACE: Final = and_(*(kv.c[name] == bindparam(f"its_{name}") for name in ("owner", "plugin")))
_LIVE: Final = or_(kv.c.expires.is_(None), kv.c.expires > bindparam("now"))
_EXPIRED: Final = kv.c.expires <= bindparam("now")

GET: Final = select(kv.c.value, kv.c.version, kv.c.expires).where(_AT_KEY, _LIVE)
HEAD: Final = select(kv.c.version, kv.c.size, kv.c.expires).where(_AT_KEY)
INSERT: Final = insert(kv)
UPDATE: Final = update(kv).where(_AT_KEY)
DELETE: Final = delete(kv).where(_AT_KEY)

_KEYS = select(kv.c.key).where(_IN_SCOPE, _LIVE, kv.c.key >= bindparam("prefix"), kv.c.key > bindparam("after"))
LIST_TO_END: Final = _KEYS.order_by(kv.c.key).limit(bindparam("most"))
LIST: Final = _KEYS.where(kv.c.key < bindparam("end")).order_by(kv.c.key).limit(bindparam("most"))

_ROWS = select(kv.c.owner, kv.c.plugin, kv.c.scope, kv.c.key, kv.c.size).where(_EXPIRED)
EXPIRED: Final = _ROWS.order_by(kv.c.expires).limit(bindparam("most"))
EXPIRED_OF_SPACE: Final = _ROWS.where(_OF_SPACE).order_by(kv.c.expires).limit(bindparam("most"))
EXPIRED_USAGE: Final = select(func.count(), func.coalesce(func.sum(kv.c.size), 0)).where(_OF_SPACE, _EXPIRED)

_USAGE_OF_SPACE = and_(*(kv_usage.c[name] == bindparam(f"its_{name}") for name in ("owner", "plugin")))
USAGE: Final = select(kv_usage.c.entries, kv_usage.c.bytes, kv_usage.c.version).where(_USAGE_OF_SPACE)
# SQLite has one writer at a time and leaves this out.
USAGE_TO_CHANGE: Final = USAGE.with_for_update()
ADD_USAGE: Final = (
    update(kv_usage)
    .where(_USAGE_OF_SPACE)
    .values(entries=kv_usage.c.entries + bindparam("more_entries"), bytes=kv_usage.c.bytes + bindparam("more_bytes"))
)
ADD_USAGE_AND_VERSION: Final = ADD_USAGE.values(version=bindparam("new_version"))
