"""EmotioNet, BP4D, BP4D+, DISFA, DISFA+, CelebA and LFWA, each on a small folder of exactly its form."""

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

import trees

from rtau.errors import InputError
from rtau_train.data.attributes import read_celeba, read_lfwa
from rtau_train.data.bp4d import read_bp4d
from rtau_train.data.corpus import READERS, kind_of, open_listing, read_listing
from rtau_train.data.disfa import read_disfa, read_disfa_plus
from rtau_train.data.emotionet import read_emotionet


def labels(listing, name: str) -> list[int]:
    return listing.labels[:, listing.names.index(name)].tolist()


def grades(listing, name: str) -> list[float]:
    return listing.intensity[:, listing.names.index(name)].tolist()


def all_there(listing) -> bool:
    return all(file.is_file() for file in listing.file)


# -- EmotioNet -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "xlsx", "txt"])
@pytest.mark.parametrize("flat", [False, True])
def test_emotionet_is_the_same_in_all_its_forms(tmp_path, form, flat):
    listing = read_emotionet(trees.emotionet(tmp_path, form=form, flat=flat))
    order = np.argsort(listing.source)  # two text files hold every second row
    listing = listing[order]
    assert listing.names == ("AU01", "AU02", "AU04", "AU05", "AU06", "AU12", "AU25") and not listing.graded
    assert labels(listing, "AU12") == [-1] * 6 and labels(listing, "AU25") == [-1, 1] * 3
    assert labels(listing, "AU01") == [1, 0, 0, 0, 0, 1]
    assert listing.source[3] == "N_0000000001/N_0000000001_00003.jpg" and all_there(listing)
    assert set(listing.subject) == {""} and kind_of(tmp_path) == "emotionet"


def test_emotionets_pictures_that_were_not_to_be_had_are_counted(tmp_path, caplog):
    folder = trees.emotionet(tmp_path, missing=2)
    with caplog.at_level(logging.WARNING):
        assert len(open_listing(folder)) == 4
    assert "2 of 6 pictures or videos are not there" in caplog.text
    assert len(read_listing(folder / "EmotioNet_FACS_aws_2020_24600.csv")) == 6


def test_emotionets_mistakes_are_named(tmp_path):
    folder = trees.emotionet(tmp_path)
    file = folder / "EmotioNet_FACS_aws_2020_24600.csv"
    whole = file.read_text()
    file.write_text(whole.replace(",0,", ",3,", 1))
    with pytest.raises(InputError, match="24600.csv:2: AU 12 is 3: EmotioNet has 0, 1 and 999"):
        read_emotionet(folder)
    file.write_text(whole.replace("'URL'", "'Link'", 1))
    with pytest.raises(InputError, match="not EmotioNet's: its first line should name URL, URL orig, AU 1"):
        read_emotionet(folder)
    file.write_text(whole)
    for home in ("x", "y"):
        trees.picture(folder / home / "N_0000000000_00000.jpg", 16)
    (folder / "Images" / "N_0000000000" / "N_0000000000_00000.jpg").unlink()
    with pytest.raises(InputError, match="have the same name, and which is .*keep one"):
        read_emotionet(folder)
    with pytest.raises(InputError, match="is not EmotioNet: it holds no EmotioNet_FACS_aws_2020_24600.xlsx"):
        read_emotionet(tmp_path / "Images")


def test_a_picture_that_is_listed_twice_counts_once(tmp_path, caplog):
    folder = trees.emotionet(tmp_path)
    file = folder / "EmotioNet_FACS_aws_2020_24600.csv"
    file.write_text(file.read_text() + file.read_text().splitlines()[1] + "\n")
    with caplog.at_level(logging.WARNING):
        assert len(read_emotionet(folder)) == 6
    assert "1 pictures are listed more than once" in caplog.text


# -- BP4D ----------------------------------------------------------------------------------


