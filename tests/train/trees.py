"""Small folders in the form of the corpora, with made-up labels and one portrait in place of their pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

PORTRAIT = Path(__file__).parents[1] / "fixtures" / "face.jpg"

#: EmotioNet's picture, as its list names it: address, original address, AUs.
HOST = "https://emotionet.example/Images"


def picture(file: Path, side: int = 64) -> Path:
    """A small portrait."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = cv2.resize(cv2.imread(str(PORTRAIT)), (side, side), interpolation=cv2.INTER_AREA)
    assert cv2.imwrite(str(file), image)
    return file


def text(file: Path, lines: list[str], encoding: str = "utf-8") -> Path:
    """A file of text."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding=encoding)
    return file


def emotionet_rows(count: int) -> list[list[str]]:
    """Rows of EmotioNet: row i has AU 1 + i % 5 present where FACS knows it, AU 12 absent, AU 17 not coded."""
    rows = []
    for i in range(count):
        codes = ["999"] * 60
        codes[11], codes[24] = "0", "1" if i % 2 else "0"
        codes[(1, 2, 4, 5, 6)[i % 5] - 1] = "1"
        name = f"N_{i // 2:010d}"
        rows.append([f"{HOST}/{name}/{name}_{i:05d}.jpg", f"http://elsewhere.example/{i}.jpg", *codes])
    return rows


def emotionet(folder: Path, count: int = 6, *, form: str = "csv", flat: bool = False, missing: int = 0) -> Path:
    """EmotioNet: a list in one of its forms and the pictures, of which the last `missing` were not to be had."""
    rows = emotionet_rows(count)
    names = ["URL", "URL orig", *(f"AU {i}" for i in range(1, 61))]
    folder.mkdir(parents=True, exist_ok=True)
    if form == "txt":
        for part in range(2):
            text(folder / f"dataFile_{part + 1:04d}.txt", ["\t".join(row) for row in rows[part::2]])
    elif form == "xlsx":
        import openpyxl

        book = openpyxl.Workbook()
        book.active.append(["'" + name + "'" for name in names])
        for row in rows:
            book.active.append(["'" + row[0] + "'", "'" + row[1] + "'", *map(int, row[2:])])
        book.save(folder / "EmotioNet_FACS_aws_2020_24600.xlsx")
    else:
        text(folder / "EmotioNet_FACS_aws_2020_24600.csv",
             [",".join("'" + name + "'" for name in names), *(",".join(row) for row in rows)])
    for row in rows[:count - missing]:
        name, file = row[0].split("/")[-2:]
        picture(folder / "Images" / ("" if flat else name) / file)
    return folder


def bp4d(folder: Path, *, subjects: tuple[str, ...] = ("F001", "F002", "M001"), tasks: tuple[str, ...] = ("T1", "T2"),
         frames: range = range(8, 12), plus: bool = False, digits: int = 4) -> Path:
    """BP4D: codes of some frames of each sequence and pictures of all; BP4D+ names only the AUs that were coded.

    AU 12 is present in even frames, AU 4 not coded in frame 9, AU 1 absent; AU 6 has intensity frame % 6, and 9 in 11.
    """
    coded = (1, 4, 6, 12) if plus else tuple(range(1, 100))
    for subject in subjects:
        for task in tasks:
            lines = [",".join(map(str, ("1" if plus else "0", *coded)))]
            for frame in frames:
                value = {1: 0, 4: 9 if frame == 9 else 1, 6: 1, 12: int(frame % 2 == 0)}
                lines.append(",".join(map(str, (frame, *(value.get(au, 9) for au in coded)))))
            text(folder / "AUCoding" / "AU_OCC" / f"{subject}_{task}.csv", lines)
            text(folder / "AUCoding" / "AU_INT" / "AU06" / f"{subject}_{task}_AU06.csv",
                 [f"{frame},{9 if frame == 11 else frame % 6}" for frame in frames])
            home = folder / ("2D+3D" if plus else "Sequences(2D+3D)") / subject / task
            for frame in range(frames.start - 1, frames.stop):
                picture(home / f"{frame:0{digits}d}.jpg", 16)
    return folder


def disfa(folder: Path, clip: Path, *, subjects: tuple[str, ...] = ("SN001", "SN002", "SN010"), frames: int = 10
          ) -> Path:
    """DISFA: frame n (from 1) has intensity n % 6 of AU 12 and 0 of AU 4; the clip stands for everybody's video."""
    for subject in subjects:
        for au in (4, 12):
            text(folder / "ActionUnit_Labels" / subject / f"{subject}_au{au}.txt",
                 [f"{n},{n % 6 if au == 12 else 0}" for n in range(1, frames + 1)])
        for home, side in (("Videos_LeftCamera", "Left"), ("Video_RightCamera", "Right")):
            (folder / home).mkdir(parents=True, exist_ok=True)
            (folder / home / f"{side}Video{subject}_comp.avi").symlink_to(clip)
    return folder


