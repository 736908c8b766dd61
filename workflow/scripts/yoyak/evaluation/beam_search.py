"""Beam search, through `model.generate` with every setting given.

The engine's own loop gives each row one slot; beams fork and die, so that they would need copies
of slots at every step. Beam search is an option that nobody's default uses: it keeps the library's
own, well-tested code, in small left-padded batches of like length, with SDPA and its mask.
"""

import torch
from transformers import GenerationConfig

from yoyak.evaluation.decoding import DecodingSettings, Generated
from yoyak.evaluation.generation_plan import GenerationPlan, causal_lm


class BeamSearch:
    """Same face as `Generator`."""

    def __init__(self, model, stop_token_ids, decoding: DecodingSettings, plan: GenerationPlan):
        self.model = causal_lm(model)
        self.decoding = decoding
        self.stop_token_ids = sorted(set(stop_token_ids))
        self.rows = max(1, plan.slots // decoding.num_beams)

    @torch.inference_mode()
    def run(self, prompts: list[list[int]], on_row=None) -> list[Generated]:
        """Continue every prompt; results in the order of `prompts`."""
        model = self.model.eval()
        order = sorted(range(len(prompts)), key=lambda index: (-len(prompts[index]), index))
        results = [None] * len(prompts)
        own = model.generation_config, model.config._attn_implementation
        # `generate` fills whatever is unset from the model's own config: it must have nothing.
        model.generation_config = type(own[0])()
        model.set_attn_implementation("sdpa")
        try:
            for start in range(0, len(order), self.rows):
                indices = order[start : start + self.rows]
                batch = self._batch(model, prompts, indices)
                for index, result in zip(indices, batch, strict=True):
                    results[index] = result
                    if on_row is not None:
                        on_row(index, result)
        finally:
            model.generation_config = own[0]
            model.set_attn_implementation(own[1])
        return results

    def _batch(self, model, prompts, indices) -> list[Generated]:
        decoding = self.decoding
        device = model.get_input_embeddings().weight.device
        width = max(len(prompts[index]) for index in indices)
        tokens = torch.full((len(indices), width), self.stop_token_ids[0], device=device)
        mask = torch.zeros_like(tokens)
        for row, index in enumerate(indices):
            tokens[row, width - len(prompts[index]) :] = torch.tensor(prompts[index])
            mask[row, width - len(prompts[index]) :] = 1
        settings = {"num_beams": decoding.num_beams, "do_sample": decoding.do_sample}
        if decoding.do_sample:
            settings |= {"temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": 0}
            torch.manual_seed(decoding.seed)
        generated = model.generate(
            input_ids=tokens,
            attention_mask=mask,
            generation_config=GenerationConfig(
                max_new_tokens=decoding.max_new_tokens,
                eos_token_id=self.stop_token_ids,
                pad_token_id=self.stop_token_ids[0],
                **settings,
            ),
        )
        return [self._cut(row) for row in generated[:, width:].tolist()]

    def _cut(self, tokens: list[int]) -> Generated:
        for place, token in enumerate(tokens):
            if token in self.stop_token_ids:
                return Generated(tokens[:place], place + 1, "stop")
        return Generated(tokens, len(tokens), "length")
