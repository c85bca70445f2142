"""``python tests/fuzz --seconds 3600`` fuzzes; ``python tests/fuzz "Call(n=1)"`` runs one case."""

import argparse
import logging
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(1, str(Path(__file__).parents[1] / "helpers"))


def main() -> int:
    import cases
    import strategies
    from fuzzing import AREAS, WORLDS, Area, Ledger, fuzz
    from running import WORST

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", nargs="?", help="a case as a report prints it")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--areas", nargs="+", choices=AREAS, default=list(AREAS))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)

    if arguments.case:
        case = eval(arguments.case, vars(cases))
        kinds = {"Sequence": "sequence", "Compiled": "compiled", "OnRanks": "on ranks"}
        name = {**kinds, "Cached": "cached"}.get(type(case).__name__, "call")
        faults = AREAS[name].run(case)
        print(*faults or ["no fault"], sep="\n")
        WORLDS.close()
        return bool(faults)

    backends = ("eager", "aot_eager", "inductor", "export")
    compiled = AREAS["compiled"]
    areas = {**AREAS, "compiled": Area(strategies.compiled(backends), compiled.run, 2)}
    ledgers = {name: Ledger(areas[name].run, patience=30.0) for name in arguments.areas}
    start, spent = time.monotonic(), dict.fromkeys(arguments.areas, 0.0)
    number, told = arguments.seed, start
    while (now := time.monotonic()) - start < arguments.seconds:
        # The area that has had least of the time.
        name = min(spent, key=spent.__getitem__)
        known = len(ledgers[name].found)
        fuzz(areas[name], ledgers[name], max(2, areas[name].examples // 6), number)
        spent[name] += time.monotonic() - now
        number += 1
        for found in ledgers[name].found[known:]:
            print(f"FAULT in {name}: {found}", flush=True)
        if time.monotonic() - told > 30:
            told = time.monotonic()
            counts = ", ".join(f"{name} {ledger.cases}" for name, ledger in ledgers.items())
            print(f"{told - start:.0f} s: {counts}", flush=True)
    WORLDS.close()
    for name, ledger in ledgers.items():
        if ledger.found:
            print(f"\n{name}\n{ledger.report()}")
    shares = ", ".join(f"{name} {share:.2f}" for name, share in sorted(WORST.items()))
    print(f"largest share of a tolerance used by a right result: {shares}")
    cases_run = sum(ledger.cases for ledger in ledgers.values())
    faults = sum(len(ledger.found) for ledger in ledgers.values())
    print(f"{cases_run} cases, {faults} faults, {time.monotonic() - start:.0f} seconds")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
