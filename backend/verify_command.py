"""`byline verify-sources`: the deployed contracts' sources into a folder, or to the explorers that are configured."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from backend.deployments import load_contracts, remembered
from backend.domain.errors import InvalidValue
from backend.drivers.chain.sources import ContractSources, read_sources
from backend.drivers.explorers import Explorer, Judgement, Sourcify, blockscout, etherscan
from backend.preparing import ARTIFACTS, check_contracts
from backend.settings import Settings

COLOUR = {"exact": "green", "verified": "green", "partial": "yellow", "failed": "red"}


def explorers(settings: Settings) -> list[Explorer]:
    """Raises: InvalidValue when none is configured."""
    found: list[Explorer] = []
    if settings.sourcify_url is not None:
        found.append(Sourcify(settings.sourcify_url))
    if settings.blockscout_url is not None:
        found.append(blockscout(settings.blockscout_url))
    if settings.etherscan_api_key is not None:
        found.append(etherscan(settings.etherscan_api_key, settings.chain_id))
    if not found:
        raise InvalidValue(
            "SOURCIFY_URL, BLOCKSCOUT_URL and ETHERSCAN_API_KEY",
            "are all not set: no explorer is configured. Set one or more (SOURCIFY_URL=https://sourcify.dev/server), "
            "or write the sources to a folder with --bundle",
        )
    return found


def sources_of(settings: Settings) -> list[ContractSources]:
    """Raises: NotFound without contracts, InvalidValue."""
    return read_sources(ARTIFACTS, remembered(settings, load_contracts(settings)), settings.chain_id)


def write_bundle(settings: Settings, folder: Path) -> list[Path]:
    """Returns the files. Raises: as `sources_of`; InvalidValue when the folder cannot be written."""
    try:
        return [path for sources in sources_of(settings) for path in sources.write(folder)]
    except OSError as err:
        raise InvalidValue("--bundle", f"{folder} cannot be written ({err.strerror})") from err


async def submit(settings: Settings, progress: Callable[[str, str], None]) -> list[Judgement]:
    """Each contract to each explorer, one after the other. Raises: NotFound, InvalidValue (also for contracts that are
    not this release's, whose sources these are not), ChainUnavailable."""
    asked = explorers(settings)
    if settings.rpc_url is not None:
        await check_contracts(settings.rpc_url, settings.chain_id, load_contracts(settings))
    judgements = []
    for explorer in asked:
        for sources in sources_of(settings):
            progress(explorer.name, sources.contract)
            judgements.append(await explorer.verify(sources))
    return judgements


def show(out: Console, judgements: Sequence[Judgement], *, as_json: bool) -> bool:
    """Print them; returns whether none failed."""
    if as_json:
        sys.stdout.write(json.dumps({"sources": [asdict(judgement) for judgement in judgements]}) + "\n")
    else:
        table = Table(box=None, pad_edge=False)
        for heading in ("contract", "explorer", "match", "where, or why not"):
            table.add_column(heading, overflow="fold")
        for found in judgements:
            colour = COLOUR[found.match]
            said = "; ".join(text for text in (found.link, found.problem) if text)
            table.add_row(found.contract, found.service, f"[{colour}]{found.match}[/{colour}]", escape(said))
        out.print(table)
    return all(found.match != "failed" for found in judgements)
