"""Words and numbers that everything printed shares."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlx.text import by_end, count, cut, nearest, number

DIGITS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-")


def read_back(text):
    mantissa, ten, power = text.partition("10") if "×10" in text or text.startswith("10") else (text, "", "")
    if ten and power and power[0] in "⁻⁰¹²³⁴⁵⁶⁷⁸⁹":
        factor = float(mantissa.translate(DIGITS).rstrip("×") or 1)
        return float(f"{factor}e{power.translate(DIGITS)}")
    return float(text.translate(DIGITS).replace(",", ""))


@given(st.floats(-1e300, 1e300))
def test_a_number_is_right_to_three_digits(value):
    assert read_back(number(value)) == pytest.approx(value, rel=5.1e-3, abs=1e-307)


def test_numbers_are_written_as_people_do():
    values = (0.05, 20.0, 999.6, 12_345.0, 3e-6, -0.0, -1e6, 1e5, float("-inf"), float("nan"))
    written = ["0.05", "20", "1,000", "12,345", "3×10⁻⁶", "0", "−1×10⁶", "10⁵", "−∞", "nan"]
    assert list(map(number, values)) == written


def test_names_are_found_by_their_end():
    names = ["model.width", "optimizer", "data.n", "model.n"]
    assert [by_end(n, names) for n in ("width", "optimizer", "n", "depth")] == ["model.width", "optimizer", None, None]
    assert nearest("model.widht", names) == "did you mean 'model.width'?"
    assert nearest("zzz", names) == f"there are {', '.join(names)}." and nearest("a", []) == "there are none."


def test_nouns_and_cuts():
    assert [count(1, "search", "searches"), count(2_000, "search", "searches"), count(0, "seed")] == [
        "1 search", "2,000 searches", "0 seeds"]
    assert (cut("abc", 3), cut("abcd", 3)) == ("abc", "ab…")
