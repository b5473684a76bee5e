"""What is told of packs that run is what each of them would say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlx.agenda import Job
from dlx.flights import Flight, Flights


class Clock:
    """A time that tests set."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


def flight(number, trials):
    return Flight([Job(f"{number}/{i}", None, i, []) for i in range(trials)])


@given(st.lists(st.tuples(st.sampled_from(["begin", "end", "give back"]), st.sampled_from([0.0, 0.25, 1.0, 8.0]),
                          st.integers(1, 5), st.sampled_from([0.0, 0.5, 64.0]))))
def test_trials_and_gpu_seconds_are_those_of_each_pack(events):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("dlx.flights.time", clock := Clock())
        flights, out, ended = Flights(), [], 0.0
        for number, (what, gpus, trials, later) in enumerate(events):
            clock.now += later
            if what == "begin":
                flights.begin(flight(number, trials), gpus)
                out.append((f"{number}/0", clock.now, gpus, trials))
            elif out:
                key, began, used, _ = out.pop(number % len(out))
                assert flights.end(key, counts=what == "end").jobs[0].key == key
                ended += used * (clock.now - began) * (what == "end")
            assert flights.gpu_seconds == ended + sum(used * (clock.now - began) for _, began, used, _ in out)
            assert (len(flights), flights.trials) == (len(out), sum(n for *_, n in out))
        assert [f.jobs[0].key for f in flights] == [key for key, *_ in out]


def test_a_pack_is_known_while_it_runs():
    flights = Flights()
    flights.begin(one := flight(1, 2), 0.0)
    assert flights.get("1/0") is one and flights.get("1/1") is None
    assert flights.end("1/0") is one and flights.get("1/0") is None
