"""Say what a loss value, or the losses of a whole run, mean."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ntxent.bounds import Convention
from ntxent.commands._convention import add_convention, given_convention

if TYPE_CHECKING:
    from ntxent.logs import JudgedLog


def add_arguments(parser: Any) -> None:
    parser.add_argument(
        "path",
        nargs="?",
        type=str,
        help="Log of a run: text, CSV, JSON, TensorBoard events, a folder, - for stdin.",
    )
    # type=str, as the parser's own float has no NaN, of which diagnose has more to say.
    parser.add_argument("--loss", type=str, help="One loss, as printed, instead of a log.")
    add_convention(parser)
    parser.add_argument(
        "--positive-similarity", type=float, help="Measured mean cosine of the positive pairs."
    )
    parser.add_argument(
        "--negative-similarity", type=float, help="Measured mean cosine of the negative pairs."
    )
    parser.add_argument(
        "--classes",
        type=int,
        help="Classes or distinct samples of the data: names a loss that equal samples hold up.",
    )
    parser.add_argument("--column", type=str, help="Column of the log that holds the loss.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    parser.add_argument(
        "--fail-on",
        type=str,
        help="Verdicts and courses that end with exit status 3, as at_chance,collapsed,diverged.",
    )
    parser.add_argument(
        "--report",
        nargs="?",
        const="report.html",
        type=str,
        help="Write the log's page as well, report.html unless named.",
    )


def run(options: Any) -> int:
    from ntxent.commands._failing import check_conditions, failing

    check_conditions(options.fail_on)
    if (options.path is None) == (options.loss is None):
        raise ValueError("diagnose: expected either --loss or the path of a log")
    if options.path is not None:
        return _diagnose_log(options)
    if options.column is not None:
        raise ValueError("--column: it chooses a column of a log; give a path or leave it out")
    if options.report is not None:
        raise ValueError("--report: it is the page of a log; give a path, or try ntxent explore")
    from ntxent.commands._diagnosis import diagnosis_lines
    from ntxent.commands._text import write
    from ntxent.diagnosis.value import diagnose_in

    given = given_convention(options)
    for name, flag in (("batch_size", "-n/--batch-size"), ("temperature", "-t/--temperature")):
        if name not in given:
            raise ValueError(f"{name.replace('_', ' ')}: not given; add {flag}")
    found = diagnose_in(
        Convention(**given),
        _loss(options.loss),
        options.positive_similarity,
        options.negative_similarity,
        options.classes,
    )
    if options.json:
        _print_json(found.to_dict())
    else:
        write(diagnosis_lines(found))
    return failing(options.fail_on, found)


def _diagnose_log(options: Any) -> int:
    for name in ("positive_similarity", "negative_similarity"):
        if getattr(options, name) is not None:
            raise ValueError(f"{name}: it is read from the log; use it with --loss")
    from ntxent.commands._diagnosis import log_lines
    from ntxent.commands._failing import failing
    from ntxent.commands._reading import reading
    from ntxent.commands._text import write
    from ntxent.logs import judge_log

    with reading() as progress:
        judged = judge_log(
            options.path,
            given_convention(options),
            options.column,
            progress=progress,
            classes=options.classes,
        )
    if judged.trajectory is None:
        raise ValueError(judged.problem)
    if options.json:
        _print_json(judged.trajectory.to_dict() | {"log": _source(judged)})
    else:
        write(log_lines(judged, judged.trajectory))
    if options.report is not None:
        from ntxent.report import write_report

        given = asdict(judged.convention)
        write_report([options.path], options.report, given=given, column=options.column)
        if not options.json:
            print(f"\nReport: {options.report}")
    return failing(options.fail_on, judged.trajectory.end, judged.trajectory)


def _source(judged: JudgedLog) -> dict[str, Any]:
    log = judged.log
    return {
        "path": str(log.path),
        "column": log.column,
        "others": list(log.others),
        "skipped": log.skipped,
        "problems": list(log.problems),
        "notes": list(log.notes),
        "settings": dict(judged.sources),
    }


def _loss(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--loss: received {text!r}, expected a number") from None


def _print_json(values: dict[str, Any]) -> None:
    print(json.dumps(values, indent=2, allow_nan=False))
