"""Records → passages: pieces small enough to embed, cut where a reader would pause.

The embedding model reads about 256 word pieces, so a passage has at most PASSAGE_CHARS characters.
Neighbours share their last sentence; what a record is about (its question) goes before each piece,
so that a piece found alone still says what it answers. The same record always gives the same passages.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from attribution.log import Tree
from backend.domain.datanet import Membership, Passage, Record
from backend.domain.types import DatanetId, digest_of

PASSAGE_CHARS = 900
_OVERLAP_CHARS = 160
_SUBJECT_CHARS = 300
_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
_SENTENCE = re.compile(r"""(?<=[.!?。！？])\s+|(?<=[.!?。！？]["'”’)\]])\s+""")


def index_passages(records: Sequence[Record], datanet: DatanetId, version: int) -> list[Passage]:
    """Every record's passages, in record order; `record_index` counts from 0 as the records tree does."""
    leaves = [record.leaf() for record in records]
    tree = Tree.of(leaves)
    passages = []
    for index, (record, leaf) in enumerate(zip(records, leaves, strict=True)):
        path = tuple(digest_of(sibling) for sibling in tree.inclusion_proof(index))
        membership = Membership(digest_of(record.content()), len(records), path)
        passages += [
            Passage(0, datanet, version, index, digest_of(leaf), membership, record.contributor, text)
            for text in passage_texts(record.body)
        ]
    return passages


def passage_texts(body: Mapping[str, Any]) -> list[str]:
    """At least one text, none empty, none over PASSAGE_CHARS."""
    if "messages" in body:
        texts = []
        for subject, content in _exchanges(body["messages"]):
            texts += _pieces(subject, content)
        return texts
    if "text" in body:
        return _pieces("", body["text"])
    parts = [part for part in (body["input"], body["output"]) if part]
    return _pieces(body["instruction"], "\n\n".join(parts))


def _exchanges(messages: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    """(what was asked, what was answered) a turn of the assistant. System prompts say nothing to find."""
    out, asked = [], ""
    for message in messages:
        if message["role"] == "user":
            asked = message["content"]
        elif message["role"] == "assistant":
            out.append((asked, message["content"]))
    return out


def _pieces(subject: str, content: str) -> list[str]:
    subject = " ".join(subject.split())
    if len(subject) > _SUBJECT_CHARS:  # too long to repeat: its beginning leads, the whole is cut like the rest
        content = f"{subject}\n\n{content}"
        subject = subject[:_SUBJECT_CHARS].rpartition(" ")[0] or subject[:_SUBJECT_CHARS]
        subject += "…"
    lead = f"{subject}\n\n" if subject else ""
    return [lead + piece for piece in _cut(content, PASSAGE_CHARS - len(lead))]


def _cut(text: str, limit: int) -> list[str]:
    """Pack whole sentences up to `limit` characters, beginning each piece with the last sentence before it."""
    pieces: list[str] = []
    current: list[tuple[str, str]] = []  # (separator before, sentence)

    def joined(parts: list[tuple[str, str]]) -> str:
        return "".join(separator + sentence if i else sentence for i, (separator, sentence) in enumerate(parts))

    for separator, sentence in _sentences(text, limit):
        if current and len(joined(current)) + len(separator) + len(sentence) > limit:
            pieces.append(joined(current))
            last = current[-1]
            room = len(last[1]) + len(separator) + len(sentence) <= limit
            current = [last] if len(last[1]) <= _OVERLAP_CHARS and len(current) > 1 and room else []
        current.append((separator, sentence))
    if current:
        pieces.append(joined(current))
    return pieces


def _sentences(text: str, limit: int) -> list[tuple[str, str]]:
    """(what stands before it, sentence); a sentence over `limit` is broken at spaces, or anywhere if it has none."""
    out: list[tuple[str, str]] = []
    for paragraph in filter(None, (part.strip() for part in _PARAGRAPH.split(text))):
        separator = "\n\n"
        for sentence in _SENTENCE.split(paragraph):
            rest = sentence.strip()
            while len(rest) > limit:
                at = rest.rfind(" ", limit // 2, limit)
                at = at if at > 0 else limit
                out.append((separator, rest[:at].rstrip()))
                rest, separator = rest[at:].lstrip(), " "
            if rest:
                out.append((separator, rest))
                separator = " "
    return out