@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize("digits", [3, 4])
def test_bp4d_by_its_coders(tmp_path, plus, digits):
    trees.bp4d(tmp_path, plus=plus, digits=digits)
    listing = open_listing(tmp_path)
    assert listing.names == ("AU01", "AU04", "AU06", "AU12") and len(listing) == 3 * 2 * 4 and all_there(listing)
    corpus = "BP4D+" if plus else "BP4D"
    assert sorted(set(listing.subject)) == [f"{corpus}:{who}" for who in ("F001", "F002", "M001")]
    assert listing.source[:2].tolist() == [f"F001/T1/{8:0{digits}d}.jpg", f"F001/T1/{9:0{digits}d}.jpg"]
    assert labels(listing[:4], "AU12") == [1, -1, 1, -1] and labels(listing[:4], "AU04") == [1, 0, 1, 1]
    assert labels(listing[:4], "AU01") == [-1] * 4
    # Occurrence says present in every frame, whatever the intensity is; frame 11 was not graded.
    assert labels(listing[:4], "AU06") == [1] * 4
    assert np.array_equal(grades(listing[:4], "AU06"), [2, 3, 4, np.nan], equal_nan=True)
    assert kind_of(tmp_path) == ("bp4d+" if plus else "bp4d")


def test_bp4ds_intensities_make_labels_where_occurrence_was_not_coded(tmp_path):
    trees.bp4d(tmp_path, subjects=("F001",), tasks=("T1",), frames=range(5, 9))
    file = tmp_path / "AUCoding" / "AU_OCC" / "F001_T1.csv"
    lines = [line.split(",") for line in file.read_text().splitlines()]
    for line in lines[1:]:
        line[6] = "9"
    trees.text(file, [",".join(line) for line in lines])
    assert labels(read_bp4d(tmp_path), "AU06") == [1, -1, 1, 1]  # intensities 5, 0, 1, 2
    assert labels(read_bp4d(tmp_path, present_from=2), "AU06") == [1, -1, -1, 1]


def test_bp4ds_frames_may_begin_elsewhere(tmp_path):
    trees.bp4d(tmp_path, subjects=("F001",), tasks=("T1",))
    assert read_bp4d(tmp_path, first=-1).source[0] == "F001/T1/0007.jpg"
    assert len(open_listing(tmp_path, first=3)) == 1  # frame 8's picture is 11; those after it are not there


def test_bp4ds_mistakes_are_named(tmp_path):
    with pytest.raises(InputError, match="is not BP4D: it holds no AUCoding/AU_OCC/F001_T1.csv"):
        read_bp4d(tmp_path)
    trees.bp4d(tmp_path, subjects=("F001",), tasks=("T1",))
    (tmp_path / "Sequences(2D+3D)").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"no pictures: looked for Sequences\(2D\+3D\)/F001/T1/0001.jpg"):
        read_bp4d(tmp_path)
    (tmp_path / "elsewhere").rename(tmp_path / "Sequences(2D+3D)")
    file = tmp_path / "AUCoding" / "AU_OCC" / "F001_T1.csv"
    whole = file.read_text()
    file.write_text(whole.replace("\n9,0", "\n9,7", 1))
    with pytest.raises(InputError, match="F001_T1.csv:3: AU1 is 7: AU_OCC has 0, 1, 9"):
        read_bp4d(tmp_path)
    file.write_text(whole.replace("0,1,2", "0,AU1,2", 1))
    with pytest.raises(InputError, match="F001_T1.csv:1: 'AU1' is no AU's number"):
        read_bp4d(tmp_path)
    file.write_text(whole)
    trees.text(tmp_path / "AUCoding" / "AU_INT" / "AU06" / "F001_T1_AU06.csv", ["8,2", "9,6"])
    with pytest.raises(InputError, match="F001_T1_AU06.csv:2: the intensity is 6: AU_INT has 0 to 5 and 9"):
        read_bp4d(tmp_path)


# -- DISFA ---------------------------------------------------------------------------------


def test_disfa_is_present_from_two_on(tmp_path, fixtures):
    trees.disfa(tmp_path, fixtures / "turned.mp4")
    listing = open_listing(tmp_path)
    assert listing.names == ("AU04", "AU12") and len(listing) == 30 and kind_of(tmp_path) == "disfa"
    assert grades(listing[:10], "AU12") == [1, 2, 3, 4, 5, 0, 1, 2, 3, 4]
    assert labels(listing[:10], "AU12") == [-1, 1, 1, 1, 1, -1, -1, 1, 1, 1]
    assert labels(listing[:10], "AU04") == [-1] * 10
    assert listing.frame[:10].tolist() == list(range(10))  # the first line is about the first frame
    assert listing.source[0] == "LeftVideoSN001_comp.avi#0"
    assert sorted(set(listing.subject)) == ["DISFA:SN001", "DISFA:SN002", "DISFA:SN010"]
    assert labels(read_disfa(tmp_path, present_from=1)[:6], "AU12") == [1, 1, 1, 1, 1, -1]
    assert read_disfa(tmp_path, camera="right").source[0] == "RightVideoSN001_comp.avi#0"


