"""Text to tokens, the same way for training, answering and scoring: what a model was tuned on is what it is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Messages = Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Example:
    """One training row: `labels[i]` says whether the loss looks at `token_ids[i]`."""

    token_ids: tuple[int, ...]
    labels: tuple[bool, ...]


class Encoding:
    """A tokenizer with its chat template.

    Content is data: a passage that spells out one of the model's control tokens (`<|im_end|>`) would
    otherwise end its message and begin one of its own.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        added = self._tokenizer.added_tokens_decoder.values()
        self._control = [token.content for token in added if token.special and len(token.content) > 1]
        self.end_of_text: int = self._tokenizer.eos_token_id

    def __len__(self) -> int:
        """Tokens in the vocabulary."""
        return len(self._tokenizer)

    def tokens(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def count(self, text: str) -> int:
        return len(self.tokens(self._harmless(text)))

    def decode(self, token_ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def prompt(self, messages: Messages) -> list[int]:
        """Up to where the assistant's words begin."""
        return self.tokens(self._render(messages, prompt=True))

    def example(self, row: Mapping[str, Any], max_tokens: int) -> Example | None:
        """The loss looks at the assistant's words and their end; in a plain text at everything. At most
        `max_tokens`: of an instruction's row the input gives way first, so that the answer stays whole; the
        rest is cut at the end. None when nothing to learn is left.

        Raises: KeyError, TypeError or ValueError when the row is none of the three shapes.
        """
        if "text" in row:
            ids = [*self.tokens(self._harmless(str(row["text"]))), self.end_of_text]
            learn = [True] * len(ids)
        else:
            ids, learn = self._conversation(_messages(row))
            if len(ids) > max_tokens and row.get("input"):
                ids, learn = self._conversation(_messages(self._shortened(row, len(ids) - max_tokens)))
        ids, learn = ids[:max_tokens], learn[:max_tokens]
        return Example(tuple(ids), tuple(learn)) if any(learn[1:]) else None

    def _shortened(self, row: Mapping[str, Any], excess: int) -> dict[str, Any]:
        """The row with that many tokens less of input, and a few more: cut text may need more tokens than it had."""
        tokens = self.tokens(self._harmless(str(row["input"])))
        return {**row, "input": self.decode(tokens[: max(0, len(tokens) - excess - 4)])}

    def _conversation(self, messages: Messages) -> tuple[list[int], list[bool]]:
        """The prompt and each reply are tokenized apart, as they are when the model answers."""
        ids: list[int] = []
        learn: list[bool] = []
        rendered = ""
        for index, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self._render(messages[:index], prompt=True)
            after = self._render(messages[: index + 1], prompt=False)
            if not (before.startswith(rendered) and after.startswith(before)):
                raise ValueError("the model's chat template rewrites earlier turns of this conversation")
            asked, said = self.tokens(before[len(rendered) :]), self.tokens(after[len(before) :])
            # What a template puts after the end token is never generated, so nor is it learnt.
            end = said.index(self.end_of_text) + 1 if self.end_of_text in said else len(said)
            ids += asked + said
            learn += [False] * len(asked) + [place < end for place in range(len(said))]
            rendered = after
        return ids, learn

    def _render(self, messages: Messages, *, prompt: bool) -> str:
        import jinja2

        clean = [{"role": m["role"], "content": self._harmless(m["content"])} for m in messages]
        if self._tokenizer.chat_template is None:  # a base model that was never taught to chat
            turns = [f"{m['role'].capitalize()}: {m['content']}\n" for m in clean]
            return "".join(turns) + ("Assistant: " if prompt else "")
        try:
            return self._apply(clean, prompt)
        except jinja2.TemplateError:
            if len(clean) < 2 or clean[0]["role"] != "system":
                raise
            # Some families have no system role: what it says then opens the first question.
            first = {"role": clean[1]["role"], "content": f"{clean[0]['content']}\n\n{clean[1]['content']}"}
            return self._apply([first, *clean[2:]], prompt)

    def _apply(self, messages: list[dict[str, str]], prompt: bool) -> str:
        return str(self._tokenizer.apply_chat_template(messages, add_generation_prompt=prompt, tokenize=False))

    def _harmless(self, text: str) -> str:
        for token in self._control:
            if token in text:
                text = text.replace(token, f"{token[0]} {token[1:]}")
        return text


class TextPieces:
    """Tokens in, text out as soon as it is certain: a character may span several tokens."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._ids: list[int] = []
        self._context = 0  # where decoding restarts, so that each step costs the same
        self._told = 0

    def add(self, token: int) -> str:
        self._ids.append(token)
        return self._new_text(hold_back=True)

    def rest(self) -> str:
        return self._new_text(hold_back=False)

    def _new_text(self, *, hold_back: bool) -> str:
        before = self._encoding.decode(self._ids[self._context : self._told])
        now = self._encoding.decode(self._ids[self._context :])
        if hold_back and now.endswith("\ufffd"):
            return ""
        self._context, self._told = self._told, len(self._ids)
        return now[len(before) :]


def _messages(row: Mapping[str, Any]) -> list[dict[str, str]]:
    if "messages" in row:
        return [{"role": str(m["role"]), "content": str(m["content"])} for m in row["messages"]]
    question = "\n\n".join(str(row[part]) for part in ("instruction", "input") if row.get(part))
    return [{"role": "user", "content": question}, {"role": "assistant", "content": str(row["output"])}]
