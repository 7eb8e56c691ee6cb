"""What /runs/new knows and does: from the catalog to a signed order."""

from typing import Any

import reflex as rx

from frontend_reflex import api
from frontend_reflex.session import call
from frontend_reflex.views import Catalog, Datanet, Setting, TunedModel
from frontend_reflex.words import count, label, plain

MAIN = ("learning_rate", "batch_size", "epochs", "rank")
BASE_ITSELF = "base"  # what "Start from" calls it
_WHOLE = frozenset({"batch_size", "rank", "max_steps", "max_length_tokens", "seed"})
METHOD_MEANING = {
    "lora": "Trains small matrices beside the frozen model: quick, light, easy to share.",
    "qlora": "The same over a model held in 4 bits: less memory, a little slower.",
}


class NewRun(rx.State):
    bases: list[dict[str, Any]] = []
    methods: list[dict[str, Any]] = []
    settings: list[dict[str, Any]] = []
    datanets: list[Datanet] = []
    tuned: list[TunedModel] = []
    base: str = ""
    start: str = BASE_ITSELF  # or the run whose model it goes on from
    absent: str = ""  # what the models whose weights are not here are folded under
    method: str = "lora"
    picked: list[int] = []
    loaded: bool = False
    problem: str = ""
    preparing: bool = False
    starting: bool = False
    order_text: dict[str, str] = {}
    typed_data: dict[str, Any] = {}
    _spec: dict[str, Any] = {}
    _order: dict[str, Any] = {}

    @rx.event
    async def load(self) -> None:
        self.problem, self.picked, self.loaded = "", [], False
        self._forget()
        try:
            catalog: Catalog = await call(self, "GET", "/models")
            rows: list[Datanet] = await call(self, "GET", "/datanets")
        except api.ApiRefusal as refusal:
            self.problem = refusal.detail if refusal.status != 401 else ""
            self.loaded = True
            return
        self.bases = [{**one, "size": count(one["parameters"])} for one in catalog["bases"]]
        absent = sum(not one["available"] for one in catalog["bases"])
        self.absent = f"{absent} more whose weights are not on this server" if absent else ""
        self.methods = [{**one, "meaning": METHOD_MEANING.get(one["name"], "")} for one in catalog["methods"]]
        self.settings = [_drawn(one) for one in catalog["settings"]]
        self.datanets = [row for row in rows if "train" in row["my_purposes"] and row["version"] > 0]
        self.tuned, self.start = catalog["tuned"], BASE_ITSELF
        self.base = next((one["name"] for one in catalog["bases"] if one["available"]), "")
        self.method = next((one["name"] for one in catalog["methods"] if one["available"]), "lora")
        self.loaded = True

    def _forget(self) -> None:
        """An order is for exactly what was checked; any change needs a new one."""
        self.typed_data, self.order_text, self._spec, self._order = {}, {}, {}, {}

    @rx.var
    def starts(self) -> list[dict[str, str]]:
        """What a run over this base may start from: it goes on only from a model that the chain knows."""
        mine = [one for one in self.tuned if one["base"] == self.base and one["model_id"] is not None]
        return [
            {"id": BASE_ITSELF, "title": "The base model itself"},
            *({"id": one["run_id"], "title": f"Model № {one['model_id']}: {one['title']}"} for one in mine),
        ]

    @rx.var
    def start_title(self) -> str:
        return next((one["title"] for one in self.starts if one["id"] == self.start), "")

    @rx.var
    def parent_rank(self) -> int:
        """0 when it starts from the base model itself: then the rank is free."""
        return next((one["rank"] for one in self.tuned if one["run_id"] == self.start), 0)

    @rx.event
    def choose_base(self, name: str) -> None:
        self.base, self.start = name, BASE_ITSELF
        self._forget()

    @rx.event
    def choose_start(self, start: str) -> None:
        self.start = start
        self._forget()

    @rx.event
    def choose_method(self, name: str) -> None:
        self.method = name
        self._forget()

    @rx.event
    def pick(self, datanet_id: int, on: bool) -> None:
        self.picked = sorted({*self.picked, datanet_id} if on else set(self.picked) - {datanet_id})
        self._forget()

    @rx.event
    def edited(self) -> None:
        self._forget()

    @rx.event
    async def check(self, form: dict[str, Any]) -> Any:
        """Ask the API for the order to sign; it reads the TRAIN permission of every datanet on chain."""
        self._forget()
        self.problem = ""
        if not self.picked:
            self.problem = "Choose at least one datanet to train on."
            return
        if self.parent_rank:
            form = {**form, "rank": str(self.parent_rank)}
        try:
            numbers = {one["name"]: number(one["name"], str(form.get(one["name"], ""))) for one in self.settings}
        except ValueError as err:
            self.problem = str(err)
            return
        self.preparing = True
        yield
        spec = {
            "base_model": self.base,
            "datanet_ids": self.picked,
            "method": self.method,
            "parent_run_id": None if self.start == BASE_ITSELF else self.start,
            **numbers,
        }
        try:
            reply = await call(self, "POST", "/training-orders", spec)
            self._spec, self._order = spec, reply["order"]
            self.typed_data = reply["typed_data"]
            self.order_text = {
                "records": str(sum(row["records"] for row in self.datanets if row["datanet_id"] in self.picked)),
                "datanets": ", ".join(
                    f"{i} (version {v})" for i, v in zip(self.picked, reply["order"]["versions"], strict=False)
                ),
                "digest": str(reply["order"]["config_digest"]),
            }
        except api.ApiRefusal as refusal:
            self.problem = refusal.detail
        self.preparing = False

    @rx.event
    async def signed(self, signature: str) -> Any:
        if not self._order:
            return
        self.starting, self.problem = True, ""
        yield
        try:
            body = {"spec": self._spec, "order": self._order, "signature": signature}
            run_id = (await call(self, "POST", "/training-runs", body))["run_id"]
        except api.ApiRefusal as refusal:
            self.problem = refusal.detail
            self._forget()
        else:
            yield rx.redirect(f"/runs/{run_id}")
        self.starting = False


def _drawn(one: Setting) -> dict[str, Any]:
    """A setting with its texts, ready for its field."""
    return {
        "name": one["name"],
        "label": label(one["name"]),
        "value": plain(one["default"]),
        "explanation": one["explanation"],
        "range": f"{plain(one['minimum'])} to {plain(one['maximum'])}",
        "main": one["name"] in MAIN,
    }


def number(name: str, text: str) -> int | float:
    """What was typed, as the API wants it. Raises: ValueError naming the field; ranges are the API's to check."""
    try:
        value = float(text.strip())
    except ValueError:
        raise ValueError(f"{label(name)}: {text.strip()[:40]!r} is not a number.") from None
    if name in _WHOLE:
        if value != int(value):
            raise ValueError(f"{label(name)}: this must be a whole number.")
        return int(value)
    return value
