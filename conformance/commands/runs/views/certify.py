"""What `kterm certify` does: write the certificates of a record and their badges, or compare one with its record."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from ....cases.plan import OptionError, require_known
from ....evaluation.certificate.badge import badge_text, to_svg
from ....evaluation.certificate.form import CalibrationScore, Certificate, KillScore, Repeated
from ....evaluation.certificate.make import Beside, NoCertificate, certify, from_bytes, require_certifiable, to_text
from ....records.form.console import TextConsole
from ....records.form.text import count, print_aside, printable
from ....records.record import Record, read
from ...exit_codes import CONFORMS, DOES_NOT
from ..recheck import print_differences, repeat_part

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_+.-]")
_MOST_BYTES = 2**24
_MOST_DIFFERENCES = 20


@dataclass(frozen=True)
class CertifyOptions:
    """The options of `kterm certify`. `output` is a folder, or a file for the one certificate; an empty `only` stands
    for all adapters of the record. `recheck` is how many cases to repeat, None for nothing. `verify` is a certificate
    to compare; then nothing is written.
    """

    record: Path
    output: Path = Path()
    badge: Path | None = None
    only: tuple[str, ...] = ()
    kills: Path | None = None
    calibration: Path | None = None
    recheck: int | None = None
    trusts: bool = False
    verify: Path | None = None
    quiet: bool = False


def run_certify(options: CertifyOptions) -> int:
    """Write a certificate and a badge for each adapter, or compare one certificate, and return the exit code: 0, or 1
    if an adapter earns none or if the certificate is not what the record gives. Then nothing is written.

    Raises RecordError for a record that is not certifiable, AdapterError where a case is to be repeated with an adapter
    that does not load, and OptionError for other files and options that do not fit.
    """
    console = TextConsole(quiet=options.quiet)
    given, plain = (None, {}) if options.verify is None else _read_certificate(options.verify)
    record = read(options.record)
    require_certifiable(record, options.record)
    names = [*record.adapters] if not options.only else [*dict.fromkeys(options.only)]
    if given is not None:
        names = [given.adapter.name] if not options.only else names
    for name in names:
        require_known("adapter of the record", name, [*record.adapters])
    targets = _choose_files(options, names) if given is None else {}
    # Before cases are repeated, which takes long.
    beside = Beside(options.kills, options.calibration)
    certificates = _make_all(record, options, names, beside)
    if certificates and options.recheck is not None:
        repeated = _repeat(record, options, names, console)
        certificates = [replace(one, repeated=repeated[one.adapter.name]) for one in certificates if repeated]
    if not certificates:
        return DOES_NOT
    if given is not None:
        return _compare(plain, certificates[0], options)
    for one in certificates:
        certificate_file, badge_file = targets[one.adapter.name]
        _write(certificate_file, to_text(one).encode())
        _write(badge_file, to_svg(one))
        TextConsole().print(printable(f"{one.adapter.name} {one.adapter.version}: {badge_text(one)}"))
        for line in _lines(one):
            console.print(printable(f"  {line}"))
        console.print(printable(f"  {certificate_file}, {badge_file}"))
    return CONFORMS


def _lines(certificate: Certificate) -> Iterator[str]:
    """What keeps a certificate from being strict, and what was measured beside the run."""
    undeclared = [one.what for one in certificate.left_out if one.why == "undeclared"]
    if undeclared:
        yield f"does not declare: {', '.join(undeclared)}"
    yield from (f"left out: {one.what}" for one in certificate.left_out if one.why != "undeclared")
    for met in certificate.divergences:
        source = "" if met.shipped else ", by an expectation that kterm does not ship"
        yield f"known divergence in {count(met.cases, 'case')}{source}: {met.reason}"
    if isinstance(certificate.kills, KillScore):
        for kills in certificate.kills.by_dtype:
            due = kills.killed + len(kills.survived)
            yield f"finds {kills.killed} of {count(due, 'known mistake')} in {kills.dtype} (profile {kills.profile})"
    if isinstance(certificate.calibration, CalibrationScore):
        alarms = count(certificate.calibration.false_alarms, "false alarm")
        yield f"{alarms} in {count(certificate.calibration.cases, 'case')}"
    if isinstance(certificate.repeated, Repeated):
        yield f"repeated {count(certificate.repeated.cases, 'case')}: all as recorded"


def _make_all(record: Record, options: CertifyOptions, names: list[str], beside: Beside) -> list[Certificate]:
    """The certificates of all adapters, or none, with a line on standard error for each that earns none."""
    made, refused = list[Certificate](), False
    for name in names:
        try:
            made.append(certify(record, options.record, name, beside))
        except NoCertificate as no:
            print_aside(f"kterm: no certificate: {no}")
            refused = True
    return [] if refused else made


def _repeat(record: Record, options: CertifyOptions, names: list[str], console: TextConsole) -> dict[str, Repeated]:
    """What was repeated of each adapter; nothing if a case differs, after a line on each."""
    # Which cases are chosen follows from the record, so that equal records give equal certificates.
    seed = int(record.sha256, 16)
    found = repeat_part(record, options.record, options.recheck or 0, seed, options.trusts, names)
    if found.differing:
        print_differences(found, console)
        differing = count(len(found.differing), "repeated case")
        print_aside(f"kterm: no certificate: {differing} of {options.record} came out otherwise here")
        return {}
    chosen = [name for name, _ in found.chosen]
    return {name: Repeated(chosen.count(name), found.cases.get(name, 0), found.exactly) for name in names}


# Files.


def _choose_files(options: CertifyOptions, names: list[str]) -> dict[str, tuple[Path, Path]]:
    """The files of each adapter's certificate and badge. Raises OptionError where they do not fit the adapters."""
    is_file = options.output.suffix == ".json"
    if (is_file or options.badge is not None) and len(names) > 1:
        option = f"--output {options.output}" if is_file else f"--badge {options.badge}"
        raise OptionError(f"{option}: is one file, and the record has {', '.join(names)}; choose one with --adapter")
    if options.badge is not None and options.badge.suffix != ".svg":
        raise OptionError(f"--badge {options.badge}: name a file that ends with .svg")
    found: dict[str, tuple[Path, Path]] = {}
    for name in names:
        stem = f"kterm-{_NOT_PLAIN.sub(lambda c: f'%{ord(c[0]):02X}', name)[:100]}"
        path = options.output if is_file else options.output / f"{stem}.json"
        found[name] = path, options.badge or path.with_suffix(".svg")
    if len({path for path, _ in found.values()}) < len(found):
        raise OptionError("two adapters have names that begin alike; choose one with --adapter and -o FILE.json")
    return found


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise OptionError(
            f"output {path}: {error.strerror or error}; name a file or folder that can be written"
        ) from None


