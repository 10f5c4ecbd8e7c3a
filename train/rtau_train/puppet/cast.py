"""Who performs: the open portraits and people of one's own, built into puppets once and kept."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from rtau.cache import cache_folder
from rtau.errors import InputError, UsageError

from ..data.people import Part, part_of
from .portrait import Portrait
from .puppet import FORMAT, Puppet, build_puppet, load_puppet, save_puppet
from .record import tone_of, typology_angle
from .rig import Rig, load_rig

log = logging.getLogger(__name__)

#: Groups of portraits that have hand-placed points, with what follows a person's name in a file's name.
_GROUPS = (("london_neutral", "_03"), ("canada", ""))
_LICENCE = "CC BY 4.0"
#: How often somebody of a rare skin tone performs, at most.
_OFTEN = 3


@dataclass(frozen=True)
class Cast:
    """Where people come from.

    Attributes:
        faces: folder of the open portraits (`faces/`, as `rtau data fetch` packs it).
        rig: `ict_facekit.npz`, or its folder.
        added: folder of one's own portraits (`rtau data add`), or None.
        puppets: folder where built people are kept.
    """

    faces: Path
    rig: Path
    puppets: Path
    added: Path | None = None

    def people(self, part: Part | Literal["all"] = "all") -> list[str]:
        """Names, sorted.

        Raises:
            InputError: there is nobody.
        """
        names = [name for name, _, _, _ in self._portraits()]
        if self.added is not None:
            names += [f.stem for f in sorted(self.added.glob("*.npz"))]
        chosen = sorted(n for n in names if part == "all" or part_of(n) == part)
        if not chosen:
            raise InputError(f"{self.faces} holds no portraits of {part} people; `rtau data fetch` gets them")
        return chosen

    def portraits(self) -> set[str]:
        """Names of those whose portrait is there, with points."""
        return {name for name, _, _, _ in self._portraits()}

    def _portraits(self) -> Iterator[tuple[str, str, Path, np.ndarray]]:
        for group, suffix in _GROUPS:
            folder = self.faces / group
            if not folder.is_dir():
                continue
            try:
                with np.load(folder / "landmarks.npz", allow_pickle=False) as table:
                    names, points = table["names"], table["points"]
            except (OSError, ValueError, KeyError) as error:
                raise InputError(f"{folder / 'landmarks.npz'} can't be read ({error}); fetch the portraits again") \
                    from None
            for name, template in zip(names, points, strict=True):
                yield str(name).removesuffix(suffix), group, folder / f"{name}.jpg", template

    def portrait(self, person: str) -> Portrait:
        """The neutral portrait of a person.

        Raises:
            InputError: there is none, or its picture can't be read.
        """
        for name, _, path, template in self._portraits():
            if name == person:
                image = cv2.imread(str(path), cv2.IMREAD_COLOR)
                if image is None:
                    raise InputError(f"{path} can't be read as a picture; fetch the portraits again")
                if not np.isfinite(template).all():
                    raise InputError(f"{path} has no landmarks; only portraits with points can perform")
                return Portrait.from_template(name, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), template, _LICENCE)
        raise InputError(f"there is no portrait of {person!r} in {self.faces}")

    def puppet(self, person: str, rig: Rig) -> Puppet:
        """The person ready to perform; built on first use and kept in `puppets`."""
        if self.added is not None and (self.added / f"{person}.npz").is_file():
            return load_puppet(self.added / f"{person}.npz")
        kept = self.puppets / f"{person}-{FORMAT}.npz"
        if kept.is_file():
            try:
                return load_puppet(kept)
            except InputError as error:
                log.info("%s; building it anew", error)
        puppet = build_puppet(self.portrait(person), rig)
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_puppet(puppet, kept)
        return puppet

    def backgrounds(self) -> list[np.ndarray]:
        """Photographs without people, uint8 RGB."""
        read = (cv2.imread(str(f), cv2.IMREAD_COLOR) for f in sorted((self.faces / "backgrounds_rainbow").glob("*.jpg")))
        return [cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in read if image is not None]


def default_puppets(faces: Path) -> Path:
    """A folder in the user's cache for the people built from these portraits."""
    return cache_folder() / "puppets" / hashlib.sha256(str(faces.resolve()).encode()).hexdigest()[:12]


def choose_people(cast: Cast, wanted: Sequence[str]) -> tuple[str, ...]:
    """People by part ("train", "validation", "test", "all") or by name.

    Raises:
        UsageError: a name that nobody has.
    """
    if len(wanted) == 1 and wanted[0] in ("train", "validation", "test", "all"):
        return tuple(cast.people(wanted[0]))
    known = cast.people()
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise UsageError(f"nobody is called {unknown[0]!r}: choose train, validation, test, all, or from "
                         f"{', '.join(known[:5])} ... ({len(known)} people)")
    return tuple(wanted)


def even_tones(cast: Cast, people: Sequence[str]) -> tuple[str, ...]:
    """The people, those of rarer skin tones up to three times: by the root of how much rarer theirs is.

    Wholly even shares would show the few people of a rare tone so often that a network knew them by heart.
    """
    rig = load_rig(cast.rig)
    tones = {person: tone_of(typology_angle(cast.puppet(person, rig).tone)) for person in people}
    sizes = Counter(tones.values())
    most = max(sizes.values())
    return tuple(person for person in people
                 for _ in range(min(max(round((most / sizes[tones[person]]) ** 0.5), 1), _OFTEN)))
