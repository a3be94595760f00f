"""runtime.py FOLDER: what a Python program needs of this Debian to run, into the folder: an image's root.

The interpreter and its standard library, what these and /opt/venv are linked to, certificates, names of
users; neither a shell nor a package manager. dpkg's list there has the packages that the files are of, and
their licences are there, so that what looks for vulnerabilities finds them.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

DPKG = Path("/var/lib/dpkg")
NOT_RUN = ["config-*", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tkinter", "turtledemo"]
NOT_THERE_BY_ITSELF = ["dist-packages", "site-packages"]
SETTINGS = [
    *("/etc/group", "/etc/nsswitch.conf", "/etc/passwd", "/etc/os-release", "/usr/lib/os-release"),
    *("/etc/ld.so.cache", "/etc/ssl", "/usr/lib/ssl", "/usr/share/ca-certificates"),
]


def linked(ldd: str) -> set[Path]:
    """The libraries that ldd tells of; it raises FileNotFoundError when one of them is nowhere."""
    if missing := re.findall(r"(\S+) => not found", ldd):
        raise FileNotFoundError(f"nothing here has {', '.join(sorted(set(missing)))}")
    return {Path(path) for path in re.findall(r"(?:=> |^\t)(/\S+) \(0x", ldd, re.MULTILINE)}


def packages_of(files: Iterable[Path], lists: Iterable[Path]) -> set[str]:
    """Those of dpkg's lists, a file each, that have one of the files, by any name of its folder."""
    real = {path.resolve() for path in files}
    folders: dict[Path, Path] = {}

    def has_one(paths: Iterable[Path]) -> bool:
        return any(folders.setdefault(p.parent, p.parent.resolve()) / p.name in real for p in paths)

    return {
        each.stem.partition(":")[0] for each in lists if has_one(map(Path, each.read_text().splitlines()))
    }


def paragraphs_of(status: str) -> dict[str, str]:
    """dpkg's list, by package."""
    found = (paragraph for paragraph in status.split("\n\n") if paragraph.strip())
    return {_field(each, "Package"): f"{each.strip()}\n\n" for each in found}


def licences_of(package: str, paragraphs: dict[str, str]) -> list[Path]:
    """Where its licence may be: with it, or with another package of its source, to which its folder links."""
    names = {name: _field(each, "Source").split(" ")[0] or name for name, each in paragraphs.items()}
    others = [name for name, source in names.items() if source == names[package]]
    return [Path("/usr/share/doc", each, "copyright") for each in (package, *others)]


def _field(paragraph: str, name: str) -> str:
    found = re.search(rf"^{name}: (.+)$", paragraph, re.MULTILINE)
    return found[1] if found else ""


def programs_and_libraries(stdlib: Path) -> Iterator[Path]:
    yield Path(sys.executable).resolve()
    for folder in (stdlib, Path("/opt/venv")):
        yield from sorted(folder.rglob("*.so"))


def copy_into(root: Path, stdlib: Path) -> None:
    for name in ("bin", "lib", "lib64"):
        if (link := Path("/", name)).is_symlink():
            (root / name).symlink_to(link.readlink())
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    interpreter = Path(sys.executable).resolve()
    _copy(interpreter, root)
    _inside(root, interpreter.with_name("python3")).symlink_to(interpreter.name)
    command = ["ldd", *programs_and_libraries(stdlib)]
    for library in linked(subprocess.run(command, check=True, capture_output=True, text=True).stdout):
        if not library.is_relative_to("/opt"):
            _copy(library.parent.resolve() / library.name, root)
    ignored = shutil.ignore_patterns(*NOT_RUN, *NOT_THERE_BY_ITSELF)
    for place in (stdlib, *filter(Path.exists, map(Path, SETTINGS))):
        if place.is_dir():
            shutil.copytree(place, _inside(root, place), symlinks=True, ignore=ignored)
        else:
            _copy(place, root)


def _copy(file: Path, root: Path) -> None:
    """A link as what it leads to."""
    _inside(root, file).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(file, _inside(root, file))


def _inside(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def main(root: Path) -> None:
    root.mkdir()
    copy_into(root, Path(sysconfig.get_path("stdlib")))
    copied = {Path("/", each.relative_to(root)) for each in root.rglob("*") if each.is_file()}
    packages = packages_of(copied, sorted((DPKG / "info").glob("*.list")))
    _inside(root, DPKG).mkdir(parents=True)
    paragraphs = paragraphs_of((DPKG / "status").read_text(encoding="utf-8"))
    chosen = "".join(each for name, each in paragraphs.items() if name in packages)
    _inside(root, DPKG / "status").write_text(chosen, encoding="utf-8")
    for package in sorted(packages):
        if licence := next(filter(Path.exists, licences_of(package, paragraphs)), None):
            shutil.copy2(licence, _licence_in(root, package))


def _licence_in(root: Path, package: str) -> Path:
    file = _inside(root, Path("/usr/share/doc", package, "copyright"))
    file.parent.mkdir(parents=True)
    return file


if __name__ == "__main__":
    main(Path(sys.argv[1]))