def test_disfas_mistakes_are_named(tmp_path, fixtures, caplog):
    with pytest.raises(InputError, match="is not DISFA: it holds no ActionUnit_Labels/SN001/SN001_au1.txt"):
        read_disfa(tmp_path)
    trees.disfa(tmp_path, fixtures / "turned.mp4")
    (tmp_path / "Videos_LeftCamera" / "LeftVideoSN002_comp.avi").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(open_listing(tmp_path)) == 20
    assert "1 of 3 pictures or videos are not there" in caplog.text and "LeftVideoSN002" in caplog.text
    file = tmp_path / "ActionUnit_Labels" / "SN001" / "SN001_au12.txt"
    for lines, said in ((["1,0", "2,7"], r"au12.txt:2: the intensity is 7: DISFA has 0 to 5"),
                        (["0,1"], r"au12.txt:1: 0 is no frame's number: they count from 1"),
                        (["1,x"], r"au12.txt:1: intensity is 'x', which is no number"),
                        (["1"], r"1 cells where the 2")):
        trees.text(file, lines)
        with pytest.raises(InputError, match=said):
            read_disfa(tmp_path)
    for video in tmp_path.glob("Video*/*.avi"):
        video.unlink()
    with pytest.raises(InputError, match="has no videos: looked for Videos_LeftCamera/LeftVideoSN001_comp.avi"):
        read_disfa(tmp_path)


def test_disfa_plus_has_trials_and_the_same_people(tmp_path):
    listing = open_listing(trees.disfa_plus(tmp_path))
    assert listing.names == ("AU01", "AU26") and len(listing) == 2 * 2 * 4 and kind_of(tmp_path) == "disfa+"
    assert grades(listing[:4], "AU01") == [0, 1, 2, 3] and labels(listing[:4], "AU01") == [-1, -1, 1, 1]
    assert listing.source[4] == "SN001/Y_HappyDescribed_TrailNo_1/000.jpg"
    assert sorted(set(listing.subject)) == ["DISFA:SN001", "DISFA:SN003"]


def test_disfa_plus_mistakes_are_named(tmp_path):
    with pytest.raises(InputError, match="is not DISFA\\+: it holds no Labels/SN001/A1_AU1_TrailNo_1/AU1.txt"):
        read_disfa_plus(tmp_path)
    trees.disfa_plus(tmp_path)
    file = tmp_path / "Labels" / "SN001" / "A1_AU1_TrailNo_1" / "AU1.txt"
    for lines, said in ((["AU1", "", "000.jpg 0", "001.jpg 6"], r"AU1.txt:4: the intensity is 6"),
                        (["AU1", "000.jpg 0", "gone", "002.jpg 1"], r"AU1.txt:3: 'gone' is no picture and intensity"),
                        (["AU1", "Frame Intensity"], r"AU1.txt grades no picture")):
        trees.text(file, lines)
        with pytest.raises(InputError, match=said):
            read_disfa_plus(tmp_path)


# -- attributes ----------------------------------------------------------------------------


def test_celeba_with_people_and_parts(tmp_path):
    listing = open_listing(trees.celeba(tmp_path))
    assert listing.names == trees.ATTRIBUTES and listing.aus == () and all_there(listing)
    assert labels(listing, "Smiling") == [1, -1] * 3 and labels(listing, "Eyeglasses") == [1] + [-1] * 5
    assert listing.subject.tolist() == [f"CelebA:{who}" for who in (2880, 2880, 2881, 2881, 2882, 2882)]
    assert not listing.graded and kind_of(tmp_path) == "celeba"
    parts = {part: read_celeba(tmp_path, part=part).source.tolist() for part in ("train", "validation", "test")}
    assert parts == {"train": [f"{i:06d}.jpg" for i in (1, 2, 3, 4)], "validation": ["000005.jpg"],
                     "test": ["000006.jpg"]}


