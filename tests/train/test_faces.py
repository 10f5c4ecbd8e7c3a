"""Faces with labels: selections, joins, and nobody on two sides."""

import numpy as np
import pytest

from trees import random_faces

from rtau.errors import InputError
from rtau_train.data.faces import FACS, FaceSet, au_name, au_number, check_apart


def some(count: int = 5, names=("AU01", "AU12"), start: int = 0) -> FaceSet:
    """Faces whose pictures are grey as their number."""
    listing = random_faces(count, 3, names, seed=start)
    pictures = [np.full((4, 4, 3), start + i, np.uint8) for i in range(count)]
    points = np.full((count, 68, 2), np.arange(count)[:, None, None], np.float32) + start
    return FaceSet(listing.names, listing.subject, listing.labels, listing.intensity, listing.source, pictures, points)


def grey(faces: FaceSet) -> list[int]:
    return [int(faces.pictures[i][0, 0, 0]) for i in range(len(faces))]


def test_names_of_aus():
    assert au_name(4) == "AU04" and au_number("AU04") == au_number("au4") == 4
    assert au_number("Smiling") is None and au_number("AU0") is None and au_number("AU04_r") is None
    assert {1, 12, 43} <= set(FACS) and not {0, 3, 99} & set(FACS)


def test_rows_carry_all_that_belongs_to_them():
    faces = some(6)
    picked = faces[np.array([4, 1])]
    assert grey(picked) == [4, 1] and picked.points[:, 0, 0].tolist() == [4, 1]
    assert picked.subject.tolist() == faces.subject[[4, 1]].tolist()
    assert grey(picked[1:]) == [1] and grey(faces[faces.points[:, 0, 0] > 3]) == [4, 5]
    assert grey(faces[::-2]) == [5, 3, 1]


def test_labels_that_were_not_coded_are_unknown():
    faces = some().select(("AU12", "AU25"))
    assert faces.names == ("AU12", "AU25") and faces.aus == (12, 25)
    assert (faces.labels[:, 0] == some().labels[:, 1]).all() and not faces.labels[:, 1].any()
    assert np.isnan(faces.intensity).all() and not faces.graded
    assert not some().without_labels().labels.any()


def test_joined_sets_keep_their_order_and_pictures():
    joined = FaceSet.join([some(3), some(2, start=10), some(4, start=20)[[3, 0]]])
    assert grey(joined) == [0, 1, 2, 10, 11, 23, 20] and joined.points[-1, 0, 0] == 20
    with pytest.raises(IndexError):
        joined.pictures[7]
    with pytest.raises(ValueError, match="different labels"):
        FaceSet.join([some(), some(names=("AU01",))])


def test_arrays_of_the_wrong_length_are_refused():
    faces = some()
    with pytest.raises(ValueError, match="4 pictures"):
        FaceSet(faces.names, faces.subject, faces.labels, faces.intensity, faces.source, list(faces.pictures)[:4],
                faces.points)
    with pytest.raises(ValueError, match="labels has shape"):
        FaceSet(("AU01",), faces.subject, faces.labels, faces.intensity, faces.source, faces.pictures, faces.points)


def test_nobody_is_in_two_parts():
    faces = some(9)
    who = faces.subject == faces.subject[0]
    check_apart({"train": faces[~who], "test": faces[who]})
    with pytest.raises(InputError, match=f"subject {faces.subject[0]} is in train and in test"):
        check_apart({"train": faces, "test": faces[who]})
