"""The package as others get it: what is in it, what it needs, and that it runs elsewhere."""

from __future__ import annotations

import ast
import csv
import os
import re
import runpy
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]

#: Name to import -> distribution, where they differ.
DISTRIBUTIONS = {"cv2": "opencv-python", "skimage": "scikit-image", "torch_tensorrt": "torch-tensorrt",
                 "face_alignment": "face-alignment", "pythonosc": "python-osc"}


@pytest.fixture(scope="module")
def setup_arguments() -> dict:
    """What setup.py passes to setuptools."""
    caught = {}
    patch = pytest.MonkeyPatch()
    patch.setattr(setuptools, "setup", caught.update)
    try:
        runpy.run_path(str(ROOT / "setup.py"))
    finally:
        patch.undo()
    return caught


def committed() -> list[Path]:
    """The files that belong to the project: what git tracks or would, else all but what is hidden or built."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                                capture_output=True, text=True, check=True).stdout.split("\0")
        files = [ROOT / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        outside = {".git", ".venv", "build", "dist", "__pycache__", ".pytest_cache", ".hypothesis"}
        files = [path for path in ROOT.rglob("*") if not outside & set(path.relative_to(ROOT).parts)]
    return [path for path in files if path.is_file()]


def packed_files() -> list[Path]:
    """The files that an installation should have."""
    folders = [ROOT / name for name in ("rtau", "weights", "train/rtau_train", "train/recipes")]
    return [path for path in committed() if any(path.is_relative_to(folder) for folder in folders)]


def run(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    """Run a command with the checkout out of reach of its imports."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    return subprocess.run([str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True,
                          timeout=300)


def code_blocks(marker: str) -> list[str]:
    """The code blocks of the README that follow this comment."""
    text = (ROOT / "README.md").read_text("utf-8")
    return re.findall(rf"^<!-- {marker} -->\n+```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


# What setup.py says against what is there


def test_every_package_folder_is_listed(setup_arguments: dict) -> None:
    homes = {ROOT / folder for folder in setup_arguments["package_dir"].values()}
    found = {path.parent for path in packed_files() if path.suffix == ".py"}
    assert found and found <= homes, f"not in setup.py: {sorted(found - homes)}"
    assert set(setup_arguments["packages"]) == set(setup_arguments["package_dir"])
    assert all(home.is_dir() for home in homes)


def test_every_data_file_is_packed(setup_arguments: dict) -> None:
    patterns = {ROOT / folder: setup_arguments["package_data"].get(package, [])
                for package, folder in setup_arguments["package_dir"].items()}
    data = [path for path in packed_files() if path.suffix != ".py"]
    assert data
    for path in data:
        found = any(path.match(pattern) for pattern in patterns.get(path.parent, []))
        assert found, f"{path.relative_to(ROOT)} is not in setup.py's package_data"


def third_party_imports(folder: Path) -> set[str]:
    """Names of the distributions that the Python files below a folder import, at any depth."""
    names = set()
    for path in committed():
        if path.suffix == ".py" and path.is_relative_to(folder):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    names |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    names.add(node.module.split(".")[0])
                elif (isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module"
                      and node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value[0] != "."):
                    names.add(node.args[0].value.split(".")[0])
    own = {"rtau", "rtau_train", "benchmarks"} | {path.stem for path in committed() if path.is_relative_to(ROOT / "tests")}
    return {canonicalize_name(DISTRIBUTIONS.get(name, name)) for name in names - own - sys.stdlib_module_names}


def test_dependencies_are_what_is_imported(setup_arguments: dict) -> None:
    def names(requirements: list[str]) -> set[str]:
        return {canonicalize_name(Requirement(line).name) for line in requirements}

    needed = names(setup_arguments["install_requires"])
    extras = {extra: names(lines) for extra, lines in setup_arguments["extras_require"].items()}
    optional = set().union(*(found for extra, found in extras.items() if extra not in ("test", "train")))
    assert needed <= third_party_imports(ROOT / "rtau") <= needed | optional
    assert third_party_imports(ROOT / "train") <= needed | optional | extras["train"]
    # fsspec imports these two by itself, for s3:// and https:// addresses.
    by_fsspec = {"aiohttp", "s3fs"}
    assert optional - by_fsspec <= third_party_imports(ROOT / "rtau") | third_party_imports(ROOT / "train")
    assert extras["train"] <= third_party_imports(ROOT / "train")
    # packaging comes with pytest, scikit-image with face-alignment.
    assert third_party_imports(ROOT / "tests") <= needed | extras["test"] | {"packaging", "scikit-image"}


def test_constraints_pin_every_dependency(setup_arguments: dict) -> None:
    pinned = {}
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            assert re.fullmatch(r"==[^,*]+", str(pin.specifier)), f"{line} is not exact"
            pinned[canonicalize_name(pin.name)] = str(pin.specifier)[2:]
    for line in [*setup_arguments["install_requires"], *setup_arguments["extras_require"]["train"],
                 *setup_arguments["extras_require"]["test"]]:
        wanted = Requirement(line)
        assert canonicalize_name(wanted.name) in pinned, f"{wanted.name} is not in constraints.txt"
        assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)]), f"{line} excludes what was tested"


# What is in the repository


