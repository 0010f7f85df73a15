# SPDX-License-Identifier: MPL-2.0
"""Time to an objective: `reconstruct` against PALM, Adam and three L-BFGS.

A full run takes about twenty minutes, and the first one trains a generator before.

Run it as ``python benchmarks/bench_solvers.py [--quick]``.
"""

import itertools
import time

import numpy as np
from cases import digit, shape
from harness import arguments, claim, publish, table, threads
from methods import (
    RATES,
    Trajectory,
    adam,
    odl_lbfgs,
    paper_palm,
    scipy_lbfgsb,
    torch_lbfgs,
)
from ours import best_of_restarts, ours

LEVELS = {"10 %": 0.1, "1 %": 0.01, "0.1 %": 0.001}
# A method that has not arrived after so many times our seconds counts as this.
CAP = 20
PEERS = {
    "torch L-BFGS": torch_lbfgs,
    "scipy L-BFGS-B": scipy_lbfgsb,
    "ODL L-BFGS": odl_lbfgs,
    "PALM": paper_palm,
}
SHAPE_ANGLES = 20


def problems(quick):
    """Regularizer, name, cases, starts of each, and most seconds of one run."""
    angles, digits, starts = ((10,), 2, 1) if quick else ((3, 5, 10, 30), 6, 2)
    for kind, num_angles in itertools.product(("soft", "range", "sparse"), angles):
        images = digits if kind != "sparse" else max(1, digits // 4)
        made = [digit(kind, index, num_angles) for index in range(images)]
        yield kind, f"digits, {num_angles} angles", made, starts, 1 if quick else 2
    if not quick:
        for kind in ("soft", "range"):
            made = [shape(kind, index, SHAPE_ANGLES) for index in range(2)]
            yield kind, f"shapes, {SHAPE_ANGLES} angles", made, 1, 15


class Pair:
    """All methods on one image from one start."""

    def __init__(self, case, z, rates, most_seconds):
        self.runs = [ours(case, z)]
        short = self.runs[0].seconds[-1] < 1
        if short:  # three in all, two before the others and one after them
            self.runs.append(ours(case, z))
        own = max(run.arrival(1.01 * run.best) for run in self.runs)
        self.budget = min(max(CAP * own, 0.1), most_seconds)
        known, self.peers = min(run.best for run in self.runs), {}
        for name, method in self._methods(case, rates).items():
            run = self.peers[name] = method(case, z, Trajectory(self.budget, known))
            known = min(known, run.best)
        if short:
            self.runs.append(ours(case, z))
        self.best = min([known, *(run.best for run in self.runs)])
        self.rates = rates

    @staticmethod
    def _methods(case, rates):
        methods = {
            name: method
            for name, method in PEERS.items()
            if case.kind != "sparse" or name != "ODL L-BFGS"
        }
        for rate in rates:

            def with_rate(case, z, trajectory, rate=rate):
                return adam(case, z, rate, trajectory)

            methods[f"Adam {rate}"] = with_rate
        return methods

    def seconds(self, level):
        """Median of our seconds to within ``level`` of the best; infinite if never."""
        objective = (1 + level) * self.best
        return float(np.median([run.arrival(objective) for run in self.runs]))

    def ratio(self, name, level):
        """Seconds of a peer over ours, at most `CAP`; None where nothing can be said.

        That is where neither arrives, or the start is there already. A peer that ran
        out of its seconds counts with these, which may be too little.
        """
        own = self.seconds(level)
        run = self.peers[name]
        its = run.arrival((1 + level) * self.best)
        if not np.isfinite(own):
            return 0.0 if np.isfinite(its) else None
        if own == 0 or self.runs[0].values[0] <= (1 + level) * self.best:
            return None
        if not np.isfinite(its) and run.out_of_time:
            its = run.budget
        return float(min(its / own, CAP))

    @property
    def excess(self):
        """Where ours ends, relative to the best of all."""
        return float(np.median([run.best for run in self.runs])) / self.best - 1


def run_problem(kind, name, cases, num_starts, most_seconds):
    """Run all methods; the rate of Adam is chosen on the first image."""
    for case in cases[:1]:  # what a process does once
        Pair(case, case.starts(1)[0], RATES, 0.1)
    pairs, rates = [], RATES
    for index, case in enumerate(cases):
        for z in case.starts(num_starts):
            pairs.append((index, Pair(case, z, rates, most_seconds)))
        if index == 0:
            rates = (best_rate([pair for _, pair in pairs]),)
    adam_name = f"Adam {rates[0]}"
    names = [name for name in pairs[0][1].peers if not name.startswith("Adam")]
    rows = []
    for label, level in LEVELS.items():
        row = {"regularizer": kind, "problem": name, "within": label}
        own = median([pair.seconds(level) for _, pair in pairs])
        row["ours, ms"] = 1e3 * own if np.isfinite(own) else "never"
        for peer in [*names, adam_name]:
            ratios = [pair.ratio(peer, level) for _, pair in pairs]
            row["Adam" if peer == adam_name else peer] = median(ratios)
        row["rate of Adam"] = rates[0]
        rows.append(row)
    return rows, quality(kind, name, cases, pairs)


def best_rate(pairs):
    """The rate of Adam with the least median time to within 1 %."""

    def score(rate):
        runs = [(pair, pair.peers[f"Adam {rate}"]) for pair in pairs]
        arrivals = [run.arrival(1.01 * pair.best) for pair, run in runs]
        return np.median(arrivals), np.median([run.best / p.best for p, run in runs])

    return min(RATES, key=score)


def quality(kind, name, cases, pairs):
    """How often, and how far from the best of all, `reconstruct` ends."""
    single = [pair.excess for _, pair in pairs]
    several, setups, seconds = [], [], []
    for index, case in enumerate(cases):
        objective, setup, spent = best_of_restarts(case, 8)
        best = min(pair.best for i, pair in pairs if i == index)
        several.append(objective / min(best, objective) - 1)
        setups.append(setup)
        seconds.append(spent)
    return {
        "regularizer": kind,
        "problem": name,
        "pairs": len(pairs),
        "one start within 1 %, share": float(np.mean(np.array(single) <= 0.01)),
        "8 restarts, worst excess in %": 100 * max(several),
        "set-up, ms": 1e3 * median(setups),
        "8 restarts in all, ms": 1e3 * median(seconds),
    }


def median(values):
    """Median of what is known."""
    values = [value for value in values if value is not None]
    return float(np.median(values)) if values else None


def what_must_hold(rows, qualities):
    """The bounds: at 3, 10 and 30 angles, and for the shapes."""
    where = ("digits, 3 angles", "digits, 10 angles", "digits, 30 angles", "shapes")
    claims = []

    def worst(kind, peer, within="1 %"):
        values = [
            row.get(peer)
            for row in rows
            if row["regularizer"] == kind
            and row["within"] == within
            and row["problem"].startswith(where)
        ]
        return min((v for v in values if v is not None), default=None)

    for kind in ("soft", "range"):
        for peer, bound in (("PALM", 10), ("Adam", 5), ("torch L-BFGS", 3)):
            text = f"{kind}: {peer} / ours, to 1 %"
            claims.append(claim(text, worst(kind, peer), bound, at_least=True))
        mine = [q for q in qualities if q["regularizer"] == kind]
        shares = [q["one start within 1 %, share"] for q in mine]
        worst_excess = [q["8 restarts, worst excess in %"] for q in mine]
        claims += [
            claim(f"{kind}: one start within 1 %", min(shares), 0.95, at_least=True),
            claim(f"{kind}: 8 restarts, excess in %", max(worst_excess), 1),
        ]
        both = [
            row["ODL L-BFGS"] / row["torch L-BFGS"]
            for row in rows
            if row["regularizer"] == kind
            and row["within"] == "1 %"
            and row["ODL L-BFGS"]
            and row["torch L-BFGS"]
        ]
        bound, variables = (2, "z") if kind == "range" else (3, "(x, z)")
        text = f"ODL L-BFGS / torch L-BFGS on {variables}, to 1 %"
        claims.append(claim(text, max(both, default=None), bound))
    return claims


def main():
    quick, start = arguments(__doc__).quick, time.perf_counter()
    rows, qualities = [], []
    with threads(1):
        for kind, name, *rest in problems(quick):
            found, quality_row = run_problem(kind, name, *rest)
            rows += found
            qualities.append(quality_row)
            print(table(found), flush=True)
    claims = what_must_hold(rows, qualities)
    parts = [
        "Worst of the problems:\n",
        table(claims, "not measured"),
        f"""
Medians over images and starts of the time to within a share of the best objective that
any method finds from that start; of ours in milliseconds, of the others as multiples of
ours. A method that has not arrived after {CAP} times our time counts as {CAP}. All
begin at (G(z), z), one thread. *ours*: the stages of `reconstruct` with one start,
without set-up. *Adam*: with the best of the rates {RATES}, chosen on the
first image. *torch L-BFGS*: one step of `torch.optim.LBFGS`, strong Wolfe conditions.
*ODL L-BFGS*: `bfgs_method` with `WolfeLineSearch` and `InitialScaling`. *PALM*: that of
the paper.
""",
        table(rows),
        "\nWhere `reconstruct` ends, relative to the best of all methods:\n",
        table(qualities),
    ]
    results = {"rows": rows, "quality": qualities, "claims": claims}
    seconds = time.perf_counter() - start
    publish("solvers", "\n".join(parts), results, quick=quick, seconds=seconds)


if __name__ == "__main__":
    main()
