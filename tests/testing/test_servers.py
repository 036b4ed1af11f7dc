"""Real servers start, answer, die when told to, keep their data, and leave nothing behind."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import amqp
import psycopg
import pytest
import redis
from obstore.store import S3Store

from holdfast.testing.servers.base import HOST, Server, free_port
from holdfast.testing.servers.pgbouncer import PgBouncer
from holdfast.testing.servers.postgres import Postgres
from holdfast.testing.servers.programs import find_program, program
from holdfast.testing.servers.rabbitmq import RabbitMQ
from holdfast.testing.servers.redis import Redis
from holdfast.testing.servers.s3 import S3

PARENT = """
import signal
from holdfast.testing.servers.postgres import Postgres

server = Postgres(fsync=False).start()
print(server.folder, server._keeper.pid, *server.pids, flush=True)
signal.pause()
"""


class Mute(Server):
    """Runs a Python program and never answers."""

    name = "mute"
    start_seconds = 0.3
    source = "import signal; signal.pause()"

    @property
    def url(self) -> str:
        return ""

    def command(self) -> list[str]:
        return [sys.executable, "-c", self.source]

    def ping(self) -> None:
        raise ConnectionError("nobody there")


class ShortLived(Mute):
    start_seconds = 10.0
    source = "raise SystemExit('cannot bear it')"


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


# --- every server ------------------------------------------------------------------------------


@pytest.fixture
def own_redis(requires) -> Iterator[Redis]:
    requires("redis-server")
    with Redis(aof=True) as server:
        yield server


@pytest.fixture
def own_postgres(requires) -> Iterator[Postgres]:
    requires("initdb", "postgres")
    with Postgres(fsync=False) as server:
        yield server


def test_stop_ends_all_processes_and_may_be_repeated(own_redis: Redis):
    pids = own_redis.pids

    own_redis.stop()
    own_redis.stop()

    assert pids
    assert alive(pids) == []
    assert not own_redis.running
    assert own_redis.pids == []


def test_running_server_is_not_started_twice(own_redis: Redis):
    with pytest.raises(RuntimeError, match=f"redis runs already at port {own_redis.port}"):
        own_redis.start()

    own_redis.ping()


def test_server_that_died_by_itself_can_be_stopped_and_started(own_redis: Redis):
    keeper = own_redis._keeper
    assert keeper is not None
    died = os.pidfd_open(keeper.pid)
    os.kill(own_redis.pids[0], signal.SIGKILL)
    assert select.select([died], [], [], 10)[0]
    os.close(died)

    own_redis.stop()
    own_redis.start()

    own_redis.ping()


def test_close_removes_a_temporary_folder_and_keeps_a_given_one(requires, tmp_path: Path):
    requires("redis-server")
    with Redis() as temporary, Redis(tmp_path / "given") as given:
        assert temporary.folder.is_dir()

    assert not temporary.folder.exists()
    assert given.folder.is_dir()


def test_server_that_does_not_answer_is_killed():
    with closing(Mute()) as server:
        with pytest.raises(TimeoutError, match=r"mute did not answer .*nobody there"):
            server.start()

        assert not server.running


def test_server_that_ends_instead_of_answering_says_why():
    with (
        closing(ShortLived()) as server,
        pytest.raises(RuntimeError, match=r"(?s)ended instead of answering.*cannot bear it"),
    ):
        server.start()


def test_no_server_outlives_the_process_that_started_it(requires):
    """Not even when that process is killed and can clean up nothing."""
    requires("initdb", "postgres")
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            folder, keeper, *pids = parent.stdout.readline().split()
            end = os.pidfd_open(int(keeper))
        finally:
            parent.kill()

    assert select.select([end], [], [], 10)[0], "still running"
    os.close(end)
    assert len(pids) > 1, "PostgreSQL has several processes"
    assert alive([int(pid) for pid in pids]) == []
    assert not Path(folder).exists()


def test_free_ports_are_never_given_to_outgoing_connections():
    first, *_ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()

    assert free_port() < int(first)


def test_programs_off_the_path_are_found(requires, monkeypatch: pytest.MonkeyPatch):
    requires("postgres")
    monkeypatch.setenv("PATH", "/bin:/usr/bin")

    assert Path(program("postgres")).is_absolute()


def test_missing_program_is_named():
    assert find_program("no-such-program") is None
    with pytest.raises(FileNotFoundError, match="'no-such-program' is not on this machine"):
        program("no-such-program")


# --- PostgreSQL --------------------------------------------------------------------------------


def test_postgres_database_is_empty(postgres_url: str):
    with psycopg.connect(postgres_url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")

        assert tables.fetchone() == (0,)


def test_postgres_keeps_what_was_committed_when_killed(own_postgres: Postgres):
    url = own_postgres.create_database("kept")
    pids = own_postgres.pids
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")

    own_postgres.kill()
    left = alive(pids)
    own_postgres.start()

    assert left == []
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


def test_postgres_restart_does_not_wait_for_clients(own_postgres: Postgres):
    with psycopg.connect(own_postgres.url) as connection:
        own_postgres.restart()

        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    own_postgres.ping()


def test_postgres_cuts_the_connections_of_all_others(own_postgres: Postgres):
    with psycopg.connect(own_postgres.url) as one, psycopg.connect(own_postgres.url) as other:
        cut = own_postgres.cut_all_connections()

        assert cut == 2
        for connection in (one, other):
            with pytest.raises(psycopg.errors.AdminShutdown):
                connection.execute("SELECT 1")


def test_postgres_copies_a_template_and_drops_databases_in_use(postgres_server: Postgres):
    with psycopg.connect(postgres_server.create_database("mould")) as connection:
        connection.execute("CREATE TABLE copied AS SELECT 7 AS number")

    url = postgres_server.create_database("cast", template="mould")
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute("SELECT number FROM copied").fetchone() == (7,)
        postgres_server.drop_database("cast")
    postgres_server.drop_database("mould")

    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


@pytest.mark.parametrize(("fsync", "expected"), [(True, ("on",)), (False, ("off",))])
def test_postgres_is_as_durable_as_asked(fsync: bool, expected: tuple[str], requires):
    requires("initdb", "postgres")
    with (
        Postgres(fsync=fsync, settings={"work_mem": "7MB"}) as server,
        psycopg.connect(server.url) as connection,
    ):
        assert connection.execute("SHOW fsync").fetchone() == expected
        assert connection.execute("SHOW max_connections").fetchone() == ("300",)
        assert connection.execute("SHOW work_mem").fetchone() == ("7MB",)


def test_postgres_helper_program_that_fails_is_reported(own_postgres: Postgres):
    with pytest.raises(RuntimeError, match=r"(?s)initdb failed with 1:.*no-such-option"):
        own_postgres._run(program("initdb"), "--no-such-option")


# --- PgBouncer ---------------------------------------------------------------------------------


def test_pgbouncer_lends_one_connection_to_two_clients(own_postgres: Postgres, requires):
    """Each transaction of theirs runs on the only connection there is."""
    requires("pgbouncer")
    pid = "SELECT pg_backend_pid()"
    with (
        PgBouncer(own_postgres, pool_size=1) as pool,
        psycopg.connect(pool.url, prepare_threshold=None, autocommit=True) as one,
        psycopg.connect(pool.url, prepare_threshold=None, autocommit=True) as other,
    ):
        assert one.execute(pid).fetchone() == other.execute(pid).fetchone()


def test_pgbouncer_serves_again_after_a_kill(own_postgres: Postgres, requires):
    requires("pgbouncer")
    url = own_postgres.create_database("behind")
    with PgBouncer(own_postgres) as pool:
        pool.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(pool.url_of("behind"))
        pool.start()

        with psycopg.connect(pool.url_of("behind")) as connection:
            assert connection.info.dbname == psycopg.conninfo.conninfo_to_dict(url)["dbname"]


# --- Redis -------------------------------------------------------------------------------------


def test_redis_with_its_log_keeps_what_it_acknowledged_when_killed(own_redis: Redis):
    with redis.Redis.from_url(own_redis.url) as client:
        client.set("kept", "7")

        own_redis.kill()
        own_redis.start()

        assert client.get("kept") == b"7"


def test_redis_forgets_all_on_request(redis_server: Redis):
    with redis.Redis.from_url(redis_server.url) as client:
        client.set("forgotten", "7")

        redis_server.flushall()

        assert client.dbsize() == 0


# --- RabbitMQ ----------------------------------------------------------------------------------


def publish(server: RabbitMQ, queue: str, *bodies: str) -> None:
    with amqp.Connection(f"{HOST}:{server.port}", confirm_publish=True) as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True, auto_delete=False)
        for body in bodies:
            channel.basic_publish(amqp.Message(body, delivery_mode=2), routing_key=queue)


def test_rabbitmq_drops_the_messages_of_a_queue(rabbitmq_server: RabbitMQ):
    publish(rabbitmq_server, "purged", "one", "two")

    assert rabbitmq_server.purge("purged") == 2
    assert rabbitmq_server.purge("purged") == 0


def test_rabbitmq_without_the_queue_says_so(rabbitmq_server: RabbitMQ):
    with pytest.raises(amqp.exceptions.NotFound):
        rabbitmq_server.purge("no-such-queue")


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_rabbitmq_keeps_durable_messages_and_comes_back_when_killed(rabbitmq_server: RabbitMQ):
    publish(rabbitmq_server, "kept", "one")
    # Orderly first: what it has only just accepted, RabbitMQ may lose to kill -9.
    rabbitmq_server.restart()
    pids = rabbitmq_server.pids

    rabbitmq_server.kill()
    left = alive(pids)
    rabbitmq_server.start()

    assert len(pids) > 1, "RabbitMQ has a name server beside it"
    assert left == []
    assert rabbitmq_server.purge("kept") == 1


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_rabbitmq_runs_beside_another(rabbitmq_server: RabbitMQ):
    publish(rabbitmq_server, "mine", "one")

    with RabbitMQ() as other, pytest.raises(amqp.exceptions.NotFound):
        other.purge("mine")


# --- S3 ----------------------------------------------------------------------------------------


def bucket_of(server: S3) -> S3Store:
    return S3Store(
        server.bucket,
        endpoint=server.url,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
        region=server.region,
        client_options={"allow_http": True},
    )


def test_s3_keeps_objects_in_its_bucket(s3_server: S3):
    bucket = bucket_of(s3_server)

    bucket.put("kept", b"seven")

    assert bytes(bucket.get("kept").bytes()) == b"seven"


def test_s3_bucket_may_be_there_already(s3_server: S3):
    bucket_of(s3_server).put("left-alone", b"seven")

    s3_server.create_bucket(s3_server.bucket)

    assert bucket_of(s3_server).head("left-alone")["size"] == 5


def test_s3_refuses_a_bad_name(s3_server: S3):
    with pytest.raises(RuntimeError, match="refused to create bucket 'x' with status 400"):
        s3_server.create_bucket("x")


def test_s3_comes_back_empty_with_its_bucket():
    with S3() as server:
        bucket_of(server).put("lost", b"seven")

        server.restart()

        assert bucket_of(server).list().collect() == []
