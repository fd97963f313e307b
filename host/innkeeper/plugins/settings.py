"""The sections of the host's configuration beside bounds and limits: what the operator decides for services, journals
and policies. A service that needs one more value adds it here, with its default and the reason for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from innkeeper.sandbox.limits import MIB

Keep = Literal["never", "errors", "all"]


@dataclass(frozen=True, slots=True)
class Policy:
    """What the host does by itself.

    Attributes:
        new_bytes: "ask": other bytes of a plugin need another consent; "same": bytes that request no more than was
            consented to take the grant over.
        failures: traps and limits within one minute after which a plugin is paused; 0: never.
    """

    new_bytes: Literal["ask", "same"] = "ask"
    failures: int = 60


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """What is kept of calls.

    Attributes:
        keep: "never"; "errors": of calls that failed; "all".
        days: for which a journal is kept.
        most_bytes: that one journal may have; a longer one is not kept, and is said to be too long.
        total_bytes: that all journals of an owner may have; the oldest go first.
        memory: bytes that the journals of all calls under way, and of those that are being written, may have together;
            what does not fit is not kept, so that neither guests nor a slow disk can use up the host's memory. One
            plugin's may have half of it, so that none keeps out the others'.
    """

    keep: Keep = "never"
    days: float = 30.0
    most_bytes: int = 16 * MIB
    total_bytes: int = 256 * MIB
    memory: int = 128 * MIB


@dataclass(frozen=True, slots=True)
class MemoSettings:
    """The memory of pure calls.

    Attributes:
        memory: bytes of results that are kept in memory; 0: none.
        disk: bytes of results that are kept on disk; 0: none.
        days: for which a result is kept on disk.
    """

    memory: int = 64 * MIB
    disk: int = 256 * MIB
    days: float = 30.0


@dataclass(frozen=True, slots=True)
class SecretsSettings:
    """Where the values of secrets come from, beside the variables INNKEEPER_SECRET_NAME.

    Attributes:
        file: a TOML file of NAME = "value", of mode 0600 and the host's user; None: there is none.
    """

    file: str | None = None


@dataclass(frozen=True, slots=True)
class FilesSettings:
    """The folders behind logical names.

    Attributes:
        roots: name, such as "user" for user://, to an absolute path.
        quota: bytes that one guest may write.
        entries: files and folders that one guest may make.
    """

    roots: Mapping[str, str] = field(default_factory=dict)
    quota: int = 64 * MIB
    entries: int = 10_000


@dataclass(frozen=True, slots=True)
class LlmEndpoint:
    """An OpenAI-compatible endpoint.

    Attributes:
        url: its base, such as "https://api.example.com/v1".
        secret: name of the secret that goes into its Authorization header, or None.
        models: name that plugins use, to name at the endpoint.
    """

    url: str
    secret: str | None = None
    models: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LlmSettings:
    """Language models.

    Attributes:
        endpoints: by name.
        tokens_per_day: of one plugin and owner, prompts and answers together.
        cache: seconds for which an equal question gets the kept answer; 0: answers are not kept.
        embeddings: bytes of embeddings that are kept by content and model.
    """

    endpoints: Mapping[str, LlmEndpoint] = field(default_factory=dict)
    tokens_per_day: int = 1_000_000
    cache: float = 0.0
    embeddings: int = 64 * MIB


@dataclass(frozen=True, slots=True)
class Retention:
    """For how long what belongs to an owner is kept.

    Attributes:
        audit_days: records of the audit log.
        event_days: events that nobody took.
    """

    audit_days: float = 90.0
    event_days: float = 7.0
