"""The sections of the host's configuration beside bounds and limits: what the operator decides for services, journals
and policies. A service that needs one more value adds it here, with its default and the reason for it.

That one line makes it a key of innkeeper.toml, a variable and a row of `innkeeper config`: its type says what it counts
(`units`). A section is a field of `Configuration`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from innkeeper.sandbox.limits import KIB, MIB

if TYPE_CHECKING:
    # Whoever reads the types has the units; every command imports this module, and few read a setting.
    from innkeeper.plugins.units import (
        AbsolutePath,
        DatabaseUrl,
        Days,
        ModelName,
        Name,
        Port,
        Seconds,
        SecretName,
        Size,
        Upgrade,
        Url,
    )
    from innkeeper.plugins.web_units import Hosts, Networks, Origins
Keep = Literal["never", "errors", "all"]
Mode = Literal["LocalNoPassword", "LocalWithPassword", "MultiUserShared", "SingleUser", "MultiUser"]


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
    days: Days = 30.0
    most_bytes: Size = 16 * MIB
    total_bytes: Size = 256 * MIB
    memory: Size = 128 * MIB


@dataclass(frozen=True, slots=True)
class MemoSettings:
    """The memory of pure calls.

    Attributes:
        memory: bytes of results that are kept in memory; 0: none.
        disk: bytes of an owner's results that are kept on disk; 0: none.
        days: for which a result is kept.
        disk_after: seconds that a node of a workflow must have taken for its result to go to disk, or to be looked for
            there: what takes less is computed again sooner than a database is opened. 0: each. Who asks for a
            call to be remembered has it on disk however short it was.
    """

    memory: Size = 64 * MIB
    disk: Size = 256 * MIB
    days: Days = 30.0
    disk_after: Seconds = 0.02


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Where what is kept lies.

    Attributes:
        url: of a PostgreSQL database, which several hosts can share; it may hold a password, and is never shown whole.
            None: a file of SQLite in the home.
        upgrade: to which schema a host may bring a PostgreSQL database that has data; "yes": to whichever it needs;
            "no": to none, since only its server's operator can copy it first. A file in the home is copied, and
            upgraded without being asked.
    """

    url: DatabaseUrl | None = field(default=None, repr=False)
    upgrade: Upgrade = "no"


@dataclass(frozen=True, slots=True)
class SecretsSettings:
    """Where the values of secrets come from, beside the variables INNKEEPER_SECRET_NAME.

    Attributes:
        file: a TOML file of NAME = "value", of mode 0600 and the host's user; None: there is none.
    """

    file: AbsolutePath | None = None


@dataclass(frozen=True, slots=True)
class FilesSettings:
    """The folders behind logical names.

    Attributes:
        roots: name, such as "user" for user://, to an absolute path.
        quota: bytes that one guest may write in a folder that it was granted; what it overwrites counts again.
        entries: files and folders that one guest may make there.
        folder_bytes: that such a folder may hold; plugins add nothing to one that holds more. A fresh guest for each
            call has a fresh quota, so this is what keeps a plugin from filling the disk.
        folder_entries: files and folders that it may hold. Finding out takes about 3 us for each.
    """

    roots: Mapping[Name, AbsolutePath] = field(default_factory=dict)
    quota: Size = 64 * MIB
    entries: int = 10_000
    folder_bytes: Size = 1024 * MIB
    folder_entries: int = 50_000


@dataclass(frozen=True, slots=True)
class LlmEndpoint:
    """An OpenAI-compatible endpoint.

    Attributes:
        url: its base, such as "https://api.example.com/v1".
        secret: name of the secret that goes into its Authorization header, or None.
        models: name that plugins use, to name at the endpoint. No two endpoints have the same name of a model.
        answer_limit: how the endpoint calls the bound on an answer's tokens: some know the newer name alone.
    """

    url: Url
    secret: SecretName | None = None
    models: Mapping[ModelName, str] = field(default_factory=dict)
    answer_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


@dataclass(frozen=True, slots=True)
class LlmSettings:
    """Language models.

    Attributes:
        endpoints: by name.
        tokens_per_day: of one plugin and owner, prompts and answers together.
        cache: seconds for which an equal question gets the kept answer; 0: answers are not kept.
        cache_sampled: whether answers are kept of questions that ask for a temperature above 0, too: who does so may
            want another answer each time.
        embeddings: bytes of embeddings that are kept by content and model; 0: none.
    """

    endpoints: Mapping[Name, LlmEndpoint] = field(default_factory=dict)
    tokens_per_day: int = 1_000_000
    cache: Seconds = 0.0
    cache_sampled: bool = False
    embeddings: Size = 64 * MIB


