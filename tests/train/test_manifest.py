"""Tables and folders that people have: what is read, and what is said of what can't be."""

import codecs
import logging
import shutil

import numpy as np
import pytest

from trees import picture, text

from rtau.errors import InputError, UsageError
from rtau_train.data.corpus import open_listing, read_listing
from rtau_train.data.folder import read_folder
from rtau_train.data.manifest import read_manifest

HEAD = "image,subject,AU1,AU04_c,AU04_r,AU12_r,Smiling,note"


@pytest.fixture
def table(tmp_path):
    """A manifest with two pictures there and one missing."""
    for name in ("a.jpg", "in/b.jpg"):
        picture(tmp_path / name, 16)
    return text(tmp_path / "labels.csv", [HEAD, "a.jpg,Ann,1,0,,2.5,1,x", "in/b.jpg,Bea,-1,1,4,0.5,0,",
                                          "c.jpg,Cid,9,,0,nan,?,"])


def row(listing, index: int) -> dict:
    return dict(zip(listing.names, listing.labels[index].tolist(), strict=True))


def test_presence_and_intensity_are_told_by_the_columns_names(table):
    listing = read_manifest(table, attributes=["Smiling"])
    assert listing.names == ("AU01", "AU04", "AU12", "Smiling") and listing.subject.tolist() == ["Ann", "Bea", "Cid"]
    assert row(listing, 0) == {"AU01": 1, "AU04": -1, "AU12": 1, "Smiling": 1}
    assert row(listing, 1) == {"AU01": -1, "AU04": 1, "AU12": -1, "Smiling": -1}
    assert row(listing, 2) == {"AU01": 0, "AU04": -1, "AU12": 0, "Smiling": 0}
    expected = [[np.nan, np.nan, 2.5, np.nan], [np.nan, 4, 0.5, np.nan], [np.nan, 0, np.nan, np.nan]]
    assert np.array_equal(listing.intensity, np.array(expected, np.float32), equal_nan=True)
    assert listing.source.tolist() == ["a.jpg", "in/b.jpg", "c.jpg"] and (listing.frame == -1).all()
    assert listing.file[1] == table.parent / "in" / "b.jpg"
    assert read_manifest(table).names == ("AU01", "AU04", "AU12")
    assert row(read_manifest(table, present_from=3), 0)["AU12"] == -1


def test_videos_are_listed_by_frame(tmp_path):
    file = text(tmp_path / "m.csv", ["video,frame,image,AU6", "v.mp4,0,,1", "v.mp4,12,,0", ",,a.jpg,1"])
    listing = read_manifest(file)
    assert listing.frame.tolist() == [0, 12, -1] and listing.source.tolist() == ["v.mp4#0", "v.mp4#12", "a.jpg"]
    assert listing.subject.tolist() == [""] * 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_delimiter_and_encoding_gives_the_same(tmp_path, encoding, delimiter):
    lines = [["image", "subject", "AU4_r", "AU12"], ["ä ö.jpg", "Zoë", "2.5", "1"], ["b.jpg", "Ann", "", "0"]]
    if delimiter != ",":
        lines[1][2] = "2,5"
    listing = read_manifest(text(tmp_path / "m.csv", [delimiter.join(line) for line in lines], encoding))
    assert listing.names == ("AU04", "AU12") and listing.subject.tolist() == ["Zoë", "Ann"]
    assert listing.source.tolist() == ["ä ö.jpg", "b.jpg"] and listing.intensity[0, 0] == 2.5


def test_an_excel_file_is_read_too(tmp_path):
    import openpyxl

    book = openpyxl.Workbook()
    for line in (["image", "subject", "AU04_r"], ["a.jpg", 7, 2.5], ["b.jpg", 8, None]):
        book.active.append(line)
    book.save(tmp_path / "m.xlsx")
    listing = read_listing(tmp_path / "m.xlsx", "manifest")
    assert listing.subject.tolist() == ["7", "8"] and listing.labels.tolist() == [[1], [0]]
    (tmp_path / "m.xlsx").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(InputError, match="m.xlsx"):
        read_listing(tmp_path / "m.xlsx", "manifest")
    (tmp_path / "m.xlsx").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(100))
    with pytest.raises(InputError, match="password.*save it as CSV"):
        read_listing(tmp_path / "m.xlsx", "manifest")


