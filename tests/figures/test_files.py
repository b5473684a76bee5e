from dlx import figures

CURVES = figures.Curves("width", "test/error")


def test_files_are_svg_and_png_and_the_same_each_time(results, tmp_path):
    once, again = (figures.save(CURVES(results), tmp_path / name) for name in ("a", "b"))
    assert [f.name for f in once] == ["a.svg", "a.png"]
    assert [f.read_bytes() for f in once] == [f.read_bytes() for f in again]
    assert "Means, n = 4 a point" in once[0].read_text()
    assert once[1].read_bytes().startswith(b"\x89PNG")


def test_a_figure_that_cannot_be_drawn_leaves_the_others(results, tmp_path):
    def broken(results):
        raise ZeroDivisionError("no")

    wrong, fine = figures.Curves("width", "test/eror"), figures.Curves("width", "test/error", name="../fine")
    files, problems = figures.draw([broken, wrong, fine], results, tmp_path / "out")
    assert [f.relative_to(tmp_path).as_posix() for f in files] == ["out/fine.svg", "out/fine.png"]
    assert problems[0] == "The figure broken could not be drawn: ZeroDivisionError: no"
    assert problems[1] == (
        "The figure curves wants the metric 'test/eror', which the results lack; did you mean 'test/error'?"
    )
