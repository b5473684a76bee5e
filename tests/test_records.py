"""What a worker hands back, as it is sent."""

import pickle

import pytest

from dlx.records import COMPLETED, HISTORY, TRIALS, Outcome, Pace, Records, to_records


def outcome(key, **more):
    return Outcome(key, 3, {"trial": "Toy", "x": 1.5}, COMPLETED, 0.1, 1e9, {"loss": 0.5, "gap\ud800": 1.0}, **more)


@pytest.mark.parametrize("outcomes", [
    [], [outcome("a")],
    [outcome("a", history={"loss": ([1, 2], [0.1, float("nan")])}, error="no", notes=["so"]), outcome("b")],
])
def test_records_arrive_as_they_were_sent(outcomes):
    made = to_records(outcomes, {"dlx": "1"})
    paced, cut = Records(made.trials, made.history, made.notes, Pace(2.0, 0.5)), Records(made.trials[1:], made.history)
    for sent in (made, paced, cut):
        found = pickle.loads(pickle.dumps(sent))
        found.trials.validate(full=True)
        assert found.trials.schema == TRIALS and found.history.schema == HISTORY
        assert str(found.trials.to_pylist()) == str(sent.trials.to_pylist())  # with its NaN
        assert str(found.history.to_pylist()) == str(sent.history.to_pylist())
        assert (found.notes, found.pace) == (sent.notes, sent.pace)