# A certificate compared.


def _read_certificate(path: Path) -> tuple[Certificate, dict[str, Any]]:
    """A certificate, and all that its file holds."""
    try:
        with path.open("rb") as source:
            data = source.read(_MOST_BYTES + 1)
    except OSError as error:
        raise OptionError(f"--verify {path}: {error.strerror or error}; name a readable file") from None
    if len(data) > _MOST_BYTES:
        raise OptionError(f"--verify {path}: has more than {_MOST_BYTES:,} bytes; no certificate is that large")
    try:
        return from_bytes(data), msgspec.json.decode(data)
    except ValueError as error:
        raise OptionError(f"--verify {path}: {error}") from None


def _compare(given: dict[str, Any], certificate: Certificate, options: CertifyOptions) -> int:
    """Print where a certificate is not what its record gives. What comes from files that are not named, and what was
    repeated, is left as it is.
    """
    console = TextConsole()
    made = msgspec.to_builtins(certificate)
    beside = {"kills": options.kills, "calibration": options.calibration, "repeated": options.recheck}
    untried = [name for name, asked in beside.items() if asked is None and isinstance(given.get(name), dict)]
    for one in (given, made):
        for name in untried:
            del one[name]
    found = list(_differences(given, made, ""))
    for line in found[:_MOST_DIFFERENCES]:
        console.print(printable(line))
    if len(found) > _MOST_DIFFERENCES:
        console.print(f"and {len(found) - _MOST_DIFFERENCES:,} more")
    for name in untried:
        option = "--recheck N" if name == "repeated" else f"--{name} FILE"
        console.print(f"not compared: {name}; give {option}")
    verdict = f"differs in {count(len(found), 'place')}" if found else "is as the record gives it"
    console.print(f"{options.verify}: {verdict}")
    return DOES_NOT if found else CONFORMS


def _differences(given: Any, made: Any, where: str) -> Iterator[str]:
    """A line on each place in which two values of JSON differ."""
    if isinstance(given, dict) and isinstance(made, dict):
        for key in dict.fromkeys((*given, *made)):
            yield from _differences(given.get(key), made.get(key), f"{where}.{key}" if where else str(key))
    elif isinstance(given, list | tuple) and isinstance(made, list | tuple) and len(given) == len(made):
        for number, (one, other) in enumerate(zip(given, made, strict=True)):
            yield from _differences(one, other, f"{where}[{number}]")
    elif given != made:
        yield f"{where}: {given!r:.80} in the certificate, {made!r:.80} from the record"
