"""The gate: the checks a challenger must pass before a person is asked. Pure: facts and evidence in, a verdict out.

Four verdicts. PROMOTE: every check passed; a person may now be asked. NO_BASELINE: the same of a model without a
champion to compare with. REJECT: not good enough, out of date or surely harmful; it will not become better by waiting.
HOLD: the evidence can't carry a decision; judge again when there is more.

The checks are asked in four stages, and the first stage with a failed check decides:

    standing   is it this challenger's turn?
    evidence   can these rows carry a decision?
    quality    is it good enough, better than the champion, and not too good to be true?
    harm       is it no worse than the champion on any slice, in calibration, fairness and latency?
"""

from ratchet.gate.evidence import alpha_left
from ratchet.gate.judging import judge
from ratchet.gate.values import Check, Decision, Evidence, GateVerdict

__all__ = ["Check", "Decision", "Evidence", "GateVerdict", "alpha_left", "judge"]