@pytest.mark.parametrize("lines, said", [
    ([HEAD, "a.jpg,Ann,3,,,,,"], r"labels.csv:2: AU1 is 3: presence is 1, or 0 or -1, or blank; .* AU01_r"),
    ([HEAD, "a.jpg,Ann,,,6,,,"], r"labels.csv:2: AU04_r is 6: an intensity is 0 to 5"),
    ([HEAD, "", "a.jpg,Ann,,,-1,,,"], r"labels.csv:3: AU04_r is -1"),
    ([HEAD, "a.jpg,Ann,yes,,,,,"], r"labels.csv:2: AU1 is 'yes', which is no number"),
    ([HEAD, "a.jpg,Ann,1,1"], r"labels.csv:2: 4 cells where the 8 columns"),
    ([HEAD, "a.jpg,Ann,1,,,,,", "a.jpg,Ann,0,,,,,"], r"labels.csv:3: a.jpg was in line 2 already"),
    ([HEAD, ",Ann,1,,,,,"], r"labels.csv:2: names no image"),
    (["image,AU0", "a.jpg,1"], r"column AU0: FACS has no such AU; it has 1, 2, 4 to 46"),
    (["image,AU99_r", "a.jpg,1"], r"column AU99_r: FACS has no such AU"),
    (["image,AU12_p", "a.jpg,1"], r"column AU12_p: unknown ending _p"),
    (["image,AU4,AU04", "a.jpg,1,1"], r"columns AU4 and AU04 mean the same"),
    (["image,image,AU4", "a.jpg,b.jpg,1"], r"more than one column image"),
    (["picture,AU4", "a.jpg,1"], r"no column image \(nor video and frame\): its columns are picture, AU4"),
    (["video,AU4", "a.mp4,1"], r"no column image"),
    (["video,frame,AU4", "a.mp4,-1,1"], r"labels.csv:2: frame is '-1'"),
    (["video,frame,image,AU4", "a.mp4,1,b.jpg,1"], r"labels.csv:2: names both an image and a video"),
    ([HEAD], r"lists no pictures"),
    (['image,AU4', 'a.jpg,"1', 'b.jpg,1'], r"labels.csv:2: no readable table .*quotes"),
    ([""], r"labels.csv is empty: its first line"),
])
def test_what_is_wrong_is_said_in_one_line_with_its_place(tmp_path, lines, said):
    file = text(tmp_path / "labels.csv", lines)
    with pytest.raises(InputError, match=said) as caught:
        read_manifest(file)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_table_are_refused(tmp_path):
    file = tmp_path / "m.csv"
    for data, said in ((b"", "is empty"), (b"\0\1\2\0" * 9, "is no text"),
                       (codecs.BOM_UTF8, "m.csv is empty")):
        file.write_bytes(data)
        with pytest.raises(InputError, match=said):
            read_manifest(file)
    with pytest.raises(InputError, match="is not there"):
        open_listing(tmp_path / "nowhere.csv")


def test_attributes_must_be_columns(table):
    with pytest.raises(UsageError, match="no column 'Frowning'.*it has Smiling, note"):
        read_manifest(table, attributes=["Frowning"])
    with pytest.raises(InputError, match="labels.csv:2: note is 'x', which is no number"):
        read_manifest(table, attributes="all")


def test_missing_pictures_are_counted_or_an_error(table, caplog):
    with caplog.at_level(logging.WARNING):
        listing = open_listing(table)
    assert listing.source.tolist() == ["a.jpg", "in/b.jpg"]
    assert "1 of 3 pictures or videos are not there" in caplog.text and "c.jpg" in caplog.text
    with pytest.raises(InputError, match="1 of 3 .*c.jpg"):
        open_listing(table, strict=True)
    text(table, [HEAD, *(f"{i}.jpg,Ann,1,,,,," for i in range(9))])
    with pytest.raises(InputError, match="9 of 9 .*0.jpg.*4.jpg and others") as caught:
        open_listing(table)
    assert "5.jpg" not in str(caught.value)


def test_options_of_other_kinds_and_unknown_kinds_are_refused(table):
    with pytest.raises(UsageError, match="read as manifest, for which there is no camera"):
        open_listing(table, camera="left")
    with pytest.raises(UsageError, match="no kind 'xml': choose from auto, manifest"):
        open_listing(table, "xml")


def test_a_folder_that_holds_manifest_csv_is_read_by_it(table):
    shutil.copy(table, table.with_name("manifest.csv"))
    assert open_listing(table.parent).names == ("AU01", "AU04", "AU12")


# -- folders -------------------------------------------------------------------------------


def test_a_folder_is_searched_to_its_depths(tmp_path, fixtures):
    for name in ("b10.png", "b9.png", "deep/er/a.jpg", ".hidden/x.jpg", "deep/.y.jpg"):
        picture(tmp_path / name, 16)
    text(tmp_path / "notes.txt", ["none"])
    shutil.copy(fixtures / "turned.mp4", tmp_path / "deep" / "clip.mp4")
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    listing = read_folder(tmp_path, every=8)
    assert listing.source.tolist() == ["b9.png", "b10.png", "broken.mp4#0", "deep/clip.mp4#0", "deep/clip.mp4#8",
                                       "deep/clip.mp4#16", "deep/er/a.jpg"]
    assert listing.names == () and set(listing.subject) == {""} and listing.labels.shape == (7, 0)
    assert len(read_folder(tmp_path)) == 4 + 20
    assert open_listing(tmp_path, every=8).source.tolist() == listing.source.tolist()


def test_an_empty_folder_is_one_clear_error(tmp_path):
    text(tmp_path / "in" / "notes.txt", ["none"])
    with pytest.raises(InputError, match="holds no pictures and no videos, nor do the folders in it"):
        open_listing(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        read_folder(tmp_path / "in" / "notes.txt")
    with pytest.raises(UsageError, match="every is 0"):
        read_folder(tmp_path, every=0)
