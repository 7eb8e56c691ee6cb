"""What a receipt says about itself: its leaves, and whether its fields agree with one another."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from attribution.audit_file import AuditFile
from attribution.fields import check_field
from attribution.log import root_from_inclusion
from attribution.receipt import ReceiptMalformed, places
from attribution.records import record_digest
from attribution.shapley import Coalition, efficiency_gap, influences, method_for
from attribution.shares import BPS_TOTAL, NOBODY, explained, split_shares
from attribution.verdict import Check, refuted, unknown, verified


class Contradiction(Exception):
    """A check found two things that cannot both be true."""


class Withheld(Exception):
    """A check needs a field that is withheld."""


def check_inside(file: AuditFile) -> Iterator[Check]:
    """Everything that needs no chain."""
    if file.stated_digest == file.receipt.digest:
        yield verified("receipt digest", f"{len(file.receipt.leaves)} leaves give {file.receipt.digest}")
    else:
        yield refuted("receipt digest", f"the leaves give {file.receipt.digest}, not {file.stated_digest}")
    yield from _check_fields(file)
    for name, check in (
        ("each field in its place", _places),
        ("chain", _chain),
        ("answer tokens", _answer_tokens),
        ("sources match passages", _sources_match_passages),
        ("influence follows from log-probabilities", _influence_follows),
        ("shares follow from scores", _shares_follow),
        ("shares sum to 10,000", _shares_sum),
        ("passages belong to permitted datanets", _passages_permitted),
        ("records are in their versions", _records_in_versions),
    ):
        try:
            yield verified(name, check(file))
        except Contradiction as err:
            yield refuted(name, str(err))
        except Withheld as err:
            yield unknown(name, str(err))


def _check_fields(file: AuditFile) -> Iterator[Check]:
    """Each shown leaf opens to its hash and looks like its field."""
    shown = [leaf for leaf in file.receipt.leaves if not leaf.withheld]
    problems: list[Check] = []
    for leaf in shown:
        name = f"field {leaf.tag}"
        if not leaf.opens():
            problems.append(refuted(name, "it is not what was sealed: tag, value and salt do not give the leaf's hash"))
        try:
            check_field(leaf.tag, leaf.value)
        except ReceiptMalformed as err:
            problems.append(refuted(name, str(err)))
    yield from problems
    if not problems:
        withheld = len(file.receipt.leaves) - len(shown)
        yield verified("fields", f"{len(shown)} fields are as sealed" + (f", {withheld} withheld" if withheld else ""))


def _places(file: AuditFile) -> str:
    """None is missing, out of order or there twice: nobody is shown another field of that name than anybody else."""
    leaves, tags = file.receipt.leaves, places(_the(file, "counts"))
    if len(leaves) != len(tags):
        raise Contradiction(f"the receipt holds {len(leaves)} leaves, its counts say {len(tags)}")
    for leaf, tag in zip(leaves, tags, strict=True):
        if not leaf.withheld and leaf.tag != tag:
            raise Contradiction(f"{leaf.tag} stands in the place of {tag}")
    return f"{len(leaves)} leaves, as the counts say"


def _chain(file: AuditFile) -> str:
    stated = _the(file, "chain")
    for name, said in (("chain_id", file.chain_id), ("ledger", file.ledger), ("publisher", file.publisher)):
        if str(stated[name]).lower() != str(said).lower():
            raise Contradiction(f"the file says {name} {said}, the receipt {stated[name]}")
    return f"chain {file.chain_id}, ledger {file.ledger}, publisher {file.publisher}"


def _answer_tokens(file: AuditFile) -> str:
    scored, answered = _the(file, "scores")["answer_tokens"], len(_the(file, "answer_token_ids"))
    if scored != answered:
        raise Contradiction(f"{scored} tokens were scored, the answer has {answered}")
    if answered == 0 and _the(file, "answer"):
        raise Contradiction("no tokens are given for an answer that has text")
    return f"all {answered} tokens of the answer were scored"


def _sources_match_passages(file: AuditFile) -> str:
    """Each passage in exactly one source, that of its contributor and datanet; no source without a passage, which
    is what binds it to a datanet that permitted it."""
    sources = _the(file, "scores")["sources"]
    owner: dict[int, tuple[str, int]] = {}
    for source in sources:
        if not source["passages"]:
            raise Contradiction(f"{source['contributor']} through datanet {source['datanet_id']} gave no passage")
        for number in source["passages"]:
            if number in owner:
                raise Contradiction(f"passage {number} counts for two sources")
            owner[number] = _key(source)
    passages = {passage["number"]: passage for passage in file.well_formed("passage")}
    if len(passages) != len(file.well_formed("passage")):
        raise Contradiction("two passages have the same number")
    for number, passage in passages.items():
        if owner.pop(number, None) != _key(passage):
            raise Contradiction(f"passage {number} does not count for its contributor {passage['contributor']}")
    if owner:
        lost = ", ".join(str(number) for number in sorted(owner))
        raise _absent(file, "passage", f"passage {lost}")
    if file.withholds("passage"):
        raise Withheld("a passage is withheld")
    return f"{len(passages)} passages, {len(sources)} sources"


def _influence_follows(file: AuditFile) -> str:
    scores = _the(file, "scores")
    influence = _recomputed_influence(scores)
    if scores["influence_micronats"] != influence:
        raise Contradiction(f"the log-probabilities give {influence} micronats")
    gap = efficiency_gap({frozenset(c["kept"]): c["log_prob_micronats"] for c in scores["coalitions"]}, influence)
    if scores["efficiency_gap_micronats"] != gap:
        raise Contradiction(f"the influences leave {gap} micronats, not {scores['efficiency_gap_micronats']}")
    return f"{scores['method']} over {len(scores['coalitions'])} scorings, {gap} micronats unexplained"


def _shares_follow(file: AuditFile) -> str:
    scores = _the(file, "scores")
    sources = [(source["contributor"], source["datanet_id"]) for source in scores["sources"]]
    _recomputed_influence(scores)  # the coalitions are those of the method
    coalitions = {frozenset(c["kept"]): c["log_prob_micronats"] for c in scores["coalitions"]}
    try:
        part = (
            explained(coalitions[frozenset(range(len(sources)))], coalitions[frozenset()], scores["answer_tokens"])
            if coalitions
            else Fraction(0)
        )
        bps = split_shares(sources, scores["influence_micronats"], part)
    except ValueError as err:
        raise Contradiction(str(err)) from None
    expected = dict(zip([*(_key(s) for s in scores["sources"]), (NOBODY, 0)], bps, strict=True))
    for share in file.well_formed("share"):
        right = expected.pop(_key(share), None)
        if right != share["share_bps"]:
            raise Contradiction(
                f"{share['contributor']} through datanet {share['datanet_id']} is given {share['share_bps']} bps, "
                f"the scores give {'no such share' if right is None else right}"
            )
    if expected:
        raise _absent(file, "share", f"the share of {next(iter(expected))[0]}")
    return "computed again from the log-probabilities"


def _shares_sum(file: AuditFile) -> str:
    total = sum(share["share_bps"] for share in file.well_formed("share"))
    if total > BPS_TOTAL:
        raise Contradiction(f"they sum to {total}")
    if total < BPS_TOTAL:
        raise _absent(file, "share", f"{BPS_TOTAL - total} basis points")
    return f"{len(file.well_formed('share'))} shares"


def _passages_permitted(file: AuditFile) -> str:
    permitted = {(p["datanet_id"], p["version"]) for p in file.well_formed("permission")}
    passages = file.well_formed("passage")
    for passage in passages:
        if (passage["datanet_id"], passage["version"]) not in permitted:
            what = f"a permission for passage {passage['number']}, datanet {passage['datanet_id']}"
            raise _absent(file, "permission", f"{what} v{passage['version']}")
    return f"{len(passages)} passages from {len(permitted)} datanets"


def _records_in_versions(file: AuditFile) -> str:
    """Each passage's record, as given by its contributor, leads to the records root of its version."""
    roots = {(p["datanet_id"], p["version"]): p["records_root"] for p in file.well_formed("permission")}
    passages = file.well_formed("passage")
    for passage in passages:
        number, version = passage["number"], (passage["datanet_id"], passage["version"])
        record = record_digest(passage["contributor"], bytes.fromhex(passage["record_content"][2:]))
        if passage["record_digest"] != "0x" + record.hex():
            raise Contradiction(f"passage {number}: its record is not one that {passage['contributor']} gave")
        path = [bytes.fromhex(sibling[2:]) for sibling in passage["path"]]
        root = root_from_inclusion(record, passage["record_index"], passage["records"], path)
        if root is None:
            raise Contradiction(f"passage {number}: no path of {len(path)} leads to its record's place")
        if version not in roots:
            raise _absent(file, "permission", f"the records root of datanet {version[0]} v{version[1]}")
        if roots[version] != "0x" + root.hex():
            raise Contradiction(f"passage {number}: its record is not in datanet {version[0]} v{version[1]}")
    return f"{len(passages)} records lead to the records roots of their versions"


