"""Generation with transformers' `generate`: correct for every causal LM, but slower.

For beams, which fork and die and so would need copies of slots at every step, for penalties of
what a summary already says, and for whatever model the slots do not serve: its own layers, cache,
head and attention run untouched, over left-padded batches of like length. Every setting is given;
none comes from the checkpoint.
"""

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
)

from yoyak.errors import is_out_of_memory
from yoyak.generation.decoding import DecodingSettings, Generated, choose_tokens, draw_uniforms
from yoyak.generation.plan import (
    GenerationPlan,
    OnRow,
    refuse_empty,
    too_many_rows,
)
from yoyak.models.reference import attention_of, causal_lm, reset_dynamic_rope


class PlainGenerator:
    """Same interface as `Generator`. With one row at a time nothing is padded."""

    def __init__(self, model, stop_token_ids, decoding: DecodingSettings, plan: GenerationPlan):
        self.model = causal_lm(model)
        self.decoding, self.plan = decoding, plan
        self.stop_token_ids = sorted(set(stop_token_ids))
        self.rows = max(1, plan.slots // decoding.num_beams)
        self.device = self.model.get_input_embeddings().weight.device

    @torch.inference_mode()
    def run(self, prompts: list[list[int]], on_row: OnRow | None = None) -> list[Generated]:
        """Continue every prompt; results in the order of `prompts`."""
        refuse_empty(prompts)
        self.model.eval()
        order = sorted(range(len(prompts)), key=lambda index: (-len(prompts[index]), index))
        results: dict[int, Generated] = {}  # by the prompt's index
        try:
            for start in range(0, len(order), self.rows):
                indices = order[start : start + self.rows]
                found = self._continue([prompts[index] for index in indices])
                for index, tokens in zip(indices, found, strict=True):
                    results[index] = self._cut(tokens)
                    if on_row is not None:
                        on_row(index, results[index])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise too_many_rows(self.plan) from None
        return [results[index] for index in range(len(prompts))]

    def logits(self, rows: list[list[int]], steps: int) -> torch.Tensor:
        """What `run` would choose from, as Generator.logits: batched as `run` does it."""
        forced = torch.tensor([[*row[len(row) - steps :], 0] for row in rows], device=self.device)
        prompts = [row[: len(row) - steps] for row in rows]
        found = []
        for start in range(0, len(rows), self.rows):
            here = slice(start, start + self.rows)
            output = self._generate(
                prompts[here],
                lambda scores, step, here=here: forced[here, step],
                max_new_tokens=steps + 1,
                output_logits=True,
                return_dict_in_generate=True,
            )
            found.append(torch.stack(output.logits, dim=1))
        return torch.cat(found).float()

    def _continue(self, prompts: list[list[int]]) -> list[list[int]]:
        """New tokens of one batch, what follows a stop token included."""
        decoding, choose = self.decoding, None
        settings: dict[str, Any] = {"num_beams": decoding.num_beams}
        if decoding.num_beams > 1:
            settings["length_penalty"] = float(decoding.length_penalty)
        if decoding.do_sample and decoding.num_beams > 1:
            settings |= {"do_sample": True, "top_k": 0}
            settings |= {"temperature": decoding.temperature, "top_p": decoding.top_p}
            torch.manual_seed(decoding.seed)
        elif decoding.do_sample:  # by the row's own draws, whatever its neighbours are
            draws = torch.stack([draw_uniforms(prompt, decoding) for prompt in prompts])
            draws = draws.to(self.device)

            def choose(scores, step):
                return choose_tokens(scores, decoding, draws[:, step])

        output = self._generate(
            prompts,
            choose,
            self._penalties(),
            max_new_tokens=decoding.max_new_tokens,
            eos_token_id=self.stop_token_ids or None,
            **settings,
        )
        return output[:, max(map(len, prompts)) :].tolist()

    def _penalties(self) -> list[LogitsProcessor]:
        """transformers' own, which would count the prompt of a decoder, and its padding, too."""
        found: list[LogitsProcessor] = []
        if self.decoding.repetition_penalty != 1:
            found.append(RepetitionPenaltyLogitsProcessor(float(self.decoding.repetition_penalty)))
        if self.decoding.no_repeat_ngram_size:
            found.append(NoRepeatNGramLogitsProcessor(self.decoding.no_repeat_ngram_size))
        return found

    def _generate(
        self,
        prompts: list[list[int]],
        choose: Callable | None,
        penalties: Sequence[LogitsProcessor] = (),
        **settings,
    ):
        """`model.generate` on one left-padded batch; `choose` takes the place of the argmax."""
        width, padding = max(map(len, prompts)), (self.stop_token_ids or [0])[0]
        tokens = torch.full((len(prompts), width), padding, device=self.device)
        mask = torch.zeros_like(tokens)
        for row, prompt in enumerate(prompts):
            tokens[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        processors: list[LogitsProcessor] = [_OfSummary(one, width) for one in penalties]
        processors += [] if choose is None else [_Chooser(choose, width)]
        settings = {"do_sample": False, "pad_token_id": padding, **settings}
        settings["use_cache"] = self.plan.cache
        reset_dynamic_rope(self.model)
        implementation = self.plan.attention or self.model.config._attn_implementation
        with attention_of(self.model, implementation), _no_settings_of_its_own(self.model):
            return self.model.generate(
                input_ids=tokens,
                attention_mask=mask,
                generation_config=GenerationConfig(**settings),
                logits_processor=LogitsProcessorList(processors),
            )

    def _cut(self, tokens: list[int]) -> Generated:
        for place, token in enumerate(tokens):
            if token in self.stop_token_ids:
                return Generated(tokens[:place], place + 1, "stop")
        return Generated(tokens, len(tokens), "length")


class _OfSummary(LogitsProcessor):
    """A processor that is shown what follows the prompt alone."""

    def __init__(self, processor: LogitsProcessor, width: int):
        self.processor, self.width = processor, width

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return self.processor(input_ids[:, self.width :], scores)


class _Chooser(LogitsProcessor):
    """Leaves one token a row: `choose(scores, step)`, scores (rows, vocabulary), step from 0."""

    def __init__(self, choose: Callable, width: int):
        self.choose, self.width = choose, width

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        chosen = self.choose(scores, input_ids.shape[1] - self.width)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen[:, None], 0.0)


@contextmanager
def _no_settings_of_its_own(model):
    """`generate` fills whatever is unset from the model's own config: it must have nothing."""
    own = model.generation_config
    model.generation_config = type(own)()
    try:
        yield
    finally:
        model.generation_config = own