@dataclass(frozen=True, slots=True)
class KnowledgeSettings:
    """Knowledge bases.

    Attributes:
        model: name of the model that makes embeddings where neither a base nor its project says another;
            `innkeeper kb models` lists them. "wordllama" works offline.
        tokenizer: that counts where nobody names another: "estimate", or an encoding of the extra `tokens`.
        plugins: plugins that knowledge bases may ask: "embed": it makes vectors; "conditions": entries may name it in
            their conditions; "both". Whoever wrote a base chooses what its conditions ask, and may be a stranger.
    """

    model: ModelName = "wordllama"
    tokenizer: Literal["estimate", "cl100k_base", "o200k_base"] = "estimate"
    plugins: Mapping[Name, Literal["embed", "conditions", "both"]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Retention:
    """For how long what belongs to an owner is kept.

    Attributes:
        audit_days: records of the audit log.
        event_days: events that nobody took.
        run_days: runs that have ended, with their events and results; of runs that plugins submitted, a day at most.
        run_bytes: that all runs of one owner may have; the oldest go first.
    """

    audit_days: Days = 90.0
    event_days: Days = 7.0
    run_days: Days = 30.0
    run_bytes: Size = 1024 * MIB


@dataclass(frozen=True, slots=True)
class RunsSettings:
    """Runs of workflows that wait in the queue and that hosts execute.

    Attributes:
        parallel: runs that this host executes at the same time: their nodes share 64 places, so more wait for each
            other, and each has its values in memory.
        per_user: runs of one owner at the same time, on all hosts: half of a host, so that others find room.
        plugins: of these, runs that plugins submitted.
        per_plugin: of these, runs of one plugin.
        queued: runs of one owner that wait; beyond, submitting answers busy. 1,000 are a batch for a night.
        queued_by_all: runs that wait.
        longest: seconds that one attempt of a run may take: as long as one call may, at most; 0: any time.
        lease: seconds after which a run's host counts as ended if it does not say otherwise, which it does each third
            of that: a host that the system holds up for a few seconds keeps its runs.
        outputs: bytes of the outputs that are kept of one run; beyond, it fails. Of plugins' runs 1 MiB.
        chunks: bytes of chunks of streams that are kept of one run, for who subscribes later or reads slowly.
    """

    parallel: int = 16
    per_user: int = 8
    plugins: int = 4
    per_plugin: int = 3
    queued: int = 1000
    queued_by_all: int = 10_000
    longest: Seconds = 3600.0
    lease: Seconds = 15.0
    outputs: Size = 64 * MIB
    chunks: Size = 4 * MIB


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The server: `innkeeper serve`.

    Attributes:
        host: address that it listens on; without users' passwords it must be one of the machine itself.
        port: its TCP port; 0: any free one.
        drain: seconds that runs have to end when the server is stopped.
        connections: at one time; each has some 30 KB, and it is four times the 1,000 streams that are promised.
        connections_per_address: of one address that is not this machine's own: an office behind one address fits, and
            no single one can take all places.
        head_timeout: seconds in which a request's head must be whole, and for which a connection may be idle between
            two requests: people's clients send a head in one piece, and open another connection in no time.
        body_size: of a request: pictures and archives fit; routes that take text have smaller bounds of their own.
        body_timeout: seconds in all that a client may keep the server waiting for a body, with one more for each
            32 KiB that came.
        message_size: bytes of one message of a WebSocket, or characters of one of text: as large as one value of a
            node; a longer one closes it.
        ping_interval: seconds between two signs of life that a WebSocket's client is asked for: proxies end silent
            connections after a minute.
        ping_timeout: further seconds after which one that gave none is gone.
        outbox: bytes that may wait for one client of a stream that reads slowly, here and once or twice more in the
            system; then it is dropped, to come back and ask for what it missed.
        stall_timeout: seconds after which a client that takes nothing of an answer is dropped.
        user_bytes: that all files of one user may have, recycle bin included; each shared root may have as many. What a
            folder may hold that plugins are granted.
        user_entries: files and folders of one user: to count so many takes a disk about a second.
        recycle: days for which a recycle bin keeps what was deleted: a month is time to miss something.
        mode: who may use it, and how they say who they are; as ComfyTavern calls it. Without a password by default, and
            so for this machine alone.
        session_idle: days after which a log-in ends that nobody uses: a week, so that who comes each weekend stays.
        session_longest: days after which a log-in ends in any case: a stolen cookie is good for no longer.
        origins: pages of other sites that may speak to it, such as an editor's; by default none.
        hosts: names under which it is reached, beside those of loopback. Where there are any, or on loopback, requests
            for other names are refused: a foreign page can make its own name mean this machine.
        proxies: addresses of reverse proxies, whose word counts for where a request comes from, and whether by https.
        rate: requests a second of one user, ten seconds' worth at once; 0: any number. One takes about a millisecond
            of a processor, so nobody takes more than a tenth of one by asking. Where nobody logs in, nobody is counted.
        key_rate: requests a second of one API key: half of its user's, so that a program that runs wild leaves its user
            room for others.
        address_rate: requests a second of one address, before anybody knows whose they are; several users may share
            one, so twice as many. This machine's own programs are not counted.
        metrics: addresses that may read /metrics, which names plugins; administrators' API keys may from anywhere.
        log_format: "console": for people; "json": an object a line.
        log_level: the least that is logged; each request is "info".
        watchers: runs that are watched at the same time, each by each connection; one user has half of them. Each may
            take 64 KiB of memory, and one event.
        heartbeat: seconds without an event after which a stream says that it lives: proxies close what is silent for a
            minute, many after thirty seconds.
    """

    host: str = "127.0.0.1"
    port: Port = 3233
    drain: Seconds = 30.0
    connections: int = 4096
    connections_per_address: int = 256
    head_timeout: Seconds = 5.0
    body_size: Size = 64 * MIB
    body_timeout: Seconds = 10.0
    message_size: Size = 16 * MIB
    ping_interval: Seconds = 20.0
    ping_timeout: Seconds = 20.0
    outbox: Size = 64 * KIB
    stall_timeout: Seconds = 10.0
    user_bytes: Size = 1024 * MIB
    user_entries: int = 50_000
    recycle: Days = 30.0
    mode: Mode = "LocalNoPassword"
    session_idle: Days = 7.0
    session_longest: Days = 30.0
    origins: Origins = ()
    hosts: Hosts = ()
    proxies: Networks = ()
    rate: int = 100
    key_rate: int = 50
    address_rate: int = 200
    metrics: Networks = ("127.0.0.0/8", "::1")
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    watchers: int = 4096
    heartbeat: Seconds = 15.0
