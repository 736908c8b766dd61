"""The four tests of the loader on an embedded model: `python tests/test_lora_loader.py`, or pytest.

How it loads other checkpoints, in 4 bits and with added tokens: tests/unit/test_loaded_models.py.
"""

import sys
import traceback
from pathlib import Path

# Run by hand nothing else says where the library lies; pytest knows it from pyproject.toml.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from yoyak.config import load_config  # noqa: E402
from yoyak.models.lora_loader import LoRALoader, load_lora_model_and_tokenizer  # noqa: E402

EXPERIMENT = "tiny_llama"
PROJECTIONS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_the_loader_starts_from_a_model_file():
    config = load_config(EXPERIMENT)
    loader = LoRALoader(config)
    assert loader.model_config == config.model and loader.lora_config == config.lora
    assert loader.checkpoint.local


def test_the_tokenizer_pads_and_truncates_on_the_left():
    tokenizer = LoRALoader(load_config(EXPERIMENT)).load_tokenizer()
    assert (tokenizer.padding_side, tokenizer.truncation_side) == ("left", "left")
    assert tokenizer.pad_token_id is not None
    chat = [{"role": "user", "content": "안녕하세요"}]
    assert "안녕하세요" in tokenizer.apply_chat_template(chat, tokenize=False)
    ids = tokenizer("안녕하세요", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == "안녕하세요"


def test_the_lora_config_is_that_of_the_model_file():
    loader = LoRALoader(load_config(EXPERIMENT))
    lora = loader.lora_config
    assert (lora.r, lora.alpha, lora.dropout) == (16, 32, 0.05)
    assert set(loader.target_modules()) == PROJECTIONS


def test_one_function_loads_the_model_with_its_adapters():
    model, tokenizer = load_lora_model_and_tokenizer(load_config(EXPERIMENT))
    adapters = model.peft_config["default"]
    assert (adapters.r, adapters.lora_alpha, adapters.lora_dropout) == (16, 32, 0.05)
    trained = [name for name, part in model.named_parameters() if part.requires_grad]
    assert trained and all("lora_" in name for name in trained)
    ids = tokenizer("안녕하세요", return_tensors="pt")["input_ids"].to(model.device)
    assert model(input_ids=ids).logits.shape[:2] == ids.shape


TESTS = {
    "LoRALoader 초기화": test_the_loader_starts_from_a_model_file,
    "토크나이저 로딩": test_the_tokenizer_pads_and_truncates_on_the_left,
    "LoRA Config 생성": test_the_lora_config_is_that_of_the_model_file,
    "편의 함수": test_one_function_loads_the_model_with_its_adapters,
}


def main() -> int:
    """Run the four and say how many passed; the exit status is 0 if all did."""
    passed = 0
    for number, (name, test) in enumerate(TESTS.items(), 1):
        try:
            test()
        except Exception:
            traceback.print_exc()
            print(f"{number}. ❌ {name}", flush=True)
        else:
            passed += 1
            print(f"{number}. ✅ {name}", flush=True)
    print(f"{passed}/{len(TESTS)}")
    return passed != len(TESTS)


if __name__ == "__main__":
    sys.exit(main())
