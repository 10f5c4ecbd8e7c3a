"""People of one's own: which portraits are taken, and why others are not."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from rtau.errors import InputError
from rtau_train.puppet.add import LEAST_PSNR, add_portraits
from rtau_train.puppet.puppet import load_puppet


@pytest.fixture
def photos(shared: Path, tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "LICENCE").write_text("CC0, with consent\n")
    return folder


def test_portraits_are_taken_or_refused_with_a_reason(shared: Path, photos, tmp_path):
    faces = shared / "faces"
    shutil.copy(faces / "london_neutral/034_03.jpg", photos / "Ann Lee.jpg")
    shutil.copy(faces / "london_smiling/001_08.jpg", photos / "smile.jpg")
    shutil.copy(shared / "stills/multi_face_5.jpg", photos / "five.jpg")
    shutil.copy(next(iter(sorted((faces / "backgrounds_rainbow").glob("*.jpg")))), photos / "view.jpg")
    portrait = cv2.imread(str(faces / "london_neutral/044_03.jpg"))
    cv2.imwrite(str(photos / "tiny.jpg"), cv2.resize(portrait, (100, 100), interpolation=cv2.INTER_AREA))
    cv2.imwrite(str(photos / "blurred.jpg"), cv2.GaussianBlur(portrait, (0, 0), 7))
    turn = cv2.getRotationMatrix2D((320, 320), 25, 1)
    cv2.imwrite(str(photos / "tilted.jpg"), cv2.warpAffine(portrait, turn, (640, 640), borderMode=cv2.BORDER_REPLICATE))
    cv2.imwrite(str(photos / "cut.jpg"), portrait[:, 300:])
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (photos / "notes.txt").write_text("not a picture")

    results = {r.picture.stem: r for r in add_portraits(photos, tmp_path / "out", rig=shared / "ict_facekit")}
    assert set(results) == {"Ann Lee", "smile", "five", "view", "tiny", "blurred", "tilted", "cut", "broken"}
    good = results["Ann Lee"]
    assert good.person == "own-Ann-Lee" and not good.refused and good.psnr > LEAST_PSNR and good.misfit < 0.05
    assert "added as own-Ann-Lee" in str(good)
    assert load_puppet(tmp_path / "out/own-Ann-Lee.npz").licence == "CC0, with consent"
    for stem, words in {"smile": "smiles", "five": "5 faces", "view": "no face", "tiny": "too small",
                        "tilted": "tilted", "broken": "can't be read"}.items():
        assert words in results[stem].refused and "\n" not in str(results[stem]), stem
    assert results["blurred"].refused and results["cut"].refused
    assert [f.name for f in (tmp_path / "out").iterdir()] == ["own-Ann-Lee.npz"]


def test_a_turned_head_is_refused(shared: Path, photos, tmp_path):
    from rtau_train.puppet.cast import Cast
    from rtau_train.puppet.render import Renderer
    from rtau_train.puppet.rig import load_rig
    from rtau_train.puppet.sample import AUS
    from rtau_train.puppet.scene import Performance, Scene

    rig = load_rig(shared / "ict_facekit")
    puppet = Cast(shared / "faces", shared / "ict_facekit", tmp_path / "puppets").puppet("044", rig)
    still = Performance(np.zeros((len(AUS), 2), np.float32), {})
    picture = Renderer(rig).render(puppet, Scene(still, yaw=0.5, face=0.45), size=(640, 640), supersample=1).image
    cv2.imwrite(str(photos / "side.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    result, = add_portraits(photos, tmp_path / "out", rig=shared / "ict_facekit")
    assert "turned to the side" in result.refused


def test_two_pictures_of_one_name(shared: Path, photos, tmp_path):
    for ending in ("jpg", "jpeg"):
        shutil.copy(shared / "faces/london_neutral/034_03.jpg", photos / f"ann.{ending}")
    results = list(add_portraits(photos, tmp_path / "out", rig=shared / "ict_facekit"))
    assert sorted(bool(r.refused) for r in results) == [False, True]
    assert any("same name" in r.refused for r in results)


def test_folders_without_pictures_or_licence(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        add_portraits(tmp_path / "none", tmp_path / "out", rig=tmp_path)
    with pytest.raises(InputError, match="no pictures"):
        add_portraits(tmp_path, tmp_path / "out", rig=tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="no file LICENCE"):
        add_portraits(tmp_path, tmp_path / "out", rig=tmp_path)
    with pytest.raises(InputError, match="not the face rig"):
        add_portraits(tmp_path, tmp_path / "out", rig=tmp_path, licence="CC0")
    assert not (tmp_path / "out").exists()
