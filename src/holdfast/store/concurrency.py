"""Statements that keep the jobs of one concurrency key to their limit.

A claimed job whose key is full is put back, and with it all queued jobs of the key are marked as
blocked, so that no later claim looks at them again. Whenever a job with the key leaves its worker
or the line, as many blocked ones come back as there is room for.

One transaction at a time counts the jobs of a key. Claims run together with others, so they do not
wait for their turn, while those who leave do: they hold one key and run alone, or hold several in
order of name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.store import hints

if TYPE_CHECKING:
    from holdfast.store.transaction import Transaction

    Line = tuple[str, str, int]
    """Queue, kind and limit that blocked jobs have in common."""


_PUT_BACK = """
UPDATE jobs SET status = 'queued', worker_id = NULL, attempt = attempt - 1, epoch = epoch - 1,
    event_seq = event_seq - 1, started_at = CASE WHEN epoch = 1 THEN NULL ELSE started_at END, %s
WHERE id = ?
"""


def pass_over(tx: Transaction, row: int) -> None:
    """Put a job back that this transaction has claimed, to be announced anew and claimed again."""
    # As it was: nobody has seen the claim. What announced it is used up.
    tx.execute(_PUT_BACK % "announced_at = 0", (row,))
    tx.topics.add(hints.UNANNOUNCED)


def try_key(tx: Transaction, key: str) -> bool:
    """Tell whether this transaction may count the jobs of the key, which another may be doing."""
    # Two workers that claim jobs of one key at the same time would not see each other's.
    return tx.try_serialize(f"concurrency {key}")


def admit(tx: Transaction, row: int, key: str, limit: int) -> bool:
    """Tell whether a job that this transaction has claimed may run; else put it back, blocked.

    The key is this transaction's by `try_key`.
    """
    running = _running(tx, key)
    if running <= limit:
        return True
    tx.execute(_PUT_BACK % "blocked = 1", (row,))
    # The rest of a long line would be claimed and put back one by one.
    tx.execute(
        "UPDATE jobs SET blocked = 1 WHERE id IN (SELECT id FROM jobs WHERE concurrency_key = ?"
        " AND status = 'queued' AND finished_at IS NULL AND blocked = 0 AND available_at <= ?"
        f" AND concurrency_limit < ? ORDER BY id DESC {tx.dialect.skip_locked})",
        (key, tx.now, running),
    )
    return False


def unblock(tx: Transaction, key: str) -> None:
    """Let blocked jobs of the key back into the line, as many as there is room for.

    So many of each queue and kind: whoever serves one of them may not serve the others, and a job
    that nobody claims must not keep its place from those that somebody would.
    """
    tx.serialize(f"concurrency {key}")
    running = _running(tx, key)
    # Those of one kind may have several limits, if it was changed while they waited.
    for line in _lines(tx, key):
        *_, limit = line
        back = tx.execute(
            "UPDATE jobs SET blocked = 0, announced_at = 0 WHERE id IN (SELECT id FROM jobs"
            f" WHERE {_BLOCKED} AND queue = ? AND kind = ? AND concurrency_limit = ?"
            " ORDER BY priority DESC, available_at, id LIMIT ?)",
            (key, *line, max(0, limit - running)),
        )
        if back.rowcount:
            tx.topics.add(hints.QUEUED)


_BLOCKED = "concurrency_key = ? AND status = 'queued' AND finished_at IS NULL AND blocked = 1"


def _lines(tx: Transaction, key: str) -> list[Line]:
    """Return queue, kind and limit of the blocked jobs, each once; found without reading them all."""
    found: list[Line] = []
    line = _first(tx, key, "", ())
    while line is not None:
        found.append(line)
        queue, kind, _ = line
        # One column at a time: SQLite would walk to the next value of all three together.
        line = (
            _first(tx, key, " AND queue = ? AND kind = ? AND concurrency_limit > ?", line)
            or _first(tx, key, " AND queue = ? AND kind > ?", (queue, kind))
            or _first(tx, key, " AND queue > ?", (queue,))
        )
    return found


def _first(tx: Transaction, key: str, beyond: str, arguments: tuple[object, ...]) -> Line | None:
    row = tx.execute(
        f"SELECT queue, kind, concurrency_limit FROM jobs WHERE {_BLOCKED}{beyond}"
        " ORDER BY queue, kind, concurrency_limit LIMIT 1",
        (key, *arguments),
    ).fetchone()
    return None if row is None else tuple(row)


def _running(tx: Transaction, key: str) -> int:
    row = tx.execute(
        "SELECT COUNT(*) FROM jobs WHERE concurrency_key = ? AND status = 'running'"
        " AND finished_at IS NULL",
        (key,),
    ).fetchone()
    count: int = row[0]
    return count