def _recomputed_influence(scores: dict[str, Any]) -> list[int]:
    """Raises: Contradiction when method and coalitions are not those of that many sources."""
    sources = len(scores["sources"])
    method = method_for(sources if scores["answer_tokens"] else 0)
    if scores["method"] != method:
        raise Contradiction(f"{sources} sources are scored by {method}, not {scores['method'][:40]!r}")
    log_prob: dict[Coalition, int] = {frozenset(c["kept"]): c["log_prob_micronats"] for c in scores["coalitions"]}
    if len(log_prob) != len(scores["coalitions"]):
        raise Contradiction("a coalition was scored twice")
    try:
        return influences(method, sources, log_prob)
    except ValueError as err:
        raise Contradiction(str(err)) from None


def _the(file: AuditFile, tag: str) -> Any:
    """The one field of that tag."""
    values = file.well_formed(tag)
    if not values:
        raise _absent(file, tag, f"the field {tag}")
    return values[0]


def _absent(file: AuditFile, tag: str, what: str) -> Contradiction | Withheld:
    return Withheld(f"{what} is withheld") if file.withholds(tag) else Contradiction(f"{what} is missing")


def _key(part: dict[str, Any]) -> tuple[str, int]:
    return part["contributor"].lower(), part["datanet_id"]
