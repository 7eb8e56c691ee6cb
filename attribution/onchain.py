"""What the chain says about a receipt."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from attribution.audit_file import AuditFile, Proof, permission_asked
from attribution.evidence import CheckpointSeen, Evidence, Unseen, VersionAsked
from attribution.log import root_from_inclusion
from attribution.shares import BPS_TOTAL, NOBODY
from attribution.verdict import Check, refuted, unknown, verified

_NOT_LOOKED_UP = Unseen("nobody looked it up on chain")
_NOT_ANCHORED = "the file holds no proof: the receipt was not anchored yet when it was made"


def check_on_chain(file: AuditFile, evidence: Evidence) -> Iterator[Check]:
    """Against the chain that the file names. What another chain says is not evidence."""
    if isinstance(evidence.chain_id, Unseen):
        yield unknown("chain id", evidence.chain_id.reason)
        evidence = Evidence.none(evidence.chain_id.reason)
    elif evidence.chain_id != file.chain_id:
        reason = f"the node asked is on chain {evidence.chain_id}, the receipt on chain {file.chain_id}"
        yield unknown("chain id", reason)
        evidence = Evidence.none(reason)
    else:
        yield verified("chain id", str(file.chain_id))
    for permission in file.well_formed("permission"):
        yield from _check_permission(file, permission, evidence)
    yield from _check_versions(file, evidence)
    yield from _check_log(file, evidence)
    yield _check_credits(file, evidence)
    yield _check_model(file, evidence)


def _check_permission(file: AuditFile, permission: dict[str, Any], evidence: Evidence) -> Iterator[Check]:
    place = f"datanet {permission['datanet_id']} at block {permission['block_number']}"
    name = f"permission: {place}"
    seen = evidence.permissions.get(permission_asked(permission), _NOT_LOOKED_UP)
    asker = next(iter(file.well_formed("asker")), None)
    who = f"{permission['wallet']} for {permission['purpose']}"
    if not permission["allowed"]:
        yield refuted(name, f"the receipt itself says that {who} was refused")
    elif permission["purpose"] != "retrieve":
        yield refuted(name, f"an answer needs the purpose retrieve, not {permission['purpose'][:40]!r}")
    elif asker is not None and asker.lower() != permission["wallet"].lower():
        yield refuted(name, f"it is that of {permission['wallet']}, but {asker} asked")
    elif isinstance(seen, Unseen):
        yield unknown(name, seen.reason)
    elif seen.block_hash is None:
        yield unknown(name, "the chain does not reach that block now, so it says nothing about it")
    elif not seen.allowed:
        yield refuted(name, f"the chain refuses {who} at that block")
    elif asker is None:
        yield unknown(name, f"the chain allows {who}, but who asked is withheld")
    else:
        yield verified(name, f"the chain allows {who}")
    name = f"block hash: {place}"
    if isinstance(seen, Unseen):
        yield unknown(name, seen.reason)
    elif seen.block_hash is None:
        yield unknown(name, "the chain does not reach that block now: it reorganised since, or the node is behind")
    elif seen.block_hash != permission["block_hash"]:
        yield unknown(name, f"that block is {seen.block_hash} now: the chain reorganised since")
    else:
        yield verified(name, seen.block_hash)


def _check_versions(file: AuditFile, evidence: Evidence) -> Iterator[Check]:
    for permission in file.well_formed("permission"):
        asked = VersionAsked(permission["datanet_id"], permission["version"])
        name = f"manifest of datanet {asked.datanet_id} v{asked.version}"
        seen = evidence.versions.get(asked, _NOT_LOOKED_UP)
        if asked.version == 0:
            # A datanet without data: nothing was published, and nothing may be claimed.
            empty = {permission["manifest_digest"], permission["records_root"]} == {"0x" + 64 * "0"}
            yield verified(name, "no version yet") if empty else refuted(name, "names data, but no version")
        elif isinstance(seen, Unseen):
            yield unknown(name, seen.reason)
        elif seen is None:
            yield refuted(name, "the chain has no such version")
        elif seen.manifest_digest != permission["manifest_digest"]:
            yield refuted(name, f"the chain says manifest_digest {seen.manifest_digest}")
        elif seen.records_root != permission["records_root"]:
            yield refuted(name, f"the chain says records_root {seen.records_root}")
        else:
            yield verified(name, seen.manifest_digest)


def _check_log(file: AuditFile, evidence: Evidence) -> Iterator[Check]:
    """The path leads from this receipt to a root, and the chain has that root at that size."""
    if file.proof is None:
        yield unknown("inclusion proof", _NOT_ANCHORED)
        yield unknown("checkpoint on chain", _NOT_ANCHORED)
        return
    proof, seen = file.proof, evidence.checkpoint
    computed = root_from_inclusion(bytes.fromhex(file.receipt.digest[2:]), proof.index, proof.size, proof.path)
    on_chain = bytes.fromhex(seen.root[2:]) if isinstance(seen, CheckpointSeen) and seen.size == proof.size else None
    reference = on_chain or (file.anchored.root if file.anchored else None)
    if computed is None:
        yield refuted("inclusion proof", f"no path of {len(proof.path)} leads to place {proof.index} of {proof.size}")
    elif reference is None:
        yield unknown("inclusion proof", "the root it should lead to could not be seen")
    elif computed != reference:
        yield refuted("inclusion proof", f"it leads to 0x{computed.hex()}, not to 0x{reference.hex()}")
    else:
        yield verified("inclusion proof", f"receipt {proof.index} of {proof.size}")
    yield _check_checkpoint(file, proof, evidence)


def _check_checkpoint(file: AuditFile, proof: Proof, evidence: Evidence) -> Check:
    name, seen = "checkpoint on chain", evidence.checkpoint
    if file.anchored is not None and file.anchored.size != proof.size:
        return refuted(name, f"the file claims a checkpoint of {file.anchored.size}, its proof is for {proof.size}")
    if isinstance(seen, Unseen):
        return unknown(name, seen.reason)
    if seen is None or seen.size < proof.size:
        return refuted(name, f"{file.publisher} has anchored no log of {proof.size} receipts")
    if seen.size > proof.size:
        return unknown(name, f"only the checkpoint of {seen.size} was seen; the proof is for that of {proof.size}")
    if file.anchored is not None and seen.root != "0x" + file.anchored.root.hex():
        return refuted(name, f"the chain says root {seen.root}")
    return verified(name, f"size {seen.size}, root {seen.root}")


def _check_credits(file: AuditFile, evidence: Evidence) -> Check:
    name = "credited on chain"
    if file.proof is None:
        return unknown(name, _NOT_ANCHORED)
    if isinstance(evidence.credits, Unseen):
        return unknown(name, evidence.credits.reason)
    shown = {(s["contributor"].lower(), s["datanet_id"]): s["share_bps"] for s in file.well_formed("share")}
    shares = Counter((wallet, datanet, bps) for (wallet, datanet), bps in shown.items() if wallet != NOBODY and bps > 0)
    seen = Counter((credit.contributor.lower(), credit.datanet_id, credit.share_bps) for credit in evidence.credits)
    if missing := next(iter(shares - seen), None):
        return refuted(name, f"{missing[0]} through datanet {missing[1]} was not credited with {missing[2]} bps")
    if not (extra := seen - shares):
        return verified(name, f"{shares.total()} credits")
    left, withheld = BPS_TOTAL - sum(shown.values()), file.withholds("share")
    for (wallet, datanet, bps), times in extra.items():
        left -= times * bps
        if left < 0 or (wallet, datanet) in shown or not withheld:
            return refuted(name, f"{wallet} was credited with {bps} bps through datanet {datanet}: no such share")
    # Credits to those whose shares are withheld: right for those shown, and nothing to say without any.
    detail = f"{shares.total()} shares shown; {extra.total()} credits belong to withheld ones"
    return verified(name, detail) if shares else unknown(name, "the shares are withheld")


def _check_model(file: AuditFile, evidence: Evidence) -> Check:
    name, seen = "model registered", evidence.model
    model = next(iter(file.well_formed("model")), None)
    if model is None:
        return unknown(name, "the field model is not shown")
    if model["adapter_digest"] is None:
        if model["run_id"] is None and model["adapter_cid"] is None:
            return verified(name, f"{model['base']} without an adapter")
        return refuted(name, "the model names a run or a CID, but no adapter digest")
    if isinstance(seen, Unseen):
        return unknown(name, seen.reason)
    base_model = f"{model['base']}@{model['revision']}"
    if seen is not None and (seen.adapter_cid, seen.base_model) == (model["adapter_cid"], base_model):
        return verified(name, f"model {seen.model_id} by {seen.trainer}")
    there = f"model {seen.model_id}: CID {seen.adapter_cid}, base {seen.base_model}" if seen else "not registered"
    return refuted(name, f"adapter {model['adapter_digest']} is {there}")
