"""Tables of predictions: what is written comes back, and what is wrong is named with its line."""

import numpy as np
import pytest
from scores import draw_predictions

from rtau.errors import InputError, OutputError
from rtau_train.figures.predictions import Predictions, read_parts, write_parts

ARRAYS = ("labels", "intensity", "presence", "expected")


def table(path, text):
    path.write_text(text)
    return path


def test_what_is_written_comes_back(tmp_path):
    p = draw_predictions(50)
    p.presence[3, 1] = p.expected[4, 2] = np.nan
    back = read_parts(write_parts({"all": p}, tmp_path / "deep" / "net.csv"))
    assert list(back) == ["all"] and back["all"].names == p.names and back["all"].model == "net"
    for name in ARRAYS:
        assert getattr(back["all"], name) == pytest.approx(getattr(p, name), rel=1e-5, nan_ok=True), name
    assert np.array_equal(back["all"].subject, p.subject) and np.array_equal(back["all"].source, p.source)
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["net.csv"], "no half-written file stays"


def test_parts_come_back(tmp_path):
    p = draw_predictions(30)
    back = read_parts(write_parts({"test": p[:20], "validation": p[20:]}, tmp_path / "p.csv"), model="mine")
    assert set(back) == {"all", "test", "validation"} and len(back["all"]) == 30 and back["all"].model == "mine"
    assert np.array_equal(back["validation"].labels, p[20:].labels)


def test_a_table_of_another_tool(tmp_path):
    path = table(tmp_path / "other.csv",
                 "subject;frame;AU12_r;AU06_p;AU12_truth_r;AU06_truth;AU45_r;Smiling_p;Smiling_truth\n"
                 "a;0;1,5;0,9;2;1;0;0,25;0\na;1;;0,1;0,5;0;0;nan;1\nb;2;0;0,4;;;0;1;\n")
    p = read_parts(path)["all"]
    assert p.names == ("AU12", "AU06", "Smiling") and p.subject.tolist() == ["a", "a", "b"]
    # Of AU12 truth has intensities alone: present from 1 on. AU45 has no truth and is left out.
    assert p.labels.tolist() == [[1, 1, -1], [-1, -1, 1], [0, 0, 0]]
    assert p.intensity[:, 0] == pytest.approx([2, 0.5, np.nan], nan_ok=True) and np.isnan(p.intensity[:, 1:]).all()
    assert p.expected[:, 0] == pytest.approx([1.5, np.nan, 0], nan_ok=True) and np.isnan(p.presence[:, 0]).all()
    assert p.presence[:, 2] == pytest.approx([0.25, np.nan, 1], nan_ok=True)
    assert not p.judged(0).any() and p.judged(1).tolist() == [True, True, False]
    assert p.graded(0).tolist() == [True, False, False] and p.source.tolist() == ["", "", ""]


@pytest.mark.parametrize(("text", "complaint"), [
    ("subject,AU12_p,AU12_truth\na,1.2,1\n", ":2: AU12_p is 1.2; it must be from 0 to 1, or empty"),
    ("subject,AU12_p,AU12_truth\na,.2,1\nb,.2,2\n", ":3: AU12_truth is 2; it must be 0 or 1, or empty"),
    ("subject,AU12_r,AU12_truth_r\na,-1,1\n", ":2: AU12_r is -1; it must be from 0 to 5"),
    ("subject,AU12_p,AU12_truth\na,high,1\n", ":2: AU12_p is 'high', which is no number"),
    ("subject,AU12_p,AU12_truth\na,inf,1\n", ":2: AU12_p is inf"),
    ("subject,AU12_p,AU12_truth\na,1\n", ":2: 2 cells where the 3 columns"),
    ("subject,AU12_p,AU12_truth\n", "has no rows"),
    ("subject,AU12_p,AU12_p,AU12_truth\na,1,1,1\n", "two columns AU12_p"),
    ("subject,AU12_c,AU12_truth\na,1,1\n", "holds no predictions: name columns AU12_p"),
    ("", "is empty"),
])
def test_what_is_wrong_is_named(tmp_path, text, complaint):
    with pytest.raises(InputError) as caught:
        read_parts(table(tmp_path / "p.csv", text))
    assert complaint in str(caught.value) and "p.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_a_table_that_can_not_be_written_is_an_error(tmp_path):
    (tmp_path / "p.csv").mkdir()
    with pytest.raises(OutputError, match="p.csv"):
        write_parts({"all": draw_predictions(5)}, tmp_path / "p.csv")
    assert not list(tmp_path.glob("*.partial"))


def test_shapes_must_agree():
    p = draw_predictions(5)
    with pytest.raises(ValueError, match=r"presence has shape \(4, 4\), expected \(5, 4\)"):
        Predictions(p.names, p.subject, p.source, p.labels, p.intensity, p.presence[:4], p.expected)
    assert p.select(["AU04", "AU01"]).names == ("AU04", "AU01")
    assert np.array_equal(p.select(["AU04"]).presence[:, 0], p.presence[:, 2])