def test_celeba_without_people_and_as_csv(tmp_path):
    trees.celeba(tmp_path)
    whole = read_celeba(tmp_path)
    lines = (tmp_path / "Anno" / "list_attr_celeba.txt").read_text().splitlines()
    (tmp_path / "Anno" / "list_attr_celeba.txt").unlink()
    trees.text(tmp_path / "list_attr_celeba.csv", [",".join(("image_id", *lines[1].split())),
                                                   *(",".join(line.split()) for line in lines[2:])])
    assert np.array_equal(read_celeba(tmp_path).labels, whole.labels)
    (tmp_path / "Anno" / "identity_CelebA.txt").unlink()
    assert set(read_celeba(tmp_path).subject) == {""}
    (tmp_path / "Eval" / "list_eval_partition.txt").unlink()
    with pytest.raises(InputError, match="is not CelebA's partition: it holds no list_eval_partition.txt"):
        read_celeba(tmp_path, part="test")


@pytest.mark.parametrize("form", ["csv", "txt"])
def test_lfwa_says_who_by_its_folders(tmp_path, form):
    listing = open_listing(trees.lfwa(tmp_path, form=form))
    assert listing.names == trees.ATTRIBUTES  # as CelebA writes them
    assert listing.labels.tolist() == [[-1, 1, 1], [-1, -1, 1]] and kind_of(tmp_path) == "lfwa"
    assert listing.subject.tolist() == ["LFWA:Aaron_Eckhart", "LFWA:Zoe_Ball"]
    assert listing.source[0] == "Aaron_Eckhart/Aaron_Eckhart_0001.jpg"


def test_mistakes_in_attributes_are_named(tmp_path):
    with pytest.raises(InputError, match="is not CelebA: it holds no list_attr_celeba.txt, nor do Anno and Eval"):
        read_celeba(tmp_path)
    with pytest.raises(InputError, match="is not LFWA: it holds no lfw_att_40.txt"):
        read_lfwa(tmp_path)
    trees.text(tmp_path / "lfw_att_40.mat", ["MATLAB 7.3"])
    with pytest.raises(InputError, match="is a MATLAB file: save it as lfw_att_40.csv"):
        open_listing(tmp_path)
    trees.celeba(tmp_path)
    file = tmp_path / "Anno" / "list_attr_celeba.txt"
    for lines, said in ((["2", "A B", "1.jpg 1"], r"celeba.txt:3: 1 values where 2 attributes are named"),
                        (["2", "A B", "1.jpg 1 2"], r"celeba.txt:3: an attribute is '2': they are 1 and -1"),
                        (["A B", "1.jpg 1 1", ""], r"celeba.txt:1: the number of pictures is expected"),
                        (["0", "A B", ""], r"lists no pictures|is expected")):
        trees.text(file, lines)
        with pytest.raises(InputError, match=said):
            read_celeba(tmp_path)


# -- all of them ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(set(READERS) - {"manifest"}))
def test_every_reader_refuses_a_folder_of_another_form_in_a_line(tmp_path, kind):
    trees.text(tmp_path / "notes.txt", ["nothing of the sort"])
    with pytest.raises(InputError, match="is not|holds no") as caught:
        read_listing(tmp_path, kind)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_every_listing_is_whole(tmp_path, fixtures):
    """Types and shapes of what each reader gives, on its own form and found by itself."""
    made = {"emotionet": trees.emotionet(tmp_path / "1"), "bp4d": trees.bp4d(tmp_path / "2", digits=3),
            "disfa": trees.disfa(tmp_path / "3", fixtures / "turned.mp4"), "disfa+": trees.disfa_plus(tmp_path / "4"),
            "celeba": trees.celeba(tmp_path / "5"), "lfwa": trees.lfwa(tmp_path / "6")}
    for kind, folder in made.items():
        listing = open_listing(folder)
        assert kind_of(folder) == kind
        count = len(listing)
        assert listing.labels.dtype == np.int8 and set(np.unique(listing.labels)) <= {-1, 0, 1}
        assert listing.intensity.dtype == np.float32 and listing.intensity.shape == listing.labels.shape
        assert listing.frame.dtype == np.int64 and listing.subject.dtype.kind == listing.source.dtype.kind == "U"
        assert len(set(listing.source)) == count == len(listing.file) > 0
        assert all(isinstance(file, Path) for file in listing.file)
        if kind != "disfa":
            assert cv2.imread(str(listing.file[0])) is not None
