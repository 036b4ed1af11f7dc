"""Fair order between flows."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from holdfast.llm.fairness import FairQueue


def push(queue, flow, *, weight=1.0, cost=1.0):
    return queue.push(flow, flow=flow, weight=weight, cost=cost)


def serve(queue):
    entry = queue.head()
    queue.serve(entry)
    return entry.item


def test_call_of_another_job_is_next_however_long_the_first_jobs_line_is():
    queue: FairQueue[str] = FairQueue()
    for _ in range(161):
        push(queue, "horoscope")
    for _ in range(40):
        serve(queue)

    push(queue, "short")

    assert "short" in [serve(queue), serve(queue)]


def test_flows_share_by_weight_and_cost():
    queue: FairQueue[str] = FairQueue()
    for _ in range(300):
        push(queue, "heavy", weight=3)
        push(queue, "light", weight=1)
        push(queue, "large", weight=1, cost=2)

    served = Counter(serve(queue) for _ in range(270))

    assert abs(served["heavy"] - 180) <= 2
    assert abs(served["light"] - 60) <= 2
    assert abs(served["large"] - 30) <= 2


def test_removed_entries_cost_their_flow_nothing():
    queue: FairQueue[str] = FairQueue()
    entries = [push(queue, "cancelled") for _ in range(100)]
    for _ in range(10):
        push(queue, "other")
    for entry in entries:
        queue.remove(entry)

    push(queue, "cancelled")

    assert "cancelled" in [serve(queue), serve(queue)]


def test_idle_flow_gathers_no_credit():
    queue: FairQueue[str] = FairQueue()
    for _ in range(50):
        push(queue, "busy")
    for _ in range(49):
        serve(queue)
    for _ in range(20):
        push(queue, "late")
        push(queue, "busy")

    served = [serve(queue) for _ in range(20)]

    assert abs(Counter(served)["late"] - 10) <= 1


def test_stream_of_ever_new_jobs_neither_starves_a_long_one_nor_fills_the_memory():
    queue: FairQueue[str] = FairQueue()
    for _ in range(2_000):
        push(queue, "long")
    served: Counter[str] = Counter()
    for number in range(2_000):
        push(queue, f"job-{number}")
        served[serve(queue).partition("-")[0]] += 1

    assert served["long"] > 20
    waiting = sum(1 for line in queue._flows.values() if line.entries)
    assert len(queue._flows) <= waiting + 256 + 2 * len(queue)


def test_idle_flows_are_forgotten_once_they_are_even():
    queue: FairQueue[str] = FairQueue()
    for number in range(1_000):
        push(queue, f"job-{number}")
    for _ in range(20):
        push(queue, "long")

    for _ in range(1_015):
        serve(queue)

    assert len(queue) == 5
    assert len(queue._flows) < 300


def test_order_within_a_flow_is_by_arrival():
    queue: FairQueue[int] = FairQueue()
    for number in range(5):
        queue.push(number, flow="job", weight=1, cost=1)

    assert [serve(queue) for _ in range(5)] == [0, 1, 2, 3, 4]


actions = st.lists(
    st.one_of(
        st.tuples(
            st.just("push"), st.integers(0, 4), st.sampled_from([0.125, 1.0, 8.0]), st.floats(0, 9)
        ),
        st.tuples(st.just("serve")),
        st.tuples(st.just("remove"), st.integers(0, 99)),
    ),
    max_size=120,
)


@given(actions)
def test_every_entry_leaves_once_and_nothing_is_lost(script):
    queue: FairQueue[int] = FairQueue()
    inside = []
    for number, action in enumerate(script):
        if action[0] == "push":
            inside.append(queue.push(number, flow=f"f{action[1]}", weight=action[2], cost=action[3]))
        elif inside and action[0] == "serve":
            entry = queue.head()
            assert entry in inside
            queue.serve(entry)
            inside.remove(entry)
        elif inside and action[0] == "remove":
            entry = inside.pop(action[1] % len(inside))
            queue.remove(entry)
        assert len(queue) == len(inside)
        assert (queue.head() is None) == (not inside)

    drained = []
    while (entry := queue.head()) is not None:
        queue.serve(entry)
        drained.append(entry)
    assert {id(entry) for entry in drained} == {id(entry) for entry in inside}
    assert len(drained) == len(inside)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.1, 5)), min_size=20, max_size=200))
def test_waiting_flows_are_never_further_apart_than_a_call_of_each(pushes):
    """The bound of fair queueing: while all wait, service differs by two calls at most."""
    queue: FairQueue[float] = FairQueue()
    for flow, cost in pushes:
        queue.push(cost, flow=str(flow), weight=1, cost=cost)
    left = Counter(str(flow) for flow, _ in pushes)
    got = dict.fromkeys(left, 0.0)

    while (entry := queue.head()) is not None and min(left.values()) > 0:
        queue.serve(entry)
        got[entry.flow] += entry.cost
        left[entry.flow] -= 1
        if min(left.values()) > 0:
            assert max(got.values()) - min(got.values()) <= 2 * 5