def disfa_plus(folder: Path, *, subjects: tuple[str, ...] = ("SN001", "SN003")) -> Path:
    """DISFA+: trials with pictures 000.jpg ..., picture n with intensity n of AU 1 and 2 of AU 26."""
    for subject in subjects:
        for trial in ("A1_AU1_TrailNo_1", "Y_HappyDescribed_TrailNo_1"):
            for au in (1, 26):
                text(folder / "Labels" / subject / trial / f"AU{au}.txt",
                     [f"AU{au}", "", "\tFrame Name\t Intensity",
                      *(f"{n:03d}.jpg\t{n if au == 1 else 2}" for n in range(4))])
            for n in range(4):
                picture(folder / "Images" / subject / trial / f"{n:03d}.jpg", 16)
    return folder


ATTRIBUTES = ("5_o_Clock_Shadow", "Eyeglasses", "Smiling")


def celeba(folder: Path, count: int = 6) -> Path:
    """CelebA: two pictures a person; picture i smiles where i is even; the last two validate and test."""
    names = [f"{i:06d}.jpg" for i in range(1, count + 1)]
    text(folder / "Anno" / "list_attr_celeba.txt",
         [str(count), " ".join(ATTRIBUTES) + " ",
          *(f"{name} -1 {'1' if i == 0 else '-1'}  {'1' if i % 2 == 0 else '-1'}" for i, name in enumerate(names))])
    text(folder / "Anno" / "identity_CelebA.txt", [f"{name} {2880 + i // 2}" for i, name in enumerate(names)])
    text(folder / "Eval" / "list_eval_partition.txt",
         [f"{name} {max(0, i - count + 3)}" for i, name in enumerate(names)])
    for name in names:
        picture(folder / "Img" / "img_align_celeba" / name, 16)
    return folder


def lfwa(folder: Path, *, form: str = "csv") -> Path:
    """LFWA in either form, with MATLAB's backslashes."""
    names = ["Aaron_Eckhart\\Aaron_Eckhart_0001.jpg", "Zoe_Ball\\Zoe_Ball_0001.jpg"]
    if form == "csv":
        text(folder / "lfw_att_40.csv", ["name," + ",".join(name.replace("_", " ") for name in ATTRIBUTES),
                                         f"{names[0]},0,1,1", f"{names[1]},0,0,1"])
    else:
        text(folder / "lfw_att_40.txt", ["2", " ".join(ATTRIBUTES), f"{names[0]} -1 1 1", f"{names[1]} -1 -1 1"])
    for name in names:
        picture(folder / "lfw" / name.replace("\\", "/"), 16)
    return folder


def random_faces(count: int, subjects: int, labels: tuple[str, ...], seed: int = 0):
    """A listing of people whose labels differ from one to the next as real people's do; no files."""
    from rtau_train.data.faces import Listing

    rng = np.random.default_rng(seed)
    who = rng.integers(0, subjects, count)
    often = rng.uniform(0, 0.6, (subjects, len(labels)))
    signs = np.where(rng.random((count, len(labels))) < often[who], 1, -1).astype(np.int8)
    file = np.empty(count, object)
    file[:] = [Path(f"{i}.jpg") for i in range(count)]
    return Listing(labels, np.array([f"S{i:03d}" for i in who]), signs, np.full(signs.shape, np.nan, np.float32),
                   np.array([f"{i}.jpg" for i in range(count)]), file, np.full(count, -1))
