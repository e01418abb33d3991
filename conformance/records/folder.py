"""Where a record goes: the destination is checked before any work, and the record grows in a private folder until it is
whole.

    with RunFolder(Path("record.jsonl")) as folder:
        ...  # every worker writes its parts into folder.path
        folder.deliver(folder.path / "record.jsonl")
"""

import glob
import os
import secrets
import shutil
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from ..cases.plan import OptionError
from .form.files import COMPRESSED, FileTrouble, RecordError, compress, require_form

DESCRIPTION = "run.json"
"""The file in the folder of a run that says what the run is."""
_STREAMS = ("/dev/", "/proc/")
"""What lies here is written to and never replaced: /dev/stdout may be a regular file that others write to as well."""


class RunFolder:
    """A private folder in which a record grows, and the way of the whole record to its destination.

    A `report` that is a regular file, or does not exist yet, is replaced in one step; of a symbolic link it is the
    target, and the link stays. A device or FIFO is written to. Without a report the record lives as long as the folder.

    A run that was killed leaves its folder. With `resumes` it is this run's folder, and what is in it is kept; without,
    it is removed as soon as this run's record is delivered.
    Raises OptionError, in one line, for a destination that cannot be written, or that another run is writing.
    """

    def __init__(self, report: Path | None = None, resumes: bool = False) -> None:
        self.report = report
        self._resumes = resumes
        self._target: Path | None = None
        self._lock: WriteLock | None = None
        self._is_kept = resumes  # until the record is delivered
        self._left: list[Path] = []
        try:
            if report is not None:
                require_form(report)
                self._target = _target(report)
            if self._target is not None:
                self._lock = WriteLock(self._target, f"report {report}", "file")
            self.path = self._made()
        except OSError as error:
            self._unlock()
            raise _refusal(report, error.strerror or str(error)) from None
        except FileTrouble as error:
            raise OptionError(f"report {report}: {error}") from None
        except (OptionError, KeyboardInterrupt):
            self._unlock()
            raise

    def _made(self) -> Path:
        if self._target is None:
            return _make_folder(Path(tempfile.gettempdir()), "kterm-", "")
        self._left = left_folders(self._target)
        if self._resumes:
            described = [path for path in self._left if (path / DESCRIPTION).exists()]
            if not described:
                raise OptionError(f"report {self.report}: there is no interrupted run to go on with")
            self._left.remove(described[-1])
            return described[-1]
        # In the folder of the report, so that the record can be moved there in one step.
        return _make_folder(self._target.parent, f".{self._target.name}.", ".parts")

    def deliver(self, record: Path) -> Path:
        """Bring a whole record to its destination, compressed if the name there says so, and give the path at which it
        can be read now.

        Raises RecordError, in one line, where it cannot be written; it is kept where it is.
        """
        if self.report is None:
            return record
        try:
            if self.report.suffix in COMPRESSED:
                packed = record.with_name(record.name + self.report.suffix)
                compress(record, packed, self.report.suffix)
                record = packed
            if self._target is None:
                sys.stdout.flush()
                with record.open("rb") as source, _appending(self.report) as out:
                    shutil.copyfileobj(source, out)
                return record
            with suppress(FileNotFoundError):
                shutil.copymode(self._target, record)
            record.replace(self._target)
            for left in self._left:
                shutil.rmtree(left, ignore_errors=True)
            self._is_kept = False
        except OSError as error:
            self.keep()
            raise RecordError(
                f"report {self.report}: {error.strerror or error}; the whole record is kept in {record}"
            ) from None
        return self._target

    def keep(self) -> Path:
        """Leave the folder where it is, for the user to look into, when the run ends; gives its path."""
        self._is_kept = True
        return self.path

    def close(self) -> None:
        """Remove the folder, unless it is kept, and let other runs write the report."""
        if not self._is_kept:
            shutil.rmtree(self.path, ignore_errors=True)
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _make_folder(parent: Path, prefix: str, suffix: str) -> Path:
    """A new folder for this user alone. Not by tempfile.mkdtemp, whose folder stays without a name that anyone knows if
    Ctrl-C or SIGTERM comes right behind the system call.
    """
    path = parent / f"{prefix}{secrets.token_hex(8)}{suffix}"
    try:
        path.mkdir(mode=0o700)
    except KeyboardInterrupt:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return path


def left_folders(target: Path) -> list[Path]:
    """The folders of runs that were to write `target` and were killed, the last one last. Nobody else writes there if
    its lock is held.
    """
    found = target.parent.glob(f".{glob.escape(target.name)}.*.parts")
    return sorted(found, key=lambda path: path.stat().st_mtime)


def _refusal(report: Path | None, reason: str) -> OptionError:
    if report is None:
        return OptionError(f"temporary folder {tempfile.gettempdir()}: {reason}; set TMPDIR to one that can be written")
    return OptionError(f"report {report}: {reason}; name a file that can be written")


def _target(report: Path) -> Path | None:
    """The regular file that the record replaces, with links followed; None where the report is written to as a stream.

    Raises OSError and OptionError.
    """
    target = Path(os.path.realpath(report))
    try:
        mode = os.stat(report).st_mode
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise _refusal(report, f"there is no folder {target.parent}") from None
        return target
    if stat.S_ISDIR(mode):
        raise _refusal(report, "is a folder")
    if not os.access(report, os.W_OK):
        raise _refusal(report, "cannot be written")
    is_stream = not stat.S_ISREG(mode) or os.path.abspath(report).startswith(_STREAMS)
    return None if is_stream else target


def _appending(stream: Path) -> BinaryIO:
    """The stream, open to be written behind what is there already. Raises OSError."""
    found = os.stat(stream)
    for descriptor in (1, 2):
        # The standard output may be a regular file: opened once more it would have another position, and what is
        # printed later would overwrite the record.
        with suppress(OSError):
            if os.path.samestat(found, os.fstat(descriptor)):
                return os.fdopen(os.dup(descriptor), "wb")
    return os.fdopen(os.open(stream, os.O_WRONLY | os.O_APPEND), "wb")


class WriteLock:
    """Lets one run at a time write `target`. The operating system releases it when its process ends in any way.

    `what` names the target in a message, and `kind` says what else may be named. Raises OptionError where another run
    has the lock, and OSError.
    """

    def __init__(self, target: Path, what: str, kind: str) -> None:
        self._path = target.with_name(f".{target.name}.lock")
        while True:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _try_lock(self._file)
            except BlockingIOError:
                holder = os.read(self._file, 20).decode(errors="replace").strip() or "unknown"
                os.close(self._file)
                raise OptionError(
                    f"{what}: another run, process {holder}, is writing it; wait until it ends, or name another {kind}"
                ) from None
            # Another run may have removed the file between the two steps.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.stat(self._path), os.fstat(self._file)):
                    break
            os.close(self._file)
        os.truncate(self._path, 0)
        os.write(self._file, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Remove the file, and with it the lock."""
        with suppress(OSError):
            if sys.platform != "win32":  # Windows removes no file that is open
                self._path.unlink()
        os.close(self._file)
        with suppress(OSError):
            if sys.platform == "win32":
                self._path.unlink()


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: int) -> None:
        os.lseek(file, 1 << 20, os.SEEK_SET)  # beyond the contents, which others may read
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise BlockingIOError from None
        finally:
            os.lseek(file, 0, os.SEEK_SET)
else:
    import fcntl

    def _try_lock(file: int) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            return  # a file system without locks, such as some network mounts
