"""Who guesses what: the sources of guesses for the sequences that an engine runs, and what became of them.

Letters: M sequences, B the model's width, S tokens that may be drafted.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from gemcut.engine.progress import Key, Progress, Rows
from gemcut.engine.runner import Runner
from gemcut.engine.speculative import (
    Acceptance,
    Offer,
    PromptLookup,
    Speculation,
    StepTimes,
    share_rows,
)
from gemcut.errors import BadOption
from gemcut.model.drafter import Drafter
from gemcut.model.layer_plan import layers_read_by_drafter

Source = Literal["forced", "lookup", "drafter"]
LOOKED_THROUGH = 2048  # tokens of a long prompt in a step, so that it holds up nobody


@dataclass(eq=False, slots=True)
class _Followed:
    """A sequence and its guesses.

    acceptances: of the sources that may be wrong.
    hidden: (1, B), for a drafter, the model's row that led to the last token; None before there is one.
    source: of the guesses that are being checked.
    """

    acceptances: dict[Source, Acceptance]
    lookup: PromptLookup = field(default_factory=PromptLookup)
    hidden: Tensor | None = None
    source: Source | None = None


@dataclass(frozen=True)
class _Proposal:
    """What one sequence could have: `drafts` are there already, those of the drafter are still to be made."""

    progress: Progress
    followed: _Followed
    source: Source
    drafts: tuple[int, ...]
    offer: Offer


class PagedDrafter:
    """A drafter that reads its target's keys and values in a runner's pages."""

    def __init__(self, drafter: Drafter, runner: Runner) -> None:
        self._drafter = drafter
        self._runner = runner
        self._embedding = runner.model.model.language_model.embed_tokens
        self._layers = layers_read_by_drafter(runner.model.config.text)

    def draft(self, sequences: list[Progress], hidden: Tensor, count: int) -> list[list[int]]:
        """The tokens that it finds likeliest, one after another: `count` for each sequence.

        hidden: (M, B), the target's rows that led to the sequences' last tokens.
        """
        drafter, runner = self._drafter, self._runner
        step = runner.builder.build_drafting(sequences)
        seen = {kind: runner.cache.pools[layer] for kind, layer in self._layers.items()}
        token = torch.tensor([progress.ids[-1] for progress in sequences], device=runner.device)
        drafted = []
        for _ in range(count):
            own = drafter(self._embedding(token, hidden.dtype), hidden, seen, step)
            logits, ids = drafter.candidates(own)  # (M, S) each
            token = ids.gather(1, logits.argmax(-1, keepdim=True))[:, 0]
            hidden = drafter.hand_on(own, step)
            drafted.append(token)
        result: list[list[int]] = torch.stack(drafted, dim=1).tolist()
        return result


class Speculator:
    """Proposes guesses before each step of an engine, and learns from what became of them.

    Raises BadOption where a drafter is asked for and there is none.
    """

    def __init__(self, speculation: Speculation, drafter: PagedDrafter | None) -> None:
        wanted = speculation.speculate
        if wanted == "drafter" and drafter is None:
            raise BadOption(
                'speculate is "drafter" and no drafter was loaded; name one, or leave it at "auto"'
            )
        self._most = speculation.max_drafts
        self._guesses = wanted != "off"
        self._looks_up = wanted in ("auto", "lookup")
        self._drafter = drafter if wanted in ("auto", "drafter") else None
        sources: dict[Source, bool] = {"lookup": self._looks_up, "drafter": self._drafter is not None}
        self._sources = [source for source, used in sources.items() if used]
        self._followed: dict[Progress, _Followed] = {}
        self._times = StepTimes()
        self._round_s = 0.0

    def propose(
        self, running: Sequence[Progress], forced: Mapping[Key, tuple[int, ...]]
    ) -> dict[Key, Sequence[int]]:
        """Guesses for the next step of the sequences that run.

        forced: what their constraints leave no choice about.
        """
        if not self._guesses:
            return {}
        self._forget_ended(len(running))
        proposals: list[_Proposal] = []
        num_rows = 0
        for progress in running:
            followed = self._follow(progress)
            followed.source = None
            if self._looks_up:
                known = len(followed.lookup)
                followed.lookup.extend(progress.ids[known : known + LOOKED_THROUGH])
            if progress.pending == 1:
                num_rows += 1
                proposal = self._proposal(progress, followed, forced.get(progress.key, ()))
                if proposal is not None:
                    proposals.append(proposal)
        if self._times.of(num_rows) is None:  # what a step without guesses takes is measured first
            return {}
        counts = share_rows([p.offer for p in proposals], num_rows, self._times, self._round_s)
        for proposal, count in zip(proposals, counts, strict=True):
            if count == 0 and proposal.source in proposal.followed.acceptances:
                proposal.followed.acceptances[proposal.source].rest()
        return self._drafts([(p, count) for p, count in zip(proposals, counts, strict=True) if count])

    def learn(
        self,
        planned: Sequence[Rows],
        hidden: Sequence[Tensor],
        made: Mapping[Key, Sequence[int]],
        seconds: float,
    ) -> None:
        """What became of a step that took so long.

        hidden: (M, C) of each sequence, its rows that were wanted.  made: the tokens of those that chose.
        """
        if not self._guesses:
            return
        for number, rows in enumerate(planned):
            if not rows.num_drafts and self._drafter is None:
                continue
            tokens = made.get(rows.progress.key, ())
            if tokens:
                followed = self._follow(rows.progress)
                if self._drafter is not None:
                    result = hidden[number]
                    place = len(result) - 1 - rows.num_drafts + len(tokens) - 1
                    followed.hidden = result[place : place + 1].clone()
                if followed.source in followed.acceptances:
                    followed.acceptances[followed.source].record(rows.num_drafts, len(tokens) - 1)
        num_drafts = sum([rows.num_drafts for rows in planned])
        num_rows = sum([len(rows.ids) for rows in planned])
        if num_rows == len(planned) + num_drafts:  # nothing was read
            self._times.record(num_rows, seconds)

    def _follow(self, progress: Progress) -> _Followed:
        if (followed := self._followed.get(progress)) is None:
            followed = _Followed({source: Acceptance() for source in self._sources})
            self._followed[progress] = followed
        return followed

    def _forget_ended(self, num_running: int) -> None:
        if len(self._followed) > 2 * num_running + 8:  # not each time: most of them run
            alive = {one: followed for one, followed in self._followed.items() if one.state != "ended"}
            self._followed = alive

    def _proposal(self, progress: Progress, followed: _Followed, forced: tuple[int, ...]) -> _Proposal | None:
        """What the sequence could have of its best source; None where none has anything."""
        for acceptance in followed.acceptances.values():
            acceptance.pass_step()
        looked_up = followed.lookup.draft(self._most)
        if not (forced or looked_up or followed.hidden is not None):
            return None
        room = progress.request.most_tokens - len(progress.ids) - 1  # the last token is not guessed for
        most = min(self._most, room)
        if most < 1:
            return None
        if forced:
            drafts = forced[:most]
            return _Proposal(progress, followed, "forced", drafts, Offer(len(drafts), 1.0, made=False))
        found: list[_Proposal] = []
        if looked_up:
            offer = Offer(most, followed.acceptances["lookup"].expected, made=False)
            found.append(_Proposal(progress, followed, "lookup", tuple(looked_up[:most]), offer))
        if followed.hidden is not None:
            offer = Offer(most, followed.acceptances["drafter"].expected, made=True)
            found.append(_Proposal(progress, followed, "drafter", (), offer))
        return max(found, key=lambda proposal: proposal.offer.acceptance)  # of equals the free one

    def _drafts(self, chosen: Sequence[tuple[_Proposal, int]]) -> dict[Key, Sequence[int]]:
        """The guesses themselves, so many of each proposal."""
        drafts: dict[Key, Sequence[int]] = {}
        made = [(p.progress, p.followed.hidden, count) for p, count in chosen if p.offer.made]
        if made and self._drafter is not None:
            rounds = max(count for _, _, count in made)
            start = time.perf_counter()
            hidden = torch.cat([hidden for _, hidden, _ in made if hidden is not None])
            found = self._drafter.draft([progress for progress, _, _ in made], hidden, rounds)
            self._round_s += 0.25 * ((time.perf_counter() - start) / rounds - self._round_s)
            drafts |= {p.key: ids[:count] for (p, _, count), ids in zip(made, found, strict=True)}
        for proposal, count in chosen:
            proposal.followed.source = proposal.source
            if not proposal.offer.made:
                drafts[proposal.progress.key] = proposal.drafts[:count]
        return drafts
