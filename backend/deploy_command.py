"""`byline deploy`: what is on the chain already, what is new and what that costs; unless it is a dry run, doing it."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from backend.deployments import deployment_file, read_deployment
from backend.domain.errors import InvalidValue, NotFound
from backend.drivers.chain.connection import ContractAddresses
from backend.drivers.chain.deploying import Plan, PlannedContract, plan_deployment
from backend.preparing import ARTIFACTS, deploy_contracts
from backend.settings import Settings

SETTING = {
    "DatanetRegistry": "REGISTRY_ADDRESS",
    "ModelRegistry": "MODEL_REGISTRY_ADDRESS",
    "ReceiptLedger": "LEDGER_ADDRESS",
}


@dataclass(frozen=True, slots=True)
class Deployment:
    """`contracts` is None after a dry run; `before` is what the deployment file said when the command began."""

    settings: Settings
    plan: Plan
    before: ContractAddresses | None
    contracts: ContractAddresses | None

    def change(self, contract: PlannedContract) -> str:
        """Against the deployment file."""
        if self.before is None:
            return "added"
        before = self.before.of(contract.name)
        return "unchanged" if before == contract.address else f"changed, was {before}"

    @property
    def overruled(self) -> list[str]:
        """The settings that name other contracts, and come before the file."""
        given = self.settings.contracts
        if given is None:
            return []
        at = ContractAddresses(given.datanet_registry, given.model_registry, given.receipt_ledger)
        return [SETTING[c.name] for c in self.plan.contracts if at.of(c.name) != c.address]

    def as_json(self) -> dict[str, Any]:
        made = self.contracts.created_by if self.contracts else {}
        return {
            "chain_id": self.settings.chain_id,
            "dry_run": self.contracts is None,
            "payer": self.plan.payer,
            "balance_wei": str(self.plan.balance_wei),
            "fee_per_gas_wei": str(self.plan.fee_wei),
            "cost_wei": str(self.plan.cost_wei),
            "needed_wei": str(self.plan.needed_wei),
            "affordable": self.plan.is_affordable,
            "installs_proxy": self.plan.installs_proxy,
            "deployment_file": str(deployment_file(self.settings)),
            "overruled_by": self.overruled,
            "contracts": [
                {
                    "name": contract.name,
                    "address": contract.address,
                    "there": contract.is_there,
                    "code_hash": contract.code_hash,
                    "gas": contract.gas,
                    "cost_wei": str(contract.gas * self.plan.fee_wei),
                    "file": self.change(contract),
                    "created_by": made.get(contract.name),
                }
                for contract in self.plan.contracts
            ],
        }

    def show(self, out: Console, *, as_json: bool) -> None:
        if as_json:
            sys.stdout.write(json.dumps(self.as_json()) + "\n")
            return
        out.print(self._table())
        plan = self.plan
        if plan.installs_proxy:
            out.print(
                "The deterministic deployment proxy is not on this chain; it is installed first, which costs 0.01."
            )
        purse = f"{plan.payer} holds {coins(plan.balance_wei)}"
        if self.contracts is not None:
            out.print(f"Written to {escape(str(deployment_file(self.settings)))}", soft_wrap=True)
            for contract in plan.contracts:
                out.print(f"{SETTING[contract.name]}={contract.address}", soft_wrap=True)
        elif plan.is_affordable:
            out.print(f"This would cost {coins(plan.cost_wei)}; {purse}.", soft_wrap=True)
        else:
            out.print(
                f"[red]This takes {coins(plan.needed_wei)}; {purse}: send it the difference.[/red]", soft_wrap=True
            )
        if self.overruled:
            out.print(f"[yellow]{', '.join(self.overruled)} name other contracts, and those are used.[/yellow]")

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for heading in ("contract", "address", "on chain", "gas", "cost", "deployment file", "code hash"):
            table.add_column(heading, overflow="fold")
        for contract in self.plan.contracts:
            state = "already there" if contract.is_there else "new"
            cost = coins(contract.gas * self.plan.fee_wei)
            cells = (contract.name, contract.address, state, f"{contract.gas:,}", cost, self.change(contract))
            table.add_row(*cells, contract.code_hash)
        total = sum(contract.gas for contract in self.plan.contracts)
        table.add_row("all", "", "", f"{total:,}", coins(self.plan.cost_wei), "", "")
        return table


def coins(wei: int) -> str:
    """In the chain's coin, all digits that are not zero."""
    return f"{(Decimal(wei) / 10**18).normalize():f}"


async def deploy_or_plan(settings: Settings, say: Callable[[str], None], *, dry_run: bool) -> Deployment:
    """Raises: InvalidValue, UnknownCode, TransactionReverted, ChainUnavailable."""
    if settings.rpc_url is None:
        raise InvalidValue("RPC_URL", "is not set; the embedded chain gets its contracts by itself, at `byline up`")
    before = _before(settings)
    plan = await plan_deployment(settings.rpc_url, settings.chain_id, settings.read_server_key(), ARTIFACTS)
    if dry_run:
        return Deployment(settings, plan, before, None)
    contracts = await deploy_contracts(settings, settings.rpc_url, funded=True, say=say)
    return Deployment(settings, plan, before, contracts)


def _before(settings: Settings) -> ContractAddresses | None:
    try:
        return read_deployment(settings)
    except (NotFound, InvalidValue):  # none yet, or a damaged one, which is written anew
        return None