def test_no_paths_of_a_machine() -> None:
    own = re.compile(r"(?<![\w.\"'/])/(?:home|root|work|Users)/[\w.]")
    for path in committed():
        if path.suffix in {".py", ".md", ".toml", ".txt", ".json", ".sh", ""} and path != Path(__file__):
            found = own.search(path.read_text("utf-8", errors="ignore"))
            assert not found, f"{path.relative_to(ROOT)} names {found[0]}"


def test_readme_commands_install_the_tested_versions() -> None:
    (first,), (test,) = code_blocks("first command"), code_blocks("test command")
    for command in (first, test):
        assert "-c constraints.txt" in command and ".venv" in command
    assert "rtau " in first
    assert "pytest" in test and "[test]" in test


def test_ci_runs_the_readme_command(tmp_path: Path) -> None:
    """The script, in a checkout whose README has another test command after the same mark."""
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    readme = "# x\n\n```bash\nfalse\n```\n\n<!-- test command -->\n```bash\n{}\n```\n\n```bash\nfalse\n```\n"

    def ci(command: str) -> subprocess.CompletedProcess:
        (tmp_path / "README.md").write_text(readme.format(command))
        return run("bash", tmp_path / ".ci" / "run", cwd=tmp_path.parent)

    passed = ci("mkdir -p .venv/bin && ls -d .venv\necho '1 passed (pytest)'")
    assert passed.returncode == 0, passed.stderr
    assert passed.stdout.splitlines()[-1] == "1 passed (pytest)"
    assert not (tmp_path / ".venv").exists(), "the environment of the checkout was touched"
    assert ci("echo 'no tests ran (pytest)' && (exit 5)").returncode == 5
    assert ci("echo nothing").returncode == 1, "a README without the test command must fail"


# What it costs to import


@pytest.mark.parametrize(("module", "absent"), [
    ("rtau", ("torch", "cv2", "onnxruntime", "numpy")),
    ("rtau.cli", ("torch", "cv2", "onnxruntime", "face_alignment")),
])
def test_imports_are_light(module: str, absent: tuple[str, ...], tmp_path: Path) -> None:
    code = f"import {module}, sys; print([name for name in {absent} if name in sys.modules])"
    done = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_public_names_are_there() -> None:
    import rtau

    for name in rtau.__all__:
        assert getattr(rtau, name) is not None
    assert set(rtau.__all__) <= set(dir(rtau))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        rtau.nothing  # noqa: B018


def test_openvino_is_imported_without_its_telemetry(tmp_path: Path) -> None:
    """In a new process: neither the reporter is loaded nor its files are written."""
    code = ("import sys; from rtau.offline import import_openvino; ov = import_openvino(); ov.Core();"
            "from openvino.tools.ovc import telemetry_utils;"
            "print(telemetry_utils.tm.__name__, 'openvino_telemetry' in sys.modules, import_openvino() is ov)")
    done = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(ROOT), HOME=str(tmp_path), CI="")
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "False", "True"], done.stderr
    assert not list(tmp_path.iterdir())


# What pip installs


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, setup_arguments: dict) -> Path:
    """A virtual environment with the wheel in it; what rtau needs is borrowed from this one."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    for path in committed():
        target = source / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    done = run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
               "--wheel-dir", folder, source, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("rtau-*.whl")
    shutil.rmtree(source)

    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = Path(run(python, "-c", ask, cwd=folder).stdout.strip())
    # Added to the end of sys.path, so that the wheel comes before an rtau that is installed here.
    borrowed = [folder for folder in sys.path if Path(folder).name in ("site-packages", "dist-packages")]
    (own / "borrowed.pth").write_text("\n".join(borrowed))
    done = run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index",
               "--ignore-installed", wheel, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return python


@pytest.mark.slow
def test_the_wheel_carries_everything(installed: Path, tmp_path: Path) -> None:
    code = ("import rtau, rtau_train.data, rtau.store, pathlib; home = pathlib.Path(rtau.__file__).parent;"
            "print(home); print(rtau.store.weights_folder());"
            "print(*(sorted(p.relative_to(home.parent).as_posix() for f in ('rtau', 'rtau_train')"
            " for p in (home.parent / f).rglob('*') if p.is_file() and p.suffix != '.pyc')), sep='\\n')")
    home, weights, *files = run(installed, "-c", code, cwd=tmp_path).stdout.splitlines()
    assert Path(home).is_relative_to(installed.parents[1])
    assert Path(weights) == Path(home) / "weights"
    assert {"rtau/samples/astronaut.mp4", "rtau/weights/manifest.json", "rtau_train/data/people.json"} <= set(files)
    assert any(name.startswith("rtau/weights/") and name.endswith(".safetensors") for name in files)
    assert any(name.startswith("rtau_train/recipes/") and name.endswith(".toml") for name in files)
    assert not any("test" in name for name in files)


@pytest.mark.slow
def test_the_installed_command_reads_a_clip(installed: Path, sample: Path, tmp_path: Path) -> None:
    rtau = installed.with_name("rtau.exe" if os.name == "nt" else "rtau")
    assert "process" in run(rtau, "--help", cwd=tmp_path).stdout
    done = run(rtau, "process", sample, "--out", tmp_path / "out.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 125
    assert sum(row["success"] == "1" for row in rows) > 100
